use std::collections::BTreeMap;

use super::KeptLetter;

/// What is known of an account's letters in the store; of one that is not listed nothing is known to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mailbox {
    /// The store is being asked for the next letter.
    Loading {
        /// The account has registered again meanwhile: a device more, perhaps.
        again: bool,
    },
    /// A letter is on its way to the account.
    Delivering {
        /// As above.
        again: bool,
    },
    /// Letters wait until the account registers.
    Waiting,
}

/// All mailboxes: at most one entry an account.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(BTreeMap<String, Mailbox>);

impl Mailboxes {
    /// Whether a new letter would overtake others.
    pub(super) fn has_letters(&self, account: &str) -> bool {
        self.0.contains_key(account)
    }

    /// The account has registered. True when the store is to be asked.
    pub(super) fn wanted(&mut self, account: &str) -> bool {
        match self.0.get_mut(account) {
            None | Some(Mailbox::Waiting) => {
                self.loads(account);
                true
            }
            Some(Mailbox::Loading { again } | Mailbox::Delivering { again }) => {
                *again = true;
                false
            }
        }
    }

    pub(super) fn loads(&mut self, account: &str) {
        self.0.insert(account.to_owned(), Mailbox::Loading { again: false });
    }

    /// The store has answered (none: it could not). Gives the letter to be delivered.
    pub(super) fn loaded(&mut self, account: &str, oldest: Option<Option<KeptLetter>>) -> Option<KeptLetter> {
        let again = match self.0.get(account) {
            Some(Mailbox::Loading { again }) => *again,
            Some(Mailbox::Waiting) if oldest == Some(None) => {
                self.0.remove(account);
                return None;
            }
            Some(Mailbox::Waiting | Mailbox::Delivering { .. }) | None => return None,
        };
        match oldest {
            None => {
                self.0.insert(account.to_owned(), Mailbox::Waiting);
                None
            }
            Some(None) => {
                self.0.remove(account);
                None
            }
            Some(Some(letter)) => {
                self.0.insert(account.to_owned(), Mailbox::Delivering { again });
                Some(letter)
            }
        }
    }

    /// No device takes the letter now. True when one may have come meanwhile: the store is to be asked.
    pub(super) fn stopped(&mut self, account: &str) -> bool {
        let again = matches!(self.0.get(account), Some(Mailbox::Delivering { again: true }));
        self.0.insert(account.to_owned(), if again { Mailbox::Loading { again: false } } else { Mailbox::Waiting });
        again
    }

    /// A letter was put into the store. True when the store is to be asked for the first one: the letter was kept because
    /// others waited, so they are tried again.
    pub(super) fn put(&mut self, account: &str, behind: bool) -> bool {
        let mailbox = self.0.entry(account.to_owned()).or_insert(Mailbox::Waiting);
        let tries = behind && *mailbox == Mailbox::Waiting;
        if tries {
            *mailbox = Mailbox::Loading { again: false };
        }
        tries
    }
}
