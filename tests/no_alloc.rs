//! No path allocates per packet once it is warm: a counting allocator under the core, without sockets.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/audio.rs"]
mod audio;
#[path = "support/house.rs"]
mod house;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::time::Duration;

use audio::{rtp, sine};
use house::House;
use media_peer::{A, B, Bench, Peer, RTP, SHARED, addr, plan};
use ringway::media::SocketId;
use ringway::media::codec::{OpusEncoder, encode_ulaw};
use ringway::plan::{Codec, DtmfWay, LegPlan, MediaCommand, Source};

const PHONE: &str = "198.51.100.1:20000";
const BROWSER: &str = "203.0.113.1:50000";
const WARM: usize = 50;
const COUNTED: usize = 500;
/// Time for a DTLS connection to settle, which allocates once.
const SETTLING: Duration = Duration::from_secs(10);

/// Feeds prepared packets, one each 20 ms with all deadlines on the way, and counts what is allocated after warm-up.
fn allocations(bench: &mut Bench, socket: SocketId, remote: &str, packets: &[Vec<u8>], sent_each: usize) -> usize {
    let remote = addr(remote);
    let (mut before, mut sent) = (0, 0);
    for (n, packet) in packets.iter().enumerate() {
        if n == WARM {
            before = allocator::allocations();
            sent = 0;
        }
        bench.datagram(socket, remote, packet);
        sent += bench.sink.sent().count();
        bench.sink.clear();
        bench.advance(Duration::from_millis(20));
        bench.sink.clear();
    }
    let allocated = allocator::allocations() - before;
    assert_eq!(sent, COUNTED * sent_each, "every packet went through");
    allocated
}

/// A browser whose DTLS connection has settled.
fn settled_browser(bench: &mut Bench) -> Peer {
    let browser = bench.browser(A, addr(BROWSER));
    bench.advance(SETTLING);
    bench.check(&browser, addr(BROWSER), true);
    bench.sink.clear();
    browser
}

fn opus() -> Vec<Vec<u8>> {
    let mut encoder = OpusEncoder::new().unwrap();
    (0..WARM + COUNTED)
        .map(|n| {
            let mut payload = [0; 400];
            let len = encoder.encode(&sine(440.0, n * 160, 160), &mut payload).unwrap();
            rtp(111, false, n as u16, n as u32 * 960, 77, &payload[..len])
        })
        .collect()
}

fn pcmu() -> Vec<Vec<u8>> {
    let ulaw = |n: usize| sine(440.0, n * 160, 160).into_iter().map(encode_ulaw).collect::<Vec<_>>();
    (0..WARM + COUNTED).map(|n| rtp(0, false, n as u16, n as u32 * 160, 88, &ulaw(n))).collect()
}

#[test]
fn rewriting_between_phones_allocates_nothing() {
    let mut bench = Bench::default();
    let a = bench.phone(A, addr(PHONE));
    bench.phone(B, addr("198.51.100.2:20000"));
    bench.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    assert_eq!(allocations(&mut bench, a, PHONE, &pcmu(), 1), 0);
}

#[test]
fn rewriting_on_a_shared_port_allocates_nothing_nor_does_what_is_refused_there() {
    let mut bench = Bench::with_shared_ports();
    bench.phone_on_shared_port(A, addr(PHONE));
    bench.phone_on_shared_port(B, addr("198.51.100.2:20000"));
    bench.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    assert_eq!(allocations(&mut bench, RTP, PHONE, &pcmu(), 1), 0);
    assert_eq!(allocations(&mut bench, RTP, "198.51.100.1:9", &pcmu(), 0), 0);
    assert_eq!(allocations(&mut bench, RTP, "203.0.113.9:9", &pcmu(), 0), 0);
}

#[test]
fn transcoding_with_srtp_allocates_nothing_either_way() {
    let mut bench = Bench::default();
    let mut browser = settled_browser(&mut bench);
    let phone = bench.phone(B, addr(PHONE));
    bench.join(plan(Codec::Opus, 111, 1), plan(Codec::Pcmu, 0, 2));
    let protected: Vec<_> = opus().iter().map(|packet| browser.protect(packet)).collect();
    assert_eq!(allocations(&mut bench, SHARED, BROWSER, &protected, 1), 0);
    assert_eq!(allocations(&mut bench, phone, PHONE, &pcmu(), 1), 0);
    let counters = bench.core.counters(A).unwrap();
    assert_eq!(counters.sent, (WARM + COUNTED) as u64);
}

#[test]
fn rewriting_to_srtp_and_echo_allocate_nothing() {
    let mut bench = Bench::default();
    let mut browser = settled_browser(&mut bench);
    let phone = bench.phone(B, addr(PHONE));
    bench.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    assert_eq!(allocations(&mut bench, phone, PHONE, &pcmu(), 1), 0);
    bench.set_path(A, plan(Codec::Opus, 111, 1), Source::Itself);
    let protected: Vec<_> = opus().iter().map(|packet| browser.protect(packet)).collect();
    assert_eq!(allocations(&mut bench, SHARED, BROWSER, &protected, 1), 0);
}

#[test]
fn handing_over_to_another_worker_allocates_nothing() {
    let mut house = House::new(2, 4);
    let mut browser = house.workers[0].browser(A, addr(BROWSER));
    house.opened(A);
    house.phone(0, B, addr(PHONE));
    house.set_path(A, plan(Codec::Pcmu, 0, 1), Source::Leg(B));
    house.set_path(B, plan(Codec::Pcmu, 0, 2), Source::Leg(A));
    house.move_legs(&[A, B], 1);
    house.advance(SETTLING);
    house.workers.iter_mut().for_each(|worker| worker.sink.clear());
    let protected: Vec<_> = pcmu().iter().map(|packet| browser.protect(packet)).collect();
    let mut before = 0;
    for (n, packet) in protected.iter().enumerate() {
        if n == WARM {
            before = allocator::allocations();
        }
        house.datagram(SHARED, addr(BROWSER), packet);
        assert!(house.workers[1].sink.sent().count() >= 1, "it went through");
        house.workers.iter_mut().for_each(|worker| worker.sink.clear());
        house.advance(Duration::from_millis(20));
        house.workers.iter_mut().for_each(|worker| worker.sink.clear());
    }
    assert_eq!(allocator::allocations() - before, 0);
}

#[test]
fn what_is_played_allocates_nothing() {
    for source in [Source::Tone { hz: 440 }, Source::Ringback, Source::Music] {
        for (codec, pt) in [(Codec::Opus, 111), (Codec::Pcmu, 0)] {
            let mut bench = Bench::default();
            bench.phone(A, addr(PHONE));
            bench.set_path(A, plan(codec, pt, 1), source);
            let (mut before, mut sent) = (0, 0);
            for n in 0..500 {
                if n == 50 {
                    before = allocator::allocations();
                }
                bench.advance(Duration::from_millis(20));
                sent += bench.sink.sent().count();
                bench.sink.clear();
            }
            // The tone of a phone that rings elsewhere is a pause most of the time, and Opus sends none.
            assert!(sent > 100, "{source:?} as {codec:?}: {sent} packets");
            assert_eq!(allocator::allocations() - before, 0, "{source:?} as {codec:?}");
        }
    }
}

#[test]
fn keys_allocate_nothing_in_any_form() {
    // A key of 100 ms every 400, as events and as tones at once, so that either ear is busy.
    let packets = |tones: bool| -> Vec<Vec<u8>> {
        let frame = |n: usize| match (n % 20, tones) {
            (at @ 0..5, false) => {
                let ticks = (at as u16 + 1) * 160;
                let payload = [5, if at == 4 { 0x8a } else { 10 }, (ticks >> 8) as u8, ticks as u8];
                rtp(101, at == 0, n as u16, (n - at) as u32 * 160, 88, &payload)
            }
            (0..5, true) => {
                let pair = sine(770.0, n * 160, 160).into_iter().zip(sine(1_336.0, n * 160, 160));
                let payload: Vec<u8> = pair.map(|(row, column)| encode_ulaw(row / 2 + column / 2)).collect();
                rtp(0, false, n as u16, n as u32 * 160, 88, &payload)
            }
            _ => rtp(0, false, n as u16, n as u32 * 160, 88, &[0xff; 160]),
        };
        (0..WARM + COUNTED).map(frame).collect()
    };
    for tones in [false, true] {
        for way in [DtmfWay::Events, DtmfWay::Tones, DtmfWay::Signalling] {
            for (codec, pt) in [(Codec::Pcmu, 0), (Codec::Opus, 111)] {
                let mut bench = Bench::default();
                let a = bench.phone(A, addr(PHONE));
                bench.phone(B, addr("198.51.100.2:20000"));
                bench.sink.events.reserve(1_000);
                bench.join(
                    LegPlan { dtmf_rx_tones: tones, ..plan(Codec::Pcmu, 0, 1) },
                    LegPlan { dtmf_tx: way, ..plan(codec, pt, 2) },
                );
                let (mut before, mut events) = (0, 0);
                for (n, packet) in packets(tones).iter().enumerate() {
                    if n == WARM {
                        (before, events) = (allocator::allocations(), bench.sink.events.len());
                    }
                    bench.datagram(a, addr(PHONE), packet);
                    bench.advance(Duration::from_millis(20));
                    bench.sink.clear();
                }
                assert_eq!(allocator::allocations() - before, 0, "{way:?} of {codec:?}, tones: {tones}");
                let told = if way == DtmfWay::Signalling { COUNTED / 20 } else { 0 };
                assert!((told..=told + 1).contains(&(bench.sink.events.len() - events)), "{way:?}: {:?}", bench.sink.events);
            }
        }
    }
}

#[test]
fn keys_that_are_pressed_by_command_allocate_nothing_once_they_wait() {
    for way in [DtmfWay::Events, DtmfWay::Tones] {
        let mut bench = Bench::default();
        bench.phone(A, addr(PHONE));
        bench.set_path(A, LegPlan { dtmf_tx: way, ..plan(Codec::Opus, 111, 1) }, Source::Music);
        let mut before = 0;
        for n in 0..500u32 {
            if n == 50 {
                before = allocator::allocations();
            }
            if n % 10 == 0 {
                bench.command(MediaCommand::Dtmf { leg: A, event: (n % 16) as u8, duration_ms: 80 });
            }
            bench.advance(Duration::from_millis(20));
            bench.sink.clear();
        }
        assert_eq!(allocator::allocations() - before, 0, "{way:?}");
    }
}
