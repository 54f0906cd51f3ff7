//! How much is done for quality follows how busy the worker is: Opus encoders are given less to do before packets come late.
//!
//! What each step costs and what it does to the sound stands in `tests/bench/README.md`.

use super::core::Core;

/// libopus's complexities, the best first.
const COMPLEXITIES: [u8; 4] = [5, 3, 1, 0];

/// Busier than this, in thousandths of its time, a worker does less.
const TOO_BUSY: u32 = 800;

/// Less busy than this, it does more again: a step up costs at most half as much again.
const IDLE_ENOUGH: u32 = 450;

/// Which of [`COMPLEXITIES`] is in force.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load(usize);

impl Load {
    /// What encoders have to do now.
    #[must_use]
    pub(super) fn complexity(self) -> u8 {
        COMPLEXITIES[self.0]
    }

    fn follow(self, busy_permille: u32) -> Self {
        match busy_permille {
            TOO_BUSY.. => Self((self.0 + 1).min(COMPLEXITIES.len() - 1)),
            0..IDLE_ENOUGH => Self(self.0.saturating_sub(1)),
            IDLE_ENOUGH..TOO_BUSY => self,
        }
    }
}

impl Core {
    /// For how many thousandths of the last while (a second, say) the worker was busy.
    pub fn set_load(&mut self, busy_permille: u32) {
        let before = self.load.complexity();
        self.load = self.load.follow(busy_permille);
        let complexity = self.load.complexity();
        if complexity != before {
            self.seats.iter_mut().for_each(|seat| seat.leg.effort.complexity = complexity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_is_done_when_busy_and_more_again_when_not() {
        let mut load = Load::default();
        let mut told = |busy| {
            load = load.follow(busy);
            load.complexity()
        };
        let busy = [100, 799, 800, 700, 950, 990, 1_000, 460, 449, 200, 0, 0];
        assert_eq!(busy.map(&mut told), [5, 5, 3, 3, 1, 0, 0, 0, 1, 3, 5, 5]);
    }
}
