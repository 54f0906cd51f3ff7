//! SUBSCRIBE, PUBLISH and NOTIFY: from a subscriber who has proven himself to the notifier, and from there to its watchers.

use std::collections::BTreeSet;

use super::beside::Asked;
use super::screen::{Arrived, Sender};
use super::{Engine, Flow, Output, Owner};
use crate::base::Now;
use crate::signalling::call::{Call, Invite, Leg, LegState, Party};
use crate::signalling::notifier::{
    ALLOW_EVENTS, DialogState, Direction, NotifierError, PIDF, Package, Phase, SubscriptionKey, Watcher,
};
use crate::wire::sip::{Method, NameAddr, response_to};

impl Engine {
    /// A SUBSCRIBE within a dialog.
    pub(super) fn on_subscribe_again(&mut self, now: Now, arrived: &Arrived, sender: &Sender, out: &mut Vec<Output>) {
        let Party::Account(name) = &sender.party else { return self.refuse(now, arrived, 481, "", out) };
        let watcher = self.watcher(name.clone(), arrived.flow);
        match self.beside.notifier.refresh(now.mono, &arrived.request, &watcher) {
            Ok(expires_secs) => self.accept(now, arrived, None, expires_secs, out),
            Err(error) => self.refuse_event(now, arrived, error, out),
        }
    }

    /// A SUBSCRIBE that shall make a dialog.
    pub(super) fn on_subscribe(&mut self, now: Now, arrived: Arrived, subscriber: &str, watched: &str, out: &mut Vec<Output>) {
        let counts = Package::of(&arrived.request).is_some_and(|(package, _)| package == Package::MessageSummary);
        if counts && watched == subscriber {
            // What waits is the store's to say.
            let account = watched.to_owned();
            let query = self.ask_store(Asked::Count { arrived: Box::new(arrived), account: account.clone() });
            return out.push(Output::LoadMessages { query, account, taken: None });
        }
        self.subscribe(now, &arrived, subscriber, watched, out);
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
        let instance = self.registrar.instance_of(&account, flow);
        Watcher { account, flow, instance }
    }

    fn accept(&mut self, now: Now, arrived: &Arrived, tag: Option<&str>, expires_secs: u32, out: &mut Vec<Output>) {
        let writer = response_to(&arrived.request, 200, "", tag, arrived.source)
            .header("Contact", self.contact(arrived.flow))
            .header("Expires", expires_secs);
        self.finish(now, arrived, 200, writer.end(), out);
    }

    /// A PUBLISH of an account for itself.
    pub(super) fn on_publish(&mut self, now: Now, arrived: &Arrived, account: &str, out: &mut Vec<Output>) {
        let tag = self.rng.word(16);
        match self.beside.notifier.publish(now.mono, &arrived.request, account, tag.clone()) {
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

    /// Tells the notifier of the calls that have changed; a leg that went from one call to another is one change.
    pub(super) fn show_calls(&mut self, now: Now) {
        let mut accounts = BTreeSet::new();
        for key in std::mem::take(&mut self.beside.stirred) {
            let dialogs = self.calls.get(key).map(dialogs_of).unwrap_or_default();
            accounts.append(&mut self.beside.shown.change(key, dialogs));
        }
        for account in accounts {
            self.beside.notifier.dialogs_changed(now.mono, &account, &self.beside.shown.of(&account));
        }
    }
}

/// A call as each of its accounts sees it.
fn dialogs_of(call: &Call) -> Vec<(String, DialogState)> {
    let rings = call.legs().any(|leg| leg.state == LegState::Ringing);
    let shown = call.legs().filter_map(|leg| {
        let (Party::Account(account), Some(phase)) = (&leg.party, phase_of(leg, rings)) else { return None };
        let direction = if matches!(leg.invite, Invite::Uas { .. }) { Direction::Initiator } else { Direction::Recipient };
        // Whom it talks to, or shall: of several that ring, the one who is there already.
        let other = call.other(leg.id).map(|other| call.leg(other));
        let other = other.or_else(|| call.legs().find(|other| other.id != leg.id));
        let remote = other.and_then(|other| Some(NameAddr::parse(other.identity.as_bytes()).ok()?.uri.text.to_owned()));
        Some((account.clone(), DialogState { id: format!("d{}", leg.id.0), direction, phase, remote }))
    });
    shown.collect()
}

/// How far a leg has come, as it knows itself; none when it has ended, or was never told.
fn phase_of(leg: &Leg, rings: bool) -> Option<Phase> {
    match leg.state {
        LegState::Ringing => Some(Phase::Early),
        LegState::Incoming if rings => Some(Phase::Early),
        LegState::Incoming | LegState::Inviting => Some(Phase::Trying),
        LegState::Answering | LegState::Confirmed => Some(Phase::Confirmed),
        LegState::Idle
        | LegState::ByeAfterAck
        | LegState::CancelPending
        | LegState::Cancelling
        | LegState::Leaving
        | LegState::Ended => None,
    }
}
