use std::time::Instant;

use super::Sink;
use super::buffer::Slot;
use super::detect::Detector;
use super::dtmf::{EventEar, EventMap, Heard, KEY_LOST};
use super::leg::Leg;
use super::rewrite::Rewriter;
use super::routes::LegKey;
use super::stats::{Drop, Outcome, Place};
use super::transcode::{AudioIn, Gap, Transcoder, TurnPcm};
use crate::plan::{DtmfPlan, DtmfWay, LegId, LegPlan, MediaEvent, Path};
use crate::wire::rtp::{FIXED_HEADER_LEN, RtpHeader, TelephoneEvent};

/// One believed packet.
#[derive(Debug)]
pub(super) struct Arrival {
    /// When it came.
    pub(super) now: Instant,
    /// Whose far side sent it.
    pub(super) speaker: LegId,
    /// What was agreed with that.
    pub(super) from: LegPlan,
    /// Its header, in the clear.
    pub(super) header: RtpHeader,
    /// Its place in the order.
    pub(super) place: Place,
}

/// Who hears a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// Nobody does.
    Nobody,
    /// Its own far side.
    Itself,
    /// Another leg's.
    Leg(LegKey),
}

/// What carries the packets that arrive on one leg to who hears it: fixed when paths are set, one `match` a packet.
#[derive(Debug)]
pub(super) struct Flow {
    target: Target,
    /// What both had agreed to when it was made.
    plans: Option<(LegPlan, LegPlan)>,
    carrier: Carrier,
    ear: EventEar,
}

#[derive(Debug)]
enum Carrier {
    /// They go nowhere.
    None,
    /// New numbers, the payload untouched.
    Rewrite(Rewriter),
    /// Decoded and encoded.
    Transcode(Box<Transcoding>),
}

#[derive(Debug)]
struct Transcoding {
    transcoder: Transcoder,
    events: EventMap,
    /// Listens for keys, where they are pressed as tones and not wanted as such.
    tones: Option<Box<ToneEar>>,
    /// When a telephone event came last: what sounds like a key right behind one is the same key.
    event_at: Option<Instant>,
}

/// Hears keys that sound.
#[derive(Debug, Default)]
struct ToneEar {
    detector: Detector,
    /// When audio came last.
    at: Option<Instant>,
    /// The key that is down has been handed on.
    told: bool,
}

impl ToneEar {
    /// Hears what a packet brought and mutes keys in it. With `deaf` they are muted and not told.
    fn hear(&mut self, now: Instant, deaf: bool, (gap, pcm): (Gap, &mut [i16]), mut each: impl FnMut(Heard)) {
        let Self { detector, told, at } = self;
        *at = Some(now);
        match gap {
            Gap::None => {}
            Gap::Lost(samples) => detector.lost(samples),
            Gap::Silence => detector.stop().filter(|_| std::mem::take(told)).into_iter().for_each(&mut each),
        }
        detector.hear(pcm, |heard| {
            let tell = match heard {
                Heard::Down { .. } => {
                    *told = !deaf;
                    *told
                }
                Heard::Held { .. } => *told,
                Heard::LetGo { .. } => std::mem::take(told),
            };
            if tell {
                each(heard);
            }
        });
    }

    fn give_up(&mut self) -> Option<Heard> {
        self.detector.stop().filter(|_| std::mem::take(&mut self.told))
    }

    fn due(&self) -> Option<Instant> {
        self.at.filter(|_| self.detector.is_down()).map(|at| at + KEY_LOST)
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self { target: Target::Nobody, plans: None, carrier: Carrier::None, ear: EventEar::default() }
    }
}

impl Flow {
    /// A flow between two legs that have agreed, or from one to itself; `out_ts` is the next timestamp of who hears. It
    /// carries nothing if a codec refuses to start.
    #[must_use]
    pub(super) fn new(target: Target, from: &LegPlan, to: &LegPlan, out_ts: u32) -> Self {
        // Who hears itself gets back what it sends, keys in whatever form.
        let path = if target == Target::Itself { Path::Rewrite } else { Path::between(from, to) };
        let carrier = match path {
            Path::Rewrite => Carrier::Rewrite(Rewriter::default()),
            Path::Transcode => Transcoder::new(from, to, out_ts).map_or(Carrier::None, |transcoder| {
                let tones = (from.dtmf_rx_tones && to.dtmf_tx != DtmfWay::Tones).then(Box::default);
                Carrier::Transcode(Box::new(Transcoding { transcoder, events: EventMap::default(), tones, event_at: None }))
            }),
        };
        Self { target, plans: Some((*from, *to)), carrier, ear: EventEar::default() }
    }

    /// Whether who hears it needs an encoder.
    #[must_use]
    pub(super) fn is_transcoding(&self) -> bool {
        matches!(self.carrier, Carrier::Transcode(_))
    }

    /// Who hears.
    #[must_use]
    pub(super) fn target(&self) -> Target {
        self.target
    }

    /// The same listener has another place.
    pub(super) fn retarget(&mut self, target: Target) {
        self.target = target;
    }

    /// Whether it carries alike to `target` under these plans, so that it need not be made anew.
    #[must_use]
    pub(super) fn fits(&self, target: Target, from: &LegPlan, to: &LegPlan) -> bool {
        let from_of = |plan: &LegPlan| (plan.codec, plan.events, plan.dtmf_rx_tones);
        let to_of = |plan: &LegPlan| (plan.codec, plan.events, plan.dtmf_tx, plan.ptime_ms, plan.tx_ssrc);
        let alike = |plans: &(LegPlan, LegPlan)| (from_of(&plans.0), to_of(&plans.1)) == (from_of(from), to_of(to));
        self.target == target && self.plans.as_ref().is_some_and(alike)
    }

    /// Whether a packet may begin, go on with or end a key: alone that moves deadlines nearer.
    #[must_use]
    pub(super) fn may_change_a_key(&self, arrival: &Arrival) -> bool {
        let listens = match &self.carrier {
            Carrier::Transcode(transcoding) => transcoding.tones.is_some(),
            Carrier::None | Carrier::Rewrite(_) => false,
        };
        listens || arrival.place.fresh || events_in(arrival).is_some()
    }

    /// Carries one believed packet in `slot` to `to`.
    ///
    /// # Errors
    /// Why it goes no further; the far side then sees no gap in the numbers.
    pub(super) fn carry(
        &mut self,
        arrival: Arrival,
        slot: &mut Slot,
        to: Option<&mut Leg>,
        pcm: &mut TurnPcm,
        sink: &mut dyn Sink,
    ) -> Result<Outcome, Drop> {
        let (from, pt, place) = (arrival.from, arrival.header.pt, arrival.place);
        let event = events_in(&arrival).is_some();
        let mut to = match () {
            () if !event && pt != from.rx_pt.0 => Err(Drop::PayloadType),
            () if !from.rx => Err(Drop::NotReceiving),
            () => to.ok_or(Drop::NotNeeded),
        };
        if place.fresh {
            self.begin_anew(&arrival, to.as_deref_mut().ok(), sink);
        }
        match &mut self.carrier {
            Carrier::None => Err(Drop::NotNeeded),
            Carrier::Rewrite(rewriter) => {
                let carried = to.and_then(|to| match takes_keys(to) {
                    Some(_) if event => hear_event(&mut self.ear, &arrival, slot, to, sink),
                    _ => rewrite(rewriter, &arrival, event, slot, to, sink),
                });
                // With these two the place has been given away already.
                if !matches!(carried, Ok(Outcome::Sent) | Err(Drop::Protect | Drop::Late)) {
                    rewriter.skip(place);
                }
                carried
            }
            Carrier::Transcode(transcoding) => {
                let to = to?;
                if event {
                    transcoding.event_at = Some(arrival.now);
                }
                let alone = || is_end_alone(&transcoding.events, &arrival, slot);
                match () {
                    () if event && (takes_keys(to).is_some() || alone()) => hear_event(&mut self.ear, &arrival, slot, to, sink),
                    () if !place.newest => Err(Drop::Late),
                    () if event => carry_event(transcoding, &arrival, slot, to, sink),
                    () => transcode(transcoding, &arrival, slot, to, pcm, sink),
                }
            }
        }
    }

    /// Another source: what was held or half heard of the one before is over.
    fn begin_anew(&mut self, arrival: &Arrival, to: Option<&mut Leg>, sink: &mut dyn Sink) {
        self.give_up_keys(arrival.now, arrival.speaker, to, sink);
        self.ear.forget();
        if let Carrier::Transcode(transcoding) = &mut self.carrier {
            transcoding.transcoder.forget();
            (transcoding.events, transcoding.event_at) = (EventMap::default(), None);
        }
    }

    /// A key whose end was lost is let go once nothing has been heard of it for a while.
    pub(super) fn handle_timeout(&mut self, now: Instant, speaker: LegId, to: Option<&mut Leg>, sink: &mut dyn Sink) {
        if self.due().is_some_and(|at| at <= now) {
            self.give_up_keys(now, speaker, to, sink);
        }
    }

    /// A key that is down counts as let go.
    pub(super) fn give_up_keys(&mut self, now: Instant, speaker: LegId, to: Option<&mut Leg>, sink: &mut dyn Sink) {
        let tone = self.tones().and_then(ToneEar::give_up);
        let Some(to) = to else { return };
        for heard in self.ear.give_up().into_iter().chain(tone) {
            hand_on(heard, now, speaker, to, sink);
        }
    }

    fn tones(&mut self) -> Option<&mut ToneEar> {
        match &mut self.carrier {
            Carrier::Transcode(transcoding) => transcoding.tones.as_deref_mut(),
            Carrier::None | Carrier::Rewrite(_) => None,
        }
    }

    /// When [`Flow::handle_timeout`] is due.
    #[must_use]
    pub(super) fn due(&self) -> Option<Instant> {
        let tone = match &self.carrier {
            Carrier::Transcode(transcoding) => transcoding.tones.as_deref().and_then(ToneEar::due),
            Carrier::None | Carrier::Rewrite(_) => None,
        };
        self.ear.due().into_iter().chain(tone).min()
    }
}

/// The telephone events that a packet carries, if it carries any.
fn events_in(arrival: &Arrival) -> Option<DtmfPlan> {
    arrival.from.events?.received_as(arrival.header.pt)
}

/// How keys are handed to a leg that does not take them packet by packet.
fn takes_keys(to: &Leg) -> Option<DtmfWay> {
    to.plan.map(|plan| plan.dtmf_tx).filter(|way| *way != DtmfWay::Events)
}

/// Hands a key on in the way that `to` wants.
fn hand_on(heard: Heard, now: Instant, speaker: LegId, to: &mut Leg, sink: &mut dyn Sink) {
    match (to.plan.map(|plan| plan.dtmf_tx), heard) {
        (Some(DtmfWay::Signalling), Heard::LetGo { event, ms }) => {
            sink.event(MediaEvent::Dtmf { leg: speaker, event, duration_ms: ms });
        }
        (Some(DtmfWay::Signalling) | None, _) => {}
        (Some(DtmfWay::Events | DtmfWay::Tones), Heard::Down { event, ms }) => to.hold_key(now, event, ms),
        (Some(DtmfWay::Events | DtmfWay::Tones), Heard::Held { ms }) => to.voice.held_for(ms),
        (Some(DtmfWay::Events | DtmfWay::Tones), Heard::LetGo { ms, .. }) => to.voice.let_go(ms),
    }
}

/// Whether a packet ends a key of whose beginning nothing came, so that there is nothing to carry the end after: phones were
/// seen to take no notice of such a key, and a browser with Opus sends just the ends of events at 8,000.
fn is_end_alone(events: &EventMap, arrival: &Arrival, slot: &Slot) -> bool {
    let header = &arrival.header;
    let event = TelephoneEvent::parse(&slot.data()[header.payload.clone()]);
    event.is_ok_and(|event| event.end && !events.knows(header.timestamp, event))
}

fn hear_event(ear: &mut EventEar, arrival: &Arrival, slot: &Slot, to: &mut Leg, sink: &mut dyn Sink) -> Result<Outcome, Drop> {
    let Arrival { now, speaker, header, .. } = arrival;
    let event = TelephoneEvent::parse(&slot.data()[header.payload.clone()]).map_err(|_| Drop::TelephoneEvent)?;
    let events = events_in(arrival).filter(|_| event.event < 16).ok_or(Drop::NoTelephoneEvents)?;
    ear.hear(*now, header.timestamp, event, events.clock_hz, |heard| hand_on(heard, *now, *speaker, to, sink));
    Ok(Outcome::Held)
}

fn rewrite(
    rewriter: &mut Rewriter,
    arrival: &Arrival,
    event: bool,
    slot: &mut Slot,
    to: &mut Leg,
    sink: &mut dyn Sink,
) -> Result<Outcome, Drop> {
    let Arrival { now, place, .. } = *arrival;
    let mut header = arrival.header.clone();
    let (plan, pair) = to.ready()?;
    if to.voice.is_busy() {
        return Err(Drop::NotNeeded);
    }
    let (mut pt, mut segment) = (plan.tx_pt, 0);
    if event {
        let (from, to) = events_in(arrival).zip(plan.events).ok_or(Drop::NoTelephoneEvents)?;
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
    Transcoding { transcoder, events, .. }: &mut Transcoding,
    arrival: &Arrival,
    slot: &mut Slot,
    to: &mut Leg,
    sink: &mut dyn Sink,
) -> Result<Outcome, Drop> {
    let (now, mut header) = (arrival.now, arrival.header.clone());
    let (plan, pair) = to.ready()?;
    if to.voice.is_busy() {
        return Err(Drop::NotNeeded);
    }
    let (from, dtmf) = events_in(arrival).zip(plan.events).ok_or(Drop::NoTelephoneEvents)?;
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
    // The audio behind it is still this flow's.
    transcoder.sent_up_to(to.tx.next_index());
    sink.forward(slot, pair);
    Ok(Outcome::Sent)
}

fn transcode(
    Transcoding { transcoder, tones, event_at, .. }: &mut Transcoding,
    arrival: &Arrival,
    slot: &Slot,
    to: &mut Leg,
    pcm: &mut TurnPcm,
    sink: &mut dyn Sink,
) -> Result<Outcome, Drop> {
    let Arrival { now, header, place, speaker, .. } = arrival;
    let ready = to.ready();
    // Keys are heard for a leg that hears nothing else, too.
    let plan = match (&ready, tones.is_some()) {
        (Ok((plan, _)), _) => *plan,
        (Err(_), true) => to.plan.ok_or(Drop::NoPath)?,
        (Err(why), false) => return Err(*why),
    };
    let audio = AudioIn {
        timestamp: header.timestamp,
        missing: place.missing,
        out_ts_now: to.tx.ts_next(*now, plan.codec.clock_hz()),
        out_index: to.tx.next_index(),
        payload: &slot.data()[header.payload.clone()],
    };
    let pushed = transcoder.push(audio, pcm);
    if let (Some(tones), Ok(())) = (tones, pushed) {
        let deaf = event_at.is_some_and(|at| now.saturating_duration_since(at) < KEY_LOST);
        tones.hear(*now, deaf, transcoder.fresh(pcm), |heard| hand_on(heard, *now, *speaker, to, sink));
    }
    if ready.is_err() || to.voice.is_busy() || to.encoder.is_none() {
        transcoder.discard();
        return Err(ready.err().unwrap_or(Drop::NotNeeded));
    }
    let (_, pair) = ready?;
    let mut outcome = Outcome::Held;
    let loss_percent = to.expected_loss_percent();
    while let Some(frame) = to.encoder.as_mut().and_then(|encoder| {
        let payload = &mut sink.slot().room()[FIXED_HEADER_LEN..];
        transcoder.pop(encoder, loss_percent, pcm, payload)
    }) {
        let Ok(frame) = frame else { continue };
        // Every frame is taken out whatever becomes of it: the turn's room is reckoned by that.
        outcome = match to.send_made(*now, pair, sink, (plan.tx_pt.0, frame.marker, frame.timestamp), frame.len) {
            Ok(()) => Outcome::Sent,
            Err(why) => Outcome::Dropped(why),
        };
    }
    transcoder.sent_up_to(to.tx.next_index());
    pushed.map_err(|_| Drop::Payload)?;
    Ok(outcome)
}
