//! Telephone events from one clock to the other, and as keys that are pressed, held and let go.

use std::time::{Duration, Instant};

use crate::plan::DtmfPlan;
use crate::wire::rtp::{TelephoneEvent, ts_diff};

/// Carries telephone events (RFC 4733) from one leg's clock to the other's.
///
/// All packets of one event share the timestamp of its start, so the outgoing one is chosen with the first and kept: the
/// two retransmissions of the end packet go out as such. At 48,000 an event outgrows the 16 bits of its duration after 1.4 s
/// and goes on in segments (section 2.5.1.3): those are put together here, and made anew where the outgoing clock needs them.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventMap {
    current: Option<Mapped>,
}

#[derive(Debug, Clone, Copy)]
struct Mapped {
    event: u8,
    /// The timestamps of its start.
    incoming: u32,
    outgoing: u32,
    /// As much of its length as has been told.
    ticks: u32,
}

/// How far into an event that began at `start` and has lasted for `ticks` a packet's segment begins, if it is one of this
/// event's; one segment may have been lost whole.
fn segment(start: u32, ticks: u32, timestamp: u32) -> Option<u32> {
    let into = u32::try_from(ts_diff(start, timestamp)).ok()?;
    (into.is_multiple_of(0xffff) && into / 0xffff <= ticks / 0xffff + 2).then_some(into)
}

/// What an event packet carries on the other leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MappedEvent {
    /// The payload, duration scaled.
    pub event: TelephoneEvent,
    /// The outgoing timestamp.
    pub timestamp: u32,
    /// The first packet of its event: the marker bit is due.
    pub first: bool,
}

impl EventMap {
    /// Maps a packet. `start` is asked for an event's outgoing timestamp when its first packet comes.
    pub fn map(
        &mut self,
        timestamp: u32,
        event: TelephoneEvent,
        from: DtmfPlan,
        to: DtmfPlan,
        start: impl FnOnce() -> u32,
    ) -> MappedEvent {
        let known = self.known(timestamp, event);
        let (outgoing, incoming, into) = match known {
            Some((known, into)) => (known.outgoing, known.incoming, into),
            None => (start(), timestamp, 0),
        };
        let ticks = into + u32::from(event.duration_ticks);
        self.current = Some(Mapped { event: event.event, incoming, outgoing, ticks });
        let duration = scale(ticks, from, to);
        let segment = duration.saturating_sub(1) / 0xffff;
        let duration_ticks = (duration - segment * 0xffff) as u16;
        let timestamp = outgoing.wrapping_add(segment * 0xffff);
        MappedEvent { event: TelephoneEvent { duration_ticks, ..event }, timestamp, first: known.is_none() }
    }

    /// The event that a packet goes on with, and how far into it its segment begins.
    fn known(&self, timestamp: u32, event: TelephoneEvent) -> Option<(Mapped, u32)> {
        let known = self.current.filter(|known| known.event == event.event)?;
        Some((known, segment(known.incoming, known.ticks, timestamp)?))
    }

    /// Whether a packet goes on with an event of which one has been mapped.
    #[must_use]
    pub fn knows(&self, timestamp: u32, event: TelephoneEvent) -> bool {
        self.known(timestamp, event).is_some()
    }
}

fn scale(ticks: u32, from: DtmfPlan, to: DtmfPlan) -> u32 {
    let scaled = u64::from(ticks) * u64::from(to.clock_hz) / u64::from(from.clock_hz.max(1));
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// A key of which nothing more has been heard for so long was let go; the packets that said so are lost.
pub const KEY_LOST: Duration = Duration::from_millis(200);

/// What is heard of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It was pressed.
    Down {
        /// Which (RFC 4733 section 3.2).
        event: u8,
        /// How long ago.
        ms: u32,
    },
    /// It is still down.
    Held {
        /// For so long.
        ms: u32,
    },
    /// It was let go.
    LetGo {
        /// Which.
        event: u8,
        /// How long it was down.
        ms: u32,
    },
}

/// Hears keys in the packets of telephone events, each once, whatever of its packets is lost, late or said again.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventEar {
    key: Option<Key>,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    event: u8,
    /// The timestamp of its first segment.
    start: u32,
    ticks: u32,
    clock_hz: u32,
    /// When it was heard of last.
    at: Instant,
    down: bool,
}

impl Key {
    fn ms(&self) -> u32 {
        let ms = u64::from(self.ticks) * 1_000 / u64::from(self.clock_hz.max(1));
        u32::try_from(ms).unwrap_or(u32::MAX)
    }

    fn let_go(&mut self) -> Option<Heard> {
        std::mem::replace(&mut self.down, false).then(|| Heard::LetGo { event: self.event, ms: self.ms() })
    }

    fn segment(&self, timestamp: u32, event: u8) -> Option<u32> {
        segment(self.start, self.ticks, timestamp).filter(|_| self.event == event)
    }
}

impl EventEar {
    /// Hears a packet; `each` is told what that means, at most two things.
    pub fn hear(&mut self, now: Instant, timestamp: u32, event: TelephoneEvent, clock_hz: u32, mut each: impl FnMut(Heard)) {
        let duration = u32::from(event.duration_ticks);
        if let Some(key) = &mut self.key {
            if let Some(into) = key.segment(timestamp, event.event) {
                if key.down {
                    (key.ticks, key.at) = (key.ticks.max(into + duration), now);
                    let held = Heard::Held { ms: key.ms() };
                    each(if event.end { key.let_go().unwrap_or(held) } else { held });
                }
                return;
            }
            if ts_diff(key.start, timestamp) < 0 {
                return; // of a key before
            }
            if let Some(heard) = key.let_go() {
                each(heard);
            }
        }
        let mut key = Key { event: event.event, start: timestamp, ticks: duration, clock_hz, at: now, down: true };
        each(Heard::Down { event: key.event, ms: key.ms() });
        if let Some(heard) = key.let_go().filter(|_| event.end) {
            each(heard);
        }
        self.key = Some(Key { down: !event.end, ..key });
    }

    /// The key that is down counts as let go; what still comes of it is not heard.
    pub fn give_up(&mut self) -> Option<Heard> {
        self.key.as_mut()?.let_go()
    }

    /// Another source: its timestamps have nothing to do with those before.
    pub fn forget(&mut self) {
        self.key = None;
    }

    /// When a key that is down counts as let go.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.key.filter(|key| key.down).map(|key| key.at + KEY_LOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Pt;

    fn plan(clock_hz: u32) -> DtmfPlan {
        DtmfPlan { rx_pt: Pt(101), tx_pt: Pt(101), clock_hz, rx_other: None }
    }

    fn event(duration_ticks: u16, end: bool) -> TelephoneEvent {
        TelephoneEvent { event: 5, end, volume: 10, duration_ticks }
    }

    #[test]
    fn an_event_keeps_its_start_and_scales_its_length_both_ways() {
        let mut map = EventMap::default();
        let first = map.map(1_000, event(160, false), plan(8_000), plan(48_000), || 77);
        assert_eq!((first.timestamp, first.event.duration_ticks, first.first), (77, 960, true));
        for _ in 0..3 {
            let end = map.map(1_000, event(800, true), plan(8_000), plan(48_000), || unreachable!());
            assert_eq!((end.timestamp, end.event.duration_ticks, end.event.end, end.first), (77, 4_800, true, false));
        }
        let back = EventMap::default().map(9, event(4_800, true), plan(48_000), plan(8_000), || 3);
        assert_eq!((back.timestamp, back.event.duration_ticks), (3, 800));
    }

    #[test]
    fn a_long_event_goes_on_in_segments() {
        let mut map = EventMap::default();
        map.map(0, event(160, false), plan(8_000), plan(48_000), || 100);
        let long = map.map(0, event(16_000, false), plan(8_000), plan(48_000), || unreachable!());
        assert_eq!((long.timestamp, long.event.duration_ticks), (100 + 0xffff, (96_000 - 0xffff) as u16));
        let mut map = EventMap::default();
        map.map(0, event(0xffff, false), plan(48_000), plan(8_000), || 100);
        let next = map.map(0xffff, event(960, false), plan(48_000), plan(8_000), || unreachable!());
        assert_eq!((next.timestamp, next.event.duration_ticks, next.first), (100, 11_082, false), "one event at 8,000");
    }
}
