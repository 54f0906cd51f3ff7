use bytes::Bytes;

use super::KEPT_FOR;
use crate::base::Now;

/// "Somebody is typing" (RFC 3994): worthless a moment later.
const IS_COMPOSING: &str = "application/im-iscomposing+xml";

/// What one person writes to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// From toward the addressee, without tag: who the sender has proven to be.
    pub from: String,
    /// As it was sent, with its parameters.
    pub content_type: String,
    /// To the byte.
    pub body: Bytes,
    /// When it came, in ms since 1970.
    pub received_unix_ms: u64,
    /// When it is worth nothing any more.
    pub expires_unix_ms: u64,
}

impl Letter {
    /// A letter that came now, with its Expires if it has one.
    #[must_use]
    pub fn new(now: Now, from: String, content_type: String, body: Bytes, expires_secs: Option<u32>) -> Self {
        let received_unix_ms = now.unix_ms();
        let longest = u64::try_from(KEPT_FOR.as_millis()).expect("a month");
        let worth = if content_type.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case(IS_COMPOSING)) {
            0
        } else {
            expires_secs.map_or(longest, |secs| u64::from(secs) * 1_000).min(longest)
        };
        Self { from, content_type, body, received_unix_ms, expires_unix_ms: received_unix_ms + worth }
    }
}

/// A letter in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLetter {
    /// The store's name for it; later letters have higher ones.
    pub id: u64,
    /// The letter.
    pub letter: Letter,
}

/// What waits in the store for an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Waiting {
    /// The next one to be delivered.
    pub oldest: Option<KeptLetter>,
    /// How many there are.
    pub count: u32,
}

/// A letter is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Under this name.
    pub id: u64,
    /// With so many for the account, itself among them.
    pub count: u32,
}

/// Why the store has not kept a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepError {
    /// The account has [`super::MAX_KEPT`] already.
    Full,
    /// The store cannot be reached.
    Unavailable,
}
