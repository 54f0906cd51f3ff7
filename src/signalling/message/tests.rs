use bytes::Bytes;

use super::*;

const LIMITS: MessageLimits = MessageLimits { body_bytes: 10, per_sender: 2, under_way: 3 };

#[allow(clippy::disallowed_methods)]
fn start() -> Now {
    Now { mono: Instant::now(), unix: Duration::from_secs(1_800_000_000) }
}

fn letter(body: &str, now: Now) -> Letter {
    Letter::new(now, "<sip:alice@a.org>".into(), "text/plain".into(), Bytes::from(body.to_owned()), None)
}

fn bob() -> Addressee {
    Addressee::Account("bob".into())
}

struct Bench {
    room: Messenger,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        Self { room: Messenger::new(LIMITS), now: start() }
    }

    fn accept(&mut self, to: Addressee) -> DeliveryKey {
        self.room.accept(self.now, "alice", to, letter("hi", self.now)).expect("within the limits")
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.room.next_action()).collect()
    }

    /// A letter to so many devices, and how each answers.
    fn forwarded(&mut self, to: Addressee, devices: usize, answers: &[u16]) -> (DeliveryKey, Vec<Action>) {
        let key = self.accept(to);
        assert_eq!(self.actions(), [Action::Send(key)]);
        self.room.sent(self.now, key, devices);
        for status in answers {
            self.room.on_response(self.now, key, *status);
        }
        (key, self.actions())
    }
}

fn answer(delivery: DeliveryKey, status: u16) -> Action {
    Action::Answer { delivery, status, reason: "" }
}

fn kept(id: u64, now: Now) -> Waiting {
    Waiting { oldest: Some(KeptLetter { id, letter: letter("kept", now) }), count: 1 }
}

#[test]
fn the_first_device_that_takes_it_answers_the_sender() {
    let mut bench = Bench::new();
    let (key, actions) = bench.forwarded(bob(), 3, &[100, 486, 200, 200]);
    assert_eq!(actions, [answer(key, 200)]);
    assert!(bench.room.is_empty() && bench.room.poll_timeout().is_none());
}

#[test]
fn what_no_device_takes_now_is_kept_and_what_none_will_ever_take_is_refused() {
    for (devices, answers) in [(0, &[][..]), (1, &[480]), (2, &[415, 503]), (1, &[404]), (1, &[405]), (2, &[501, 401])] {
        let mut bench = Bench::new();
        let (key, actions) = bench.forwarded(bob(), devices, answers);
        assert_eq!(actions, [Action::Keep(key)], "{answers:?}");
        bench.room.on_kept(key, Ok(7));
        assert_eq!(bench.actions(), [answer(key, 202)]);
        assert!(bench.room.is_empty());
    }
    for (answers, heard) in [(&[415][..], 415), (&[488, 415], 415), (&[603], 603)] {
        let mut bench = Bench::new();
        let (key, actions) = bench.forwarded(bob(), answers.len(), answers);
        assert_eq!(actions, [answer(key, heard)]);
    }
}

#[test]
fn a_peers_answer_is_passed_on_and_nothing_is_kept_for_it() {
    let peer = || Addressee::Peer { peer: "pbx".into(), number: "7".into() };
    for (status, heard) in [(202, 200), (404, 404), (480, 480), (503, 503), (407, 502)] {
        let mut bench = Bench::new();
        let (key, actions) = bench.forwarded(peer(), 1, &[status]);
        assert_eq!(actions, [answer(key, heard)], "{status}");
    }
    let mut bench = Bench::new();
    let (key, _) = bench.forwarded(peer(), 1, &[]);
    bench.room.handle_timeout(bench.now.after(ANSWER_WITHIN));
    assert_eq!(bench.actions(), [answer(key, 504)]);
}

#[test]
fn a_device_that_answers_late_has_it_taken_out_of_the_store_again() {
    let mut bench = Bench::new();
    let (key, _) = bench.forwarded(bob(), 1, &[]);
    bench.now = bench.now.after(ANSWER_WITHIN);
    bench.room.handle_timeout(bench.now);
    assert_eq!(bench.actions(), [Action::Keep(key)]);
    bench.room.on_kept(key, Ok(7));
    assert_eq!(bench.actions(), [answer(key, 202)]);
    bench.room.on_response(bench.now, key, 200);
    assert_eq!(bench.actions(), [Action::Drop { account: "bob".into(), id: 7 }]);
    assert!(bench.room.is_empty());
    // It may also be as early as the store: then it was never late.
    let mut bench = Bench::new();
    let (key, _) = bench.forwarded(bob(), 1, &[]);
    bench.room.handle_timeout(bench.now.after(ANSWER_WITHIN));
    bench.room.on_response(bench.now, key, 200);
    bench.room.on_kept(key, Ok(8));
    let dropped = Action::Drop { account: "bob".into(), id: 8 };
    assert_eq!(bench.actions(), [Action::Keep(key), dropped, answer(key, 200)]);
    assert!(bench.room.is_empty());
}

#[test]
fn kept_letters_go_out_one_at_a_time_and_new_ones_stand_behind_them() {
    let mut bench = Bench::new();
    bench.room.available("bob");
    assert_eq!(bench.actions(), [Action::Load { account: "bob".into() }]);
    bench.room.on_waiting("bob", Some(kept(1, bench.now)));
    let sent = bench.actions();
    let [Action::Send(first)] = sent[..] else { panic!("{sent:?}") };
    bench.room.sent(bench.now, first, 1);
    let new = bench.accept(bob());
    assert_eq!(bench.actions(), [Action::Keep(new)], "it does not overtake");
    bench.room.on_kept(new, Ok(2));
    assert_eq!(bench.actions(), [answer(new, 202)]);
    bench.room.on_response(bench.now, first, 200);
    assert_eq!(bench.actions(), [Action::Drop { account: "bob".into(), id: 1 }]);
    bench.room.on_waiting("bob", Some(kept(2, bench.now)));
    let sent = bench.actions();
    let [Action::Send(second)] = sent[..] else { panic!("{sent:?}") };
    bench.room.sent(bench.now, second, 1);
    // Refused for good, it makes way for the next one.
    bench.room.on_response(bench.now, second, 415);
    assert_eq!(bench.actions(), [Action::Drop { account: "bob".into(), id: 2 }]);
    bench.room.on_waiting("bob", Some(Waiting::default()));
    let live = bench.accept(bob());
    assert_eq!(bench.actions(), [Action::Send(live)], "nothing waits any more");
}

#[test]
fn a_device_that_goes_away_leaves_the_rest_waiting_until_it_registers() {
    let mut bench = Bench::new();
    bench.room.available("bob");
    bench.room.on_waiting("bob", Some(kept(1, bench.now)));
    bench.actions();
    let key = bench.room.deliveries.keys().next().expect("one is on its way");
    bench.room.sent(bench.now, key, 1);
    bench.room.on_response(bench.now, key, 408);
    assert_eq!((bench.actions(), bench.room.len()), (vec![], 0));
    // A new letter is put behind, and the first one is tried again.
    let new = bench.accept(bob());
    bench.room.on_kept(new, Ok(2));
    let load = Action::Load { account: "bob".into() };
    assert_eq!(bench.actions(), [Action::Keep(new), load, answer(new, 202)]);
    // It registers again while a letter is on its way to a device that is gone.
    bench.room.on_waiting("bob", Some(kept(1, bench.now)));
    bench.actions();
    let key = bench.room.deliveries.keys().next().expect("one is on its way");
    bench.room.available("bob");
    assert_eq!(bench.actions(), []);
    bench.room.sent(bench.now, key, 1);
    bench.room.on_response(bench.now, key, 503);
    assert_eq!(bench.actions(), [Action::Load { account: "bob".into() }]);
}

#[test]
fn limits_hold_and_what_is_worth_nothing_later_is_not_kept() {
    let mut bench = Bench::new();
    let long = bench.room.accept(bench.now, "alice", bob(), letter("0123456789a", bench.now));
    assert_eq!(long, Err(MessageError::TooLarge));
    bench.accept(bob());
    bench.accept(bob());
    let third = letter("x", bench.now);
    assert_eq!(bench.room.accept(bench.now, "alice", bob(), third.clone()), Err(MessageError::TooManyOfYours));
    bench.room.accept(bench.now, "carol", bob(), third.clone()).expect("somebody else's");
    assert_eq!(bench.room.accept(bench.now, "dave", bob(), third), Err(MessageError::Full));

    for (content_type, expires) in [("application/im-iscomposing+xml; charset=utf-8", None), ("text/plain", Some(0))] {
        let mut bench = Bench::new();
        let letter = Letter::new(bench.now, "x".into(), content_type.into(), Bytes::from_static(b"x"), expires);
        let key = bench.room.accept(bench.now, "alice", bob(), letter).expect("accepted");
        bench.room.sent(bench.now, key, 0);
        assert_eq!(bench.actions(), [Action::Send(key), answer(key, 480)]);
    }
    let mut bench = Bench::new();
    let (key, _) = bench.forwarded(bob(), 0, &[]);
    bench.room.on_kept(key, Err(KeepError::Full));
    assert_eq!(bench.actions(), [Action::Answer { delivery: key, status: 480, reason: "Mailbox full" }]);
}
