use super::*;
use crate::wire::sip::{Framing, HeaderName};

fn limits() -> NotifierLimits {
    NotifierLimits { per_subscriber: 3, subscriptions: 4, per_publisher: 2, publications: 3, ..NotifierLimits::default() }
}

#[allow(clippy::disallowed_methods)]
fn start() -> Instant {
    Instant::now()
}

fn udp(port: u16) -> Flow {
    Flow::Udp { local: "127.0.0.1:5060".parse().expect("address"), remote: ([127, 0, 0, 2], port).into() }
}

fn websocket(id: u64) -> Flow {
    Flow::WebSocket(crate::signalling::ConnectionId(id))
}

fn watcher(account: &str, flow: Flow) -> Watcher {
    Watcher { account: account.into(), flow, instance: Some("\"<urn:uuid:1>\"".into()) }
}

fn request(method: &str, cseq: u32, to_tag: &str, lines: &str, body: &str) -> Message {
    let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    let text = format!(
        "{method} sip:bob@a.org SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{cseq}\r\nFrom: <sip:alice@a.org>;tag=1\r\nTo: <sip:bob@a.org>{tag}\r\nCall-ID: c\r\nCSeq: {cseq} {method}\r\nContact: <sip:alice@10.0.0.2>\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Message::parse(text.into_bytes().into(), Framing::Datagram).expect("a request")
}

struct Bench {
    room: Notifier,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { room: Notifier::new("a.org".into(), limits()), now: start() }
    }

    fn subscribe(&mut self, tag: &str, watcher: Watcher, lines: &str) -> Result<u32, NotifierError> {
        self.room.subscribe(self.now, &request("SUBSCRIBE", 1, "", lines, ""), watcher, "bob", tag.into())
    }

    /// The NOTIFYs that are due, parsed, with what is needed to answer them.
    fn notices(&mut self) -> Vec<(SubscriptionKey, u32, Message)> {
        let mut notices = Vec::new();
        while let Some((key, _)) = self.room.next_due() {
            let notice = self.room.write(self.now, key, "SIP/2.0/UDP h;branch=z9hG4bKn", "<sip:ringway@h>").expect("it is due");
            let message = Message::parse(notice.bytes.into(), Framing::Datagram).expect("ours");
            notices.push((key, notice.cseq, message));
        }
        notices
    }

    /// The one NOTIFY that is due, answered: its Subscription-State and body.
    fn heard(&mut self) -> (String, String) {
        let mut notices = self.notices();
        assert_eq!(notices.len(), 1, "one NOTIFY");
        let (key, cseq, message) = notices.remove(0);
        self.room.on_response(self.now, key, cseq, 200);
        (text(message.line_named("Subscription-State")), String::from_utf8(message.body().to_vec()).expect("text"))
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.room.handle_timeout(self.now);
    }
}

fn text(line: Option<&[u8]>) -> String {
    String::from_utf8_lossy(line.unwrap_or_default()).into_owned()
}

const PRESENCE: &str = "Event: presence\r\n";

#[test]
fn tells_at_once_and_of_each_change_once_rested() {
    let mut bench = Bench::new();
    assert_eq!(bench.subscribe("t", watcher("alice", udp(1)), "Event: presence;id=7\r\nExpires: 600\r\n"), Ok(600));
    let (key, cseq, first) = bench.notices().remove(0);
    assert_eq!(text(first.line_named("Event")), "presence;id=7");
    assert_eq!(text(first.line_named("Subscription-State")), "active;expires=600");
    assert_eq!(text(first.line(HeaderName::ContentType)), PIDF);
    assert_eq!(first.request_uri().expect("a URI").text, "sip:alice@10.0.0.2");
    bench.room.account_reachable(bench.now, "bob", true);
    bench.room.account_reachable(bench.now, "bob", true);
    assert!(bench.notices().is_empty(), "one is on its way");
    bench.room.on_response(bench.now, key, cseq, 200);
    assert!(bench.notices().is_empty(), "it rests");
    bench.wait(REST);
    assert!(bench.heard().1.contains("<basic>open</basic>"));
    bench.wait(REST);
    bench.room.account_reachable(bench.now, "bob", true);
    assert!(bench.notices().is_empty(), "no change is no news");
    // An answer to an old NOTIFY changes nothing.
    bench.room.on_response(bench.now, key, cseq, 481);
    assert_eq!(bench.room.len(), (1, 0));
}

#[test]
fn a_subscription_is_refreshed_ended_and_expires() {
    let mut bench = Bench::new();
    let bob = watcher("alice", udp(1));
    bench.subscribe("t", bob.clone(), PRESENCE).expect("subscribed");
    bench.heard();
    let refresh = |bench: &mut Bench, cseq, tag: &str, lines: &str| {
        let request = request("SUBSCRIBE", cseq, tag, lines, "");
        bench.room.refresh(bench.now, &request, &bob)
    };
    assert_eq!(refresh(&mut bench, 2, "t", "Event: presence\r\nExpires: 120\r\n"), Ok(120));
    assert_eq!(bench.heard().0, "active;expires=120");
    assert_eq!(refresh(&mut bench, 2, "t", PRESENCE), Err(NotifierError::OutOfOrder));
    assert_eq!(refresh(&mut bench, 3, "other", PRESENCE), Err(NotifierError::NoSubscription));
    assert_eq!(refresh(&mut bench, 3, "t", "Event: dialog\r\n"), Err(NotifierError::NoSubscription));
    let stranger = bench.room.refresh(bench.now, &request("SUBSCRIBE", 3, "t", PRESENCE, ""), &watcher("mallory", udp(1)));
    assert_eq!(stranger, Err(NotifierError::NotYours));
    bench.wait(Duration::from_secs(120));
    assert_eq!(bench.heard().0, "terminated;reason=timeout");
    assert!(bench.room.is_empty() && bench.room.poll_timeout().is_none());

    bench.subscribe("u", bob.clone(), PRESENCE).expect("subscribed");
    bench.heard();
    assert_eq!(refresh(&mut bench, 2, "u", "Event: presence\r\nExpires: 0\r\n"), Ok(0));
    assert_eq!(bench.heard().0, "terminated;reason=timeout");
    assert!(bench.room.is_empty() && bench.room.poll_timeout().is_none());

    assert_eq!(bench.subscribe("v", bob.clone(), "Event: presence\r\nExpires: 0\r\n"), Ok(0), "a fetch");
    assert_eq!(bench.heard().0, "terminated;reason=timeout");
    assert!(bench.room.is_empty() && bench.room.poll_timeout().is_none());
}

#[test]
fn what_cannot_be_subscribed_to_is_refused_and_leaves_nothing() {
    let mut bench = Bench::new();
    let alice = || watcher("alice", udp(1));
    for (lines, error) in [
        ("", NotifierError::BadEvent),
        ("Event: refer\r\n", NotifierError::BadEvent),
        ("Event: presence.winfo\r\n", NotifierError::BadEvent),
        ("Event: presence\r\nAccept: text/plain\r\n", NotifierError::NotAcceptable),
        ("Event: message-summary\r\n", NotifierError::NotYours),
        ("Event: presence\r\nExpires: 59\r\n", NotifierError::TooBrief { min_expires_secs: 60 }),
    ] {
        assert_eq!(bench.subscribe("t", alice(), lines), Err(error), "{lines}");
    }
    assert!(bench.room.is_empty() && bench.room.poll_timeout().is_none());
    for n in 0..3 {
        bench.subscribe(&format!("t{n}"), alice(), "o: dialog\r\nAccept: text/x, application/*;q=1\r\n").expect("room");
    }
    assert_eq!(bench.subscribe("t", alice(), PRESENCE), Err(NotifierError::TooManyOfYours));
    bench.subscribe("c", watcher("carol", udp(2)), PRESENCE).expect("room");
    assert_eq!(bench.subscribe("t", watcher("dave", udp(3)), PRESENCE), Err(NotifierError::Full));
}

#[test]
fn a_watcher_that_is_gone_is_forgotten_and_one_over_a_websocket_is_waited_for() {
    for (flow, status) in [(udp(1), Some(481)), (udp(1), Some(404)), (udp(1), None), (websocket(1), Some(481))] {
        let mut bench = Bench::new();
        bench.subscribe("t", watcher("alice", flow), PRESENCE).expect("subscribed");
        let (key, cseq, _) = bench.notices().remove(0);
        match status {
            Some(status) => bench.room.on_response(bench.now, key, cseq, status),
            None => bench.room.on_silence(bench.now, key, cseq),
        }
        assert!(bench.room.is_empty() && bench.room.poll_timeout().is_none(), "{flow:?} {status:?}");
    }
    for closes in [true, false] {
        let mut bench = Bench::new();
        bench.subscribe("t", watcher("alice", websocket(1)), PRESENCE).expect("subscribed");
        let (key, cseq, _) = bench.notices().remove(0);
        if closes {
            bench.room.on_response(bench.now, key, cseq, 200);
            bench.room.flow_closed(bench.now, websocket(1));
        } else {
            bench.room.on_silence(bench.now, key, cseq);
        }
        bench.room.account_reachable(bench.now, "bob", true);
        bench.wait(REST);
        assert!(bench.notices().is_empty(), "there is no way to it");
        bench.room.flow_moved(bench.now, "alice", "\"<urn:uuid:2>\"", websocket(2));
        bench.room.flow_moved(bench.now, "carol", "\"<urn:uuid:1>\"", websocket(2));
        assert!(bench.notices().is_empty(), "neither another instance nor another account");
        bench.room.flow_moved(bench.now, "alice", "\"<urn:uuid:1>\"", websocket(3));
        assert_eq!(bench.room.next_due(), Some((key, websocket(3))));
        let notice = bench.room.write(bench.now, key, "SIP/2.0/WS h;branch=z9hG4bKn", "<sip:r@h>").expect("due");
        assert!(String::from_utf8_lossy(&notice.bytes).contains("<basic>open</basic>"));
        // It closes again, and nobody comes back.
        bench.room.flow_closed(bench.now, websocket(3));
        bench.room.account_reachable(bench.now, "bob", false);
        bench.wait(Duration::from_secs(3_600));
        assert!(bench.notices().is_empty() && bench.room.is_empty() && bench.room.poll_timeout().is_none());
    }
}

#[test]
fn presence_is_what_was_published_or_else_the_registration_and_the_phone() {
    let mut bench = Bench::new();
    bench.subscribe("t", watcher("alice", udp(1)), PRESENCE).expect("subscribed");
    assert!(bench.heard().1.contains("<basic>closed</basic>"));
    let next = |bench: &mut Bench| {
        bench.wait(REST);
        bench.heard().1
    };
    bench.room.account_reachable(bench.now, "bob", true);
    assert!(next(&mut bench).contains("<basic>open</basic>"));
    let mut dialog = DialogState {
        id: "d".into(),
        direction: Direction::Recipient,
        phase: Phase::Early,
        remote: Some("sip:201@a.org".into()),
    };
    bench.room.dialogs_changed(bench.now, "bob", std::slice::from_ref(&dialog));
    bench.wait(REST);
    assert!(bench.notices().is_empty(), "that it rings is no presence");
    dialog.phase = Phase::Confirmed;
    bench.room.dialogs_changed(bench.now, "bob", &[dialog]);
    assert!(next(&mut bench).contains("<rpid:activities><rpid:on-the-phone/></rpid:activities>"));
    bench.room.dialogs_changed(bench.now, "bob", &[]);
    assert!(!next(&mut bench).contains("on-the-phone"));

    let body = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:bob@a.org\"><tuple id=\"a\"><status><basic>closed</basic></status><note>At lunch</note></tuple></presence>";
    let publish = |bench: &mut Bench, lines: &str, body: &str, tag: &str| {
        let lines = format!("Event: presence\r\nContent-Type: application/pidf+xml\r\n{lines}");
        let request = request("PUBLISH", 1, "", &lines, body);
        bench.room.publish(bench.now, &request, "bob", tag.into())
    };
    assert_eq!(publish(&mut bench, "", body, "e1"), Ok(3_600));
    let published = next(&mut bench);
    assert!(published.contains("<basic>closed</basic></status><note>At lunch</note>"), "{published}");
    assert_eq!(publish(&mut bench, "SIP-If-Match: e0\r\n", "", "e2"), Err(NotifierError::ConditionFailed));
    assert_eq!(publish(&mut bench, "SIP-If-Match: e1\r\nExpires: 60\r\n", "", "e2"), Ok(60), "a refresh");
    bench.wait(REST);
    assert!(bench.notices().is_empty(), "which changes nothing");
    bench.wait(Duration::from_secs(60));
    assert!(bench.heard().1.contains("<basic>open</basic>"), "it has expired");
    publish(&mut bench, "", body, "e3").expect("published");
    next(&mut bench);
    assert_eq!(publish(&mut bench, "SIP-If-Match: e3\r\nExpires: 0\r\n", "", "e4"), Ok(0), "taken back");
    assert!(next(&mut bench).contains("<basic>open</basic>"));
    assert_eq!(bench.room.len(), (1, 0));
}

#[test]
fn what_cannot_be_published_is_refused_and_the_oldest_document_makes_room() {
    let mut bench = Bench::new();
    let publish = |bench: &mut Bench, account: &str, lines: &str, body: &str, tag: &str| {
        bench.room.publish(bench.now, &request("PUBLISH", 1, "", lines, body), account, tag.into())
    };
    let (event, ours) = ("Event: presence\r\n", "Event: presence\r\nContent-Type: application/pidf+xml\r\n");
    let body = "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\"/>";
    let long = " ".repeat(8_193);
    for (lines, body, error) in [
        ("Event: dialog\r\n", body, NotifierError::BadEvent),
        (event, body, NotifierError::NoDocument),
        (ours, "<x/>", NotifierError::Malformed),
        (ours, "", NotifierError::Malformed),
        (ours, long.as_str(), NotifierError::TooLarge),
        (&format!("{ours}Expires: 1\r\n"), body, NotifierError::TooBrief { min_expires_secs: 60 }),
    ] {
        assert_eq!(publish(&mut bench, "bob", lines, body, "e"), Err(error), "{lines}");
    }
    for n in 1..=3 {
        publish(&mut bench, "bob", ours, body, &format!("e{n}")).expect("the oldest makes room");
    }
    assert_eq!(bench.room.len(), (0, 2));
    let gone = publish(&mut bench, "bob", &format!("{ours}SIP-If-Match: e1\r\n"), "", "e4");
    assert_eq!(gone, Err(NotifierError::ConditionFailed));
    publish(&mut bench, "carol", ours, body, "c").expect("room");
    assert_eq!(publish(&mut bench, "dave", ours, body, "d"), Err(NotifierError::Full));
    bench.wait(Duration::from_secs(3_600));
    assert!(bench.room.is_empty() && bench.room.poll_timeout().is_none());
}

#[test]
fn a_call_that_ends_is_told_once_and_versions_count() {
    let mut bench = Bench::new();
    bench.subscribe("t", watcher("bob", udp(1)), "Event: dialog\r\n").expect("subscribed");
    assert!(bench.heard().1.contains("version=\"0\""));
    let dialog = |id: &str, phase| DialogState { id: id.into(), direction: Direction::Initiator, phase, remote: None };
    bench.room.dialogs_changed(bench.now, "bob", &[dialog("1", Phase::Confirmed), dialog("2", Phase::Trying)]);
    bench.room.dialogs_changed(bench.now, "bob", &[dialog("1", Phase::Terminated), dialog("2", Phase::Early)]);
    bench.wait(REST);
    let told = bench.heard().1;
    assert!(told.contains("version=\"1\""), "{told}");
    assert!(told.contains("<dialog id=\"2\" direction=\"initiator\"><state>early</state></dialog>"), "{told}");
    assert!(told.contains("<dialog id=\"1\" direction=\"initiator\"><state>terminated</state></dialog>"), "{told}");
    bench.room.dialogs_changed(bench.now, "bob", &[]);
    bench.wait(REST);
    let told = bench.heard().1;
    assert!(told.contains("terminated") && !told.contains("id=\"1\""), "{told}");
    bench.wait(REST);
    assert!(bench.notices().is_empty());
}

#[test]
fn waiting_messages_are_counted_for_their_owner() {
    let mut bench = Bench::new();
    bench.room.waiting_changed(bench.now, "bob", 2, 0);
    bench.subscribe("t", watcher("bob", udp(1)), "Event: message-summary\r\n").expect("subscribed");
    assert_eq!(bench.heard().1, "Messages-Waiting: yes\r\nMessage-Account: sip:bob@a.org\r\nText-Message: 2/0\r\n");
    bench.room.waiting_changed(bench.now, "bob", 0, 0);
    bench.wait(REST);
    assert_eq!(bench.heard().1, "Messages-Waiting: no\r\nMessage-Account: sip:bob@a.org\r\nText-Message: 0/0\r\n");
}
