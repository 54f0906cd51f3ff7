//! Several loads on one core, each with a gateway of its own on the other, take turns: what a machine does from one second to the next
//! meets all alike, so that their ratio is the gateways' and not the machine's.

use anyhow::{Result, ensure};
use serde::Deserialize;

/// 25 frames, so that how a gateway falls into step is a small part of it; and short beside what a machine's speed changes in.
const TURN_NS: i64 = 500_000_000;

/// Whose turn it is, by the machine's clock: `at` of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Turns {
    at: i64,
    of: i64,
}

impl Default for Turns {
    /// It is always ours.
    fn default() -> Self {
        Self { at: 0, of: 1 }
    }
}

impl Turns {
    pub(crate) fn check(self) -> Result<()> {
        ensure!((0..self.of).contains(&self.at), "spec: turns {} of {}, counted from 0", self.at, self.of);
        Ok(())
    }

    /// Whether others have turns, too.
    pub(crate) fn are_shared(self) -> bool {
        self.of > 1
    }

    /// How much of the time until `at_ns` was ours: the clock that a shared load goes by.
    pub(crate) fn ours_ns(self, at_ns: i64) -> i64 {
        let round = TURN_NS * self.of;
        at_ns.div_euclid(round) * TURN_NS + (at_ns.rem_euclid(round) - self.at * TURN_NS).clamp(0, TURN_NS)
    }

    /// When so much of the time will have been ours; where that is between two turns, the end of the first.
    pub(crate) fn when_ns(self, ours_ns: i64) -> i64 {
        let (turn, within) = ((ours_ns - 1).div_euclid(TURN_NS), (ours_ns - 1).rem_euclid(TURN_NS) + 1);
        (turn * self.of + self.at) * TURN_NS + within
    }

    /// When our next turn begins, unless one is now.
    pub(crate) fn next_ns(self, at_ns: i64) -> Option<i64> {
        let round = TURN_NS * self.of;
        let ahead = (self.at * TURN_NS - at_ns).rem_euclid(round);
        (ahead > 0 && ahead <= round - TURN_NS).then_some(at_ns + ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_it_is_the_clock_itself() {
        for at in [0, 1, TURN_NS - 1, TURN_NS, 7 * TURN_NS + 3] {
            assert_eq!((Turns::default().ours_ns(at), Turns::default().next_ns(at)), (at, None));
            assert_eq!(Turns::default().when_ns(at), at);
        }
    }

    #[test]
    fn of_three_each_moment_is_ones_and_none_loses_any() {
        let all: Vec<_> = (0..3).map(|at| Turns { at, of: 3 }).collect();
        for at in (0..12 * TURN_NS).step_by(TURN_NS as usize / 7) {
            assert_eq!(all.iter().filter(|turns| turns.next_ns(at).is_none()).count(), 1, "{at}");
            assert_eq!(all.iter().map(|turns| turns.ours_ns(at)).sum::<i64>(), at);
            for turns in &all {
                let next = turns.next_ns(at).unwrap_or(at);
                assert!(turns.next_ns(next).is_none() && turns.ours_ns(next) == turns.ours_ns(at));
                assert_eq!(turns.ours_ns(turns.when_ns(at)), at);
            }
        }
        assert_eq!(all[1].when_ns(TURN_NS), 2 * TURN_NS);
    }
}
