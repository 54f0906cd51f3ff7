//! How often a worker turns while datagrams come: waking up costs it as much as carrying some does, so that it waits for a few.
//!
//! The first one after a silence is carried at once, and a worker that is busy half of the time never rests: enough of them come
//! while others are carried. In between it waits for [`ENOUGH`], [`SHORTEST_TURN`] at least and [`LONGEST_TURN`] at most.

use std::time::{Duration, Instant};

/// From one turn's begin to the next one's where datagrams come fast: a sixteenth of what a packet holds.
const SHORTEST_TURN: Duration = Duration::from_micros(1_250);
/// And where they come slowly.
const LONGEST_TURN: Duration = Duration::from_micros(2_500);

/// Of so many, waking up is a small part of the cost.
const ENOUGH: u32 = 32;

/// To rest for less costs more than it saves.
const SHORTEST_REST: Duration = Duration::from_micros(200);

/// Nothing for so long is a silence: what was known before it says nothing any more.
const RAREST: Duration = Duration::from_millis(8);

/// Datagrams are counted in so many parts, so that few of them fade evenly, too.
const PARTS: u32 = 256;

/// A turn's share in the mean is an eighth.
const MEMORY: u32 = 8;

/// Follows how fast datagrams come, and how fast they are carried, over the last turns: times and counts each by themselves. A mean of
/// their ratios would believe a turn with one datagram as much as one with fifty.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the last turn that had any began.
    begun: Instant,
    /// What passed from turn to turn, what of it carrying took, and how many datagrams there were, in [`PARTS`].
    passed: Duration,
    carrying: Duration,
    parts: u32,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self { begun: now, passed: RAREST, carrying: Duration::ZERO, parts: PARTS }
    }

    /// How long to rest after a turn that began at `begin`, carried so many datagrams and ended now. While more of them wait already,
    /// there is no rest, and how many a turn had says nothing of how fast they come.
    pub(super) fn rest(&mut self, now: Instant, begin: Instant, datagrams: usize, more_wait: bool) -> Option<Duration> {
        let datagrams = u32::try_from(datagrams).ok().filter(|count| (1..=u32::MAX / PARTS / MEMORY).contains(count))?;
        let before = std::mem::replace(&mut self.begun, begin);
        if more_wait {
            return None;
        }
        let passed = begin.saturating_duration_since(before);
        if passed >= RAREST {
            *self = Self::new(begin);
            return None;
        }
        self.passed = (self.passed * (MEMORY - 1) + passed) / MEMORY;
        self.carrying = (self.carrying * (MEMORY - 1) + now.saturating_duration_since(begin)) / MEMORY;
        self.parts = (self.parts * (MEMORY - 1) + datagrams * PARTS) / MEMORY;
        let gap = self.passed * PARTS / self.parts.max(1);
        // Where hardly another one comes, to wait is a wake-up more, not one less.
        if gap * 2 > LONGEST_TURN || self.carrying * 2 > self.passed {
            return None;
        }
        (begin + (gap * ENOUGH).clamp(SHORTEST_TURN, LONGEST_TURN))
            .checked_duration_since(now)
            .filter(|rest| *rest >= SHORTEST_REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As [`bursts`] of one: they come evenly.
    fn paced(a_second: u32, each: Duration) -> (u32, Duration) {
        bursts(a_second, 1, each)
    }

    /// Turns in a second, and the longest that a datagram waits for one, where so many come a second, in bursts of some, and each takes
    /// so long to be carried.
    fn bursts(a_second: u32, burst: u32, each: Duration) -> (u32, Duration) {
        let start = Instant::now();
        let at =
            |n: u32| start + Duration::from_secs(1) * (n / burst * burst) / a_second + Duration::from_micros(4) * (n % burst);
        let (mut pace, mut turns, mut longest) = (Pace::new(start), 0, Duration::ZERO);
        let (mut awake, mut carried) = (start, 1);
        while carried <= 2 * a_second {
            // It sleeps until one is there.
            let begin = awake.max(at(carried));
            let come = (carried..).take_while(|n| at(*n) <= begin).count() as u32;
            if carried > a_second {
                (turns, longest) = (turns + 1, longest.max(begin - at(carried)));
            }
            carried += come;
            let end = begin + each * come;
            awake = end + pace.rest(end, begin, come as usize, false).unwrap_or_default();
        }
        (turns, longest)
    }

    #[test]
    fn what_comes_rarely_is_carried_at_once() {
        assert_eq!(paced(100, Duration::ZERO), (100, Duration::ZERO));
        assert_eq!(paced(700, Duration::ZERO), (700, Duration::ZERO));
    }

    #[test]
    fn what_comes_often_waits_for_a_few_more_and_never_for_long() {
        for (a_second, turns, most) in [
            (1_000, 400, LONGEST_TURN),
            (5_000, 400, LONGEST_TURN),
            (20_000, 625, SHORTEST_TURN * 3 / 2),
            (80_000, 800, SHORTEST_TURN),
        ] {
            let (took, longest) = paced(a_second, Duration::from_micros(5));
            assert!((turns * 9 / 10..=turns * 11 / 10).contains(&took), "{took} turns for {a_second}");
            assert!(longest <= most, "{longest:?}");
        }
    }

    #[test]
    fn what_keeps_the_worker_busy_waits_for_nothing_else() {
        let (_, longest) = paced(20_000, Duration::from_micros(40));
        assert!(longest <= Duration::from_micros(40), "{longest:?}");
    }

    #[test]
    fn bursts_do_not_hide_that_it_is_busy() {
        // 72 and 60 % of the time.
        for each in [20, 17] {
            let (_, longest) = bursts(36_000, 9, Duration::from_micros(each));
            assert!(longest <= Duration::from_micros(200), "{longest:?}");
        }
    }

    #[test]
    fn the_first_one_after_a_silence_is_followed_by_no_rest() {
        for datagrams in [1, 12] {
            let start = Instant::now();
            let (mut pace, mut now) = (Pace::new(start), start);
            for _ in 0..100 {
                now += Duration::from_micros(100) * datagrams;
                pace.rest(now, now, datagrams as usize, false);
            }
            assert!(pace.rest(now, now, 1, false).is_some());
            assert_eq!(pace.rest(now, now, 128, true), None, "while more wait");
            now += Duration::from_secs(5);
            assert_eq!(pace.rest(now, now, 1, false), None);
        }
    }

    #[test]
    fn a_turn_without_datagrams_tells_nothing() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let now = start + Duration::from_millis(3);
        assert_eq!(pace.rest(now, now, 0, false), None);
        assert_eq!((pace.begun, pace.passed), (start, RAREST));
    }
}
