//! A scripted SIP peer: as much of a user agent as a test needs, with its own retransmissions, so that the engine meets
//! somebody else's idea of the RFCs and not its own. It can have several calls, put them on hold, transfer them, be away and
//! come back.

mod beside;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringway::signalling::record::TraceRecord;
use ringway::wire::sip::digest::{Algorithm, Credentials};
use ringway::wire::sip::{Framing, HeaderName, Message, Method};

const T1: Duration = Duration::from_millis(500);
const GIVE_UP: Duration = Duration::from_secs(32);

/// What a peer does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callee {
    /// 180, then 200.
    Answers,
    /// 183 with its description, then 200 with the same.
    AnswersAfterEarlyMedia,
    /// 180 that wants a PRACK, then 200.
    AnswersReliably,
    /// 180, then this failure.
    Refuses(u16),
    /// 180, then nothing.
    Rings,
    /// 302 to this name.
    Redirects(&'static str),
    /// Nothing at all: it is not there any more.
    Dead,
}

/// What a peer has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No call yet.
    Idle,
    /// It calls, or is called.
    Pending,
    /// It talks.
    Talking,
    /// It hung up, or was hung up on, after it talked.
    Ended,
    /// The call failed with this status (0: nothing was ever heard).
    Failed(u16),
}

/// Which way media goes, as its side of a call says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Both,
    SendOnly,
    Inactive,
}

impl Direction {
    fn line(self) -> &'static str {
        match self {
            Self::Both => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::Inactive => "inactive",
        }
    }
}

/// One call of a peer's.
#[derive(Debug)]
pub struct Call {
    pub call_id: String,
    /// Its own From or To, and the other's, with tags as far as they are known.
    local: String,
    pub remote: String,
    target: String,
    cseq: u32,
    remote_cseq: u32,
    pub outcome: Outcome,
    pub direction: Direction,
    /// Its media port: who hears it is known by that.
    pub port: u16,
    sdp_version: u32,
    caller: bool,
    /// The INVITE that is being settled: ours to cancel, theirs to answer.
    invite: Vec<u8>,
    invite_cseq: u32,
    cancelled: bool,
    ringing_branch: String,
    answer_at: Option<Instant>,
    hang_up_at: Option<Instant>,
    cancel_at: Option<Instant>,
    /// It rings no longer than this.
    stop_at: Option<Instant>,
    reinvite_at: Option<Instant>,
    rseq: u32,
    waits_for_prack: bool,
    /// Whether our re-INVITE or theirs is under way.
    offering: bool,
    wanted: Option<Direction>,
    /// What the other side described last.
    pub heard_sdp: String,
    /// Statuses of what it asked by REFER, as NOTIFY told.
    pub referred: Vec<u16>,
    /// The final status of its last REFER.
    pub refer_status: Option<u16>,
    /// Keys that came as INFO.
    pub keys: Vec<String>,
    /// Reason headers of the BYE or CANCEL that ended it.
    pub reason: Option<String>,
}

impl Call {
    /// Its device gives its final response now.
    pub fn wind_up(&mut self, now: Instant) {
        self.answer_at = Some(now + Duration::from_millis(1));
    }

    /// The tag that the gateway gave it while it rang, as the ladder shows it.
    pub fn early_tag(&self, ladder: &[TraceRecord], addr: SocketAddr) -> Option<String> {
        let mut sent = ladder.iter().rev().filter(|t| !t.rx && t.remote == addr && t.bytes.starts_with(b"SIP/2.0 180"));
        sent.find_map(|t| {
            let message = Message::parse(t.bytes.clone(), Framing::Datagram).expect("ours");
            let own = message.call_id() == Ok(self.call_id.as_str());
            own.then(|| message.to().expect("To").tag().expect("a tag").to_owned())
        })
    }
}

/// A request of ours that waits for a response.
struct Client {
    bytes: Vec<u8>,
    method: Method,
    call: Option<String>,
    next: Instant,
    interval: Duration,
    until: Instant,
    provisional: bool,
}

struct Unacked {
    bytes: Vec<u8>,
    next: Instant,
    interval: Duration,
    until: Instant,
    call: String,
    success: bool,
}

/// One peer, over UDP or over a WebSocket.
pub struct Peer {
    /// Its account.
    pub name: String,
    pub addr: SocketAddr,
    pub websocket: bool,
    /// Which device of its account it is.
    pub instance: Option<String>,
    pub callee: Callee,
    pub answers_after: Duration,
    /// When talking, hangs up after this.
    pub hangs_up_after: Option<Duration>,
    /// When calling, gives up after this.
    pub cancels_after: Option<Duration>,
    /// Whether it says that it knows UPDATE.
    pub knows_update: bool,
    /// The status by which it refuses all that is proposed to it in mid-call.
    pub refuses_reinvites: Option<u16>,
    /// Whether its INVITEs make no offer.
    pub offerless: bool,
    /// The payload types that it offers and answers with over UDP.
    pub formats: &'static str,
    /// The payload types of audio that it offers and answers with over a WebSocket.
    pub web_formats: &'static str,
    /// Which ICE session its descriptions belong to; another one is a restart.
    pub ice_session: u32,
    /// What its INVITEs add.
    pub extra: String,
    /// `Session-Expires` of its INVITEs and 200s.
    pub session_expires: Option<&'static str>,
    /// What the last call came to.
    pub outcome: Outcome,
    pub registered: bool,
    pub provisionals: Vec<u16>,
    /// The SDP that the other side gave last.
    pub heard_sdp: Option<String>,
    pub calls: Vec<Call>,
    /// Does not answer challenges to what it asks beside its calls.
    pub stubborn: bool,
    /// What it asked beside its calls.
    pub asks: Vec<beside::Ask>,
    /// What it was told beside its calls: MESSAGE and NOTIFY.
    pub heard: Vec<Message>,
    /// How it answers those.
    pub answers_with: u16,
    out: Vec<Vec<u8>>,
    clients: BTreeMap<String, Client>,
    unacked: BTreeMap<(String, u32), Unacked>,
    answered: BTreeMap<(String, Method), Vec<u8>>,
    acks: BTreeMap<(String, u32), Vec<u8>>,
    serial: u32,
    cseq: u32,
    /// The world's time, before it is let act.
    pub now: Instant,
}

fn text(message: &Message, name: HeaderName) -> String {
    String::from_utf8_lossy(message.line(name).expect("a header")).into_owned()
}

impl Peer {
    pub fn new(name: &str, addr: SocketAddr, websocket: bool, now: Instant) -> Self {
        Self {
            name: name.to_owned(),
            addr,
            websocket,
            instance: websocket.then(|| format!("\"<urn:uuid:{addr}>\"")),
            callee: Callee::Answers,
            answers_after: Duration::from_secs(2),
            hangs_up_after: None,
            cancels_after: None,
            knows_update: true,
            refuses_reinvites: None,
            offerless: false,
            formats: "8 0 101",
            web_formats: "111 0 8",
            ice_session: 0,
            extra: String::new(),
            session_expires: None,
            outcome: Outcome::Idle,
            registered: false,
            provisionals: Vec::new(),
            heard_sdp: None,
            calls: Vec::new(),
            stubborn: false,
            asks: Vec::new(),
            heard: Vec::new(),
            answers_with: 200,
            out: Vec::new(),
            clients: BTreeMap::new(),
            unacked: BTreeMap::new(),
            answered: BTreeMap::new(),
            acks: BTreeMap::new(),
            serial: 0,
            cseq: 0,
            now,
        }
    }

    pub fn password(name: &str) -> String {
        format!("secret of {name}")
    }

    /// The first part of its ICE user fragments: which peer it is.
    pub fn ufrag(&self) -> String {
        format!("{}{}", self.name, self.addr.ip().to_string().rsplit('.').next().expect("four numbers"))
    }

    /// Calls that stand.
    pub fn talking(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.outcome == Outcome::Talking)
    }

    fn at(&self, call_id: &str) -> Option<usize> {
        self.calls.iter().position(|call| call.call_id == call_id)
    }

    fn set(&mut self, at: usize, outcome: Outcome) {
        self.calls[at].outcome = outcome;
        if at + 1 == self.calls.len() {
            self.outcome = outcome;
        }
    }

    fn branch(&mut self) -> String {
        self.serial += 1;
        format!("z9hG4bK{}{}", self.addr.to_string().replace([':', '.'], "x"), self.serial)
    }

    fn via(&self, branch: &str) -> String {
        if self.websocket {
            format!("SIP/2.0/WS {}.invalid;branch={branch}", self.name)
        } else {
            format!("SIP/2.0/UDP {};rport;branch={branch}", self.addr)
        }
    }

    fn contact(&self) -> String {
        if self.websocket {
            format!("<sip:{0}@{0}.invalid;transport=ws>", self.name)
        } else {
            format!("<sip:{}@{}>", self.name, self.addr)
        }
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.out.push(bytes);
    }

    /// Sends a request, and over UDP sends it again until it is answered.
    fn request(&mut self, method: Method, branch: &str, bytes: Vec<u8>, call: Option<String>) {
        let client = Client {
            bytes: bytes.clone(),
            method,
            call,
            next: self.now + T1,
            interval: T1,
            until: self.now + GIVE_UP,
            provisional: false,
        };
        let key = if method == Method::Cancel { format!("{branch} CANCEL") } else { branch.to_owned() };
        self.clients.insert(key, client);
        self.send(bytes);
    }

    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.out)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let clients = self.clients.values().map(|c| {
            // What is reliable is not said again, and what rings is waited for.
            if self.websocket || (c.provisional && c.method == Method::Invite) { c.until + GIVE_UP * 8 } else { c.next }
        });
        let unacked = self.unacked.values().map(|u| if self.websocket { u.until } else { u.next });
        let calls = self.calls.iter().flat_map(|c| [c.answer_at, c.hang_up_at, c.cancel_at, c.stop_at, c.reinvite_at]).flatten();
        clients.chain(unacked).chain(calls).chain(self.next_ask()).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.retransmit(now);
        self.on_ask_timeout(now);
        for at in 0..self.calls.len() {
            let due = |timer: &mut Option<Instant>| timer.is_some_and(|t| t <= now) && timer.take().is_some();
            let call = &mut self.calls[at];
            let (answer, hang_up) = (due(&mut call.answer_at), due(&mut call.hang_up_at));
            let (cancel, stop, reinvite) = (due(&mut call.cancel_at), due(&mut call.stop_at), due(&mut call.reinvite_at));
            let outcome = call.outcome;
            if answer {
                self.final_response(at);
            }
            if hang_up && outcome == Outcome::Talking {
                self.bye_at(at);
            }
            if cancel && outcome == Outcome::Pending {
                self.cancel(at);
            }
            if stop && outcome == Outcome::Pending {
                self.finish_invite(at, 480);
            }
            if reinvite && outcome == Outcome::Talking {
                let wanted = self.calls[at].wanted.unwrap_or(Direction::Both);
                self.reinvite(at, Some(wanted));
            }
        }
    }

    fn retransmit(&mut self, now: Instant) {
        let (mut again, mut gave_up, mut unheard) = (Vec::new(), Vec::new(), Vec::new());
        for (key, client) in &mut self.clients {
            let waits = self.websocket || (client.provisional && client.method == Method::Invite);
            if waits {
                if now >= client.until + GIVE_UP * 8 {
                    gave_up.push(key.clone());
                }
            } else if client.next <= now {
                if now >= client.until {
                    gave_up.push(key.clone());
                } else {
                    again.push(client.bytes.clone());
                    client.interval = (client.interval * 2).min(Duration::from_secs(4));
                    client.next = now + client.interval;
                }
            }
        }
        for (key, unacked) in &mut self.unacked {
            let due = if self.websocket { unacked.until } else { unacked.next };
            if due > now {
                continue;
            }
            if now >= unacked.until {
                unheard.push(key.clone());
            } else {
                again.push(unacked.bytes.clone());
                unacked.interval = (unacked.interval * 2).min(Duration::from_secs(4));
                unacked.next = now + unacked.interval;
            }
        }
        self.out.extend(again);
        for key in gave_up {
            let client = self.clients.remove(&key).expect("listed");
            let at = client.call.and_then(|call| self.at(&call));
            match (client.method, at) {
                (Method::Invite, Some(at)) if self.calls[at].outcome == Outcome::Pending => self.set(at, Outcome::Failed(0)),
                // RFC 3261 section 14.1: the dialog is given up.
                (Method::Invite, Some(at)) if self.calls[at].outcome == Outcome::Talking => self.bye_at(at),
                _ => {}
            }
        }
        for key in unheard {
            let unacked = self.unacked.remove(&key).expect("listed");
            // Our 2xx was never acknowledged: RFC 3261 section 13.3.1.4 has us hang up.
            if let Some(at) = self.at(&unacked.call).filter(|at| unacked.success && self.calls[*at].outcome == Outcome::Talking) {
                self.bye_at(at);
            }
        }
    }

    pub fn register(&mut self, now: Instant) {
        self.now = now;
        self.send_register(None, 600);
    }

    fn send_register(&mut self, authorization: Option<String>, expires: u32) {
        self.cseq += 1;
        let branch = self.branch();
        let (via, contact, cseq, name) = (self.via(&branch), self.contact(), self.cseq, self.name.clone());
        let authorization = authorization.map(|a| format!("Authorization: {a}\r\n")).unwrap_or_default();
        let instance = self.instance.as_ref().map(|i| format!(";reg-id=1;+sip.instance={i}")).unwrap_or_default();
        let text = format!(
            "REGISTER sip:sim.test SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:{name}@sim.test>;tag=r{name}\r\nTo: <sip:{name}@sim.test>\r\nCall-ID: reg-{}\r\nCSeq: {cseq} REGISTER\r\nContact: {contact};expires={expires}{instance}\r\nSupported: outbound, path\r\n{authorization}Content-Length: 0\r\n\r\n",
            self.addr
        );
        self.request(Method::Register, &branch, text.into_bytes(), None);
    }

    /// Calls a name or number.
    pub fn call(&mut self, target: &str, now: Instant) {
        self.now = now;
        self.outcome = Outcome::Pending;
        self.provisionals.clear();
        self.serial += 1;
        let call_id = format!("call-{}-{}", self.addr, self.serial);
        let call = Call {
            local: format!("<sip:{}@sim.test>;tag=c{}{}", self.name, self.name, self.serial),
            remote: format!("<sip:{target}@sim.test>"),
            target: format!("sip:{target}@sim.test"),
            caller: true,
            cancel_at: self.cancels_after.map(|after| now + after),
            ..self.new_call(call_id.clone())
        };
        self.calls.push(call);
        self.send_invite(self.calls.len() - 1, None);
    }

    fn new_call(&self, call_id: String) -> Call {
        Call {
            call_id,
            local: String::new(),
            remote: String::new(),
            target: String::new(),
            cseq: 0,
            remote_cseq: 0,
            outcome: Outcome::Pending,
            direction: Direction::Both,
            port: 4_000 + 2 * u16::try_from(self.calls.len() % 10_000).expect("small"),
            sdp_version: 0,
            caller: false,
            invite: Vec::new(),
            invite_cseq: 0,
            cancelled: false,
            ringing_branch: String::new(),
            answer_at: None,
            hang_up_at: None,
            cancel_at: None,
            stop_at: None,
            reinvite_at: None,
            rseq: 0,
            waits_for_prack: false,
            offering: false,
            wanted: None,
            heard_sdp: String::new(),
            referred: Vec::new(),
            refer_status: None,
            keys: Vec::new(),
            reason: None,
        }
    }

    /// A request within (or making) a call.
    fn in_call(&mut self, at: usize, method: Method, headers: &str, body: Option<(&str, String)>) {
        let branch = self.branch();
        let via = self.via(&branch);
        let contact = self.contact();
        let call = &mut self.calls[at];
        call.cseq += 1;
        if method == Method::Invite {
            call.invite_cseq = call.cseq;
        }
        let content = match &body {
            Some((kind, body)) => format!("Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len()),
            None => "Content-Length: 0\r\n\r\n".to_owned(),
        };
        let text = format!(
            "{0} {1} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {2}\r\nTo: {3}\r\nCall-ID: {4}\r\nCSeq: {5} {0}\r\nContact: {contact}\r\nAllow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, INFO, REFER, NOTIFY\r\n{headers}{content}",
            method.as_str(),
            call.target,
            call.local,
            call.remote,
            call.call_id,
            call.cseq
        );
        let call_id = call.call_id.clone();
        if method == Method::Invite {
            call.invite = text.clone().into_bytes();
        }
        self.request(method, &branch, text.into_bytes(), Some(call_id));
    }

    fn send_invite(&mut self, at: usize, authorization: Option<String>) {
        let mut headers = authorization.map(|a| format!("Authorization: {a}\r\n")).unwrap_or_default();
        headers += &self.extra;
        if let Some(expires) = self.session_expires {
            headers += &format!("Supported: timer\r\nSession-Expires: {expires}\r\n");
        }
        let body = (!self.offerless).then(|| ("application/sdp", self.sdp(at, true)));
        self.in_call(at, Method::Invite, &headers, body);
    }

    fn sdp(&mut self, at: usize, offer: bool) -> String {
        let (ip, ufrag, formats, ice) = (self.addr.ip(), self.ufrag(), self.formats, self.ice_session);
        let web = self.web_formats;
        let call = &mut self.calls[at];
        call.sdp_version += 1;
        let (version, port, direction) = (call.sdp_version, call.port, call.direction.line());
        if self.websocket {
            format!(
                "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF {web} 110 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2113937151 6a1a.local {port} typ host\r\na=ice-ufrag:{}x{port}\r\na=ice-pwd:012345678901234567890{ice}\r\na=fingerprint:sha-256 {}\r\na=setup:{}\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n",
                ufrag,
                ["AB"; 32].join(":"),
                if offer { "actpass" } else { "active" },
            )
        } else {
            format!(
                "v=0\r\no=- 1 {version} IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\n"
            )
        }
    }

    pub fn cancel(&mut self, at: usize) {
        // Not before a provisional response (RFC 3261 section 9.1); then at once.
        self.calls[at].cancelled = true;
        if !self.provisionals.is_empty() {
            self.send_cancel(at);
        }
    }

    fn send_cancel(&mut self, at: usize) {
        let invite = String::from_utf8(self.calls[at].invite.clone()).expect("text");
        let branch = invite.split("branch=").nth(1).and_then(|b| b.split('\r').next()).expect("a branch").to_owned();
        let head = invite
            .split("\r\nContact:")
            .next()
            .expect("a head")
            .replace("INVITE sip", "CANCEL sip")
            .replace(" INVITE", " CANCEL");
        let call = self.calls[at].call_id.clone();
        self.request(Method::Cancel, &branch, format!("{head}\r\nContent-Length: 0\r\n\r\n").into_bytes(), Some(call));
    }

    /// Hangs up what stands.
    pub fn bye(&mut self) {
        if let Some(at) = self.calls.iter().rposition(|call| call.outcome == Outcome::Talking) {
            self.bye_at(at);
        }
    }

    pub fn bye_at(&mut self, at: usize) {
        let call_id = self.calls[at].call_id.clone();
        self.unacked.retain(|_, unacked| unacked.call != call_id);
        self.in_call(at, Method::Bye, "", None);
        self.set(at, Outcome::Ended);
    }

    /// Proposes a description; without one if `direction` is none.
    pub fn reinvite(&mut self, at: usize, direction: Option<Direction>) {
        let call = &mut self.calls[at];
        if call.offering {
            return;
        }
        call.offering = true;
        call.wanted = direction;
        let body = direction.map(|direction| {
            let before = std::mem::replace(&mut self.calls[at].direction, direction);
            let sdp = self.sdp(at, true);
            // It counts once it is agreed to.
            self.calls[at].direction = before;
            ("application/sdp", sdp)
        });
        self.in_call(at, Method::Invite, "", body);
    }

    /// Shows that it is still there.
    pub fn update(&mut self, at: usize, headers: &str) {
        self.in_call(at, Method::Update, headers, None);
    }

    /// Presses a key.
    pub fn key(&mut self, at: usize, key: char) {
        self.in_call(at, Method::Info, "", Some(("application/dtmf-relay", format!("Signal={key}\r\nDuration=160\r\n"))));
    }

    /// Transfers a call to a name, blind.
    pub fn refer(&mut self, at: usize, target: &str) {
        self.calls[at].refer_status = None;
        self.in_call(at, Method::Refer, &format!("Refer-To: <sip:{target}@sim.test>\r\n"), None);
    }

    /// Hands the one of a call over to the one of another.
    pub fn refer_to_call(&mut self, at: usize, other: usize) {
        self.refer_replacing(at, &self.replaces(other));
    }

    /// REFER with this Replaces.
    pub fn refer_replacing(&mut self, at: usize, value: &str) {
        let escaped = value.replace(';', "%3B").replace('=', "%3D").replace(':', "%3A");
        self.calls[at].refer_status = None;
        self.in_call(at, Method::Refer, &format!("Refer-To: <sip:x@sim.test?Replaces={escaped}>\r\n"), None);
    }

    /// The Replaces value of a call.
    pub fn replaces(&self, at: usize) -> String {
        let tag = |value: &str| value.split(";tag=").nth(1).unwrap_or_default().to_owned();
        let call = &self.calls[at];
        format!("{};to-tag={};from-tag={}", call.call_id, tag(&call.remote), tag(&call.local))
    }

    pub fn receive(&mut self, bytes: &[u8], now: Instant) {
        self.now = now;
        let message = Message::parse(bytes.to_vec().into(), Framing::Datagram).expect("the engine writes what parses");
        assert_eq!(message.check(), Ok(()), "the engine writes what is right: {}", String::from_utf8_lossy(bytes));
        if message.status().is_some() { self.on_response(&message) } else { self.on_request(&message) }
    }

    fn on_response(&mut self, response: &Message) {
        let status = response.status().expect("a response");
        let cseq = response.cseq().expect("CSeq");
        let method = Method::of(cseq.method);
        let branch = response.via().expect("Via").branch().expect("a branch").to_owned();
        if self.on_ask_response(response, &branch) {
            return;
        }
        let key = if method == Method::Cancel { format!("{branch} CANCEL") } else { branch };
        let call_id = response.call_id().expect("Call-ID").to_owned();
        let acked = (call_id.clone(), cseq.number);
        if method == Method::Invite && status >= 200 {
            // Each final response is acknowledged each time that it comes.
            if let Some(ack) = self.acks.get(&acked) {
                let ack = ack.clone();
                self.send(ack);
            }
        }
        if status < 200 {
            if let Some(client) = self.clients.get_mut(&key) {
                client.provisional = true;
                if method == Method::Invite {
                    self.on_provisional(response, status, &call_id);
                }
            }
            return;
        }
        let Some(client) = self.clients.remove(&key) else { return };
        match method {
            Method::Register => match status {
                401 => {
                    let authorization = self.authorize(response, "REGISTER", "sip:sim.test");
                    self.send_register(Some(authorization), 600);
                }
                200 => self.registered = true,
                other => panic!("{} cannot register: {other}", self.name),
            },
            Method::Invite => self.on_invite_response(response, status, &client),
            Method::Refer => {
                if let Some(at) = self.at(&call_id) {
                    self.calls[at].refer_status = Some(status);
                }
            }
            _ => {}
        }
    }

    fn on_provisional(&mut self, response: &Message, status: u16, call_id: &str) {
        if self.provisionals.last() != Some(&status) {
            self.provisionals.push(status);
        }
        let Some(at) = self.at(call_id) else { return };
        if self.calls[at].cancelled && self.provisionals.len() == 1 {
            self.send_cancel(at);
        }
        if response.lists(HeaderName::Require, "100rel") {
            let rseq = String::from_utf8_lossy(response.line_named("RSeq").expect("RSeq")).into_owned();
            let number = response.cseq().expect("CSeq").number;
            let call = &mut self.calls[at];
            if call.rseq.to_string() != rseq {
                call.rseq = rseq.parse().expect("a number");
                let (remote, target) = (call.remote.clone(), call.target.clone());
                call.remote = text(response, HeaderName::To);
                response.contact().expect("Contact").uri.text.clone_into(&mut call.target);
                self.in_call(at, Method::Prack, &format!("RAck: {rseq} {number} INVITE\r\n"), None);
                (self.calls[at].remote, self.calls[at].target) = (remote, target);
            }
        }
    }

    fn on_invite_response(&mut self, response: &Message, status: u16, client: &Client) {
        let Some(at) = client.call.as_ref().and_then(|call| self.at(call)) else { return };
        let number = response.cseq().expect("CSeq").number;
        let first = self.calls[at].outcome == Outcome::Pending && self.calls[at].caller;
        if status == 200 && first {
            self.calls[at].remote = text(response, HeaderName::To);
            response.contact().expect("Contact").uri.text.clone_into(&mut self.calls[at].target);
        }
        let body = String::from_utf8_lossy(response.body()).into_owned();
        self.ack(at, response, status, number);
        if !first {
            return self.on_reinvite_response(at, status, &body);
        }
        match status {
            401 => {
                let uri = self.calls[at].target.clone();
                let authorization = self.authorize(response, "INVITE", &uri);
                self.provisionals.clear();
                self.send_invite(at, Some(authorization));
            }
            200 => {
                assert!(!body.is_empty(), "JsSIP rejects a 200 without a body");
                self.heard_sdp = Some(body.clone());
                self.calls[at].heard_sdp = body;
                self.set(at, Outcome::Talking);
                if self.calls[at].cancelled {
                    self.bye_at(at);
                } else {
                    self.calls[at].hang_up_at = self.hangs_up_after.map(|after| self.now + after);
                }
            }
            failure => self.set(at, Outcome::Failed(failure)),
        }
    }

    fn on_reinvite_response(&mut self, at: usize, status: u16, body: &str) {
        self.calls[at].offering = false;
        match status {
            200 => {
                body.clone_into(&mut self.calls[at].heard_sdp);
                if let Some(wanted) = self.calls[at].wanted {
                    self.calls[at].direction = wanted;
                }
            }
            491 => {
                let after = if self.calls[at].caller { 2_500 } else { 900 };
                self.calls[at].reinvite_at = Some(self.now + Duration::from_millis(after));
            }
            408 | 481 if self.calls[at].outcome == Outcome::Talking => self.bye_at(at),
            _ => {}
        }
    }

    fn ack(&mut self, at: usize, response: &Message, status: u16, number: u32) {
        let (uri, via) = if status < 300 {
            let branch = self.branch();
            (response.contact().expect("Contact").uri.text.to_owned(), self.via(&branch))
        } else {
            // RFC 3261 section 17.1.1.3: the INVITE's own Via.
            let via = text(response, HeaderName::Via).split(";received").next().expect("a Via").to_owned();
            (self.calls[at].target.clone(), via)
        };
        // Our INVITE made no offer: the 200 did, and this answers it.
        let answers = status < 300 && !String::from_utf8_lossy(&self.calls[at].invite).contains("\r\nm=audio");
        let content = if answers {
            let sdp = self.sdp(at, false);
            format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
        } else {
            "Content-Length: 0\r\n\r\n".to_owned()
        };
        let ack = format!(
            "ACK {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} ACK\r\n{content}",
            text(response, HeaderName::From),
            text(response, HeaderName::To),
            text(response, HeaderName::CallId),
        );
        self.acks.insert((text(response, HeaderName::CallId), number), ack.clone().into_bytes());
        self.send(ack.into_bytes());
    }

    fn authorize(&self, challenge: &Message, method: &str, uri: &str) -> String {
        let value = String::from_utf8_lossy(challenge.line(HeaderName::WwwAuthenticate).expect("a challenge")).into_owned();
        let field = |name: &str| {
            value
                .split(&format!("{name}="))
                .nth(1)
                .expect("a field")
                .trim_start_matches('"')
                .split(['"', ','])
                .next()
                .expect("a value")
                .to_owned()
        };
        let algorithm = if field("algorithm") == "MD5" { Algorithm::Md5 } else { Algorithm::Sha256 };
        let write = |response: &str| {
            format!(
                "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", algorithm={}, qop=auth, cnonce=\"c\", nc=00000001, response=\"{response}\"",
                self.name,
                field("realm"),
                field("nonce"),
                algorithm.as_str()
            )
        };
        let ha1 = algorithm.hash_hex(format!("{}:sim.test:{}", self.name, Self::password(&self.name)).as_bytes());
        let draft = Credentials::parse(write("0").as_bytes()).expect("well formed");
        write(&draft.expected_response(algorithm, &ha1, method))
    }

    fn respond(&self, request: &Message, status: u16, headers: &str, body: Option<String>) -> Vec<u8> {
        let mut out = format!("SIP/2.0 {status} X\r\n");
        for via in request.lines(HeaderName::Via) {
            out += &format!("Via: {}\r\n", String::from_utf8_lossy(via));
        }
        for (name, title) in [(HeaderName::From, "From"), (HeaderName::CallId, "Call-ID"), (HeaderName::CSeq, "CSeq")] {
            out += &format!("{title}: {}\r\n", text(request, name));
        }
        let to = text(request, HeaderName::To);
        let tag = if to.contains("tag=") || status == 100 { String::new() } else { format!(";tag=s{}", self.name) };
        out += &format!(
            "To: {to}{tag}\r\nContact: {}\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, INFO, NOTIFY{}\r\n{headers}",
            self.contact(),
            if self.knows_update { ", UPDATE" } else { "" }
        );
        let body = body.map_or_else(
            || "Content-Length: 0\r\n\r\n".to_owned(),
            |b| format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{b}", b.len()),
        );
        (out + &body).into_bytes()
    }

    fn on_request(&mut self, request: &Message) {
        let method = request.method().expect("a request");
        if self.callee == Callee::Dead {
            return;
        }
        let branch = request.via().expect("Via").branch().expect("a branch").to_owned();
        let call_id = request.call_id().expect("Call-ID").to_owned();
        let number = request.cseq().expect("CSeq").number;
        if method == Method::Ack {
            let unacked = self.unacked.remove(&(call_id.clone(), number));
            if let (Some(at), Some(_)) = (self.at(&call_id), unacked) {
                self.calls[at].offering = false;
                if !request.body().is_empty() {
                    self.calls[at].heard_sdp = String::from_utf8_lossy(request.body()).into_owned();
                }
            }
            return;
        }
        let key = (branch.clone(), method);
        if let Some(last) = self.answered.get(&key) {
            let last = last.clone();
            return self.send(last);
        }
        if method == Method::Message || (method == Method::Notify && self.at(&call_id).is_none()) {
            return self.on_beside(request, key);
        }
        if method == Method::Invite && !text(request, HeaderName::To).contains("tag=") {
            return self.on_invite(request, &branch);
        }
        if method == Method::Cancel {
            let ok = self.respond(request, 200, "", None);
            self.answer(key, ok);
            let at = self.calls.iter().position(|call| call.ringing_branch == branch);
            if let Some(at) = at.filter(|at| self.calls[*at].outcome == Outcome::Pending) {
                self.calls[at].answer_at = None;
                self.calls[at].reason = request.line(HeaderName::Reason).map(|r| String::from_utf8_lossy(r).into_owned());
                self.finish_invite(at, 487);
            }
            return;
        }
        let at = self.at(&call_id).filter(|at| !matches!(self.calls[*at].outcome, Outcome::Failed(_)));
        let Some(at) = at else {
            let gone = self.respond(request, 481, "", None);
            return self.answer(key, gone);
        };
        if number <= self.calls[at].remote_cseq {
            let late = self.respond(request, 500, "", None);
            return self.answer(key, late);
        }
        self.calls[at].remote_cseq = number;
        self.on_dialog_request(request, method, at, key);
    }

    fn answer(&mut self, key: (String, Method), bytes: Vec<u8>) {
        self.answered.insert(key, bytes.clone());
        self.send(bytes);
    }

    fn on_dialog_request(&mut self, request: &Message, method: Method, at: usize, key: (String, Method)) {
        match method {
            Method::Invite => self.on_reinvite(request, at, key),
            Method::Bye => {
                let ok = self.respond(request, 200, "", None);
                self.answer(key, ok);
                self.calls[at].reason = request.line(HeaderName::Reason).map(|r| String::from_utf8_lossy(r).into_owned());
                let call_id = self.calls[at].call_id.clone();
                self.unacked.retain(|_, unacked| unacked.call != call_id);
                self.set(at, Outcome::Ended);
            }
            Method::Prack => {
                let ok = self.respond(request, 200, "", None);
                self.answer(key, ok);
                let branch = self.calls[at].ringing_branch.clone();
                self.unacked.remove(&(branch, 0));
                self.calls[at].waits_for_prack = false;
            }
            Method::Notify => {
                let ok = self.respond(request, 200, "", None);
                self.answer(key, ok);
                let body = String::from_utf8_lossy(request.body()).into_owned();
                let status = body.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a fragment of a response");
                self.calls[at].referred.push(status);
            }
            Method::Info => {
                let ok = self.respond(request, 200, "", None);
                self.answer(key, ok);
                self.calls[at].keys.push(String::from_utf8_lossy(request.body()).into_owned());
            }
            Method::Update => {
                let expires = request.line(HeaderName::SessionExpires).map(|v| String::from_utf8_lossy(v).into_owned());
                let headers = expires.map(|v| format!("Session-Expires: {v}\r\n")).unwrap_or_default();
                let ok = self.respond(request, 200, &headers, None);
                self.answer(key, ok);
            }
            other => panic!("{}: unexpected {other:?}", self.name),
        }
    }

    fn on_reinvite(&mut self, request: &Message, at: usize, key: (String, Method)) {
        if let Some(status) = self.refuses_reinvites {
            let refusal = self.respond(request, status, "", None);
            return self.answer(key, refusal);
        }
        if self.calls[at].offering {
            let pending = self.respond(request, 491, "", None);
            return self.answer(key, pending);
        }
        self.calls[at].offering = true;
        let sdp = self.sdp(at, request.body().is_empty());
        if !request.body().is_empty() {
            self.calls[at].heard_sdp = String::from_utf8_lossy(request.body()).into_owned();
        }
        let expires = request.line(HeaderName::SessionExpires).map(|v| String::from_utf8_lossy(v).into_owned());
        let headers = expires.map(|v| format!("Session-Expires: {v}\r\n")).unwrap_or_default();
        let ok = self.respond(request, 200, &headers, Some(sdp));
        let number = request.cseq().expect("CSeq").number;
        self.wait_for_ack(at, number, ok.clone(), true);
        self.answer(key, ok);
    }

    fn wait_for_ack(&mut self, at: usize, number: u32, bytes: Vec<u8>, success: bool) {
        let call = self.calls[at].call_id.clone();
        let unacked =
            Unacked { bytes, next: self.now + T1, interval: T1, until: self.now + GIVE_UP, call: call.clone(), success };
        self.unacked.insert((call, number), unacked);
    }

    fn on_invite(&mut self, request: &Message, branch: &str) {
        self.outcome = Outcome::Pending;
        let body = String::from_utf8_lossy(request.body()).into_owned();
        self.heard_sdp = Some(body.clone());
        let call = Call {
            local: format!("{};tag=s{}", text(request, HeaderName::To), self.name),
            remote: text(request, HeaderName::From),
            target: request.contact().expect("Contact").uri.text.to_owned(),
            remote_cseq: request.cseq().expect("CSeq").number,
            invite: request.bytes().to_vec(),
            ringing_branch: branch.to_owned(),
            heard_sdp: body,
            ..self.new_call(request.call_id().expect("Call-ID").to_owned())
        };
        self.calls.push(call);
        let at = self.calls.len() - 1;
        let key = (branch.to_owned(), Method::Invite);
        let ringing = match self.callee {
            Callee::AnswersAfterEarlyMedia => {
                let sdp = self.sdp(at, false);
                self.respond(request, 183, "", Some(sdp))
            }
            Callee::AnswersReliably => {
                self.calls[at].waits_for_prack = true;
                let reliable = self.respond(request, 180, "Require: 100rel\r\nRSeq: 7\r\n", None);
                let unacked = Unacked {
                    bytes: reliable.clone(),
                    next: self.now + T1,
                    interval: T1,
                    until: self.now + GIVE_UP,
                    call: self.calls[at].call_id.clone(),
                    success: false,
                };
                self.unacked.insert((branch.to_owned(), 0), unacked);
                reliable
            }
            _ => self.respond(request, 180, "", None),
        };
        self.answer(key, ringing);
        if self.callee == Callee::Rings {
            self.calls[at].stop_at = Some(self.now + Duration::from_secs(120));
        } else {
            self.calls[at].answer_at = Some(self.now + self.answers_after);
        }
    }

    fn final_response(&mut self, at: usize) {
        if self.calls[at].outcome != Outcome::Pending {
            return;
        }
        match self.callee {
            Callee::AnswersReliably if self.calls[at].waits_for_prack => {
                self.calls[at].answer_at = Some(self.now + Duration::from_millis(500));
            }
            Callee::Refuses(status) => self.finish_invite(at, status),
            Callee::Redirects(_) => self.finish_invite(at, 302),
            Callee::Rings | Callee::Dead => {}
            _ => self.finish_invite(at, 200),
        }
    }

    fn finish_invite(&mut self, at: usize, status: u16) {
        let invite = Message::parse(self.calls[at].invite.clone().into(), Framing::Datagram).expect("parsed before");
        self.calls[at].stop_at = None;
        self.unacked.remove(&(self.calls[at].ringing_branch.clone(), 0));
        let early = self.callee == Callee::AnswersAfterEarlyMedia;
        let body = (status == 200).then(|| {
            if early {
                self.calls[at].sdp_version -= 1;
            }
            self.sdp(at, false)
        });
        let headers = match (status, self.callee, self.session_expires) {
            (302, Callee::Redirects(target), _) => format!("Contact: <sip:{target}@sim.test>\r\n"),
            (200, _, Some(expires)) => format!("Session-Expires: {expires}\r\nRequire: timer\r\n"),
            _ => String::new(),
        };
        let mut response = self.respond(&invite, status, &headers, body);
        if status == 302 {
            // Its own Contact is not where it redirects to.
            let own = format!("Contact: {}\r\n", self.contact());
            response = String::from_utf8(response).expect("text").replacen(&own, "", 1).into_bytes();
        }
        let branch = self.calls[at].ringing_branch.clone();
        self.wait_for_ack(at, invite.cseq().expect("CSeq").number, response.clone(), status == 200);
        self.answer((branch, Method::Invite), response);
        if status == 200 {
            self.set(at, Outcome::Talking);
            self.calls[at].hang_up_at = self.hangs_up_after.map(|after| self.now + after);
        } else {
            self.set(at, Outcome::Failed(status));
        }
    }
}
