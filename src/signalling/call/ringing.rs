//! From the first INVITE of ours to the answer.

use super::ring::{Failure, Next};
use super::{Action, Call, CallTimer, Ending, GIVE_UP, Leg, LegError, LegState, LegTimer, Phase, SILENCE};
use crate::base::Now;
use crate::plan::{Codec, LegId};
use crate::policy::dialplan::Target;
use crate::policy::profile::Prefer;
use std::time::Duration;

impl Call {
    /// Goes on with the ringing, if the stage has come to nothing.
    pub(super) fn ring_on(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(ring) = &mut self.ring else { return };
        match ring.go_on() {
            Next::Wait => {}
            Next::Ring(stage) => {
                self.stop_branches(false, out);
                let secs = self.ring.as_ref().and_then(|ring| ring.ring_secs);
                let time = secs.map_or(self.times.ring, |secs| Duration::from_secs(u64::from(secs)));
                out.extend([
                    Action::Arm(CallTimer::NoAnswer, time),
                    Action::Arm(CallTimer::Silence, SILENCE),
                    Action::Ring { stage },
                ]);
            }
            Next::GiveUp(failure) => {
                self.stop_branches(false, out);
                self.nobody_answered(failure, now, out);
            }
        }
    }

    fn nobody_answered(&mut self, failure: Failure, now: Now, out: &mut Vec<Action>) {
        if self.transfer.is_some() {
            self.transfer_failed(failure, now, out);
        } else {
            self.end(Ending::Failed(failure), now, out);
        }
    }

    /// The legs for a stage; none where nobody is registered.
    pub fn on_branches(&mut self, legs: Vec<Leg>, now: Now, out: &mut Vec<Action>) {
        for leg in legs {
            let id = leg.id;
            self.legs.insert(leg);
            match &mut self.ring {
                Some(ring) => {
                    ring.add(id);
                    self.open_media(id, out);
                }
                None => self.tell_leg(id, &Ending::Cancelled, out),
            }
        }
        self.ring_on(now, out);
    }

    /// How many more branches there may be.
    #[must_use]
    pub fn branch_room(&self) -> usize {
        self.ring.as_ref().map_or(0, |ring| ring.room())
    }

    /// What a browser's codec is chosen by that rings, if the rule says so.
    #[must_use]
    pub fn preferred(&self) -> Option<Prefer> {
        self.ring.as_ref().and_then(|ring| ring.prefer)
    }

    /// The leg for which others ring.
    #[must_use]
    pub fn waiting_leg(&self) -> Option<&Leg> {
        self.ring.as_ref().and_then(|ring| self.legs.get(ring.waiting))
    }

    /// Sends a branch its INVITE, now that media has a place for its answer.
    pub(super) fn invite(&mut self, id: LegId, out: &mut Vec<Action>) {
        let Some(waiting) = self.waiting_leg() else { return };
        // One who talks already has a codec; one who calls has some to choose from.
        let other: Vec<Codec> = match waiting.offer.leg_plan() {
            Some(plan) => vec![plan.codec],
            None => waiting.offer.offered().collect(),
        };
        let branch = self.leg_mut(id);
        if branch.state == LegState::Idle {
            branch.state = LegState::Inviting;
            let sdp = branch.offer.write_offer(&other);
            out.push(Action::Invite { leg: id, sdp });
        }
    }

    /// A branch said 1xx; 100 means no more than that it is there.
    pub fn on_provisional(&mut self, id: LegId, status: u16, sdp: Option<&[u8]>, out: &mut Vec<Action>) {
        let leg = self.leg_mut(id);
        match leg.state {
            LegState::Inviting => leg.state = LegState::Ringing,
            LegState::CancelPending => {
                leg.state = LegState::Cancelling;
                let timer = CallTimer::Leg(id, LegTimer::Cancelled);
                out.extend([Action::Cancel { leg: id, elsewhere: false }, Action::Arm(timer, GIVE_UP)]);
                return;
            }
            LegState::Ringing => {}
            // Its end is settled already.
            _ => return,
        }
        let Some(ring) = self.ring.as_mut().filter(|ring| ring.has(id)) else { return };
        ring.heard(id);
        if status == 100 {
            return;
        }
        let waiting = ring.waiting;
        let described = sdp.is_some_and(|sdp| self.leg_mut(id).offer.receive_answer(sdp).is_ok());
        if described {
            self.set_remote(id, out);
            self.hear_early(id, out);
        }
        if self.leg(waiting).state == LegState::Incoming {
            // Once the caller has a description, each provisional response repeats it.
            let caller = self.leg(waiting);
            let agreed = caller.offer.leg_plan().is_some();
            let sdp = caller.offer.last_local().filter(|_| agreed).map(str::to_owned);
            out.push(Action::Respond { leg: waiting, status, reason: "", sdp });
        } else {
            self.notify(status, false, out);
        }
        self.set_paths(out);
    }

    /// The first branch with a description is heard while it rings; the caller's own offer is answered with it, for good.
    fn hear_early(&mut self, id: LegId, out: &mut Vec<Action>) {
        let Some(waiting) = self.ring.as_ref().map(|ring| ring.waiting) else { return };
        self.agree(waiting, id, out);
        let agreed = self.leg(waiting).offer.leg_plan().is_some();
        if let Some(ring) = self.ring.as_mut().filter(|ring| agreed && ring.early.is_none()) {
            ring.early = Some(id);
        }
    }

    /// Answers `leg`'s offer, if it waits for an answer, with the codec that goes best with `other`'s.
    fn agree(&mut self, leg: LegId, other: LegId, out: &mut Vec<Action>) {
        let other = self.leg(other).offer.leg_plan().map(|plan| plan.codec);
        let leg_mut = self.leg_mut(leg);
        if leg_mut.offer.leg_plan().is_none()
            && let Some(codec) = leg_mut.offer.choose(other)
        {
            leg_mut.offer.write_answer(codec, other);
            self.set_remote(leg, out);
        }
    }

    /// A branch said 2xx.
    pub fn on_answer(&mut self, id: LegId, sdp: Option<&[u8]>, now: Now, out: &mut Vec<Action>) {
        let leg = self.leg_mut(id);
        let crossed = matches!(leg.state, LegState::CancelPending | LegState::Cancelling);
        if !crossed && !matches!(leg.state, LegState::Inviting | LegState::Ringing) {
            return;
        }
        leg.state = LegState::Confirmed;
        out.extend([Action::Ack(id), Action::Disarm(CallTimer::Leg(id, LegTimer::Cancelled))]);
        let waiting = self.ring.as_ref().filter(|ring| ring.has(id)).map(|ring| ring.waiting);
        let Some(waiting) = waiting.filter(|_| !crossed) else {
            // It answered while we cancelled (RFC 3261 section 9.1), or after another: it is told at once that nobody is there.
            return self.tell_leg(id, &Ending::Cancelled, out);
        };
        let leg = self.leg_mut(id);
        let described = match sdp {
            Some(sdp) => leg.offer.receive_answer(sdp).is_ok(),
            None => leg.offer.leg_plan().is_some(),
        };
        if !described {
            self.tell_leg(id, &Ending::NoCommonMedia, out);
            return self.branch_failed(id, LegError::Status(488), now, out);
        }
        leg.offer.settled();
        self.set_remote(id, out);
        self.ring.as_mut().expect("it rang").gone(id);
        self.stop_branches(true, out);
        self.ring = None;
        out.extend([Action::Disarm(CallTimer::NoAnswer), Action::Disarm(CallTimer::Silence)]);
        self.join(waiting, id, now, out);
        self.start_session_timer(id, out);
    }

    /// Somebody has answered: the two are put through.
    fn join(&mut self, waiting: LegId, answered: LegId, now: Now, out: &mut Vec<Action>) {
        self.phase = Phase::Talking;
        if self.transfer.is_some() {
            return self.transfer_done(answered, out);
        }
        self.pair[1] = Some(answered);
        self.agree(waiting, answered, out);
        if self.leg(waiting).state == LegState::Incoming {
            self.answer_caller(waiting, now, out);
        } else {
            // It took the caller's place while this rang.
            if let Some(record) = &mut self.record {
                record.answered_unix_ms.get_or_insert_with(|| now.unix_ms());
            }
            self.set_paths(out);
        }
    }

    /// Gives the caller its 200: with the answer to its offer, or with an offer of ours if it made none.
    pub(super) fn answer_caller(&mut self, id: LegId, now: Now, out: &mut Vec<Action>) {
        self.phase = Phase::Talking;
        let other = self.others_codec(id);
        let leg = self.leg_mut(id);
        if leg.offer.is_idle() {
            leg.offer.write_offer(other.as_slice());
        } else if leg.offer.leg_plan().is_none() {
            let codec = leg.offer.choose(other).expect("an offer without a codec of ours was refused");
            leg.offer.write_answer(codec, other);
        }
        leg.state = LegState::Answering;
        let sdp = leg.offer.last_local().map(str::to_owned);
        if let Some(record) = &mut self.record {
            record.answered_unix_ms.get_or_insert_with(|| now.unix_ms());
        }
        out.push(Action::Respond { leg: id, status: 200, reason: "", sdp });
        out.push(Action::Arm(CallTimer::Leg(id, LegTimer::NoAck), GIVE_UP));
        self.start_session_timer(id, out);
        self.set_paths(out);
    }

    /// A branch refused, or never answered.
    pub fn on_failure(&mut self, id: LegId, error: LegError, now: Now, out: &mut Vec<Action>) {
        out.push(Action::Disarm(CallTimer::Leg(id, LegTimer::Cancelled)));
        self.leg_mut(id).state = LegState::Ended;
        self.close_media(id, out);
        self.branch_failed(id, error, now, out);
    }

    pub(super) fn branch_failed(&mut self, id: LegId, error: LegError, now: Now, out: &mut Vec<Action>) {
        let Some(ring) = self.ring.as_mut().filter(|ring| ring.has(id)) else { return };
        ring.failed(id, error);
        if ring.early.is_none() {
            let branches: Vec<LegId> = ring.branches().collect();
            let described = branches.into_iter().find(|branch| self.leg(*branch).offer.leg_plan().is_some());
            self.ring.as_mut().expect("it rings").early = described;
        }
        self.ring_on(now, out);
        self.set_paths(out);
    }

    /// A branch redirects (3xx) to this many targets; says to how many of them it may.
    pub fn on_redirect(&mut self, id: LegId, wanted: usize, now: Now, out: &mut Vec<Action>) -> usize {
        let mut granted = 0;
        if let Some(ring) = self.ring.as_mut().filter(|ring| ring.has(id)) {
            granted = ring.redirect(wanted);
            if granted > 0 {
                ring.gone(id);
            }
        }
        self.on_failure(id, LegError::Status(302), now, out);
        granted
    }

    /// Where a redirection leads; none where it must not go.
    pub fn on_redirected(&mut self, target: Option<Target>, now: Now, out: &mut Vec<Action>) {
        let Some(ring) = &mut self.ring else { return };
        ring.looked_up();
        match target {
            Some(target) => out.push(Action::Ring { stage: vec![target] }),
            None => self.ring_on(now, out),
        }
    }

    pub(super) fn on_no_answer(&mut self, now: Now, out: &mut Vec<Action>) {
        if let Some(ring) = &mut self.ring {
            ring.time_out();
            self.ring_on(now, out);
            self.set_paths(out);
        }
    }

    /// Whoever still rings stops ringing; with `elsewhere`, because somebody else has answered.
    fn stop_branches(&mut self, elsewhere: bool, out: &mut Vec<Action>) {
        let branches = self.ring.as_mut().map(|ring| ring.clear()).unwrap_or_default();
        for id in branches {
            let from = out.len();
            self.tell_leg(id, &Ending::Cancelled, out);
            for action in &mut out[from..] {
                if let Action::Cancel { elsewhere: why, .. } = action {
                    *why = elsewhere;
                }
            }
        }
    }

    /// Leg A gave up before it was answered.
    pub fn on_cancel(&mut self, id: LegId, now: Now, out: &mut Vec<Action>) {
        if let Some(at) = self.replacing.iter().position(|(new, _)| *new == id) {
            self.replacing.swap_remove(at);
            self.tell_leg(id, &Ending::Cancelled, out);
        } else if self.leg(id).state == LegState::Incoming {
            self.end(Ending::Cancelled, now, out);
        }
    }
}
