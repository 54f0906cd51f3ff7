//! Captures of real peers' calls (`pcap-fixtures/`), replayed into the engine without a socket.
//!
//! What the peers sent then is fed in the same order and at the same times. The gateway mints its tags, branches, Call-IDs and
//! nonces anew: where a peer repeats one that it was given in the capture, it is given the one that took its place, and proofs
//! of passwords are computed again. `script/capture-fixtures` makes the captures.

#![allow(missing_docs)]

#[path = "support/media_peer.rs"]
mod media_peer;
mod support;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use media_peer::Bench;
use ringway::base::{Now, Rng};
use ringway::plan::{Codec, LegStats, MediaCommand, MediaEvent};
use ringway::policy::account::{Account, Ha1};
use ringway::signalling::engine::{Engine, Input, Output};
use ringway::signalling::message::Waiting;
use ringway::signalling::{Connection, ConnectionId, Flow};
use ringway::wire::rtp::{RtpHeader, seq_diff};
use ringway::wire::sip::digest::Credentials;
use ringway::wire::sip::{Framing, HeaderName, Message};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    domain: String,
    udp: SocketAddr,
    websocket: SocketAddr,
    browser_profile: String,
    phone_profile: String,
    rtp_ports: Option<[u16; 2]>,
    account: Vec<ExpectedAccount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAccount {
    name: String,
    number: String,
    password: String,
    statuses: Vec<u16>,
    requests: Vec<String>,
    sdp: Vec<String>,
}

struct Datagram {
    unix: Duration,
    from: SocketAddr,
    to: SocketAddr,
    payload: Vec<u8>,
}

/// UDP over IPv4 in Ethernet frames, as tcpdump and `ringway ladder --pcap` write them.
fn read_pcap(path: &Path) -> Vec<Datagram> {
    let file = fs::read(path).expect("the capture is readable");
    assert_eq!(file[..4], [0xd4, 0xc3, 0xb2, 0xa1], "{}: little-endian, microseconds", path.display());
    let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four bytes"));
    let short = |at: usize| u16::from_be_bytes([file[at], file[at + 1]]);
    let mut found = Vec::new();
    let mut at = 24;
    while at + 16 <= file.len() {
        let (length, ip) = (word(at + 8) as usize, at + 16 + 14);
        let udp = ip + usize::from(file[ip] & 0x0f) * 4;
        let address = |octets: usize, port: usize| {
            SocketAddr::new(IpAddr::from(<[u8; 4]>::try_from(&file[octets..octets + 4]).expect("four bytes")), short(port))
        };
        found.push(Datagram {
            unix: Duration::new(word(at).into(), word(at + 4) * 1_000),
            from: address(ip + 12, udp),
            to: address(ip + 16, udp + 2),
            payload: file[udp + 8..udp + usize::from(short(udp + 4))].to_vec(),
        });
        at += 16 + length;
    }
    found
}

fn fixtures() -> Vec<(PathBuf, Fixture)> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pcap-fixtures");
    for peer in fs::read_dir(root).expect("there are fixtures") {
        for file in fs::read_dir(peer.expect("readable").path()).expect("a directory a peer") {
            let path = file.expect("readable").path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let text = fs::read_to_string(&path).expect("readable");
                found.push((path.clone(), toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

struct Replay {
    fixture: Fixture,
    engine: Engine,
    now: Now,
    /// What the engine sent and the capture has not come to yet.
    sent: BTreeMap<SocketAddr, VecDeque<Vec<u8>>>,
    /// All that it ever sent, by whom it went to.
    all: BTreeMap<SocketAddr, Vec<Vec<u8>>>,
    /// What the gateway minted then, and what it mints now.
    minted: BTreeMap<String, String>,
    /// Whose device is where, by who it says it is.
    names: BTreeMap<SocketAddr, String>,
    next_port: u16,
}

impl Replay {
    fn new(fixture: Fixture, start: Duration) -> Self {
        let mut config = support::world::config(Vec::new());
        config.domain.clone_from(&fixture.domain);
        config.udp = vec![fixture.udp];
        config.browser = support::world::profile(&fixture.browser_profile);
        config.phone = support::world::profile(&fixture.phone_profile);
        Self {
            fixture,
            engine: Engine::new(config, Rng::from_number(1)),
            now: Now { mono: Instant::now(), unix: start },
            sent: BTreeMap::new(),
            all: BTreeMap::new(),
            minted: BTreeMap::new(),
            names: BTreeMap::new(),
            next_port: 20_000,
        }
    }

    fn flow(&self, datagram: &Datagram) -> Flow {
        if datagram.to == self.fixture.udp {
            Flow::Udp { local: datagram.to, remote: datagram.from }
        } else {
            Flow::WebSocket(ConnectionId(datagram.from.port().into()))
        }
    }

    /// Brings the clock to a moment, with every timer on the way.
    fn wait_until(&mut self, unix: Duration) {
        let until = self.now.after(unix.saturating_sub(self.now.unix));
        while let Some((at, _)) = self.engine.poll_timeout().filter(|(at, _)| *at <= until.mono) {
            self.now = self.now.after(at.saturating_duration_since(self.now.mono));
            let mut out = Vec::new();
            self.engine.handle_timeout(self.now, &mut out);
            self.act(out);
        }
        self.now = until;
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.engine.handle(self.now, input, &mut out);
        self.act(out);
    }

    /// A directory and a media half that answer at once.
    fn act(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { flow, bytes } => {
                    let to = match flow {
                        Flow::Udp { remote, .. } => remote,
                        Flow::WebSocket(id) => *self.names.keys().find(|a| u64::from(a.port()) == id.0).expect("it is open"),
                    };
                    self.sent.entry(to).or_default().push_back(bytes.to_vec());
                    self.all.entry(to).or_default().push(bytes.to_vec());
                }
                Output::Query { query, name_or_number } => {
                    let known = self.fixture.account.iter().find(|a| a.name == name_or_number || a.number == name_or_number);
                    let account = known.map(|known| Account {
                        ha1: Ha1::of(&known.name, &self.fixture.domain, &known.password),
                        name: known.name.clone(),
                        number: Some(known.number.clone()),
                        display_name: None,
                    });
                    self.input(Input::Account { query, account: Ok(account) });
                }
                Output::LoadMessages { query, .. } => {
                    self.input(Input::Messages { query, waiting: Ok(Waiting::default()) });
                }
                Output::KeepMessage { .. } => panic!("nobody writes in these captures"),
                Output::Media(MediaCommand::Open { leg, .. }) => {
                    self.next_port += 2;
                    let local = vec![SocketAddr::new(self.fixture.udp.ip(), self.next_port)];
                    self.input(Input::Media(MediaEvent::Opened { leg, local }));
                }
                Output::Media(MediaCommand::SetRemote { leg, .. }) => {
                    self.input(Input::Media(MediaEvent::Connected { leg }));
                }
                Output::Media(MediaCommand::Close { leg }) => {
                    let stats = LegStats { rx_packets: 1, ..LegStats::default() };
                    self.input(Input::Media(MediaEvent::Closed { leg, stats }));
                }
                Output::Media(_) | Output::Record(_) | Output::Trace(_) => {}
            }
        }
    }

    /// What a peer sent then, with today's tokens and proofs.
    fn receive(&mut self, datagram: &Datagram) {
        let mut text = String::from_utf8(datagram.payload.clone()).expect("these peers write UTF-8");
        for (then, now) in &self.minted {
            text = text.replace(then.as_str(), now);
        }
        let message = Message::parse(text.clone().into_bytes().into(), Framing::Datagram).expect("it was taken then");
        if let std::collections::btree_map::Entry::Vacant(entry) = self.names.entry(datagram.from) {
            let name = message.from().ok().and_then(|from| from.uri.user_decoded()).expect("a device says who it is");
            entry.insert(name);
            if datagram.to == self.fixture.websocket {
                let connection = ConnectionId(datagram.from.port().into());
                let about = Connection { local: datagram.to, remote: datagram.from, secure: true };
                self.input(Input::Opened { connection, about });
            }
        }
        if let Some(line) = message.line(HeaderName::Authorization) {
            let credentials = Credentials::parse(line).expect("it was taken then");
            let account = self.fixture.account.iter().find(|a| a.name == credentials.username).expect("an account");
            let algorithm = credentials.algorithm().expect("MD5 or SHA-256");
            let ha1 = algorithm.hash_hex(format!("{}:{}:{}", account.name, credentials.realm, account.password).as_bytes());
            let method = message.method().expect("a request").as_str();
            let proof = credentials.expected_response(algorithm, &ha1, method);
            let blank = format!("response=\"{}\"", credentials.response);
            assert!(text.contains(&blank), "the proof stands in the message");
            text = text.replace(&blank, &format!("response=\"{proof}\""));
        }
        let flow = self.flow(datagram);
        self.input(Input::Message { flow, bytes: text.into_bytes().into() });
    }

    /// What the gateway sent then it must send now, but for what it mints; which is which is learnt here.
    fn compare(&mut self, datagram: &Datagram) {
        let then = String::from_utf8(datagram.payload.clone()).expect("we write UTF-8");
        let first = then.lines().next().unwrap_or_default().to_owned();
        let now = self.sent.get_mut(&datagram.to).and_then(VecDeque::pop_front);
        let now = String::from_utf8(now.unwrap_or_else(|| panic!("not sent: {first}"))).expect("we write UTF-8");
        assert_eq!(now.lines().next().unwrap_or_default(), first);
        let (then, now) = (head(&then), head(&now));
        let name = |line: &str| line.split_once(':').map(|(name, _)| name.to_owned());
        let mut now = now.lines();
        for then in then.lines() {
            // It has learnt to say more since, and never says less.
            let now = now.find(|now| name(now) == name(then)).unwrap_or_else(|| panic!("missing in {first}: {then}"));
            let nonce = |line: &str| line.split_once("nonce=\"").and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
            if let (Some(then), Some(now)) = (nonce(then), nonce(now)) {
                self.minted.insert(then, now);
                continue;
            }
            let (then, now) = (tokens(then), tokens(now));
            assert!(then.len() <= now.len(), "{then:?} and {now:?}");
            let pairs = then.into_iter().zip(now).filter(|(then, now)| then != now && then.len() >= 12);
            self.minted.extend(pairs.map(|(then, now)| (then.to_owned(), now.to_owned())));
        }
    }
}

fn head(text: &str) -> &str {
    text.split_once("\r\n\r\n").map_or(text, |(head, _)| head)
}

fn tokens(line: &str) -> Vec<&str> {
    line.split([' ', ';', '=', '"', '<', '>', ',', ':', '@']).collect()
}

#[test]
fn captured_calls_go_the_same_way_again() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 4, "JsSIP, SIP.js, baresip, sipp");
    for (path, fixture) in fixtures {
        let capture = read_pcap(&path.with_extension("pcap"));
        let mut replay = Replay::new(fixture, capture[0].unix);
        for datagram in &capture {
            replay.wait_until(datagram.unix);
            if [replay.fixture.udp, replay.fixture.websocket].contains(&datagram.to) {
                replay.receive(datagram);
            } else {
                replay.compare(datagram);
            }
        }
        for account in &replay.fixture.account {
            check(&path, account, &replay);
        }
    }
}

fn check(path: &Path, account: &ExpectedAccount, replay: &Replay) {
    let who = format!("{} in {}", account.name, path.display());
    let of_account = replay.names.iter().filter(|(_, name)| **name == account.name);
    let sent: Vec<&Vec<u8>> = of_account.filter_map(|(at, _)| replay.all.get(at)).flatten().collect();
    let parse = |bytes: &Vec<u8>| Message::parse(bytes.clone().into(), Framing::Datagram).expect("we write what parses");
    let messages: Vec<Message> = sent.into_iter().map(parse).collect();
    let statuses: Vec<u16> = messages.iter().filter_map(Message::status).collect();
    let requests: Vec<&str> = messages.iter().filter_map(|m| Some(m.method()?.as_str())).collect();
    assert_eq!(statuses, account.statuses, "{who}: what it is answered");
    assert_eq!(requests, account.requests, "{who}: what it is asked");
    let sdp: String = messages.iter().map(|m| String::from_utf8_lossy(m.body()).into_owned()).collect();
    for wanted in &account.sdp {
        assert!(sdp.contains(wanted.as_str()), "{who}: its SDP must hold {wanted}:\n{sdp}");
    }
}

/// What the gateway and the phones sent each other: each packet is RTP of a codec that was agreed, none is missing, and the
/// clock goes on by 20 ms a packet.
#[test]
fn captured_sound_is_whole() {
    let mut streams = 0;
    for (path, fixture) in fixtures() {
        let Some([first, last]) = fixture.rtp_ports else { continue };
        let mut heads: BTreeMap<(SocketAddr, SocketAddr), Vec<RtpHeader>> = BTreeMap::new();
        for Datagram { from, to, payload, .. } in read_pcap(&path.with_extension("rtp.pcap")) {
            let ours = if (first..=last).contains(&from.port()) { from } else { to };
            // Odd ports carry RTCP (RFC 3550 section 11).
            if ours.port() % 2 == 0 {
                heads.entry((from, to)).or_default().push(RtpHeader::parse(&payload).expect("an RTP packet"));
            }
        }
        for ((from, to), heads) in heads {
            streams += 1;
            assert!(heads.len() > 20, "{}: {from} -> {to}", path.display());
            for pair in heads.windows(2) {
                assert!([0, 8].contains(&pair[1].pt), "G.711");
                assert_eq!(pair[1].ssrc, pair[0].ssrc);
                assert_eq!(seq_diff(pair[0].seq, pair[1].seq), 1, "{}: {from} -> {to}", path.display());
                assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), 160);
            }
        }
    }
    assert!(streams >= 6, "both ways of each call");
}

/// What the phones sent, through the media core to another phone: passed on and transcoded, packet for packet.
#[test]
fn captured_sound_goes_through_the_core() {
    let mut streams = 0;
    for (path, fixture) in fixtures() {
        let Some([first, last]) = fixture.rtp_ports else { continue };
        let mut sent: BTreeMap<SocketAddr, Vec<(Duration, Vec<u8>)>> = BTreeMap::new();
        for Datagram { unix, from, to, payload } in read_pcap(&path.with_extension("rtp.pcap")) {
            if (first..=last).contains(&to.port()) && to.port() % 2 == 0 {
                sent.entry(from).or_default().push((unix, payload));
            }
        }
        for (from, packets) in sent {
            streams += 1;
            // Passed on as it is, and transcoded.
            for codec in [None, Some(Codec::Opus)] {
                through_the_core(from, &packets, codec);
            }
        }
    }
    assert!(streams >= 3, "a phone of each call");
}

fn through_the_core(from: SocketAddr, packets: &[(Duration, Vec<u8>)], other: Option<Codec>) {
    let mut bench = Bench::default();
    let socket = bench.phone(media_peer::A, from);
    bench.phone(media_peer::B, media_peer::addr("192.0.2.99:4000"));
    let head = RtpHeader::parse(&packets[0].1).expect("an RTP packet");
    let codec = if head.pt == 8 { Codec::Pcma } else { Codec::Pcmu };
    let out = other.unwrap_or(codec);
    let out_pt = if out == Codec::Opus { 111 } else { head.pt };
    bench.join(media_peer::plan(codec, head.pt, 1), media_peer::plan(out, out_pt, 2));
    let (start, mut heads) = (bench.now, Vec::new());
    for (at, packet) in packets {
        let elapsed = at.saturating_sub(packets[0].0);
        bench.now = start.after(elapsed);
        bench.datagram(socket, from, packet);
        heads.extend(bench.sink.take_rtp().iter().map(|p| RtpHeader::parse(p).expect("an RTP packet")));
    }
    assert_eq!(heads.len(), packets.len(), "{other:?}: none is lost or made up");
    let ticks = if out == Codec::Opus { 960 } else { 160 };
    for pair in heads.windows(2) {
        assert_eq!((pair[1].pt, pair[1].ssrc), (out_pt, 2));
        assert_eq!(seq_diff(pair[0].seq, pair[1].seq), 1);
        assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp), ticks, "{other:?}");
    }
}
