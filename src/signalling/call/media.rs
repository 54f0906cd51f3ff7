//! What each leg of a call hears.

use super::{Action, Call, CallTimer, Ending, Leg, LegMediaState, LegState, LegTimer, MEDIA_CLOSE, Phase};
use crate::base::Now;
use crate::plan::{DtmfWay, LegFailure, LegId, LegOpen, LegRemote, MediaCommand, Path, RtpPort, Source};
use crate::policy::profile::MediaKind;

/// Keys that wait to be sent to a leg as INFO; more are dropped, as nobody types so fast.
const MAX_KEYS: usize = 32;

impl Call {
    pub(super) fn open_media(&mut self, id: LegId, out: &mut Vec<Action>) {
        let leg = self.leg_mut(id);
        leg.media = LegMediaState::Opening;
        let how = match (&leg.offer.local.secure, leg.offer.kind()) {
            (Some(end), MediaKind::Webrtc) => LegOpen::WebRtc { ice_ufrag: end.ice_ufrag.clone(), ice_pwd: end.ice_pwd.clone() },
            _ => LegOpen::Rtp { local: leg.media_ip, port: rtp_port(leg) },
        };
        let beside = self.legs.iter().map(|leg| leg.id).find(|first| *first != id);
        out.push(Action::Media(MediaCommand::Open { leg: id, how, beside }));
    }

    pub(super) fn close_media(&mut self, id: LegId, out: &mut Vec<Action>) {
        let leg = self.leg_mut(id);
        match leg.media {
            LegMediaState::Opening | LegMediaState::Open => {
                leg.media = LegMediaState::Closing;
                out.push(Action::Media(MediaCommand::Close { leg: id }));
                out.push(Action::Arm(CallTimer::Leg(id, LegTimer::MediaClose), MEDIA_CLOSE));
            }
            LegMediaState::Unopened => leg.media = LegMediaState::Closed,
            LegMediaState::Closing | LegMediaState::Closed => {}
        }
    }

    pub(super) fn set_remote(&self, leg: LegId, out: &mut Vec<Action>) {
        let leg = self.leg(leg);
        if let Some(remote) = leg.offer.leg_remote().filter(|_| leg.media == LegMediaState::Open) {
            out.push(Action::Media(MediaCommand::SetRemote { leg: leg.id, remote }));
        }
    }

    /// Tells media of each leg that agreed to something else, or ought to hear something else, than media knows.
    pub(super) fn set_paths(&mut self, out: &mut Vec<Action>) {
        let heard: Vec<(LegId, Source)> =
            self.legs.iter().filter(|leg| leg.media == LegMediaState::Open).map(|leg| (leg.id, self.hears(leg))).collect();
        // Who hears nothing any more comes first: nobody is heard by two.
        let (silent, others): (Vec<_>, Vec<_>) = heard.into_iter().partition(|(_, source)| *source == Source::Nothing);
        for (id, hears) in silent.into_iter().chain(others) {
            let leg = self.leg_mut(id);
            let Some(plan) = leg.offer.leg_plan() else { continue };
            if leg.path.replace((plan, hears)) != Some((plan, hears)) {
                out.push(Action::Media(MediaCommand::SetPath { leg: id, plan, hears }));
            }
        }
        self.note_pipeline();
        let talking = if self.phase == Phase::Talking && self.transfer.is_none() { self.pair } else { [None; 2] };
        for id in talking.into_iter().flatten() {
            self.propose_to(id, out);
        }
    }

    /// What a leg ought to hear as things stand.
    fn hears(&self, leg: &Leg) -> Source {
        if self.transfer.as_ref().is_some_and(|transfer| transfer.party == leg.id) {
            return self.hears_ringing().unwrap_or(Source::Ringback);
        }
        if self.is_in_pair(leg.id) {
            if let Some(demo) = self.demo {
                return demo;
            }
            return match self.other(leg.id).map(|other| self.leg(other)) {
                // Whoever transfers has let go of the other one.
                Some(_) if self.transfer.is_some() => Source::Nothing,
                Some(other) => hears_other(leg, other),
                None => self.hears_ringing().unwrap_or(Source::Nothing),
            };
        }
        match &self.ring {
            Some(ring) if ring.early == Some(leg.id) => Source::Leg(ring.waiting),
            _ => Source::Nothing,
        }
    }

    /// What one who waits for an answer hears: the branch that was the first to say something, or the tone of ringing.
    fn hears_ringing(&self) -> Option<Source> {
        let ring = self.ring.as_ref()?;
        Some(ring.early.map_or(Source::Ringback, Source::Leg))
    }

    fn note_pipeline(&mut self) {
        let plan = |leg: Option<LegId>| leg.and_then(|leg| self.legs.get(leg)?.offer.leg_plan());
        let [a, b] = self.pair.map(plan);
        self.pipeline = match (a, b, self.demo) {
            (Some(a), _, Some(Source::Tone { hz })) => format!("tone {hz} Hz -> A [{a}]"),
            (Some(a), _, Some(_)) => format!("A [{a}] -> echo -> A"),
            (Some(a), Some(b), None) => format!("A [{a}] <- {:?} -> B [{b}]", Path::between(&a, &b)),
            // What was said before somebody left stands in the record.
            _ => return,
        };
    }

    /// Media says that a leg works no longer.
    pub fn on_media_failed(&mut self, id: LegId, cause: LegFailure, now: Now, out: &mut Vec<Action>) {
        let leg = self.leg_mut(id);
        leg.failure = Some(cause);
        let who = leg.who.clone();
        match cause {
            // A page that closes its connection says BYE or CANCEL beside it, or its WebSocket closes, or it comes back.
            LegFailure::DtlsClosed if !self.ring.as_ref().is_some_and(|ring| ring.has(id)) => {
                out.push(Action::Arm(CallTimer::Leg(id, LegTimer::Grace), self.times.grace));
            }
            LegFailure::DtlsClosed
            | LegFailure::FingerprintMismatch
            | LegFailure::Dtls
            | LegFailure::IceTimeout
            | LegFailure::RtpTimeout => self.media_failed(id, Ending::MediaFailed(who, cause), now, out),
        }
    }

    fn media_failed(&mut self, id: LegId, ending: Ending, now: Now, out: &mut Vec<Action>) {
        if self.ring.as_ref().is_some_and(|ring| ring.has(id)) {
            // Its early media broke; its answer may still come with another description.
            return;
        }
        self.leave(id, ending, now, out);
    }

    /// Media says that a leg is connected.
    pub fn on_media_connected(&mut self, leg: LegId) {
        let leg = self.leg_mut(leg);
        (leg.connected, leg.failure) = (true, None);
    }

    /// A leg's far side pressed a key: it goes to whom it talks to, in the way that one understands.
    pub fn on_key(&mut self, from: LegId, event: u8, duration_ms: u32, out: &mut Vec<Action>) {
        let Some(to) = self.other(from).filter(|_| self.phase == Phase::Talking) else { return };
        let leg = self.leg_mut(to);
        let Some(plan) = leg.offer.leg_plan() else { return };
        if plan.dtmf_tx != DtmfWay::Signalling {
            out.push(Action::Media(MediaCommand::Dtmf { leg: to, event, duration_ms }));
        } else if leg.keys.len() < MAX_KEYS && leg.state == LegState::Confirmed {
            leg.keys.push_back((event, duration_ms));
            // One at a time: over UDP two may change places.
            if leg.keys.len() == 1 {
                out.push(Action::SendKey(to));
            }
        }
    }

    /// An INFO of ours was answered, or will not be.
    pub fn on_key_done(&mut self, leg: LegId, out: &mut Vec<Action>) {
        let sent = self.leg_mut(leg);
        sent.keys.pop_front();
        if !sent.keys.is_empty() && sent.state == LegState::Confirmed {
            out.push(Action::SendKey(leg));
        }
    }
}

/// Whether a leg needs a port of its own.
fn rtp_port(leg: &Leg) -> RtpPort {
    let remote = match leg.offer.leg_remote() {
        _ if leg.offer.profile().behind_nat => return RtpPort::Own,
        Some(LegRemote::Rtp { rtp, .. }) => Some(rtp),
        Some(LegRemote::WebRtc { .. }) | None => None,
    };
    RtpPort::Shared { remote }
}

/// What a leg hears of the one that it talks to.
fn hears_other(leg: &Leg, other: &Leg) -> Source {
    if matches!(leg.state, LegState::Leaving | LegState::Ended | LegState::ByeAfterAck) {
        return Source::Nothing;
    }
    let lost = other.flow_closed && other.failure.is_some();
    let held = other.offer.holds() && !other.offer.profile().plays_hold_music;
    if !held && !lost {
        Source::Leg(other.id)
    } else if leg.offer.holds() {
        Source::Nothing
    } else {
        Source::Music
    }
}
