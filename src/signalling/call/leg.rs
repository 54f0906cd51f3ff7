use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::session_timer::SessionTimer;
use crate::plan::{LegFailure, LegId, LegPlan, LegStats, Source};
use crate::policy::dialplan::Caller;
use crate::signalling::dialog::Dialog;
use crate::signalling::flow::Flow;
use crate::signalling::offer::OfferAnswer;
use crate::signalling::transaction::{ClientId, ServerId};
use crate::wire::sip::Message;

/// Where one leg's INVITE stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegState {
    /// Its INVITE waits for our final response.
    Incoming,
    /// Our 2xx waits for its ACK.
    Answering,
    /// As before, and the leg has been ended: BYE follows the ACK.
    ByeAfterAck,
    /// Not invited yet.
    Idle,
    /// Invited, nothing heard.
    Inviting,
    /// A provisional response came.
    Ringing,
    /// To be cancelled as soon as a provisional response allows it (RFC 3261 section 9.1).
    CancelPending,
    /// Cancelled, the final response is awaited.
    Cancelling,
    /// The dialog stands.
    Confirmed,
    /// Our BYE waits for its answer; theirs may cross it.
    Leaving,
    /// Over.
    Ended,
}

/// The INVITE that made a leg.
#[derive(Debug, Clone)]
pub enum Invite {
    /// They invited us: the transaction and the request that we answer.
    Uas {
        /// To respond by.
        server: ServerId,
        /// To copy the response's headers from; none once it has been answered for good.
        request: Option<Box<Message>>,
        /// Max-Forwards for who is invited because of it.
        max_forwards: u8,
    },
    /// We invite them.
    Uac {
        /// Max-Forwards of our INVITE: one less than the caller's.
        max_forwards: u8,
    },
}

/// Who a leg belongs to, as the dialplan knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Party {
    /// The account of this name, which has proved it.
    Account(String),
    /// The peer of this name.
    Peer(String),
}

impl Party {
    /// As a rule looks at it.
    #[must_use]
    pub fn caller(&self) -> Caller<'_> {
        match self {
            Self::Account(name) => Caller::Account(name),
            Self::Peer(name) => Caller::Peer(name),
        }
    }
}

/// How far media has come on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegMediaState {
    /// Not asked for.
    Unopened,
    /// Asked for.
    Opening,
    /// There.
    Open,
    /// To close; its last counts are awaited.
    Closing,
    /// Gone, or never made.
    Closed,
}

/// What the peer can do beyond RFC 3261, as it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Can {
    /// UPDATE (RFC 3311).
    pub update: bool,
    /// Session timers (RFC 4028).
    pub timer: bool,
    /// Reliable provisional responses (RFC 3262).
    pub rel100: bool,
    /// It insists on them.
    pub needs_rel100: bool,
}

/// A 2xx of ours that waits for its ACK.
#[derive(Debug, Clone)]
pub struct Unacked {
    /// Its transaction.
    pub server: ServerId,
    /// The CSeq number of the INVITE that it answers, which the ACK bears too.
    pub seq: u32,
    /// What is sent again.
    pub bytes: Bytes,
    /// How often that was.
    pub times: u32,
}

/// Our reliable provisional responses (RFC 3262 section 3): one at a time waits for its PRACK.
#[derive(Debug, Clone, Default)]
pub struct Reliable {
    /// The RSeq of the last one; 0 before the first.
    pub rseq: u32,
    /// The one that waits: its transaction, its bytes, how often it was sent.
    pub waiting: Option<Box<Unacked>>,
    /// What is to be said after it: a status, a phrase, a description. A later one takes the place of an earlier.
    pub next: Option<Box<(u16, &'static str, Option<String>)>>,
}

/// A request of ours within the dialog that may change the session: one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// UPDATE without a description.
    Update,
    /// Re-INVITE.
    Reinvite,
    /// Re-INVITE for a description that does not wait for a refresh.
    Proposal,
}

impl Refresh {
    /// Whether it is an INVITE, to be acknowledged.
    #[must_use]
    pub fn is_invite(self) -> bool {
        self != Self::Update
    }
}

/// One side of a call: dialog, negotiation, and the way to the peer. Plain data.
#[derive(Debug, Clone)]
pub struct Leg {
    /// Its name in both halves.
    pub id: LegId,
    /// Who it is, for the record: an account, or a peer's name and number.
    pub who: Arc<str>,
    /// Whom it belongs to.
    pub party: Party,
    /// How others see it: a `name-addr` without parameters.
    pub identity: String,
    /// `+sip.instance` of its device, by which it is known again over a new flow (RFC 5626).
    pub instance: Option<String>,
    /// Where requests and responses go.
    pub flow: Flow,
    /// Whether that flow has closed.
    pub flow_closed: bool,
    /// The address of ours that its media uses.
    pub media_ip: IpAddr,
    /// Its INVITE.
    pub invite: Invite,
    /// Our INVITE or re-INVITE that is being settled, to cancel and to acknowledge by.
    pub client: Option<ClientId>,
    /// Its CSeq number: its ACK bears it too.
    pub invite_seq: u32,
    /// Where that stands.
    pub state: LegState,
    /// Its dialog.
    pub dialog: Dialog,
    /// Its negotiation.
    pub offer: OfferAnswer,
    /// What the peer can do.
    pub can: Can,
    /// A 2xx of ours that waits for its ACK.
    pub unacked: Option<Unacked>,
    /// Our reliable provisional responses.
    pub reliable: Reliable,
    /// The RSeq of its last reliable provisional response.
    pub seen_rseq: Option<u32>,
    /// Its session timer.
    pub timer: Option<SessionTimer>,
    /// The least interval that the peer accepts, once it has said so by 422.
    pub min_se_secs: u32,
    /// Our re-INVITE or UPDATE that is under way.
    pub refreshing: Option<Refresh>,
    /// How often a description may still be proposed to it that does not wait for a refresh; 0 when none is due.
    pub proposals: u8,
    /// Whether what is proposed is Opus in place of what it speaks.
    pub moves_to_opus: bool,
    /// The CSeq of its REFER whose progress it is told.
    pub refer: Option<u32>,
    /// Keys to be sent to it as INFO; the first is under way.
    pub keys: VecDeque<(u8, u32)>,
    /// How far media has come.
    pub media: LegMediaState,
    /// What media was told last.
    pub path: Option<(LegPlan, Source)>,
    /// Whether media flowed.
    pub connected: bool,
    /// What media said went wrong.
    pub failure: Option<LegFailure>,
    /// What media counted, once it has closed the leg.
    pub stats: Option<Box<LegStats>>,
}

impl Leg {
    /// Whether its dialog stands, or will as soon as an ACK comes.
    #[must_use]
    pub fn is_talking(&self) -> bool {
        matches!(self.state, LegState::Answering | LegState::Confirmed)
    }

    /// Whether it belongs to this account.
    #[must_use]
    pub fn is_of(&self, account: &str) -> bool {
        matches!(&self.party, Party::Account(name) if name == account)
    }

    /// Whether our INVITE has had no final response yet.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        use LegState::{CancelPending, Cancelling, Inviting, Ringing};
        matches!(self.state, Inviting | Ringing | CancelPending | Cancelling)
    }

    /// Whether nothing more is awaited on it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == LegState::Ended && matches!(self.media, LegMediaState::Unopened | LegMediaState::Closed)
    }

    /// Whether a description may be proposed on it now, by either side (RFC 3261 section 14, RFC 3311 section 5.2).
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let early = self.state == LegState::Incoming && self.reliable.rseq > 0 && self.reliable.waiting.is_none();
        let stands = matches!(self.state, LegState::Confirmed | LegState::Ringing) || early;
        stands && self.unacked.is_none() && self.refreshing.is_none() && !self.offer.has_offered()
    }
}
