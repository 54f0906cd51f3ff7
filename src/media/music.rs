//! What a caller on hold hears: a loop of the gateway's own making, and recordings brought to the rate of all PCM here.

use std::f64::consts::{PI, TAU};
use std::sync::Arc;

use super::codec::SAMPLE_HZ;

/// Eight bars of two and a half seconds.
const BAR: usize = 20_000;
/// Semitones from A4 of four notes a bar, and the bass under them: C, a minor, F and G, twice, each time another way round.
const BARS: [([i32; 4], i32); 8] = [
    ([-9, -5, -2, -5], -21),
    ([-12, -9, -5, -9], -24),
    ([-16, -12, -9, -5], -28),
    ([-14, -10, -7, -10], -26),
    ([-5, -2, -5, -9], -21),
    ([-5, -9, -12, -9], -24),
    ([-9, -12, -16, -12], -28),
    ([-7, -10, -14, -2], -26),
];
/// How long a note is heard, in samples, and the time in which it fades to a third.
const NOTE: usize = 24_000;
const FADE_SECS: f64 = 0.8;
/// So loud is the loudest moment: 12 dB below full scale.
const PEAK: f64 = 8_200.0;

/// The built-in music: 20 s, the same every time. Notes that outlast the end sound on in the beginning, so that the loop has no
/// seam.
#[must_use]
pub fn built_in() -> Arc<[i16]> {
    let mut mix = vec![0.0; BAR * BARS.len()];
    for (bar, (notes, bass)) in BARS.iter().enumerate() {
        add_note(&mut mix, bar * BAR, *bass, 0.9);
        for (n, note) in notes.iter().enumerate() {
            add_note(&mut mix, bar * BAR + n * BAR / notes.len(), *note, 0.6);
        }
    }
    let loudest = mix.iter().fold(1.0, |most: f64, sample| most.max(sample.abs()));
    mix.iter().map(|sample| (sample / loudest * PEAK) as i16).collect()
}

/// A soft pluck: the pitch and a little of its octave, up in 30 ms, down slowly.
fn add_note(mix: &mut [f64], at: usize, semitones: i32, level: f64) {
    let step = 440.0 * 2f64.powf(f64::from(semitones) / 12.0) * TAU / f64::from(SAMPLE_HZ);
    for n in 0..NOTE {
        let secs = n as f64 / f64::from(SAMPLE_HZ);
        let left = (NOTE - n) as f64 / 1_600.0;
        let envelope = (secs / 0.03).min(1.0) * (-secs / FADE_SECS).exp() * left.min(1.0);
        let phase = step * n as f64;
        let place = (at + n) % mix.len();
        mix[place] += level * envelope * (phase.sin() + 0.2 * (2.0 * phase).sin());
    }
}

/// Zero crossings of the low-pass on each side.
const CROSSINGS: f64 = 16.0;
/// Where it begins to close: below the half of 8,000 Hz by the width of its slope.
const CUTOFF_HZ: f64 = 3_500.0;

/// Brings mono PCM of `from_hz` (-1 to 1) to 8,000 Hz, through a low-pass (a sinc under a Hann window), so that nothing above
/// 4,000 Hz folds down.
#[must_use]
pub fn resample(pcm: &[f32], from_hz: u32) -> Arc<[i16]> {
    let to_hz = SAMPLE_HZ;
    let sample = |value: f32| (value * 32_767.0).clamp(-32_768.0, 32_767.0) as i16;
    if from_hz == to_hz || from_hz == 0 {
        return pcm.iter().map(|value| sample(*value)).collect();
    }
    // Output n lies at input n * up / down: `down` different distances to the next input, each with taps of its own.
    let divisor = gcd(from_hz, to_hz);
    let (up, down) = (u64::from(from_hz / divisor), u64::from(to_hz / divisor));
    let cutoff = CUTOFF_HZ.min(f64::from(from_hz) * 0.45) / f64::from(from_hz);
    let half = (CROSSINGS / (2.0 * cutoff)).ceil() as i64;
    let taps: Vec<Vec<f32>> = (0..down).map(|phase| kernel(phase as f64 / down as f64, cutoff, half)).collect();
    let len = pcm.len() as u64 * down / up;
    let at = |n: u64| {
        let (whole, phase) = ((n * up / down) as i64, (n * up % down) as usize);
        let first = whole - half + 1;
        let skip = usize::try_from(-first).unwrap_or(0);
        let input = pcm.get(usize::try_from(first).unwrap_or(0)..).unwrap_or_default();
        sample(taps[phase].iter().skip(skip).zip(input).map(|(tap, value)| tap * value).sum())
    };
    (0..len).map(at).collect()
}

/// Taps for the inputs around a place that lies `fraction` behind an input; their sum is 1.
fn kernel(fraction: f64, cutoff: f64, half: i64) -> Vec<f32> {
    let tap = |n: i64| {
        let x = n as f64 - fraction;
        let sinc = if x == 0.0 { 2.0 * cutoff } else { (TAU * cutoff * x).sin() / (PI * x) };
        sinc * (0.5 + 0.5 * (PI * x / half as f64).cos()).max(0.0)
    };
    let taps: Vec<f64> = (1 - half..=half).map(tap).collect();
    let sum: f64 = taps.iter().sum();
    taps.into_iter().map(|tap| (tap / sum) as f32).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_music_is_moderate_and_has_no_click_anywhere() {
        let pcm = built_in();
        assert_eq!(pcm.len(), 160_000);
        let rms = (pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / pcm.len() as f64).sqrt();
        assert!((800.0..3_500.0).contains(&rms), "{rms}");
        let step = |n: usize| (i32::from(pcm[(n + 1) % pcm.len()]) - i32::from(pcm[n])).abs();
        let most = (0..pcm.len()).map(step).max();
        assert!(most < Some(4_000), "{most:?}");
        assert!(step(pcm.len() - 1) < 2_500, "at the seam: {}", step(pcm.len() - 1));
        assert_eq!(pcm, built_in());
    }

    #[test]
    fn what_can_be_heard_comes_through_and_what_cannot_does_not_fold_down() {
        for from_hz in [11_025u32, 16_000, 22_050, 44_100, 48_000, 96_000] {
            for (hz, least, most) in [(1_000.0, 0.98, 1.02), (3_000.0, 0.9, 1.05), (4_800.0, 0.0, 0.01), (5_400.0, 0.0, 0.01)] {
                let wave = |n: u32| (f64::from(n) * hz * TAU / f64::from(from_hz)).sin() as f32 * 0.5;
                let pcm: Vec<f32> = (0..from_hz).map(wave).collect();
                let out = resample(&pcm, from_hz);
                assert!((7_999..=8_000).contains(&out.len()), "{from_hz}");
                let rms = |pcm: &mut dyn Iterator<Item = f64>| (pcm.map(|sample| sample * sample).sum::<f64>() / 7_000.0).sqrt();
                let level = rms(&mut out[500..7_500].iter().map(|sample| f64::from(*sample))) / (0.5 * 32_767.0 / 2f64.sqrt());
                assert!((least..=most).contains(&level), "{hz} Hz from {from_hz}: {level}");
            }
        }
        assert_eq!(*resample(&[0.5, -0.5], 8_000), [16_383, -16_383]);
    }
}
