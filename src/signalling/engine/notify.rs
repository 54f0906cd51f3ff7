//! SUBSCRIBE, PUBLISH and NOTIFY: from a subscriber who has proven himself to the notifier, and from there to its watchers.

use super::beside::Asked;
use super::screen::{Arrived, Stage};
use super::{Engine, Flow, Output, Owner};
use crate::base::Now;
use crate::plan::Side;
use crate::policy::account::Account;
use crate::signalling::call::{Call, Leg, LegState};
use crate::signalling::notifier::{
    ALLOW_EVENTS, DialogState, Direction, NotifierError, PIDF, Package, Phase, SubscriptionKey, Watcher,
};
use crate::wire::sip::{Method, response_to};

impl Engine {
    /// A SUBSCRIBE of an account: within a dialog a refresh, else of the account that it names.
    pub(super) fn on_subscribe(&mut self, now: Now, arrived: Arrived, account: Account, out: &mut Vec<Output>) {
        let request = &arrived.request;
        if request.to().is_ok_and(|to| to.tag().is_some()) {
            let watcher = self.watcher(account.name, arrived.flow);
            return match self.beside.notifier.refresh(now.mono, request, &watcher) {
                Ok(expires_secs) => self.accept(now, &arrived, None, expires_secs, out),
                Err(error) => self.refuse_event(now, &arrived, error, out),
            };
        }
        let Some(watched) = request.request_uri().ok().and_then(|uri| uri.user_decoded()) else {
            return self.refuse(now, &arrived, 404, "Nobody is watched", out);
        };
        self.ask(arrived, Stage::Watched { subscriber: account.name }, watched.to_lowercase(), out);
    }

    pub(super) fn on_watched(
        &mut self,
        now: Now,
        arrived: Arrived,
        subscriber: String,
        found: Option<Account>,
        out: &mut Vec<Output>,
    ) {
        let Some(watched) = found.map(|account| account.name) else {
            return self.refuse(now, &arrived, 404, "", out);
        };
        let counts = Package::of(&arrived.request).is_some_and(|(package, _)| package == Package::MessageSummary);
        if counts && watched == subscriber {
            // What waits is the store's to say.
            let query = self.ask_store(Asked::Count { arrived: Box::new(arrived), account: watched.clone() });
            return out.push(Output::LoadMessages { query, account: watched, taken: None });
        }
        self.subscribe(now, &arrived, &subscriber, &watched, out);
    }

    pub(super) fn subscribe(&mut self, now: Now, arrived: &Arrived, subscriber: &str, watched: &str, out: &mut Vec<Output>) {
        // Its WebSocket has closed meanwhile: nobody would hear of it.
        if self.remote_of(arrived.flow).is_none() {
            return;
        }
        let (watcher, tag) = (self.watcher(subscriber.to_owned(), arrived.flow), self.rng.token(22));
        match self.beside.notifier.subscribe(now.mono, &arrived.request, watcher, watched, tag.clone()) {
            Ok(expires_secs) => self.accept(now, arrived, Some(&tag), expires_secs, out),
            Err(error) => self.refuse_event(now, arrived, error, out),
        }
    }

    fn watcher(&self, account: String, flow: Flow) -> Watcher {
        let binding = self.registrar.bindings(&account).into_iter().find(|binding| binding.flow == flow);
        let instance = binding.and_then(|binding| binding.instance.clone());
        Watcher { account, flow, instance }
    }

    fn accept(&mut self, now: Now, arrived: &Arrived, tag: Option<&str>, expires_secs: u32, out: &mut Vec<Output>) {
        let writer = response_to(&arrived.request, 200, "", tag, arrived.source)
            .header("Contact", self.contact(arrived.flow))
            .header("Expires", expires_secs);
        self.finish(now, arrived, 200, writer.end(), out);
    }

    /// A PUBLISH of an account for itself.
    pub(super) fn on_publish(&mut self, now: Now, arrived: &Arrived, account: &Account, out: &mut Vec<Output>) {
        let user = arrived.request.request_uri().ok().and_then(|uri| uri.user_decoded());
        if !user.is_some_and(|user| user.eq_ignore_ascii_case(&account.name) || Some(&user) == account.number.as_ref()) {
            return self.refuse(now, arrived, 403, "Not your address", out);
        }
        let tag = self.rng.word(16);
        match self.beside.notifier.publish(now.mono, &arrived.request, &account.name, tag.clone()) {
            Ok(expires_secs) => {
                let writer = self.response(arrived, 200, "").header("SIP-ETag", tag).header("Expires", expires_secs);
                self.finish(now, arrived, 200, writer.end(), out);
            }
            Err(error) => self.refuse_event(now, arrived, error, out),
        }
    }

    fn refuse_event(&mut self, now: Now, arrived: &Arrived, error: NotifierError, out: &mut Vec<Output>) {
        let reason = match error {
            NotifierError::TooManyOfYours => "Too many subscriptions",
            NotifierError::NotYours => "Not yours to watch",
            NotifierError::OutOfOrder => "CSeq is out of order",
            _ => "",
        };
        let writer = self.response(arrived, error.status(), reason);
        let writer = match error {
            NotifierError::BadEvent => writer.header("Allow-Events", ALLOW_EVENTS),
            NotifierError::TooBrief { min_expires_secs } => writer.header("Min-Expires", min_expires_secs),
            NotifierError::NoDocument => writer.header("Accept", PIDF),
            NotifierError::Full => writer.header("Retry-After", 60),
            _ => writer,
        };
        self.finish(now, arrived, error.status(), writer.end(), out);
    }

    /// A NOTIFY goes over the flow that its subscriber used last, whatever its Contact says: behind a NAT or a WebSocket
    /// nothing else would arrive.
    pub(super) fn send_notify(&mut self, now: Now, key: SubscriptionKey, flow: Flow, out: &mut Vec<Output>) {
        let (branch, via) = self.via(flow);
        let contact = self.contact(flow);
        let Some(notice) = self.beside.notifier.write(now.mono, key, &via, &contact) else { return };
        let owner = Owner::Notify(key, notice.cseq);
        let mut sent = Vec::new();
        let client =
            self.transactions.send_request(now.mono, Method::Notify, &branch, flow, notice.bytes.into(), owner, None, &mut sent);
        self.transmit(now, sent, out);
        if client.is_none() {
            self.beside.notifier.on_silence(now.mono, key, notice.cseq);
        }
    }

    /// Tells the notifier of the calls that have changed.
    pub(super) fn show_calls(&mut self, now: Now) {
        for key in std::mem::take(&mut self.beside.stirred) {
            let dialogs = self.calls.get(key).map(|call| self.dialogs_of(call)).unwrap_or_default();
            for account in self.beside.shown.change(key, dialogs) {
                self.beside.notifier.dialogs_changed(now.mono, &account, &self.beside.shown.of(&account));
            }
        }
    }

    /// A call as each of its accounts sees it.
    fn dialogs_of(&self, call: &Call) -> Vec<(String, DialogState)> {
        let sides = [(Side::A, Direction::Initiator, Some(&call.a)), (Side::B, Direction::Recipient, call.b())];
        let shown = sides.into_iter().filter_map(|(side, direction, leg)| {
            let (leg, other) = (leg?, if side == Side::A { call.b() } else { Some(&call.a) });
            let is_peer = matches!(leg.flow, Flow::Udp { remote, .. } if self.config.peer_at(remote).is_some());
            let phase = phase_of(leg, other).filter(|_| !is_peer)?;
            let remote = other.and_then(|other| other.who.split(' ').next_back()).map(str::to_owned);
            let id = format!("{}{}", call.id, if side == Side::A { "a" } else { "b" });
            Some((leg.who.clone(), DialogState { id, direction, phase, remote }))
        });
        shown.collect()
    }
}

/// How far a leg has come, as it knows itself; none when it has ended.
fn phase_of(leg: &Leg, other: Option<&Leg>) -> Option<Phase> {
    match leg.state {
        LegState::Incoming if other.is_some_and(|other| other.state == LegState::Ringing) => Some(Phase::Early),
        LegState::Incoming | LegState::Inviting => Some(Phase::Trying),
        LegState::Ringing => Some(Phase::Early),
        LegState::Answering | LegState::Confirmed => Some(Phase::Confirmed),
        LegState::Idle
        | LegState::ByeAfterAck
        | LegState::CancelPending
        | LegState::Cancelling
        | LegState::Leaving
        | LegState::Ended => None,
    }
}
