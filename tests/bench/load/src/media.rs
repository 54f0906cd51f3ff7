//! What is said: speech, encoded before anything is measured, and for how people talk a plan of whose turn it is.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::g711;
use crate::opus_sys::{Encoder, Settings};
use crate::spec::{Codec, OpusWish, Talk};

/// Samples of a frame at 8,000 Hz and at 48,000 Hz.
pub(crate) const FRAME_8K: usize = 160;
const FRAME_48K: usize = 960;

/// How many different conversations there are; calls share them, each from a place of its own.
const CONVERSATIONS: usize = 16;
/// Frames of one conversation: 20 s.
const CONVERSATION: usize = 1_000;
/// How long somebody speaks before the other one does, in frames: 1 to 4 s.
const TURN: std::ops::RangeInclusive<usize> = 50..=200;
/// Uniform noise up to this is at -65 dBov: a quiet room.
const NOISE: i16 = 32;

/// As browsers encode (WebRTC): voice at 32 kbit/s with in-band FEC.
const BROWSER: Settings = Settings {
    hz: 48_000,
    bitrate: 32_000,
    complexity: None,
    fec: true,
    loss_percent: 5,
    celt: false,
    dtx: false,
    narrowband: false,
};

/// What WebRTC makes of `maxplaybackrate=8000` where no bit rate is named beside it.
const NARROWBAND: Settings = Settings { bitrate: 12_000, narrowband: true, ..BROWSER };

/// What one party says, over and over.
#[derive(Debug)]
pub(crate) struct Script {
    /// A payload for each frame; an empty one is not sent.
    pub(crate) frames: Vec<Vec<u8>>,
    /// Whether each frame is speech that must be heard.
    pub(crate) is_speech: Vec<bool>,
    /// The same at 8,000 Hz, before it was encoded.
    pub(crate) pcm: Vec<i16>,
}

impl Script {
    /// Where this frame of a stream that began at `offset` is found.
    pub(crate) fn at(&self, offset: usize, frame: i64) -> usize {
        (offset as i64 + frame).rem_euclid(self.frames.len() as i64) as usize
    }
}

/// Speech at both rates.
pub(crate) struct Speech {
    at_8k: Vec<i16>,
    at_48k: Vec<i16>,
    frames: usize,
}

impl Speech {
    /// `sp8k.s16` and `sp48k.s16` of the peers kit: the same speech at two rates.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let read = |name: &str| -> Result<Vec<i16>> {
            let path = dir.join(name);
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            Ok(bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect())
        };
        let (at_8k, at_48k) = (read("sp8k.s16")?, read("sp48k.s16")?);
        let frames = (at_8k.len() / FRAME_8K).min(at_48k.len() / FRAME_48K);
        anyhow::ensure!(frames > 50, "{}: there is less than a second of speech", dir.display());
        Ok(Self { at_8k, at_48k, frames })
    }

    /// Speech in the frames where `speaks` says so, a quiet room in the others.
    fn mix(&self, speaks: &[bool], rng: &mut StdRng) -> (Vec<i16>, Vec<i16>) {
        let (mut at_8k, mut at_48k, mut next) = (Vec::new(), Vec::new(), 0);
        for speaks in speaks {
            if *speaks {
                at_8k.extend(&self.at_8k[next * FRAME_8K..][..FRAME_8K]);
                at_48k.extend(&self.at_48k[next * FRAME_48K..][..FRAME_48K]);
                next = (next + 1) % self.frames;
            } else {
                at_8k.extend(std::iter::repeat_with(|| rng.random_range(-NOISE..=NOISE)).take(FRAME_8K));
                at_48k.extend(std::iter::repeat_with(|| rng.random_range(-NOISE..=NOISE)).take(FRAME_48K));
            }
        }
        (at_8k, at_48k)
    }

    fn script(&self, speaks: &[bool], codec: Codec, wish: OpusWish, rng: &mut StdRng) -> Result<Script> {
        let (at_8k, at_48k) = self.mix(speaks, rng);
        let frames = match codec {
            Codec::Pcmu => at_8k.chunks(FRAME_8K).map(|frame| frame.iter().map(|s| g711::ulaw(*s)).collect()).collect(),
            Codec::Pcma => at_8k.chunks(FRAME_8K).map(|frame| frame.iter().map(|s| g711::alaw(*s)).collect()).collect(),
            Codec::Opus => encode(&at_48k, wish)?,
        };
        let is_speech = speaks.iter().zip(at_8k.chunks(FRAME_8K)).map(|(speaks, pcm)| *speaks && is_loud(pcm)).collect();
        Ok(Script { frames, is_speech, pcm: at_8k })
    }
}

/// Over -50 dBov: softer frames are the pauses of speech, which a gateway may leave out.
fn is_loud(pcm: &[i16]) -> bool {
    let sum: i64 = pcm.iter().map(|sample| i64::from(*sample).pow(2)).sum();
    sum > 10_737 * pcm.len() as i64
}

/// With `dtx`, a frame that has nothing to say is left out as WebRTC leaves it out: of those of up to two bytes only the first
/// is sent, until the encoder has something to say again (every 400 ms at the latest).
fn encode(pcm: &[i16], wish: OpusWish) -> Result<Vec<Vec<u8>>> {
    let usual = if wish.narrowband { NARROWBAND } else { BROWSER };
    let (dtx, bitrate) = (wish.dtx == Some(true), wish.bitrate.unwrap_or(usual.bitrate));
    let mut encoder = Encoder::new(Settings { dtx, bitrate, ..usual })?;
    let mut was_quiet = false;
    let frame = |pcm: &[i16]| {
        let mut payload = vec![0; 400];
        let len = encoder.encode(pcm, &mut payload)?;
        let is_quiet = dtx && len <= 2;
        payload.truncate(if is_quiet && was_quiet { 0 } else { len });
        was_quiet = is_quiet;
        Ok(payload)
    };
    pcm.chunks(FRAME_48K).map(frame).collect()
}

/// Whose turn it is in each frame: `true` for the first party. Exactly one speaks at a time.
fn turns(frames: usize, rng: &mut StdRng) -> Vec<bool> {
    let mut plan = Vec::with_capacity(frames);
    let mut first: bool = rng.random();
    while plan.len() < frames {
        let turn = rng.random_range(TURN);
        plan.extend(std::iter::repeat_n(first, turn));
        first = !first;
    }
    plan.truncate(frames);
    plan
}

/// Conversation, party, codec and how it is asked for.
type Which = (usize, usize, Codec, OpusWish);

/// All scripts of a run, made when first asked for.
pub(crate) struct Scripts {
    speech: Speech,
    talk: Talk,
    seed: u64,
    made: Vec<(Which, Rc<Script>)>,
}

impl Scripts {
    pub(crate) fn new(speech: Speech, talk: Talk, seed: u64) -> Self {
        Self { speech, talk, seed, made: Vec::new() }
    }

    /// What an endpoint says, and from where: endpoints are numbered, a call has two parties.
    pub(crate) fn of(
        &mut self,
        endpoint: usize,
        (call, party): (usize, usize),
        codec: Codec,
        wish: OpusWish,
    ) -> Result<(Rc<Script>, usize)> {
        let (which, offset) = match self.talk {
            Talk::Always => ((0, 0, codec, wish), endpoint * 37),
            Talk::Turns => ((call % CONVERSATIONS, party, codec, wish), call / CONVERSATIONS * 37),
        };
        let script = match self.made.iter().find(|(made, _)| *made == which) {
            Some((_, script)) => Rc::clone(script),
            None => {
                let script = Rc::new(self.make(which)?);
                self.made.push((which, Rc::clone(&script)));
                script
            }
        };
        let offset = offset % script.frames.len();
        Ok((script, offset))
    }

    fn make(&self, (conversation, party, codec, wish): Which) -> Result<Script> {
        let mut rng = StdRng::seed_from_u64(self.seed.wrapping_add(conversation as u64));
        let speaks = match self.talk {
            Talk::Always => vec![true; self.speech.frames],
            Talk::Turns => turns(CONVERSATION, &mut rng).into_iter().map(|first| first == (party == 0)).collect(),
        };
        let wish = OpusWish { dtx: Some(wish.dtx.unwrap_or(self.talk == Talk::Turns)), ..wish };
        self.speech.script(&speaks, codec, wish, &mut rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: OpusWish = OpusWish { narrowband: false, bitrate: None, dtx: None };

    #[test]
    fn turns_last_one_to_four_seconds_and_come_from_the_seed() {
        let plan = |seed| turns(20_000, &mut StdRng::seed_from_u64(seed));
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
        let plan = plan(7);
        let lengths: Vec<usize> = plan.chunk_by(|a, b| a == b).map(<[bool]>::len).collect();
        let (_, whole) = lengths.split_last().expect("turns");
        assert!(whole.iter().all(|length| TURN.contains(length)), "{whole:?}");
        let first = plan.iter().filter(|first| **first).count() as f64 / plan.len() as f64;
        assert!((0.4..0.6).contains(&first), "the first party spoke for {first} of the time");
    }

    fn speech() -> Speech {
        let tone = |hz: usize| -> Vec<i16> {
            let sample = |n: usize| (n as f64 * 440.0 * std::f64::consts::TAU / hz as f64).sin() * 8_000.0;
            (0..hz * 2).map(|n| sample(n) as i16).collect()
        };
        Speech { at_8k: tone(8_000), at_48k: tone(48_000), frames: 100 }
    }

    #[test]
    fn who_is_silent_sends_noise_as_a_phone_and_little_as_a_browser() {
        let mut scripts = Scripts::new(speech(), Talk::Turns, 3);
        let (phone, _) = scripts.of(1, (0, 1), Codec::Pcmu, PLAIN).expect("a script");
        let (browser, _) = scripts.of(0, (0, 0), Codec::Opus, PLAIN).expect("a script");
        assert!(phone.is_speech.iter().zip(&browser.is_speech).all(|(a, b)| !(*a && *b)));
        assert!(phone.frames.iter().all(|frame| frame.len() == FRAME_8K));
        let (mut quiet, mut sent) = (0, 0);
        for (at, frame) in browser.frames.iter().enumerate() {
            if browser.is_speech[at] {
                assert!(!frame.is_empty(), "speech is sent");
            } else {
                (quiet, sent) = (quiet + 1, sent + usize::from(!frame.is_empty()));
            }
        }
        assert!(sent * 3 < quiet, "{sent} of {quiet} silent frames were sent");
    }

    #[test]
    fn who_always_speaks_sends_every_frame() {
        let mut scripts = Scripts::new(speech(), Talk::Always, 3);
        let (script, offset) = scripts.of(3, (1, 1), Codec::Opus, PLAIN).expect("a script");
        assert_eq!(offset, 11);
        assert!(script.frames.iter().all(|frame| frame.len() > 2));
        assert_eq!((script.at(offset, -12), script.at(offset, 100)), (99, 11));
    }

    #[test]
    fn who_is_asked_for_narrowband_sends_it_in_fewer_bytes() {
        let mut scripts = Scripts::new(speech(), Talk::Always, 3);
        let (wide, _) = scripts.of(0, (0, 0), Codec::Opus, PLAIN).expect("a script");
        let (narrow, _) = scripts.of(0, (0, 0), Codec::Opus, OpusWish { narrowband: true, ..PLAIN }).expect("a script");
        let bytes = |script: &Script| script.frames.iter().map(Vec::len).sum::<usize>();
        assert!(bytes(&narrow) * 2 < bytes(&wide), "{} to {} bytes", bytes(&wide), bytes(&narrow));
        // RFC 6716 section 3.1: 0 to 3 are SILK's narrowband, 16 to 19 CELT's.
        assert!(narrow.frames.iter().all(|frame| matches!(frame[0] >> 3, 0..=3 | 16..=19)));
        assert!(wide.frames.iter().any(|frame| !matches!(frame[0] >> 3, 0..=3 | 16..=19)));
    }
}
