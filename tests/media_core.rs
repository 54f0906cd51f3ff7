//! The media core in virtual time: order, gaps, clocks, hold, timeouts, and that every packet is accounted for.

#[path = "support/audio.rs"]
mod audio;
#[path = "support/chance.rs"]
mod chance;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::net::SocketAddr;
use std::time::Duration;

use audio::{fidelity_db, fields, rtp, sine, snr_db, voice};
use chance::cases;
use media_peer::{A, B, Bench, SHARED, addr, plan, webrtc};
use proptest::prelude::*;
use ringway::media::SocketId;
use ringway::media::codec::{OpusDecoder, OpusEncoder, decode_ulaw, encode_ulaw};
use ringway::media::stats::Drop;
use ringway::plan::*;
use ringway::wire::rtp::{Report, parse_compound};

const FRAME: Duration = Duration::from_millis(20);

fn phones() -> (SocketAddr, SocketAddr) {
    (addr("198.51.100.1:20000"), addr("198.51.100.2:20000"))
}

fn two_phones(a: LegPlan, b: LegPlan) -> (Bench, SocketId, SocketId) {
    let mut bench = Bench::default();
    let (socket_a, socket_b) = (bench.phone(A, phones().0), bench.phone(B, phones().1));
    bench.join(a, b);
    (bench, socket_a, socket_b)
}

fn ulaw(from: usize, len: usize) -> Vec<u8> {
    sine(440.0, from, len).into_iter().map(encode_ulaw).collect()
}

fn sums_match(bench: &Bench) {
    for leg in [A, B] {
        let counters = bench.core.counters(leg).unwrap();
        assert_eq!(counters.rx, counters.sent + counters.held + counters.dropped_total());
    }
}

#[test]
fn packet_times_of_ten_to_sixty_milliseconds_become_twenty() {
    for ptime in [10usize, 20, 30, 40, 60] {
        let (mut bench, a, _) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Opus, 111, 2));
        let (mut out, mut pcm, mut decoder) = (Vec::new(), Vec::new(), OpusDecoder::new().unwrap());
        for n in 0..1_200 / ptime {
            let from = n * ptime * 8;
            bench.datagram(a, phones().0, &rtp(0, n == 0, n as u16, from as u32, 9, &ulaw(from, ptime * 8)));
            out.extend(bench.sink.take_rtp());
            bench.advance(Duration::from_millis(ptime as u64));
        }
        assert_eq!(out.len(), 60, "{ptime} ms");
        for pair in out.windows(2) {
            let ((_, seq, ts, _), (_, next_seq, next_ts, _)) = (fields(&pair[0]), fields(&pair[1]));
            assert_eq!((next_seq.wrapping_sub(seq), next_ts.wrapping_sub(ts)), (1, 960), "{ptime} ms");
        }
        for packet in &out {
            let mut frame = [0; 160];
            decoder.decode(Some(&packet[12..]), false, &mut frame).unwrap();
            pcm.extend(frame);
        }
        assert!(snr_db(&pcm[4_000..], 440.0) > 20.0, "{ptime} ms");
        sums_match(&bench);
    }
}

#[test]
fn every_fifth_packet_lost_leaves_no_gap_and_a_voice_that_is_heard() {
    // Of the 15 dB that Opus gives this voice, its in-band copies save 12; without them 4 are left.
    for (from, to, least) in [(Codec::Pcmu, Codec::Opus, 10.0), (Codec::Opus, Codec::Pcmu, 11.0)] {
        let (mut bench, a, _) = two_phones(plan(from, 0, 1), plan(to, 8, 2));
        let (mut encoder, mut decoder) = (OpusEncoder::new().unwrap(), OpusDecoder::new().unwrap());
        // The speaker has heard of the loss.
        encoder.expect_loss(20).unwrap();
        let (mut out, mut pcm) = (Vec::new(), Vec::new());
        for n in 0..100usize {
            let mut payload = vec![0; 400];
            if from == Codec::Opus {
                let len = encoder.encode(&voice(n * 160, 160), &mut payload).unwrap();
                payload.truncate(len);
            } else {
                payload = voice(n * 160, 160).into_iter().map(encode_ulaw).collect();
            }
            bench.advance(FRAME);
            bench.sink.clear();
            if n % 5 != 4 {
                let ts = n as u32 * from.clock_hz() / 50;
                bench.datagram(a, phones().0, &rtp(0, false, n as u16, ts, 9, &payload));
                out.extend(bench.sink.take_rtp());
            }
        }
        assert_eq!(out.len(), 99, "the last loss has no packet behind it");
        for packet in &out {
            let mut frame = [0; 160];
            if to == Codec::Opus {
                decoder.decode(Some(&packet[12..]), false, &mut frame).unwrap();
            } else {
                frame.iter_mut().zip(&packet[12..]).for_each(|(sample, byte)| *sample = decode_ulaw(*byte));
            }
            pcm.extend(frame);
        }
        let fidelity = fidelity_db(&pcm);
        println!("{from:?} to {to:?}, 20 % lost: {fidelity:.1} dB");
        assert!(fidelity > least, "{from:?} to {to:?}: {fidelity:.1} dB");
        sums_match(&bench);
    }
}

/// Packets from µ-law to Opus, each with how many ms after the one before it comes, its timestamp, and what the outgoing one's is
/// ahead by, with the marker or not.
fn timestamps_go_on(steps: &[(u64, u32, u32, bool)]) {
    let (mut bench, a, _) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Opus, 111, 2));
    let mut last = None;
    for (seq, (after_ms, ts, ahead, marker)) in (0u16..).zip(steps) {
        bench.advance(Duration::from_millis(*after_ms));
        bench.sink.clear();
        bench.datagram(a, phones().0, &rtp(0, false, seq, *ts, 9, &ulaw(0, 160)));
        let out = bench.sink.take_rtp().remove(0);
        assert_eq!(out[1] & 0x80 != 0, *marker, "{seq}");
        let (_, out_seq, out_ts, _) = fields(&out);
        if let Some((last_seq, last_ts)) = last.replace((out_seq, out_ts)) {
            assert_eq!((out_seq - last_seq, out_ts.wrapping_sub(last_ts)), (1, *ahead), "{seq}");
        }
    }
}

#[test]
fn a_silence_without_packets_moves_the_timestamps_and_sets_the_marker() {
    timestamps_go_on(&[
        (20, 0, 0, true),
        (20, 160, 960, false),
        (1_020, 8_320, 48_960, true),
        (20, 8_480, 960, false),
        // What came before it was late by 0.9 s.
        (120, 16_640, 48_960, true),
        (20, 16_800, 960, false),
    ]);
}

#[test]
fn a_clock_set_ahead_of_time_is_no_silence() {
    timestamps_go_on(&[
        (20, 0, 0, true),
        (20, 160, 960, false),
        (20, 16_320, 960, true),
        (20, 16_480, 960, false),
        (520, 160_000, 24_960, true),
        (20, 160_160, 960, false),
    ]);
}

#[test]
fn a_change_of_path_codec_and_source_goes_on_in_one_stream() {
    let (mut bench, a, _) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    let mut out = Vec::new();
    for n in 0..40u16 {
        if n == 10 {
            bench.join(plan(Codec::Pcma, 8, 1), plan(Codec::Pcmu, 0, 2));
        }
        if n == 20 {
            bench.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
        }
        let (pt, ssrc) = (if (10..20).contains(&n) { 8 } else { 0 }, if n < 30 { 5 } else { 6 });
        let (seq, ts) = if n < 30 { (n, u32::from(n) * 160) } else { (n + 9_000, 77 + u32::from(n) * 160) };
        bench.datagram(a, phones().0, &rtp(pt, false, seq, ts, ssrc, &ulaw(0, 160)));
        out.extend(bench.sink.take_rtp());
        bench.advance(FRAME);
        bench.sink.clear();
    }
    for pair in out.windows(2) {
        let ((_, seq, ts, ssrc), (_, next_seq, next_ts, next_ssrc)) = (fields(&pair[0]), fields(&pair[1]));
        assert_eq!((next_seq.wrapping_sub(seq), next_ts.wrapping_sub(ts), ssrc, next_ssrc), (1, 160, 2, 2));
    }
    assert_eq!(out.len(), 40);
}

#[test]
fn hold_and_unknown_payload_types_are_dropped_by_name_and_leave_no_gap() {
    let (mut bench, a, _) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    let no_events = LegPlan { events: None, ..plan(Codec::Pcmu, 0, 2) };
    let mut seqs = Vec::new();
    let mut n = 0;
    let mut feed = |bench: &mut Bench, pt: u8| {
        bench.datagram(a, phones().0, &rtp(pt, false, n, u32::from(n) * 160, 9, &[5; 160]));
        n += 1;
        seqs.extend(bench.sink.take_rtp().iter().map(|packet| fields(packet).1));
    };
    feed(&mut bench, 0);
    feed(&mut bench, 13);
    feed(&mut bench, 0);
    bench.join(plan(Codec::Pcmu, 0, 1), no_events);
    feed(&mut bench, 101);
    bench.join(plan(Codec::Pcmu, 0, 1), LegPlan { tx: false, ..no_events });
    feed(&mut bench, 0);
    bench.join(LegPlan { rx: false, ..plan(Codec::Pcmu, 0, 1) }, no_events);
    feed(&mut bench, 0);
    bench.join(plan(Codec::Pcmu, 0, 1), no_events);
    feed(&mut bench, 0);
    assert_eq!(seqs.len(), 3);
    assert!(seqs.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 1), "{seqs:?}");
    let counters = bench.core.counters(A).unwrap();
    for why in [Drop::PayloadType, Drop::NoTelephoneEvents, Drop::NotSending, Drop::NotReceiving] {
        assert_eq!(counters.dropped_for(why), 1, "{why:?}");
    }
    sums_match(&bench);
}

#[test]
fn checks_that_never_come_and_checks_that_stop_fail_the_leg() {
    let failed = MediaEvent::Failed { leg: A, cause: LegFailure::IceTimeout };
    let mut bench = Bench::default();
    bench.command(MediaCommand::Open { leg: A, how: webrtc(), beside: None });
    let peer = media_peer::Peer::new(bench.now.mono, addr("203.0.113.1:5"));
    bench.set_remote(A, peer.remote());
    bench.advance(Duration::from_millis(19_900));
    assert!(!bench.sink.events.contains(&failed));
    bench.advance(Duration::from_millis(200));
    assert!(bench.sink.events.contains(&failed));

    let mut bench = Bench::default();
    let peer = bench.browser(A, addr("203.0.113.1:5"));
    for _ in 0..20 {
        bench.advance(Duration::from_secs(5));
        bench.check(&peer, peer.addr, true);
        bench.sink.clear();
    }
    assert!(!bench.sink.events.contains(&failed));
    bench.advance(Duration::from_secs(31));
    assert!(bench.sink.events.contains(&failed));
    assert_eq!(bench.sink.events.iter().filter(|event| **event == failed).count(), 1);
}

#[test]
fn a_browser_that_checks_but_never_shakes_hands_fails_too() {
    let mut bench = Bench::default();
    bench.command(MediaCommand::Open { leg: A, how: webrtc(), beside: None });
    let peer = media_peer::Peer::new(bench.now.mono, addr("203.0.113.1:5"));
    bench.set_remote(A, peer.remote());
    for _ in 0..11 {
        bench.check(&peer, peer.addr, true);
        bench.advance(Duration::from_secs(2));
    }
    let failed = MediaEvent::Failed { leg: A, cause: LegFailure::Dtls };
    assert!(bench.sink.events.contains(&failed));
}

#[test]
fn an_idle_browser_leg_wakes_seldom() {
    let mut bench = Bench::default();
    let peer = bench.browser(A, addr("203.0.113.1:5"));
    bench.set_path(A, plan(Codec::Opus, 111, 1), Source::Itself);
    let (end, mut wakes) = (bench.now.after(Duration::from_secs(60)), 0);
    while let Some((at, _)) = bench.core.poll_timeout().filter(|(at, _)| *at < end.mono) {
        bench.advance(at.saturating_duration_since(bench.now.mono));
        bench.check(&peer, peer.addr, true);
        bench.core.handle_timeout(bench.now, &mut bench.sink);
        bench.sink.clear();
        wakes += 1;
    }
    assert!(wakes < 50, "{wakes} wake-ups in a minute");
}

#[test]
fn nobody_wakes_up_for_what_was_put_off() {
    let mut bench = Bench::default();
    // The last flight of the handshake would have been due to be sent again, had it not been heard.
    let peer = bench.browser(A, addr("203.0.113.1:5"));
    let soon = bench.now.after(Duration::from_secs(4));
    bench.core.handle_timeout(bench.now, &mut bench.sink);
    while let Some((at, what)) = bench.core.poll_timeout().filter(|(at, _)| *at < soon.mono) {
        bench.sink.clear();
        bench.advance(at.saturating_duration_since(bench.now.mono));
        assert!(bench.sink.sent().count() > 0, "woken up for {what}, and nothing to say");
        bench.check(&peer, peer.addr, true);
        bench.core.handle_timeout(bench.now, &mut bench.sink);
    }
}

#[test]
fn a_check_before_the_far_side_is_known_is_answered_with_it() {
    let mut bench = Bench::default();
    bench.command(MediaCommand::Open { leg: A, how: webrtc(), beside: None });
    let peer = media_peer::Peer::new(bench.now.mono, addr("203.0.113.1:5"));
    bench.check(&peer, peer.addr, true);
    assert!(bench.sink.take().is_empty());
    bench.set_remote(A, peer.remote());
    let answers = bench.sink.take();
    assert_eq!((answers.len(), answers[0].0.remote, answers[0].1[0]), (1, peer.addr, 1));
}

#[test]
fn a_browser_that_moves_is_followed_with_its_next_nomination() {
    let mut bench = Bench::default();
    let mut peer = bench.browser(A, addr("203.0.113.1:50000"));
    let phone = bench.phone(B, phones().1);
    bench.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    let to = |bench: &mut Bench, n: u16| {
        bench.sink.clear();
        bench.datagram(phone, phones().1, &rtp(0, false, n, 0, 9, &[0; 160]));
        bench.sink.take()[0].0.remote
    };
    assert_eq!(to(&mut bench, 1), peer.addr);
    let moved = addr("203.0.113.9:1234");
    bench.check(&peer, moved, false);
    assert_eq!(to(&mut bench, 2), peer.addr, "a check alone is no nomination");
    bench.check(&peer, moved, true);
    assert_eq!(to(&mut bench, 3), moved);
    // Rebound once more, and the browser does not say so: SRTP from a validated remote is followed when the other is silent.
    let rebound = addr("203.0.113.9:4321");
    bench.check(&peer, rebound, false);
    bench.advance(Duration::from_secs(1));
    let packet = peer.protect(&rtp(0, false, 1, 0, 7, &[0; 160]));
    bench.datagram(SHARED, rebound, &packet);
    assert_eq!(to(&mut bench, 4), rebound);
    let forged = rtp(0, false, 2, 0, 7, &[0; 170]);
    bench.datagram(SHARED, moved, &forged);
    assert_eq!(bench.core.counters(A).unwrap().dropped_for(Drop::SrtpTag), 1);
}

#[test]
fn many_addresses_of_one_browser_do_not_pile_up() {
    let mut bench = Bench::default();
    let peer = bench.browser(A, addr("203.0.113.1:50000"));
    for port in 1..500 {
        bench.sink.clear();
        bench.check(&peer, SocketAddr::new(peer.addr.ip(), port), true);
        assert_eq!(bench.sink.sent().count(), 1, "every check is answered");
    }
}

#[test]
fn both_legs_report_and_learn_about_every_five_seconds() {
    let (mut bench, a, _) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    let mut reports = Vec::new();
    for n in 0..1_500u16 {
        bench.datagram(a, phones().0, &rtp(0, false, n, u32::from(n) * 160, 9, &[0; 160]));
        bench.advance(FRAME);
        reports.extend(bench.sink.take().into_iter().filter(|sent| (192..224).contains(&sent.1[1])));
    }
    let of = |remote: SocketAddr| reports.iter().filter(|sent| sent.0.remote == remote).collect::<Vec<_>>();
    let (to_a, to_b) = (of(addr("198.51.100.1:20001")), of(addr("198.51.100.2:20001")));
    assert!((4..=12).contains(&to_a.len()) && (4..=12).contains(&to_b.len()), "{} {}", to_a.len(), to_b.len());
    let (mut sender, mut cname, mut block) = (false, false, false);
    parse_compound(&to_b[1].1, |report| match report {
        Report::Sender { ssrc: 2, info } => sender = info.packets > 200,
        Report::Cname { name, .. } => cname = name.len() == 21,
        _ => {}
    })
    .unwrap();
    parse_compound(&to_a[1].1, |report| {
        if let Report::Block { block: found, .. } = report {
            block = found.ssrc == 9 && found.cumulative_lost == 0;
        }
    })
    .unwrap();
    assert!(sender && cname && block);
}

#[test]
fn a_latched_source_is_sent_to_and_a_new_offer_keeps_it() {
    let (mut bench, a, b) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    let (sdp, nat) = (phones().0, addr("203.0.113.77:33333"));
    let remote = LegRemote::Rtp { rtp: sdp, rtcp: sdp, latch: true };
    bench.set_remote(A, remote.clone());
    let to = |bench: &mut Bench, n: u16| {
        bench.sink.clear();
        bench.datagram(b, phones().1, &rtp(0, false, n, 0, 9, &[0; 160]));
        bench.sink.take()[0].0.remote
    };
    assert_eq!(to(&mut bench, 1), sdp);
    bench.datagram(a, nat, &rtp(0, false, 1, 0, 9, &[0; 160]));
    assert_eq!(to(&mut bench, 2), nat);
    bench.set_remote(A, remote);
    assert_eq!(to(&mut bench, 3), nat);
    bench.datagram(a, sdp, &rtp(0, false, 2, 0, 9, &[0; 160]));
    assert_eq!(bench.core.counters(A).unwrap().dropped_for(Drop::ForeignSource), 1);
    let elsewhere = addr("198.51.100.8:8000");
    bench.set_remote(A, LegRemote::Rtp { rtp: elsewhere, rtcp: elsewhere, latch: true });
    assert_eq!(to(&mut bench, 4), elsewhere, "another address lets go");
}

#[test]
fn a_closed_leg_says_good_bye_leaves_nothing_and_is_heard_no_more() {
    let (mut bench, a, b) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    bench.datagram(a, phones().0, &rtp(0, false, 1, 0, 9, &[0; 160]));
    bench.datagram(b, phones().1, &rtp(0, false, 1, 0, 9, &[0; 160]));
    bench.sink.clear();
    let bye = |sent: &(_, Vec<u8>)| sent.1.windows(2).any(|pair| pair == [0x81, 203]);
    bench.command(MediaCommand::Close { leg: A });
    assert_eq!(bench.sink.take().iter().filter(|sent| bye(sent)).count(), 1);
    let Some(MediaEvent::Closed { leg: A, stats }) = bench.sink.events.last() else { panic!() };
    assert_eq!((stats.rx_packets, stats.rx_dropped, stats.tx_packets), (1, 0, 1));
    bench.datagram(a, phones().0, &rtp(0, false, 2, 0, 9, &[0; 160]));
    assert_eq!(bench.core.totals().traffic.unrouted.rtp, 1);
    bench.datagram(b, phones().1, &rtp(0, false, 2, 0, 9, &[0; 160]));
    assert!(bench.sink.take_rtp().is_empty());
    assert_eq!(bench.core.counters(B).unwrap().dropped_for(Drop::NotNeeded), 1);
    bench.command(MediaCommand::Close { leg: B });
    assert_eq!(bench.core.leg_count(), 0);
    bench.command(MediaCommand::Close { leg: A });
    let none = LegStats::default();
    assert_eq!(bench.sink.events.last(), Some(&MediaEvent::Closed { leg: A, stats: none }), "always answered");
}

#[test]
fn a_leg_that_breaks_an_invariant_dies_alone() {
    let (mut bench, a, b) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    bench.sink.poison = Some(phones().1);
    bench.datagram(a, phones().0, &rtp(0, false, 1, 0, 9, &[0; 160]));
    let closed = |event: &&MediaEvent| matches!(event, MediaEvent::Closed { .. });
    assert!(matches!(bench.sink.events.last(), Some(MediaEvent::Closed { leg: A, .. })));
    assert_eq!((bench.core.leg_count(), bench.sink.events.iter().filter(closed).count()), (1, 1));
    bench.sink.poison = None;
    bench.sink.clear();
    bench.datagram(b, phones().1, &rtp(0, false, 1, 0, 9, &[0; 160]));
    assert!(bench.sink.take_rtp().is_empty(), "it hears nothing and is heard by nobody");
    bench.set_path(B, plan(Codec::Pcmu, 0, 2), Source::Itself);
    bench.datagram(b, phones().1, &rtp(0, false, 2, 160, 9, &[0; 160]));
    assert_eq!(bench.sink.take()[0].0.remote, phones().1);
}

#[test]
fn an_ice_restart_asks_for_new_checks_and_keeps_the_keys() {
    // The far side restarts and we answer, or we do and it answers; or, as some do, it alone.
    for (ours_first, ours) in [(true, "next"), (false, "next"), (false, "gate")] {
        let mut bench = Bench::default();
        let mut peer = bench.browser(A, addr("203.0.113.1:50000"));
        bench.set_path(A, plan(Codec::Pcmu, 0, 1), Source::Itself);
        let restart = MediaCommand::RestartIce { leg: A, ice_ufrag: ours.into(), ice_pwd: media_peer::PWD.into() };
        if ours_first {
            bench.command(restart.clone());
        }
        bench.set_remote(A, peer.remote_of("anew"));
        bench.command(restart);
        let answered = |bench: &mut Bench, username: &str, source: SocketAddr| {
            bench.sink.clear();
            bench.datagram(SHARED, source, &peer.check_of(username, true));
            bench.sink.take().iter().filter(|sent| sent.1.starts_with(&[1, 1])).count()
        };
        let new = format!("{ours}:anew");
        assert_eq!(answered(&mut bench, "gate:peer", peer.addr), 1, "the old ones are believed");
        assert_eq!(answered(&mut bench, "gate:other", peer.addr), 0);
        assert_eq!(answered(&mut bench, &new, addr("203.0.113.1:6")), 1);
        assert_eq!(answered(&mut bench, "gate:peer", peer.addr), 0, "until one of the new has succeeded");
        assert_eq!(answered(&mut bench, &new, peer.addr), 1);
        bench.sink.clear();
        let packet = peer.protect(&rtp(0, false, 1, 0, 7, &[3; 160]));
        bench.datagram(SHARED, peer.addr, &packet);
        let echoed = bench.sink.take().remove(0).1;
        assert_eq!(peer.unprotect(&echoed)[12..], [3; 160]);
    }
}

#[test]
fn a_new_certificate_brings_new_keys_and_the_old_ones_serve_until_then() {
    let mut bench = Bench::default();
    let mut old = bench.browser(A, addr("203.0.113.1:50000"));
    bench.set_path(A, plan(Codec::Pcmu, 0, 1), Source::Itself);
    let mut new = media_peer::Peer::new(bench.now.mono, addr("203.0.113.1:50001"));
    bench.set_remote(A, new.remote_of("anew"));
    bench.command(MediaCommand::RestartIce { leg: A, ice_ufrag: "next".into(), ice_pwd: media_peer::PWD.into() });
    let echo = |bench: &mut Bench, peer: &mut media_peer::Peer, n: u16| {
        bench.sink.clear();
        let packet = peer.protect(&rtp(0, false, n, u32::from(n) * 160, 7, &[n as u8; 160]));
        bench.datagram(SHARED, peer.addr, &packet);
        let echoed = peer.unprotect(&bench.sink.take_rtp()[0]);
        assert_eq!(echoed[12..], [n as u8; 160]);
        fields(&echoed).1
    };
    let first = echo(&mut bench, &mut old, 1);
    // The old page's last words end nothing.
    old.close(&mut bench);
    assert_eq!(echo(&mut bench, &mut old, 2), first + 1);
    let check = new.check_of("next:anew", true);
    bench.datagram(SHARED, new.addr, &check);
    bench.sink.events.clear();
    new.shake_hands(&mut bench);
    assert_eq!(echo(&mut bench, &mut new, 3), first + 2, "our source goes on");
    assert!(bench.sink.events.is_empty(), "{:?}", bench.sink.events);
    assert_eq!(bench.core.counters(A).unwrap().dropped_total(), 0);
}

#[test]
fn an_untaken_branch_gives_way_to_another() {
    let (mut bench, a, _) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    bench.command(MediaCommand::Close { leg: B });
    bench.datagram(a, phones().0, &rtp(0, false, 1, 0, 9, &[0; 160]));
    assert!(bench.sink.take_rtp().is_empty());
    let other = addr("198.51.100.3:20000");
    bench.phone(B, other);
    bench.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 3));
    bench.datagram(a, phones().0, &rtp(0, false, 2, 160, 9, &[0; 160]));
    assert_eq!(bench.sink.take()[0].0.remote, other);
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn whatever_comes_every_packet_is_accounted_for_and_no_number_goes_out_twice(
        steps in proptest::collection::vec((-4i32..6, 0u8..30, 0usize..4), 1..200), first in any::<u16>(), transcode in any::<bool>(),
    ) {
        let codec = if transcode { Codec::Opus } else { Codec::Pcmu };
        let (mut bench, a, _) = two_phones(plan(Codec::Pcmu, 0, 1), plan(codec, 111, 2));
        let (mut at, mut ssrc, mut seen, mut last_ts) = (0i32, 9, std::collections::BTreeSet::new(), None);
        for (step, action, ptime) in steps {
            at += step;
            let payload = ulaw(0, [80, 160, 240, 480][ptime]);
            let (seq, ts) = (first.wrapping_add(at as u16), (at * 160).cast_unsigned());
            match action {
                0 => ssrc += 1,
                1 => bench.advance(Duration::from_secs(3)),
                _ => {}
            }
            bench.sink.clear();
            match action {
                2 => bench.datagram(a, phones().0, &rtp(101, false, seq, ts, ssrc, &[5, 0x8a, 3, 32])),
                3 => bench.datagram(a, phones().0, &rtp(97, false, seq, ts, ssrc, &payload)),
                4 => bench.datagram(a, phones().0, &payload),
                5 => bench.datagram(a, phones().0, &rtp(0, false, seq, ts ^ 0x4000_0000, ssrc, &payload)),
                _ => bench.datagram(a, phones().0, &rtp(0, false, seq, ts, ssrc, &payload)),
            }
            for packet in bench.sink.take_rtp() {
                let (pt, seq, ts, ssrc) = fields(&packet);
                prop_assert_eq!(ssrc, 2);
                prop_assert!(seen.insert(seq), "{} twice", seq);
                if transcode && pt == 111 {
                    let ahead = last_ts.replace(ts).map_or(960, |last| ts.wrapping_sub(last));
                    prop_assert!((960..1_000_000_000).contains(&ahead), "time went back or stood: {}", ahead);
                }
            }
            bench.advance(FRAME);
        }
        sums_match(&bench);
    }

    #[test]
    fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), first in prop::sample::select(vec![0u8, 1, 22, 128, 129, 144, 200])) {
        let (mut bench, a, _) = two_phones(plan(Codec::Pcmu, 0, 1), plan(Codec::Opus, 111, 2));
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        for socket in [a, SocketId(a.0 + 1), SHARED] {
            bench.datagram(socket, phones().0, &bytes);
        }
        prop_assert_eq!(bench.core.leg_count(), 2, "no leg died of it");
    }
}
