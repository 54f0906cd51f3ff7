//! Tones and how clean they came through, and RTP packets as bytes.

#![allow(unreachable_pub, dead_code)]

use std::f64::consts::TAU;

/// `len` samples at 8,000 Hz of a sine, from sample `from` on.
pub fn sine(hz: f64, from: usize, len: usize) -> Vec<i16> {
    (from..from + len).map(|n| (8_000.0 * (n as f64 * hz * TAU / 8_000.0).sin()) as i16).collect()
}

/// How far the tone stands above all else, in decibels: the power at `hz` by Goertzel's sums against what is left.
pub fn snr_db(pcm: &[i16], hz: f64) -> f64 {
    let (mut sin, mut cos, mut total) = (0.0, 0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let (sample, angle) = (f64::from(*sample), n as f64 * hz * TAU / 8_000.0);
        sin += sample * angle.sin();
        cos += sample * angle.cos();
        total += sample * sample;
    }
    let tone = (sin * sin + cos * cos) * 2.0 / pcm.len() as f64;
    10.0 * (tone / (total - tone).max(1e-9)).log10()
}

/// An RTP packet.
pub fn rtp(pt: u8, marker: bool, seq: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, u8::from(marker) << 7 | pt];
    packet.extend(seq.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend(payload);
    packet
}

/// Payload type, sequence number, timestamp and SSRC of a packet without CSRCs.
pub fn fields(packet: &[u8]) -> (u8, u16, u32, u32) {
    let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
    (packet[1] & 0x7f, u16::from_be_bytes([packet[2], packet[3]]), word(4), word(8))
}

/// `len` samples of something like a voice: a buzz of 140 Hz with two formants, in syllables of a third of a second.
pub fn voice(from: usize, len: usize) -> Vec<i16> {
    let formant = |hz: f64, centre: f64| (-((hz - centre) / 300.0).powi(2)).exp();
    let sample = |n: usize| {
        let t = n as f64 / 8_000.0;
        let buzz: f64 = (1..20)
            .map(|harmonic| f64::from(harmonic) * 140.0)
            .map(|hz| (formant(hz, 600.0) + 0.5 * formant(hz, 1_700.0) + 0.05) * (TAU * hz * t + hz).sin())
            .sum();
        (buzz * (0.6 - 0.4 * (TAU * 3.0 * t).cos()) * 5_000.0).clamp(-32_000.0, 32_000.0) as i16
    };
    (from..from + len).map(sample).collect()
}

/// How far the voice stands above its distortion, in decibels, at the delay (up to 20 ms) where that is most.
pub fn fidelity_db(pcm: &[i16]) -> f64 {
    let meant: Vec<f64> = voice(0, pcm.len()).into_iter().map(f64::from).collect();
    let at = |delay: usize| {
        let pairs = || meant[4_000..pcm.len() - 160].iter().zip(&pcm[4_000 + delay..]);
        let signal: f64 = pairs().map(|(meant, _)| meant * meant).sum();
        let noise: f64 = pairs().map(|(meant, heard)| (meant - f64::from(*heard)).powi(2)).sum();
        10.0 * (signal / noise.max(1e-9)).log10()
    };
    (0..160).map(at).fold(f64::MIN, f64::max)
}
