/// The organisation's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotifierLimits {
    /// Shorter requests get 423.
    pub min_expires_secs: u32,
    /// Longer requests get this, as do those that name no time.
    pub max_expires_secs: u32,
    /// Subscriptions that one account may have.
    pub per_subscriber: usize,
    /// Subscriptions in all.
    pub subscriptions: usize,
    /// Documents that one account may have published.
    pub per_publisher: usize,
    /// Documents in all.
    pub publications: usize,
    /// Length of one.
    pub document_bytes: usize,
}

impl Default for NotifierLimits {
    fn default() -> Self {
        Self {
            min_expires_secs: 60,
            max_expires_secs: 3_600,
            per_subscriber: 200,
            subscriptions: 20_000,
            per_publisher: 4,
            publications: 20_000,
            document_bytes: 8_192,
        }
    }
}

/// Why a SUBSCRIBE or PUBLISH is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifierError {
    /// No Contact to notify, a document that is none: 400.
    Malformed,
    /// Somebody else's: 403.
    NotYours,
    /// The account has too many subscriptions: 403.
    TooManyOfYours,
    /// Our type is not accepted: 406.
    NotAcceptable,
    /// No such document: 412.
    ConditionFailed,
    /// The document is too long: 413.
    TooLarge,
    /// No presence document: 415.
    NoDocument,
    /// Too short: 423 with Min-Expires.
    TooBrief {
        /// What is the least.
        min_expires_secs: u32,
    },
    /// No such subscription: 481.
    NoSubscription,
    /// Not one of our packages: 489 with Allow-Events.
    BadEvent,
    /// A CSeq lower than one seen already: 500.
    OutOfOrder,
    /// Too many of all: 503.
    Full,
}

impl NotifierError {
    /// The status that it is answered with.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::NotYours | Self::TooManyOfYours => 403,
            Self::NotAcceptable => 406,
            Self::ConditionFailed => 412,
            Self::TooLarge => 413,
            Self::NoDocument => 415,
            Self::TooBrief { .. } => 423,
            Self::NoSubscription => 481,
            Self::BadEvent => 489,
            Self::OutOfOrder => 500,
            Self::Full => 503,
        }
    }
}
