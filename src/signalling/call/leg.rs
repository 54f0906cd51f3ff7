use std::net::IpAddr;

use bytes::Bytes;

use crate::plan::LegFailure;
use crate::signalling::dialog::Dialog;
use crate::signalling::flow::Flow;
use crate::signalling::offer::OfferAnswer;
use crate::signalling::transaction::{ClientId, ServerId};
use crate::wire::sip::Message;

/// Where one leg's INVITE stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// A: its INVITE waits for our final response.
    Incoming,
    /// A: our 2xx waits for its ACK.
    Answering,
    /// A: as before, and the call has ended: BYE follows the ACK.
    ByeAfterAck,
    /// B: not invited.
    Idle,
    /// B: invited, nothing heard.
    Inviting,
    /// B: a provisional response came.
    Ringing,
    /// B: to be cancelled as soon as a provisional response allows it (RFC 3261 section 9.1).
    CancelPending,
    /// B: cancelled, the final response is awaited.
    Cancelling,
    /// The dialog stands.
    Confirmed,
    /// Our BYE waits for its answer; theirs may cross it.
    Leaving,
    /// Over.
    Ended,
}

/// The INVITE of ours or theirs that is being settled on a leg.
#[derive(Debug, Clone)]
pub enum Invite {
    /// They invited us: the transaction and the request that we answer.
    Uas {
        /// To respond by.
        server: ServerId,
        /// To copy the response's headers from.
        request: Message,
    },
    /// We invite them.
    Uac {
        /// To cancel by; none before it was sent.
        client: Option<ClientId>,
        /// Max-Forwards of our INVITE: one less than the caller's.
        max_forwards: u8,
    },
}

impl PartialEq for Invite {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Uas { server: a, .. }, Self::Uas { server: b, .. }) => a == b,
            (Self::Uac { client: a, .. }, Self::Uac { client: b, .. }) => a == b,
            _ => false,
        }
    }
}
impl Eq for Invite {}

/// One side of a call: dialog, negotiation, and the way to the peer. Plain data.
#[derive(Debug, Clone)]
pub struct Leg {
    /// Who it is, for the record: an account, or a peer's name.
    pub who: String,
    /// Where requests and responses go.
    pub flow: Flow,
    /// Whether that flow has closed.
    pub flow_closed: bool,
    /// The address of ours that its media uses.
    pub media_ip: IpAddr,
    /// Its INVITE.
    pub invite: Invite,
    /// Where that stands.
    pub state: LegState,
    /// Its dialog.
    pub dialog: Dialog,
    /// Its negotiation.
    pub offer: OfferAnswer,
    /// A 2xx of ours that waits for its ACK: its transaction, its bytes, how often it was sent.
    pub unacked: Option<(ServerId, Bytes, u32)>,
    /// Whether media flowed.
    pub connected: bool,
    /// What media said went wrong.
    pub failure: Option<LegFailure>,
}

impl PartialEq for Leg {
    fn eq(&self, other: &Self) -> bool {
        self.dialog == other.dialog && self.state == other.state
    }
}
impl Eq for Leg {}
