//! Telephone events from one clock to the other.

use crate::plan::DtmfPlan;
use crate::wire::rtp::{TelephoneEvent, ts_diff};

/// Carries telephone events (RFC 4733) from one leg's clock to the other's.
///
/// All packets of one event share the timestamp of its start, so the outgoing one is chosen with the first and kept: the
/// two retransmissions of the end packet go out as such. Scaled up (8,000 to 48,000), an event outgrows the 16 bits of its
/// duration after 1.4 s: it then goes on in segments as section 2.5.1.3 lays down, without state, from the duration alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventMap {
    /// Incoming and outgoing timestamp of the event at hand.
    current: Option<(u32, u32)>,
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
        let known = self.current.filter(|(incoming, _)| *incoming == timestamp);
        let out = match (known, self.current) {
            (Some((_, out)), _) => out,
            // The next segment of one long event starts where the last ended, on both clocks.
            (None, Some((incoming, out))) if ts_diff(incoming, timestamp) == 0xffff => out.wrapping_add(scale(0xffff, from, to)),
            (None, _) => start(),
        };
        self.current = Some((timestamp, out));
        let duration = scale(u32::from(event.duration_ticks), from, to);
        let segment = duration.saturating_sub(1) / 0xffff;
        let duration_ticks = (duration - segment * 0xffff) as u16;
        let timestamp = out.wrapping_add(segment * 0xffff);
        MappedEvent { event: TelephoneEvent { duration_ticks, ..event }, timestamp, first: known.is_none() }
    }
}

fn scale(ticks: u32, from: DtmfPlan, to: DtmfPlan) -> u32 {
    let scaled = u64::from(ticks) * u64::from(to.clock_hz) / u64::from(from.clock_hz.max(1));
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Pt;

    fn plan(clock_hz: u32) -> DtmfPlan {
        DtmfPlan { rx_pt: Pt(101), tx_pt: Pt(101), clock_hz }
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
        assert_eq!((next.timestamp, next.event.duration_ticks), (100 + 10_922, 160));
    }
}
