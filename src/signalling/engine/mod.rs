//! The engine: the one owner of all signalling state, and the root that joins transactions, dialogs, registrar and calls
//! by id. Sans-IO: `handle(now, input, &mut out)`, then `poll_timeout()`.
//!
//! ```text
//! Input::Message -> screen (grammar, 400 505 483 416 420) -> transaction table (a retransmission stops here)
//!   request:  in a dialog -> dialog -> call          | REGISTER, INVITE: authenticate -> registrar | route -> call
//!   response: its transaction's owner -> call
//! Action (call) -> SIP message -> transaction table -> Output::Send
//! ```
//!
//! What is asked for (an account) and what is commanded (media) are outputs; answers and events come back as inputs.

mod act;
mod beside;
mod config;
mod in_dialog;
mod invite;
mod message;
mod notify;
mod screen;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use slotmap::SlotMap;

pub use config::{EngineConfig, Peer};

use crate::base::{DeadlineKey, Deadlines, Now, Rng};
use crate::plan::{MediaCommand, MediaEvent, SessionId, Side};
use crate::policy::account::Account;
use crate::policy::profile::Profile;
use crate::signalling::auth::{Authenticator, Claim};
use crate::signalling::call::{Action, Call, CallTimer, Ending, Invite, LegError, LegState};
use crate::signalling::flow::{Connection, ConnectionId, Flow};
use crate::signalling::message::{DeliveryKey, KeepError, Kept, Letter, Waiting as WaitingLetters};
use crate::signalling::notifier::SubscriptionKey;
use crate::signalling::record::{CallRecord, TraceRecord};
use crate::signalling::registrar::Registrar;
use crate::signalling::transaction::{Incoming, ServerId, Table, TransactionEvent, Transmit};
use crate::wire::sip::{Framing, HeaderName, Message, Method, response_to};
use beside::Beside;
use screen::Waiting;

slotmap::new_key_type! {
    /// One call.
    pub struct CallKey;
}

/// A question to the directory; answered by [`Input::Account`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// The directory could not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

/// What happens to the engine.
#[derive(Debug, Clone)]
pub enum Input {
    /// A WebSocket was accepted.
    Opened {
        /// Its id.
        connection: ConnectionId,
        /// Its ends.
        about: Connection,
    },
    /// A WebSocket closed.
    Closed {
        /// Its id.
        connection: ConnectionId,
    },
    /// A datagram, or one WebSocket message.
    Message {
        /// What it came over.
        flow: Flow,
        /// The bytes.
        bytes: Bytes,
    },
    /// The directory answers.
    Account {
        /// Which question.
        query: QueryId,
        /// The account of that name or number, if there is one.
        account: Result<Option<Account>, Unavailable>,
    },
    /// The store has kept a message, or has not.
    MessageKept {
        /// Which question.
        query: QueryId,
        /// Under which id.
        kept: Result<Kept, KeepError>,
    },
    /// The store says what waits for an account.
    Messages {
        /// Which question.
        query: QueryId,
        /// What waits.
        waiting: Result<WaitingLetters, Unavailable>,
    },
    /// The media half reports.
    Media(MediaEvent),
    /// The gateway stops: every call is ended.
    ShutDown,
}

/// What the shell shall do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send bytes; over a flow that is gone they are dropped.
    Send {
        /// Where to.
        flow: Flow,
        /// One whole message.
        bytes: Bytes,
    },
    /// Tell the media half.
    Media(MediaCommand),
    /// Ask the directory for the account of this name or number.
    Query {
        /// To answer by.
        query: QueryId,
        /// A name or number, as dialled or as a peer claims it.
        name_or_number: String,
    },
    /// Keep a message until its addressee can be reached.
    KeepMessage {
        /// To answer by ([`Input::MessageKept`]).
        query: QueryId,
        /// Its addressee.
        account: String,
        /// The message.
        letter: Box<Letter>,
    },
    /// Say what waits for an account.
    LoadMessages {
        /// To answer by ([`Input::Messages`]).
        query: QueryId,
        /// The account.
        account: String,
        /// This one was taken, and is to be removed first.
        taken: Option<u64>,
    },
    /// A call has ended.
    Record(Box<CallRecord>),
    /// A message was received or sent.
    Trace(Box<TraceRecord>),
}

/// What a client transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// A call's.
    Call { call: CallKey, kind: Kind },
    /// A NOTIFY of this CSeq number.
    Notify(SubscriptionKey, u32),
    /// A message to one of its addressee's devices.
    Letter(DeliveryKey),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Invite,
    Bye(Side),
    /// CANCEL, or the BYE to a branch that was not taken: whatever is answered, nothing follows from it.
    Aside,
}

/// All signalling state of the gateway.
pub struct Engine {
    config: Arc<EngineConfig>,
    rng: Rng,
    transactions: Table<Owner>,
    registrar: Registrar,
    authenticator: Authenticator,
    connections: BTreeMap<ConnectionId, Connection>,
    calls: SlotMap<CallKey, Call>,
    /// Which leg a local tag names.
    by_tag: BTreeMap<String, (CallKey, Side)>,
    by_session: BTreeMap<SessionId, CallKey>,
    /// Which call an INVITE's transaction and its Call-ID made.
    by_invite: BTreeMap<ServerId, CallKey>,
    by_call_id: BTreeMap<String, CallKey>,
    /// Requests that wait for the directory.
    waiting: BTreeMap<QueryId, Waiting>,
    deadlines: Deadlines<(CallKey, CallTimer)>,
    armed: BTreeMap<(CallKey, CallTimer), DeadlineKey>,
    beside: Beside,
    next_id: u64,
    /// The call that the message in hand belongs to, for its trace.
    in_hand: Option<Arc<str>>,
}

impl Engine {
    /// An engine with no state; all its chance comes from `rng`.
    #[must_use]
    pub fn new(config: EngineConfig, mut rng: Rng) -> Self {
        Self {
            transactions: Table::new(config.max_transactions),
            beside: Beside::new(config.domain.clone()),
            registrar: Registrar::new(config.registrar),
            authenticator: Authenticator::new(config.domain.clone(), config.nonce_lifetime, &mut rng),
            config: Arc::new(config),
            rng,
            connections: BTreeMap::new(),
            calls: SlotMap::with_key(),
            by_tag: BTreeMap::new(),
            by_session: BTreeMap::new(),
            by_invite: BTreeMap::new(),
            by_call_id: BTreeMap::new(),
            waiting: BTreeMap::new(),
            deadlines: Deadlines::default(),
            armed: BTreeMap::new(),
            next_id: 0,
            in_hand: None,
        }
    }

    /// Takes one input; what is to be done about it is appended to `out`.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Opened { connection, about } => {
                self.connections.insert(connection, about);
            }
            Input::Closed { connection } => self.on_closed(now, connection, out),
            Input::Message { flow, bytes } => self.on_bytes(now, flow, bytes, out),
            Input::Account { query, account } => self.on_account(now, query, account, out),
            Input::MessageKept { query, kept } => self.on_kept(now, query, kept),
            Input::Messages { query, waiting } => self.on_waiting(now, query, waiting, out),
            Input::Media(event) => self.on_media(now, event, out),
            Input::ShutDown => self.on_shut_down(now, out),
        }
        self.in_hand = None;
        self.tend(now, out);
    }

    /// The earliest deadline and its name.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let beside = [self.beside.notifier.poll_timeout(), self.beside.messenger.poll_timeout()];
        let own = [self.transactions.poll_timeout(), self.registrar.poll_timeout(), self.deadlines.next()];
        own.into_iter().chain(beside).flatten().min()
    }

    /// Fires all that is due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        self.registrar.handle_timeout(now.mono);
        self.beside.notifier.handle_timeout(now.mono);
        self.beside.messenger.handle_timeout(now);
        let (mut events, mut sent) = (Vec::new(), Vec::new());
        self.transactions.handle_timeout(now.mono, &mut events, &mut sent);
        self.transmit(now, sent, out);
        self.on_transaction_events(now, events, out);
        while let Some((key, timer)) = self.deadlines.pop_due(now.mono) {
            self.armed.remove(&(key, timer));
            if let CallTimer::Retransmit2xx(side) = timer {
                self.retransmit_2xx(now, key, side, out);
            }
            self.with_call(now, key, out, |call, acts| call.on_timer(timer, now, acts));
        }
        self.tend(now, out);
    }

    fn on_closed(&mut self, now: Now, connection: ConnectionId, out: &mut Vec<Output>) {
        let flow = Flow::WebSocket(connection);
        self.registrar.flow_closed(flow);
        self.beside.notifier.flow_closed(now.mono, flow);
        self.waiting.retain(|_, waiting| waiting.flow != flow);
        let mut events = Vec::new();
        self.transactions.flow_closed(flow, &mut events);
        self.on_transaction_events(now, events, out);
        let legs: Vec<(CallKey, Side)> =
            self.by_tag.values().copied().filter(|(key, side)| self.calls[*key].leg(*side).flow == flow).collect();
        for (key, side) in legs {
            self.with_call(now, key, out, |call, acts| call.on_flow_closed(side, acts));
        }
        self.connections.remove(&connection);
    }

    fn on_transaction_events(&mut self, now: Now, events: Vec<TransactionEvent<Owner>>, out: &mut Vec<Output>) {
        for TransactionEvent::NoResponse(_, owner) in events {
            match owner {
                Owner::Call { call, kind } => self.with_call(now, call, out, |call, acts| match kind {
                    Kind::Invite => call.on_failure(LegError::NoResponse, now, acts),
                    Kind::Bye(side) => call.on_bye_done(side),
                    Kind::Aside => {}
                }),
                Owner::Notify(key, cseq) => self.beside.notifier.on_silence(now.mono, key, cseq),
                Owner::Letter(key) => self.beside.messenger.on_response(now, key, 408),
            }
        }
    }

    fn on_media(&mut self, now: Now, event: MediaEvent, out: &mut Vec<Output>) {
        let session = match &event {
            MediaEvent::Opened { session, .. }
            | MediaEvent::OpenFailed { session, .. }
            | MediaEvent::Connected { session, .. }
            | MediaEvent::Failed { session, .. }
            | MediaEvent::Closed { session, .. } => *session,
        };
        // A session whose call has gone: its `Close` is under way, or it was answered too late.
        let Some(&key) = self.by_session.get(&session) else { return };
        self.with_call(now, key, out, |call, acts| match event {
            MediaEvent::Opened { side, local, .. } => call.on_opened(side, local, now, acts),
            MediaEvent::OpenFailed { .. } => call.on_open_failed(now, acts),
            MediaEvent::Connected { side, .. } => call.leg_mut(side).connected = true,
            MediaEvent::Failed { side, cause, .. } => call.on_media_failed(side, cause, now, acts),
            MediaEvent::Closed { a, b, .. } => call.on_media_closed(a, b, now, acts),
        });
    }

    fn on_shut_down(&mut self, now: Now, out: &mut Vec<Output>) {
        let keys: Vec<CallKey> = self.calls.keys().collect();
        for key in keys {
            self.with_call(now, key, out, |call, acts| call.end(Ending::ShuttingDown, now, acts));
        }
    }

    fn on_bytes(&mut self, now: Now, flow: Flow, bytes: Bytes, out: &mut Vec<Output>) {
        let framing = if flow.is_reliable() { Framing::WebSocket } else { Framing::Datagram };
        // What is no message is dropped, as is what comes over a flow that has just closed.
        let (Ok(message), Some(source)) = (Message::parse(bytes, framing), self.remote_of(flow)) else { return };
        let place = out.len();
        if message.method().is_some() {
            self.on_request(now, flow, source, &message, out);
        } else {
            self.on_response(now, &message, out);
        }
        // The trace of what came in stands before that of what was sent because of it.
        let call = self.in_hand.take();
        if let Some(trace) = self.trace(now, flow, call, true, message.bytes()) {
            out.insert(place, trace);
        }
    }

    fn on_request(&mut self, now: Now, flow: Flow, source: SocketAddr, request: &Message, out: &mut Vec<Output>) {
        let method = request.method().expect("the caller has seen that it is a request");
        if let Err(defect) = request.check() {
            if method != Method::Ack {
                self.refuse_stateless(now, flow, source, request, defect.status(), &defect.to_string(), out);
            }
            return;
        }
        let mut sent = Vec::new();
        let incoming = self.transactions.receive_request(now.mono, request, &mut sent);
        self.transmit(now, sent, out);
        match incoming {
            Incoming::Absorbed => self.in_hand = self.call_of(request),
            Incoming::AckToDialog => self.on_ack(now, request, out),
            Incoming::New => {
                // Who has proven nothing costs no state (RFC 3261 section 26.3.2.4).
                let screened = screen::screen(request, method);
                let claim = if screened.is_ok() { self.claim(now, method, flow, request) } else { None };
                if let Some(stale @ (Claim::None | Claim::Stale)) = claim {
                    return self.challenge_stateless(now, flow, source, request, stale == Claim::Stale, out);
                }
                match self.transactions.open(request, self.reply_flow(flow, request)) {
                    None => self.refuse_stateless(now, flow, source, request, 503, "", out),
                    Some(server) => {
                        let arrived = screen::Arrived { request: request.clone(), server, flow, source };
                        self.on_new_request(now, method, arrived, screened, claim, out);
                    }
                }
            }
        }
    }

    /// The call whose dialog or INVITE a message names, for its trace.
    fn call_of(&self, message: &Message) -> Option<Arc<str>> {
        let by_to = message.to().ok().and_then(|to| to.tag().and_then(|tag| self.by_tag.get(tag)));
        if let Some((key, _)) = by_to {
            return Some(self.calls[*key].id.clone());
        }
        let key = self.by_call_id.get(message.call_id().ok()?)?;
        Some(self.calls[*key].id.clone())
    }

    fn on_response(&mut self, now: Now, response: &Message, out: &mut Vec<Output>) {
        if response.check().is_err() {
            return;
        }
        self.in_hand =
            response.from().ok().and_then(|from| self.by_tag.get(from.tag()?)).map(|(key, _)| self.calls[*key].id.clone());
        let mut sent = Vec::new();
        let owner = self.transactions.receive_response(now.mono, response, &mut sent);
        self.transmit(now, sent, out);
        let Some((_, owner)) = owner else { return };
        let status = response.status().unwrap_or_default();
        match owner {
            Owner::Call { call, kind: Kind::Invite } => self.on_invite_response(now, call, response, out),
            Owner::Call { call, kind: Kind::Bye(side) } if status >= 200 => {
                self.with_call(now, call, out, |call, _| call.on_bye_done(side));
            }
            Owner::Notify(key, cseq) if status >= 200 => self.beside.notifier.on_response(now.mono, key, cseq, status),
            Owner::Letter(key) => self.beside.messenger.on_response(now, key, status),
            Owner::Call { .. } | Owner::Notify(..) => {}
        }
    }

    fn on_invite_response(&mut self, now: Now, key: CallKey, response: &Message, out: &mut Vec<Output>) {
        let status = response.status().expect("the caller has seen that it is a response");
        let Some(call) = self.calls.get_mut(key) else { return };
        let leg = call.leg_mut(Side::B);
        let sdp = response.content_type().is_some_and(|t| t.eq_ignore_ascii_case(b"application/sdp")).then(|| response.body());
        match status {
            100..200 => {
                if status > 100 {
                    leg.dialog.learn(response);
                }
                self.with_call(now, key, out, |call, acts| call.on_provisional(status, sdp, acts));
            }
            200..300 if leg.state == LegState::Confirmed => self.end_other_branch(now, key, response, out),
            200..300 => {
                leg.dialog.learn(response);
                self.with_call(now, key, out, |call, acts| call.on_answer(sdp, now, acts));
            }
            _ => self.with_call(now, key, out, |call, acts| call.on_failure(LegError::Status(status), now, acts)),
        }
    }

    /// The remote address of a flow; none when it has closed.
    fn remote_of(&self, flow: Flow) -> Option<SocketAddr> {
        match flow {
            Flow::Udp { remote, .. } => Some(remote),
            Flow::WebSocket(id) => self.connections.get(&id).map(|c| c.remote),
        }
    }

    /// Where a response goes (RFC 3261 section 18.2.2, RFC 3581 section 4): back where the request came from if it asks for
    /// that by `rport` or its sender sits behind a NAT; else to the port that its Via names.
    fn reply_flow(&self, flow: Flow, request: &Message) -> Flow {
        let Flow::Udp { local, remote } = flow else { return flow };
        let Ok(via) = request.via() else { return flow };
        if via.params.value("rport").is_some() || self.profile_of(flow).behind_nat {
            return flow;
        }
        Flow::Udp { local, remote: (remote.ip(), via.port.unwrap_or(5060)).into() }
    }

    fn local_of(&self, flow: Flow) -> Option<SocketAddr> {
        match flow {
            Flow::Udp { local, .. } => Some(local),
            Flow::WebSocket(id) => self.connections.get(&id).map(|c| c.local),
        }
    }

    fn profile_of(&self, flow: Flow) -> &Profile {
        match flow {
            Flow::WebSocket(_) => &self.config.browser,
            Flow::Udp { remote, .. } => self.config.peer_at(remote).map_or(&self.config.phone, |peer| &peer.profile),
        }
    }

    /// Answers without a transaction: what is too broken or too much to keep state for.
    #[allow(clippy::too_many_arguments)]
    fn refuse_stateless(
        &mut self,
        now: Now,
        flow: Flow,
        source: SocketAddr,
        request: &Message,
        status: u16,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        let tag = self.rng.token(22);
        let flow = self.reply_flow(flow, request);
        let bytes = response_to(request, status, reason, Some(&tag), source).end();
        self.transmit(now, vec![Transmit { flow, bytes: bytes.into(), call: None }], out);
    }

    fn transmit(&mut self, now: Now, sent: Vec<Transmit>, out: &mut Vec<Output>) {
        for Transmit { flow, bytes, call } in sent {
            let Some(trace) = self.trace(now, flow, call.clone(), false, &bytes) else { continue };
            out.push(trace);
            out.push(Output::Send { flow, bytes });
        }
    }

    fn trace(&self, now: Now, flow: Flow, call: Option<Arc<str>>, rx: bool, bytes: &Bytes) -> Option<Output> {
        let transport = match flow {
            Flow::Udp { .. } => "udp",
            Flow::WebSocket(id) if self.connections.get(&id)?.secure => "wss",
            Flow::WebSocket(_) => "ws",
        };
        let peer = match flow {
            Flow::Udp { remote, .. } => self.config.peer_at(remote).map(|p| p.name.as_str()),
            Flow::WebSocket(_) => None,
        };
        Some(Output::Trace(Box::new(TraceRecord {
            unix_us: u64::try_from(now.unix.as_micros()).unwrap_or(u64::MAX),
            call: call.map(|id| id.to_string()),
            rx,
            transport,
            local: self.local_of(flow)?,
            remote: self.remote_of(flow)?,
            peer: peer.or_else(|| self.registrar.account_of(flow)).unwrap_or_default().to_owned(),
            bytes: blank_secrets(bytes),
        })))
    }

    /// Lets a call act, carries its actions out, and writes its record when it has finished.
    fn with_call(&mut self, now: Now, key: CallKey, out: &mut Vec<Output>, act: impl FnOnce(&mut Call, &mut Vec<Action>)) {
        let Some(call) = self.calls.get_mut(key) else { return };
        self.beside.stirred.insert(key);
        self.in_hand.get_or_insert_with(|| call.id.clone());
        let mut actions = Vec::new();
        act(call, &mut actions);
        for action in actions {
            self.carry_out(now, key, action, out);
        }
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(record) = call.take_record() {
            out.push(Output::Record(Box::new(record)));
        }
        if call.is_over() {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: CallKey) {
        let Some(call) = self.calls.remove(key) else { return };
        for leg in std::iter::once(&call.a).chain(call.b()) {
            self.by_tag.remove(&leg.dialog.local_tag);
        }
        self.by_session.remove(&call.session);
        self.by_call_id.remove(&call.a.dialog.call_id);
        if let Invite::Uas { server, .. } = call.a.invite {
            self.by_invite.remove(&server);
        }
        let all = (key, CallTimer::FIRST)..=(key, CallTimer::LAST);
        let timers: Vec<(CallKey, CallTimer)> = self.armed.range(all).map(|(timer, _)| *timer).collect();
        for timer in timers {
            if let Some(deadline) = self.armed.remove(&timer) {
                self.deadlines.disarm(deadline);
            }
        }
    }

    fn mint(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// What there is: for operators, and for tests that nothing is left behind.
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            calls: self.calls.len(),
            dialogs: self.by_tag.len(),
            transactions: self.transactions.len(),
            waiting: self.waiting.len(),
            bindings: self.registrar.len(),
            call_timers: self.deadlines.len(),
            subscriptions: self.beside.notifier.len().0,
            publications: self.beside.notifier.len().1,
            messages: self.beside.messenger.len() + self.beside.asked.len() + self.beside.senders.len(),
        }
    }

    /// Who can be reached, and where: for operators.
    #[must_use]
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }
}

/// How much state an engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Calls.
    pub calls: usize,
    /// Legs with a dialog or one in the making.
    pub dialogs: usize,
    /// Transactions, client and server.
    pub transactions: usize,
    /// Requests that wait for the directory.
    pub waiting: usize,
    /// Bindings.
    pub bindings: usize,
    /// Armed timers of calls.
    pub call_timers: usize,
    /// Watchers of accounts.
    pub subscriptions: usize,
    /// What accounts have published of themselves.
    pub publications: usize,
    /// Messages under way, their senders that wait, and questions to the store.
    pub messages: usize,
}

/// The bytes with what a digest proves blanked: who sees a trace shall not be able to guess passwords offline.
fn blank_secrets(bytes: &Bytes) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    let Ok(message) = Message::parse(bytes.clone(), Framing::Datagram) else { return copy };
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        for line in message.lines(name) {
            let lower = line.to_ascii_lowercase();
            let Some(at) = memchr::memmem::find(&lower, b"response=\"") else { continue };
            let from = line.as_ptr() as usize - message.bytes().as_ptr() as usize + at + b"response=\"".len();
            let Some(len) = copy.get(from..).and_then(|rest| memchr::memchr(b'"', rest)) else { continue };
            copy[from..from + len].fill(b'x');
        }
    }
    copy
}
