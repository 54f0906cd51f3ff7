use std::collections::BTreeMap;
use std::time::Instant;

/// Names one armed deadline, so that its owner can take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeadlineKey(Instant, u64);

/// What must happen later, in order of time, each with the name of its timer (an RFC's letter where it has one).
///
/// Two deadlines of one moment fire in the order in which they were armed, so that a run can be repeated from its seed.
#[derive(Debug)]
pub struct Deadlines<T> {
    armed: BTreeMap<DeadlineKey, (T, &'static str)>,
    next: u64,
}

impl<T> Default for Deadlines<T> {
    fn default() -> Self {
        Self { armed: BTreeMap::new(), next: 0 }
    }
}

impl<T> Deadlines<T> {
    /// Arms `what` for `at`; `name` answers "why did it wake".
    pub fn arm(&mut self, at: Instant, what: T, name: &'static str) -> DeadlineKey {
        let key = DeadlineKey(at, self.next);
        self.next += 1;
        self.armed.insert(key, (what, name));
        key
    }

    /// Takes a deadline back; one that has fired already is no error.
    pub fn disarm(&mut self, key: DeadlineKey) {
        self.armed.remove(&key);
    }

    /// The earliest deadline and its name.
    #[must_use]
    pub fn next(&self) -> Option<(Instant, &'static str)> {
        self.armed.first_key_value().map(|(key, (_, name))| (key.0, *name))
    }

    /// The next one that is due at `now`, or none.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        let first = self.armed.first_entry()?;
        (first.key().0 <= now).then(|| first.remove().0)
    }

    /// How many are armed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.armed.len()
    }

    /// Whether none is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    /// The names of what is armed, soonest first, for a failing test's last words.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.armed.values().map(|(_, name)| *name)
    }
}
