//! Messages between people (RFC 3428, pager mode): forwarded to every device of the addressee, or kept until it registers.
//!
//! A letter's words are never looked at: body and Content-Type go on to the byte. The [`Messenger`] decides and counts; it
//! writes no SIP and knows no flow. It takes events by plain calls and leaves [`Action`]s to be carried out.
//!
//! # What a sender hears
//! | answer | when |
//! |---|---|
//! | 200 | a device of the addressee has it, or the peer that the dialplan names |
//! | 202 | it is kept: no device that knows MESSAGE was there, or none took it within [`ANSWER_WITHIN`], or others wait before it |
//! | the device's own 4xx or 6xx | every device refused it for good (415, 488, 603): to keep it would not help |
//! | 413 | its body is longer than [`MessageLimits::body_bytes`] |
//! | 480 | it may not be kept (it has expired, or says that somebody is typing, RFC 3994), or the mailbox is full |
//! | 503 | its sender has too many messages under way, or there are too many of all, or the store cannot be reached |
//! | 504 | the peer did not answer in time |
//!
//! # What is kept
//! One at a time and in the order in which they came, letters go to the account when it registers: the next one when the
//! last was taken. A letter leaves the store when a device has taken it, when every device refuses it for good (it is
//! logged as undeliverable: it would hold up all that wait behind it), or when it is too old ([`KEPT_FOR`], or its own
//! Expires). As long as letters wait, new ones are kept behind them, so none overtakes another.
//!
//! No letter is lost by this room; one may arrive twice, when a device takes it but its answer is lost for good.

mod letter;
mod mailbox;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use slotmap::SlotMap;

use crate::base::{DeadlineKey, Deadlines, Now};
use mailbox::Mailboxes;

pub use letter::{KeepError, Kept, KeptLetter, Letter, Waiting};

slotmap::new_key_type! {
    /// One letter on its way.
    pub struct DeliveryKey;
}

/// Longer than this no sender is left without an answer: its own patience ends after 32 s (RFC 3261 timer F).
pub const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// A letter is kept for so long, or shorter if its Expires says so.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);
/// An account has at most so many letters in the store; the next is answered 480.
pub const MAX_KEPT: u32 = 500;

/// The organisation's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimits {
    /// Longer bodies get 413.
    pub body_bytes: usize,
    /// Letters that one sender may have under way.
    pub per_sender: usize,
    /// Letters under way in all.
    pub under_way: usize,
}

impl Default for MessageLimits {
    fn default() -> Self {
        Self { body_bytes: 16_384, per_sender: 20, under_way: 5_000 }
    }
}

/// Why a MESSAGE is refused before it is a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageError {
    /// Too long: 413.
    TooLarge,
    /// Its sender has too many under way: 503.
    TooManyOfYours,
    /// There are too many of all: 503.
    Full,
}

/// To whom a letter goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// To all its devices.
    Account(String),
    /// To a PBX or trunk, by number.
    Peer {
        /// Its name.
        peer: String,
        /// Whom it shall give it to.
        number: String,
    },
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send it to all devices; then say how many there were ([`Messenger::sent`]).
    Send(DeliveryKey),
    /// Answer its sender.
    Answer {
        /// Whose letter.
        delivery: DeliveryKey,
        /// The status.
        status: u16,
        /// In words, if the status' own are not enough.
        reason: &'static str,
    },
    /// Put it into the store; to be followed by [`Messenger::on_kept`].
    Keep(DeliveryKey),
    /// Ask the store what waits for an account; to be followed by [`Messenger::on_waiting`].
    Load {
        /// The account.
        account: String,
    },
    /// Remove a letter from the store and ask what waits then.
    Drop {
        /// The account.
        account: String,
        /// The letter.
        id: u64,
    },
}

/// How far a letter has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is sent, and its sender waits.
    Forwarding,
    /// It is being put into the store.
    Keeping,
    /// And a device has taken it after all.
    KeepingTaken,
    /// Its sender has been told that it is kept; a device may take it still.
    Kept(u64),
    /// It comes from the store.
    Redelivering(u64),
}

struct Delivery {
    to: Addressee,
    letter: Letter,
    state: State,
    /// Who sent it; none when it comes from the store.
    sender: Option<String>,
    /// Devices that have not answered yet.
    left: usize,
    /// How a device refused it for good.
    refused: Option<u16>,
    /// Some device may take it later.
    later: bool,
    /// It was kept because others wait before it.
    behind: bool,
    answer_by: Option<DeadlineKey>,
}

/// All letters under way.
pub struct Messenger {
    limits: MessageLimits,
    deliveries: SlotMap<DeliveryKey, Delivery>,
    senders: BTreeMap<String, usize>,
    mailboxes: Mailboxes,
    deadlines: Deadlines<DeliveryKey>,
    actions: VecDeque<Action>,
}

/// A refusal of these words that no later attempt changes; any other may be due to the moment. A device that knows no
/// MESSAGE (405, 501), or wants a password of us, is as good as none: the next one that registers may be a browser.
fn is_for_good(status: u16) -> bool {
    matches!(status, 400 | 403 | 406 | 413..=416 | 420 | 488 | 493 | 505 | 513 | 600..)
}

impl Messenger {
    /// No letter is under way.
    #[must_use]
    pub fn new(limits: MessageLimits) -> Self {
        Self {
            limits,
            deliveries: SlotMap::with_key(),
            senders: BTreeMap::new(),
            mailboxes: Mailboxes::default(),
            deadlines: Deadlines::default(),
            actions: VecDeque::new(),
        }
    }

    /// Takes a letter on; its sender is answered by an [`Action`].
    ///
    /// # Errors
    /// See [`MessageError`].
    pub fn accept(&mut self, now: Now, sender: &str, to: Addressee, letter: Letter) -> Result<DeliveryKey, MessageError> {
        if letter.body.len() > self.limits.body_bytes {
            return Err(MessageError::TooLarge);
        }
        if self.senders.get(sender).is_some_and(|under_way| *under_way >= self.limits.per_sender) {
            return Err(MessageError::TooManyOfYours);
        }
        if self.deliveries.len() >= self.limits.under_way {
            return Err(MessageError::Full);
        }
        *self.senders.entry(sender.to_owned()).or_default() += 1;
        let behind = matches!(&to, Addressee::Account(account) if self.mailboxes.has_letters(account));
        let (deadlines, by) = (&mut self.deadlines, now.mono + ANSWER_WITHIN);
        let key = self.deliveries.insert_with_key(|key| Delivery {
            to,
            letter,
            state: State::Forwarding,
            sender: Some(sender.to_owned()),
            left: 0,
            refused: None,
            later: false,
            behind,
            answer_by: Some(deadlines.arm(by, key, "message not answered")),
        });
        if behind {
            self.keep(now, key);
        } else {
            self.actions.push_back(Action::Send(key));
        }
        Ok(key)
    }

    /// What is to be done next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// To whom a letter goes, and what it says.
    #[must_use]
    pub fn letter(&self, key: DeliveryKey) -> Option<(&Addressee, &Letter)> {
        self.deliveries.get(key).map(|delivery| (&delivery.to, &delivery.letter))
    }

    /// A letter was sent to so many devices.
    pub fn sent(&mut self, now: Now, key: DeliveryKey, devices: usize) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        delivery.left = devices;
        if devices == 0 {
            delivery.later = true;
            self.exhausted(now, key);
        }
    }

    /// A device has answered, or has not: 408.
    pub fn on_response(&mut self, now: Now, key: DeliveryKey, status: u16) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        match status {
            0..200 => {}
            200..300 => self.taken(key),
            _ => {
                delivery.left = delivery.left.saturating_sub(1);
                if is_for_good(status) {
                    delivery.refused = Some(status);
                } else {
                    delivery.later = true;
                    // A peer's own words are passed on.
                    delivery.refused.get_or_insert(status);
                }
                if delivery.left == 0 {
                    self.exhausted(now, key);
                }
            }
        }
    }

    fn taken(&mut self, key: DeliveryKey) {
        let delivery = &mut self.deliveries[key];
        match delivery.state {
            State::Forwarding => self.answer(key, 200, ""),
            State::Keeping => delivery.state = State::KeepingTaken,
            State::KeepingTaken => {}
            State::Kept(id) => {
                self.unkeep(key, id);
                self.forget(key);
            }
            State::Redelivering(id) => self.next_letter(key, id),
        }
    }

    /// No device is left that might take it.
    fn exhausted(&mut self, now: Now, key: DeliveryKey) {
        let delivery = &self.deliveries[key];
        let (later, refused) = (delivery.later, delivery.refused);
        match (delivery.state, &delivery.to) {
            (State::Forwarding, Addressee::Peer { .. }) => self.answer(key, for_sender(refused.unwrap_or(480)), ""),
            (State::Forwarding, Addressee::Account(_)) if later => self.keep(now, key),
            (State::Forwarding, Addressee::Account(_)) => self.answer(key, for_sender(refused.unwrap_or(480)), ""),
            (State::Keeping | State::KeepingTaken, _) => {}
            (State::Kept(_), _) => self.forget(key),
            (State::Redelivering(_), Addressee::Account(account)) if later => {
                if self.mailboxes.stopped(account) {
                    self.actions.push_back(Action::Load { account: account.clone() });
                }
                self.forget(key);
            }
            (State::Redelivering(id), _) => {
                tracing::warn!(id, status = refused, "a message that nobody takes is removed");
                self.next_letter(key, id);
            }
        }
    }

    /// Waits for the store, or refuses what must not wait.
    fn keep(&mut self, now: Now, key: DeliveryKey) {
        let delivery = &mut self.deliveries[key];
        if delivery.letter.expires_unix_ms <= now.unix_ms() {
            return self.answer(key, 480, "");
        }
        delivery.state = State::Keeping;
        self.actions.push_back(Action::Keep(key));
    }

    /// The store has kept a letter under this id, or has not.
    pub fn on_kept(&mut self, key: DeliveryKey, kept: Result<u64, KeepError>) {
        let Some(delivery) = self.deliveries.get_mut(key) else { return };
        let (left, taken, behind) = (delivery.left, delivery.state == State::KeepingTaken, delivery.behind);
        match (kept, taken) {
            (Ok(id), true) => {
                self.unkeep(key, id);
                self.answer(key, 200, "");
            }
            (Err(_), true) => self.answer(key, 200, ""),
            (Err(KeepError::Full), false) => self.answer(key, 480, "Mailbox full"),
            (Err(KeepError::Unavailable), false) => self.answer(key, 503, "Message cannot be kept"),
            (Ok(id), false) => {
                if let Addressee::Account(account) = &delivery.to
                    && self.mailboxes.put(account, behind)
                {
                    self.actions.push_back(Action::Load { account: account.clone() });
                }
                self.actions.push_back(Action::Answer { delivery: key, status: 202, reason: "" });
                self.answered(key);
                self.deliveries[key].state = State::Kept(id);
                if left == 0 {
                    self.forget(key);
                }
            }
        }
    }

    fn unkeep(&mut self, key: DeliveryKey, id: u64) {
        if let Addressee::Account(account) = &self.deliveries[key].to {
            self.actions.push_back(Action::Drop { account: account.clone(), id });
        }
    }

    fn next_letter(&mut self, key: DeliveryKey, id: u64) {
        if let Addressee::Account(account) = &self.deliveries[key].to {
            self.mailboxes.loads(account);
        }
        self.unkeep(key, id);
        self.forget(key);
    }

    /// An account has registered: what waits for it goes out.
    pub fn available(&mut self, account: &str) {
        if self.mailboxes.wanted(account) {
            self.actions.push_back(Action::Load { account: account.to_owned() });
        }
    }

    /// The store says what waits for an account; none when it cannot be asked.
    pub fn on_waiting(&mut self, account: &str, waiting: Option<Waiting>) {
        let oldest = waiting.map(|waiting| waiting.oldest);
        let Some(kept) = self.mailboxes.loaded(account, oldest) else { return };
        let key = self.deliveries.insert(Delivery {
            to: Addressee::Account(account.to_owned()),
            letter: kept.letter,
            state: State::Redelivering(kept.id),
            sender: None,
            left: 0,
            refused: None,
            later: false,
            behind: false,
            answer_by: None,
        });
        self.actions.push_back(Action::Send(key));
    }

    /// The final answer of a letter that is done with.
    fn answer(&mut self, key: DeliveryKey, status: u16, reason: &'static str) {
        self.actions.push_back(Action::Answer { delivery: key, status, reason });
        self.forget(key);
    }

    /// Its sender waits no more.
    fn answered(&mut self, key: DeliveryKey) {
        let delivery = &mut self.deliveries[key];
        if let Some(deadline) = delivery.answer_by.take() {
            self.deadlines.disarm(deadline);
        }
        if let Some(sender) = delivery.sender.take()
            && let Some(under_way) = self.senders.get_mut(&sender)
        {
            *under_way -= 1;
            if *under_way == 0 {
                self.senders.remove(&sender);
            }
        }
    }

    fn forget(&mut self, key: DeliveryKey) {
        self.answered(key);
        self.deliveries.remove(key);
    }

    /// The earliest deadline and its name.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.next()
    }

    /// Answers senders that have waited long enough.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(key) = self.deadlines.pop_due(now.mono) {
            let Some(delivery) = self.deliveries.get_mut(key) else { continue };
            delivery.answer_by = None;
            match (delivery.state, &delivery.to) {
                (State::Forwarding, Addressee::Peer { .. }) => self.answer(key, 504, ""),
                (State::Forwarding, Addressee::Account(_)) => self.keep(now, key),
                // The store will answer.
                (State::Keeping | State::KeepingTaken | State::Kept(_) | State::Redelivering(_), _) => {}
            }
        }
    }

    /// How many letters are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }
}

/// What a device's refusal is to the sender: that it wanted a password of us is nothing that the sender could give.
fn for_sender(status: u16) -> u16 {
    if matches!(status, 401 | 407) { 502 } else { status }
}

#[cfg(test)]
mod tests;
