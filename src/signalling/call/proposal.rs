//! What the gateway itself proposes to a leg of a call that stands: that it goes on (RFC 4028), or, where what it was once
//! asked for does not fit any more, something else. What comes of that changes this leg alone.

use super::session_timer::SessionTimer;
use super::{Action, Call, CallTimer, Ending, LegError, LegState, LegTimer, Refresh};
use crate::base::Now;
use crate::plan::{Codec, LegId};

/// How often a description is proposed when the peer has one of its own under way.
const TRIES: u8 = 3;

impl Call {
    /// What the one speaks that a leg talks to, if that is agreed.
    pub(super) fn others_codec(&self, id: LegId) -> Option<Codec> {
        self.other(id).and_then(|other| self.legs.get(other)?.offer.leg_plan()).map(|plan| plan.codec)
    }

    /// Asks a leg for all of its voice that was asked for a part of it, now that it talks to one who can hear it; and for what
    /// could not be asked for until now. Once: what it refuses stays as it is.
    pub(super) fn propose_to(&mut self, id: LegId, out: &mut Vec<Action>) {
        let Some(leg) = self.legs.get(id) else { return };
        let widens = leg.offer.is_narrowed() && self.others_codec(id) == Some(Codec::Opus);
        if (widens || leg.moves_to_opus) && leg.proposals == 0 && leg.refreshing.is_none() {
            self.propose(id, out);
        }
    }

    /// Much is lost on the way from or to a leg: where its policy says so it is asked to speak Opus, which loss does less to.
    pub fn on_loss(&mut self, id: LegId, out: &mut Vec<Action>) {
        if self.leg_mut(id).offer.on_loss() {
            self.leg_mut(id).moves_to_opus = true;
            self.propose(id, out);
        }
    }

    /// Offers a leg anew, as soon as that may be.
    fn propose(&mut self, id: LegId, out: &mut Vec<Action>) {
        let leg = self.leg_mut(id);
        if leg.state == LegState::Confirmed && !leg.flow_closed {
            leg.proposals = TRIES;
            self.refresh(id, out);
        }
    }

    /// Our refresh is due, now or again after glare.
    pub(super) fn refresh(&mut self, id: LegId, out: &mut Vec<Action>) {
        let other = self.others_codec(id);
        let leg = self.leg_mut(id);
        if leg.state != LegState::Confirmed || leg.flow_closed {
            return;
        }
        if !leg.is_settled() {
            // Theirs is under way; ours is tried again when it must be over.
            out.push(Action::Arm(CallTimer::Leg(id, LegTimer::Glare), super::SILENCE));
            return;
        }
        let refresh = match (leg.proposals, leg.can.update) {
            (0, true) => Refresh::Update,
            (0, false) => Refresh::Reinvite,
            _ => Refresh::Proposal,
        };
        leg.proposals = leg.proposals.saturating_sub(1);
        let sdp = match refresh {
            Refresh::Update => None,
            Refresh::Proposal if leg.moves_to_opus => Some(leg.offer.write_offer_of_opus(other.as_slice())),
            Refresh::Reinvite | Refresh::Proposal => Some(leg.offer.write_offer(other.as_slice())),
        };
        leg.refreshing = Some(refresh);
        out.push(Action::Refresh { leg: id, sdp });
    }

    /// Our refresh was accepted.
    pub fn on_refresh_answer(&mut self, id: LegId, sdp: Option<&[u8]>, timer: Option<SessionTimer>, out: &mut Vec<Action>) {
        let leg = self.leg_mut(id);
        (leg.proposals, leg.moves_to_opus) = (0, false);
        if leg.refreshing.take().is_some_and(Refresh::is_invite) {
            out.push(Action::Ack(id));
        }
        if leg.state != LegState::Confirmed {
            return;
        }
        let answered = sdp.is_some_and(|sdp| leg.offer.receive_answer(sdp).is_ok());
        if !answered {
            leg.offer.roll_back();
        }
        self.on_refreshed(id, timer, out);
        self.set_remote(id, out);
        self.set_paths(out);
    }

    /// Our refresh was refused, or not answered. `again` is a time by chance within what RFC 3261 section 14.1 says for glare;
    /// `min_se_secs` what a 422 says.
    pub fn on_refresh_failed(
        &mut self,
        id: LegId,
        error: LegError,
        again: std::time::Duration,
        min_se_secs: u32,
        now: Now,
        out: &mut Vec<Action>,
    ) {
        let leg = self.leg_mut(id);
        let Some(refresh) = leg.refreshing.take() else { return };
        leg.offer.roll_back();
        let who = leg.who.clone();
        let retry = Action::Arm(CallTimer::Leg(id, LegTimer::Glare), again);
        let given_up = refresh == Refresh::Proposal && leg.proposals == 0;
        match error {
            LegError::Status(491 | 500 | 422) if given_up => leg.moves_to_opus = false,
            LegError::Status(491 | 500) => out.push(retry),
            LegError::Status(422) => {
                leg.min_se_secs = min_se_secs;
                leg.timer = leg.timer.map(|t| SessionTimer { interval_secs: t.interval_secs.max(min_se_secs), ..t });
                out.push(retry);
            }
            // RFC 3261 section 12.2.1.2: the dialog is no more.
            LegError::Status(408 | 481) | LegError::NoResponse => self.leave(id, Ending::DialogGone(who), now, out),
            // It does not know UPDATE after all.
            LegError::Status(_) if refresh == Refresh::Update => {
                leg.can.update = false;
                out.push(retry);
            }
            // The session goes on as it is, until it expires.
            LegError::Status(_) => (leg.proposals, leg.moves_to_opus) = (0, false),
        }
    }
}
