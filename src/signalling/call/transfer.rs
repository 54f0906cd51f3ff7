//! Transfer, carried out by the gateway itself: neither the one who is transferred nor the target has to know how.
//!
//! ```text
//! blind     by -- party    REFER      target rings for party      200: party -- target     by is told, and leaves
//! attended  by -- party, by -- target (two calls)   REFER with Replaces: party takes by's place in the other call
//! return    INVITE with Replaces (RFC 3891): a new leg takes the place of one of its own account, as after a page's reload
//! ```
//! The one who is transferred keeps its dialog, its media leg and its codec; it hears music or ringing meanwhile.

use super::ending::failed;
use super::ring::{Failure, Ring};
use super::{Action, Call, CallTimer, Ending, FAREWELL, Leg, LegState, LegTimer};
use crate::base::Now;
use crate::plan::LegId;

/// A blind transfer that is under way.
#[derive(Debug, Clone)]
pub(super) struct Transfer {
    /// Who asked for it.
    pub(super) by: LegId,
    /// Whether that one has hung up.
    pub(super) by_is_gone: bool,
    /// Who is transferred.
    pub(super) party: LegId,
}

impl Call {
    /// Whom a leg would transfer: none when it talks to nobody, or to one whose dialog does not stand yet, or somebody is
    /// being transferred already.
    #[must_use]
    pub fn transferable_by(&self, by: LegId) -> Option<LegId> {
        let free = self.is_talking() && self.transfer.is_none() && self.demo.is_none() && self.replacing.is_empty();
        let party = self.other(by).filter(|_| free && self.leg(by).state == LegState::Confirmed)?;
        self.leg(party).is_talking().then_some(party)
    }

    /// Blind transfer: rings the target for the one that `by` talks to.
    pub fn transfer(&mut self, by: LegId, party: LegId, ring: Ring, now: Now, out: &mut Vec<Action>) {
        self.transfer = Some(Transfer { by, by_is_gone: false, party });
        self.ring = Some(Box::new(ring));
        self.notify(100, false, out);
        self.ring_on(now, out);
        self.set_paths(out);
    }

    /// Tells the one who transfers how it goes.
    pub(super) fn notify(&mut self, status: u16, last: bool, out: &mut Vec<Action>) {
        let Some(by) = self.transfer.as_ref().filter(|transfer| !transfer.by_is_gone).map(|transfer| transfer.by) else {
            return;
        };
        out.push(Action::Notify { leg: by, status, last });
    }

    /// The target has answered.
    pub(super) fn transfer_done(&mut self, target: LegId, out: &mut Vec<Action>) {
        self.notify(200, true, out);
        let Some(Transfer { by, by_is_gone, party }) = self.transfer.take() else { return };
        if let Some(place) = self.pair.iter_mut().find(|place| **place != Some(party)) {
            *place = Some(target);
        }
        if !by_is_gone {
            self.farewell(by, out);
        }
        self.set_paths(out);
    }

    /// One who has handed its call over hangs up by itself (RFC 5589 section 6.1), or is hung up on.
    fn farewell(&mut self, by: LegId, out: &mut Vec<Action>) {
        let timer = |timer| CallTimer::Leg(by, timer);
        let disarm = [LegTimer::Grace, LegTimer::Refresh, LegTimer::Expired].map(|t| Action::Disarm(timer(t)));
        out.extend(disarm);
        out.push(Action::Arm(timer(LegTimer::Farewell), FAREWELL));
    }

    /// The target did not answer: the two go on talking, or, where the one who transferred has gone, the call ends.
    pub(super) fn transfer_failed(&mut self, failure: Failure, now: Now, out: &mut Vec<Action>) {
        let gone = self.transfer.as_ref().is_some_and(|transfer| transfer.by_is_gone);
        self.ring = None;
        out.extend([Action::Disarm(CallTimer::NoAnswer), Action::Disarm(CallTimer::Silence)]);
        self.end_transfer(failed(failure).0, out);
        if gone {
            self.end(Ending::TransferFailed(failure), now, out);
        } else {
            self.set_paths(out);
        }
    }

    /// Whatever is under way is over.
    pub(super) fn end_transfer(&mut self, status: u16, out: &mut Vec<Action>) {
        self.notify(status, true, out);
        self.transfer = None;
    }

    /// Whether a leg that has hung up was the one who transfers: the transfer goes on without it.
    pub(super) fn transferor_leaves(&mut self, id: LegId) -> bool {
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.by == id) else { return false };
        transfer.by_is_gone = true;
        self.replace_in_pair(id, None);
        true
    }

    /// Attended transfer, first half: gives the leg that `by` talks to away. `by` is told that it is done.
    pub fn give_away(&mut self, by: LegId, party: LegId, now: Now, out: &mut Vec<Action>) -> Leg {
        let mut leg = self.legs.remove(party).expect("it has just been found");
        leg.path = None;
        self.replace_in_pair(party, None);
        let who = self.leg(by).who.clone();
        self.ending = Some(Ending::Transferred(who));
        if let Some(record) = &mut self.record {
            record.ended_unix_ms = now.unix_ms();
        }
        out.push(Action::Notify { leg: by, status: 200, last: true });
        self.farewell(by, out);
        self.set_paths(out);
        leg
    }

    /// Whether a leg's place may be taken by one that is transferred: it talks, or waits for an answer.
    #[must_use]
    pub fn takes_in(&self, old: LegId) -> bool {
        let going_on = matches!(self.phase, super::Phase::Calling | super::Phase::Talking);
        let state = self.leg(old).state;
        let stands = matches!(state, LegState::Incoming | LegState::Answering | LegState::Confirmed);
        going_on && stands && self.is_in_pair(old) && self.transfer.is_none() && self.replacing.is_empty()
    }

    /// Attended transfer, second half: the leg takes the place of `old`, which is ended.
    pub fn take_in(&mut self, leg: Leg, old: LegId, out: &mut Vec<Action>) {
        let (id, who) = (leg.id, self.leg(old).who.clone());
        self.legs.insert(leg);
        self.replace_in_pair(old, Some(id));
        if let Some(ring) = self.ring.as_mut().filter(|ring| ring.waiting == old) {
            ring.waiting = id;
        }
        self.tell_leg(old, &Ending::Transferred(who), out);
        self.set_paths(out);
    }

    /// Whether a leg may be replaced now (RFC 3891 section 3): its dialog stands.
    #[must_use]
    pub fn is_replaceable(&self, old: LegId) -> bool {
        let free = self.is_talking() && self.is_in_pair(old) && self.replacing.is_empty();
        free && self.leg(old).is_talking() && self.transfer.as_ref().is_none_or(|t| t.by != old && t.party != old)
    }

    /// A leg with an offer has come to take the place of `old`: as soon as media has a place for it.
    pub fn replace(&mut self, leg: Leg, old: LegId, out: &mut Vec<Action>) {
        let id = leg.id;
        self.legs.insert(leg);
        self.replacing.push((id, old));
        self.open_media(id, out);
    }

    /// Media has opened a leg that takes another's place.
    pub(super) fn take_place(&mut self, id: LegId, now: Now, out: &mut Vec<Action>) {
        let Some(at) = self.replacing.iter().position(|(new, _)| *new == id) else { return };
        let (_, old) = self.replacing.swap_remove(at);
        let who = self.leg(id).who.clone();
        self.replace_in_pair(old, Some(id));
        self.answer_caller(id, now, out);
        self.tell_leg(old, &Ending::Transferred(who), out);
        self.set_paths(out);
    }
}
