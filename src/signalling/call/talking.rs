//! What happens on one leg of a call that stands: descriptions that its peer proposes, a lost flow, the end.

use super::session_timer::SessionTimer;
use super::{Action, Call, CallTimer, Ending, LegState, LegTimer};
use crate::base::Now;
use crate::plan::{LegId, MediaCommand};
use crate::signalling::flow::Flow;
use crate::signalling::offer::OfferError;

/// Why a proposed description is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReofferError {
    /// Another one is still being settled: 491 (RFC 3261 section 14.2, RFC 3311 section 5.2).
    Pending,
    /// It cannot be agreed to: 488.
    NotAcceptable,
}

/// New ICE credentials of ours, in case the peer starts ICE anew.
#[derive(Debug, Clone)]
pub struct FreshIce {
    /// User fragment.
    pub ufrag: String,
    /// Password.
    pub pwd: String,
}

impl Call {
    /// A 2xx of ours was acknowledged; `sdp` answers the offer that it held, if it held one.
    pub fn on_ack(&mut self, id: LegId, sdp: Option<&[u8]>, now: Now, out: &mut Vec<Action>) {
        for timer in [LegTimer::NoAck, LegTimer::Retransmit2xx] {
            out.push(Action::Disarm(CallTimer::Leg(id, timer)));
        }
        let leg = self.leg_mut(id);
        let first = matches!(leg.state, LegState::Answering);
        match leg.state {
            LegState::Answering => leg.state = LegState::Confirmed,
            LegState::ByeAfterAck => {
                leg.state = LegState::Leaving;
                let reason = self.ending.as_ref().and_then(Ending::reason);
                out.push(Action::Bye { leg: id, reason });
                return;
            }
            // A re-INVITE's, or one that came twice.
            _ => {}
        }
        if !self.leg(id).offer.has_offered() {
            self.leg_mut(id).offer.settled();
            return self.propose_to(id, out);
        }
        let answered = sdp.is_some_and(|sdp| self.leg_mut(id).offer.receive_answer(sdp).is_ok());
        if answered {
            self.set_remote(id, out);
            self.set_paths(out);
        } else if first {
            self.leave(id, Ending::NoCommonMedia, now, out);
        } else {
            self.leg_mut(id).offer.roll_back();
        }
    }

    /// A leg hung up.
    pub fn on_bye(&mut self, id: LegId, now: Now, out: &mut Vec<Action>) {
        let who = self.leg(id).who.clone();
        let leg = self.leg_mut(id);
        leg.unacked = None;
        leg.state = LegState::Ended;
        leg.keys.clear();
        for timer in [
            LegTimer::NoAck,
            LegTimer::Retransmit2xx,
            LegTimer::Grace,
            LegTimer::Refresh,
            LegTimer::Expired,
            LegTimer::Glare,
            LegTimer::Farewell,
        ] {
            out.push(Action::Disarm(CallTimer::Leg(id, timer)));
        }
        self.close_media(id, out);
        if self.transferor_leaves(id) {
            self.set_paths(out);
        } else if self.is_in_pair(id) {
            self.end(Ending::HungUp(who), now, out);
        }
    }

    /// Our BYE on a leg was answered, or could not be sent, or will never be answered.
    pub fn on_bye_done(&mut self, id: LegId) {
        let leg = self.leg_mut(id);
        if leg.state == LegState::Leaving {
            leg.state = LegState::Ended;
        }
    }

    /// A leg's WebSocket closed: it has the grace to come back.
    pub fn on_flow_closed(&mut self, id: LegId, out: &mut Vec<Action>) {
        let leg = self.leg_mut(id);
        leg.flow_closed = true;
        if !matches!(leg.state, LegState::Ended | LegState::Leaving) {
            out.push(Action::Arm(CallTimer::Leg(id, LegTimer::Grace), self.times.grace));
        }
        self.set_paths(out);
    }

    /// A leg's device is there again, over another flow (RFC 5626): what was to be said to it goes there.
    pub fn on_flow_moved(&mut self, id: LegId, flow: Flow, out: &mut Vec<Action>) {
        let leg = self.leg_mut(id);
        (leg.flow, leg.flow_closed) = (flow, false);
        if leg.failure.is_none() {
            out.push(Action::Disarm(CallTimer::Leg(id, LegTimer::Grace)));
        }
        self.set_paths(out);
    }

    /// The peer proposes a description within the dialog; ours answers it. The codec that is in use is kept if it is still
    /// offered.
    ///
    /// # Errors
    /// See [`ReofferError`]; nothing is changed.
    pub fn on_reoffer(&mut self, id: LegId, sdp: &[u8], fresh: FreshIce, out: &mut Vec<Action>) -> Result<String, ReofferError> {
        let other = self.others_codec(id);
        let leg = self.leg_mut(id);
        if !leg.is_settled() {
            return Err(ReofferError::Pending);
        }
        let before = leg.offer.leg_plan().ok_or(ReofferError::NotAcceptable)?.codec;
        let restart = leg.offer.receive_offer(sdp).map_err(|error| match error {
            OfferError::Unexpected => ReofferError::Pending,
            _ => ReofferError::NotAcceptable,
        })?;
        if let Some(secure) = leg.offer.local.secure.as_mut().filter(|_| restart.0) {
            (secure.ice_ufrag, secure.ice_pwd) = (fresh.ufrag.clone(), fresh.pwd.clone());
            let restart = MediaCommand::RestartIce { leg: id, ice_ufrag: fresh.ufrag, ice_pwd: fresh.pwd };
            out.push(Action::Media(restart));
        }
        let kept = leg.offer.offered().any(|codec| codec == before).then_some(before);
        let codec = kept.or_else(|| leg.offer.choose(None)).expect("an offer without a codec of ours was refused");
        let answer = leg.offer.write_answer(codec, other);
        if leg.failure.take().is_some() {
            out.push(Action::Disarm(CallTimer::Leg(id, LegTimer::Grace)));
        }
        self.set_remote(id, out);
        self.set_paths(out);
        Ok(answer)
    }

    /// The peer asks for our offer by a re-INVITE without one (RFC 3261 section 14.2); its ACK answers it.
    ///
    /// # Errors
    /// See [`ReofferError`]; nothing is changed.
    pub fn on_offerless(&mut self, id: LegId) -> Result<String, ReofferError> {
        let other = self.others_codec(id);
        let leg = self.leg_mut(id);
        if !leg.is_settled() {
            return Err(ReofferError::Pending);
        }
        Ok(leg.offer.write_offer(other.as_slice()))
    }

    /// Starts what a leg's session timer says, anew with each refresh; none stops it.
    pub(super) fn start_session_timer(&self, id: LegId, out: &mut Vec<Action>) {
        let timer = |timer| CallTimer::Leg(id, timer);
        out.extend([Action::Disarm(timer(LegTimer::Refresh)), Action::Disarm(timer(LegTimer::Expired))]);
        if let Some(agreed) = self.leg(id).timer {
            if agreed.ours {
                out.push(Action::Arm(timer(LegTimer::Refresh), agreed.refresh_after()));
            }
            out.push(Action::Arm(timer(LegTimer::Expired), agreed.give_up_after()));
        }
    }

    /// The session was refreshed, by whichever side, with what is agreed from now on.
    pub fn on_refreshed(&mut self, id: LegId, timer: Option<SessionTimer>, out: &mut Vec<Action>) {
        self.leg_mut(id).timer = timer;
        self.start_session_timer(id, out);
    }
}
