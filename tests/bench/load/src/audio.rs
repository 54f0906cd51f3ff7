//! Whether what arrived is what was said: the received audio is decoded and found again in the speech that was sent.

use anyhow::Result;

use crate::endpoint::{Endpoint, Kept};
use crate::g711;
use crate::media::{FRAME_8K, Script};
use crate::opus_sys::Decoder;
use crate::spec::Codec;

/// Samples that are compared to find the delay: 2 s; and how far it is sought.
const PROBE: usize = 16_000;
const FURTHEST: usize = FRAME_8K * 12;
/// Speech that went through two codecs is like itself to at least this degree; noise, silence or another call's are not.
const ALIKE: f64 = 0.7;

/// One call's audio in one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    /// 1 for the same wave, 0 for another.
    pub(crate) correlation: f64,
    /// How much later it is than the packets say that carried it: what the codecs add (and whole frames, if any are held back).
    pub(crate) delay_samples: usize,
}

impl Heard {
    pub(crate) fn is_right(&self) -> bool {
        self.correlation >= ALIKE
    }

    /// Frames that were held back, beyond what the codecs add.
    pub(crate) fn frames_held(&self) -> i64 {
        (self.delay_samples / FRAME_8K) as i64
    }

    pub(crate) fn delay_ms(&self) -> f64 {
        self.delay_samples as f64 / 8.0
    }
}

/// The received audio at 8,000 Hz on the line of its time stamps, what is missing being silence; from the first payload on.
pub(crate) fn decode(codec: Codec, kept: &[Kept]) -> Result<Vec<i16>> {
    let Some(first) = kept.iter().map(|(ticks, _)| *ticks).min() else { return Ok(Vec::new()) };
    let ticks_a_sample = i64::from(codec.frame_ticks()) / FRAME_8K as i64;
    let (mut pcm, mut decoder, mut room) = (Vec::new(), Decoder::new()?, [0; 5_760]);
    for (ticks, payload) in kept {
        let len = match codec {
            // What is no Opus packet is nothing to hear.
            Codec::Opus => decoder.decode(payload, &mut room).unwrap_or(0),
            Codec::Pcmu | Codec::Pcma => {
                let from = if codec == Codec::Pcmu { g711::from_ulaw } else { g711::from_alaw };
                room.iter_mut().zip(payload).for_each(|(sample, byte)| *sample = from(*byte));
                payload.len().min(room.len())
            }
        };
        let at = ((ticks - first) / ticks_a_sample) as usize;
        // A time stamp that leaps is none of a call of a few seconds.
        if at < 8_000 * 60 {
            pcm.resize(pcm.len().max(at + len), 0);
            pcm[at..at + len].copy_from_slice(&room[..len]);
        }
    }
    Ok(pcm)
}

/// What the sender said from `place` in its script on.
fn said(script: &Script, place: usize, len: usize) -> Vec<i16> {
    script.pcm.iter().cycle().skip(place * FRAME_8K).take(len).copied().collect()
}

fn correlation(a: &[i16], b: &[i16]) -> f64 {
    let dot = |a: &[i16], b: &[i16]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let energy = (dot(a, a) * dot(b, b)).sqrt();
    if energy > 0.0 { dot(a, b) / energy } else { 0.0 }
}

/// Where the stretch of this length begins that holds most: who is silent now says nothing of where the audio lies.
fn loudest(pcm: &[i16], len: usize) -> usize {
    let energy = |from: &usize| -> u64 { pcm[*from..from + len].iter().map(|s| u64::from(s.unsigned_abs()).pow(2)).sum() };
    (0..=pcm.len() - len).step_by(FRAME_8K).max_by_key(energy).unwrap_or(0)
}

/// Where `heard` lies behind `said`, and how like it is.
fn compare(heard: &[i16], said: &[i16]) -> Heard {
    let probe = heard.len().min(said.len()).saturating_sub(FURTHEST).min(PROBE);
    let loud = loudest(&said[..heard.len().min(said.len()).saturating_sub(FURTHEST)], probe);
    let at = |delay: usize| correlation(&heard[loud + delay..loud + delay + probe], &said[loud..loud + probe]);
    let found = (0..=FURTHEST.min(heard.len())).map(|delay| (delay, at(delay))).max_by(|a, b| a.1.total_cmp(&b.1));
    let delay_samples = found.map_or(0, |(delay, _)| delay);
    let len = heard.len().saturating_sub(delay_samples).min(said.len());
    Heard { correlation: correlation(&heard[delay_samples..delay_samples + len], &said[..len]), delay_samples }
}

/// Listens to what `here` kept of what `there` said; also both waves.
pub(crate) fn listen(here: &Endpoint, there: &Endpoint) -> Result<(Heard, Vec<i16>, Vec<i16>)> {
    let kept = here.kept.as_deref().unwrap_or_default();
    let heard = decode(here.codec, kept)?;
    let ticks = kept.iter().map(|(ticks, _)| *ticks).min().unwrap_or(0);
    let frame = here.anchor() + ticks.div_euclid(here.codec.frame_ticks().into());
    let said = said(&there.script, there.script.at(there.offset, frame), heard.len());
    Ok((compare(&heard, &said), heard, said))
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn noise(seed: u64, len: usize) -> Vec<i16> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..len).map(|_| rng.random_range(-9_000..9_000)).collect()
    }

    #[test]
    fn a_wave_is_found_again_where_it_is() {
        let said = noise(1, 30_000);
        let mut heard = noise(2, 400);
        heard.extend(said.iter().map(|sample| sample / 2 + 50));
        let found = compare(&heard[..30_000], &said);
        assert_eq!((found.delay_samples, found.frames_held()), (400, 2));
        assert!(found.is_right() && found.correlation > 0.99, "{found:?}");
    }

    #[test]
    fn another_wave_silence_and_nothing_are_wrong() {
        let said = noise(1, 30_000);
        for heard in [noise(2, 30_000), vec![0; 30_000], Vec::new(), noise(2, 100)] {
            assert!(!compare(&heard, &said).is_right(), "{} samples", heard.len());
        }
    }

    #[test]
    fn it_is_sought_where_somebody_speaks() {
        let mut said = vec![0; 24_000];
        said.extend(noise(1, 24_000));
        assert!(loudest(&said[..46_080], PROBE) >= 24_000);
        let mut heard = vec![0; 52];
        heard.extend(&said);
        let found = compare(&heard[..48_000], &said);
        assert_eq!(found.delay_samples, 52);
        assert!(found.is_right(), "{found:?}");
    }

    #[test]
    fn what_is_missing_is_silence() {
        let loud = vec![g711::ulaw(8_000); FRAME_8K];
        let pcm = decode(Codec::Pcmu, &[(1_600, loud.clone()), (1_920, loud)]).expect("it decodes");
        assert_eq!(pcm.len(), 480);
        assert!(pcm[0] > 7_000 && pcm[200] == 0 && pcm[479] > 7_000);
    }
}
