use std::fmt;

use crate::plan::{LegFailure, Side};

/// Why leg B was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegError {
    /// It answered with this status, 300 to 699.
    Status(u16),
    /// It answered nothing (timer B), or its flow closed.
    NoResponse,
}

/// Why a call ended: each cause by name, one table to a SIP status, one to words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// A leg said BYE.
    HungUp(Side),
    /// The caller gave up before the answer.
    Cancelled,
    /// Leg B refused or was not reached.
    Refused(LegError),
    /// It rang until the time was over.
    NoAnswer,
    /// A 2xx of ours was never acknowledged.
    NoAck(Side),
    /// Leg B's description cannot be used.
    NoCommonMedia,
    /// Media had no room.
    NoMedia,
    /// Media broke.
    MediaFailed(Side, LegFailure),
    /// The media session broke and is gone.
    MediaLost,
    /// A WebSocket closed and did not come back.
    FlowClosed(Side),
    /// The gateway is stopping.
    ShuttingDown,
}

/// The status and phrase that a caller who has no answer yet is told.
#[must_use]
pub fn status_for(ending: Ending) -> (u16, &'static str) {
    match ending {
        Ending::Cancelled => (487, ""),
        Ending::Refused(error) => refused(error),
        Ending::NoAnswer => (480, "No answer"),
        Ending::HungUp(_) | Ending::NoAck(_) | Ending::FlowClosed(_) => (480, ""),
        Ending::NoCommonMedia => (488, "The other side's media cannot be used"),
        Ending::NoMedia => (503, "No room for media"),
        Ending::MediaFailed(..) | Ending::MediaLost => (500, "Media failed"),
        Ending::ShuttingDown => (503, "Shutting down"),
    }
}

/// What leg B said, as leg A may be told it (RFC 3261 section 16.7, for a B2BUA that is the end of both dialogs).
fn refused(error: LegError) -> (u16, &'static str) {
    match error {
        LegError::NoResponse => (408, "The called device does not respond"),
        LegError::Status(status) => match status {
            // Not followed: the caller must not be sent elsewhere by a peer.
            300..400 => (480, "Redirected"),
            // The peer wants credentials that the gateway does not have; the caller's would be the wrong ones.
            401 | 407 => (502, "The called side asks for a password"),
            // Between the gateway and the peer; it means nothing to the caller's own transaction.
            481 | 482 | 487 | 491 => (480, ""),
            // A caller that hears 503 turns away from the whole gateway.
            503 => (500, "The called side is overloaded"),
            400..=699 => (status, ""),
            _ => (500, ""),
        },
    }
}

impl Ending {
    /// For the record: `hung up by alice`.
    #[must_use]
    pub fn in_words(self, a: &str, b: &str) -> String {
        let who = |side| match side {
            Side::A => a,
            Side::B => b,
        };
        match self {
            Self::HungUp(side) => format!("hung up by {}", who(side)),
            Self::Cancelled => format!("{a} gave up"),
            Self::Refused(LegError::NoResponse) => format!("{b} does not respond"),
            Self::Refused(LegError::Status(486 | 600)) => format!("{b} is busy"),
            Self::Refused(LegError::Status(603)) => format!("{b} declined"),
            Self::Refused(LegError::Status(status)) => format!("{b} refused ({status})"),
            Self::NoAnswer => "no answer".to_owned(),
            Self::NoAck(side) => format!("{} did not acknowledge the answer", who(side)),
            Self::NoCommonMedia => format!("no media in common with {b}"),
            Self::NoMedia => "no room for media".to_owned(),
            Self::MediaFailed(side, cause) => format!("media of {} failed: {}", who(side), Words(cause)),
            Self::MediaLost => "the media session broke".to_owned(),
            Self::FlowClosed(side) => format!("{}'s websocket closed", who(side)),
            Self::ShuttingDown => "the gateway stopped".to_owned(),
        }
    }
}

/// A media failure in words.
pub(super) struct Words(pub(super) LegFailure);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            LegFailure::FingerprintMismatch => "its certificate is not the one that its SDP promised",
            LegFailure::Dtls => "the DTLS handshake broke",
            LegFailure::DtlsClosed => "it closed its connection",
            LegFailure::IceTimeout => "its connectivity checks stopped or never came",
        })
    }
}
