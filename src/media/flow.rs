use std::time::Instant;

use super::Sink;
use super::buffer::Slot;
use super::dtmf::EventMap;
use super::leg::Leg;
use super::rewrite::Rewriter;
use super::stats::{Drop, Outcome, Place};
use super::transcode::{AudioIn, Transcoder};
use crate::plan::LegPlan;
use crate::wire::rtp::{FIXED_HEADER_LEN, RtpHeader, TelephoneEvent};

/// One believed packet.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    /// When it came.
    pub(super) now: Instant,
    /// What was agreed with where it came from.
    pub(super) from: &'a LegPlan,
    /// Its header, in the clear.
    pub(super) header: RtpHeader,
    /// Its place in the order.
    pub(super) place: Place,
}

/// What carries the packets that arrive on one leg: fixed by the plan, one `match` a packet.
#[derive(Debug)]
pub(super) enum Flow {
    /// Nothing has been agreed.
    None,
    /// They are heard and go nowhere (a tone is being played).
    Sink,
    /// New numbers, the payload untouched.
    Rewrite(Rewriter),
    /// Decoded and encoded.
    Transcode(Box<Transcoder>, EventMap),
}

impl Flow {
    /// A rewriting flow that has carried nothing yet.
    #[must_use]
    pub(super) fn rewrite() -> Self {
        Self::Rewrite(Rewriter::default())
    }

    /// A transcoding flow; none at all if a codec refuses to start.
    #[must_use]
    pub(super) fn transcode(from: &LegPlan, to: &LegPlan, out_ts: u32) -> Self {
        match Transcoder::new(from, to, out_ts) {
            Ok(transcoder) => Self::Transcode(Box::new(transcoder), EventMap::default()),
            Err(_) => Self::None,
        }
    }

    /// Carries one believed packet in `slot` to `to`.
    ///
    /// # Errors
    /// Why it goes no further; the far side then sees no gap in the numbers.
    pub(super) fn carry(
        &mut self,
        arrival: Arrival<'_>,
        slot: &mut Slot,
        to: Option<&mut Leg>,
        sink: &mut dyn Sink,
    ) -> Result<Outcome, Drop> {
        let (from, pt, place) = (arrival.from, arrival.header.pt, arrival.place);
        let event = from.dtmf.is_some_and(|dtmf| dtmf.rx_pt.0 == pt);
        let to = match () {
            () if !event && pt != from.rx_pt.0 => Err(Drop::PayloadType),
            () if !from.rx => Err(Drop::NotReceiving),
            () => to.ok_or(Drop::NoPath),
        };
        if let (true, Self::Transcode(transcoder, events)) = (place.fresh, &mut *self) {
            transcoder.forget();
            *events = EventMap::default();
        }
        match self {
            Self::None => Err(Drop::NoPath),
            Self::Sink => Err(Drop::NotNeeded),
            Self::Rewrite(rewriter) => {
                let carried = to.and_then(|to| rewrite(rewriter, arrival, event, slot, to, sink));
                // With these two the place has been given away already.
                if carried.is_err_and(|why| why != Drop::Protect && why != Drop::Late) {
                    rewriter.skip(place);
                }
                carried
            }
            Self::Transcode(..) if !place.newest => Err(Drop::Late),
            Self::Transcode(transcoder, events) if event => carry_event(transcoder, events, arrival, slot, to?, sink),
            Self::Transcode(transcoder, _) => transcode(transcoder, arrival, slot, to?, sink),
        }
    }
}

fn rewrite(
    rewriter: &mut Rewriter,
    arrival: Arrival<'_>,
    event: bool,
    slot: &mut Slot,
    to: &mut Leg,
    sink: &mut dyn Sink,
) -> Result<Outcome, Drop> {
    let Arrival { now, from, mut header, place } = arrival;
    let (plan, pair) = to.ready()?;
    let (mut pt, mut segment) = (plan.tx_pt, 0);
    if event {
        let (from, to) = from.dtmf.zip(plan.dtmf).ok_or(Drop::NoTelephoneEvents)?;
        pt = to.tx_pt;
        if from.clock_hz != to.clock_hz {
            let payload = &mut slot.data_mut()[header.payload.clone()];
            let parsed = TelephoneEvent::parse(payload).map_err(|_| Drop::TelephoneEvent)?;
            let mapped = EventMap::default().map(0, parsed, from, to, || 0);
            payload[..TelephoneEvent::LEN].copy_from_slice(&mapped.event.write());
            segment = mapped.timestamp;
        }
    }
    let clock_hz = plan.codec.clock_hz();
    let out = rewriter.map(place, header.timestamp, &mut to.tx, now, clock_hz).ok_or(Drop::Late)?;
    header.pt = pt.0;
    header.seq = out.seq;
    header.timestamp = out.timestamp.wrapping_add(segment);
    header.ssrc = to.tx.ssrc;
    header.marker |= out.fresh;
    to.seal(now, slot, &header)?;
    sink.forward(slot, pair);
    Ok(Outcome::Sent)
}

fn carry_event(
    transcoder: &Transcoder,
    events: &mut EventMap,
    arrival: Arrival<'_>,
    slot: &mut Slot,
    to: &mut Leg,
    sink: &mut dyn Sink,
) -> Result<Outcome, Drop> {
    let Arrival { now, from, mut header, .. } = arrival;
    let (plan, pair) = to.ready()?;
    let (from, dtmf) = from.dtmf.zip(plan.dtmf).ok_or(Drop::NoTelephoneEvents)?;
    let payload = &mut slot.data_mut()[header.payload.clone()];
    let event = TelephoneEvent::parse(payload).map_err(|_| Drop::TelephoneEvent)?;
    let out_now = to.tx.ts_at(now, plan.codec.clock_hz());
    let start = || transcoder.out_ts_of(header.timestamp, out_now);
    let mapped = events.map(header.timestamp, event, from, dtmf, start);
    payload[..TelephoneEvent::LEN].copy_from_slice(&mapped.event.write());
    header.payload.end = header.payload.start + TelephoneEvent::LEN;
    header.pt = dtmf.tx_pt.0;
    header.seq = to.tx.next_seq();
    header.timestamp = mapped.timestamp;
    header.ssrc = to.tx.ssrc;
    header.marker = mapped.first;
    to.seal(now, slot, &header)?;
    sink.forward(slot, pair);
    Ok(Outcome::Sent)
}

fn transcode(
    transcoder: &mut Transcoder,
    arrival: Arrival<'_>,
    slot: &Slot,
    to: &mut Leg,
    sink: &mut dyn Sink,
) -> Result<Outcome, Drop> {
    let Arrival { now, header, place, .. } = arrival;
    let (plan, pair) = to.ready()?;
    let pushed = transcoder.push(AudioIn {
        timestamp: header.timestamp,
        missing: place.missing,
        out_ts_now: to.tx.ts_at(now, plan.codec.clock_hz()),
        payload: &slot.data()[header.payload],
    });
    let mut outcome = Outcome::Held;
    while let Some(frame) = transcoder.pop(&mut sink.slot().room()[FIXED_HEADER_LEN..]) {
        let Ok(frame) = frame else { continue };
        let header = RtpHeader {
            marker: frame.marker,
            pt: plan.tx_pt.0,
            seq: to.tx.next_seq(),
            timestamp: frame.timestamp,
            ssrc: to.tx.ssrc,
            payload: FIXED_HEADER_LEN..FIXED_HEADER_LEN + frame.len,
        };
        // Every frame is taken out whatever becomes of it: the transcoder's room is reckoned by that.
        match to.seal(now, sink.slot(), &header) {
            Ok(()) => {
                sink.transmit(pair);
                outcome = Outcome::Sent;
            }
            Err(why) => outcome = Outcome::Dropped(why),
        }
    }
    pushed.map_err(|_| Drop::Payload)?;
    Ok(outcome)
}
