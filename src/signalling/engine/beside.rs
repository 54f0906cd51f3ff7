//! What stands beside the calls: the rooms for messages and for notifications, tended to once after each input.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::screen::{Arrived, Sender, Waiting};
use super::{CallKey, Engine, Flow, Output, QueryId, Unavailable};
use crate::base::Now;
use crate::policy::account::Account;
use crate::signalling::call::Party;
use crate::signalling::message::{DeliveryKey, KeepError, Kept, MessageLimits, Messenger, Waiting as WaitingLetters};
use crate::signalling::notifier::{DialogState, Notifier, NotifierLimits};
use crate::wire::sip::Method;

/// The two rooms, and what joins them to the engine.
pub(super) struct Beside {
    pub(super) notifier: Notifier,
    pub(super) messenger: Messenger,
    /// Senders that wait for an answer, by letter.
    pub(super) senders: BTreeMap<DeliveryKey, Arrived>,
    /// Questions to the store.
    pub(super) asked: BTreeMap<QueryId, Asked>,
    /// Calls of which something may be new to tell.
    pub(super) stirred: BTreeSet<CallKey>,
    pub(super) shown: Shown,
}

/// What has been told of calls.
#[derive(Default)]
pub(super) struct Shown {
    /// Of each call, to the watchers of whom.
    calls: BTreeMap<CallKey, Vec<(String, DialogState)>>,
    by_account: BTreeMap<String, BTreeSet<CallKey>>,
}

impl Shown {
    /// A call is now so. Gives the accounts to which that is news.
    pub(super) fn change(&mut self, key: CallKey, new: Vec<(String, DialogState)>) -> BTreeSet<String> {
        let old = self.calls.remove(&key).unwrap_or_default();
        let accounts: BTreeSet<String> = old.iter().chain(&new).map(|(account, _)| account.clone()).collect();
        for account in &accounts {
            let calls = self.by_account.entry(account.clone()).or_default();
            if new.iter().any(|(whose, _)| whose == account) {
                calls.insert(key)
            } else {
                calls.remove(&key)
            };
            if calls.is_empty() {
                self.by_account.remove(account);
            }
        }
        let news = if old == new { BTreeSet::new() } else { accounts };
        if !new.is_empty() {
            self.calls.insert(key, new);
        }
        news
    }

    /// All calls of an account.
    pub(super) fn of(&self, account: &str) -> Vec<DialogState> {
        let calls = self.by_account.get(account).into_iter().flatten().filter_map(|key| self.calls.get(key)).flatten();
        calls.filter(|(whose, _)| whose == account).map(|(_, dialog)| dialog.clone()).collect()
    }
}

/// What the store was asked.
#[derive(Debug)]
pub(super) enum Asked {
    /// To keep a letter.
    Keep { delivery: DeliveryKey, account: String },
    /// What waits for an account, to deliver it.
    Deliver { account: String },
    /// The same, to tell the account that subscribes to it.
    Count { arrived: Box<Arrived>, account: String },
}

impl Beside {
    pub(super) fn new(domain: String) -> Self {
        Self {
            notifier: Notifier::new(domain, NotifierLimits::default()),
            messenger: Messenger::new(MessageLimits::default()),
            senders: BTreeMap::new(),
            asked: BTreeMap::new(),
            stirred: BTreeSet::new(),
            shown: Shown::default(),
        }
    }

    pub(super) fn poll_timeouts(&self) -> [Option<(Instant, &'static str)>; 2] {
        [self.notifier.poll_timeout(), self.messenger.poll_timeout()]
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.notifier.handle_timeout(now.mono);
        self.messenger.handle_timeout(now);
    }

    /// Messages under way, their senders that wait, and questions to the store.
    pub(super) fn messages(&self) -> usize {
        self.messenger.len() + self.senders.len() + self.asked.len()
    }
}

impl Engine {
    /// A request to one of the rooms, from one who is who it says it is. A SUBSCRIBE within its dialog names nobody anew.
    pub(super) fn look_up_beside(&mut self, now: Now, arrived: Arrived, sender: Sender, out: &mut Vec<Output>) {
        if arrived.request.to().is_ok_and(|to| to.tag().is_some()) {
            return self.on_subscribe_again(now, &arrived, &sender, out);
        }
        let Some(wanted) = arrived.request.request_uri().ok().and_then(|uri| uri.user_decoded()) else {
            return self.refuse(now, &arrived, 404, "Nobody is named", out);
        };
        self.ask(Waiting::Beside { arrived, sender }, wanted.to_lowercase(), out);
    }

    /// The directory says whom it named.
    pub(super) fn on_beside(
        &mut self,
        now: Now,
        arrived: Arrived,
        sender: &Sender,
        named: Option<Account>,
        out: &mut Vec<Output>,
    ) {
        let method = arrived.request.method();
        match (&sender.party, named) {
            (_, named) if method == Some(Method::Message) => self.on_message(now, arrived, sender, named, out),
            (Party::Peer(_), _) => self.refuse(now, &arrived, 403, "Only accounts watch and publish", out),
            (Party::Account(own), Some(named)) if method == Some(Method::Subscribe) => {
                self.on_subscribe(now, arrived, own, &named.name, out);
            }
            (Party::Account(own), Some(named)) if *own == named.name => self.on_publish(now, &arrived, own, out),
            (Party::Account(_), Some(_)) => self.refuse(now, &arrived, 403, "Not your address", out),
            (Party::Account(_), None) => self.refuse(now, &arrived, 404, "", out),
        }
    }

    /// Carries out what the rooms want done, after whatever has happened.
    pub(super) fn tend(&mut self, now: Now, out: &mut Vec<Output>) {
        self.show_calls(now);
        for account in self.registrar.take_changed() {
            let reachable = !self.registrar.bindings(&account).is_empty();
            self.beside.notifier.account_reachable(now.mono, &account, reachable);
        }
        while let Some(action) = self.beside.messenger.next_action() {
            self.carry_letter(now, action, out);
        }
        while let Some((key, flow)) = self.beside.notifier.next_due() {
            self.send_notify(now, key, flow, out);
        }
    }

    /// An account has registered over a flow: what waits for it can go there now.
    pub(super) fn reach_account(&mut self, now: Now, account: &str, flow: Flow) {
        let bindings = self.registrar.bindings(account);
        for instance in bindings.iter().filter(|b| b.flow == flow).filter_map(|b| b.instance.as_deref()) {
            self.beside.notifier.flow_moved(now.mono, account, instance, flow);
        }
        if !bindings.is_empty() {
            self.beside.messenger.available(account);
        }
    }

    /// The store has kept a letter, or has not.
    pub(super) fn on_kept(&mut self, now: Now, query: QueryId, kept: Result<Kept, KeepError>) {
        let Some(Asked::Keep { delivery, account }) = self.beside.asked.remove(&query) else { return };
        if let Ok(kept) = kept {
            self.beside.notifier.waiting_changed(now.mono, &account, kept.count, 0);
        }
        self.beside.messenger.on_kept(delivery, kept.map(|kept| kept.id));
    }

    /// The store says what waits for an account.
    pub(super) fn on_waiting(
        &mut self,
        now: Now,
        query: QueryId,
        waiting: Result<WaitingLetters, Unavailable>,
        out: &mut Vec<Output>,
    ) {
        let Some(asked) = self.beside.asked.remove(&query) else { return };
        let (Asked::Keep { account, .. } | Asked::Deliver { account } | Asked::Count { account, .. }) = &asked;
        if let Ok(waiting) = &waiting {
            self.beside.notifier.waiting_changed(now.mono, account, waiting.count, 0);
        }
        match asked {
            Asked::Keep { delivery, .. } => self.beside.messenger.on_kept(delivery, Err(KeepError::Unavailable)),
            Asked::Deliver { account } => self.beside.messenger.on_waiting(&account, waiting.ok()),
            Asked::Count { arrived, account } if waiting.is_ok() => self.subscribe(now, &arrived, &account, &account, out),
            Asked::Count { arrived, .. } => self.refuse(now, &arrived, 503, "Store not available", out),
        }
    }
}
