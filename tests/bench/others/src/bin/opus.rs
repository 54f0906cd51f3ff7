//! Our libopus against the one that audiopus brings, round by round: `script/bench --parsers`. Its argument is the program
//! that has the other one.

#[path = "../../../../support/audio.rs"]
#[allow(dead_code, unreachable_pub)]
mod audio;

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use ringway::media::codec::{OpusDecoder, OpusEncoder};

const ROUNDS: usize = 15;

/// Microseconds a frame of encoding and of decoding, with the settings that the other program repeats.
fn ours(frames: &[Vec<i16>]) -> (f64, f64) {
    let mut encoder = OpusEncoder::new().expect("an encoder");
    let mut payloads = vec![vec![0; 400]; frames.len()];
    let start = Instant::now();
    for (frame, payload) in frames.iter().zip(&mut payloads) {
        let len = encoder.encode(frame, payload).expect("a frame");
        payload.truncate(len);
    }
    let encoded = start.elapsed();
    let mut decoder = OpusDecoder::new().expect("a decoder");
    let mut pcm = [0; 160];
    let start = Instant::now();
    for payload in &payloads {
        black_box(decoder.decode(Some(payload), false, &mut pcm).expect("a packet"));
    }
    let us = |took: std::time::Duration| took.as_nanos() as f64 / 1_000.0 / frames.len() as f64;
    (us(encoded), us(start.elapsed()))
}

fn middle(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn main() {
    let program = std::env::args().nth(1).expect("the program that has audiopus");
    let mut theirs = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut ask = theirs.stdin.take().expect("piped");
    let mut answers = BufReader::new(theirs.stdout.take().expect("piped")).lines();
    let version = answers.next().expect("a version").expect("text");
    let frames: Vec<Vec<i16>> = (0..500).map(|n| audio::voice(n * 160, 160)).collect();
    let (mut encode, mut decode) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        let (encoded, decoded) = ours(&frames);
        encode.0.push(encoded);
        decode.0.push(decoded);
        writeln!(ask, "again").expect("it listens");
        let line = answers.next().expect("an answer").expect("text");
        let (encoded, decoded) = line.split_once(' ').expect("two figures");
        encode.1.push(encoded.parse().expect("a figure"));
        decode.1.push(decoded.parse().expect("a figure"));
    }
    drop(ask);
    theirs.wait().expect("it ends");
    println!("Opus, µs a 20 ms frame: 8 kHz, CELT alone at 36 kbit/s, complexity 0; audiopus brings {version}");
    println!("{:<10} {:>8} {:>10} {:>13}", "", "ours", "audiopus", "ours/theirs");
    for (what, (ours, theirs)) in [("encode", encode), ("decode", decode)] {
        let (ours, theirs) = (middle(ours), middle(theirs));
        println!("{what:<10} {ours:>8.1} {theirs:>10.1} {:>13.2}", ours / theirs);
    }
}
