//! A scripted SIP peer: as much of a user agent as a test needs, with its own retransmissions, so that the engine meets
//! somebody else's idea of RFC 3261 and not its own.

mod beside;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringway::wire::sip::digest::{Algorithm, Credentials};
use ringway::wire::sip::{Framing, HeaderName, Message, Method};

const T1: Duration = Duration::from_millis(500);
const GIVE_UP: Duration = Duration::from_secs(32);

/// What a peer does when it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callee {
    /// 180, then 200.
    Answers,
    /// 180, then this failure.
    Refuses(u16),
    /// 180, then nothing.
    Rings,
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

struct Pending {
    bytes: Vec<u8>,
    next: Instant,
    interval: Duration,
    until: Instant,
}

/// One peer, over UDP or over a WebSocket.
pub struct Peer {
    /// Its account.
    pub name: String,
    pub addr: SocketAddr,
    pub websocket: bool,
    pub callee: Callee,
    pub answers_after: Duration,
    /// When talking, hangs up after this.
    pub hangs_up_after: Option<Duration>,
    /// When calling, gives up after this.
    pub cancels_after: Option<Duration>,
    pub outcome: Outcome,
    pub registered: bool,
    pub provisionals: Vec<u16>,
    /// The SDP that the other side gave.
    pub heard_sdp: Option<String>,
    /// `+sip.instance` of its Contact.
    pub instance: Option<String>,
    /// Does not answer challenges.
    pub stubborn: bool,
    /// What it asked beside its calls.
    pub asks: Vec<beside::Ask>,
    /// What it was told: MESSAGE and NOTIFY.
    pub heard: Vec<Message>,
    /// How it answers those.
    pub answers_with: u16,
    out: Vec<Vec<u8>>,
    pending: BTreeMap<&'static str, Pending>,
    timers: Vec<(Instant, Timer)>,
    answered: BTreeMap<String, Vec<u8>>,
    dialog: Option<Dialog>,
    invite: Option<Vec<u8>>,
    target: String,
    cancelled: bool,
    cseq: u32,
    serial: u32,
    now: Instant,
}

struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    FinalResponse,
    /// Nobody takes it up and nobody cancels it: phones stop ringing by themselves.
    StopRinging,
    HangUp,
    Cancel,
}

impl Peer {
    pub fn new(name: &str, addr: SocketAddr, websocket: bool, now: Instant) -> Self {
        Self {
            name: name.to_owned(),
            addr,
            websocket,
            callee: Callee::Answers,
            answers_after: Duration::from_secs(2),
            hangs_up_after: None,
            cancels_after: None,
            outcome: Outcome::Idle,
            registered: false,
            provisionals: Vec::new(),
            heard_sdp: None,
            instance: None,
            stubborn: false,
            asks: Vec::new(),
            heard: Vec::new(),
            answers_with: 200,
            out: Vec::new(),
            pending: BTreeMap::new(),
            timers: Vec::new(),
            answered: BTreeMap::new(),
            dialog: None,
            invite: None,
            target: String::new(),
            cancelled: false,
            cseq: 0,
            serial: 0,
            now,
        }
    }

    pub fn password(name: &str) -> String {
        format!("secret of {name}")
    }

    fn branch(&mut self) -> String {
        self.serial += 1;
        format!("z9hG4bK{}{}", self.name, self.serial)
    }

    fn via(&mut self) -> String {
        let branch = self.branch();
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

    /// Sends, and over UDP sends again until it is told to stop.
    fn send_until(&mut self, what: &'static str, bytes: Vec<u8>) {
        if !self.websocket {
            let pending = Pending { bytes: bytes.clone(), next: self.now + T1, interval: T1, until: self.now + GIVE_UP };
            self.pending.insert(what, pending);
        }
        self.send(bytes);
    }

    pub fn drain(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.out)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let own = self.pending.values().map(|p| p.next).chain(self.timers.iter().map(|(at, _)| *at));
        own.chain(self.next_ask()).min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        self.on_ask_timeout(now);
        let mut gave_up = Vec::new();
        let mut again = Vec::new();
        for (what, pending) in &mut self.pending {
            if pending.next > now {
                continue;
            }
            if now >= pending.until {
                gave_up.push(*what);
                continue;
            }
            again.push(pending.bytes.clone());
            pending.interval = (pending.interval * 2).min(Duration::from_secs(4));
            pending.next = now + pending.interval;
        }
        self.out.extend(again);
        for what in gave_up {
            self.pending.remove(what);
            match (what, self.outcome) {
                ("INVITE", _) => self.outcome = Outcome::Failed(0),
                // Our 2xx was never acknowledged: RFC 3261 section 13.3.1.4 has us hang up.
                ("final", Outcome::Talking) => self.bye(),
                _ => {}
            }
        }
        let due: Vec<Timer> = self.timers.iter().filter(|(at, _)| *at <= now).map(|(_, t)| *t).collect();
        self.timers.retain(|(at, _)| *at > now);
        for timer in due {
            match timer {
                Timer::FinalResponse => self.final_response(),
                Timer::StopRinging if self.outcome == Outcome::Pending => self.finish_invite(480),
                Timer::HangUp if self.outcome == Outcome::Talking => self.bye(),
                Timer::Cancel if self.outcome == Outcome::Pending => self.cancel(),
                Timer::HangUp | Timer::Cancel | Timer::StopRinging => {}
            }
        }
    }

    pub fn register(&mut self, now: Instant) {
        self.now = now;
        self.send_register(None);
    }

    fn send_register(&mut self, authorization: Option<String>) {
        self.cseq += 1;
        let (via, contact, cseq, name) = (self.via(), self.contact(), self.cseq, self.name.clone());
        let authorization = authorization.map(|a| format!("Authorization: {a}\r\n")).unwrap_or_default();
        let instance = self.instance.as_ref().map(|i| format!(";reg-id=1;+sip.instance=\"{i}\"")).unwrap_or_default();
        let text = format!(
            "REGISTER sip:sim.test SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:{name}@sim.test>;tag=r{name}\r\nTo: <sip:{name}@sim.test>\r\nCall-ID: reg-{name}\r\nCSeq: {cseq} REGISTER\r\nContact: {contact}{instance};expires=600\r\n{authorization}Content-Length: 0\r\n\r\n"
        );
        self.send_until("REGISTER", text.into_bytes());
    }

    pub fn call(&mut self, target: &str, now: Instant) {
        self.now = now;
        self.outcome = Outcome::Pending;
        target.clone_into(&mut self.target);
        if let Some(after) = self.cancels_after {
            self.timers.push((now + after, Timer::Cancel));
        }
        self.send_invite(None);
    }

    fn send_invite(&mut self, authorization: Option<String>) {
        self.cseq += 1;
        let (via, contact, cseq, name, target) = (self.via(), self.contact(), self.cseq, self.name.clone(), self.target.clone());
        let authorization = authorization.map(|a| format!("Authorization: {a}\r\n")).unwrap_or_default();
        let sdp = self.sdp();
        let text = format!(
            "INVITE sip:{target}@sim.test SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: <sip:{name}@sim.test>;tag=c{name}\r\nTo: <sip:{target}@sim.test>\r\nCall-ID: call-{name}\r\nCSeq: {cseq} INVITE\r\nContact: {contact}\r\n{authorization}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        self.invite = Some(text.clone().into_bytes());
        self.send_until("INVITE", text.into_bytes());
    }

    fn sdp(&self) -> String {
        let ip = self.addr.ip();
        if self.websocket {
            format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0 8 110 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2113937151 6a1a.local 5000 typ host\r\na=ice-ufrag:{}xx\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 {}\r\na=setup:{}\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n",
                self.name,
                ["AB"; 32].join(":"),
                if self.outcome == Outcome::Idle { "active" } else { "actpass" },
            )
        } else {
            format!(
                "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
            )
        }
    }

    fn cancel(&mut self) {
        // Not before a provisional response (RFC 3261 section 9.1); then at once.
        self.cancelled = true;
        if !self.provisionals.is_empty() {
            self.send_cancel();
        }
    }

    fn send_cancel(&mut self) {
        let invite = String::from_utf8(self.invite.clone().expect("an INVITE was sent")).expect("text");
        let head = invite
            .split("\r\nContact:")
            .next()
            .expect("a head")
            .replace("INVITE sip", "CANCEL sip")
            .replace(" INVITE", " CANCEL");
        self.send_until("CANCEL", format!("{head}\r\nContent-Length: 0\r\n\r\n").into_bytes());
    }

    pub fn bye(&mut self) {
        self.outcome = Outcome::Ended;
        self.pending.remove("final");
        let Some(dialog) = self.dialog.take() else { return };
        self.cseq += 1;
        let (via, cseq) = (self.via(), self.cseq);
        let text = format!(
            "BYE {} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} BYE\r\nContent-Length: 0\r\n\r\n",
            dialog.target, dialog.local, dialog.remote, dialog.call_id
        );
        self.send_until("BYE", text.into_bytes());
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
        if self.on_ask_response(response) {
            return;
        }
        if method == Method::Register && cseq.number == self.cseq && self.pending_or_reliable("REGISTER") {
            self.pending.remove("REGISTER");
            match status {
                401 => {
                    let authorization = self.authorize(response, "REGISTER", "sip:sim.test");
                    self.send_register(Some(authorization));
                }
                200 => self.registered = true,
                other => panic!("{} cannot register: {other}", self.name),
            }
        } else if method == Method::Invite {
            self.on_invite_response(response, status, cseq.number);
        } else if method == Method::Bye && status >= 200 {
            self.pending.remove("BYE");
        } else if method == Method::Cancel {
            self.pending.remove("CANCEL");
        }
    }

    fn pending_or_reliable(&self, what: &str) -> bool {
        self.websocket || self.pending.contains_key(what)
    }

    fn on_invite_response(&mut self, response: &Message, status: u16, number: u32) {
        if status < 200 {
            if number == self.cseq {
                self.pending.remove("INVITE");
                if self.provisionals.last() != Some(&status) {
                    self.provisionals.push(status);
                }
                if self.cancelled && self.provisionals.len() == 1 {
                    self.send_cancel();
                }
            }
            return;
        }
        self.ack(response, status, number);
        let first = number == self.cseq && self.outcome == Outcome::Pending;
        if !first {
            return;
        }
        self.pending.remove("INVITE");
        match status {
            401 => {
                let uri = format!("sip:{}@sim.test", self.target);
                let authorization = self.authorize(response, "INVITE", &uri);
                self.provisionals.clear();
                self.send_invite(Some(authorization));
            }
            200 => {
                self.heard_sdp = Some(String::from_utf8_lossy(response.body()).into_owned());
                assert!(!response.body().is_empty(), "JsSIP rejects a 200 without a body");
                let text = |name| String::from_utf8_lossy(response.line(name).expect("a header")).into_owned();
                self.dialog = Some(Dialog {
                    call_id: text(HeaderName::CallId),
                    local: text(HeaderName::From),
                    remote: text(HeaderName::To),
                    target: response.contact().expect("Contact").uri.text.to_owned(),
                });
                self.outcome = Outcome::Talking;
                if self.cancelled {
                    self.bye();
                } else if let Some(after) = self.hangs_up_after {
                    self.timers.push((self.now + after, Timer::HangUp));
                }
            }
            failure => self.outcome = Outcome::Failed(failure),
        }
    }

    fn ack(&mut self, response: &Message, status: u16, number: u32) {
        let text = |name| String::from_utf8_lossy(response.line(name).expect("a header")).into_owned();
        let (uri, via) = if status < 300 {
            (response.contact().expect("Contact").uri.text.to_owned(), self.via())
        } else {
            // RFC 3261 section 17.1.1.3: the INVITE's own Via.
            let via = text(HeaderName::Via).split(";received").next().expect("a Via").to_owned();
            (format!("sip:{}@sim.test", self.target), via)
        };
        let ack = format!(
            "ACK {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {number} ACK\r\nContent-Length: 0\r\n\r\n",
            text(HeaderName::From),
            text(HeaderName::To),
            text(HeaderName::CallId),
        );
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

    fn respond(&mut self, request: &Message, status: u16, body: Option<String>) -> Vec<u8> {
        let mut text = format!("SIP/2.0 {status} X\r\n");
        for via in request.lines(HeaderName::Via) {
            text += &format!("Via: {}\r\n", String::from_utf8_lossy(via));
        }
        for (name, title) in [(HeaderName::From, "From"), (HeaderName::CallId, "Call-ID"), (HeaderName::CSeq, "CSeq")] {
            text += &format!("{title}: {}\r\n", String::from_utf8_lossy(request.line(name).expect("a header")));
        }
        let to = String::from_utf8_lossy(request.line(HeaderName::To).expect("To")).into_owned();
        let tag = if to.contains("tag=") || status == 100 { String::new() } else { format!(";tag=s{}", self.name) };
        text += &format!("To: {to}{tag}\r\nContact: {}\r\n", self.contact());
        let body = body.map_or_else(
            || "Content-Length: 0\r\n\r\n".to_owned(),
            |b| format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{b}", b.len()),
        );
        (text + &body).into_bytes()
    }

    fn on_request(&mut self, request: &Message) {
        let method = request.method().expect("a request");
        let branch = request.via().expect("Via").branch().expect("a branch").to_owned();
        match method {
            Method::Ack => {
                self.pending.remove("final");
            }
            Method::Invite => self.on_invite(request, &branch),
            Method::Cancel => {
                let ok = self.respond(request, 200, None);
                self.send(ok);
                if self.outcome == Outcome::Pending && self.answered.contains_key(&branch) {
                    self.timers.retain(|(_, t)| *t != Timer::FinalResponse);
                    self.finish_invite(487);
                }
            }
            Method::Bye => {
                let ok = self.respond(request, 200, None);
                self.send(ok);
                self.outcome = Outcome::Ended;
                self.pending.remove("final");
                self.dialog = None;
            }
            Method::Message | Method::Notify => self.on_beside(request, &branch),
            other => panic!("{}: unexpected {other:?}", self.name),
        }
    }

    fn on_invite(&mut self, request: &Message, branch: &str) {
        if let Some(last) = self.answered.get(branch) {
            let last = last.clone();
            return self.send(last);
        }
        self.outcome = Outcome::Pending;
        self.heard_sdp = Some(String::from_utf8_lossy(request.body()).into_owned());
        self.invite = Some(request.bytes().to_vec());
        let ringing = self.respond(request, 180, None);
        self.answered.insert(branch.to_owned(), ringing.clone());
        self.send(ringing);
        if self.callee == Callee::Rings {
            self.timers.push((self.now + Duration::from_secs(120), Timer::StopRinging));
        } else {
            self.timers.push((self.now + self.answers_after, Timer::FinalResponse));
        }
    }

    fn final_response(&mut self) {
        match self.callee {
            Callee::Answers => self.finish_invite(200),
            Callee::Refuses(status) => self.finish_invite(status),
            Callee::Rings => {}
        }
    }

    fn finish_invite(&mut self, status: u16) {
        let invite =
            Message::parse(self.invite.clone().expect("an INVITE came").into(), Framing::Datagram).expect("parsed before");
        let body = (status == 200).then(|| {
            self.outcome = Outcome::Idle;
            self.sdp()
        });
        let response = self.respond(&invite, status, body);
        let branch = invite.via().expect("Via").branch().expect("a branch").to_owned();
        self.answered.insert(branch, response.clone());
        self.send_until("final", response);
        if status == 200 {
            self.outcome = Outcome::Talking;
            let text = |name| String::from_utf8_lossy(invite.line(name).expect("a header")).into_owned();
            self.dialog = Some(Dialog {
                call_id: text(HeaderName::CallId),
                local: format!("{};tag=s{}", text(HeaderName::To), self.name),
                remote: text(HeaderName::From),
                target: invite.contact().expect("Contact").uri.text.to_owned(),
            });
            if let Some(after) = self.hangs_up_after {
                self.timers.push((self.now + after, Timer::HangUp));
            }
        } else {
            self.outcome = Outcome::Failed(status);
        }
    }
}
