//! Discontinuous transmission (RFC 7587 section 3.1.3): where nobody speaks, nothing is encoded and nearly nothing is sent.
//!
//! libopus can do that too, but encodes what it then throws away: most of what a silent direction costs.

/// Louder than this, the mean square of a frame is never silence: -50 dBov.
const QUIET: u32 = 10_737;

/// A frame is silent up to so many times the background: 9 dB.
const ABOVE_BACKGROUND: u32 = 8;

/// And up to this much whatever the background: -76 dBov, the noise of G.711's own steps. So little says nothing of a background that
/// is known: who mutes a phone, or speaks on one that leaves out what is between words, is still in the same room.
const STEPS: u32 = 25;

/// Speech ends softly: silence counts from here on, in samples (200 ms, as libopus does).
const HANGOVER_SAMPLES: usize = 1_600;

/// The background is sent anew so often, in samples (400 ms, as libopus does).
const REFRESH_SAMPLES: usize = 3_200;

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Say {
    /// It is encoded and sent.
    Frame,
    /// So is it, the first behind a pause.
    Onset,
    /// The far side is told that a pause begins: a packet of its first byte alone.
    Pause,
    /// Nothing is sent.
    Nothing,
}

/// Tells speech from silence, frame by frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause {
    /// The mean square of the background: it follows a quieter frame at once, and a louder one slowly (0.9 dB a second).
    background: u32,
    /// Samples of silence so far.
    silent: usize,
    /// Samples since the background was sent.
    unsent: usize,
}

impl Default for Pause {
    fn default() -> Self {
        Self { background: QUIET, silent: 0, unsent: 0 }
    }
}

impl Pause {
    /// Looks at the next frame.
    pub(super) fn next(&mut self, pcm: &[i16]) -> Say {
        let sum: u64 = pcm.iter().map(|sample| u64::from(sample.unsigned_abs()).pow(2)).sum();
        let level = u32::try_from(sum / pcm.len().max(1) as u64).unwrap_or(u32::MAX);
        if level > STEPS || self.background == QUIET {
            self.background = level.min(self.background + self.background / 256 + 1).min(QUIET);
        }
        let silent = level <= QUIET && level <= self.background.saturating_mul(ABOVE_BACKGROUND).max(STEPS);
        if !silent {
            let paused = self.silent > HANGOVER_SAMPLES;
            *self = Self { background: self.background, silent: 0, unsent: 0 };
            return if paused { Say::Onset } else { Say::Frame };
        }
        let before = self.silent;
        self.silent = before.saturating_add(pcm.len());
        if self.silent <= HANGOVER_SAMPLES {
            return Say::Frame;
        }
        self.unsent += pcm.len();
        if self.unsent >= REFRESH_SAMPLES {
            self.unsent = 0;
            return Say::Frame;
        }
        if before <= HANGOVER_SAMPLES || self.unsent == pcm.len() { Say::Pause } else { Say::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 ms of a square wave of this amplitude: its mean square is the amplitude's.
    fn frame(amplitude: i16) -> [i16; 160] {
        std::array::from_fn(|n| if n % 2 == 0 { amplitude } else { -amplitude })
    }

    fn said(pause: &mut Pause, amplitude: i16, frames: usize) -> Vec<Say> {
        (0..frames).map(|_| pause.next(&frame(amplitude))).collect()
    }

    fn count(said: &[Say], what: Say) -> usize {
        said.iter().filter(|say| **say == what).count()
    }

    #[test]
    fn a_pause_begins_after_200_ms_of_silence_and_says_the_background_every_400_ms() {
        let mut pause = Pause::default();
        assert_eq!(count(&said(&mut pause, 3_000, 50), Say::Frame), 50);
        let silence = said(&mut pause, 20, 10 + 2 * 20);
        assert_eq!(count(&silence[..10], Say::Frame), 10);
        assert_eq!(silence[10], Say::Pause);
        assert_eq!(silence[29..31], [Say::Frame, Say::Pause]);
        assert_eq!((count(&silence[10..], Say::Frame), count(&silence[10..], Say::Pause)), (2, 2));
        assert_eq!(said(&mut pause, 3_000, 2), [Say::Onset, Say::Frame], "speech is heard from its first frame");
    }

    #[test]
    fn what_is_soft_but_stands_out_from_the_background_is_speech() {
        let mut pause = Pause::default();
        said(&mut pause, 8, 100);
        // -52 dBov: below any fixed threshold that background noise would need.
        let said = said(&mut pause, 80, 50);
        assert_eq!((count(&said, Say::Onset), count(&said, Say::Frame)), (1, 49));
    }

    #[test]
    fn loud_noise_is_sent_as_it_is() {
        assert_eq!(count(&said(&mut Pause::default(), 200, 500), Say::Frame), 500);
    }

    #[test]
    fn digital_silence_pauses_and_the_room_behind_it_is_no_speech() {
        let mut pause = Pause::default();
        said(&mut pause, 20, 50);
        said(&mut pause, 3_000, 50);
        said(&mut pause, 0, 30);
        assert_eq!(count(&said(&mut pause, 0, 100), Say::Nothing), 90);
        assert_eq!(count(&said(&mut pause, 20, 100), Say::Nothing), 90);
        assert_eq!(said(&mut pause, 80, 1), [Say::Onset]);
    }

    #[test]
    fn digital_silence_pauses_and_a_background_that_grows_is_learned() {
        let mut pause = Pause::default();
        said(&mut pause, 0, 30);
        assert_eq!(count(&said(&mut pause, 0, 100), Say::Nothing), 90);
        assert_eq!(said(&mut pause, 60, 1), [Say::Onset]);
        // 22 dB within half a minute.
        assert!(count(&said(&mut pause, 60, 2_000)[1_700..], Say::Nothing) > 250);
    }
}
