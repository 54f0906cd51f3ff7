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
        now: Instant,
        from: &LegPlan,
        header: RtpHeader,
        place: Place,
        slot: &mut Slot,
        to: Option<&mut Leg>,
        sink: &mut dyn Sink,
    ) -> Result<Outcome, Drop> {
        let event = from.dtmf.is_some_and(|dtmf| dtmf.rx_pt.0 == header.pt);
        let to = match () {
            () if !event && header.pt != from.rx_pt.0 => Err(Drop::PayloadType),
            () if !from.rx => Err(Drop::NotReceiving),
            () => to.ok_or(Drop::NoPath),
        };
        match self {
            Self::None => Err(Drop::NoPath),
            Self::Sink => Err(Drop::NotNeeded),
            Self::Rewrite(rewriter) => {
                let carried = to.and_then(|to| rewrite(rewriter, now, from, header, place, event, slot, to, sink));
                if carried.is_err_and(|why| why != Drop::Protect && why != Drop::Late) {
                    rewriter.skip(place);
                }
                carried
            }
            Self::Transcode(..) if !place.newest => Err(Drop::Late),
            Self::Transcode(transcoder, events) if event => carry_event(transcoder, events, now, from, header, slot, to?, sink),
            Self::Transcode(transcoder, _) => transcode(transcoder, now, header, place, slot, to?, sink),
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn rewrite(
    rewriter: &mut Rewriter,
    now: Instant,
    from: &LegPlan,
    mut header: RtpHeader,
    place: Place,
    event: bool,
    slot: &mut Slot,
    to: &mut Leg,
    sink: &mut dyn Sink,
) -> Result<Outcome, Drop> {
    let (plan, pair) = to.ready()?;
    let mut pt = plan.tx_pt;
    if event {
        let (from, to) = from.dtmf.zip(plan.dtmf).ok_or(Drop::NoTelephoneEvents)?;
        pt = to.tx_pt;
        if from.clock_hz != to.clock_hz {
            let payload = &mut slot.data_mut()[header.payload.clone()];
            let parsed = TelephoneEvent::parse(payload).map_err(|_| Drop::TelephoneEvent)?;
            let mapped = EventMap::default().map(header.timestamp, parsed, from, to, || 0);
            payload[..TelephoneEvent::LEN].copy_from_slice(&mapped.event.write());
        }
    }
    let clock_hz = plan.codec.clock_hz();
    let out = rewriter.map(place, header.timestamp, &mut to.tx, now, clock_hz).ok_or(Drop::Late)?;
    header.pt = pt.0;
    header.seq = out.seq;
    header.timestamp = out.timestamp;
    header.ssrc = to.tx.ssrc;
    header.marker |= out.fresh;
    to.seal(now, slot, &header)?;
    sink.forward(slot, pair);
    Ok(Outcome::Sent)
}

#[allow(clippy::too_many_arguments)]
fn carry_event(
    transcoder: &Transcoder,
    events: &mut EventMap,
    now: Instant,
    from: &LegPlan,
    mut header: RtpHeader,
    slot: &mut Slot,
    to: &mut Leg,
    sink: &mut dyn Sink,
) -> Result<Outcome, Drop> {
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
    now: Instant,
    header: RtpHeader,
    place: Place,
    slot: &Slot,
    to: &mut Leg,
    sink: &mut dyn Sink,
) -> Result<Outcome, Drop> {
    let (plan, pair) = to.ready()?;
    let pushed = transcoder.push(AudioIn {
        timestamp: header.timestamp,
        fresh: place.fresh,
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
