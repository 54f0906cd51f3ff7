//! Keys as a leg meets them: numbers that roll over under SRTP, packets of keys that are no longer good, and forged sources.

#[path = "support/audio.rs"]
mod audio;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::net::SocketAddr;
use std::time::Duration;

use audio::{fields, rtp};
use media_peer::{A, B, Bench, PWD, Peer, SHARED, addr, plan};
use ringway::media::SocketId;
use ringway::media::srtp::SrtpError;
use ringway::media::stats::Drop;
use ringway::plan::*;

const FRAME: Duration = Duration::from_millis(20);

fn browser_addr() -> SocketAddr {
    addr("203.0.113.1:50000")
}

fn phone_addr() -> SocketAddr {
    addr("198.51.100.2:20000")
}

/// A browser and a phone that hear each other, both with G.711.
fn call() -> (Bench, Peer, SocketId) {
    let mut bench = Bench::default();
    let browser = bench.browser(A, browser_addr());
    let phone = bench.phone(B, phone_addr());
    bench.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    bench.sink.clear();
    (bench, browser, phone)
}

fn packet(n: u32, ssrc: u32) -> Vec<u8> {
    rtp(0, false, n as u16, n * 160, ssrc, &(n as u16).to_be_bytes().repeat(80))
}

fn said_in(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[12], packet[13]])
}

#[test]
fn a_browser_that_rolls_over_in_the_middle_of_a_loss_is_heard_on() {
    let (mut bench, mut browser, _) = call();
    let sealed: Vec<_> = (65_500..65_700).map(|n| browser.protect(&packet(n, 7))).collect();
    // Nothing from 65,530 to 65,550 (14 of the new cycle); then some of that, late.
    let (first, last) = (0..30).zip(51..81).unzip::<_, _, Vec<usize>, Vec<usize>>();
    let order: Vec<usize> = first.into_iter().chain(last).chain([50, 36, 35, 30]).chain(81..200).collect();
    let mut heard = Vec::new();
    for n in order {
        bench.datagram(SHARED, browser_addr(), &sealed[n]);
        heard.extend(bench.sink.take_rtp().iter().map(|packet| (said_in(packet), fields(packet).1)));
        bench.datagram(SHARED, browser_addr(), &sealed[n]);
        assert!(bench.sink.take_rtp().is_empty(), "{n} is heard once");
    }
    assert_eq!(heard.len(), 183);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].0.wrapping_sub(pair[0].0), pair[1].1.wrapping_sub(pair[0].1), "{pair:?}");
    }
    let counters = bench.core.counters(A).unwrap();
    assert_eq!((counters.sent, counters.dropped_for(Drop::SrtpReplay), counters.dropped_total()), (183, 183, 183));
}

#[test]
fn what_a_browser_is_sent_rolls_over_and_is_read_on() {
    let (mut bench, mut browser, phone) = call();
    let (mut waiting, mut rolled_over, mut last) = (Vec::new(), None, None);
    for n in 0..70_000u32 {
        bench.datagram(phone, phone_addr(), &packet(n, 8));
        let Some((_, sealed)) = bench.sink.take().pop() else { panic!("{n} was not sent on") };
        let seq = u16::from_be_bytes([sealed[2], sealed[3]]);
        if last.replace(seq).is_some_and(|last| seq < last) {
            rolled_over = Some(n);
        }
        // Around the roll-over it gets every third packet, and those in pairs the wrong way round.
        let is_near = seq > 65_300 || rolled_over.is_some();
        if !is_near || n % 3 == 0 {
            waiting.insert(0, (n, sealed));
        }
        if !is_near || waiting.len() == 2 {
            for (n, sealed) in waiting.drain(..) {
                assert_eq!(said_in(&browser.unprotect(&sealed)), n as u16);
            }
        }
        if rolled_over.is_some_and(|at| n > at + 300) {
            assert_eq!(bench.core.counters(B).unwrap().dropped_total(), 0);
            return;
        }
        if n % 50 == 0 {
            bench.advance(FRAME);
            bench.sink.clear();
        }
    }
    panic!("it never rolled over");
}

#[test]
fn packets_of_the_old_keys_are_refused_once_there_are_new_ones() {
    let (mut bench, mut old, phone) = call();
    let unsent: Vec<_> = (0..3).map(|n| old.protect(&packet(n, 7))).collect();
    let first = old.protect(&packet(100, 7));
    bench.datagram(SHARED, old.addr, &first);
    assert_eq!(bench.sink.take_rtp().len(), 1);
    // The page is loaded anew, in the same place.
    let mut new = Peer::new(bench.now.mono, browser_addr());
    bench.set_remote(A, new.remote_of("anew"));
    bench.command(MediaCommand::RestartIce { leg: A, ice_ufrag: "next".into(), ice_pwd: PWD.into() });
    let check = new.check_of("next:anew", true);
    bench.datagram(SHARED, new.addr, &check);
    new.shake_hands(&mut bench);
    bench.sink.clear();
    // Never heard, heard already, said just now: all of the old keys.
    let said_now = old.protect(&packet(101, 7));
    for stale in unsent.iter().chain([&first, &said_now]) {
        bench.datagram(SHARED, browser_addr(), stale);
        assert!(bench.sink.take_rtp().is_empty());
    }
    assert_eq!(bench.core.counters(A).unwrap().dropped_for(Drop::SrtpTag), 5);
    // The new ones begin with a window of their own: the same source and number as before is no replay.
    let again = new.protect(&packet(100, 7));
    bench.datagram(SHARED, browser_addr(), &again);
    assert_eq!(bench.core.counters(A).unwrap().dropped_for(Drop::Duplicate), 1, "though our own order knows it");
    let next = new.protect(&packet(101, 7));
    bench.datagram(SHARED, browser_addr(), &next);
    assert_eq!(bench.sink.take_rtp().len(), 1);
    // And what is sent is for the new keys alone.
    bench.datagram(phone, phone_addr(), &packet(1, 8));
    let sent = bench.sink.take().pop().expect("it is sent on").1;
    assert_eq!(old.read(&sent), Err(SrtpError::Tag));
    assert_eq!(said_in(&new.unprotect(&sent)), 1);
}

#[test]
fn forged_sources_leave_no_trace_in_a_leg() {
    let (mut bench, mut browser, _) = call();
    let mut seqs = Vec::new();
    for n in 0..100u32 {
        // Many more than a leg may have, each with the tag of nobody.
        for ssrc in 0..5 {
            let forged = [packet(n, 1_000 + n * 5 + ssrc), vec![0xaa; 16]].concat();
            bench.datagram(SHARED, browser_addr(), &forged);
        }
        // One that names the browser's own source, ahead of it.
        let ahead = [packet(n + 200, 7), vec![0xaa; 16]].concat();
        bench.datagram(SHARED, browser_addr(), &ahead);
        let good = browser.protect(&packet(n, 7));
        bench.datagram(SHARED, browser_addr(), &good);
        let heard = bench.sink.take_rtp();
        assert_eq!((heard.len(), said_in(&heard[0]), heard[0][1] & 0x80 != 0), (1, n as u16, n == 0), "{n}");
        seqs.push(fields(&heard[0]).1);
        bench.advance(FRAME);
        bench.sink.clear();
    }
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{seqs:?}");
    let counters = bench.core.counters(A).unwrap();
    assert_eq!((counters.sent, counters.dropped_for(Drop::SrtpTag), counters.dropped_total()), (100, 600, 600));
    bench.command(MediaCommand::Close { leg: A });
    let Some(MediaEvent::Closed { stats, .. }) = bench.sink.events.last() else { panic!("it is told") };
    assert_eq!(stats.rx_lost, 0, "nothing is missed of them");
}
