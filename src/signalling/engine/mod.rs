//! The engine: the one owner of all signalling state, and the root that joins transactions, dialogs, registrar and calls
//! by id. Sans-IO: `handle(now, input, &mut out)`, then `poll_timeout()`.
//!
//! ```text
//! Input::Message -> screen (grammar, 400 505 483 416 420) -> transaction table (a retransmission stops here)
//!   request:  in a dialog -> dialog -> call          | outside: authenticate -> registrar | route -> call | beside.rs
//!   response: its transaction's owner -> call
//! Action (call) -> SIP message -> transaction table -> Output::Send
//! ```
//!
//! What is asked for (an account) and what is commanded (media) are outputs; answers and events come back as inputs.

mod act;
mod beside;
mod census;
mod config;
mod in_dialog;
mod invite;
mod keys;
mod message;
mod notify;
mod provisional;
mod refer;
mod screen;
mod trace;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use slotmap::SlotMap;

pub use census::Census;
pub use config::{EngineConfig, Peer};

use crate::base::{DeadlineKey, Deadlines, Now, Rng};
use crate::plan::{LegId, MediaCommand, MediaEvent};
use crate::policy::account::Account;
use crate::policy::profile::Profile;
use crate::signalling::auth::{Authenticator, Claim};
use crate::signalling::call::session_timer;
use crate::signalling::call::{Action, Call, CallTimer, Can, Ending, Invite, Leg, LegError, LegState, LegTimer, Refresh};
use crate::signalling::flow::{Connection, ConnectionId, Flow};
use crate::signalling::message::{DeliveryKey, KeepError, Kept, Letter, Waiting as WaitingLetters};
use crate::signalling::notifier::SubscriptionKey;
use crate::signalling::record::{CallRecord, TraceRecord};
use crate::signalling::registrar::Registrar;
use crate::signalling::transaction::{ClientId, Incoming, ServerId, Table, TransactionEvent, Transmit};
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
    /// The INVITE that makes a leg.
    Invite(LegId),
    /// A re-INVITE or UPDATE of ours.
    Refresh(LegId),
    Bye(LegId),
    Info(LegId),
    /// The NOTIFY of a subscription, with its CSeq number.
    Notify(SubscriptionKey, u32),
    /// A message to one of its addressee's devices.
    Letter(DeliveryKey),
    /// CANCEL, PRACK, a transfer's NOTIFY, or the BYE to a branch that was not taken: whatever is answered, nothing follows from it.
    Aside,
}

/// Whose a deadline is: a leg takes its own along into another call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum TimerKey {
    Call(CallKey, CallTimer),
    Leg(LegId, LegTimer),
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
    /// Whose each leg is.
    by_leg: BTreeMap<LegId, CallKey>,
    /// Which leg an INVITE's transaction and its Call-ID made.
    by_invite: BTreeMap<ServerId, LegId>,
    by_call_id: BTreeMap<String, LegId>,
    /// What waits for the directory.
    waiting: BTreeMap<QueryId, Waiting>,
    deadlines: Deadlines<TimerKey>,
    armed: BTreeMap<TimerKey, DeadlineKey>,
    beside: Beside,
    /// What calls have said and has not been done yet.
    actions: VecDeque<(CallKey, Action)>,
    carrying_out: bool,
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
            by_leg: BTreeMap::new(),
            by_invite: BTreeMap::new(),
            by_call_id: BTreeMap::new(),
            waiting: BTreeMap::new(),
            deadlines: Deadlines::default(),
            armed: BTreeMap::new(),
            actions: VecDeque::new(),
            carrying_out: false,
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
        let own = [self.transactions.poll_timeout(), self.registrar.poll_timeout(), self.deadlines.next()];
        own.into_iter().chain(self.beside.poll_timeouts()).flatten().min()
    }

    /// Fires all that is due.
    pub fn handle_timeout(&mut self, now: Now, out: &mut Vec<Output>) {
        self.registrar.handle_timeout(now.mono);
        self.beside.handle_timeout(now);
        let (mut events, mut sent) = (Vec::new(), Vec::new());
        self.transactions.handle_timeout(now.mono, &mut events, &mut sent);
        self.transmit(now, sent, out);
        self.on_transaction_events(now, events, out);
        while let Some(due) = self.deadlines.pop_due(now.mono) {
            self.armed.remove(&due);
            match due {
                TimerKey::Call(key, timer) => self.with_call(now, key, out, |call, acts| call.on_timer(timer, now, acts)),
                TimerKey::Leg(leg, LegTimer::Retransmit2xx) => self.retransmit_2xx(now, leg, out),
                TimerKey::Leg(leg, LegTimer::Retransmit1xx) => self.retransmit_1xx(now, leg, out),
                TimerKey::Leg(leg, timer) => {
                    self.with_leg(now, leg, out, |call, acts| call.on_timer(CallTimer::Leg(leg, timer), now, acts));
                }
            }
        }
        self.tend(now, out);
    }

    fn on_closed(&mut self, now: Now, connection: ConnectionId, out: &mut Vec<Output>) {
        let flow = Flow::WebSocket(connection);
        self.registrar.flow_closed(flow);
        self.beside.notifier.flow_closed(now.mono, flow);
        self.waiting.retain(|_, waiting| waiting.arrived().is_none_or(|arrived| arrived.flow != flow));
        let mut events = Vec::new();
        self.transactions.flow_closed(flow, &mut events);
        self.on_transaction_events(now, events, out);
        for leg in self.legs_where(|leg| leg.flow == flow) {
            self.with_leg(now, leg, out, |call, acts| call.on_flow_closed(leg, acts));
        }
        self.connections.remove(&connection);
    }

    fn legs_where(&self, is: impl Fn(&Leg) -> bool) -> Vec<LegId> {
        self.calls.values().flat_map(Call::legs).filter(|leg| is(leg)).map(|leg| leg.id).collect()
    }

    /// A device has registered: legs of the same instance that it had over another flow are its own still (RFC 5626).
    fn on_registered(&mut self, now: Now, account: &str, flow: Flow, out: &mut Vec<Output>) {
        self.reach_account(now, account, flow);
        if !flow.is_reliable() {
            return;
        }
        let instance = self.registrar.instance_of(account, flow);
        let is = |leg: &Leg| leg.flow != flow && leg.instance.is_some() && leg.instance == instance && leg.is_of(account);
        for leg in self.legs_where(is) {
            self.with_leg(now, leg, out, |call, acts| call.on_flow_moved(leg, flow, acts));
        }
    }

    fn on_transaction_events(&mut self, now: Now, events: Vec<TransactionEvent<Owner>>, out: &mut Vec<Output>) {
        for TransactionEvent::NoResponse(_, owner) in events {
            match owner {
                Owner::Invite(leg) => {
                    self.with_leg(now, leg, out, |call, acts| call.on_failure(leg, LegError::NoResponse, now, acts));
                }
                Owner::Bye(leg) => self.with_leg(now, leg, out, |call, _| call.on_bye_done(leg)),
                Owner::Info(leg) => self.with_leg(now, leg, out, |call, acts| call.on_key_done(leg, acts)),
                Owner::Refresh(leg) => self.refresh_failed(now, leg, LegError::NoResponse, session_timer::MIN_SE_SECS, out),
                Owner::Notify(key, cseq) => self.beside.notifier.on_silence(now.mono, key, cseq),
                Owner::Letter(key) => self.beside.messenger.on_response(now, key, 408),
                Owner::Aside => {}
            }
        }
    }

    fn on_media(&mut self, now: Now, event: MediaEvent, out: &mut Vec<Output>) {
        // A leg that has gone meanwhile is nobody's: its `Close` is under way, or it was answered too late.
        match event {
            MediaEvent::Opened { leg, local } => {
                self.with_leg(now, leg, out, |call, acts| call.on_opened(leg, local, now, acts));
            }
            MediaEvent::OpenFailed { leg, .. } => {
                self.with_leg(now, leg, out, |call, acts| call.on_open_failed(leg, now, acts));
            }
            MediaEvent::Connected { leg } => self.with_leg(now, leg, out, |call, _| call.on_media_connected(leg)),
            MediaEvent::Dtmf { leg, event, duration_ms } => {
                self.with_leg(now, leg, out, |call, acts| call.on_key(leg, event, duration_ms, acts));
            }
            MediaEvent::Lossy { leg } => self.with_leg(now, leg, out, |call, acts| call.on_loss(leg, acts)),
            MediaEvent::Failed { leg, cause } => {
                self.with_leg(now, leg, out, |call, acts| call.on_media_failed(leg, cause, now, acts));
            }
            MediaEvent::Closed { leg, stats } => {
                self.with_leg(now, leg, out, |call, acts| call.on_media_closed(leg, stats, now, acts));
            }
        }
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
        let by_to = message.to().ok().and_then(|to| self.tagged(to.tag()?)).map(|leg| leg.id);
        let leg = by_to.or_else(|| self.by_call_id.get(message.call_id().ok()?).copied())?;
        self.call_id_of(leg)
    }

    fn call_id_of(&self, leg: LegId) -> Option<Arc<str>> {
        Some(self.calls.get(*self.by_leg.get(&leg)?)?.id.clone())
    }

    fn on_response(&mut self, now: Now, response: &Message, out: &mut Vec<Output>) {
        if response.check().is_err() {
            return;
        }
        let leg = response.from().ok().and_then(|from| self.tagged(from.tag()?)).map(|leg| leg.id);
        self.in_hand = leg.and_then(|leg| self.call_id_of(leg));
        let mut sent = Vec::new();
        let owner = self.transactions.receive_response(now.mono, response, &mut sent);
        self.transmit(now, sent, out);
        let Some((client, owner)) = owner else { return };
        let status = response.status().expect("the caller has seen that it is a response");
        match owner {
            Owner::Invite(leg) => self.on_invite_response(now, leg, client, response, status, out),
            Owner::Refresh(leg) if status >= 200 => self.on_refresh_response(now, leg, client, response, status, out),
            Owner::Bye(leg) if status >= 200 => self.with_leg(now, leg, out, |call, _| call.on_bye_done(leg)),
            Owner::Info(leg) if status >= 200 => self.with_leg(now, leg, out, |call, acts| call.on_key_done(leg, acts)),
            Owner::Notify(key, cseq) if status >= 200 => self.beside.notifier.on_response(now.mono, key, cseq, status),
            Owner::Letter(key) => self.beside.messenger.on_response(now, key, status),
            Owner::Refresh(_) | Owner::Bye(_) | Owner::Info(_) | Owner::Notify(..) | Owner::Aside => {}
        }
    }

    fn on_invite_response(
        &mut self,
        now: Now,
        id: LegId,
        client: ClientId,
        response: &Message,
        status: u16,
        out: &mut Vec<Output>,
    ) {
        let Some(leg) = self.leg_mut(id) else { return };
        let sdp = sdp_of(response);
        match status {
            100..200 => {
                if status > 100 {
                    leg.dialog.learn(response);
                    if !self.acknowledge_1xx(now, id, response, out) {
                        return;
                    }
                }
                self.with_leg(now, id, out, |call, acts| call.on_provisional(id, status, sdp, acts));
            }
            200..300 if leg.client != Some(client) || !leg.awaits_answer() => {
                self.end_other_branch(now, id, client, response, out)
            }
            200..300 => {
                leg.dialog.learn(response);
                leg.can = can(response);
                leg.timer = session_timer::agreed(response);
                self.with_leg(now, id, out, |call, acts| call.on_answer(id, sdp, now, acts));
            }
            300..400 => self.on_redirect(now, id, response, out),
            422 if leg.state != LegState::CancelPending && leg.min_se_secs < session_timer::min_se_secs(response) => {
                leg.min_se_secs = session_timer::min_se_secs(response);
                let sdp = leg.offer.last_local().unwrap_or_default().to_owned();
                self.send_invite(now, id, &sdp, out);
            }
            _ => self.with_leg(now, id, out, |call, acts| call.on_failure(id, LegError::Status(status), now, acts)),
        }
    }

    fn on_refresh_response(
        &mut self,
        now: Now,
        id: LegId,
        client: ClientId,
        response: &Message,
        status: u16,
        out: &mut Vec<Output>,
    ) {
        let Some(leg) = self.leg_mut(id) else { return };
        if status >= 300 {
            return self.refresh_failed(now, id, LegError::Status(status), session_timer::min_se_secs(response), out);
        }
        leg.dialog.refresh_target(response);
        if leg.refreshing.is_some_and(Refresh::is_invite) {
            leg.client = Some(client);
        }
        // Who says nothing of timers any more leaves them to us.
        let timer = session_timer::agreed(response).or(leg.timer);
        let sdp = sdp_of(response);
        self.with_leg(now, id, out, |call, acts| call.on_refresh_answer(id, sdp, timer, acts));
    }

    fn refresh_failed(&mut self, now: Now, id: LegId, error: LegError, min_se_secs: u32, out: &mut Vec<Output>) {
        let Some(leg) = self.leg_mut(id) else { return };
        // RFC 3261 section 14.1: whoever made the Call-ID waits 2.1 to 4 s, the other up to 2 s, in units of 10 ms.
        let (least, span) = if matches!(leg.invite, Invite::Uac { .. }) { (210, 190) } else { (0, 200) };
        let again = std::time::Duration::from_millis(10 * u64::from(least + self.rng.next_u32() % (span + 1)));
        self.with_leg(now, id, out, |call, acts| call.on_refresh_failed(id, error, again, min_se_secs, now, acts));
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

    fn profile_of(&self, flow: Flow) -> &Arc<Profile> {
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

    /// A new leg's id and tag: the tag ends in the id, so that its leg is found by it without a table.
    fn mint_leg(&mut self) -> (LegId, String) {
        let id = LegId(self.mint());
        (id, format!("{}.{}", self.rng.token(22), id.0))
    }

    /// The leg whose own tag this is.
    fn tagged(&self, tag: &str) -> Option<&Leg> {
        let (_, id) = tag.rsplit_once('.')?;
        self.leg(LegId(id.parse().ok()?)).filter(|leg| leg.dialog.local_tag == tag)
    }

    fn leg(&self, leg: LegId) -> Option<&Leg> {
        Some(self.calls.get(*self.by_leg.get(&leg)?)?.leg(leg))
    }

    fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        Some(self.calls.get_mut(*self.by_leg.get(&leg)?)?.leg_mut(leg))
    }

    /// As [`Engine::with_call`], for the call whose leg it is; a leg that has gone is nobody's.
    fn with_leg(&mut self, now: Now, leg: LegId, out: &mut Vec<Output>, act: impl FnOnce(&mut Call, &mut Vec<Action>)) {
        if let Some(key) = self.by_leg.get(&leg).copied() {
            self.with_call(now, key, out, act);
        }
    }

    /// Lets a call act, carries its actions out, and tidies up after it.
    fn with_call(&mut self, now: Now, key: CallKey, out: &mut Vec<Output>, act: impl FnOnce(&mut Call, &mut Vec<Action>)) {
        let Some(call) = self.calls.get_mut(key) else { return };
        self.beside.stirred.insert(key);
        self.in_hand.get_or_insert_with(|| call.id.clone());
        let mut actions = Vec::new();
        act(call, &mut actions);
        self.actions.extend(actions.into_iter().map(|action| (key, action)));
        // What follows from an action comes after all that was said before it: media hears the last word last.
        if self.carrying_out {
            return;
        }
        self.carrying_out = true;
        let mut touched = vec![key];
        while let Some((key, action)) = self.actions.pop_front() {
            if !touched.contains(&key) {
                touched.push(key);
            }
            self.carry_out(now, key, action, out);
        }
        self.carrying_out = false;
        touched.into_iter().for_each(|key| self.tidy(key, out));
    }

    /// Writes a call's record when it has ended, and forgets what is over of it.
    fn tidy(&mut self, key: CallKey, out: &mut Vec<Output>) {
        let Some(call) = self.calls.get_mut(key) else { return };
        if let Some(record) = call.take_record() {
            out.push(Output::Record(Box::new(record)));
        }
        let over = call.is_over();
        for leg in call.take_finished() {
            self.forget(&leg);
        }
        if over && let Some(call) = self.calls.remove(key) {
            call.legs().for_each(|leg| self.forget(leg));
            for timer in [CallTimer::NoAnswer, CallTimer::Silence] {
                self.disarm(TimerKey::Call(key, timer));
            }
        }
    }

    /// Makes a leg known by all its names.
    fn remember(&mut self, key: CallKey, leg: &Leg) {
        self.by_leg.insert(leg.id, key);
        if let Invite::Uas { server, .. } = leg.invite {
            self.by_invite.insert(server, leg.id);
            self.by_call_id.insert(leg.dialog.call_id.clone(), leg.id);
        }
    }

    fn forget(&mut self, leg: &Leg) {
        self.by_leg.remove(&leg.id);
        if let Invite::Uas { server, .. } = leg.invite {
            self.by_invite.remove(&server);
            if self.by_call_id.get(&leg.dialog.call_id) == Some(&leg.id) {
                self.by_call_id.remove(&leg.dialog.call_id);
            }
        }
        let timers = (TimerKey::Leg(leg.id, LegTimer::Retransmit2xx))..=(TimerKey::Leg(leg.id, LegTimer::MediaClose));
        let timers: Vec<TimerKey> = self.armed.range(timers).map(|(timer, _)| *timer).collect();
        timers.into_iter().for_each(|timer| self.disarm(timer));
    }

    fn disarm(&mut self, timer: TimerKey) {
        if let Some(deadline) = self.armed.remove(&timer) {
            self.deadlines.disarm(deadline);
        }
    }

    fn mint(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Who talks to whom, or shall: for operators, and for tests. A side is none where nobody has answered yet, or has left.
    pub fn pairs(&self) -> impl Iterator<Item = [Option<LegId>; 2]> + '_ {
        self.calls.values().map(Call::pair)
    }

    /// Who can be reached, and where: for operators.
    #[must_use]
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }
}

/// What a peer says that it can do beyond RFC 3261.
fn can(message: &Message) -> Can {
    Can {
        update: message.lists(HeaderName::Allow, "UPDATE"),
        timer: message.lists(HeaderName::Supported, "timer") || message.lists(HeaderName::Require, "timer"),
        rel100: message.lists(HeaderName::Supported, "100rel"),
        needs_rel100: message.lists(HeaderName::Require, "100rel"),
    }
}

/// The description that a message holds.
fn sdp_of(message: &Message) -> Option<&[u8]> {
    message.content_type().is_some_and(|t| t.eq_ignore_ascii_case(b"application/sdp")).then(|| message.body())
}
