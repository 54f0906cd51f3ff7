//! Keys heard as tones (ITU-T Q.24): which of 16 pairs of pitches sounds, from when, for how long.
//!
//! Every 10 ms the last 20 are looked at, by Goertzel's sums at the eight pitches. A look is a *hit* when one row and one column
//! stand together far above everything else: above their neighbours, within 8 dB of each other, and with most of the power
//! there is. Speech and music have their power elsewhere too; what little of them is a hit by chance does not stay one, nor as
//! loud as it was: of the looks that make a key two must see it whole and alike. Two hits mute it, the third makes it a key: 30
//! to 40 ms, whatever its place among the looks.

use std::f32::consts::TAU;

use super::codec::SAMPLE_HZ;
use super::dtmf::Heard;
use super::tones::{COLUMNS_HZ, KEYS, ROWS_HZ};

/// Between two looks: 10 ms.
const HOP: usize = 80;
/// What a look sees: 20 ms.
const WINDOW: usize = 2 * HOP;

/// Hits that make a key.
const HITS: u32 = 3;
/// Hits that mute it.
const SUSPECT: u32 = 2;
/// Looks without a hit that end it: in the 40 ms that part two keys there are four.
const MISSES: u32 = 3;

/// The least power of one pitch, as the square of its amplitude: -46 dB below full scale.
const LEAST: f32 = 160.0 * 160.0;
/// How much stronger a column may be than its row, and the other way round: 8 dB.
const TWIST: f32 = 6.3;
/// How far a pitch stands above its neighbours: 7 dB.
const ABOVE: f32 = 5.0;
/// Each pitch is sought here, so that one that is 1.5 % off is measured as it is.
const NEAR: [f64; 3] = [0.988, 1.0, 1.012];
/// How much of all power the two pitches hold: in a look that the tone fills for the greater part, and in one that sees
/// nothing else.
const SHARE: f32 = 0.58;
const WHOLE_SHARE: f32 = 0.9;
/// Looks that must see it whole, one as loud as the other within 1.5 dB at each pitch.
const WHOLE: u32 = 2;
const ALIKE: f32 = 1.4;
/// And how far above its own octave: a voice has overtones, a key has none. 8 dB.
const ABOVE_OCTAVE: f32 = 6.3;

/// Listens to one direction of one leg.
#[derive(Debug)]
pub struct Detector {
    /// Samples not looked at for the last time; the front half has been looked at once.
    window: [f32; WINDOW],
    filled: usize,
    key: Option<Key>,
    /// The key that is told of.
    down: bool,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    event: u8,
    hits: u32,
    misses: u32,
    /// Samples from the first hit's window to the end of the last hit's.
    span: u32,
    /// Samples since the end of the last hit's window.
    since: u32,
    /// The amplitude in the first hit, in the last, and the most of all.
    first: f32,
    last: f32,
    most: f32,
    /// Looks in a row that saw it whole and alike, and the powers in the last of them.
    whole: u32,
    powers: [f32; 2],
}

impl Key {
    fn new(hit: Hit) -> Self {
        let amplitude = hit.amplitude();
        Self {
            event: hit.event,
            hits: 1,
            misses: 0,
            span: WINDOW as u32,
            since: 0,
            first: amplitude,
            last: amplitude,
            most: amplitude,
            whole: u32::from(hit.whole),
            powers: hit.powers,
        }
    }

    fn on_hit(&mut self, hit: Hit) {
        self.hits += 1;
        self.misses = 0;
        self.span += self.since + HOP as u32;
        (self.since, self.last) = (0, hit.amplitude());
        self.most = self.most.max(self.last);
        if hit.whole {
            let alike = |(one, other): (&f32, &f32)| one <= &(other * ALIKE) && other <= &(one * ALIKE);
            let goes_on = self.whole > 0 && self.powers.iter().zip(&hit.powers).all(alike);
            self.whole = if goes_on { self.whole + 1 } else { 1 };
            self.powers = hit.powers;
        }
    }

    /// How long the tone was: the first and last windows held as much of it as they were louder or less loud than a full one.
    fn ms(&self) -> u32 {
        let missing = |amplitude: f32| WINDOW as f32 * (1.0 - (amplitude / self.most).min(1.0));
        let samples = self.span as f32 - missing(self.first) - missing(self.last);
        (samples.max(0.0) / 8.0 + 0.5) as u32
    }
}

/// What a look saw.
#[derive(Debug, Clone, Copy)]
struct Hit {
    event: u8,
    /// Of row and column.
    powers: [f32; 2],
    /// Nothing else was there.
    whole: bool,
}

impl Hit {
    fn amplitude(&self) -> f32 {
        (self.powers[0] + self.powers[1]).sqrt()
    }
}

impl Default for Detector {
    fn default() -> Self {
        Self { window: [0.0; WINDOW], filled: 0, key: None, down: false }
    }
}

impl Detector {
    /// Listens to what comes next; a key's tone is silenced in it. `each` is told what is heard.
    pub fn hear(&mut self, pcm: &mut [i16], mut each: impl FnMut(Heard)) {
        let mut muted = 0;
        for at in 0..pcm.len() {
            self.window[self.filled] = f32::from(pcm[at]);
            self.filled += 1;
            if self.filled == WINDOW {
                let look = look(&self.window);
                self.window.copy_within(HOP.., 0);
                self.filled = HOP;
                let before = self.is_suspected();
                self.on_look(look, &mut each);
                // As far back as there is something left to mute: both looks that made it a suspect.
                if before || self.is_suspected() {
                    let from = (at + 1).saturating_sub(if before { HOP } else { WINDOW + HOP });
                    pcm[from..=at].fill(0);
                }
                muted = at + 1;
            }
        }
        if self.is_suspected() {
            pcm[muted..].fill(0);
        }
    }

    /// `samples` were lost: whatever sounded may have gone on.
    pub fn lost(&mut self, samples: usize) {
        self.filled = 0;
        if let Some(key) = &mut self.key {
            key.since += samples as u32;
        }
    }

    /// Nothing more comes, or something else: a key that is down was let go.
    pub fn stop(&mut self) -> Option<Heard> {
        self.filled = 0;
        self.stop_key()
    }

    /// Whether a key is down.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.down
    }

    fn is_suspected(&self) -> bool {
        self.key.is_some_and(|key| key.hits >= SUSPECT && key.whole > 0)
    }

    fn on_look(&mut self, look: Option<Hit>, each: &mut impl FnMut(Heard)) {
        match (look, &mut self.key) {
            (Some(hit), Some(key)) if key.event == hit.event => {
                key.on_hit(hit);
                let (ms, event) = (key.ms(), key.event);
                if self.down {
                    each(Heard::Held { ms });
                } else if key.hits >= HITS && key.whole >= WHOLE {
                    self.down = true;
                    each(Heard::Down { event, ms });
                }
            }
            (None, Some(key)) if self.down && key.misses + 1 < MISSES => {
                key.misses += 1;
                key.since += HOP as u32;
            }
            (look, _) => {
                // A miss ends what was no key yet; another key ends what was one.
                if let Some(heard) = self.stop_key() {
                    each(heard);
                }
                self.key = look.map(Key::new);
            }
        }
    }

    fn stop_key(&mut self) -> Option<Heard> {
        let key = self.key.take()?;
        std::mem::replace(&mut self.down, false).then(|| Heard::LetGo { event: key.event, ms: key.ms() })
    }
}

/// The square of the amplitude of a pitch.
fn power(pcm: &[f32; WINDOW], hz: f64) -> f32 {
    let coefficient = 2.0 * (hz as f32 * TAU / SAMPLE_HZ as f32).cos();
    let (mut one, mut two) = (0.0f32, 0.0f32);
    for sample in pcm {
        (one, two) = (sample + coefficient * one - two, one);
    }
    (one * one + two * two - coefficient * one * two) * (2.0 / WINDOW as f32).powi(2)
}

/// The strongest of four and what it leaves to the next.
fn strongest(powers: [f32; 4]) -> Option<(usize, f32)> {
    let (at, most) = powers.into_iter().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let clear = powers.iter().enumerate().all(|(other, power)| other == at || power * ABOVE <= most);
    (clear && most >= LEAST).then_some((at, most))
}

fn look(pcm: &[f32; WINDOW]) -> Option<Hit> {
    let total = pcm.iter().map(|sample| sample * sample).sum::<f32>() * (2.0 / WINDOW as f32);
    // Silence is what is heard most.
    if total < LEAST {
        return None;
    }
    let (row, _) = strongest(ROWS_HZ.map(|hz| power(pcm, hz)))?;
    let (column, _) = strongest(COLUMNS_HZ.map(|hz| power(pcm, hz)))?;
    let near = |hz: f64| NEAR.map(|off| power(pcm, hz * off)).into_iter().fold(0.0, f32::max);
    let powers = [near(ROWS_HZ[row]), near(COLUMNS_HZ[column])];
    let share = (powers[0] + powers[1]) / total;
    let twisted = powers[0] > powers[1] * TWIST || powers[1] > powers[0] * TWIST;
    if twisted || share < SHARE {
        return None;
    }
    let overtones = power(pcm, 2.0 * ROWS_HZ[row]) * ABOVE_OCTAVE > powers[0]
        || power(pcm, 2.0 * COLUMNS_HZ[column]) * ABOVE_OCTAVE > powers[1];
    (!overtones).then(|| Hit { event: KEYS[row][column], powers, whole: share >= WHOLE_SHARE })
}

#[cfg(test)]
mod tests {
    use super::super::tones::DualTone;
    use super::*;

    fn keys(pcm: &mut [i16], packet: usize) -> Vec<(u8, u32)> {
        let (mut detector, mut keys) = (Detector::default(), Vec::new());
        let mut each = |heard| {
            if let Heard::LetGo { event, ms } = heard {
                keys.push((event, ms));
            }
        };
        pcm.chunks_mut(packet).for_each(|packet| detector.hear(packet, &mut each));
        detector.stop().into_iter().for_each(&mut each);
        keys
    }

    fn pair(row: f64, column: f64, levels: (f64, f64), len: usize) -> impl Iterator<Item = i16> {
        let wave = |hz: f64, n: usize| (n as f64 * hz * std::f64::consts::TAU / 8_000.0).sin();
        (0..len).map(move |n| (levels.0 * wave(row, n) + levels.1 * wave(column, n)) as i16)
    }

    #[test]
    fn every_key_is_heard_once_with_its_length_wherever_it_begins() {
        for event in 0..16 {
            for (ms, offset) in [(40, 0), (43, 37), (50, 61), (100, 79), (250, 13), (2_000, 5)] {
                let mut pcm = vec![0; 800 + offset];
                let mut tone = vec![0; ms * 8];
                DualTone::new(event).fill(&mut tone);
                pcm.extend(tone);
                pcm.extend([0; 400]);
                let heard = keys(&mut pcm, 160);
                assert_eq!(heard.len(), 1, "{event} for {ms} ms at {offset}: {heard:?}");
                assert_eq!(heard[0].0, event);
                assert!(heard[0].1.abs_diff(ms as u32) <= 8, "{event} for {ms} ms: {heard:?}");
                assert!(keys(&mut pcm, 160).is_empty(), "what is left of it is no key");
            }
        }
    }

    #[test]
    fn the_same_key_twice_is_two_and_a_short_one_none() {
        let mut pcm = Vec::new();
        for ms in [60, 60, 20, 80] {
            pcm.extend(pair(770.0, 1_336.0, (5_000.0, 5_000.0), ms * 8));
            pcm.extend([0; 330]);
        }
        assert_eq!(keys(&mut pcm, 240).iter().map(|key| key.0).collect::<Vec<_>>(), [5, 5, 5]);
    }

    #[test]
    fn pitches_a_little_off_and_of_unlike_levels_are_keys_and_far_off_ones_are_not() {
        let heard = |row: f64, column: f64, levels| keys(&mut pair(row, column, levels, 800).collect::<Vec<_>>(), 160).len();
        for (row, column) in [(697.0, 1_209.0), (941.0, 1_633.0), (852.0, 1_477.0)] {
            for off in [0.985, 1.0, 1.015] {
                assert_eq!(heard(row * off, column * off, (4_000.0, 4_000.0)), 1, "{row} {column} {off}");
            }
            assert_eq!(heard(row, column, (2_000.0, 4_500.0)) + heard(row, column, (4_500.0, 2_000.0)), 2, "7 dB of twist");
            assert_eq!(heard(row, column, (1_000.0, 8_000.0)), 0, "18 dB");
            assert_eq!(heard(row, column, (250.0, 250.0)), 1, "as faint as -42 dB");
            assert_eq!(heard(row, column, (40.0, 40.0)), 0, "no fainter than -58 dB");
            assert_eq!(heard(row * 1.045, column * 1.045, (4_000.0, 4_000.0)), 0, "{row} {column}");
        }
        assert_eq!(heard(425.0, 425.0, (4_000.0, 4_000.0)), 0);
    }

    #[test]
    fn no_key_is_heard_in_the_built_in_music() {
        assert!(keys(&mut super::super::music::built_in().to_vec(), 160).is_empty());
    }
}
