//! An analog telephone behind an adapter (ATA), simulated: real SIP over UDP, real RTP with G.711 µ-law, a process of its own.
//!
//! ```text
//! cargo run -p analog-phone -- --gateway 192.168.1.10:5060 --user hall --password SECRET [--domain ringway.lan] [--dial 101]
//! ```
//! It registers and keeps itself registered, answers after a second and a half of ringing, speaks a sentence again and again,
//! and says in words what it hears. On its standard input: `dial 101`, `hang up`. It uses the gateway's SIP parser and codec
//! tables and nothing else of it.

use std::io::BufRead as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use clap::Parser;
use ringway::base::Rng;
use ringway::media::codec::decode_ulaw;
use ringway::wire::rtp::{FIXED_HEADER_LEN, RtpHeader, TelephoneEvent, write_header};
use ringway::wire::sdp::Session;
use ringway::wire::sip::digest::{Algorithm, Credentials};
use ringway::wire::sip::{Framing, HeaderName, Message, Method, Writer, comma_values, response_to, unquote};

static SPEECH: &[u8] = include_bytes!("../speech.ulaw");
const SILENCE: u8 = 0xff;
/// Bytes of 20 ms.
const FRAME: usize = 160;
const PAUSE_FRAMES: usize = 75;
const TICK: Duration = Duration::from_millis(20);
const RINGS_FOR: Duration = Duration::from_millis(1_500);
const EXPIRES_SECS: u64 = 120;
const T1: Duration = Duration::from_millis(500);
const GIVES_UP: Duration = Duration::from_secs(32);
/// The payload type that our SDP gives to key presses.
const KEYS_PT: u8 = 101;

#[derive(Parser)]
#[command(about = "An analog telephone behind an adapter, simulated: SIP over UDP, G.711")]
struct Args {
    /// The gateway's SIP address
    #[arg(long, value_name = "IP:PORT")]
    gateway: SocketAddr,
    /// The account's name
    #[arg(long)]
    user: String,
    /// Its password
    #[arg(long)]
    password: String,
    /// The SIP domain
    #[arg(long, default_value = "ringway.lan")]
    domain: String,
    /// Call this number as soon as it is registered
    #[arg(long, value_name = "NUMBER")]
    dial: Option<String>,
}

/// A request or a 2xx that is sent again until something comes back.
struct Repeat {
    what: (String, Method),
    bytes: Vec<u8>,
    to: SocketAddr,
    next: Instant,
    every: Duration,
    until: Instant,
}

#[derive(PartialEq, Clone, Copy)]
enum State {
    Ringing { answers_at: Instant },
    Calling,
    Talking,
}

/// The one call that an analog telephone can have.
struct Call {
    state: State,
    /// Who is at the other end, as a person would say it.
    who: String,
    call_id: String,
    /// From and To as our own requests write them.
    local: String,
    remote: String,
    /// The Request-URI of our requests: the number at first, then the other side's Contact.
    target: String,
    cseq: u32,
    /// The INVITE as it came or as it went.
    invite: Vec<u8>,
    source: SocketAddr,
    challenged: bool,
    media: Option<SocketAddr>,
}

struct Phone {
    args: Args,
    sip: UdpSocket,
    rtp: UdpSocket,
    rng: Rng,
    tag: String,
    registration: (String, u32),
    register_at: Option<Instant>,
    registered: bool,
    repeats: Vec<Repeat>,
    call: Option<Call>,
    /// What the last INVITE was answered with, for when it comes again.
    last_answer: Option<(String, Vec<u8>)>,
    mouth: Mouth,
    ear: Ear,
}

/// What is sent: the sentence, a pause, the sentence.
struct Mouth {
    header: RtpHeader,
    frame: usize,
}

/// What is heard, a second at a time.
#[derive(Default)]
struct Ear {
    samples: Vec<f64>,
    last: String,
    key_at: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // The address by which the gateway is reached; nothing is sent for this.
    let probe = UdpSocket::bind(if args.gateway.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    probe.connect(args.gateway)?;
    let ip = probe.local_addr()?.ip();
    let (sip, rtp) = (UdpSocket::bind((ip, 0))?, UdpSocket::bind((ip, 0))?);
    rtp.set_nonblocking(true)?;

    let (words_tx, words) = mpsc::channel();
    std::thread::spawn(move || std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| words_tx.send(line)));
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).ok();
    let mut phone = Phone::new(args, sip, rtp, Rng::from_seed(seed));
    let mut tick_at = Instant::now();
    let mut datagram = [0; 65_535];
    loop {
        let wait = tick_at.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        phone.sip.set_read_timeout(Some(wait))?;
        if let Ok((len, source)) = phone.sip.recv_from(&mut datagram)
            && let Ok(message) = Message::parse(datagram[..len].to_vec().into(), Framing::Datagram)
        {
            phone.on_message(&message, source);
        }
        words.try_iter().for_each(|line| phone.on_words(line.trim()));
        if Instant::now() >= tick_at {
            tick_at += TICK;
            phone.on_tick(Instant::now());
        }
    }
}

impl Phone {
    fn new(args: Args, sip: UdpSocket, rtp: UdpSocket, mut rng: Rng) -> Self {
        let header = RtpHeader {
            marker: false,
            pt: 0,
            seq: rng.next_u32() as u16,
            timestamp: rng.next_u32(),
            ssrc: rng.next_u32(),
            payload: 0..0,
        };
        Self {
            args,
            sip,
            rtp,
            tag: rng.token(12),
            registration: (rng.token(22), 0),
            register_at: Some(Instant::now()),
            registered: false,
            repeats: Vec::new(),
            call: None,
            last_answer: None,
            mouth: Mouth { header, frame: 0 },
            ear: Ear::default(),
            rng,
        }
    }

    fn here(&self) -> SocketAddr {
        self.sip.local_addr().expect("it is bound")
    }

    fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.args.user, self.here())
    }

    fn address_of(&self, number: &str) -> String {
        format!("sip:{number}@{}", self.args.domain)
    }

    fn sdp(&self) -> String {
        let (ip, port) = (self.here().ip(), self.rtp.local_addr().expect("it is bound").port());
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        format!(
            "v=0\r\no=- 1 1 IN {family} {ip}\r\ns=analog phone\r\nc=IN {family} {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 {KEYS_PT}\r\n\
             a=rtpmap:0 PCMU/8000\r\na=rtpmap:{KEYS_PT} telephone-event/8000\r\na=fmtp:{KEYS_PT} 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
        )
    }

    // --- sending ---

    fn request(&mut self, method: Method, uri: &str, from: &str, to: &str, call_id: &str, cseq: u32) -> Writer {
        let via = format!("SIP/2.0/UDP {};rport;branch=z9hG4bK{}", self.here(), self.rng.token(16));
        Writer::request(method, uri)
            .header("Via", via)
            .header("Max-Forwards", 70)
            .header("From", from)
            .header("To", to)
            .header("Call-ID", call_id)
            .header("CSeq", format_args!("{cseq} {}", method.as_str()))
            .header("Contact", self.contact())
            .header("User-Agent", "analog phone")
    }

    fn send(&self, bytes: &[u8], to: SocketAddr) {
        if let Err(error) = self.sip.send_to(bytes, to) {
            println!("cannot send: {error}");
        }
    }

    fn send_until_answered(&mut self, what: (String, Method), bytes: Vec<u8>, to: SocketAddr) {
        self.send(&bytes, to);
        let now = Instant::now();
        self.repeats.push(Repeat { what, bytes, to, next: now + T1, every: T1, until: now + GIVES_UP });
    }

    fn stop_repeating(&mut self, call_id: &str, method: Method) {
        self.repeats.retain(|repeat| repeat.what != (call_id.to_owned(), method));
    }

    fn register(&mut self, authorization: Option<String>) {
        self.registration.1 += 1;
        self.register_at = None;
        let (call_id, cseq) = self.registration.clone();
        let who = format!("<{}>", self.address_of(&self.args.user));
        let from = format!("{who};tag={}", self.tag);
        let registrar = format!("sip:{}", self.args.domain);
        let request = self.request(Method::Register, &registrar, &from, &who, &call_id, cseq).header("Expires", EXPIRES_SECS);
        let request = request.headers("Authorization", authorization);
        self.send_until_answered((call_id, Method::Register), request.end(), self.args.gateway);
    }

    fn dial(&mut self, number: &str) {
        if self.call.is_some() {
            return println!("the line is in use");
        }
        println!("dialling {number}");
        let target = self.address_of(number);
        self.call = Some(Call {
            state: State::Calling,
            who: number.to_owned(),
            call_id: self.rng.token(22),
            local: format!("<{}>;tag={}", self.address_of(&self.args.user), self.rng.token(12)),
            remote: format!("<{target}>"),
            target,
            cseq: 0,
            invite: Vec::new(),
            source: self.args.gateway,
            challenged: false,
            media: None,
        });
        self.invite(None);
    }

    fn invite(&mut self, authorization: Option<String>) {
        let Some(mut call) = self.call.take() else { return };
        call.cseq += 1;
        let request = self.request(Method::Invite, &call.target, &call.local, &call.remote, &call.call_id, call.cseq);
        call.invite = request.headers("Authorization", authorization).body("application/sdp", self.sdp().as_bytes());
        self.send_until_answered((call.call_id.clone(), Method::Invite), call.invite.clone(), call.source);
        self.call = Some(call);
    }

    fn hang_up(&mut self) {
        let Some(mut call) = self.call.take() else { return println!("there is no call") };
        match call.state {
            State::Talking => {
                call.cseq += 1;
                let bye = self.request(Method::Bye, &call.target, &call.local, &call.remote, &call.call_id, call.cseq).end();
                self.send_until_answered((call.call_id, Method::Bye), bye, call.source);
                println!("hung up");
            }
            State::Calling => {
                // A CANCEL is its INVITE but for method and body (RFC 3261 section 9.1).
                let head = String::from_utf8_lossy(&call.invite).into_owned();
                let line = |name: &str| head.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
                let kept: Vec<String> = ["Via:", "From:", "To:", "Call-ID:"].into_iter().map(line).collect();
                let cancel = format!(
                    "CANCEL {} SIP/2.0\r\n{}\r\nCSeq: {} CANCEL\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
                    call.target,
                    kept.join("\r\n"),
                    call.cseq
                );
                self.send_until_answered((call.call_id.clone(), Method::Cancel), cancel.into_bytes(), call.source);
                println!("given up");
                // Kept until the final response, which wants its ACK.
                self.call = Some(call);
            }
            State::Ringing { .. } => self.answer_invite(&call, 603),
        }
    }

    /// Answers the INVITE of `call`.
    fn answer_invite(&mut self, call: &Call, status: u16) {
        let invite = Message::parse(call.invite.clone().into(), Framing::Datagram).expect("it was parsed before");
        let tag = call.local.rsplit(";tag=").next().map(str::to_owned);
        let writer = response_to(&invite, status, "", tag.as_deref(), call.source).header("Contact", self.contact());
        let bytes = if status == 200 { writer.body("application/sdp", self.sdp().as_bytes()) } else { writer.end() };
        self.last_answer = Some((branch(&invite), bytes.clone()));
        if status == 200 {
            self.send_until_answered((call.call_id.clone(), Method::Ack), bytes, call.source);
        } else {
            self.send(&bytes, call.source);
        }
    }

    // --- receiving ---

    fn on_words(&mut self, words: &str) {
        match words.split_once(' ') {
            Some(("dial", number)) => self.dial(number.trim()),
            Some(("hang", "up")) => self.hang_up(),
            _ if words.is_empty() => {}
            _ => println!("say: dial NUMBER, or: hang up"),
        }
    }

    fn on_message(&mut self, message: &Message, source: SocketAddr) {
        if message.check().is_err() {
            return;
        }
        match (message.status(), message.method()) {
            (Some(status), _) => self.on_response(message, status),
            (None, Some(method)) => self.on_request(message, method, source),
            (None, None) => {}
        }
    }

    fn on_response(&mut self, response: &Message, status: u16) {
        let (Ok(cseq), Ok(call_id)) = (response.cseq(), response.call_id()) else { return };
        let method = Method::of(cseq.method);
        self.stop_repeating(call_id, method);
        match method {
            Method::Register if cseq.number == self.registration.1 && status >= 200 => self.on_registered(response, status),
            Method::Invite if self.call.as_ref().is_some_and(|call| call.call_id == call_id && call.cseq == cseq.number) => {
                self.on_invite_response(response, status);
            }
            _ => {}
        }
    }

    fn on_registered(&mut self, response: &Message, status: u16) {
        let again_in = match status {
            200 => {
                if !std::mem::replace(&mut self.registered, true) {
                    println!("registered as {}", self.args.user);
                    if let Some(number) = self.args.dial.take() {
                        self.dial(&number);
                    }
                }
                EXPIRES_SECS / 2
            }
            // Once a request: the second refusal means that the password is wrong.
            401 | 407 if self.registration.1 % 2 == 1 => match self.authorize(response, Method::Register) {
                Some(authorization) => return self.register(Some(authorization)),
                None => 30,
            },
            _ => {
                println!("not registered: {status}; trying again in 30 s");
                30
            }
        };
        // An odd number comes next: a fresh request, without Authorization.
        self.registration.1 += self.registration.1 % 2;
        self.register_at = Some(Instant::now() + Duration::from_secs(again_in));
    }

    fn on_invite_response(&mut self, response: &Message, status: u16) {
        let Some(mut call) = self.call.take() else { return };
        match status {
            100 => {}
            101..=199 => println!("it rings at {}", call.who),
            200..=299 => {
                call.remote = text(response, HeaderName::To);
                if let Ok(contact) = response.contact() {
                    call.target = contact.uri.text.to_owned();
                }
                let ack = self.request(Method::Ack, &call.target, &call.local, &call.remote, &call.call_id, call.cseq).end();
                self.send(&ack, call.source);
                if call.state == State::Calling {
                    self.begin_talking(&mut call, response.body());
                }
            }
            _ => {
                // RFC 3261 section 17.1.1.3: with the INVITE's own branch.
                let ack = self
                    .request(Method::Ack, &call.target, &call.local, &text(response, HeaderName::To), &call.call_id, call.cseq)
                    .end();
                let ack = String::from_utf8_lossy(&ack).into_owned();
                let invite = String::from_utf8_lossy(&call.invite).into_owned();
                let via = |text: &str| text.lines().find(|line| line.starts_with("Via:")).unwrap_or_default().to_owned();
                self.send(ack.replacen(&via(&ack), &via(&invite), 1).as_bytes(), call.source);
                if matches!(status, 401 | 407) && !call.challenged {
                    call.challenged = true;
                    self.call = Some(call);
                    let authorization = self.authorize(response, Method::Invite);
                    return self.invite(authorization);
                }
                println!("{} cannot be reached: {status} {}", call.who, String::from_utf8_lossy(response.reason()));
                return;
            }
        }
        self.call = Some(call);
    }

    /// Answers the first challenge that is understood; the gateway's stand strongest first (RFC 8760).
    fn authorize(&mut self, response: &Message, method: Method) -> Option<String> {
        let challenge =
            response.lines(HeaderName::WwwAuthenticate).chain(response.lines(HeaderName::ProxyAuthenticate)).next()?;
        let mut credentials = Credentials {
            username: self.args.user.clone(),
            cnonce: self.rng.token(12),
            nc: "00000001".to_owned(),
            ..Credentials::default()
        };
        for field in comma_values(challenge.get("Digest ".len()..)?).flatten() {
            let field = String::from_utf8_lossy(field).into_owned();
            let (name, value) = field.split_once('=')?;
            let value = String::from_utf8(unquote(value.as_bytes())).ok()?;
            match name {
                "realm" => credentials.realm = value,
                "nonce" => credentials.nonce = value,
                "algorithm" => credentials.algorithm = Some(value),
                "qop" => credentials.qop = Some("auth".to_owned()),
                _ => {}
            }
        }
        credentials.uri = match (method, &self.call) {
            (Method::Invite, Some(call)) => call.target.clone(),
            _ => format!("sip:{}", self.args.domain),
        };
        let algorithm = credentials.algorithm()?;
        let Credentials { username, realm, nonce, uri, cnonce, nc, .. } = &credentials;
        let ha1 = algorithm.hash_hex(format!("{username}:{realm}:{}", self.args.password).as_bytes());
        let proof = credentials.expected_response(algorithm, &ha1, method.as_str());
        let qop = credentials.qop.as_ref().map(|qop| format!(", qop={qop}, cnonce=\"{cnonce}\", nc={nc}")).unwrap_or_default();
        let algorithm = Algorithm::as_str(algorithm);
        Some(format!(
            r#"Digest username="{username}", realm="{realm}", nonce="{nonce}", uri="{uri}", algorithm={algorithm}, response="{proof}"{qop}"#
        ))
    }

    fn on_request(&mut self, request: &Message, method: Method, source: SocketAddr) {
        let ours = self.call.as_ref().is_some_and(|call| Ok(call.call_id.as_str()) == request.call_id());
        match method {
            Method::Invite => self.on_invite(request, source, ours),
            Method::Ack => {
                let call_id = request.call_id().unwrap_or_default().to_owned();
                self.stop_repeating(&call_id, Method::Ack);
            }
            Method::Bye | Method::Cancel if ours => {
                self.reply(request, 200, source);
                let Some(call) = self.call.take() else { return };
                match call.state {
                    State::Ringing { .. } => {
                        println!("{} has given up", call.who);
                        self.answer_invite(&call, 487);
                    }
                    State::Calling | State::Talking => println!("{} has hung up", call.who),
                }
                self.repeats.retain(|repeat| repeat.what.0 != call.call_id);
            }
            Method::Bye | Method::Cancel => self.reply(request, 481, source),
            Method::Options => self.reply(request, 200, source),
            _ => self.reply(request, 501, source),
        }
    }

    fn reply(&self, request: &Message, status: u16, source: SocketAddr) {
        self.send(&response_to(request, status, "", Some(&self.tag), source).end(), source);
    }

    fn on_invite(&mut self, request: &Message, source: SocketAddr, ours: bool) {
        if let Some((known, answer)) = &self.last_answer
            && *known == branch(request)
        {
            return self.send(answer, source);
        }
        if ours {
            // The same call, to be agreed upon anew: we never change anything.
            let sdp = self.sdp();
            let ok = response_to(request, 200, "", None, source)
                .header("Contact", self.contact())
                .body("application/sdp", sdp.as_bytes());
            return self.send(&ok, source);
        }
        if self.call.is_some() {
            println!("busy: another call was turned away");
            return self.reply(request, 486, source);
        }
        let Ok(from) = request.from() else { return };
        let who = from
            .display_text()
            .filter(|name| !name.is_empty())
            .or_else(|| from.uri.user_decoded())
            .unwrap_or_else(|| "somebody".to_owned());
        println!("ringing: {who}");
        let call = Call {
            state: State::Ringing { answers_at: Instant::now() + RINGS_FOR },
            who,
            call_id: request.call_id().unwrap_or_default().to_owned(),
            local: format!("{};tag={}", text(request, HeaderName::To), self.rng.token(12)),
            remote: text(request, HeaderName::From),
            target: request.contact().map(|contact| contact.uri.text.to_owned()).unwrap_or_default(),
            cseq: 0,
            invite: request.bytes().to_vec(),
            source,
            challenged: false,
            media: None,
        };
        self.answer_invite(&call, 180);
        self.call = Some(call);
    }

    // --- the clock, and sound ---

    fn begin_talking(&mut self, call: &mut Call, sdp: &[u8]) {
        println!("answered");
        call.state = State::Talking;
        call.media = Session::parse(sdp).ok().and_then(|session| session.media.first()?.rtp_addr());
        self.mouth.frame = 0;
        self.ear = Ear::default();
    }

    fn on_tick(&mut self, now: Instant) {
        if self.register_at.is_some_and(|at| now >= at) {
            self.register(None);
        }
        self.repeat_what_is_due(now);
        if let Some(mut call) = self.call.take_if(|call| matches!(call.state, State::Ringing { answers_at } if now >= answers_at))
        {
            self.answer_invite(&call, 200);
            let invite = Message::parse(call.invite.clone().into(), Framing::Datagram).expect("it was parsed before");
            self.begin_talking(&mut call, invite.body());
            self.call = Some(call);
        }
        let mut datagram = [0; 2_048];
        while let Ok((len, _)) = self.rtp.recv_from(&mut datagram) {
            if self.call.as_ref().is_some_and(|call| call.state == State::Talking) {
                self.ear.hear(&datagram[..len]);
            }
        }
        if let Some(Call { state: State::Talking, media: Some(to), .. }) = &self.call {
            let _ = self.rtp.send_to(&self.mouth.speak(), to);
        }
    }

    fn repeat_what_is_due(&mut self, now: Instant) {
        for repeat in self.repeats.iter_mut().filter(|repeat| now >= repeat.next) {
            let _ = self.sip.send_to(&repeat.bytes, repeat.to);
            repeat.every *= 2;
            repeat.next = now + repeat.every;
        }
        let (over, kept) = std::mem::take(&mut self.repeats).into_iter().partition(|repeat| now >= repeat.until);
        self.repeats = kept;
        for Repeat { what: (call_id, method), .. } in over {
            println!("the gateway does not answer our {}", method.as_str());
            if method == Method::Register {
                self.registration.1 += self.registration.1 % 2;
                self.register_at = Some(now);
            }
            self.call.take_if(|call| call.call_id == call_id);
        }
    }
}

impl Mouth {
    /// The next packet.
    fn speak(&mut self) -> Vec<u8> {
        let mut packet = vec![SILENCE; FIXED_HEADER_LEN + FRAME];
        self.header.marker = self.frame == 0;
        write_header(packet.first_chunk_mut().expect("it is longer"), &self.header);
        let spoken = SPEECH.chunks(FRAME).nth(self.frame).unwrap_or_default();
        packet[FIXED_HEADER_LEN..][..spoken.len()].copy_from_slice(spoken);
        self.frame = (self.frame + 1) % (SPEECH.len().div_ceil(FRAME) + PAUSE_FRAMES);
        self.header.seq = self.header.seq.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(FRAME as u32);
        packet
    }
}

impl Ear {
    fn hear(&mut self, datagram: &[u8]) {
        let Ok(header) = RtpHeader::parse(datagram) else { return };
        let payload = &datagram[header.payload];
        match header.pt {
            0 => self.samples.extend(payload.iter().map(|byte| f64::from(decode_ulaw(*byte)) / 32_768.0)),
            KEYS_PT => {
                // Each key press is several packets with one timestamp.
                if let Ok(event) = TelephoneEvent::parse(payload)
                    && self.key_at.replace(header.timestamp) != Some(header.timestamp)
                {
                    let key = b"0123456789*#ABCD".get(usize::from(event.event)).copied().unwrap_or(b'?');
                    println!("key {}", char::from(key));
                }
            }
            _ => {}
        }
        if self.samples.len() >= 8_000 {
            let words = describe(&self.samples);
            self.samples.clear();
            // Said when it changes.
            if words != self.last {
                println!("heard {words}");
                self.last = words;
            }
        }
    }
}

/// A second of sound in words: silence, a tone and its pitch, or something louder or softer.
fn describe(samples: &[f64]) -> String {
    let power = samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64;
    let decibels = 10.0 * (power + 1e-12).log10();
    if decibels < -60.0 {
        return "silence".to_owned();
    }
    let pitch =
        (20..340).map(|tens| f64::from(tens) * 10.0).map(|hz| (hz, tone_power(samples, hz))).max_by(|a, b| a.1.total_cmp(&b.1));
    match pitch {
        Some((hz, tone)) if tone > power / 2.0 => format!("{hz:.0} Hz"),
        _ => format!("sound at {:.0} dB", (decibels / 6.0).round() * 6.0),
    }
}

/// How much of the power lies at this frequency (Goertzel).
fn tone_power(samples: &[f64], hz: f64) -> f64 {
    let k = 2.0 * (std::f64::consts::TAU * hz / 8_000.0).cos();
    let (a, b) = samples.iter().fold((0.0, 0.0), |(a, b), sample| (sample + k * a - b, a));
    let n = samples.len() as f64;
    2.0 * (a * a + b * b - k * a * b) / (n * n)
}

fn text(message: &Message, name: HeaderName) -> String {
    message.line(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

fn branch(message: &Message) -> String {
    message.via().ok().and_then(|via| via.branch().map(str::to_owned)).unwrap_or_default()
}
