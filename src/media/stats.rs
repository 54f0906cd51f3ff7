//! What came, in which order, and what became of it.

use crate::wire::rtp::{ReplayWindow, Seen, packet_index, seq_diff};

use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// Why a received packet went no further. Every RTP packet counted in is counted out as sent, held or dropped for one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Drop {
    /// No RTP packet by its own header.
    Malformed,
    /// From an address that this leg does not believe.
    ForeignSource,
    /// Before the keys were there.
    NoKeys,
    /// The SRTP tag does not fit.
    SrtpTag,
    /// An SRTP index seen before, or too old to know.
    SrtpReplay,
    /// More synchronisation sources than a leg may have.
    TooManySources,
    /// Before [`SetPath`](crate::plan::MediaCommand::SetPath).
    NoPath,
    /// The plan says that this side does not send (hold).
    NotReceiving,
    /// The plan says that nothing is sent to the other side (hold).
    NotSending,
    /// The other side has no address or no keys yet.
    PeerNotReady,
    /// A payload type that was not agreed on.
    PayloadType,
    /// A telephone event, and the other leg has none.
    NoTelephoneEvents,
    /// A telephone event that cannot be read.
    TelephoneEvent,
    /// A sequence number seen before.
    Duplicate,
    /// Too old: its place has been filled or given away.
    Late,
    /// The codec cannot read the payload.
    Payload,
    /// Nobody hears this leg, or who does hears something else for now (a key that is being pressed).
    NotNeeded,
    /// Our own SRTP refused to send it: an index used twice, keys used up, no room.
    Protect,
}

impl Drop {
    /// How many reasons there are.
    pub const COUNT: usize = Self::Protect as usize + 1;

    /// All of them, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Malformed,
        Self::ForeignSource,
        Self::NoKeys,
        Self::SrtpTag,
        Self::SrtpReplay,
        Self::TooManySources,
        Self::NoPath,
        Self::NotReceiving,
        Self::NotSending,
        Self::PeerNotReady,
        Self::PayloadType,
        Self::NoTelephoneEvents,
        Self::TelephoneEvent,
        Self::Duplicate,
        Self::Late,
        Self::Payload,
        Self::NotNeeded,
        Self::Protect,
    ];
}

/// What became of a received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It, or what it completed, was sent on.
    Sent,
    /// Its audio waits for more to fill a frame, or it told of a key that goes on in another form.
    Held,
    /// It went no further.
    Dropped(Drop),
}

/// Counts of RTP packets of one leg: `rx` = `sent` + `held` + all of `dropped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Arrived.
    pub rx: u64,
    /// Of those, sent on.
    pub sent: u64,
    /// Of those, held: [`Outcome::Held`].
    pub held: u64,
    /// Of those, dropped, by [`Drop`].
    pub dropped: [u64; Drop::COUNT],
    /// Sent to this leg's far side, whoever made them.
    pub tx: u64,
}

impl Counters {
    /// Counts one received packet in and out.
    pub fn count(&mut self, outcome: Outcome) {
        self.rx += 1;
        match outcome {
            Outcome::Sent => self.sent += 1,
            Outcome::Held => self.held += 1,
            Outcome::Dropped(why) => self.dropped[why as usize] += 1,
        }
    }

    /// All drops together.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// All reasons that something was dropped for, and how many.
    pub fn drops(&self) -> impl Iterator<Item = (Drop, u64)> + '_ {
        Drop::ALL.into_iter().map(|why| (why, self.dropped_for(why))).filter(|(_, count)| *count > 0)
    }

    /// How many were dropped for `why`.
    #[must_use]
    pub fn dropped_for(&self, why: Drop) -> u64 {
        self.dropped[why as usize]
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.rx += other.rx;
        self.sent += other.sent;
        self.held += other.held;
        self.dropped.iter_mut().zip(other.dropped).for_each(|(mine, theirs)| *mine += theirs);
        self.tx += other.tx;
    }
}

/// Datagrams that belong to no leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unrouted {
    /// STUN that cannot be read, is no request, or names no user fragment of ours.
    pub stun: u64,
    /// DTLS from a remote that ICE has not validated.
    pub dtls: u64,
    /// RTP or RTCP from a remote that ICE has not validated.
    pub rtp: u64,
    /// Anything else, on any port.
    pub unknown: u64,
    /// Longer than a [`Slot`](super::Slot) holds.
    pub too_long: u64,
}

impl Unrouted {
    /// All together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.stun + self.dtls + self.rtp + self.unknown + self.too_long
    }
}

/// Every datagram that a core was given, counted in and out: `received` is the sum of all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// By its own sockets, or by the worker on whose socket it arrived.
    pub received: u64,
    /// RTP for a leg, which counts it further: [`Counters::rx`].
    pub rtp: u64,
    /// RTCP for a leg.
    pub rtcp: u64,
    /// STUN for a leg.
    pub stun: u64,
    /// DTLS for a leg.
    pub dtls: u64,
    /// Dropped with a leg that met a broken invariant over it.
    pub broken: u64,
    /// For a leg that lives with another worker, which counts it anew.
    pub handed_over: u64,
    /// As those, and dropped because that worker had no room for it.
    pub not_taken_over: u64,
    /// For no leg.
    pub unrouted: Unrouted,
}

impl Traffic {
    /// Whether all that came in has been counted out.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        let heard = self.rtp + self.rtcp + self.stun + self.dtls + self.broken;
        self.received == heard + self.handed_over + self.not_taken_over + self.unrouted.total()
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.received += other.received;
        self.rtp += other.rtp;
        self.rtcp += other.rtcp;
        self.stun += other.stun;
        self.dtls += other.dtls;
        self.broken += other.broken;
        self.handed_over += other.handed_over;
        self.not_taken_over += other.not_taken_over;
        self.unrouted.stun += other.unrouted.stun;
        self.unrouted.dtls += other.unrouted.dtls;
        self.unrouted.rtp += other.unrouted.rtp;
        self.unrouted.unknown += other.unrouted.unknown;
        self.unrouted.too_long += other.unrouted.too_long;
    }
}

/// All that a core has counted. Over all workers [`Traffic::rtp`] is [`Counters::rx`]: a leg that moves takes its counts along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Datagrams.
    pub traffic: Traffic,
    /// RTP packets of its legs, those that have ended too.
    pub legs: Counters,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.traffic += other.traffic;
        self.legs += other.legs;
    }
}

/// A packet's place in what one source sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Sequence number with its cycles.
    pub index: u64,
    /// It continues no earlier packet: the first, of a new source, or of one that began anew.
    pub fresh: bool,
    /// It is the newest so far.
    pub newest: bool,
    /// How many sequence numbers before it have not come (0 unless it is the newest).
    pub missing: u64,
}

/// What one source sends to us: order, loss and jitter (RFC 3550 appendix A.1, A.3, A.8).
#[derive(Debug, Clone, Default)]
pub struct RxSource {
    ssrc: Option<u32>,
    window: ReplayWindow,
    base: u64,
    received: u64,
    /// Of earlier sources of this leg.
    lost_before: u64,
    /// A sequence number far from all others; the next one in its row starts the source anew.
    stray: Option<u16>,
    transit: Option<(Instant, u32)>,
    jitter_x16: u64,
    reported: (u64, u64),
}

impl RxSource {
    /// Finds a packet's place and marks it as seen.
    ///
    /// # Errors
    /// [`Drop::Duplicate`] or [`Drop::Late`].
    pub fn place(&mut self, ssrc: u32, seq: u16) -> Result<Place, Drop> {
        if self.ssrc != Some(ssrc) {
            return Ok(self.begin(ssrc, seq));
        }
        let highest = self.window.highest();
        let index = packet_index(highest, seq);
        match self.window.check(index) {
            Seen::New => {}
            Seen::Duplicate => return Err(Drop::Duplicate),
            Seen::TooOld if self.stray.is_some_and(|stray| seq_diff(stray, seq) == 1) => return Ok(self.begin(ssrc, seq)),
            Seen::TooOld => {
                self.stray = Some(seq);
                return Err(Drop::Late);
            }
        }
        self.window.mark(index);
        self.received += 1;
        self.stray = None;
        let newest = index > highest;
        Ok(Place { index, fresh: false, newest, missing: if newest { index - highest - 1 } else { 0 } })
    }

    fn begin(&mut self, ssrc: u32, seq: u16) -> Place {
        // One cycle up, so that a packet of just before the first has a place below it.
        let index = u64::from(seq) + 0x1_0000;
        *self = Self { ssrc: Some(ssrc), lost_before: self.lost(), base: index, received: 1, ..Self::default() };
        self.window.mark(index);
        Place { index, fresh: true, newest: true, missing: 0 }
    }

    /// Takes an audio packet's arrival into the jitter (RFC 3550 section 6.4.1).
    pub fn arrived(&mut self, now: Instant, timestamp: u32, clock_hz: u32) {
        if let Some((then, last)) = self.transit.replace((now, timestamp)) {
            let took = ticks(now.saturating_duration_since(then), clock_hz) as i64;
            let meant = i64::from(timestamp.wrapping_sub(last).cast_signed());
            // A talkspurt that starts after a silence without timestamps is no jitter.
            let off = (took - meant).unsigned_abs().min(u64::from(clock_hz));
            self.jitter_x16 = self.jitter_x16 + off - (self.jitter_x16 + 8) / 16;
        }
    }

    /// The source, once one has been heard.
    #[must_use]
    pub fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// Packets that sequence numbers say were lost, of this source and those before it.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost_before + self.expected().saturating_sub(self.received)
    }

    fn expected(&self) -> u64 {
        if self.window.is_empty() { 0 } else { self.window.highest() - self.base + 1 }
    }

    /// Interarrival jitter in ticks.
    #[must_use]
    pub fn jitter_ticks(&self) -> u32 {
        u32::try_from(self.jitter_x16 / 16).unwrap_or(u32::MAX)
    }

    /// For a report: fraction lost in 256ths since the last call, cumulative loss and extended highest sequence number of
    /// this source.
    pub fn report(&mut self) -> (u8, i32, u32) {
        let (expected, received) = (self.expected(), self.received);
        let (expected_then, received_then) = std::mem::replace(&mut self.reported, (expected, received));
        let expected_now = expected.saturating_sub(expected_then);
        let lost_now = expected_now.saturating_sub(received.saturating_sub(received_then));
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8;
        let lost = i64::try_from(expected).unwrap_or(0) - i64::try_from(received).unwrap_or(0);
        // The cycle that `begin` starts on is ours, not the wire's.
        let highest = self.window.highest().wrapping_sub(0x1_0000) as u32;
        (fraction, lost.clamp(-0x80_0000, 0x7f_ffff) as i32, highest)
    }
}

/// A span of time in ticks of a clock.
#[must_use]
pub fn ticks(span: Duration, clock_hz: u32) -> u64 {
    let clock_hz = u64::from(clock_hz);
    span.as_secs().saturating_mul(clock_hz).saturating_add(u64::from(span.subsec_nanos()) * clock_hz / 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_reorder_and_duplicates_have_their_places() {
        let mut source = RxSource::default();
        assert!(source.place(7, 65_534).unwrap().fresh);
        assert!(!source.place(7, 65_533).unwrap().newest);
        assert_eq!(source.place(7, 1).unwrap().missing, 2);
        assert_eq!(source.lost(), 1, "65535, 0; but 65533 came from before the first");
        assert_eq!(source.place(7, 0).unwrap().missing, 0);
        assert_eq!(source.place(7, 0), Err(Drop::Duplicate));
        assert_eq!(source.place(7, 40_000), Err(Drop::Late));
        assert!(source.place(7, 40_001).unwrap().fresh, "two in a row from afar: it began anew");
        assert!(source.place(8, 3).unwrap().fresh);
    }

    #[test]
    fn jitter_follows_rfc_3550() {
        let mut source = RxSource::default();
        #[allow(clippy::disallowed_methods)]
        let start = Instant::now();
        source.arrived(start, 0, 8_000);
        source.arrived(start + Duration::from_millis(30), 160, 8_000);
        assert_eq!(source.jitter_ticks(), 80 / 16);
    }
}
