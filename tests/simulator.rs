//! Calls through the engine in a simulated world: every flow in calm weather with what it must come to, and a thousand
//! seeds of each in rough weather (20 % of the datagrams lost, others doubled and overtaking each other). Each ends in a
//! stated way and leaves nothing behind.
//!
//! `SEED=123 cargo test --test simulator` runs that seed alone, and prints its ladder when it fails.

mod support;

use std::time::Duration;

use ringway::plan::{Codec, Path, Source};
use support::peer::{Callee, Outcome};
use support::world::{Weather, World, config};

const SEEDS: u64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    CallerHangsUp,
    CalleeHangsUp,
    BothHangUp,
    CallerCancels,
    CancelCrossesAnswer,
    Busy,
    Declined,
    NoAnswer,
    CallerWebSocketCloses,
    CalleeWebSocketCloses,
}

use Flow::{
    BothHangUp, Busy, CalleeHangsUp, CalleeWebSocketCloses, CallerCancels, CallerHangsUp, CallerWebSocketCloses,
    CancelCrossesAnswer, Declined, NoAnswer,
};

const FLOWS: [Flow; 8] = [CallerHangsUp, CalleeHangsUp, BothHangUp, CallerCancels, CancelCrossesAnswer, Busy, Declined, NoAnswer];

fn flows(caller_ws: bool, callee_ws: bool) -> Vec<Flow> {
    let mut flows = FLOWS.to_vec();
    flows.extend(caller_ws.then_some(CallerWebSocketCloses));
    flows.extend(callee_ws.then_some(CalleeWebSocketCloses));
    flows
}

/// The caller's and the callee's end, when nobody's patience ran out before.
fn expected(flow: Flow) -> &'static [(Outcome, Outcome)] {
    use Outcome::{Ended, Failed, Talking};
    match flow {
        CallerHangsUp | CalleeHangsUp | BothHangUp => &[(Ended, Ended)],
        CallerCancels => &[(Failed(487), Failed(487))],
        // Whoever was first: the cancellation, or the answer, which is then followed by BYE.
        CancelCrossesAnswer => &[(Failed(487), Failed(487)), (Failed(487), Ended), (Ended, Ended)],
        Busy => &[(Failed(486), Failed(486))],
        Declined => &[(Failed(603), Failed(603))],
        NoAnswer => &[(Failed(480), Failed(487))],
        // The one whose WebSocket is gone hears nothing more.
        CallerWebSocketCloses => &[(Talking, Ended)],
        CalleeWebSocketCloses => &[(Ended, Talking)],
    }
}

struct Run {
    world: World,
    as_expected: bool,
}

fn run(flow: Flow, caller_ws: bool, callee_ws: bool, seed: u64, weather: Weather) -> Run {
    let mut world = World::new(seed, weather, config(Vec::new()));
    let (a, b) = (world.add("alice", caller_ws), world.add("bob", callee_ws));
    world.register_all();
    match flow {
        CallerHangsUp => world.peers[a].hangs_up_after = Some(Duration::from_secs(7)),
        CalleeHangsUp => world.peers[b].hangs_up_after = Some(Duration::from_secs(7)),
        BothHangUp => {
            world.peers[a].hangs_up_after = Some(Duration::from_millis(5_000));
            world.peers[b].hangs_up_after = Some(Duration::from_millis(5_010));
        }
        CallerCancels => {
            world.peers[b].callee = Callee::Rings;
            world.peers[a].cancels_after = Some(Duration::from_secs(12));
        }
        CancelCrossesAnswer => {
            world.peers[a].cancels_after = Some(Duration::from_millis(2_020));
            world.peers[a].hangs_up_after = Some(Duration::from_secs(2));
        }
        Busy => world.peers[b].callee = Callee::Refuses(486),
        Declined => world.peers[b].callee = Callee::Refuses(603),
        NoAnswer => world.peers[b].callee = Callee::Rings,
        CallerWebSocketCloses | CalleeWebSocketCloses => {}
    }
    world.act(a, |peer, now| peer.call("bob", now));
    if matches!(flow, CallerWebSocketCloses | CalleeWebSocketCloses) {
        let talking = |w: &World| w.peers.iter().all(|p| p.outcome == Outcome::Talking);
        world.run_until(Duration::from_secs(120), talking);
        let at = if flow == CallerWebSocketCloses { a } else { b };
        world.run_for(Duration::from_secs(3));
        world.close_websocket(at);
        let other = 1 - at;
        let told = world.run_until(Duration::from_secs(10), |w| w.peers[other].outcome == Outcome::Ended);
        assert!(told || weather.loss > 0, "the other side is told within 10 s");
    }
    // Long enough for every timer of RFC 3261, too short for a binding to expire.
    world.run_for(Duration::from_secs(260));
    let outcome = (world.peers[a].outcome, world.peers[b].outcome);
    Run { as_expected: expected(flow).contains(&outcome), world }
}

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("SEED").ok().and_then(|s| s.parse::<u64>().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS,
    }
}

fn pairs() -> [(bool, bool, &'static str); 4] {
    [
        (true, false, "browser -> phone"),
        (false, true, "phone -> browser"),
        (true, true, "browser -> browser"),
        (false, false, "phone -> phone"),
    ]
}

#[test]
fn in_calm_weather_every_flow_ends_as_it_must() {
    for (caller_ws, callee_ws, pair) in pairs() {
        for flow in flows(caller_ws, callee_ws) {
            let run = run(flow, caller_ws, callee_ws, 1, Weather::CALM);
            assert!(run.as_expected, "{pair}, {flow:?}\n{}", run.world.last_words());
            assert!(run.world.nothing_left(), "{pair}, {flow:?}\n{}", run.world.last_words());
            assert_eq!(run.world.records.len(), 1, "{pair}, {flow:?}: one record");
        }
    }
}

/// Under heavy loss a transaction may time out: that too is an end. It must stay rare, and nothing may be left behind.
fn in_rough_weather(caller_ws: bool, callee_ws: bool) {
    for flow in flows(caller_ws, callee_ws) {
        let mut otherwise = 0;
        for seed in seeds() {
            let mut run = run(flow, caller_ws, callee_ws, seed, Weather::ROUGH);
            let words = |run: &Run| format!("SEED={seed} {flow:?}\n{}", run.world.last_words());
            assert!(run.world.nothing_left(), "something is left behind: {}", words(&run));
            assert!(run.world.records.len() <= 1, "one call, one record: {}", words(&run));
            let stated = |o: Outcome| matches!(o, Outcome::Idle | Outcome::Ended | Outcome::Failed(_));
            let cut_off = |name: &str| {
                (flow == CallerWebSocketCloses && name == "alice") || (flow == CalleeWebSocketCloses && name == "bob")
            };
            let waits = run.world.peers.iter().any(|p| !stated(p.outcome) && !cut_off(&p.name));
            assert!(!waits, "a peer still waits: {}", words(&run));
            otherwise += u64::from(!run.as_expected);
            // Bindings expire, and then not one timer is armed.
            run.world.run_for(Duration::from_secs(400));
            assert_eq!(run.world.engine.poll_timeout(), None, "a timer is left: {}", words(&run));
        }
        assert!(otherwise * 50 <= SEEDS, "{flow:?}: {otherwise} of {SEEDS} ended otherwise");
    }
}

#[test]
fn browser_to_phone_in_rough_weather() {
    in_rough_weather(true, false);
}

#[test]
fn phone_to_browser_in_rough_weather() {
    in_rough_weather(false, true);
}

#[test]
fn browser_to_browser_in_rough_weather() {
    in_rough_weather(true, true);
}

#[test]
fn phone_to_phone_in_rough_weather() {
    in_rough_weather(false, false);
}

/// alice (browser)      gateway        bob (phone)
///   INVITE opus,pcmu -->
///                       INVITE pcma,pcmu -->
///                       <-- 180, 200 pcma
///   <-- 180, 200 opus
#[test]
fn each_leg_agrees_with_its_own_peer() {
    let run = run(CallerHangsUp, true, false, 1, Weather::CALM);
    assert_eq!(run.world.codecs(), [Codec::Opus, Codec::Pcma]);
    assert_eq!(path(&run.world), Path::Transcode);
    let (alice, bob) = (&run.world.peers[0], &run.world.peers[1]);
    let answer = alice.heard_sdp.as_deref().expect("an answer");
    for line in [
        "m=audio 20002 UDP/TLS/RTP/SAVPF 111 110",
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:110 telephone-event/48000",
        "a=setup:passive",
        "a=mid:0",
        "a=group:BUNDLE 0",
        "a=rtcp-mux",
        "a=ice-lite",
    ] {
        assert!(answer.lines().any(|l| l == line), "{line} is missing in\n{answer}");
    }
    let offer = bob.heard_sdp.as_deref().expect("an offer");
    assert!(offer.contains(" RTP/AVP 0 8 101\r\n") || offer.contains(" RTP/AVP 8 0 101\r\n"), "{offer}");
    for alien in ["ice", "fingerprint", "setup", "mid", "opus", "candidate", "BUNDLE"] {
        assert!(!offer.contains(alien), "{alien} has crossed to the phone's leg:\n{offer}");
    }
    assert_eq!(alice.provisionals, [100, 180]);
}

/// How the call's packets were carried between the first two legs that heard each other.
fn path(world: &World) -> Path {
    let joined: Vec<_> = world.paths.iter().filter(|(.., hears)| matches!(hears, Source::Leg(_))).collect();
    Path::between(&joined[0].1, &joined[1].1)
}

#[test]
fn two_browsers_and_two_phones_are_not_transcoded() {
    for (ws, codec) in [(true, Codec::Opus), (false, Codec::Pcma)] {
        let run = run(CallerHangsUp, ws, ws, 1, Weather::CALM);
        assert_eq!(run.world.codecs(), [codec, codec]);
        assert_eq!(path(&run.world), Path::Rewrite);
    }
}
