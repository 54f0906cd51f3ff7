//! INVITE server transaction: RFC 3261 figure 7 as RFC 6026 figure 5 corrects it.

use super::Act::{self, Arm, Disarm, Send, TimedOut};
use super::Timer::{G, H, I, L};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Proceeding,
    Completed,
    Confirmed,
    Accepted,
    Terminated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The INVITE again.
    Request,
    Ack,
    RespondProvisional,
    RespondSuccess,
    RespondFailure,
    TimerG,
    TimerH,
    TimerI,
    TimerL,
}

pub(super) fn on(state: State, event: Event) -> (State, &'static [Act]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Proceeding, E::Request | E::RespondProvisional) => (S::Proceeding, &[Send]),
        (S::Proceeding, E::RespondSuccess) => (S::Accepted, &[Send, Arm(L)]),
        (S::Proceeding, E::RespondFailure) => (S::Completed, &[Send, Arm(G), Arm(H)]),

        (S::Completed, E::Request) => (S::Completed, &[Send]),
        (S::Completed, E::TimerG) => (S::Completed, &[Send, Arm(G)]),
        (S::Completed, E::TimerH) => (S::Terminated, &[TimedOut]),
        (S::Completed, E::Ack) => (S::Confirmed, &[Disarm(G), Disarm(H), Arm(I)]),

        (S::Confirmed, E::TimerI) => (S::Terminated, &[]),

        // The dialog's owner retransmits its 2xx by saying it again.
        (S::Accepted, E::RespondSuccess) => (S::Accepted, &[Send]),
        (S::Accepted, E::TimerL) => (S::Terminated, &[]),

        // Absorbed: retransmissions after the end, answers after an answer, a timer of a state left.
        (S::Proceeding, E::Ack | E::TimerG | E::TimerH | E::TimerI | E::TimerL)
        | (S::Completed, E::RespondProvisional | E::RespondSuccess | E::RespondFailure | E::TimerI | E::TimerL)
        | (S::Confirmed, E::Request | E::Ack | E::RespondProvisional | E::RespondSuccess | E::RespondFailure)
        | (S::Confirmed, E::TimerG | E::TimerH | E::TimerL)
        | (S::Accepted, E::Request | E::Ack | E::RespondProvisional | E::RespondFailure | E::TimerG | E::TimerH | E::TimerI)
        | (S::Terminated, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proceeding_repeats_its_last_response_to_a_repeated_invite() {
        assert_eq!(on(State::Proceeding, Event::Request), (State::Proceeding, &[Send][..]));
        assert_eq!(on(State::Proceeding, Event::RespondProvisional), (State::Proceeding, &[Send][..]));
    }

    #[test]
    fn proceeding_failure_completes_and_is_retransmitted_until_acked() {
        assert_eq!(on(State::Proceeding, Event::RespondFailure), (State::Completed, &[Send, Arm(G), Arm(H)][..]));
        assert_eq!(on(State::Completed, Event::TimerG), (State::Completed, &[Send, Arm(G)][..]));
        assert_eq!(on(State::Completed, Event::Request), (State::Completed, &[Send][..]));
        assert_eq!(on(State::Completed, Event::Ack), (State::Confirmed, &[Disarm(G), Disarm(H), Arm(I)][..]));
        assert_eq!(on(State::Completed, Event::TimerH), (State::Terminated, &[TimedOut][..]));
        assert_eq!(on(State::Confirmed, Event::Ack), (State::Confirmed, &[][..]));
        assert_eq!(on(State::Confirmed, Event::TimerI), (State::Terminated, &[][..]));
    }

    #[test]
    fn accepted_absorbs_the_invite_and_lets_the_owner_repeat_its_2xx() {
        assert_eq!(on(State::Proceeding, Event::RespondSuccess), (State::Accepted, &[Send, Arm(L)][..]));
        assert_eq!(on(State::Accepted, Event::Request), (State::Accepted, &[][..]));
        assert_eq!(on(State::Accepted, Event::RespondSuccess), (State::Accepted, &[Send][..]));
        assert_eq!(on(State::Accepted, Event::TimerL), (State::Terminated, &[][..]));
    }
}
