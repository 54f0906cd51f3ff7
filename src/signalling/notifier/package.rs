use crate::wire::sip::{HeaderName, Message, Params};

/// What the gateway notifies of: the packages of a 489's Allow-Events.
pub const ALLOW_EVENTS: &str = "presence, dialog, message-summary";

/// An event package (RFC 6665 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Package {
    /// RFC 3856: can someone be reached, and does he talk.
    Presence,
    /// RFC 4235: the calls of an account.
    Dialog,
    /// RFC 3842: are there messages for it.
    MessageSummary,
}

impl Package {
    /// As Event names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Dialog => "dialog",
            Self::MessageSummary => "message-summary",
        }
    }

    /// The one type of body that its NOTIFYs have.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Presence => "application/pidf+xml",
            Self::Dialog => "application/dialog-info+xml",
            Self::MessageSummary => "application/simple-message-summary",
        }
    }

    /// The package and `id` of a request's Event (RFC 6665 section 8.2.1); none when it names none of ours.
    #[must_use]
    pub fn of(request: &Message) -> Option<(Self, Option<String>)> {
        let value = request.line_named("Event").or_else(|| request.line_named("o"))?;
        let (name, params) = value.split_at(value.iter().position(|&b| b == b';').unwrap_or(value.len()));
        let name = name.trim_ascii();
        let package = [Self::Presence, Self::Dialog, Self::MessageSummary].into_iter().find(|p| name == p.name().as_bytes())?;
        let id = Params::parse(params).ok()?.text("id").map(str::to_owned);
        Some((package, id))
    }

    /// Whether a SUBSCRIBE's sender can read our body; one that says nothing reads its package's default, which is ours.
    pub(super) fn is_accepted_by(self, request: &Message) -> bool {
        let mut said = false;
        for range in request.values(HeaderName::Accept).flatten() {
            said = true;
            let range = range.split(|&b| b == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
            if range == self.content_type().as_bytes() || range == b"application/*" || range == b"*/*" {
                return true;
            }
        }
        !said
    }
}
