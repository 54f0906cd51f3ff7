//! Our own sources, and how another source's packets are renumbered onto them.

use std::time::Instant;

use super::stats::{Place, ticks};

/// What one leg sends: our own source, continuous through every change of path, codec and far side.
#[derive(Debug, Clone)]
pub struct TxSource {
    /// Whose packets they are.
    pub ssrc: u32,
    /// The next sequence number, with its cycles.
    next_index: u64,
    /// The newest timestamp sent and when; or the one to start from, never sent.
    last_ts: u32,
    last_at: Option<Instant>,
    /// Ticks that a packet of ours lasts.
    pace: u32,
    /// RTP packets sent.
    pub packets: u64,
    /// Payload bytes sent.
    pub octets: u64,
}

impl TxSource {
    /// A source that starts at random (RFC 3550 section 5.1); the first sequence number is below 2^15 so that a receiver that
    /// misses the first packets does not guess the SRTP roll-over counter wrong (RFC 3711 section 3.3.1).
    #[must_use]
    pub fn new(ssrc: u32, random: u64) -> Self {
        let (next_index, last_ts) = (random & 0x7fff, (random >> 32) as u32);
        Self { ssrc, next_index, last_ts, last_at: None, pace: 1, packets: 0, octets: 0 }
    }

    /// How many ticks a packet of ours lasts from now on.
    pub fn set_pace(&mut self, ticks: u32) {
        self.pace = ticks.max(1);
    }

    /// The index that the next packet gets: it tells whether another has sent in between.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Takes the next sequence number.
    pub fn next_seq(&mut self) -> u16 {
        let seq = self.next_index as u16;
        self.next_index += 1;
        seq
    }

    /// The timestamp that a packet sent at `now` has when nothing else says: the last one and the time since, in ticks.
    #[must_use]
    pub fn ts_at(&self, now: Instant, clock_hz: u32) -> u32 {
        let since = self.last_at.map_or(0, |last| ticks(now.saturating_duration_since(last), clock_hz).max(1));
        self.last_ts.wrapping_add(since as u32)
    }

    /// As [`TxSource::ts_at`], for the first packet of something else than what was sent last: at least a packet time behind
    /// that, so that the two never overlap.
    #[must_use]
    pub fn ts_next(&self, now: Instant, clock_hz: u32) -> u32 {
        let since = self.last_at.map_or(0, |last| ticks(now.saturating_duration_since(last), clock_hz).max(self.pace.into()));
        self.last_ts.wrapping_add(since as u32)
    }

    /// Counts a packet as sent.
    pub fn sent(&mut self, now: Instant, timestamp: u32, payload_len: usize) {
        self.packets += 1;
        self.octets += payload_len as u64;
        if self.last_at.is_none() || crate::wire::rtp::ts_diff(self.last_ts, timestamp) > 0 {
            (self.last_ts, self.last_at) = (timestamp, Some(now));
        }
    }
}

/// Maps what one source sends onto what we send: sequence numbers and timestamps move by a constant, so loss and reordering
/// pass through as they are, and no number is ever used twice.
#[derive(Debug, Clone, Default)]
pub struct Rewriter {
    map: Option<Map>,
}

#[derive(Debug, Clone, Copy)]
struct Map {
    /// Outgoing index less incoming index.
    index: u64,
    /// Outgoing timestamp less incoming timestamp.
    ts: u32,
    /// Incoming indices below have no place: they belong to an earlier map.
    floor: u64,
    /// The index behind the newest that was given out: when our source is elsewhere, another has sent in between.
    next: u64,
}

/// What a rewritten packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewritten {
    /// Sequence number.
    pub seq: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// It continues nothing: the marker bit is due.
    pub fresh: bool,
}

impl Rewriter {
    /// The numbers under which a packet is sent on; none when its place has been given away.
    pub fn map(&mut self, place: Place, timestamp: u32, tx: &mut TxSource, now: Instant, clock_hz: u32) -> Option<Rewritten> {
        let interrupted = self.map.is_some_and(|map| map.next != tx.next_index);
        let fresh = self.map.is_none() || place.fresh || interrupted;
        if fresh && !place.newest {
            // It belongs to what was sent before, where there is no room any more.
            return None;
        }
        if fresh {
            let (index, ts) = (tx.next_index.wrapping_sub(place.index), tx.ts_next(now, clock_hz).wrapping_sub(timestamp));
            self.map = Some(Map { index, ts, floor: place.index, next: tx.next_index });
        }
        let map = self.map.as_mut().filter(|map| place.index >= map.floor)?;
        let index = place.index.wrapping_add(map.index);
        tx.next_index = tx.next_index.max(index + 1);
        map.next = tx.next_index;
        Some(Rewritten { seq: index as u16, timestamp: timestamp.wrapping_add(map.ts), fresh })
    }

    /// A packet that is not sent on: its successors close up, so that the far side sees no loss. What comes late from
    /// before it has no place any more.
    pub fn skip(&mut self, place: Place) {
        if place.fresh {
            // The map is another source's: the next packet makes a new one.
            self.map = None;
        } else if let Some(map) = self.map.as_mut().filter(|_| place.newest) {
            map.index = map.index.wrapping_sub(1);
            map.floor = place.index + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stats::RxSource;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods)]
        Instant::now()
    }

    proptest! {
        #[test]
        fn no_outgoing_number_is_used_twice_and_time_keeps_its_distance(
            steps in proptest::collection::vec((-6i32..12, 0u8..12), 1..300), first in any::<u16>(), ts in any::<u32>(),
        ) {
            let (mut rx, mut rewriter, mut tx) = (RxSource::default(), Rewriter::default(), TxSource::new(1, 0x1234_5678_9abc));
            let (now, mut at, mut ssrc) = (start(), 0i64, 1);
            let mut used = BTreeSet::new();
            let mut last: Option<(u32, u32)> = None;
            for (n, (step, action)) in steps.into_iter().enumerate() {
                at += i64::from(step);
                if action == 0 {
                    ssrc += 1;
                    last = None;
                }
                let in_ts = ts.wrapping_add((at * 160) as u32);
                let Ok(place) = rx.place(ssrc, first.wrapping_add(at as u16)) else { continue };
                if place.fresh {
                    last = None;
                }
                if action == 1 {
                    rewriter.skip(place);
                    continue;
                }
                let now = now + Duration::from_millis(20 * n as u64);
                let Some(out) = rewriter.map(place, in_ts, &mut tx, now, 8_000) else { continue };
                prop_assert!(used.insert(out.seq), "sequence number {} twice", out.seq);
                if let Some((in_last, out_last)) = last {
                    prop_assert_eq!(in_ts.wrapping_sub(in_last), out.timestamp.wrapping_sub(out_last));
                }
                last = Some((in_ts, out.timestamp));
                tx.sent(now, out.timestamp, 160);
            }
        }
    }

    #[test]
    fn a_new_source_that_begins_with_a_skipped_packet_uses_no_number_again() {
        let (mut rx, mut rewriter, mut tx) = (RxSource::default(), Rewriter::default(), TxSource::new(1, 100));
        let now = start();
        for seq in 500..510u16 {
            rewriter.map(rx.place(1, seq).unwrap(), 0, &mut tx, now, 8_000).unwrap();
        }
        rewriter.skip(rx.place(2, 503).unwrap());
        let out = rewriter.map(rx.place(2, 504).unwrap(), 0, &mut tx, now, 8_000).unwrap();
        assert_eq!((out.seq, out.fresh), (110, true));
    }

    #[test]
    fn what_is_skipped_leaves_no_gap() {
        let (mut rx, mut rewriter, mut tx) = (RxSource::default(), Rewriter::default(), TxSource::new(1, 100));
        let now = start();
        let mut seqs = Vec::new();
        for seq in 10..20u16 {
            let place = rx.place(1, seq).unwrap();
            if (13..16).contains(&seq) {
                rewriter.skip(place);
            } else {
                seqs.push(rewriter.map(place, 0, &mut tx, now, 8_000).unwrap().seq);
            }
        }
        assert_eq!(seqs, (100..107).collect::<Vec<_>>());
    }
}
