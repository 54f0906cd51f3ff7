//! Who is rung for a call, in which order, and what comes of it when nobody answers (RFC 3261 section 16.7, as a B2BUA that
//! forks has to do it).
//!
//! A *stage* is a set of targets that ring together; stages follow each other. Each device of a target is a *branch*: a leg
//! with an offer, a Call-ID and a dialog of its own.

use std::collections::VecDeque;

use super::ending::LegError;
use crate::plan::LegId;
use crate::policy::dialplan::{Forward, Order, Target};
use crate::policy::profile::Prefer;

/// More branches than this are not made for one call, redirections and forwards included.
pub const MAX_BRANCHES: usize = 30;
/// More redirections (3xx) than this are not followed for one call.
pub const MAX_REDIRECTS: usize = 5;

/// Those that ring together.
pub type Stage = Vec<Target>;

/// A device that rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Branch {
    leg: LegId,
    /// Whether anything has come from it.
    heard: bool,
}

/// What to do when a stage has come to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Something may still come of it.
    Wait,
    /// These ring next.
    Ring(Stage),
    /// Nobody is left.
    GiveUp(Failure),
}

/// Why nobody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There was no device to ring.
    Unregistered,
    /// It rang until the time was over.
    NoAnswer,
    /// The best of what the branches said.
    Refused(LegError),
}

/// The ringing for one call or transfer.
#[derive(Debug, Clone)]
pub struct Ring {
    /// The leg that waits for an answer.
    pub waiting: LegId,
    /// How long a stage rings, if the rule says so.
    pub ring_secs: Option<u32>,
    /// What a browser's codec is chosen by, if the rule says so.
    pub prefer: Option<Prefer>,
    /// The branch whose early media is heard.
    pub early: Option<LegId>,
    stages: VecDeque<Stage>,
    branches: Vec<Branch>,
    made: usize,
    redirects: usize,
    /// Redirections whose target is being looked up.
    lookups: usize,
    best: Option<LegError>,
    busy: bool,
    timed_out: bool,
    /// Some stage rang until its time was over.
    rang_out: bool,
    silent_are_dead: bool,
    forward: Forward,
}

impl Ring {
    /// Ringing for `waiting` at a target.
    #[must_use]
    pub fn new(waiting: LegId, target: Target, forward: Forward, ring_secs: Option<u32>) -> Self {
        let stages = match target {
            Target::Group { members, order: Order::InTurn } => members.into_iter().map(|member| vec![member]).collect(),
            Target::Group { members, order: Order::Together } => VecDeque::from([members]),
            one => VecDeque::from([vec![one]]),
        };
        Self {
            waiting,
            ring_secs,
            prefer: None,
            early: None,
            stages,
            branches: Vec::new(),
            made: 0,
            redirects: 0,
            lookups: 0,
            best: None,
            busy: false,
            timed_out: false,
            rang_out: false,
            silent_are_dead: false,
            forward,
        }
    }

    /// With what a browser's codec is chosen by, if the rule says so.
    #[must_use]
    pub fn preferring(self, prefer: Option<Prefer>) -> Self {
        Self { prefer, ..self }
    }

    /// How many more branches there may be.
    #[must_use]
    pub fn room(&self) -> usize {
        MAX_BRANCHES - self.made
    }

    /// A device is being rung.
    pub fn add(&mut self, leg: LegId) {
        self.made += 1;
        self.branches.push(Branch { leg, heard: false });
    }

    /// Whether this leg still rings for the call.
    #[must_use]
    pub fn has(&self, leg: LegId) -> bool {
        self.branches.iter().any(|branch| branch.leg == leg)
    }

    /// All that ring.
    pub fn branches(&self) -> impl Iterator<Item = LegId> + '_ {
        self.branches.iter().map(|branch| branch.leg)
    }

    /// Something came from a branch: its device is there.
    pub fn heard(&mut self, leg: LegId) {
        if let Some(branch) = self.branches.iter_mut().find(|branch| branch.leg == leg) {
            branch.heard = true;
        }
    }

    /// A branch rings no more.
    pub fn gone(&mut self, leg: LegId) {
        self.branches.retain(|branch| branch.leg != leg);
        if self.early == Some(leg) {
            self.early = None;
        }
    }

    /// A branch has come to nothing.
    pub fn failed(&mut self, leg: LegId, error: LegError) {
        self.gone(leg);
        self.busy |= matches!(error, LegError::Status(486 | 600));
        if self.best.is_none_or(|best| rank(error) < rank(best)) {
            self.best = Some(error);
        }
    }

    /// Whether a 6xx came: it speaks for the person, not for one device (RFC 3261 section 16.7, step 5).
    #[must_use]
    pub fn is_refused_for_all(&self) -> bool {
        matches!(self.best, Some(LegError::Status(600..)))
    }

    /// A branch redirects; says to how many of `wanted` it may.
    pub fn redirect(&mut self, wanted: usize) -> usize {
        let granted = wanted.min(MAX_REDIRECTS - self.redirects);
        self.redirects += granted;
        self.lookups += granted;
        granted
    }

    /// A redirection's target has been looked up.
    pub fn looked_up(&mut self) {
        self.lookups = self.lookups.saturating_sub(1);
    }

    /// Whoever has said nothing until now may not be there at all: nobody waits for it any more if there is something else
    /// to do.
    pub fn silence(&mut self) {
        self.silent_are_dead = true;
    }

    /// The stage's time is over.
    pub fn time_out(&mut self) {
        (self.timed_out, self.rang_out) = (true, true);
    }

    /// All branches give way to what comes next.
    pub fn clear(&mut self) -> Vec<LegId> {
        self.early = None;
        self.branches.drain(..).map(|branch| branch.leg).collect()
    }

    /// What is to be done now.
    pub fn go_on(&mut self) -> Next {
        let live = self.branches.iter().any(|branch| branch.heard || !self.silent_are_dead);
        let else_to_do = self.best.is_some() || !self.stages.is_empty() || self.forward != Forward::default();
        let over = self.timed_out || self.is_refused_for_all() || self.branches.is_empty() || (!live && else_to_do);
        if !over || self.lookups > 0 {
            return Next::Wait;
        }
        if !self.is_refused_for_all()
            && let Some(stage) = self.stages.pop_front()
        {
            self.new_stage();
            return Next::Ring(stage);
        }
        let failure = match (self.rang_out, self.best, self.made) {
            (true, None | Some(LegError::NoResponse), _) => Failure::NoAnswer,
            (_, Some(error), _) => Failure::Refused(error),
            (_, None, 0) => Failure::Unregistered,
            (_, None, _) => Failure::Refused(LegError::NoResponse),
        };
        let unreachable = matches!(failure, Failure::Unregistered | Failure::Refused(LegError::NoResponse));
        let forward = match failure {
            _ if self.busy => self.forward.busy.take(),
            Failure::NoAnswer => self.forward.no_answer.take(),
            _ if unreachable => self.forward.unregistered.take(),
            _ => None,
        };
        match forward {
            Some(target) => {
                self.new_stage();
                // What comes of the forward counts, not what led there.
                (self.best, self.busy, self.rang_out) = (None, false, false);
                Next::Ring(vec![target])
            }
            None => Next::GiveUp(failure),
        }
    }

    fn new_stage(&mut self) {
        self.timed_out = false;
        self.silent_are_dead = false;
    }
}

/// Which failure the caller is told, the lowest first (RFC 3261 section 16.7, step 6): a 6xx before all; then one that tells
/// the caller what to do differently; then the others; silence last.
fn rank(error: LegError) -> u16 {
    match error {
        LegError::Status(600..) => 0,
        LegError::Status(415 | 420 | 484) => 1,
        LegError::Status(486) => 2,
        LegError::Status(408 | 480 | 487 | 503) => 6,
        LegError::Status(400..500) => 3,
        LegError::Status(500..600) => 4,
        LegError::Status(_) => 5,
        LegError::NoResponse => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> Target {
        Target::Account(name.to_owned())
    }

    fn group(order: Order) -> Target {
        Target::Group { members: vec![account("a"), account("b")], order }
    }

    fn ring(target: Target, forward: Forward) -> Ring {
        Ring::new(LegId(0), target, forward, None)
    }

    #[test]
    fn the_best_failure_is_told() {
        let mut ring = ring(account("a"), Forward::default());
        assert_eq!(ring.go_on(), Next::Ring(vec![account("a")]));
        for leg in 1..=4 {
            ring.add(LegId(leg));
        }
        ring.failed(LegId(1), LegError::NoResponse);
        ring.failed(LegId(2), LegError::Status(500));
        ring.failed(LegId(3), LegError::Status(404));
        assert_eq!(ring.go_on(), Next::Wait);
        ring.failed(LegId(4), LegError::Status(486));
        assert_eq!(ring.go_on(), Next::GiveUp(Failure::Refused(LegError::Status(486))));
    }

    #[test]
    fn a_decline_speaks_for_all() {
        let mut ring = ring(group(Order::InTurn), Forward::default());
        assert_eq!(ring.go_on(), Next::Ring(vec![account("a")]));
        ring.add(LegId(1));
        ring.add(LegId(2));
        ring.failed(LegId(1), LegError::Status(603));
        assert_eq!(ring.go_on(), Next::GiveUp(Failure::Refused(LegError::Status(603))));
    }

    #[test]
    fn a_dead_device_holds_nobody_up() {
        let mut ring = ring(account("a"), Forward::default());
        ring.go_on();
        ring.add(LegId(1));
        ring.add(LegId(2));
        ring.heard(LegId(2));
        ring.failed(LegId(2), LegError::Status(486));
        assert_eq!(ring.go_on(), Next::Wait);
        ring.silence();
        assert_eq!(ring.go_on(), Next::GiveUp(Failure::Refused(LegError::Status(486))));
    }

    #[test]
    fn who_is_alone_is_waited_for() {
        let mut ring = ring(account("a"), Forward::default());
        ring.go_on();
        ring.add(LegId(1));
        ring.silence();
        assert_eq!(ring.go_on(), Next::Wait);
    }

    #[test]
    fn forwards_follow_their_cause_once() {
        let forward =
            Forward { busy: Some(account("busy")), no_answer: Some(account("later")), unregistered: Some(account("elsewhere")) };
        let mut ring = ring(group(Order::InTurn), forward);
        assert_eq!(ring.go_on(), Next::Ring(vec![account("a")]));
        assert_eq!(ring.go_on(), Next::Ring(vec![account("b")]));
        assert_eq!(ring.go_on(), Next::Ring(vec![account("elsewhere")]));
        ring.add(LegId(1));
        ring.failed(LegId(1), LegError::Status(486));
        assert_eq!(ring.go_on(), Next::Ring(vec![account("busy")]));
        ring.add(LegId(2));
        ring.time_out();
        assert_eq!(ring.go_on(), Next::Ring(vec![account("later")]));
        ring.clear();
        assert!(matches!(ring.go_on(), Next::GiveUp(_)));
    }

    #[test]
    fn redirections_are_followed_within_limits() {
        let mut ring = ring(account("a"), Forward::default());
        ring.go_on();
        assert_eq!((ring.redirect(3), ring.redirect(3), ring.redirect(1)), (3, 2, 0));
        assert_eq!(ring.go_on(), Next::Wait);
        (0..5).for_each(|_| ring.looked_up());
        assert!(matches!(ring.go_on(), Next::GiveUp(_)));
    }
}
