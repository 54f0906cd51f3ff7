//! What the gateway itself plays to a leg's far side, a packet each packet time: tones, music, and keys, which take the place of
//! all else while they last. One clock for all of it, so that timestamps go on from one to the next.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::codec::{Encoded, Encoder, SAMPLE_HZ, frame_samples};
use super::keypad::{Beat, Keypad};
use super::tones::DualTone;
use super::transcode::Frame;
use crate::plan::{Codec, DtmfWay, LegPlan, Source};
use crate::wire::rtp::{TelephoneEvent, ts_diff};

/// A quarter of full scale.
const AMPLITUDE: f64 = 8_192.0;

/// Behind by more than so many frames (a stalled machine), the clock is set anew rather than caught up with in a burst.
const MAX_BEHIND: u32 = 5;

/// The longest packet time, in samples: 60 ms.
const MAX_FRAME: usize = 480;

/// The tone of a phone that rings elsewhere.
const RINGBACK_HZ: f64 = 425.0;
const RINGBACK_ON: usize = 8_000;
const RINGBACK_PERIOD: usize = 40_000;

/// Key presses are said this loud, as -dBm0.
const EVENT_VOLUME: u8 = 10;

/// What is played while no key is.
#[derive(Debug)]
enum Sound {
    None,
    Sine { step: f64, phase: f64 },
    Ringback { phase: f64, at: usize },
    Music { pcm: Arc<[i16]>, at: usize },
}

impl Sound {
    fn of(source: Source, music: &Arc<[i16]>) -> Self {
        match source {
            Source::Tone { hz } => Self::Sine { step: step(f64::from(hz)), phase: 0.0 },
            Source::Ringback => Self::Ringback { phase: 0.0, at: 0 },
            Source::Music if !music.is_empty() => Self::Music { pcm: Arc::clone(music), at: 0 },
            Source::Nothing | Source::Leg(_) | Source::Itself | Source::Music => Self::None,
        }
    }

    fn fill(&mut self, out: &mut [i16]) {
        match self {
            Self::None => out.fill(0),
            Self::Sine { step, phase } => out.iter_mut().for_each(|sample| *sample = sine(phase, *step)),
            Self::Ringback { phase, at } => {
                for sample in out {
                    *sample = if *at < RINGBACK_ON { sine(phase, step(RINGBACK_HZ)) } else { 0 };
                    *at = (*at + 1) % RINGBACK_PERIOD;
                }
            }
            Self::Music { pcm, at } => {
                for sample in out {
                    *sample = pcm[*at];
                    *at = (*at + 1) % pcm.len();
                }
            }
        }
    }
}

fn step(hz: f64) -> f64 {
    hz * TAU / f64::from(SAMPLE_HZ)
}

fn sine(phase: &mut f64, step: f64) -> i16 {
    let sample = (phase.sin() * AMPLITUDE) as i16;
    *phase = (*phase + step) % TAU;
    sample
}

/// What must stay for the clock to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    codec: Codec,
    ptime_ms: u8,
    ssrc: u32,
}

#[derive(Debug, Clone, Copy)]
struct Clock {
    due: Instant,
    timestamp: u32,
}

/// What is due in one packet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    /// Nothing is sent.
    Quiet,
    /// A frame of audio.
    Audio(Frame),
    /// A key as an event.
    Event(EventTick),
}

/// A telephone event as it stands in one packet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EventTick {
    event: u8,
    /// The timestamp at which it began.
    start: u32,
    from_ms: u32,
    to_ms: u32,
    first: bool,
    end: bool,
}

/// One packet about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// The payload.
    pub(super) event: [u8; TelephoneEvent::LEN],
    /// The timestamp of its segment.
    pub(super) timestamp: u32,
    /// The marker bit.
    pub(super) marker: bool,
}

impl EventTick {
    /// The packets that say it. One that outgrows the 16 bits of its duration goes on in a new segment, and the last word of
    /// the old one is said three times as an end is (RFC 4733 sections 2.5.1.3 and 2.5.1.4).
    pub(super) fn packets(self, clock_hz: u32) -> impl Iterator<Item = Option<Said>> {
        const SEGMENT: u32 = 0xffff;
        let ticks = |ms: u32| ms * (clock_hz / 1_000);
        let segment = |ticks: u32| ticks.saturating_sub(1) / SEGMENT;
        let said = |segment: u32, duration: u32, end: bool| {
            let duration_ticks = (duration - segment * SEGMENT) as u16;
            let event = TelephoneEvent { event: self.event, end, volume: EVENT_VOLUME, duration_ticks }.write();
            Some(Said { event, timestamp: self.start.wrapping_add(segment * SEGMENT), marker: self.first })
        };
        let (before, now) = (segment(ticks(self.from_ms)), segment(ticks(self.to_ms)));
        let full = if before < now { said(before, (before + 1) * SEGMENT, false) } else { None };
        [full, full, full, said(now, ticks(self.to_ms), self.end)].into_iter()
    }
}

/// What is played to one far side.
#[derive(Debug)]
pub(super) struct Voice {
    source: Source,
    sound: Sound,
    shape: Option<Shape>,
    frame_samples: usize,
    way: DtmfWay,
    keypad: Keypad,
    tone: DualTone,
    event_start: u32,
    /// Runs while there is something to play.
    clock: Option<Clock>,
    marker: bool,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            source: Source::Nothing,
            sound: Sound::None,
            shape: None,
            frame_samples: 160,
            way: DtmfWay::Signalling,
            keypad: Keypad::default(),
            tone: DualTone::default(),
            event_start: 0,
            clock: None,
            marker: true,
        }
    }
}

impl Voice {
    /// What is played to `plan`'s far side; a leg's packets are not. `timestamp` is the next of its clock. Whether that is another
    /// source than before.
    pub(super) fn set(&mut self, now: Instant, plan: &LegPlan, source: Source, music: &Arc<[i16]>, timestamp: u32) -> bool {
        let shape = Shape { codec: plan.codec, ptime_ms: plan.ptime_ms, ssrc: plan.tx_ssrc.0 };
        if self.shape.replace(shape) != Some(shape) {
            self.clock = None;
            // A start that lies ahead is of a clock in which nothing was sent. Any other stays: with a new one it would be another key.
            if ts_diff(timestamp, self.event_start) > 0 {
                self.event_start = timestamp;
            }
            self.frame_samples = frame_samples(plan.codec, plan.ptime_ms);
        }
        let is_another = self.source != source;
        if is_another {
            (self.source, self.sound, self.marker) = (source, Sound::of(source, music), true);
        }
        if std::mem::replace(&mut self.way, plan.dtmf_tx) != plan.dtmf_tx {
            self.keypad.cut();
        }
        if self.way == DtmfWay::Signalling || self.way == DtmfWay::Events && plan.events.is_none() {
            self.keypad.clear();
        }
        if self.is_playing() || self.is_busy() {
            self.start(now, timestamp);
        } else {
            // Others send from here on; whoever plays next follows them.
            self.clock = None;
        }
        is_another
    }

    /// Whether there is, or may be at any time, audio of its own making to encode.
    #[must_use]
    pub(super) fn speaks(&self) -> bool {
        self.is_playing() || self.way == DtmfWay::Tones
    }

    /// Whether keys are in the way of what else there is to hear.
    #[must_use]
    pub(super) fn is_busy(&self) -> bool {
        self.keypad.is_busy()
    }

    /// Presses a key of known length.
    pub(super) fn press(&mut self, now: Instant, event: u8, ms: u32, timestamp: u32) {
        self.keypad.press(event, ms);
        self.start(now, timestamp);
    }

    /// Presses a key that has been held for `ms` so far.
    pub(super) fn hold(&mut self, now: Instant, event: u8, ms: u32, timestamp: u32) {
        self.keypad.hold(event, ms);
        self.start(now, timestamp);
    }

    /// The held key has been held for `ms` so far.
    pub(super) fn held_for(&mut self, ms: u32) {
        self.keypad.held_for(ms);
    }

    /// The held key was let go after `ms`.
    pub(super) fn let_go(&mut self, ms: u32) {
        self.keypad.let_go(ms);
    }

    /// When the next packet is due.
    #[must_use]
    pub(super) fn due(&self) -> Option<Instant> {
        self.clock.map(|clock| clock.due)
    }

    fn is_playing(&self) -> bool {
        !matches!(self.sound, Sound::None)
    }

    fn start(&mut self, now: Instant, timestamp: u32) {
        if self.clock.is_none() {
            (self.clock, self.marker) = (Some(Clock { due: now, timestamp }), true);
        }
    }

    /// What is due at `now`, audio encoded into `payload` for a far side that loses so many packets in a hundred. Called until it
    /// is none.
    pub(super) fn tick(
        &mut self,
        now: Instant,
        encoder: Option<&mut Encoder>,
        loss_percent: u8,
        payload: &mut [u8],
    ) -> Option<Tick> {
        let clock = self.clock.as_mut().filter(|clock| clock.due <= now)?;
        let frame_ms = self.frame_samples as u32 / 8;
        let frame = Duration::from_millis(frame_ms.into());
        let beat = self.keypad.beat(frame_ms, self.way == DtmfWay::Tones);
        if beat == Beat::Idle && matches!(self.sound, Sound::None) {
            self.clock = None;
            return None;
        }
        if now.saturating_duration_since(clock.due) > frame * MAX_BEHIND {
            clock.due = now;
        }
        clock.due += frame;
        let timestamp = clock.timestamp;
        let ticks = self.shape.map_or(SAMPLE_HZ, |shape| shape.codec.clock_hz()) / SAMPLE_HZ;
        clock.timestamp = timestamp.wrapping_add(self.frame_samples as u32 * ticks);
        let mut pcm = [0; MAX_FRAME];
        let pcm = &mut pcm[..self.frame_samples];
        self.sound.fill(pcm);
        if beat != Beat::Idle && self.way == DtmfWay::Events {
            self.marker = true;
            return Some(self.event(beat, timestamp));
        }
        self.put_key(beat, pcm);
        let Some(encoder) = encoder else { return Some(Tick::Quiet) };
        if self.marker {
            encoder.begin_anew();
        }
        Some(match encoder.encode(pcm, loss_percent, payload) {
            Ok(Encoded::Payload { len, onset }) => {
                Tick::Audio(Frame { timestamp, marker: std::mem::take(&mut self.marker) || onset, len })
            }
            // A frame that the encoder refused is lost.
            Ok(Encoded::Pause) | Err(_) => Tick::Quiet,
        })
    }

    fn event(&mut self, beat: Beat, timestamp: u32) -> Tick {
        match beat {
            Beat::Sound { event, from_ms, to_ms, first, end } => {
                if first {
                    self.event_start = timestamp;
                }
                Tick::Event(EventTick { event, start: self.event_start, from_ms, to_ms, first, end })
            }
            Beat::Rest { event, ms, again: true } => {
                let start = self.event_start;
                Tick::Event(EventTick { event, start, from_ms: ms, to_ms: ms, first: false, end: true })
            }
            Beat::Rest { again: false, .. } | Beat::Lead | Beat::Idle => Tick::Quiet,
        }
    }

    /// A key's tone, or the silence around it, in place of what is there.
    fn put_key(&mut self, beat: Beat, pcm: &mut [i16]) {
        match beat {
            Beat::Idle => {}
            Beat::Sound { event, from_ms, to_ms, first, .. } => {
                if first {
                    self.tone = DualTone::new(event);
                }
                let (sounding, rest) = pcm.split_at_mut(8 * (to_ms - from_ms) as usize);
                self.tone.fill(sounding);
                rest.fill(0);
            }
            Beat::Lead | Beat::Rest { .. } => pcm.fill(0),
        }
    }
}
