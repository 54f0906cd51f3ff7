//! Classic legs that share a pair of ports, each found by the address that its far side's SDP names.

#[path = "support/audio.rs"]
mod audio;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::net::SocketAddr;
use std::time::Duration;

use audio::rtp;
use media_peer::{A, B, Bench, RTCP, RTP, RTP_ADDR, addr, plan};
use ringway::media::SocketId;
use ringway::media::stats::Drop;
use ringway::plan::*;

const C: LegId = LegId(3);
const D: LegId = LegId(4);

fn ours() -> SocketAddr {
    addr(RTP_ADDR)
}

/// The far sides of [`A`] to [`D`]: one PBX, as many ports.
fn remote(leg: LegId) -> SocketAddr {
    SocketAddr::new(addr("198.51.100.1:0").ip(), 30_000 + 2 * leg.0 as u16)
}

fn set_remote(bench: &mut Bench, leg: LegId, rtp: SocketAddr) {
    let rtcp = SocketAddr::new(rtp.ip(), rtp.port() + 1);
    bench.set_remote(leg, LegRemote::Rtp { rtp, rtcp, latch: false });
}

/// Two calls, [`A`] with [`B`] and [`C`] with [`D`], all of whose legs share the port.
fn two_calls() -> Bench {
    let mut bench = Bench::with_shared_ports();
    for leg in [A, B, C, D] {
        let port = RtpPort::Shared { remote: (leg == A).then(|| remote(leg)) };
        assert_eq!(bench.open_classic(leg, port), ours());
        set_remote(&mut bench, leg, remote(leg));
    }
    for (leg, hears) in [(A, B), (B, A), (C, D), (D, C)] {
        bench.set_path(leg, plan(Codec::Pcmu, 0, leg.0 as u32), Source::Leg(hears));
    }
    bench.sink.clear();
    bench
}

/// A packet from `source` to the shared port; to whom it goes on, and from which socket.
fn speak(bench: &mut Bench, source: SocketAddr, n: u16) -> Option<(SocketId, SocketAddr)> {
    bench.datagram(RTP, source, &rtp(0, false, n, u32::from(n) * 160, u32::from(source.port()), &[n as u8; 160]));
    // Reports leave by the other one.
    let sent: Vec<_> = bench.sink.take().into_iter().filter(|(pair, _)| pair.socket == RTP).collect();
    assert!(sent.len() < 2);
    sent.first().map(|(pair, packet)| {
        assert_eq!(packet[12..], [n as u8; 160]);
        (pair.socket, pair.remote)
    })
}

fn are_balanced(bench: &Bench) {
    let totals = bench.core.totals();
    assert!(totals.traffic.is_balanced(), "{totals:?}");
    assert_eq!(totals.traffic.rtp, totals.legs.rx, "{totals:?}");
}

#[test]
fn each_leg_is_found_by_its_far_sides_address_and_who_is_nobodys_is_counted() {
    let mut bench = two_calls();
    for n in 1..20 {
        for (from, to) in [(A, B), (B, A), (C, D), (D, C)] {
            assert_eq!(speak(&mut bench, remote(from), n), Some((RTP, remote(to))), "{from:?}");
        }
    }
    assert_eq!(speak(&mut bench, addr("198.51.100.1:40000"), 1), None);
    assert_eq!(speak(&mut bench, addr("203.0.113.1:30002"), 1), None);
    assert_eq!(bench.core.totals().traffic.unrouted.rtp, 2);
    are_balanced(&bench);
}

#[test]
fn a_far_side_that_sends_from_elsewhere_is_refused_and_its_call_says_so() {
    let mut bench = Bench::with_shared_ports();
    bench.phone_on_shared_port(A, remote(A));
    bench.set_path(A, plan(Codec::Pcmu, 0, 1), Source::Itself);
    bench.sink.clear();
    assert_eq!(speak(&mut bench, addr("198.51.100.1:40000"), 1), None);
    assert_eq!(speak(&mut bench, addr("198.51.100.2:30002"), 1), None);
    let counters = bench.core.counters(A).expect("it is open");
    assert_eq!((counters.rx, counters.drops().collect::<Vec<_>>()), (1, vec![(Drop::ForeignSource, 1)]));
    assert_eq!(bench.core.totals().traffic.unrouted.rtp, 1);
    assert_eq!(speak(&mut bench, remote(A), 1), Some((RTP, remote(A))));
    are_balanced(&bench);
}

#[test]
fn reports_are_found_on_the_odd_port_and_leave_from_it() {
    let mut bench = two_calls();
    speak(&mut bench, remote(A), 1);
    bench.advance(Duration::from_secs(8));
    let reports: Vec<_> = bench.sink.take().into_iter().filter(|(_, packet)| (192..224).contains(&packet[1])).collect();
    let rtcp = |leg| SocketAddr::new(remote(leg).ip(), remote(leg).port() + 1);
    for leg in [A, B] {
        assert!(reports.iter().any(|(pair, _)| (pair.socket, pair.remote) == (RTCP, rtcp(leg))), "{leg:?}: {reports:?}");
    }
    let (_, report) = &reports[0];
    bench.datagram(RTCP, rtcp(C), report);
    assert_eq!(bench.core.totals().traffic.rtcp, 1);
    bench.datagram(RTCP, addr("198.51.100.1:40001"), report);
    assert_eq!(bench.core.totals().traffic.rtcp, 1);
    are_balanced(&bench);
}

#[test]
fn an_address_that_is_anothers_gets_a_port_of_its_own_if_it_is_known_in_time() {
    let mut bench = two_calls();
    for taken in [remote(C), ours()] {
        assert_ne!(bench.open_classic(LegId(9), RtpPort::Shared { remote: Some(taken) }), ours(), "{taken}");
        bench.command(MediaCommand::Close { leg: LegId(9) });
        bench.sink.events.clear();
    }
    assert_eq!(speak(&mut bench, remote(C), 1), Some((RTP, remote(D))));
    are_balanced(&bench);
}

#[test]
fn who_names_anothers_address_hears_nothing_of_it() {
    let mut bench = two_calls();
    let thief = LegId(9);
    bench.phone_on_shared_port(thief, remote(A));
    bench.set_path(thief, plan(Codec::Pcmu, 0, 9), Source::Leg(thief));
    assert_eq!(speak(&mut bench, remote(A), 1), Some((RTP, remote(B))));
    // In the middle of a call likewise, and what it had is nobody's then.
    set_remote(&mut bench, D, remote(B));
    assert_eq!(speak(&mut bench, remote(B), 2), Some((RTP, remote(A))));
    assert_eq!(speak(&mut bench, remote(D), 2), None);
    // When the call ends the address is free.
    bench.command(MediaCommand::Close { leg: B });
    set_remote(&mut bench, D, remote(B));
    assert_eq!(speak(&mut bench, remote(B), 3), Some((RTP, remote(C))));
    are_balanced(&bench);
}

/// A check proves no more than that a browser knows its own password; where it comes from can be forged.
#[test]
fn no_browsers_check_takes_a_phones_address() {
    let mut bench = two_calls();
    let browser = bench.browser(LegId(9), addr("203.0.113.5:5000"));
    bench.datagram(RTP, remote(A), &browser.check(true));
    assert_eq!((bench.core.totals().traffic.unrouted.stun, bench.sink.take().len()), (1, 0));
    assert_eq!(speak(&mut bench, remote(A), 1), Some((RTP, remote(B))));
    are_balanced(&bench);
}

#[test]
fn a_far_side_that_moves_is_heard_from_where_it_is() {
    let mut bench = two_calls();
    assert_eq!(speak(&mut bench, remote(A), 1), Some((RTP, remote(B))));
    let elsewhere = addr("198.51.100.7:5000");
    set_remote(&mut bench, A, elsewhere);
    assert_eq!(speak(&mut bench, remote(A), 2), None);
    assert_eq!(speak(&mut bench, elsewhere, 2), Some((RTP, remote(B))));
    assert_eq!(speak(&mut bench, remote(B), 2), Some((RTP, elsewhere)));
    bench.command(MediaCommand::Close { leg: A });
    assert_eq!(speak(&mut bench, elsewhere, 3), None);
    are_balanced(&bench);
}
