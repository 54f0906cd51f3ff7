use std::time::Instant;

use is::stun::StunMessage;

use super::browser::{Browser, Changes, Turn};
use super::buffer::Slot;
use super::dtls::DtlsIdentity;
use super::flow::{Arrival, Flow, Target};
use super::joins::speaker_of;
use super::leg::{Leg, Transport};
use super::stats::{Drop, Outcome};
use super::transcode::TurnPcm;
use super::{Pair, Sink};
use crate::base::Now;
use crate::plan::{LegFailure, LegId, LegRemote, MediaEvent, Source};

/// A leg among the others: what it hears, and what carries its packets to whoever hears it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) leg: Leg,
    /// What it hears, as signalling said or as it was left when that went.
    pub(super) hears: Source,
    /// What carries the packets that arrive on it.
    pub(super) flow: Flow,
    /// The deadline in the core's heap that is in force, and its name; others of this leg are stale.
    pub(super) armed: Option<(Instant, &'static str)>,
}

impl Seat {
    /// A leg that hears nothing and is heard by nobody.
    #[must_use]
    pub(super) fn new(leg: Leg) -> Self {
        Self { leg, hears: Source::Nothing, flow: Flow::default(), armed: None }
    }

    /// Whether the deadline that is in force is at `at`.
    #[must_use]
    pub(super) fn is_armed_for(&self, at: Instant) -> bool {
        self.armed.is_some_and(|(armed, _)| armed == at)
    }

    /// The leg that it hears.
    #[must_use]
    pub(super) fn speaker(&self) -> Option<LegId> {
        speaker_of(self.leg.id, self.hears)
    }

    /// The far side is known. A remote of the other kind than the leg is signalling's error and changes nothing.
    pub(super) fn set_remote(&mut self, now: Now, remote: &LegRemote, identity: &DtlsIdentity, sink: &mut dyn Sink) -> Changes {
        match (&mut self.leg.transport, remote) {
            (Transport::Classic(classic), LegRemote::Rtp { rtp, rtcp, latch }) => {
                classic.set_remote(*rtp, *rtcp, *latch);
                Changes::new()
            }
            (Transport::Browser(browser), LegRemote::WebRtc { ice_ufrag, ice_pwd, fingerprint, role }) => {
                let changes = browser.set_remote(now.mono, (ice_ufrag, ice_pwd), *fingerprint, *role, sink);
                let turn = browser.begin(now.mono, identity, sink);
                self.on_turn(turn, sink);
                changes
            }
            (Transport::Classic(_), LegRemote::WebRtc { .. }) | (Transport::Browser(_), LegRemote::Rtp { .. }) => Changes::new(),
        }
    }

    /// A STUN datagram that names one of the leg's user fragments.
    pub(super) fn on_stun(
        &mut self,
        now: Now,
        pair: Pair,
        message: StunMessage<'_>,
        identity: &DtlsIdentity,
        sink: &mut dyn Sink,
    ) -> Changes {
        let Some(browser) = self.browser() else { return Changes::new() };
        let changes = browser.on_stun(now.mono, pair, message, sink).into_iter().collect();
        let turn = browser.begin(now.mono, identity, sink);
        self.on_turn(turn, sink);
        changes
    }

    /// A DTLS datagram from a validated remote.
    pub(super) fn on_dtls(&mut self, now: Now, pair: Pair, datagram: &[u8], sink: &mut dyn Sink) {
        let Some(browser) = self.browser() else { return };
        let turn = browser.on_dtls(now.mono, pair, datagram, sink);
        self.on_turn(turn, sink);
    }

    pub(super) fn browser(&mut self) -> Option<&mut Browser> {
        match &mut self.leg.transport {
            Transport::Browser(browser) => Some(browser),
            Transport::Classic(_) => None,
        }
    }

    fn on_turn(&mut self, turn: Option<Turn>, sink: &mut dyn Sink) {
        let (Some(turn), leg) = (turn, self.leg.id) else { return };
        match turn {
            Turn::Connected if self.leg.connect() => sink.event(MediaEvent::Connected { leg }),
            // New keys after an ICE restart with another certificate: signalling knows the leg as connected.
            Turn::Connected => {}
            Turn::Failed(cause) => sink.event(MediaEvent::Failed { leg, cause }),
        }
    }

    /// RTP: carried to `hearer`, whoever hears this leg, by way of `pcm` where it is transcoded, and counted. Itself it finds
    /// here. Answers whether a deadline of either may be nearer now.
    pub(super) fn on_rtp(
        &mut self,
        now: Now,
        pair: Pair,
        slot: &mut Slot,
        hearer: Option<&mut Leg>,
        pcm: &mut TurnPcm,
        sink: &mut dyn Sink,
    ) -> bool {
        let (outcome, nearer) = match self.receive(now.mono, pair, slot, sink) {
            Ok(arrival) => {
                let nearer = self.flow.may_change_a_key(&arrival);
                let hearer = if self.flow.target() == Target::Itself { Some(&mut self.leg) } else { hearer };
                (self.flow.carry(arrival, slot, hearer, pcm, sink), nearer)
            }
            Err(why) => (Err(why), false),
        };
        self.leg.counters.count(outcome.unwrap_or_else(Outcome::Dropped));
        nearer
    }

    /// Believes or refuses a packet, decrypts it in place and finds its place.
    fn receive(&mut self, now: Instant, pair: Pair, slot: &mut Slot, sink: &mut dyn Sink) -> Result<Arrival, Drop> {
        let leg = &mut self.leg;
        let accepted = leg.accept(now, pair, slot)?;
        if accepted.first {
            sink.event(MediaEvent::Connected { leg: leg.id });
        }
        let from = leg.plan.ok_or(Drop::NoPath)?;
        let header = accepted.header;
        let place = leg.rx.place(header.ssrc, header.seq)?;
        if header.pt == from.rx_pt.0 {
            leg.rx.arrived(now, header.timestamp, from.codec.clock_hz());
        }
        Ok(Arrival { now, speaker: leg.id, from, header, place })
    }

    /// Lays another flow; a key that is down in the old one counts as let go.
    pub(super) fn lay(&mut self, now: Instant, flow: Flow, hearer: Option<&mut Leg>, sink: &mut dyn Sink) {
        let leg = &mut self.leg;
        let speaker = leg.id;
        let hearer = if self.flow.target() == Target::Itself { Some(leg) } else { hearer };
        self.flow.give_up_keys(now, speaker, hearer, sink);
        self.flow = flow;
    }

    /// Whatever is due at `now`; `hearer` as in [`Seat::on_rtp`].
    pub(super) fn handle_timeout(&mut self, now: Now, hearer: Option<&mut Leg>, sink: &mut dyn Sink) {
        let turn = self.browser().and_then(|browser| browser.handle_timeout(now.mono, sink));
        self.on_turn(turn, sink);
        let leg = &mut self.leg;
        leg.report(now, false, sink);
        if leg.is_newly_lossy() {
            sink.event(MediaEvent::Lossy { leg: leg.id });
        }
        if leg.silence.is_over(now.mono) {
            sink.event(MediaEvent::Failed { leg: leg.id, cause: LegFailure::RtpTimeout });
        }
        leg.play(now.mono, sink);
        let speaker = leg.id;
        let hearer = if self.flow.target() == Target::Itself { Some(leg) } else { hearer };
        self.flow.handle_timeout(now.mono, speaker, hearer, sink);
    }

    /// The next deadline and its name.
    #[must_use]
    pub(super) fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let transport = match &self.leg.transport {
            Transport::Browser(browser) => browser.poll_timeout(),
            Transport::Classic(_) => None,
        };
        let report = self.leg.report_due().map(|at| (at, "rtcp"));
        let silence = self.leg.silence.due().map(|at| (at, "silence"));
        let voice = self.leg.voice.due().map(|at| (at, "voice"));
        let key = self.flow.due().map(|at| (at, "key"));
        [transport, report, silence, voice, key].into_iter().flatten().min()
    }
}
