//! A histogram of durations with a relative error under one percent and memory that does not grow with the run.

/// Buckets an octave.
const FINE: u64 = 128;
/// Up to 2^36 ns, a bit over a minute.
const BUCKETS: usize = 30 * FINE as usize;

/// Durations in nanoseconds.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

fn bucket(ns: u64) -> usize {
    if ns < FINE {
        return ns as usize;
    }
    let octave = 63 - ns.leading_zeros() as u64 - 7;
    let at = FINE * octave + (ns >> octave);
    (at as usize).min(BUCKETS - 1)
}

/// The middle of a bucket.
fn value(at: usize) -> u64 {
    let at = at as u64;
    if at < 2 * FINE {
        return at;
    }
    let octave = at / FINE - 1;
    ((at - FINE * octave) << octave) + (1 << octave) / 2
}

impl Histogram {
    pub(crate) fn add(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
        self.max = self.max.max(ns);
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// The same, each of them this much longer.
    pub(crate) fn later(&self, by_ns: u64) -> Self {
        let mut later = Self { total: self.total, max: self.max + by_ns, ..Self::default() };
        for (at, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            later.counts[bucket(value(at) + by_ns)] += count;
        }
        later
    }

    /// What was added since `before`, a former state of the same; its largest is known to a bucket only.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let counts: Vec<u64> = self.counts.iter().zip(&before.counts).map(|(now, then)| now - then).collect();
        let max = counts.iter().rposition(|count| *count > 0).map_or(0, value);
        Self { counts, total: self.total - before.total, max }
    }

    /// The duration under which this share of all lies, in milliseconds; 0 of none.
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return value(at).min(self.max) as f64 / 1e6;
            }
        }
        0.0
    }

    pub(crate) fn max_ms(&self) -> f64 {
        self.max as f64 / 1e6
    }
}

/// The value at this share of a list, as the sorted list has it.
pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_within_a_percent_of_its_value() {
        for ns in (0..2_000).chain((0..28).map(|n| 7_u64.pow(n / 3) * (n as u64 + 1))).chain([u64::from(u32::MAX)]) {
            let got = value(bucket(ns)) as f64;
            assert!((got - ns as f64).abs() <= ns as f64 * 0.01, "{ns} became {got}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_list() {
        let mut histogram = Histogram::default();
        (1..=1_000_u64).rev().for_each(|n| histogram.add(n * 10_000));
        for (share, ms) in [(0.5, 5.0), (0.99, 9.9), (0.999, 9.99), (1.0, 10.0)] {
            assert!((histogram.percentile_ms(share) - ms).abs() < ms * 0.01, "{share}");
        }
        assert_eq!(histogram.max_ms(), 10.0);
        assert_eq!(Histogram::default().percentile_ms(0.99), 0.0);
        assert_eq!(percentile(&mut [3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(percentile(&mut [], 0.5), 0.0);
    }

    #[test]
    fn a_sum_of_two_is_what_one_would_have_counted() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        a.add(1_000);
        b.add(9_000);
        a.add_all(&b);
        assert_eq!((a.total, a.max_ms()), (2, 0.009));
        assert!((a.later(1_000_000).percentile_ms(0.5) - 1.001).abs() < 0.01);
        let since = a.since(&b);
        assert_eq!(since.total, 1);
        assert!((since.percentile_ms(1.0) - 0.001).abs() < 1e-5);
    }
}
