//! What a call weighs while it is held: signalling and media in one process, between two PBXs, as the load generators of the
//! bench call. Bytes of the heap as they were asked for, by a counting allocator: the same on every machine.

#[path = "support/allocator.rs"]
mod allocator;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::sync::Arc;
use std::time::Duration;

use allocator::held;
use media_peer::TestSink;
use ringway::base::Rng;
use ringway::media::{Core, CoreConfig};
use ringway::policy::dialplan::Dialplan;
use ringway::policy::profile;
use ringway::signalling::Flow;
use ringway::signalling::call::CallTimes;
use ringway::signalling::engine::{Engine, EngineConfig, Input, Output, Peer};
use ringway::signalling::registrar::RegistrarLimits;
use ringway::wire::sdp::Fingerprint;

const GATEWAY: &str = "127.0.7.30:5060";
const LOAD: &str = "127.0.7.1:5061";
const SINK: &str = "127.0.7.9:5070";
const SDP: &str =
    "v=0\r\no=u 1 1 IN IP4 127.0.7.1\r\ns=-\r\nc=IN IP4 127.0.7.1\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// Both halves of a gateway between two trusted PBXs, without sockets.
struct Gateway {
    engine: Engine,
    core: Core,
    sink: TestSink,
    now: ringway::base::Now,
    /// What went to the caller's PBX and to the callee's and has not been looked at.
    sent: Vec<(bool, String)>,
}

impl Gateway {
    fn new(max_calls: usize) -> Self {
        let rule = "[[rule]]\nname = \"all\"\ndial = \".\"\nfrom = \"peer:load\"\nto = \"peer:sink\"\n";
        let pbx = Arc::new(profile::built_in().remove("generic-pbx").expect("it is built in"));
        let pbx = Arc::clone(&pbx);
        let peer = |name: &str, address: &str| Peer {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            profile: Arc::clone(&pbx),
            trusted: true,
        };
        let engine = EngineConfig {
            domain: "bench.test".into(),
            udp: vec![GATEWAY.parse().unwrap()],
            browser: Arc::clone(&pbx),
            phone: Arc::clone(&pbx),
            peers: vec![peer("load", LOAD), peer("sink", SINK)],
            dialplan: Dialplan::parse("dialplan.toml", rule).unwrap(),
            fingerprint: Fingerprint([7; 32]),
            times: CallTimes { ring: Duration::from_secs(60), grace: Duration::from_secs(5) },
            registrar: RegistrarLimits {
                min_expires_secs: 60,
                max_expires_secs: 3_600,
                default_expires_secs: 600,
                max_bindings: 10,
            },
            nonce_lifetime: Duration::from_secs(300),
            max_calls,
            max_transactions: 100_000,
        };
        let core = CoreConfig { max_legs: 4 * max_calls, ..media_peer::core_config() };
        let mono = std::time::Instant::now();
        Self {
            engine: Engine::new(engine, Rng::from_number(1)),
            core: Core::new(core),
            sink: TestSink::default(),
            now: ringway::base::Now { mono, unix: Duration::from_secs(1_800_000_000) },
            sent: Vec::new(),
        }
    }

    /// A message arrives, and all that follows from it at once.
    fn receive(&mut self, from: &str, text: String) {
        let flow = Flow::Udp { local: GATEWAY.parse().unwrap(), remote: from.parse().unwrap() };
        let mut inputs = vec![Input::Message { flow, bytes: text.into() }];
        let mut out = Vec::new();
        while let Some(input) = inputs.pop() {
            self.engine.handle(self.now, input, &mut out);
            for output in out.drain(..) {
                match output {
                    Output::Send { flow: Flow::Udp { remote, .. }, bytes } => {
                        let to_callee = remote == SINK.parse().unwrap();
                        self.sent.push((to_callee, String::from_utf8(bytes.to_vec()).unwrap()));
                    }
                    Output::Media(command) => self.core.handle_command(self.now, command, &mut self.sink),
                    Output::Trace(_) | Output::Record(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            inputs.extend(self.sink.events.drain(..).map(Input::Media));
            self.sink.clear();
        }
    }

    /// What was sent since the last time, one way.
    fn taken(&mut self, to_callee: bool) -> Vec<String> {
        let all = std::mem::take(&mut self.sent);
        let (taken, left) = all.into_iter().partition(|(way, _)| *way == to_callee);
        self.sent = left;
        Vec::into_iter(taken).map(|(_, text)| text).collect()
    }

    /// A call from INVITE to ACK; the same a moment later on the gateway's clock.
    fn call(&mut self, n: usize) {
        let invite = format!(
            "INVITE sip:1000@{GATEWAY} SIP/2.0\r\nVia: SIP/2.0/UDP {LOAD};branch=z9hG4bK-31650-{n}-0\r\n\
             From: <sip:bench@{LOAD}>;tag=31650a{n}\r\nTo: <sip:1000@{GATEWAY}>\r\nCall-ID: {n}-31650@127.0.7.1\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:bench@{LOAD}>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\n\
             Content-Length: {}\r\n\r\n{SDP}",
            SDP.len()
        );
        self.receive(LOAD, invite);
        let invites = self.taken(true);
        let invite = invites.first().expect("the callee is invited");
        for (status, body) in [("180 Ringing", ""), ("200 OK", SDP)] {
            let copied =
                invite.lines().filter(|line| ["Via", "From", "Call-ID", "CSeq"].iter().any(|name| line.starts_with(name)));
            let copied: String = copied.map(|line| format!("{line}\r\n")).collect();
            let to = invite.lines().find(|line| line.starts_with("To")).expect("a To");
            let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
            self.receive(
                SINK,
                format!(
                    "SIP/2.0 {status}\r\n{copied}{to};tag=31650b{n}\r\nContact: <sip:uas@{SINK}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
                    body.len()
                ),
            );
        }
        let answers = self.taken(false);
        let answer = answers.iter().find(|text| text.starts_with("SIP/2.0 200")).expect("it is answered");
        let line = |name: &str| answer.lines().find(|line| line.starts_with(name)).expect("it is there").to_owned();
        let contact = line("Contact");
        let target = &contact[contact.find('<').unwrap() + 1..contact.find('>').unwrap()];
        let ack = format!(
            "ACK {target} SIP/2.0\r\nVia: SIP/2.0/UDP {LOAD};branch=z9hG4bK-31650-{n}-5\r\n{}\r\n{}\r\n{}\r\nCSeq: 1 ACK\r\n\
             Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            line("From"),
            line("To"),
            line("Call-ID"),
        );
        self.receive(LOAD, ack);
        self.sent.clear();
        self.now = self.now.after(Duration::from_millis(2));
    }
}

#[test]
fn a_held_call_weighs_less_than_ten_kilobytes() {
    let (first, last) = (1_000, 3_000);
    let mut gateway = Gateway::new(last);
    (0..first).for_each(|n| gateway.call(n));
    let before = held();
    (first..last).for_each(|n| gateway.call(n));
    assert_eq!(gateway.engine.census().calls, last);
    let each = (held() - before) / (last - first).cast_signed();
    println!("a held call: {each} bytes");
    assert!(each < 10_000, "a held call weighs {each} bytes");
}
