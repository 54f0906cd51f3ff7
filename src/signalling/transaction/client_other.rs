//! Non-INVITE client transaction: RFC 3261 figure 6.

use super::Act::{self, Arm, Disarm, Send, TimedOut, Up};
use super::Timer::{E, F, K};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Trying,
    Proceeding,
    Completed,
    Terminated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Provisional,
    Final,
    TimerE,
    TimerF,
    TimerK,
}

/// What is done when the transaction is made.
pub(super) const START: (State, &[Act]) = (State::Trying, &[Send, Arm(E), Arm(F)]);

pub(super) fn on(state: State, event: Event) -> (State, &'static [Act]) {
    use {Event as Ev, State as S};
    match (state, event) {
        (S::Trying | S::Proceeding, Ev::TimerE) => (state, &[Send, Arm(E)]),
        (S::Trying | S::Proceeding, Ev::TimerF) => (S::Terminated, &[TimedOut]),
        (S::Trying | S::Proceeding, Ev::Provisional) => (S::Proceeding, &[Up]),
        (S::Trying | S::Proceeding, Ev::Final) => (S::Completed, &[Disarm(E), Disarm(F), Up, Arm(K)]),

        (S::Completed, Ev::TimerK) => (S::Terminated, &[]),

        // A response again, or a timer of a state left.
        (S::Completed, Ev::Provisional | Ev::Final | Ev::TimerE | Ev::TimerF)
        | (S::Trying | S::Proceeding, Ev::TimerK)
        | (S::Terminated, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_and_proceeding_retransmit_until_timer_f_gives_up() {
        for state in [State::Trying, State::Proceeding] {
            assert_eq!(on(state, Event::TimerE), (state, &[Send, Arm(E)][..]));
            assert_eq!(on(state, Event::TimerF), (State::Terminated, &[TimedOut][..]));
        }
    }

    #[test]
    fn provisional_proceeds_and_final_completes() {
        for state in [State::Trying, State::Proceeding] {
            assert_eq!(on(state, Event::Provisional), (State::Proceeding, &[Up][..]));
            assert_eq!(on(state, Event::Final), (State::Completed, &[Disarm(E), Disarm(F), Up, Arm(K)][..]));
        }
    }

    #[test]
    fn completed_absorbs_responses_until_timer_k() {
        assert_eq!(on(State::Completed, Event::Final), (State::Completed, &[][..]));
        assert_eq!(on(State::Completed, Event::TimerK), (State::Terminated, &[][..]));
    }
}
