//! Non-INVITE server transaction: RFC 3261 figure 8.

use super::Act::{self, Arm, Send};
use super::Timer::J;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Trying,
    Completed,
    Terminated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The request again.
    Request,
    RespondFinal,
    TimerJ,
}

/// The figure's Proceeding state is left out: the gateway gives no provisional response to anything but INVITE
/// (RFC 4320 section 4.1 all but forbids it).
pub(super) fn on(state: State, event: Event) -> (State, &'static [Act]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Trying, E::RespondFinal) => (S::Completed, &[Send, Arm(J)]),
        (S::Completed, E::Request) => (S::Completed, &[Send]),
        (S::Completed, E::TimerJ) => (S::Terminated, &[]),
        (S::Trying, E::Request | E::TimerJ) | (S::Completed, E::RespondFinal) | (S::Terminated, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_absorbs_and_final_completes() {
        assert_eq!(on(State::Trying, Event::Request), (State::Trying, &[][..]));
        assert_eq!(on(State::Trying, Event::RespondFinal), (State::Completed, &[Send, Arm(J)][..]));
    }

    #[test]
    fn completed_repeats_its_answer_until_timer_j() {
        assert_eq!(on(State::Completed, Event::Request), (State::Completed, &[Send][..]));
        assert_eq!(on(State::Completed, Event::RespondFinal), (State::Completed, &[][..]));
        assert_eq!(on(State::Completed, Event::TimerJ), (State::Terminated, &[][..]));
    }
}
