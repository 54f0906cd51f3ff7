use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use slotmap::SlotMap;
use smallvec::SmallVec;

use super::{Act, Timer, client_invite, client_other, server_invite, server_other};
use crate::base::{DeadlineKey, Deadlines};
use crate::signalling::flow::Flow;
use crate::wire::sip::{Framing, HeaderName, Message, Method, Writer};

slotmap::new_key_type! {
    /// One client transaction: a request of ours.
    pub struct ClientId;
    /// One server transaction: a request that came in.
    pub struct ServerId;
}

/// Bytes to be sent, and the call that they belong to (for the trace).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub flow: Flow,
    /// A whole message.
    pub bytes: Bytes,
    /// The gateway's id of the call.
    pub call: Option<Arc<str>>,
}

/// What a request that came in is to its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming {
    /// The first of its transaction, which [`Table::open`] would make: to be answered.
    New,
    /// A retransmission, or the ACK to a failure: done with.
    Absorbed,
    /// An ACK outside of any transaction: a dialog's, for a 2xx.
    AckToDialog,
}

/// What a transaction tells its owner unasked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionEvent<O> {
    /// No final response came, or the flow died: treat as 408 or 503 (RFC 3261 section 8.1.3.1).
    NoResponse(ClientId, O),
}

enum ClientMachine {
    Invite(client_invite::State),
    Other(client_other::State),
}

enum ServerMachine {
    Invite(server_invite::State),
    Other(server_other::State),
}

type Armed = SmallVec<[(Timer, u32, DeadlineKey); 2]>;

struct Client<O> {
    machine: ClientMachine,
    key: (String, Method),
    flow: Flow,
    request: Bytes,
    /// The ACK that was sent, and for a 2xx where to and to which tag.
    ack: Option<Bytes>,
    ack_flow: Flow,
    acked_tag: Option<String>,
    armed: Armed,
    owner: O,
    call: Option<Arc<str>>,
}

struct Server {
    machine: ServerMachine,
    key: String,
    flow: Flow,
    response: Option<Bytes>,
    armed: Armed,
    call: Option<Arc<str>>,
}

#[derive(Clone, Copy)]
enum Which {
    Client(ClientId),
    Server(ServerId),
}

/// All transactions. `O` names the owner of a client transaction and means nothing here.
pub struct Table<O> {
    clients: SlotMap<ClientId, Client<O>>,
    servers: SlotMap<ServerId, Server>,
    by_branch: BTreeMap<(String, Method), ClientId>,
    by_key: BTreeMap<String, ServerId>,
    deadlines: Deadlines<(Which, Timer)>,
    limit: usize,
}

/// The key of RFC 3261 section 17.2.3; for a client of RFC 2543 the fields that it compares. ACK and INVITE share one.
fn server_key(request: &Message, method: Method) -> String {
    let method = if method == Method::Ack { "INVITE" } else { method.as_str() };
    let via = request.via().ok();
    match via.as_ref().and_then(|via| Some((via, via.branch()?))) {
        Some((via, branch)) if branch.starts_with("z9hG4bK") => {
            format!("{branch}|{}:{}|{method}", via.host, via.port.unwrap_or(0))
        }
        _ => {
            let via = request.line(HeaderName::Via).unwrap_or_default();
            let from = request.from().ok().and_then(|f| f.tag().map(str::to_owned)).unwrap_or_default();
            let cseq = request.cseq().map_or(0, |c| c.number);
            let call_id = request.call_id().unwrap_or_default();
            format!("2543|{call_id}|{cseq}|{from}|{}|{method}", String::from_utf8_lossy(via))
        }
    }
}

impl<O: Copy> Table<O> {
    /// A table of at most `limit` transactions on each side.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            clients: SlotMap::with_key(),
            servers: SlotMap::with_key(),
            by_branch: BTreeMap::new(),
            by_key: BTreeMap::new(),
            deadlines: Deadlines::default(),
            limit,
        }
    }

    /// A request came in.
    pub fn receive_request(&mut self, now: Instant, request: &Message, out: &mut Vec<Transmit>) -> Incoming {
        let method = request.method().expect("the caller has seen that it is a request");
        let key = server_key(request, method);
        if let Some(&id) = self.by_key.get(&key) {
            let in_dialog_ack = method == Method::Ack
                && matches!(self.servers[id].machine, ServerMachine::Invite(server_invite::State::Accepted));
            if in_dialog_ack {
                return Incoming::AckToDialog;
            }
            self.server_event(
                now,
                id,
                if method == Method::Ack { server_invite::Event::Ack } else { server_invite::Event::Request },
                server_other::Event::Request,
                out,
            );
            return Incoming::Absorbed;
        }
        if method == Method::Ack {
            return Incoming::AckToDialog;
        }
        Incoming::New
    }

    /// Makes the transaction of a request that was [`Incoming::New`]; its responses go over `flow`. None when the table is full.
    pub fn open(&mut self, request: &Message, flow: Flow) -> Option<ServerId> {
        if self.servers.len() >= self.limit {
            return None;
        }
        let method = request.method().expect("the caller has seen that it is a request");
        let machine = if method == Method::Invite {
            ServerMachine::Invite(server_invite::State::Proceeding)
        } else {
            ServerMachine::Other(server_other::State::Trying)
        };
        let key = server_key(request, method);
        let server = Server { machine, key: key.clone(), flow, response: None, armed: Armed::new(), call: None };
        let id = self.servers.insert(server);
        self.by_key.insert(key, id);
        Some(id)
    }

    /// Says which call a server transaction belongs to, for the trace of its retransmissions.
    pub fn belongs_to(&mut self, id: ServerId, call: Arc<str>) {
        if let Some(server) = self.servers.get_mut(id) {
            server.call = Some(call);
        }
    }

    /// The INVITE transaction that a CANCEL means (RFC 3261 section 9.2).
    #[must_use]
    pub fn invite_of(&self, cancel: &Message) -> Option<ServerId> {
        self.by_key.get(&server_key(cancel, Method::Invite)).copied()
    }

    /// Answers a request; a transaction that has ended already swallows it.
    pub fn respond(&mut self, now: Instant, id: ServerId, status: u16, bytes: Bytes, out: &mut Vec<Transmit>) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let answers_again = match server.machine {
            ServerMachine::Invite(state) => {
                state == server_invite::State::Proceeding || (state == server_invite::State::Accepted && status / 100 == 2)
            }
            ServerMachine::Other(state) => state == server_other::State::Trying,
        };
        if answers_again {
            server.response = Some(bytes);
        }
        let event = match status {
            100..200 => server_invite::Event::RespondProvisional,
            200..300 => server_invite::Event::RespondSuccess,
            _ => server_invite::Event::RespondFailure,
        };
        self.server_event(now, id, event, server_other::Event::RespondFinal, out);
    }

    fn server_event(
        &mut self,
        now: Instant,
        id: ServerId,
        invite: server_invite::Event,
        other: server_other::Event,
        out: &mut Vec<Transmit>,
    ) {
        let server = &mut self.servers[id];
        let (acts, ended) = match server.machine {
            ServerMachine::Invite(state) => {
                let (next, acts) = server_invite::on(state, invite);
                server.machine = ServerMachine::Invite(next);
                (acts, next == server_invite::State::Terminated)
            }
            ServerMachine::Other(state) => {
                let (next, acts) = server_other::on(state, other);
                server.machine = ServerMachine::Other(next);
                (acts, next == server_other::State::Terminated)
            }
        };
        let reliable = server.flow.is_reliable();
        for act in acts {
            match *act {
                Act::Send => {
                    // A 2xx is its owner's to keep (RFC 6026 section 7.1).
                    let accepted = matches!(server.machine, ServerMachine::Invite(server_invite::State::Accepted));
                    let response = if accepted { server.response.take() } else { server.response.clone() };
                    if let Some(bytes) = response {
                        out.push(Transmit { flow: server.flow, bytes, call: server.call.clone() });
                    }
                }
                Act::Arm(timer) => arm(&mut self.deadlines, &mut server.armed, now, Which::Server(id), timer, reliable),
                Act::Disarm(timer) => disarm(&mut self.deadlines, &mut server.armed, timer),
                // Nobody waits for the ACK to a failure; server machines pass nothing up.
                Act::TimedOut | Act::Ack | Act::Up => {}
            }
        }
        if ended {
            self.end_server(id);
        }
    }

    fn end_server(&mut self, id: ServerId) {
        let Some(server) = self.servers.remove(id) else { return };
        self.by_key.remove(&server.key);
        for (_, _, key) in server.armed {
            self.deadlines.disarm(key);
        }
    }

    /// Sends a request of ours; `branch` is its top Via's. None when the table is full.
    #[allow(clippy::too_many_arguments)]
    pub fn send_request(
        &mut self,
        now: Instant,
        method: Method,
        branch: &str,
        flow: Flow,
        request: Bytes,
        owner: O,
        call: Option<Arc<str>>,
        out: &mut Vec<Transmit>,
    ) -> Option<ClientId> {
        if self.clients.len() >= self.limit {
            return None;
        }
        let (machine, acts) = if method == Method::Invite {
            (ClientMachine::Invite(client_invite::START.0), client_invite::START.1)
        } else {
            (ClientMachine::Other(client_other::START.0), client_other::START.1)
        };
        let key = (branch.to_owned(), method);
        let client = Client {
            machine,
            key: key.clone(),
            flow,
            request,
            ack: None,
            ack_flow: flow,
            acked_tag: None,
            armed: Armed::new(),
            owner,
            call,
        };
        let id = self.clients.insert(client);
        self.by_branch.insert(key, id);
        self.client_acts(now, id, acts, None, out);
        Some(id)
    }

    /// Cancels an INVITE of ours that has had a provisional response (RFC 3261 section 9.1), with a Reason header if there is
    /// one to give (RFC 3326). Its final response still comes.
    pub fn cancel(&mut self, now: Instant, invite: ClientId, reason: Option<&str>, owner: O, out: &mut Vec<Transmit>) {
        let Some(client) = self.clients.get(invite) else { return };
        let Some(bytes) = like_invite(&client.request, Method::Cancel, None, reason) else { return };
        let (branch, flow, call) = (client.key.0.clone(), client.flow, client.call.clone());
        self.send_request(now, Method::Cancel, &branch, flow, bytes, owner, call, out);
    }

    /// The owner has acknowledged a 2xx: each time that it comes again, so does the ACK (RFC 3261 section 13.2.2.4).
    pub fn acknowledged(&mut self, invite: ClientId, flow: Flow, ack: Bytes, remote_tag: Option<String>) {
        if let Some(client) = self.clients.get_mut(invite) {
            (client.ack, client.ack_flow, client.acked_tag) = (Some(ack), flow, remote_tag);
        }
    }

    /// Forgets an INVITE that was cancelled and never answered.
    pub fn abandon(&mut self, invite: ClientId) {
        self.end_client(invite);
    }

    /// A response came in: its transaction and owner when it is theirs to act on.
    pub fn receive_response(&mut self, now: Instant, response: &Message, out: &mut Vec<Transmit>) -> Option<(ClientId, O)> {
        let status = response.status()?;
        let branch = response.via().ok()?.branch()?.to_owned();
        let method = Method::of(response.cseq().ok()?.method);
        let id = *self.by_branch.get(&(branch, method))?;
        let client = &mut self.clients[id];
        let owner = client.owner;
        let (acts, ended) = match client.machine {
            ClientMachine::Invite(state) => {
                let event = match status {
                    100..200 => client_invite::Event::Provisional,
                    200..300 => client_invite::Event::Success,
                    _ => client_invite::Event::Failure,
                };
                let (next, acts) = client_invite::on(state, event);
                client.machine = ClientMachine::Invite(next);
                (acts, next == client_invite::State::Terminated)
            }
            ClientMachine::Other(state) => {
                let event = if status < 200 { client_other::Event::Provisional } else { client_other::Event::Final };
                let (next, acts) = client_other::on(state, event);
                client.machine = ClientMachine::Other(next);
                (acts, next == client_other::State::Terminated)
            }
        };
        if matches!(client.machine, ClientMachine::Invite(client_invite::State::Accepted)) {
            // It is neither sent again nor cancelled any more.
            client.request = Bytes::new();
        }
        let up = acts.contains(&Act::Up);
        // A 2xx again: its ACK was lost, and is sent again without troubling the owner.
        let again = client.acked_tag.is_some() && status / 100 == 2 && to_tag(response) == client.acked_tag;
        if let Some(ack) = client.ack.clone().filter(|_| again) {
            out.push(Transmit { flow: client.ack_flow, bytes: ack, call: client.call.clone() });
            return None;
        }
        self.client_acts(now, id, acts, Some(response), out);
        if ended {
            self.end_client(id);
        }
        up.then_some((id, owner))
    }

    fn client_acts(&mut self, now: Instant, id: ClientId, acts: &[Act], response: Option<&Message>, out: &mut Vec<Transmit>) {
        let client = &mut self.clients[id];
        let reliable = client.flow.is_reliable();
        for act in acts {
            match *act {
                Act::Send => out.push(Transmit { flow: client.flow, bytes: client.request.clone(), call: client.call.clone() }),
                Act::Ack => {
                    if client.ack.is_none() {
                        client.ack =
                            response.and_then(|r| like_invite(&client.request, Method::Ack, r.line(HeaderName::To), None));
                    }
                    if let Some(bytes) = client.ack.clone() {
                        out.push(Transmit { flow: client.flow, bytes, call: client.call.clone() });
                    }
                }
                Act::Arm(timer) => arm(&mut self.deadlines, &mut client.armed, now, Which::Client(id), timer, reliable),
                Act::Disarm(timer) => disarm(&mut self.deadlines, &mut client.armed, timer),
                // The caller tells the owner.
                Act::Up | Act::TimedOut => {}
            }
        }
    }

    fn end_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.remove(id) else { return };
        self.by_branch.remove(&client.key);
        for (_, _, key) in client.armed {
            self.deadlines.disarm(key);
        }
    }

    /// The earliest timer.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.next()
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Instant, events: &mut Vec<TransactionEvent<O>>, out: &mut Vec<Transmit>) {
        while let Some((which, timer)) = self.deadlines.pop_due(now) {
            match which {
                Which::Client(id) => self.client_timer(now, id, timer, events, out),
                Which::Server(id) => self.server_timer(now, id, timer, out),
            }
        }
    }

    fn client_timer(
        &mut self,
        now: Instant,
        id: ClientId,
        timer: Timer,
        events: &mut Vec<TransactionEvent<O>>,
        out: &mut Vec<Transmit>,
    ) {
        let client = &mut self.clients[id];
        let owner = client.owner;
        let (acts, ended) = match client.machine {
            ClientMachine::Invite(state) => {
                let event = match timer {
                    Timer::A => client_invite::Event::TimerA,
                    Timer::B => client_invite::Event::TimerB,
                    Timer::D => client_invite::Event::TimerD,
                    _ => client_invite::Event::TimerM,
                };
                let (next, acts) = client_invite::on(state, event);
                client.machine = ClientMachine::Invite(next);
                (acts, next == client_invite::State::Terminated)
            }
            ClientMachine::Other(state) => {
                let event = match timer {
                    Timer::E => client_other::Event::TimerE,
                    Timer::F => client_other::Event::TimerF,
                    _ => client_other::Event::TimerK,
                };
                let (next, acts) = client_other::on(state, event);
                client.machine = ClientMachine::Other(next);
                (acts, next == client_other::State::Terminated)
            }
        };
        if acts.contains(&Act::TimedOut) {
            events.push(TransactionEvent::NoResponse(id, owner));
        }
        self.client_acts(now, id, acts, None, out);
        if ended {
            self.end_client(id);
        }
    }

    fn server_timer(&mut self, now: Instant, id: ServerId, timer: Timer, out: &mut Vec<Transmit>) {
        let event = match timer {
            Timer::G => server_invite::Event::TimerG,
            Timer::H => server_invite::Event::TimerH,
            Timer::I => server_invite::Event::TimerI,
            _ => server_invite::Event::TimerL,
        };
        self.server_event(now, id, event, server_other::Event::TimerJ, out);
    }

    /// A flow is gone: what was under way over it ends now (RFC 3261 section 17.1.4).
    pub fn flow_closed(&mut self, flow: Flow, events: &mut Vec<TransactionEvent<O>>) {
        let clients: Vec<ClientId> = self.clients.iter().filter(|(_, c)| c.flow == flow).map(|(id, _)| id).collect();
        for id in clients {
            let waits = match self.clients[id].machine {
                ClientMachine::Invite(state) => matches!(state, client_invite::State::Calling | client_invite::State::Proceeding),
                ClientMachine::Other(state) => matches!(state, client_other::State::Trying | client_other::State::Proceeding),
            };
            if waits {
                events.push(TransactionEvent::NoResponse(id, self.clients[id].owner));
            }
            self.end_client(id);
        }
        let servers: Vec<ServerId> = self.servers.iter().filter(|(_, s)| s.flow == flow).map(|(id, _)| id).collect();
        for id in servers {
            self.end_server(id);
        }
    }

    /// How many transactions there are, client and server.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len() + self.servers.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn arm(deadlines: &mut Deadlines<(Which, Timer)>, armed: &mut Armed, now: Instant, which: Which, timer: Timer, reliable: bool) {
    let slot = armed.iter().position(|(t, _, _)| *t == timer);
    let fired = slot.map_or(0, |at| armed[at].1 + 1);
    let Some(length) = timer.length(fired, reliable) else { return };
    let key = deadlines.arm(now + length, (which, timer), timer.name());
    match slot {
        Some(at) => armed[at] = (timer, fired, key),
        None => armed.push((timer, fired, key)),
    }
}

fn disarm(deadlines: &mut Deadlines<(Which, Timer)>, armed: &mut Armed, timer: Timer) {
    if let Some(at) = armed.iter().position(|(t, _, _)| *t == timer) {
        deadlines.disarm(armed.remove(at).2);
    }
}

fn to_tag(response: &Message) -> Option<String> {
    response.to().ok().and_then(|to| to.tag().map(str::to_owned))
}

/// The CANCEL or the ACK to a failure that goes with an INVITE: its Request-URI, top Via, Route, From, Call-ID and CSeq
/// number; `to` from the response (RFC 3261 sections 9.1 and 17.1.1.3).
fn like_invite(invite: &Bytes, method: Method, to: Option<&[u8]>, reason: Option<&str>) -> Option<Bytes> {
    let invite = Message::parse(invite.clone(), Framing::Datagram).ok()?;
    let mut writer = Writer::request(method, invite.request_uri().ok()?.text)
        .raw("Via", invite.line(HeaderName::Via)?)
        .raw("From", invite.line(HeaderName::From)?)
        .raw("To", to.or_else(|| invite.line(HeaderName::To))?)
        .raw("Call-ID", invite.line(HeaderName::CallId)?)
        .header("CSeq", format_args!("{} {}", invite.cseq().ok()?.number, method.as_str()))
        .header("Max-Forwards", 70);
    for route in invite.lines(HeaderName::Route) {
        writer = writer.raw("Route", route);
    }
    Some(writer.headers("Reason", reason).end().into())
}
