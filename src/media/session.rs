use std::time::Instant;

use super::browser::{Browser, Changes, Turn};
use super::buffer::Slot;
use super::dtls::DtlsIdentity;
use super::flow::{Arrival, Flow};
use super::leg::{Leg, Transport};
use super::stats::{Drop, Outcome};
use super::tone::Tone;
use super::{Pair, Sink};
use crate::base::{Now, Rng};
use crate::plan::{LegRemote, LegStats, MediaEvent, Path, SessionId, SessionPlan, Side};
use crate::wire::rtp::{FIXED_HEADER_LEN, RtpHeader};

use is::stun::StunMessage;

/// The media legs of one call and what runs between them.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    legs: [Option<Leg>; 2],
    /// What carries the packets that arrive on each leg.
    flows: [Flow; 2],
    tone: Option<Tone>,
    plan: Option<SessionPlan>,
    cname: String,
    rng: Rng,
}

impl Session {
    /// A session without legs.
    #[must_use]
    pub(super) fn new(id: SessionId, mut rng: Rng) -> Self {
        let cname = rng.token(16);
        Self { id, legs: [None, None], flows: [Flow::None, Flow::None], tone: None, plan: None, cname, rng }
    }

    /// Its name between the halves.
    #[must_use]
    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// One of its legs.
    #[must_use]
    pub(super) fn leg(&self, side: Side) -> Option<&Leg> {
        self.legs[side as usize].as_ref()
    }

    /// Puts a new leg in place.
    pub(super) fn open(&mut self, side: Side, transport: Transport) {
        self.legs[side as usize] = Some(Leg::new(transport, &mut self.rng));
    }

    /// Takes a leg out; nothing flows until the next SetPath.
    pub(super) fn take_leg(&mut self, side: Side) -> Option<Leg> {
        (self.flows, self.tone, self.plan) = ([Flow::None, Flow::None], None, None);
        self.legs[side as usize].take()
    }

    /// Whether it has no leg left.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.legs.iter().all(Option::is_none)
    }

    /// The far side of a leg is known. A remote of the other kind than the leg is signalling's error and changes nothing.
    pub(super) fn set_remote(
        &mut self,
        now: Now,
        side: Side,
        remote: &LegRemote,
        identity: &DtlsIdentity,
        sink: &mut dyn Sink,
    ) -> Changes {
        let Some(leg) = &mut self.legs[side as usize] else { return Changes::new() };
        match (&mut leg.transport, remote) {
            (Transport::Classic(classic), LegRemote::Rtp { rtp, rtcp, latch }) => {
                classic.set_remote(*rtp, *rtcp, *latch);
                Changes::new()
            }
            (Transport::Browser(browser), LegRemote::WebRtc { ice_ufrag, ice_pwd, fingerprint, role }) => {
                let changes = browser.set_remote(now.mono, (ice_ufrag, ice_pwd), *fingerprint, *role, sink);
                let turn = browser.begin(now.mono, identity, sink);
                self.on_turn(side, turn, sink);
                changes
            }
            (Transport::Classic(_), LegRemote::WebRtc { .. }) | (Transport::Browser(_), LegRemote::Rtp { .. }) => Changes::new(),
        }
    }

    /// Both sides have agreed. What stays the same goes on unbroken.
    pub(super) fn set_path(&mut self, now: Now, plan: SessionPlan) {
        for (leg, leg_plan) in self.legs.iter_mut().zip([Some(plan.a), plan.b]) {
            if let (Some(leg), Some(leg_plan)) = (leg, leg_plan) {
                leg.set_plan(now.mono, leg_plan, &mut self.rng);
            }
        }
        let before = self.plan.replace(plan);
        if before.is_some_and(|before| same_carriage(&before, &plan)) {
            return;
        }
        let out_ts = |leg: &Option<Leg>, hz| leg.as_ref().map_or(0, |leg| leg.tx.ts_at(now.mono, hz));
        self.tone = match plan.path {
            Path::Tone { hz } => Tone::new(now.mono, hz, &plan.a, out_ts(&self.legs[0], plan.a.codec.clock_hz())).ok(),
            Path::Rewrite | Path::Transcode | Path::Echo => None,
        };
        self.flows = match (plan.path, &plan.b) {
            (Path::Echo, _) => [Flow::rewrite(), Flow::None],
            (Path::Tone { .. }, _) => [Flow::Sink, Flow::None],
            (Path::Rewrite, Some(_)) => [Flow::rewrite(), Flow::rewrite()],
            (Path::Transcode, Some(b)) => {
                let to_b = Flow::transcode(&plan.a, b, out_ts(&self.legs[1], b.codec.clock_hz()));
                let to_a = Flow::transcode(b, &plan.a, out_ts(&self.legs[0], plan.a.codec.clock_hz()));
                [to_b, to_a]
            }
            (Path::Rewrite | Path::Transcode, None) => [Flow::None, Flow::None],
        };
    }

    /// A STUN datagram that names the user fragment of a leg.
    pub(super) fn on_stun(
        &mut self,
        now: Now,
        side: Side,
        pair: Pair,
        message: StunMessage<'_>,
        identity: &DtlsIdentity,
        sink: &mut dyn Sink,
    ) -> Changes {
        let Some(browser) = self.browser(side) else { return Changes::new() };
        let changes = browser.on_stun(now.mono, pair, message, sink).into_iter().collect();
        let turn = browser.begin(now.mono, identity, sink);
        self.on_turn(side, turn, sink);
        changes
    }

    /// A DTLS datagram from a validated remote of a leg.
    pub(super) fn on_dtls(&mut self, now: Now, side: Side, pair: Pair, datagram: &[u8], sink: &mut dyn Sink) {
        let Some(browser) = self.browser(side) else { return };
        let turn = browser.on_dtls(now.mono, pair, datagram, sink);
        self.on_turn(side, turn, sink);
    }

    fn browser(&mut self, side: Side) -> Option<&mut Browser> {
        match &mut self.legs[side as usize].as_mut()?.transport {
            Transport::Browser(browser) => Some(browser),
            Transport::Classic(_) => None,
        }
    }

    fn on_turn(&mut self, side: Side, turn: Option<Turn>, sink: &mut dyn Sink) {
        let (Some(turn), Some(leg)) = (turn, &mut self.legs[side as usize]) else { return };
        let session = self.id;
        match turn {
            Turn::Connected if leg.connect() => sink.event(MediaEvent::Connected { session, side }),
            // New keys after an ICE restart with another certificate: signalling knows the leg as connected.
            Turn::Connected => {}
            Turn::Failed(cause) => sink.event(MediaEvent::Failed { session, side, cause }),
        }
    }

    /// RTCP on either leg.
    pub(super) fn on_rtcp(&mut self, now: Now, side: Side, pair: Pair, slot: &mut Slot) {
        if let Some(leg) = &mut self.legs[side as usize] {
            leg.on_rtcp(now, pair, slot);
        }
    }

    /// RTP on either leg: carried to where the plan says and counted.
    pub(super) fn on_rtp(&mut self, now: Now, side: Side, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) -> Outcome {
        let outcome = self.carry(now.mono, side, pair, slot, sink).unwrap_or_else(Outcome::Dropped);
        if let Some(leg) = &mut self.legs[side as usize] {
            leg.counters.count(outcome);
        }
        outcome
    }

    fn carry(&mut self, now: Instant, side: Side, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) -> Result<Outcome, Drop> {
        let leg = self.legs[side as usize].as_mut().ok_or(Drop::NoPath)?;
        let accepted = leg.accept(now, pair, slot)?;
        if accepted.first {
            sink.event(MediaEvent::Connected { session: self.id, side });
        }
        let from = leg.plan.ok_or(Drop::NoPath)?;
        let header = accepted.header;
        let place = leg.rx.place(header.ssrc, header.seq)?;
        if header.pt == from.rx_pt.0 {
            leg.rx.arrived(now, header.timestamp, from.codec.clock_hz());
        }
        let echo = self.plan.is_some_and(|plan| plan.path == Path::Echo);
        let target = if echo { side } else { side.other() };
        let flow = &mut self.flows[side as usize];
        let arrival = Arrival { now, from: &from, header, place };
        flow.carry(arrival, slot, self.legs[target as usize].as_mut(), sink)
    }

    /// Whatever is due at `now`.
    pub(super) fn handle_timeout(&mut self, now: Now, sink: &mut dyn Sink) {
        for side in [Side::A, Side::B] {
            let turn = self.browser(side).and_then(|browser| browser.handle_timeout(now.mono, sink));
            self.on_turn(side, turn, sink);
            if let Some(leg) = &mut self.legs[side as usize] {
                leg.report(now, false, self.cname.as_bytes(), &mut self.rng, sink);
            }
        }
        self.play_tone(now.mono, sink);
    }

    fn play_tone(&mut self, now: Instant, sink: &mut dyn Sink) {
        let (Some(tone), Some(leg)) = (&mut self.tone, &mut self.legs[Side::A as usize]) else { return };
        while let Some(frame) = tone.pop(now, &mut sink.slot().room()[FIXED_HEADER_LEN..]) {
            // Unheard frames pass as time does; a frame that the encoder refused is a gap of its own length.
            let (Ok((plan, pair)), Ok(frame)) = (leg.ready(), frame) else { continue };
            let header = RtpHeader {
                marker: frame.marker,
                pt: plan.tx_pt.0,
                seq: leg.tx.next_seq(),
                timestamp: frame.timestamp,
                ssrc: leg.tx.ssrc,
                payload: FIXED_HEADER_LEN..FIXED_HEADER_LEN + frame.len,
            };
            if leg.seal(now, sink.slot(), &header).is_ok() {
                sink.transmit(pair);
            }
        }
    }

    /// The next deadline and its name.
    #[must_use]
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let legs = self.legs.iter().flatten();
        let transports = legs.clone().filter_map(|leg| match &leg.transport {
            Transport::Browser(browser) => browser.poll_timeout(),
            Transport::Classic(_) => None,
        });
        let reports = legs.filter_map(|leg| leg.report_due().map(|at| (at, "rtcp")));
        transports.chain(reports).chain(self.tone.as_ref().map(|tone| (tone.due(), "tone"))).min()
    }

    /// Says good-bye on both legs.
    pub(super) fn close(&mut self, now: Now, sink: &mut dyn Sink) {
        for leg in self.legs.iter_mut().flatten() {
            leg.report(now, true, self.cname.as_bytes(), &mut self.rng, sink);
            if let Transport::Browser(browser) = &mut leg.transport {
                browser.close(sink);
            }
        }
    }

    /// What both legs did.
    #[must_use]
    pub(super) fn stats(&self) -> [LegStats; 2] {
        [Side::A, Side::B].map(|side| self.leg(side).map(Leg::stats).unwrap_or_default())
    }
}

/// Whether packets are carried alike under both plans, so that what carries them need not be made anew.
fn same_carriage(before: &SessionPlan, after: &SessionPlan) -> bool {
    let carriage = |plan: &SessionPlan| {
        let of = |leg: &crate::plan::LegPlan| (leg.codec, leg.ptime_ms, leg.tx_ssrc);
        (plan.path, of(&plan.a), plan.b.as_ref().map(of))
    };
    carriage(before) == carriage(after)
}
