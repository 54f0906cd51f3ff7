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

/// Year, month (1 to 12) and day (1 to 31) of a day since 1970-01-01 (UTC), by Howard Hinnant's `civil_from_days`.
#[must_use]
pub fn civil_date(unix_days: u64) -> (u64, u64, u64) {
    // Years that begin in March have their leap day at the end; 400 of them are 146,097 days, and 1970-01-01 is day 719,468.
    let shifted = unix_days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
