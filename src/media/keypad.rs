//! Keys that are pressed toward a far side, one after the other, in beats of a packet time: how long each has sounded, and
//! when the next may begin. Whether a beat becomes an event packet or a tone is [`super::voice`]'s to say.

use std::collections::VecDeque;

/// A shorter press is not recognised everywhere.
pub(super) const MIN_MS: u32 = 40;
/// A longer one is cut.
pub(super) const MAX_MS: u32 = 8_000;
/// Between two keys, and behind each: the same key twice must be two.
pub(super) const GAP_MS: u32 = 40;
/// Keys that wait behind the one that sounds; more are dropped.
pub(super) const MAX_WAITING: usize = 32;
/// A tone for a key whose length is still being told begins so much later than the key: the word that it was let go may
/// come late or be repeated twice, and a tone that has sounded too long cannot be taken back.
const LEAD_MS: u32 = 60;
/// The end of an event is said so often (RFC 4733 section 2.5.1.4).
const ENDS: u8 = 3;

#[derive(Debug, Clone, Copy)]
struct Press {
    event: u8,
    /// Its length; while it is held, as much of it as is known.
    ms: u32,
    /// Its end has not been told yet.
    held: bool,
}

#[derive(Debug)]
struct Progress {
    press: Press,
    waited_ms: u32,
    sounded_ms: u32,
    begun: bool,
    /// Since its end; none while it sounds.
    rested_ms: Option<u32>,
    ends: u8,
}

/// What one packet time holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// No key.
    Idle,
    /// A key that has not begun to sound.
    Lead,
    /// A key that sounds.
    Sound {
        /// Which.
        event: u8,
        /// How long it had sounded before this beat.
        from_ms: u32,
        /// And has behind it: less than a packet time more in its last beat, or while no more is known.
        to_ms: u32,
        /// Its first beat.
        first: bool,
        /// Its last beat.
        end: bool,
    },
    /// A key that has ended.
    Rest {
        /// Which.
        event: u8,
        /// How long it sounded.
        ms: u32,
        /// Its end is to be said again.
        again: bool,
    },
}

/// The keys of one leg.
#[derive(Debug, Default)]
pub(super) struct Keypad {
    now: Option<Progress>,
    waiting: VecDeque<Press>,
}

impl Keypad {
    /// Whether a key sounds, rests or waits.
    #[must_use]
    pub(super) fn is_busy(&self) -> bool {
        self.now.is_some() || !self.waiting.is_empty()
    }

    /// A key of known length.
    pub(super) fn press(&mut self, event: u8, ms: u32) {
        self.push(Press { event, ms: ms.clamp(MIN_MS, MAX_MS), held: false });
    }

    /// A key that has been held for `ms` so far.
    pub(super) fn hold(&mut self, event: u8, ms: u32) {
        self.let_go(0);
        self.push(Press { event, ms, held: true });
    }

    /// The held key has been held for `ms` so far.
    pub(super) fn held_for(&mut self, ms: u32) {
        if let Some(press) = self.held() {
            press.ms = press.ms.max(ms);
        }
    }

    /// The held key was let go after `ms`, if not known to have been held for longer.
    pub(super) fn let_go(&mut self, ms: u32) {
        if let Some(press) = self.held() {
            (press.ms, press.held) = (press.ms.max(ms).max(MIN_MS), false);
        }
    }

    /// The key that sounds cannot be ended in the way in which it was begun.
    pub(super) fn cut(&mut self) {
        self.now = None;
    }

    /// No key at all.
    pub(super) fn clear(&mut self) {
        self.now = None;
        self.waiting.clear();
    }

    fn push(&mut self, press: Press) {
        if self.waiting.len() < MAX_WAITING {
            // All the memory that it will ever have, with the first key: most legs press none.
            self.waiting.reserve_exact(MAX_WAITING - self.waiting.len());
            self.waiting.push_back(press);
        }
    }

    fn held(&mut self) -> Option<&mut Press> {
        let now = self.now.as_mut().map(|now| &mut now.press);
        now.into_iter().chain(self.waiting.iter_mut()).find(|press| press.held)
    }

    /// The next packet time of `frame_ms`. A `steady` key sounds on while it is held, whatever is known of its length (a
    /// tone cannot stop and go on); the length of another grows as it becomes known.
    pub(super) fn beat(&mut self, frame_ms: u32, steady: bool) -> Beat {
        loop {
            let Some(now) = &mut self.now else {
                let Some(press) = self.waiting.pop_front() else { return Beat::Idle };
                self.now = Some(Progress { press, waited_ms: 0, sounded_ms: 0, begun: false, rested_ms: None, ends: 0 });
                continue;
            };
            match now.beat(frame_ms, steady) {
                Some(beat) => return beat,
                None => self.now = None,
            }
        }
    }
}

impl Progress {
    /// None when it is over.
    fn beat(&mut self, frame_ms: u32, steady: bool) -> Option<Beat> {
        let Press { event, ms, held } = self.press;
        if let Some(rested_ms) = &mut self.rested_ms {
            let again = self.ends < ENDS;
            if *rested_ms >= GAP_MS && !again {
                return None;
            }
            *rested_ms += frame_ms;
            self.ends = self.ends.saturating_add(1);
            return Some(Beat::Rest { event, ms: self.sounded_ms, again });
        }
        if steady && held && !self.begun && self.waited_ms < LEAD_MS {
            self.waited_ms += frame_ms;
            return Some(Beat::Lead);
        }
        let from_ms = self.sounded_ms;
        let to_ms = if steady && held { from_ms + frame_ms } else { (from_ms + frame_ms).min(ms.max(from_ms)) };
        let end = !held && to_ms >= ms;
        if end {
            (self.rested_ms, self.ends) = (Some(frame_ms - (to_ms - from_ms)), 1);
        }
        self.sounded_ms = to_ms;
        let first = !std::mem::replace(&mut self.begun, true);
        Some(Beat::Sound { event, from_ms, to_ms, first, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sounded(keypad: &mut Keypad, steady: bool) -> Vec<(u8, u32)> {
        let mut keys = Vec::new();
        loop {
            match keypad.beat(20, steady) {
                Beat::Idle => return keys,
                Beat::Sound { event, to_ms, end: true, .. } => keys.push((event, to_ms)),
                _ => {}
            }
        }
    }

    #[test]
    fn keys_sound_one_after_the_other_for_as_long_as_they_are_allowed() {
        let mut keypad = Keypad::default();
        [(1, 0), (2, 50), (3, 90_000)].into_iter().for_each(|(event, ms)| keypad.press(event, ms));
        assert_eq!(sounded(&mut keypad, false), [(1, 40), (2, 50), (3, 8_000)]);
        (0..50).for_each(|n| keypad.press(n % 16, 100));
        assert_eq!(sounded(&mut keypad, true).len(), MAX_WAITING);
    }

    #[test]
    fn every_key_ends_three_times_and_is_followed_by_a_gap() {
        for frame_ms in [10, 20, 60] {
            let mut keypad = Keypad::default();
            keypad.press(1, 100);
            keypad.press(2, 100);
            let (mut ends, mut rest) = (0, 0);
            loop {
                match keypad.beat(frame_ms, false) {
                    Beat::Sound { event: 2, .. } => break,
                    Beat::Sound { end, .. } => ends += u32::from(end),
                    Beat::Rest { again, .. } => {
                        ends += u32::from(again);
                        rest += frame_ms;
                    }
                    Beat::Idle | Beat::Lead => panic!("it waits for nothing"),
                }
            }
            assert_eq!(ends, 3);
            assert!(rest + frame_ms >= GAP_MS, "{rest}");
        }
    }

    #[test]
    fn a_held_key_grows_as_it_is_known_or_sounds_on() {
        let mut keypad = Keypad::default();
        keypad.hold(5, 45);
        let to = |beat| if let Beat::Sound { to_ms, end, .. } = beat { (to_ms, end) } else { panic!("{beat:?}") };
        let lengths: Vec<_> = (0..4).map(|_| to(keypad.beat(20, false))).collect();
        assert_eq!(lengths, [(20, false), (40, false), (45, false), (45, false)]);
        keypad.let_go(60);
        assert_eq!(to(keypad.beat(20, false)), (60, true));
        keypad.clear();
        keypad.hold(6, 0);
        assert_eq!([(); 3].map(|()| keypad.beat(20, true)), [Beat::Lead; 3]);
        assert_eq!(to(keypad.beat(20, true)), (20, false));
        keypad.let_go(30);
        assert_eq!(to(keypad.beat(20, true)), (40, true), "the shortest");
    }
}
