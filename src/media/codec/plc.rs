//! Concealment for G.711 in the manner of its Appendix I: the last pitch period is repeated, faded out from 10 ms on and
//! gone after 60 ms, and the next good packet is cross-faded in. Unlike the Appendix nothing is delayed: the repetition
//! starts at the gap's edge, which the period's own length keeps continuous.

/// 48.75 ms: the longest pitch twice and the window that it is sought in.
const HISTORY: usize = 390;
/// Pitch from 66 to 200 Hz.
const PITCH_MIN: usize = 40;
const PITCH_MAX: usize = 120;
/// 20 ms are compared when the pitch is sought.
const WINDOW: usize = 160;
/// Over 4 ms the packet behind a gap takes over.
const BLEND: usize = 32;
/// Full level for 10 ms, then down to nothing in 50.
const HOLD: usize = 80;
const FADE: i32 = 400;

/// Remembers what was heard last and goes on from there.
#[derive(Debug)]
pub struct Concealer {
    history: [i16; HISTORY],
    pitch: usize,
    /// Samples made up since the last good packet.
    made: usize,
}

impl Default for Concealer {
    fn default() -> Self {
        Self { history: [0; HISTORY], pitch: 0, made: 0 }
    }
}

impl Concealer {
    /// Takes note of a good packet; behind a gap, its first 4 ms are blended with what was made up.
    pub fn heard(&mut self, pcm: &mut [i16]) {
        if self.made > 0 {
            let len = pcm.len().min(BLEND);
            for (n, sample) in pcm[..len].iter_mut().enumerate() {
                let made = i32::from(self.synthetic(n));
                let (up, down) = (n as i32 + 1, (len - n) as i32);
                *sample = ((i32::from(*sample) * up + made * down) / (up + down)) as i16;
            }
            self.made = 0;
        }
        self.remember(pcm);
    }

    /// Fills `pcm` with what may have come.
    pub fn conceal(&mut self, pcm: &mut [i16]) {
        if self.made == 0 {
            self.pitch = self.find_pitch();
        }
        for (n, sample) in pcm.iter_mut().enumerate() {
            *sample = self.synthetic(n);
        }
        self.made = self.made.saturating_add(pcm.len());
    }

    /// The `n`th sample after those already made: the last period over and over, fading.
    fn synthetic(&self, n: usize) -> i16 {
        let at = self.made.saturating_add(n);
        let sample = i32::from(self.history[HISTORY - self.pitch + at % self.pitch]);
        let faded = i32::try_from(at.saturating_sub(HOLD)).map_or(FADE, |faded| faded.min(FADE));
        (sample * (FADE - faded) / FADE) as i16
    }

    fn remember(&mut self, pcm: &[i16]) {
        let keep = HISTORY.saturating_sub(pcm.len());
        self.history.copy_within(HISTORY - keep.., 0);
        self.history[keep..].copy_from_slice(&pcm[pcm.len() - (HISTORY - keep)..]);
    }

    /// The lag at which the last 20 ms are most like what came before them.
    fn find_pitch(&self) -> usize {
        let recent = &self.history[HISTORY - WINDOW..];
        let score = |lag: usize| {
            let before = &self.history[HISTORY - WINDOW - lag..HISTORY - lag];
            let (mut cross, mut energy) = (0i64, 1i64);
            for (a, b) in recent.iter().zip(before) {
                cross += i64::from(*a) * i64::from(*b);
                energy += i64::from(*b) * i64::from(*b);
            }
            cross as f64 / (energy as f64).sqrt()
        };
        let better = |best: (usize, f64), lag: usize| {
            let score = score(lag);
            if score > best.1 { (lag, score) } else { best }
        };
        (PITCH_MIN..=PITCH_MAX).fold((PITCH_MAX, f64::MIN), better).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(from: usize, len: usize) -> Vec<i16> {
        let angle = |n: usize| n as f64 * 150.0 * std::f64::consts::TAU / 8_000.0;
        (from..from + len).map(|n| (10_000.0 * angle(n).sin()) as i16).collect()
    }

    #[test]
    fn a_steady_tone_goes_on_through_ten_milliseconds() {
        let mut concealer = Concealer::default();
        concealer.heard(&mut sine(0, 400));
        let mut made = [0; 80];
        concealer.conceal(&mut made);
        for (made, meant) in made.iter().zip(sine(400, 80)) {
            assert!((i32::from(*made) - i32::from(meant)).abs() < 1_000, "{made} for {meant}");
        }
    }

    #[test]
    fn a_long_gap_fades_to_silence_and_a_packet_ends_it() {
        let mut concealer = Concealer::default();
        concealer.heard(&mut sine(0, 400));
        let mut made = [0; 640];
        concealer.conceal(&mut made);
        assert!(made[480..].iter().all(|sample| *sample == 0));
        let mut next = sine(1_040, 160);
        concealer.heard(&mut next);
        assert_eq!(next[BLEND..], sine(1_040, 160)[BLEND..]);
    }

    #[test]
    fn a_gap_before_anything_was_heard_is_silence() {
        let mut made = [1; 960];
        Concealer::default().conceal(&mut made);
        assert!(made.iter().all(|sample| *sample == 0));
    }
}
