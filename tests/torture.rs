//! The torture tests of RFC 4475, RFC 5118 and RFC 7118 (`../shared/corpus`), each with the outcome that it demands.

mod support;

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use ringway::wire::sip::{Framing, HeaderName, Message};
use serde_json::Value;
use support::world::{Weather, World, config, profile};

/// The corpus stands beside the project; without it these tests cannot say anything, and say so.
fn corpus() -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    assert!(
        path.join("manifest.json").is_file(),
        "the test messages are missing: expected ../shared/corpus/manifest.json beside the project"
    );
    path
}

fn manifest() -> Vec<Value> {
    let text = fs::read_to_string(corpus().join("manifest.json")).expect("the manifest is readable");
    serde_json::from_str(&text).expect("the manifest is JSON")
}

fn read(name: &str) -> Bytes {
    fs::read(corpus().join(name)).expect("the manifest names files that exist").into()
}

fn words(entry: &Value, transport: &str, kind: &str) -> Vec<String> {
    let list = entry["expect"][transport][kind].as_array();
    list.into_iter().flatten().map(|w| w.as_str().expect("a word").to_owned()).collect()
}

/// What the message layer alone makes of the bytes, in the manifest's words.
fn outcome(bytes: Bytes) -> String {
    match Message::parse(bytes, Framing::Datagram).map(|m| (m.check(), m)) {
        Err(_) => "drop".to_owned(),
        Ok((Err(defect), m)) if m.method().is_some() => defect.status().to_string(),
        Ok((Err(_), _)) => "drop".to_owned(),
        Ok((Ok(()), _)) => "valid".to_owned(),
    }
}

#[test]
fn every_message_parses_or_has_a_defect_as_its_rfc_says() {
    let mut failures = Vec::new();
    for entry in manifest() {
        let id = entry["id"].as_str().expect("an id");
        let mut allowed = words(&entry, "udp", "strict");
        if allowed.is_empty() {
            allowed = words(&entry, "ws", "strict");
        }
        let found = outcome(read(entry["file"].as_str().expect("a file")));
        // A registrar's matter: the message is sound, its To is nothing that can be registered.
        if id == "rfc4475/unksm2" {
            assert_eq!(found, "valid");
            continue;
        }
        // What needs more than the message to be decided (401, 416, 420, 481, 501, …, and responses without a transaction)
        // must reach the engine whole.
        let judged_here = |word: &String| matches!(word.as_str(), "400" | "505" | "valid");
        let ok = if allowed.iter().any(judged_here) {
            allowed.contains(&found)
                || (found == "valid" && !allowed.iter().all(judged_here))
                || (found == "drop" && allowed.iter().any(|w| w == "drop"))
        } else {
            found == "valid" || found == "drop"
        };
        if !ok {
            failures.push(format!("{id}: {found}, expected one of {allowed:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn tortuous_invite_is_read_to_the_last_header() {
    let message = Message::parse(read("rfc4475/wsinv.dat"), Framing::Datagram).expect("valid");
    assert_eq!(message.check(), Ok(()));
    assert_eq!(message.call_id(), Ok("wsinv.ndaksdj@192.0.2.1"));
    let cseq = message.cseq().expect("leading zeros are legal");
    assert_eq!((cseq.number, cseq.method), (9, &b"INVITE"[..]));
    assert_eq!(message.max_forwards(), Ok(Some(68)));
    let vias: Vec<_> = message.values(HeaderName::Via).map(|v| v.expect("a value").to_vec()).collect();
    assert_eq!(vias.len(), 3, "{vias:?}");
    assert_eq!(message.to().expect("To").tag(), Some("1918181833n"));
    assert_eq!(message.from().expect("From").display_text().as_deref(), Some(r#"J Rosenberg \""#));
    assert_eq!(message.contact().expect("Contact").uri.user, Some("jdrosen"));
    assert_eq!(message.line_named("newfangledheader").map(|v| v.starts_with(b"newfangled value")), Some(true));
}

#[test]
fn bodies_are_kept_to_the_byte_and_escapes_are_not_undone_early() {
    let bytes = read("rfc4475/mpart01.dat");
    let message = Message::parse(bytes.clone(), Framing::Datagram).expect("valid");
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a body") + 4;
    assert_eq!(message.body(), &bytes[at..]);
    assert!(message.body().iter().any(|b| *b >= 0x80), "the signature is binary");

    let message = Message::parse(read("rfc4475/esc01.dat"), Framing::Datagram).expect("valid");
    assert_eq!(message.request_uri().expect("a URI").user_decoded().as_deref(), Some("sips:user@example.com"));
    let message = Message::parse(read("rfc4475/escnull.dat"), Framing::Datagram).expect("valid");
    let users: Vec<_> = message.values(HeaderName::Contact).map(|c| c.expect("a contact").to_vec()).collect();
    assert_eq!(users.len(), 2);
    assert_ne!(users[0], users[1]);
}

#[test]
fn ipv6_ports_are_told_from_addresses() {
    for (file, address, port) in [
        ("rfc5118/port-ambiguous.dat", "[2001:db8::10:5070]", None),
        ("rfc5118/port-unambiguous.dat", "[2001:db8::10]", Some(5070)),
    ] {
        let message = Message::parse(read(file), Framing::Datagram).expect("valid");
        let uri = message.request_uri().expect("a URI");
        assert_eq!((uri.host.map(|h| h.to_string()), uri.port), (Some(address.to_owned()), port), "{file}");
    }
}

/// The gateway with one trusted peer, which sends the message: what it answers first, but for 100. No message of the
/// corpus may be answered by guessing: each meets an engine of its own.
fn answer(bytes: Bytes, websocket: bool) -> (String, Option<Message>) {
    let peers = vec![ringway::signalling::engine::Peer {
        name: "trunk".into(),
        address: "10.0.1.1:5060".parse().expect("an address"),
        profile: profile("generic-pbx"),
        trusted: true,
    }];
    let mut world = World::new(1, Weather::CALM, config(peers));
    let at = world.add("sender", websocket);
    let flow = world.flow_of(at);
    world.deafen(at);
    world.input(ringway::signalling::engine::Input::Message { flow, bytes });
    world.run_for(std::time::Duration::from_secs(1));
    let sent = world.ladder.iter().filter(|t| !t.rx).map(|t| Message::parse(t.bytes.clone(), Framing::Datagram).expect("ours"));
    match sent.filter_map(|m| Some((m.status()?, m))).find(|(status, _)| *status > 100) {
        Some((status, message)) => (status.to_string(), Some(message)),
        None => ("drop".to_owned(), None),
    }
}

#[test]
fn the_gateway_answers_every_message_as_its_rfc_demands() {
    let mut failures = Vec::new();
    for entry in manifest() {
        let id = entry["id"].as_str().expect("an id");
        for transport in ["udp", "ws"] {
            let (strict, soft) = (words(&entry, transport, "strict"), words(&entry, transport, "soft"));
            if strict.is_empty() {
                continue;
            }
            let bytes = read(entry["file"].as_str().expect("a file"));
            let (found, message) = answer(bytes, transport == "ws");
            // "valid" is whatever a server says to a message that it understood.
            let understood = !matches!(found.as_str(), "400" | "505" | "drop");
            if !(strict.contains(&found) || (understood && strict.iter().any(|w| w == "valid"))) {
                failures.push(format!("{id} over {transport}: {found}, expected {strict:?} (or {soft:?})"));
            }
            for check in entry["check"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let (Some(header), Some(message)) = (check.strip_prefix("hdr:"), &message) else { continue };
                if found != "401" && message.line_named(header).is_none() {
                    failures.push(format!("{id} over {transport}: {found} without {header}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
