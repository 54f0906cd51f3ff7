use std::fmt;
use std::sync::Arc;

use super::ring::Failure;
use crate::plan::LegFailure;

/// Why leg B was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegError {
    /// It answered with this status, 300 to 699.
    Status(u16),
    /// It answered nothing (timer B), or its flow closed.
    NoResponse,
}

/// Why a call ended: each cause by name, one table to a SIP status, one to words. Names are those of [`super::Leg::who`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A leg said BYE.
    HungUp(Arc<str>),
    /// The caller gave up before the answer.
    Cancelled,
    /// Nobody answered.
    Failed(Failure),
    /// A 2xx of ours was never acknowledged.
    NoAck(Arc<str>),
    /// The descriptions do not fit.
    NoCommonMedia,
    /// Media had no room.
    NoMedia,
    /// Media broke.
    MediaFailed(Arc<str>, LegFailure),
    /// A media leg broke and is gone.
    MediaLost,
    /// A WebSocket closed and did not come back.
    FlowClosed(Arc<str>),
    /// A session was not refreshed in time (RFC 4028 section 10).
    NotRefreshed(Arc<str>),
    /// A peer knows nothing of the dialog any more (481 or silence: RFC 3261 section 12.2.1.2).
    DialogGone(Arc<str>),
    /// This one handed the other over to a third.
    Transferred(Arc<str>),
    /// The one who transferred has gone, and whom it transferred to did not answer.
    TransferFailed(Failure),
    /// The gateway is stopping.
    ShuttingDown,
}

/// The status and phrase that a caller who has no answer yet is told.
#[must_use]
pub fn status_for(ending: &Ending) -> (u16, &'static str) {
    match ending {
        Ending::Cancelled => (487, ""),
        Ending::Failed(failure) | Ending::TransferFailed(failure) => failed(*failure),
        Ending::HungUp(_)
        | Ending::NoAck(_)
        | Ending::FlowClosed(_)
        | Ending::NotRefreshed(_)
        | Ending::DialogGone(_)
        | Ending::Transferred(_) => (480, ""),
        Ending::NoCommonMedia => (488, "The other side's media cannot be used"),
        Ending::NoMedia => (503, "No room for media"),
        Ending::MediaFailed(..) | Ending::MediaLost => (500, "Media failed"),
        Ending::ShuttingDown => (503, "Shutting down"),
    }
}

/// What a caller, or one who transfers, is told of a failure.
#[must_use]
pub(super) fn failed(failure: Failure) -> (u16, &'static str) {
    match failure {
        Failure::Unregistered => (480, "Not registered"),
        Failure::NoAnswer => (480, "No answer"),
        Failure::Refused(error) => refused(error),
    }
}

/// What leg B said, as leg A may be told it (RFC 3261 section 16.7, for a B2BUA that is the end of both dialogs).
fn refused(error: LegError) -> (u16, &'static str) {
    match error {
        LegError::NoResponse => (408, "The called device does not respond"),
        LegError::Status(status) => match status {
            // Not followed any further: the caller must not be sent elsewhere by a peer.
            300..400 => (480, "Redirected too often"),
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
    /// For the record: `hung up by alice`. `a` called, `b` was called.
    #[must_use]
    pub fn in_words(&self, a: &str, b: &str) -> String {
        match self {
            Self::HungUp(who) => format!("hung up by {who}"),
            Self::Cancelled => format!("{a} gave up"),
            Self::Failed(failure) => failure_in_words(*failure, b),
            Self::NoAck(who) => format!("{who} did not acknowledge the answer"),
            Self::NoCommonMedia => format!("no media in common with {b}"),
            Self::NoMedia => "no room for media".to_owned(),
            Self::MediaFailed(who, cause) => format!("media of {who} failed: {}", Words(*cause)),
            Self::MediaLost => "the media session broke".to_owned(),
            Self::FlowClosed(who) => format!("{who}'s websocket closed"),
            Self::NotRefreshed(who) => format!("{who} did not refresh the session in time"),
            Self::DialogGone(who) => format!("{who} knows nothing of the call any more"),
            Self::Transferred(who) => format!("transferred by {who}"),
            Self::TransferFailed(failure) => format!("transferred, but {}", failure_in_words(*failure, "the target")),
            Self::ShuttingDown => "the gateway stopped".to_owned(),
        }
    }

    /// What the legs are told in the Reason header of their BYE (RFC 3326); none for an ordinary hanging up. No names: the
    /// far side knows whom it talked to, and no more.
    #[must_use]
    pub fn reason(&self) -> Option<(u16, String)> {
        let text = match self {
            Self::HungUp(_) | Self::Cancelled | Self::Failed(_) | Self::Transferred(_) => return None,
            Self::NoAck(_) => "The answer was not acknowledged".to_owned(),
            Self::NoCommonMedia => "No media in common".to_owned(),
            Self::NoMedia => "No room for media".to_owned(),
            Self::MediaFailed(_, cause) => format!("Media failed: {}", Words(*cause)),
            Self::MediaLost => "Media failed".to_owned(),
            Self::FlowClosed(_) => "The connection was lost".to_owned(),
            Self::NotRefreshed(_) => "Session timer expired".to_owned(),
            Self::DialogGone(_) => "The other side does not know the call any more".to_owned(),
            Self::TransferFailed(failure) => format!("Transfer failed: {}", failure_in_words(*failure, "the target")),
            Self::ShuttingDown => "The gateway stops".to_owned(),
        };
        let status = match self {
            Self::FlowClosed(_) | Self::NotRefreshed(_) => 408,
            Self::DialogGone(_) => 481,
            other => status_for(other).0,
        };
        Some((status, text))
    }
}

fn failure_in_words(failure: Failure, b: &str) -> String {
    match failure {
        Failure::Unregistered => format!("{b} is not registered"),
        Failure::NoAnswer => "no answer".to_owned(),
        Failure::Refused(LegError::NoResponse) => format!("{b} does not respond"),
        Failure::Refused(LegError::Status(486 | 600)) => format!("{b} is busy"),
        Failure::Refused(LegError::Status(603)) => format!("{b} declined"),
        Failure::Refused(LegError::Status(status)) => format!("{b} refused ({status})"),
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
            LegFailure::RtpTimeout => "its audio stopped",
        })
    }
}
