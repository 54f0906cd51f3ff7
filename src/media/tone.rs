use std::f64::consts::TAU;
use std::time::{Duration, Instant};

use super::codec::{CodecError, Encoder, SAMPLE_HZ};
use super::transcode::Frame;
use crate::plan::LegPlan;

/// A quarter of full scale.
const AMPLITUDE: f64 = 8_192.0;

/// Behind by more than so many frames (a stalled machine), the clock is set anew rather than caught up with in a burst.
const MAX_BEHIND: u32 = 5;

/// A steady sine in a leg's own codec, a frame each packet time.
#[derive(Debug)]
pub(super) struct Tone {
    encoder: Encoder,
    hz: f64,
    phase: f64,
    frame_samples: usize,
    frame: Duration,
    frame_ticks: u32,
    due: Instant,
    timestamp: u32,
    marker: bool,
}

impl Tone {
    /// A tone for `plan`'s far side that starts at `now` with timestamp `timestamp`.
    ///
    /// # Errors
    /// The codec refused to start.
    pub(super) fn new(now: Instant, hz: u16, plan: &LegPlan, timestamp: u32) -> Result<Self, CodecError> {
        let encoder = Encoder::new(plan.codec)?;
        let frame_samples = encoder.frame_samples(plan.ptime_ms);
        let frame = Duration::from_millis(frame_samples as u64 / 8);
        let frame_ticks = frame_samples as u32 * (plan.codec.clock_hz() / SAMPLE_HZ);
        let hz = f64::from(hz);
        Ok(Self { encoder, hz, phase: 0.0, frame_samples, frame, frame_ticks, due: now, timestamp, marker: true })
    }

    /// When the next frame is due.
    #[must_use]
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The next frame, if it is due at `now`. Called until none is.
    pub(super) fn pop(&mut self, now: Instant, payload: &mut [u8]) -> Option<Result<Frame, CodecError>> {
        if now < self.due {
            return None;
        }
        if now.saturating_duration_since(self.due) > self.frame * MAX_BEHIND {
            self.due = now;
        }
        self.due += self.frame;
        let mut pcm = [0; 480];
        let pcm = &mut pcm[..self.frame_samples];
        let step = self.hz * TAU / f64::from(SAMPLE_HZ);
        for sample in pcm.iter_mut() {
            *sample = (self.phase.sin() * AMPLITUDE) as i16;
            self.phase = (self.phase + step) % TAU;
        }
        let (timestamp, marker) = (self.timestamp, std::mem::take(&mut self.marker));
        self.timestamp = self.timestamp.wrapping_add(self.frame_ticks);
        Some(self.encoder.encode(pcm, payload).map(|len| Frame { timestamp, marker, len }))
    }
}
