//! The event notifier (RFC 6665): who watches whom, and what is told. Presence (RFC 3856, 3863), the state of dialogs
//! (RFC 4235), waiting messages (RFC 3842), and what accounts publish of themselves (RFC 3903).
//!
//! It owns subscriptions and publications and writes their documents. What it tells of comes by plain calls
//! ([`Notifier::account_reachable`], [`Notifier::dialogs_changed`], [`Notifier::waiting_changed`]); what it wants said is
//! taken by [`Notifier::next_due`] and written by [`Notifier::write`]. Who subscribes has been proven before it is asked.
//!
//! # Who may watch
//! Any account any account of the organisation: presence and that somebody is on the phone are what colleagues see in an
//! office too. With whom somebody talks, and which messages wait, is told to the account itself alone.
//!
//! # When a NOTIFY is sent
//! At once for each SUBSCRIBE; then for each change, one at a time: the next one waits for the answer to the last and then
//! for [`REST`] more, and what has changed meanwhile is told in one (RFC 4235 section 3.10 and RFC 3842 section 3.10 ask for
//! no more than one a second). `state.rs` has the table.
//!
//! # When a subscription ends
//! By its expiry, by its subscriber (`Expires: 0`), when a NOTIFY is answered 481 or so (RFC 5057 section 5.1), or when it
//! is not answered over UDP. A WebSocket that closes or falls silent ends nothing: the subscription waits until the same
//! instance of the same account registers over another flow (RFC 5626), and tells all then; or until it expires.
//!
//! # Limits
//! Subscriptions of one account ([`NotifierLimits::per_subscriber`]): 403. In all: 503. Documents that one account
//! publishes: the oldest makes room. In all: 503. Length of a document: 413. What one NOTIFY tells of calls: the first
//! [`MAX_DIALOGS`].

mod document;
mod limits;
mod package;
mod pidf;
mod publication;
mod state;
mod subscription;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use slotmap::SlotMap;

pub use document::{DialogState, Direction, Phase};
pub use limits::{NotifierError, NotifierLimits};
pub use package::{ALLOW_EVENTS, Package};

use crate::base::Deadlines;
use crate::signalling::dialog::{Dialog, DialogError};
use crate::signalling::flow::Flow;
use crate::wire::sip::{Message, Method};
use publication::Publications;
use state::{Act, Event, State};
use subscription::Subscription;

slotmap::new_key_type! {
    /// One subscription.
    pub struct SubscriptionKey;
}

/// A subscription rests for so long after each answer.
pub const REST: Duration = Duration::from_secs(1);
/// More calls of one account than this are not told of.
pub const MAX_DIALOGS: usize = 32;
/// The type that PUBLISH brings.
pub const PIDF: &str = "application/pidf+xml";
const MAX_FORWARDS: u8 = 70;

/// Who subscribes, and where it is.
#[derive(Debug, Clone)]
pub struct Watcher {
    /// The account that has proven itself.
    pub account: String,
    /// What its SUBSCRIBE came over.
    pub flow: Flow,
    /// `+sip.instance` of its binding over that flow, if it has one.
    pub instance: Option<String>,
}

/// A NOTIFY to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The whole request.
    pub bytes: Vec<u8>,
    /// Its CSeq number: an answer to any other is out of date.
    pub cseq: u32,
}

/// What is known of an account; one of which nothing is known has no entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct AccountState {
    reachable: bool,
    dialogs: Vec<DialogState>,
    /// New and old.
    waiting: (u32, u32),
}

#[derive(Debug)]
enum Due {
    Expires(SubscriptionKey),
    Rest(SubscriptionKey),
    Publication { account: String, tag: String },
}

/// All subscriptions and publications.
pub struct Notifier {
    limits: NotifierLimits,
    domain: String,
    subscriptions: SlotMap<SubscriptionKey, Subscription>,
    by_tag: BTreeMap<String, SubscriptionKey>,
    by_subscriber: BTreeMap<String, BTreeSet<SubscriptionKey>>,
    watchers: BTreeMap<(Package, String), BTreeSet<SubscriptionKey>>,
    accounts: BTreeMap<String, AccountState>,
    publications: Publications,
    deadlines: Deadlines<Due>,
    due: VecDeque<SubscriptionKey>,
}

impl Notifier {
    /// Nobody watches anybody of `domain`.
    #[must_use]
    pub fn new(domain: String, limits: NotifierLimits) -> Self {
        Self {
            limits,
            domain,
            subscriptions: SlotMap::with_key(),
            by_tag: BTreeMap::new(),
            by_subscriber: BTreeMap::new(),
            watchers: BTreeMap::new(),
            accounts: BTreeMap::new(),
            publications: Publications::default(),
            deadlines: Deadlines::default(),
            due: VecDeque::new(),
        }
    }

    /// Seconds that a request shall hold, by our limits; `Ok(0)` ends or fetches.
    fn expires_of(&self, request: &Message) -> Result<u32, NotifierError> {
        let asked = request.expires_secs().unwrap_or(self.limits.max_expires_secs);
        if asked > 0 && asked < self.limits.min_expires_secs {
            return Err(NotifierError::TooBrief { min_expires_secs: self.limits.min_expires_secs });
        }
        Ok(asked.min(self.limits.max_expires_secs))
    }

    /// A SUBSCRIBE that makes a dialog, whose tag of ours shall be `tag`. Gives the seconds for the 200; its NOTIFY is due.
    ///
    /// # Errors
    /// See [`NotifierError`]; nothing was changed.
    pub fn subscribe(
        &mut self,
        now: Instant,
        request: &Message,
        watcher: Watcher,
        watched: &str,
        tag: String,
    ) -> Result<u32, NotifierError> {
        let (package, event_id) = Package::of(request).ok_or(NotifierError::BadEvent)?;
        if !package.is_accepted_by(request) {
            return Err(NotifierError::NotAcceptable);
        }
        if package == Package::MessageSummary && watcher.account != watched {
            return Err(NotifierError::NotYours);
        }
        let expires_secs = self.expires_of(request)?;
        if self.by_subscriber.get(&watcher.account).is_some_and(|keys| keys.len() >= self.limits.per_subscriber) {
            return Err(NotifierError::TooManyOfYours);
        }
        if self.subscriptions.len() >= self.limits.subscriptions {
            return Err(NotifierError::Full);
        }
        let dialog = Dialog::from_invite(request, tag.clone()).map_err(|_| NotifierError::Malformed)?;
        let expires_at = now + Duration::from_secs(u64::from(expires_secs));
        let (deadlines, account) = (&mut self.deadlines, watcher.account.clone());
        let key = self.subscriptions.insert_with_key(|key| Subscription {
            package,
            event_id,
            watched: watched.to_owned(),
            subscriber: watcher.account,
            instance: watcher.instance,
            flow: watcher.flow,
            dialog,
            expires_at,
            expires: deadlines.arm(expires_at, Due::Expires(key), "subscription expires"),
            rest: None,
            version: 0,
            ended: Vec::new(),
            state: State::Quiet,
        });
        self.by_tag.insert(tag, key);
        self.by_subscriber.entry(account).or_default().insert(key);
        self.watchers.entry((package, watched.to_owned())).or_default().insert(key);
        // To ask for nothing but the present state is to subscribe for no time (RFC 6665 section 4.4.3).
        self.fire(now, key, if expires_secs == 0 { Event::Ended } else { Event::Refreshed });
        Ok(expires_secs)
    }

    /// A SUBSCRIBE within a dialog: it extends the subscription, or ends it. Gives the seconds for the 200.
    ///
    /// # Errors
    /// See [`NotifierError`]; nothing was changed.
    pub fn refresh(&mut self, now: Instant, request: &Message, watcher: &Watcher) -> Result<u32, NotifierError> {
        let expires_secs = self.expires_of(request)?;
        let (package, event_id) = Package::of(request).ok_or(NotifierError::BadEvent)?;
        let tag = request.to().ok().and_then(|to| to.tag()).ok_or(NotifierError::NoSubscription)?;
        let key = *self.by_tag.get(tag).ok_or(NotifierError::NoSubscription)?;
        let subscription = &mut self.subscriptions[key];
        let ended = matches!(subscription.state, State::Last | State::InFlightEnded);
        if ended || (package, &event_id) != (subscription.package, &subscription.event_id) {
            return Err(NotifierError::NoSubscription);
        }
        if subscription.subscriber != watcher.account {
            return Err(NotifierError::NotYours);
        }
        subscription.dialog.receive(request).map_err(|error| match error {
            DialogError::NotThisDialog => NotifierError::NoSubscription,
            DialogError::OutOfOrder => NotifierError::OutOfOrder,
        })?;
        subscription.dialog.refresh_target(request);
        let moved = subscription.flow != watcher.flow;
        subscription.flow = watcher.flow;
        subscription.instance = watcher.instance.clone().or_else(|| subscription.instance.take());
        subscription.expires_at = now + Duration::from_secs(u64::from(expires_secs));
        self.deadlines.disarm(subscription.expires);
        subscription.expires = self.deadlines.arm(subscription.expires_at, Due::Expires(key), "subscription expires");
        let in_flight = matches!(subscription.state, State::InFlight | State::InFlightDirty);
        let event = match expires_secs {
            0 => Event::Ended,
            _ if moved && in_flight => Event::Moved,
            _ => Event::Refreshed,
        };
        self.fire(now, key, event);
        Ok(expires_secs)
    }

    /// Whether an account has a binding.
    pub fn account_reachable(&mut self, now: Instant, account: &str, reachable: bool) {
        let before = self.presence_of(account);
        self.update(account, |state| state.reachable = reachable);
        self.presence_changed(now, account, &before);
    }

    /// All calls of an account as they are now; one that is there no more has ended.
    pub fn dialogs_changed(&mut self, now: Instant, account: &str, dialogs: &[DialogState]) {
        let before = self.presence_of(account);
        let live: Vec<DialogState> = dialogs.iter().filter(|d| d.phase != Phase::Terminated).take(MAX_DIALOGS).cloned().collect();
        let old = self.accounts.get(account).map(|state| state.dialogs.clone()).unwrap_or_default();
        if old == live {
            return;
        }
        let gone = old.into_iter().filter(|o| !live.iter().any(|l| l.id == o.id));
        let gone: Vec<DialogState> = gone.map(|o| DialogState { phase: Phase::Terminated, ..o }).collect();
        self.update(account, |state| state.dialogs = live);
        for key in self.watchers_of(Package::Dialog, account) {
            let ended = &mut self.subscriptions[key].ended;
            ended.extend_from_slice(&gone[..gone.len().min(MAX_DIALOGS.saturating_sub(ended.len()))]);
            self.fire(now, key, Event::Changed);
        }
        self.presence_changed(now, account, &before);
    }

    /// How many messages wait for an account: new ones, and old ones.
    pub fn waiting_changed(&mut self, now: Instant, account: &str, new: u32, old: u32) {
        if self.accounts.get(account).map(|state| state.waiting).unwrap_or_default() == (new, old) {
            return;
        }
        self.update(account, |state| state.waiting = (new, old));
        for key in self.watchers_of(Package::MessageSummary, account) {
            self.fire(now, key, Event::Changed);
        }
    }

    fn update(&mut self, account: &str, change: impl FnOnce(&mut AccountState)) {
        let mut state = self.accounts.remove(account).unwrap_or_default();
        change(&mut state);
        if state != AccountState::default() {
            self.accounts.insert(account.to_owned(), state);
        }
    }

    fn watchers_of(&self, package: Package, account: &str) -> Vec<SubscriptionKey> {
        self.watchers.get(&(package, account.to_owned())).into_iter().flatten().copied().collect()
    }

    /// An account has registered an instance over a flow: subscriptions of that instance are told over it from now on.
    pub fn flow_moved(&mut self, now: Instant, account: &str, instance: &str, flow: Flow) {
        for key in self.by_subscriber.get(account).cloned().unwrap_or_default() {
            let subscription = &mut self.subscriptions[key];
            if subscription.flow == flow {
                subscription.instance.get_or_insert_with(|| instance.to_owned());
            } else if subscription.instance.as_deref() != Some(instance) {
                continue;
            }
            let moved = subscription.flow != flow || subscription.state == State::Cut;
            subscription.flow = flow;
            if moved {
                self.fire(now, key, Event::Moved);
            }
        }
    }

    /// A flow is gone. What was on its way over it will not be answered, and is no business of [`Notifier::on_silence`].
    pub fn flow_closed(&mut self, now: Instant, flow: Flow) {
        let cut: Vec<SubscriptionKey> = self.subscriptions.iter().filter(|(_, s)| s.flow == flow).map(|(key, _)| key).collect();
        for key in cut {
            self.fire(now, key, Event::Cut);
        }
    }

    /// A NOTIFY was answered.
    pub fn on_response(&mut self, now: Instant, key: SubscriptionKey, cseq: u32, status: u16) {
        // RFC 5057 section 5.1: these say that there is no such subscription, others that this NOTIFY was not understood.
        let gone = matches!(status, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604);
        self.on_outcome(now, key, cseq, if gone { Event::Gone } else { Event::Answered });
    }

    /// A NOTIFY was not answered. A WebSocket may be dead long before it is known to be.
    pub fn on_silence(&mut self, now: Instant, key: SubscriptionKey, cseq: u32) {
        let reliable = self.subscriptions.get(key).is_some_and(|s| s.flow.is_reliable());
        self.on_outcome(now, key, cseq, if reliable { Event::Cut } else { Event::Gone });
    }

    fn on_outcome(&mut self, now: Instant, key: SubscriptionKey, cseq: u32, event: Event) {
        if self.subscriptions.get(key).is_some_and(|s| s.dialog.local_seq == cseq) {
            self.fire(now, key, event);
        }
    }

    fn fire(&mut self, now: Instant, key: SubscriptionKey, event: Event) {
        let Some(subscription) = self.subscriptions.get_mut(key) else { return };
        let (next, acts) = state::on(subscription.state, event);
        subscription.state = next;
        for act in acts {
            match act {
                Act::Notify => self.due.push_back(key),
                Act::Rest => {
                    let rest = self.deadlines.arm(now + REST, Due::Rest(key), "notify again");
                    self.subscriptions[key].rest = Some(rest);
                }
                Act::Rise => {
                    if let Some(rest) = self.subscriptions[key].rest.take() {
                        self.deadlines.disarm(rest);
                    }
                }
                Act::Forget => self.forget(key),
            }
        }
    }

    fn forget(&mut self, key: SubscriptionKey) {
        let Some(gone) = self.subscriptions.remove(key) else { return };
        self.deadlines.disarm(gone.expires);
        if let Some(rest) = gone.rest {
            self.deadlines.disarm(rest);
        }
        self.by_tag.remove(&gone.dialog.local_tag);
        remove_from(&mut self.by_subscriber, &gone.subscriber, key);
        remove_from(&mut self.watchers, &(gone.package, gone.watched), key);
    }

    /// The next subscription that has something to be told, and over which flow; to be followed by [`Notifier::write`].
    pub fn next_due(&mut self) -> Option<(SubscriptionKey, Flow)> {
        while let Some(key) = self.due.pop_front() {
            let due = self.subscriptions.get(key).filter(|s| matches!(s.state, State::InFlight | State::Last));
            if let Some(subscription) = due {
                return Some((key, subscription.flow));
            }
        }
        None
    }

    /// Writes the NOTIFY that is due: all that there is to know now.
    pub fn write(&mut self, now: Instant, key: SubscriptionKey, via: &str, contact: &str) -> Option<Notice> {
        let watched = self.subscriptions.get(key)?.watched.clone();
        let presence = self.presence_of(&watched);
        let (subscription, account) = (&mut self.subscriptions[key], self.accounts.get(&watched));
        let body = match subscription.package {
            Package::Presence => document::pidf(&watched, &self.domain, &presence),
            Package::Dialog => {
                let version = subscription.version;
                subscription.version += 1;
                let ended = std::mem::take(&mut subscription.ended);
                let dialogs = account.into_iter().flat_map(|state| &state.dialogs).chain(&ended).take(MAX_DIALOGS);
                document::dialog_info(&watched, &self.domain, version, dialogs, subscription.is_own())
            }
            Package::MessageSummary => {
                let waiting = account.map(|state| state.waiting).unwrap_or_default();
                document::message_summary(&watched, &self.domain, waiting)
            }
        };
        let (event, state) = (subscription.event_value(), subscription.state_value(now));
        let bytes = subscription
            .dialog
            .request(Method::Notify, via, MAX_FORWARDS)
            .header("Contact", contact)
            .header("Event", event)
            .header("Subscription-State", state)
            .body(subscription.package.content_type(), body.as_bytes());
        Some(Notice { bytes, cseq: subscription.dialog.local_seq })
    }

    /// The earliest deadline and its name.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.next()
    }

    /// Ends what has expired, and wakes what has rested.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due) = self.deadlines.pop_due(now) {
            match due {
                Due::Expires(key) => self.fire(now, key, Event::Ended),
                Due::Rest(key) => {
                    if let Some(subscription) = self.subscriptions.get_mut(key) {
                        subscription.rest = None;
                    }
                    self.fire(now, key, Event::Rested);
                }
                Due::Publication { account, tag } => {
                    let before = self.presence_of(&account);
                    self.publications.take(&account, &tag);
                    self.presence_changed(now, &account, &before);
                }
            }
        }
    }

    /// How many subscriptions and publications there are.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.subscriptions.len(), self.publications.len())
    }

    /// Whether there is neither subscription nor publication, and nothing is known of any account.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0) && self.accounts.is_empty()
    }
}

fn remove_from<K: Ord>(index: &mut BTreeMap<K, BTreeSet<SubscriptionKey>>, at: &K, key: SubscriptionKey) {
    if let Some(keys) = index.get_mut(at) {
        keys.remove(&key);
        if keys.is_empty() {
            index.remove(at);
        }
    }
}

#[cfg(test)]
mod tests;
