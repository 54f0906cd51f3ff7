//! A transcoded call through the whole core (SRTP, Opus, G.711, RTP both ways), without sockets, against the bare libopus
//! calls that it cannot do without: `cargo bench --bench transcode`. Trust the ratio, not the microseconds.

#[path = "../support/audio.rs"]
mod audio;
#[path = "../support/media_peer.rs"]
mod media_peer;

use std::hint::black_box;
use std::time::Instant;

use audio::{rtp, voice};
use media_peer::{A, B, Bench, SHARED, addr, plan};
use ringway::media::Pair;
use ringway::media::codec::{OpusDecoder, OpusEncoder, decode_ulaw, encode_ulaw};
use ringway::plan::Codec;

const FRAMES: usize = 1_000;
const ROUNDS: usize = 7;

fn main() {
    let (browser_addr, phone_addr) = (addr("203.0.113.1:50000"), addr("198.51.100.1:20000"));
    let mut encoder = OpusEncoder::new().unwrap();
    // As browsers do: SILK with FEC.
    encoder.expect_loss(5).unwrap();
    let opus: Vec<Vec<u8>> = (0..FRAMES)
        .map(|n| {
            let mut payload = vec![0; 400];
            let len = encoder.encode(&voice(n * 160, 160), &mut payload).unwrap();
            payload.truncate(len);
            payload
        })
        .collect();
    let ulaw: Vec<Vec<u8>> = (0..FRAMES).map(|n| voice(n * 160, 160).into_iter().map(encode_ulaw).collect()).collect();
    let (mut bare, mut core, mut rewritten) = (f64::MAX, f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        bare = bare.min(run_bare(&opus, &ulaw));
        core = core.min(run_core(&opus, &ulaw, browser_addr, phone_addr, (Codec::Opus, 111)));
        rewritten = rewritten.min(run_core(&ulaw, &ulaw, browser_addr, phone_addr, (Codec::Pcmu, 0)));
    }
    println!("20 ms of one call, both directions            µs   to bare libopus");
    println!("bare libopus decode + encode            {bare:>8.1}   1.00");
    println!("core: SRTP, Opus <-> PCMU, RTP          {core:>8.1}   {:.2}", core / bare);
    println!("core: SRTP, PCMU rewritten, RTP         {rewritten:>8.2}   {:.3}", rewritten / bare);
}

/// Microseconds a frame of each direction.
fn run_bare(opus: &[Vec<u8>], ulaw: &[Vec<u8>]) -> f64 {
    let (mut decoder, mut encoder) = (OpusDecoder::new().unwrap(), OpusEncoder::new().unwrap());
    let pcm: Vec<Vec<i16>> = ulaw.iter().map(|frame| frame.iter().map(|byte| decode_ulaw(*byte)).collect()).collect();
    let (mut heard, mut payload) = ([0; 160], [0; 400]);
    let start = Instant::now();
    for (opus, pcm) in opus.iter().zip(&pcm) {
        black_box(decoder.decode(Some(opus), false, &mut heard).unwrap());
        black_box(encoder.encode(pcm, &mut payload).unwrap());
    }
    start.elapsed().as_nanos() as f64 / 1_000.0 / FRAMES as f64
}

fn run_core(
    to_phone: &[Vec<u8>],
    to_browser: &[Vec<u8>],
    browser_addr: std::net::SocketAddr,
    phone_addr: std::net::SocketAddr,
    (codec, pt): (Codec, u8),
) -> f64 {
    let mut bench = Bench::default();
    let mut browser = bench.browser(A, browser_addr);
    let phone = bench.phone(B, phone_addr);
    bench.join(plan(codec, pt, 1), plan(Codec::Pcmu, 0, 2));
    let ticks = codec.clock_hz() / 50;
    let from_browser: Vec<_> = (0u16..)
        .zip(to_phone)
        .map(|(n, payload)| browser.protect(&rtp(pt, false, n, u32::from(n) * ticks, 77, payload)))
        .collect();
    let from_phone: Vec<_> =
        (0u16..).zip(to_browser).map(|(n, payload)| rtp(0, false, n, u32::from(n) * 160, 88, payload)).collect();
    bench.sink.clear();
    let mut sent = 0;
    let start = Instant::now();
    for (browser, phone_packet) in from_browser.iter().zip(&from_phone) {
        for (socket, remote, packet) in [(SHARED, browser_addr, browser), (phone, phone_addr, phone_packet)] {
            bench.slot.fill(packet);
            bench.core.handle_datagram(bench.now, Pair { socket, remote }, &mut bench.slot, &mut bench.sink);
        }
        sent += bench.sink.sent().count();
        bench.sink.clear();
    }
    let took = start.elapsed();
    assert_eq!(sent, 2 * FRAMES);
    took.as_nanos() as f64 / 1_000.0 / FRAMES as f64
}
