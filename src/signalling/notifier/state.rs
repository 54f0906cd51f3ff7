//! When a subscription's next NOTIFY is sent: at most one is on its way, and after its answer there is a rest.

use Act::{Forget, Notify, Rest, Rise};

/// Where a subscription stands with its NOTIFYs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The subscriber knows all.
    Quiet,
    /// A NOTIFY is on its way.
    InFlight,
    /// And what it says is old already.
    InFlightDirty,
    /// And the subscription has ended since.
    InFlightEnded,
    /// A NOTIFY was answered a moment ago.
    Resting,
    /// And what it said is old already.
    RestingDirty,
    /// The way to the subscriber is gone; it may come back by another (RFC 5626).
    Cut,
    /// The last NOTIFY is on its way.
    Last,
    /// Forgotten.
    Over,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// There is news.
    Changed,
    /// A SUBSCRIBE came: a NOTIFY follows at once (RFC 6665 section 4.2.1.2).
    Refreshed,
    /// The subscriber is to be reached by another way.
    Moved,
    /// The NOTIFY on its way was answered.
    Answered,
    /// The subscriber knows of no subscription, or never answered over a way that tells no end.
    Gone,
    /// Its way has ended.
    Cut,
    /// It has rested.
    Rested,
    /// It has expired, or was ended by its subscriber.
    Ended,
}

/// What is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Notify,
    Rest,
    Rise,
    Forget,
}

pub(super) fn on(state: State, event: Event) -> (State, &'static [Act]) {
    use {Event as E, State as S};
    match (state, event) {
        (S::Quiet, E::Changed | E::Refreshed) => (S::InFlight, &[Notify]),
        (S::Quiet, E::Ended) => (S::Last, &[Notify]),

        (S::InFlight, E::Changed | E::Refreshed) => (S::InFlightDirty, &[]),
        (S::InFlight, E::Answered) => (S::Resting, &[Rest]),
        (S::InFlightDirty, E::Answered) => (S::RestingDirty, &[Rest]),
        (S::InFlight | S::InFlightDirty, E::Ended) => (S::InFlightEnded, &[]),
        // What was on its way may be lost with the old one.
        (S::InFlight | S::InFlightDirty, E::Moved) => (S::InFlight, &[Notify]),

        (S::InFlightEnded, E::Answered | E::Moved) => (S::Last, &[Notify]),

        (S::Resting, E::Changed) => (S::RestingDirty, &[]),
        (S::Resting | S::RestingDirty, E::Refreshed) => (S::InFlight, &[Rise, Notify]),
        (S::Resting | S::RestingDirty, E::Ended) => (S::Last, &[Rise, Notify]),
        (S::Resting | S::RestingDirty, E::Cut) => (S::Cut, &[Rise]),
        (S::Resting, E::Rested) => (S::Quiet, &[]),
        (S::RestingDirty, E::Rested) => (S::InFlight, &[Notify]),

        (S::Quiet | S::InFlight | S::InFlightDirty, E::Cut) => (S::Cut, &[]),
        // What it knows is in doubt: it is told all.
        (S::Cut, E::Moved | E::Refreshed) => (S::InFlight, &[Notify]),

        (S::Last, E::Moved) => (S::Last, &[Notify]),
        (S::Last, E::Answered)
        | (S::Last | S::InFlightEnded, E::Cut)
        | (S::Last | S::InFlight | S::InFlightDirty | S::InFlightEnded, E::Gone)
        | (S::Cut, E::Ended) => (S::Over, &[Forget]),

        // No news to who knows that there is some, no answer to what was not asked.
        (S::Quiet, E::Moved | E::Answered | E::Gone | E::Rested)
        | (S::InFlight, E::Rested)
        | (S::InFlightDirty, E::Changed | E::Refreshed | E::Rested)
        | (S::InFlightEnded, E::Changed | E::Refreshed | E::Rested | E::Ended)
        | (S::Resting, E::Moved | E::Answered | E::Gone)
        | (S::RestingDirty, E::Changed | E::Moved | E::Answered | E::Gone)
        | (S::Cut, E::Changed | E::Answered | E::Gone | E::Cut | E::Rested)
        | (S::Last, E::Changed | E::Refreshed | E::Rested | E::Ended)
        | (S::Over, _) => (state, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs events from the first SUBSCRIBE on; gives the state and how many NOTIFYs were sent.
    fn run(events: &[Event]) -> (State, usize) {
        let mut sent = 0;
        let state = events.iter().fold(State::Quiet, |state, event| {
            let (next, acts) = on(state, *event);
            sent += acts.iter().filter(|a| **a == Notify).count();
            next
        });
        (state, sent)
    }

    #[test]
    fn changes_while_one_is_on_its_way_become_one_notify() {
        use Event::{Answered, Changed, Refreshed, Rested};
        assert_eq!(run(&[Refreshed, Changed, Changed, Changed]), (State::InFlightDirty, 1));
        assert_eq!(run(&[Refreshed, Changed, Changed, Answered, Changed, Rested]), (State::InFlight, 2));
        assert_eq!(run(&[Refreshed, Answered, Rested]), (State::Quiet, 1));
    }

    #[test]
    fn the_last_notify_waits_for_the_answer_to_the_one_before() {
        use Event::{Answered, Ended, Refreshed};
        assert_eq!(run(&[Refreshed, Ended]), (State::InFlightEnded, 1));
        assert_eq!(run(&[Refreshed, Ended, Answered]), (State::Last, 2));
        assert_eq!(run(&[Refreshed, Ended, Answered, Answered]), (State::Over, 2));
    }

    #[test]
    fn a_cut_subscription_waits_for_another_way_and_then_tells_all() {
        use Event::{Answered, Changed, Cut, Ended, Moved, Refreshed};
        assert_eq!(run(&[Refreshed, Answered, Cut, Changed, Changed]), (State::Cut, 1));
        assert_eq!(run(&[Refreshed, Answered, Cut, Changed, Changed, Moved]), (State::InFlight, 2));
        assert_eq!(run(&[Refreshed, Cut, Ended]), (State::Over, 1), "nobody is left to be told");
    }

    #[test]
    fn who_knows_of_no_subscription_has_none() {
        use Event::{Changed, Gone, Refreshed};
        assert_eq!(run(&[Refreshed, Gone]).0, State::Over);
        assert_eq!(run(&[Refreshed, Changed, Gone]).0, State::Over);
    }
}
