use std::time::{Duration, Instant};

/// The present moment, read once by a shell and handed down: no machine reads a clock itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Never goes back; what deadlines are made of.
    pub mono: Instant,
    /// Since 1970-01-01T00:00:00Z; what people and other machines are told.
    pub unix: Duration,
}

impl Now {
    /// The same moment, `by` later, on both clocks.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self { mono: self.mono + by, unix: self.unix + by }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_ms(self) -> u64 {
        u64::try_from(self.unix.as_millis()).unwrap_or(u64::MAX)
    }
}
