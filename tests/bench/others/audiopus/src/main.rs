//! Prints its libopus' version, then, for each line that it reads, the microseconds a frame of encoding and of decoding.
//! `src/bin/opus.rs`, one directory up, asks.

#[path = "../../../../support/audio.rs"]
#[allow(dead_code, unreachable_pub)]
mod audio;

use std::hint::black_box;
use std::io::BufRead;
use std::time::Instant;

use audiopus::coder::{Decoder, Encoder};
use audiopus::{Application, Bitrate, Channels, SampleRate, Signal};

fn main() -> Result<(), audiopus::Error> {
    println!("{}", audiopus::version());
    let frames: Vec<Vec<i16>> = (0..500).map(|n| audio::voice(n * 160, 160)).collect();
    for _ in std::io::stdin().lock().lines() {
        let mut encoder = Encoder::new(SampleRate::Hz8000, Channels::Mono, Application::LowDelay)?;
        encoder.set_bitrate(Bitrate::BitsPerSecond(36_000))?;
        encoder.set_complexity(0)?;
        encoder.set_vbr(false)?;
        encoder.set_signal(Signal::Voice)?;
        let mut payloads = vec![vec![0; 400]; frames.len()];
        let start = Instant::now();
        for (frame, payload) in frames.iter().zip(&mut payloads) {
            let len = encoder.encode(frame, payload)?;
            payload.truncate(len);
        }
        let encoded = start.elapsed();
        let mut decoder = Decoder::new(SampleRate::Hz8000, Channels::Mono)?;
        let mut pcm = [0i16; 160];
        let start = Instant::now();
        for payload in &payloads {
            black_box(decoder.decode(Some((&payload[..]).try_into()?), (&mut pcm[..]).try_into()?, false)?);
        }
        let us = |took: std::time::Duration| took.as_nanos() as f64 / 1_000.0 / frames.len() as f64;
        println!("{} {}", us(encoded), us(start.elapsed()));
    }
    Ok(())
}
