//! What the engine does beside the plain flows of `simulator.rs`: who may call, what is repeated, what is refused, what
//! ends a call from outside. Each test is one situation, in calm weather.

mod support;

use std::time::Duration;

use bytes::Bytes;
use ringway::plan::{LegFailure, LegId, LegOpen, LegRemote, LegStats, MediaEvent, RtpPort};
use ringway::policy::dialplan::Dialplan;
use ringway::signalling::engine::{EngineConfig, Input, Peer};
use ringway::wire::sip::{Framing, HeaderName, Message};
use support::peer::{Callee, Outcome};
use support::world::{Heard, Weather, World, config, profile};

fn calm(config: EngineConfig) -> World {
    World::new(7, Weather::CALM, config)
}

fn two(caller_ws: bool, callee_ws: bool) -> World {
    let mut world = calm(config(Vec::new()));
    world.add("alice", caller_ws);
    world.add("bob", callee_ws);
    world.register_all();
    world
}

/// Both talk.
fn talking(caller_ws: bool, callee_ws: bool) -> World {
    let mut world = two(caller_ws, callee_ws);
    world.act(0, |p, now| p.call("bob", now));
    assert!(
        world.run_until(Duration::from_secs(10), |w| w.peers.iter().all(|p| p.outcome == Outcome::Talking)),
        "{}",
        world.last_words()
    );
    world.run_for(Duration::from_secs(1));
    world
}

fn trunk(trusted: bool, profile_name: &str) -> Peer {
    Peer { name: "trunk".into(), address: "10.0.1.1:5060".parse().expect("an address"), profile: profile(profile_name), trusted }
}

/// The statuses sent to a peer, in order.
fn statuses(world: &World, at: usize) -> Vec<u16> {
    let to = world.peers[at].addr;
    let sent = world.ladder.iter().filter(|t| !t.rx && t.remote == to);
    sent.filter_map(|t| message(&t.bytes).status()).collect()
}

fn message(bytes: &[u8]) -> Message {
    Message::parse(bytes.to_vec().into(), Framing::Datagram).expect("ours")
}

/// The messages sent to a peer whose first line starts so.
fn sent_to(world: &World, at: usize, start: &str) -> Vec<Vec<u8>> {
    let to = world.peers[at].addr;
    let sent = world.ladder.iter().filter(|t| !t.rx && t.remote == to && t.bytes.starts_with(start.as_bytes()));
    sent.map(|t| t.bytes.to_vec()).collect()
}

fn send(world: &mut World, at: usize, text: &str) {
    let flow = world.flow_of(at);
    world.input(Input::Message { flow, bytes: Bytes::from(text.to_owned()) });
    world.run_for(Duration::from_millis(50));
}

/// A request within alice's or bob's dialog, as `at` would send it.
fn in_dialog(world: &World, at: usize, method: &str, cseq: u32, body: &str) -> String {
    let peer = &world.peers[at];
    let last = world
        .ladder
        .iter()
        .rfind(|t| !t.rx && t.remote == peer.addr && (t.bytes.starts_with(b"SIP/2.0 200") || t.bytes.starts_with(b"ACK")));
    let last = message(&last.expect("a dialog").bytes);
    let line = |name| String::from_utf8_lossy(last.line(name).expect("a header")).into_owned();
    // alice sees the gateway in To of its 200, bob in From of its ACK.
    let (from, to) = if last.status().is_some() {
        (line(HeaderName::From), line(HeaderName::To))
    } else {
        (line(HeaderName::To), line(HeaderName::From))
    };
    let content = if body.is_empty() { String::new() } else { "Content-Type: application/sdp\r\n".to_owned() };
    format!(
        "{method} sip:ringway@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKin{cseq}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:x@{}>\r\n{content}Content-Length: {}\r\n\r\n{body}",
        peer.addr,
        line(HeaderName::CallId),
        peer.addr,
        body.len()
    )
}

/// A response of `at`, which hears no more, to the first INVITE that it was sent: status, tag, further header lines and a description.
fn respond(world: &mut World, at: usize, (status, tag): (u16, &str), more: &str, sdp: &str) {
    let invite = message(sent_to(world, at, "INVITE").first().expect("an INVITE"));
    let line = |name| String::from_utf8_lossy(invite.line(name).expect("a header")).into_owned();
    let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let response = format!(
        "SIP/2.0 {status} X\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag={tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:{tag}@10.0.1.2>\r\n{more}{kind}Content-Length: {}\r\n\r\n{sdp}",
        line(HeaderName::Via),
        line(HeaderName::From),
        line(HeaderName::To),
        line(HeaderName::CallId),
        line(HeaderName::CSeq),
        sdp.len()
    );
    send(world, at, &response);
}

#[test]
fn an_unknown_user_is_answered_as_a_wrong_password_is() {
    let blank = |bytes: &[u8]| {
        // What chance or the clock makes is compared by length.
        let text = String::from_utf8_lossy(bytes).into_owned();
        let mask = |text: String, name: &str, end: char| {
            let Some(at) = text.find(name).map(|at| at + name.len()) else { return text };
            let len = text[at..].find(end).unwrap_or(text.len() - at);
            format!("{}{}{}", &text[..at], "x".repeat(len), &text[at + len..])
        };
        mask(mask(text, "nonce=\"", '"'), "0;tag=", '\r').replace("mallo", "alice")
    };
    let mut answers = Vec::new();
    for name in ["alice", "mallo"] {
        let mut world = calm(config(Vec::new()));
        let at = world.add("alice", false);
        world.deafen(at);
        let register = |authorization: &str, n: u32| {
            format!(
                "REGISTER sip:sim.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.1:5060;rport;branch=z9hG4bKr{n}\r\nFrom: <sip:{name}@sim.test>;tag=r\r\nTo: <sip:{name}@sim.test>\r\nCall-ID: c\r\nCSeq: {n} REGISTER\r\nContact: <sip:{name}@10.0.1.1>\r\n{authorization}Content-Length: 0\r\n\r\n"
            )
        };
        send(&mut world, at, &register("", 1));
        let challenge = message(&world.ladder.last().expect("a challenge").bytes);
        let value = String::from_utf8_lossy(challenge.line(HeaderName::WwwAuthenticate).expect("a challenge")).into_owned();
        let nonce = value.split("nonce=\"").nth(1).and_then(|t| t.split('"').next()).expect("a nonce").to_owned();
        let wrong = format!(
            "Authorization: Digest username=\"{name}\", realm=\"sim.test\", nonce=\"{nonce}\", uri=\"sip:sim.test\", algorithm=MD5, qop=auth, cnonce=\"c\", nc=00000001, response=\"{}\"\r\n",
            "0".repeat(32)
        );
        send(&mut world, at, &register(&wrong, 2));
        let last = world.ladder.last().expect("an answer");
        assert!(last.bytes.starts_with(b"SIP/2.0 401 "), "{}", world.last_words());
        let took = last.unix_us - world.ladder[world.ladder.len() - 2].unix_us;
        answers.push((blank(&last.bytes), took));
    }
    assert_eq!(answers[0], answers[1], "the same bytes, after the same questions");
}

#[test]
fn only_a_trusted_peer_calls_without_a_password() {
    for (trusted, first) in [(true, 100), (false, 401)] {
        let mut world = calm(config(vec![trunk(trusted, "generic-pbx")]));
        world.add("trunk", false);
        let bob = world.add("bob", true);
        world.act(bob, support::peer::Peer::register);
        world.run_for(Duration::from_secs(1));
        world.act(0, |p, now| p.call("bob", now));
        world.run_for(Duration::from_millis(100));
        assert_eq!(statuses(&world, 0).first(), Some(&first), "{}", world.last_words());
    }
}

#[test]
fn a_dialplan_rule_sends_a_number_to_a_peer_without_its_prefix() {
    let mut config = config(vec![trunk(true, "generic-pbx")]);
    let rules = "[[rule]]\nname = \"out\"\ndial = \"0.\"\nfrom = \"account\"\nto = \"peer:trunk\"\nstrip = 1\n";
    config.dialplan = Dialplan::parse("own.toml", rules).expect("a dialplan");
    let mut world = calm(config);
    world.add("trunk", false);
    let alice = world.add("alice", true);
    world.act(alice, support::peer::Peer::register);
    world.run_for(Duration::from_secs(1));
    world.peers[alice].hangs_up_after = Some(Duration::from_secs(1));
    world.act(alice, |p, now| p.call("0123", now));
    world.run_for(Duration::from_secs(60));
    assert_eq!(sent_to(&world, 0, "INVITE sip:123@10.0.1.1:5060 SIP/2.0").len(), 1, "{}", world.last_words());
    assert_eq!(world.records[0].because, "rule \"out\", own.toml:1");
    assert_eq!(world.records[0].ended_by, "hung up by alice");
    // The rule is for accounts: a peer may not call back out through us.
    world.act(0, |p, now| p.call("0123", now));
    world.run_for(Duration::from_secs(2));
    assert_eq!(statuses(&world, 0).last(), Some(&404));
}

#[test]
fn a_browsers_media_may_come_over_udp_signalling() {
    let mut world = calm(config(vec![trunk(true, "webrtc-pbx")]));
    let at = world.add("trunk", false);
    let offer = "v=0\r\no=- 1 1 IN IP4 10.0.1.1\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 10.0.1.1\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=rtcp-mux\r\na=setup:actpass\r\na=rtpmap:111 opus/48000/2\r\n";
    let fingerprint = format!("a=fingerprint:sha-256 {}\r\n", ["0A"; 32].join(":"));
    let body = format!("{offer}{fingerprint}");
    let invite = format!(
        "INVITE sip:600@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:1@x>;tag=1\r\nTo: <sip:600@x>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:1@10.0.1.1>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    world.deafen(at);
    send(&mut world, at, &invite);
    let ok = sent_to(&world, at, "SIP/2.0 200");
    let text = String::from_utf8_lossy(ok.first().expect("an answer")).into_owned();
    assert!(text.contains("UDP/TLS/RTP/SAVPF 111") && text.contains("a=setup:passive"), "{text}");
}

#[test]
fn jssips_session_refresh_by_update_is_answered() {
    let mut world = talking(true, false);
    let update = in_dialog(&world, 0, "UPDATE", 90, "");
    send(&mut world, 0, &update);
    assert_eq!(statuses(&world, 0).last(), Some(&200), "{}", world.last_words());
    // An old number is refused, and the call goes on.
    let old = in_dialog(&world, 0, "UPDATE", 89, "");
    send(&mut world, 0, &old);
    assert_eq!(statuses(&world, 0).last(), Some(&500), "{}", world.last_words());
    assert_eq!(world.peers[1].outcome, Outcome::Talking);
}

/// bob                gateway
///   re-INVITE sendonly -->
///   <-- 200 recvonly
///   ACK -->
#[test]
fn a_reinvite_is_answered_by_its_own_leg_and_acknowledged() {
    let mut world = talking(true, false);
    let offer = "v=0\r\no=- 1 2 IN IP4 10.0.1.2\r\ns=-\r\nc=IN IP4 10.0.1.2\r\nt=0 0\r\nm=audio 4500 RTP/AVP 8\r\na=sendonly\r\n";
    let reinvite = in_dialog(&world, 1, "INVITE", 90, offer);
    world.deafen(1);
    let paths = world.paths.len();
    send(&mut world, 1, &reinvite);
    let answers = sent_to(&world, 1, "SIP/2.0 200");
    let text = String::from_utf8_lossy(answers.last().expect("an answer")).into_owned();
    assert!(text.contains("a=recvonly") && text.contains("RTP/AVP 8\r\n"), "{text}");
    let told = &world.paths[paths..];
    assert!(told.iter().any(|(_, plan, _)| !plan.tx), "nothing is sent to who does not listen: {told:?}");
    assert!(told.iter().any(|(.., hears)| *hears == ringway::plan::Source::Music), "the other one hears music: {told:?}");
    // Unacknowledged, it is said again; a second re-INVITE meanwhile is refused.
    world.run_for(Duration::from_secs(3));
    assert!(sent_to(&world, 1, "SIP/2.0 200").len() > answers.len());
    let second = in_dialog(&world, 1, "INVITE", 91, offer);
    send(&mut world, 1, &second);
    assert_eq!(statuses(&world, 1).last(), Some(&491), "{}", world.last_words());
}

#[test]
fn early_media_is_answered_once_and_the_200_repeats_it() {
    let mut world = two(true, false);
    world.deafen(1);
    world.act(0, |p, now| p.call("bob", now));
    world.run_for(Duration::from_millis(200));
    let sdp = "v=0\r\no=- 1 1 IN IP4 10.0.1.2\r\ns=-\r\nc=IN IP4 10.0.1.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    for status in [183, 200] {
        respond(&mut world, 1, (status, "x"), "", sdp);
    }
    let bodies: Vec<Vec<u8>> = ["SIP/2.0 183", "SIP/2.0 200"]
        .iter()
        .map(|s| message(sent_to(&world, 0, s).last().expect("a response")).body().to_vec())
        .collect();
    assert!(!bodies[0].is_empty(), "{}", world.last_words());
    assert_eq!(bodies[0], bodies[1], "JsSIP takes the first for final");
}

#[test]
fn a_second_answer_from_another_branch_is_acknowledged_and_ended() {
    let mut world = talking(true, false);
    world.deafen(1);
    respond(&mut world, 1, (200, "other"), "", "");
    let byes = sent_to(&world, 1, "BYE sip:other@10.0.1.2");
    assert_eq!(byes.len(), 1, "{}", world.last_words());
    assert_eq!(message(&byes[0]).to().expect("To").tag(), Some("other"));
    assert_eq!(world.engine.census().calls, 1, "the call itself goes on");
}

#[test]
fn what_is_never_acknowledged_is_hung_up() {
    let mut world = two(false, true);
    world.act(0, |p, now| p.call("bob", now));
    world.run_until(Duration::from_secs(10), |w| w.peers[1].outcome == Outcome::Talking);
    world.deafen(0);
    world.run_for(Duration::from_secs(40));
    assert_eq!(world.peers[1].outcome, Outcome::Ended, "{}", world.last_words());
    assert_eq!(world.records[0].ended_by, "alice did not acknowledge the answer");
}

#[test]
fn media_that_breaks_ends_the_call_with_its_reason() {
    for (cause, words) in [
        (LegFailure::IceTimeout, "connectivity checks"),
        (LegFailure::FingerprintMismatch, "certificate"),
        (LegFailure::DtlsClosed, "closed its connection"),
    ] {
        let mut world = talking(true, false);
        let leg = *world.legs.keys().next().expect("a leg");
        world.input(Input::Media(MediaEvent::Failed { leg, cause }));
        world.run_for(Duration::from_secs(6));
        assert_eq!(world.peers[1].outcome, Outcome::Ended, "{cause:?}\n{}", world.last_words());
        assert!(world.records[0].ended_by.contains(words), "{}", world.records[0].ended_by);
    }
}

/// A page that gives up while it hears early media closes its connection first: its CANCEL is on its way.
#[test]
fn who_gives_up_has_given_up_although_its_media_goes_first() {
    let mut world = two(true, false);
    world.peers[1].callee = Callee::AnswersAfterEarlyMedia;
    world.peers[1].answers_after = Duration::from_secs(20);
    world.act(0, |p, now| p.call("bob", now));
    assert!(world.run_until(Duration::from_secs(5), |w| matches!(w.hears(0, 0), Some(Heard::Peer(..)))));
    let leg = *world.legs.keys().next().expect("a leg");
    world.input(Input::Media(MediaEvent::Failed { leg, cause: LegFailure::DtlsClosed }));
    world.act(0, |p, _| p.cancel(0));
    world.run_for(Duration::from_secs(40));
    assert_eq!(world.peers[0].outcome, Outcome::Failed(487), "{}", world.last_words());
    assert_eq!(world.records[0].ended_by, "alice gave up");
}

#[test]
fn a_media_session_that_breaks_by_itself_ends_its_call_alone() {
    let mut world = talking(true, false);
    let leg = *world.legs.keys().next().expect("a leg");
    world.legs.remove(&leg);
    world.input(Input::Media(MediaEvent::Closed { leg, stats: LegStats::default() }));
    world.run_for(Duration::from_secs(40));
    assert!(world.peers.iter().all(|p| p.outcome == Outcome::Ended), "{}", world.last_words());
    assert_eq!(world.records[0].ended_by, "the media session broke");
    assert!(world.nothing_left(), "{}", world.last_words());
}

#[test]
fn a_call_for_which_media_has_no_room_is_refused() {
    let mut world = two(true, false);
    world.act(0, |p, now| p.call("bob", now));
    while world.legs.is_empty() {
        world.run_for(Duration::from_millis(1));
    }
    let leg: LegId = *world.legs.keys().next().expect("a leg");
    world.legs.remove(&leg);
    world.input(Input::Media(MediaEvent::OpenFailed { leg, cause: ringway::plan::OpenFailure::NoPort }));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.peers[0].outcome, Outcome::Failed(503), "{}", world.last_words());
}

#[test]
fn more_calls_than_there_is_room_for_are_refused() {
    let mut config = config(Vec::new());
    config.max_calls = 0;
    let mut world = calm(config);
    world.add("alice", true);
    world.register_all();
    world.act(0, |p, now| p.call("600", now));
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.peers[0].outcome, Outcome::Failed(503), "{}", world.last_words());
}

#[test]
fn a_full_transaction_table_refuses_without_state() {
    let mut config = config(vec![trunk(true, "generic-pbx")]);
    config.max_transactions = 1;
    let mut world = calm(config);
    let at = world.add("trunk", false);
    world.deafen(at);
    for n in 0..3 {
        let options = format!(
            "OPTIONS sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.1:5060;branch=z9hG4bK{n}\r\nFrom: <sip:1@x>;tag=1\r\nTo: <sip:x>\r\nCall-ID: c{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        send(&mut world, at, &options);
    }
    assert_eq!(statuses(&world, at), [200, 503, 503]);
    assert_eq!(world.engine.census().transactions, 1);
}

#[test]
fn stopping_the_gateway_ends_its_calls() {
    let mut world = talking(true, false);
    world.input(Input::ShutDown);
    world.run_for(Duration::from_secs(2));
    assert!(world.peers.iter().all(|p| p.outcome == Outcome::Ended), "{}", world.last_words());
    assert_eq!(world.records[0].ended_by, "the gateway stopped");
}

#[test]
fn the_same_invite_by_another_way_is_a_merged_request() {
    let mut world = two(false, false);
    world.peers[1].callee = Callee::Rings;
    world.act(0, |p, now| p.call("bob", now));
    world.run_for(Duration::from_secs(1));
    let invite = world
        .ladder
        .iter()
        .rfind(|t| t.rx && t.remote == world.peers[0].addr && t.bytes.starts_with(b"INVITE"))
        .expect("an INVITE")
        .bytes
        .clone();
    let again = String::from_utf8(invite.to_vec()).expect("text").replace("branch=z9hG4bK", "branch=z9hG4bKother");
    world.deafen(0);
    send(&mut world, 0, &again);
    // Its answer to the challenge is spent: it is asked again, and goes no further.
    assert!(matches!(statuses(&world, 0).last(), Some(401 | 482)), "{}", world.last_words());
    assert_eq!(world.engine.census().calls, 1);
}

#[test]
fn a_phone_behind_nat_is_latched_and_a_pbx_is_believed() {
    for (profile_name, latches) in [("generic-phone", true), ("generic-pbx", false)] {
        let mut world = calm(config(vec![trunk(true, profile_name)]));
        world.add("trunk", false);
        world.act(0, |p, now| p.call("600", now));
        world.run_for(Duration::from_secs(1));
        let remotes = world.remotes.iter().map(|(_, remote)| remote);
        let latch = remotes.clone().find_map(|r| if let LegRemote::Rtp { latch, .. } = r { Some(*latch) } else { None });
        assert_eq!(latch, Some(latches), "{profile_name}");
        let LegOpen::Rtp { port, .. } = &world.opened[0].1 else { panic!("a classic leg") };
        match (latches, port) {
            (true, RtpPort::Own) => {}
            // Its offer has said from where.
            (false, RtpPort::Shared { remote: Some(remote) }) => {
                assert!(remotes.clone().any(|r| matches!(r, LegRemote::Rtp { rtp, .. } if rtp == remote)));
            }
            _ => panic!("{profile_name}: {port:?}"),
        }
    }
}

#[test]
fn a_trace_shows_no_digest_response() {
    let world = two(true, false);
    let authorized: Vec<String> = world
        .ladder
        .iter()
        .filter(|t| t.rx)
        .map(|t| String::from_utf8_lossy(&t.bytes).into_owned())
        .filter(|t| t.contains("Authorization:"))
        .collect();
    assert!(!authorized.is_empty());
    for text in authorized {
        let response = text.split("response=\"").nth(1).and_then(|t| t.split('"').next()).expect("a response");
        assert!(response.bytes().all(|b| b == b'x'), "{response}");
    }
}

#[test]
fn a_flood_of_requests_without_proof_leaves_no_state() {
    let mut world = calm(config(Vec::new()));
    let at = world.add("flood", false);
    world.deafen(at);
    let flow = world.flow_of(at);
    for n in 0..20_000 {
        let method = if n % 2 == 0 { "REGISTER" } else { "INVITE" };
        let request = format!(
            "{method} sip:600@sim.test SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.1:5060;rport;branch=z9hG4bKf{n}\r\nFrom: <sip:x@sim.test>;tag={n}\r\nTo: <sip:x@sim.test>\r\nCall-ID: f{n}\r\nCSeq: 1 {method}\r\nContact: <sip:x@10.0.1.1>\r\nContent-Length: 0\r\n\r\n"
        );
        world.input(Input::Message { flow, bytes: request.into() });
    }
    assert!(statuses(&world, at).iter().all(|status| *status == 401));
    assert!(world.nothing_left() && world.engine.poll_timeout().is_none(), "{:?}", world.engine.census());
}

/// alice             gateway             bob
///   BYE -->
///   <-- 200          BYE -->
///                    <-- BYE        both are on their way
///                    200 -->        the dialog lasts until our own BYE is answered
#[test]
fn a_bye_that_crosses_ours_is_answered() {
    let mut world = talking(true, false);
    let bye = in_dialog(&world, 1, "BYE", 90, "");
    world.deafen(1);
    world.act(0, |p, _| p.bye());
    world.run_for(Duration::from_millis(50));
    assert_eq!(sent_to(&world, 1, "BYE").len(), 1, "{}", world.last_words());
    send(&mut world, 1, &bye);
    assert_eq!(statuses(&world, 1).last(), Some(&200), "{}", world.last_words());
    world.run_for(Duration::from_secs(60));
    assert!(world.nothing_left(), "{}", world.last_words());
    assert_eq!(world.records.len(), 1);
}

#[test]
fn a_call_is_recorded_when_it_ends_though_the_phone_never_answers_its_invite() {
    let mut world = two(true, false);
    world.deafen(1);
    world.peers[0].cancels_after = Some(Duration::from_secs(3));
    world.act(0, |p, now| p.call("bob", now));
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.records.len(), 1, "{}", world.last_words());
    assert_eq!((world.records[0].status, world.records[0].ended_by.as_str()), (487, "alice gave up"));
    world.run_for(Duration::from_secs(60));
    assert!(world.nothing_left() && world.records.len() == 1, "{}", world.last_words());
}

#[test]
fn a_reliable_response_with_the_last_number_there_is_is_followed_by_none() {
    let mut world = two(true, false);
    world.deafen(1);
    world.act(0, |p, now| p.call("bob", now));
    world.run_for(Duration::from_millis(200));
    for rseq in [u32::MAX, 0, 1] {
        respond(&mut world, 1, (180, "x"), &format!("Require: 100rel\r\nRSeq: {rseq}\r\n"), "");
    }
    let pracks = sent_to(&world, 1, "PRACK");
    assert_eq!(pracks.len(), 1, "{}", world.last_words());
    assert_eq!(message(&pracks[0]).line_named("RAck"), Some(format!("{} 1 INVITE", u32::MAX).as_bytes()));
}

#[test]
fn a_leg_that_goes_while_its_refer_is_looked_up_is_transferred_nowhere() {
    let mut world = talking(true, false);
    let refer = in_dialog(&world, 1, "REFER", 90, "").replace("Contact:", "Refer-To: <sip:alice@sim.test>\r\nContact:");
    let bye = in_dialog(&world, 1, "BYE", 91, "");
    world.deafen(1);
    let flow = world.flow_of(1);
    for text in [refer, bye] {
        world.input(Input::Message { flow, bytes: Bytes::from(text) });
    }
    world.run_for(Duration::from_secs(1));
    assert!(statuses(&world, 1).last().is_some_and(|status| *status >= 400), "{}", world.last_words());
    world.run_for(Duration::from_secs(120));
    assert!(world.nothing_left(), "{}", world.last_words());
}
