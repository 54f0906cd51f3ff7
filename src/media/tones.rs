//! The tones of the keys (ITU-T Q.23).

use std::f64::consts::TAU;

use super::codec::SAMPLE_HZ;

/// The pitches of the rows, in Hertz.
pub(super) const ROWS_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
/// The pitches of the columns, in Hertz.
pub(super) const COLUMNS_HZ: [f64; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];

/// The keys by row and column, numbered as in RFC 4733.
pub(super) const KEYS: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];

/// -10 dBm0 for the row, and the column 1 dB louder, as a line that dampens high pitches likes it.
const ROW_AMPLITUDE: f64 = 7_220.0;
const COLUMN_AMPLITUDE: f64 = 8_100.0;

/// One key's tone, sample by sample.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DualTone {
    steps: [f64; 2],
    phases: [f64; 2],
}

impl DualTone {
    /// The tone of a key from its beginning; silence for what is no key.
    #[must_use]
    pub(super) fn new(event: u8) -> Self {
        let step = |hz: f64| hz * TAU / f64::from(SAMPLE_HZ);
        let place = KEYS.iter().enumerate().find_map(|(row, keys)| Some((row, keys.iter().position(|key| *key == event)?)));
        let steps = place.map_or([0.0; 2], |(row, column)| [step(ROWS_HZ[row]), step(COLUMNS_HZ[column])]);
        Self { steps, phases: [0.0; 2] }
    }

    /// Goes on.
    pub(super) fn fill(&mut self, pcm: &mut [i16]) {
        for sample in pcm {
            *sample = (self.phases[0].sin() * ROW_AMPLITUDE + self.phases[1].sin() * COLUMN_AMPLITUDE) as i16;
            for (phase, step) in self.phases.iter_mut().zip(self.steps) {
                *phase = (*phase + step) % TAU;
            }
        }
    }
}
