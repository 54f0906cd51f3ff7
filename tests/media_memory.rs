//! What a call's media weighs in the core: both its legs, the flows between them and the room for their deadlines. Bytes of
//! Rust's heap: what the cryptographic library keeps for itself (the keys of AES-GCM) is not among them.
//!
//! A call as it is for most of its life: until a browser's DTLS connection has settled, 5 s after its handshake, it weighs
//! eleven kilobytes more.
#![allow(unsafe_code)]

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/audio.rs"]
mod audio;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use allocator::held;
use audio::rtp;
use media_peer::{Bench, PWD, Peer, SHARED, TestSink, plan};
use ringway::media::codec::OpusEncoder;
use ringway::plan::{Codec, DtmfWay, LegId, LegOpen, LegPlan, MediaCommand, MediaEvent, Source};

/// What a relayed call weighs at most, and a transcoded one besides the state of libopus.
const MOST: isize = 12 * 1_024;

/// Time for a DTLS connection to settle, and not so long that a browser's consent is lost.
const SETTLING: Duration = Duration::from_secs(10);

const OPUS: (Codec, u8) = (Codec::Opus, 111);
const PCMU: (Codec, u8) = (Codec::Pcmu, 0);

/// Each far side has a port of its own.
fn far_side(leg: LegId) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 10_000 + u16::try_from(leg.0).unwrap() * 2)
}

fn browser(bench: &mut Bench, leg: LegId) -> Peer {
    let (ours, theirs) = (format!("gate{}", leg.0), format!("peer{}", leg.0));
    let mut peer = Peer::new(bench.now.mono, far_side(leg));
    let how = LegOpen::WebRtc { ice_ufrag: ours.clone(), ice_pwd: PWD.into() };
    bench.command(MediaCommand::Open { leg, how, beside: None });
    bench.set_remote(leg, peer.remote_of(&theirs));
    bench.datagram(SHARED, peer.addr, &peer.check_of(&format!("{ours}:{theirs}"), true));
    peer.shake_hands(bench);
    peer
}

/// Bytes that a core with room for so many calls holds once all of them have spoken both ways, and a while has passed. `keys` is how
/// the first of a call's far sides is sent keys.
fn weight_of(calls: isize, with_browser: bool, codec: (Codec, u8), keys: DtmfWay) -> isize {
    let mut frame = [0; 400];
    let mut len = OpusEncoder::new().unwrap().encode(&[0; 160], &mut frame).unwrap();
    if codec.0 != Codec::Opus {
        len = 160;
    }
    let before = held();
    let mut bench = Bench::with(|config| config.max_legs = 2 * calls.cast_unsigned());
    for call in 0..calls.cast_unsigned() as u64 {
        let (a, b) = (LegId(2 * call), LegId(2 * call + 1));
        let mut peer = with_browser.then(|| browser(&mut bench, a));
        let a_socket = if with_browser { SHARED } else { bench.phone(a, far_side(a)) };
        let b_socket = bench.phone(b, far_side(b));
        bench.set_path(a, LegPlan { dtmf_tx: keys, ..plan(codec.0, codec.1, 1) }, Source::Leg(b));
        bench.set_path(b, plan(Codec::Pcmu, 0, 2), Source::Leg(a));
        for n in 0..10u16 {
            let packet = rtp(codec.1, n == 0, n, u32::from(n) * codec.0.clock_hz() / 50, 7, &frame[..len]);
            let packet = match &mut peer {
                Some(peer) => peer.protect(&packet),
                None => packet,
            };
            bench.datagram(a_socket, far_side(a), &packet);
            bench.datagram(b_socket, far_side(b), &rtp(0, n == 0, n, u32::from(n) * 160, 8, &[0x55; 160]));
            bench.advance(Duration::from_millis(1));
            bench.sink.clear();
        }
        for leg in [a, b] {
            let counters = bench.core.counters(leg).unwrap();
            assert_eq!((counters.sent, counters.dropped_total()), (10, 0), "{leg:?}");
        }
    }
    bench.advance(SETTLING);
    assert!(bench.sink.events.iter().all(|event| !matches!(event, MediaEvent::Failed { .. })));
    // What the far sides and the sink have kept is none of the core's.
    bench.sink = TestSink::default();
    held() - before
}

/// What one call more weighs.
fn weight_of_a_call(with_browser: bool, codec: (Codec, u8), keys: DtmfWay) -> isize {
    let (few, many) = (20, 60);
    (weight_of(many, with_browser, codec, keys) - weight_of(few, with_browser, codec, keys)) / (many - few)
}

/// Holds a call between phones and one of a browser to the same limit, in bytes.
fn weighs_less(name: &str, codec: (Codec, u8), most: isize) {
    for (legs, with_browser) in [("RTP and RTP", false), ("SRTP and RTP", true)] {
        for keys in [DtmfWay::Events, DtmfWay::Tones] {
            let weight = weight_of_a_call(with_browser, codec, keys);
            println!("a {name} call, {legs}, keys as {keys:?}: {weight} bytes of {most}");
            assert!(weight < most, "a {name} call, {legs}, keys as {keys:?}: {weight} bytes of {most}");
        }
    }
}

#[test]
fn a_relayed_call_weighs_less_than_twelve_kibibytes() {
    weighs_less("relayed", PCMU, MOST);
}

#[test]
fn a_transcoded_call_weighs_less_than_twelve_kibibytes_besides_the_state_of_libopus() {
    // SAFETY: neither takes a pointer.
    let libopus = unsafe { opusic_sys::opus_encoder_get_size(1) + opusic_sys::opus_decoder_get_size(1) } as isize;
    println!("libopus itself: {libopus} bytes");
    weighs_less("transcoded", OPUS, MOST + libopus);
}
