//! INVITE client transaction: RFC 3261 figure 5 as RFC 6026 figure 6 corrects it.

use super::Act::{self, Ack, Arm, Disarm, Send, TimedOut, Up};
use super::Timer::{A, B, D, M};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Calling,
    Proceeding,
    Completed,
    Accepted,
    Terminated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Provisional,
    Success,
    Failure,
    TimerA,
    TimerB,
    TimerD,
    TimerM,
}

/// What is done when the transaction is made.
pub(super) const START: (State, &[Act]) = (State::Calling, &[Send, Arm(A), Arm(B)]);

pub(super) fn on(state: State, event: Event) -> (State, &'static [Act]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Calling, E::TimerA) => (S::Calling, &[Send, Arm(A)]),
        (S::Calling, E::TimerB) => (S::Terminated, &[TimedOut]),
        (S::Calling, E::Provisional) => (S::Proceeding, &[Disarm(A), Disarm(B), Up]),
        (S::Calling, E::Success) => (S::Accepted, &[Disarm(A), Disarm(B), Up, Arm(M)]),
        (S::Calling, E::Failure) => (S::Completed, &[Disarm(A), Disarm(B), Ack, Up, Arm(D)]),

        (S::Proceeding, E::Provisional) => (S::Proceeding, &[Up]),
        (S::Proceeding, E::Success) => (S::Accepted, &[Up, Arm(M)]),
        (S::Proceeding, E::Failure) => (S::Completed, &[Ack, Up, Arm(D)]),

        (S::Completed, E::Failure) => (S::Completed, &[Ack]),
        (S::Completed, E::TimerD) => (S::Terminated, &[]),

        (S::Accepted, E::Success) => (S::Accepted, &[Up]),
        (S::Accepted, E::TimerM) => (S::Terminated, &[]),

        // Late or stray: a provisional after the end, a failure after success or the reverse, a timer of a state left.
        (S::Completed, E::Provisional | E::Success | E::TimerA | E::TimerB | E::TimerM)
        | (S::Accepted, E::Provisional | E::Failure | E::TimerA | E::TimerB | E::TimerD)
        | (S::Calling, E::TimerD | E::TimerM)
        | (S::Proceeding, E::TimerA | E::TimerB | E::TimerD | E::TimerM)
        | (S::Terminated, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calling_retransmits_until_timer_b_gives_up() {
        assert_eq!(on(State::Calling, Event::TimerA), (State::Calling, &[Send, Arm(A)][..]));
        assert_eq!(on(State::Calling, Event::TimerB), (State::Terminated, &[TimedOut][..]));
    }

    #[test]
    fn calling_or_proceeding_provisional_proceeds() {
        assert_eq!(on(State::Calling, Event::Provisional), (State::Proceeding, &[Disarm(A), Disarm(B), Up][..]));
        assert_eq!(on(State::Proceeding, Event::Provisional), (State::Proceeding, &[Up][..]));
    }

    #[test]
    fn calling_or_proceeding_failure_acks_and_completes() {
        assert_eq!(on(State::Calling, Event::Failure).0, State::Completed);
        assert_eq!(on(State::Proceeding, Event::Failure), (State::Completed, &[Ack, Up, Arm(D)][..]));
    }

    #[test]
    fn completed_acks_again_and_does_not_tell_twice() {
        assert_eq!(on(State::Completed, Event::Failure), (State::Completed, &[Ack][..]));
        assert_eq!(on(State::Completed, Event::TimerD), (State::Terminated, &[][..]));
    }

    #[test]
    fn accepted_passes_each_success_up_until_timer_m() {
        assert_eq!(on(State::Calling, Event::Success).0, State::Accepted);
        assert_eq!(on(State::Proceeding, Event::Success), (State::Accepted, &[Up, Arm(M)][..]));
        assert_eq!(on(State::Accepted, Event::Success), (State::Accepted, &[Up][..]));
        assert_eq!(on(State::Accepted, Event::TimerM), (State::Terminated, &[][..]));
    }
}
