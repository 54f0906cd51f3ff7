//! What the gateway itself proposes in mid-call: all of a browser's voice where it was asked for a part of it, Opus in place
//! of G.711 where much is lost. Each flow with its ladder, in calm weather and, for many seeds, in rough.

mod support;

use std::sync::Arc;
use std::time::Duration;

use ringway::plan::{Codec, LegId, LegRemote, MediaEvent};
use ringway::policy::dialplan::Dialplan;
use ringway::policy::profile::{Prefer, Profile};
use ringway::signalling::engine::{EngineConfig, Input};
use support::peer::{Callee, Direction, Outcome};
use support::world::{Heard, Weather, World, config, profile};

const SEEDS: u64 = 100;
const NARROWBAND: &str = ";maxplaybackrate=8000;sprop-maxcapturerate=8000;maxaveragebitrate=24000";

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn world(seed: u64, weather: Weather, config: EngineConfig, peers: &[(&str, bool)]) -> World {
    let mut world = World::new(seed, weather, config);
    for (name, websocket) in peers {
        world.add(name, *websocket);
    }
    world.register_all();
    world
}

fn talk(world: &mut World, from: usize, to: &str) -> bool {
    world.act(from, |p, now| p.call(to, now));
    let talks = world.run_until(secs(60), |w| w.peers[from].outcome == Outcome::Talking);
    world.run_for(secs(3));
    talks
}

/// How often a peer was invited, retransmissions counted once.
fn invites(world: &World, at: usize) -> usize {
    let to = world.peers[at].addr;
    let sent = world.ladder.iter().filter(|t| !t.rx && t.remote == to && t.bytes.starts_with(b"INVITE"));
    sent.map(|t| t.bytes.clone()).collect::<std::collections::BTreeSet<_>>().len()
}

fn narrowed(world: &World, at: usize) -> bool {
    let sdp = &world.peers[at].calls[0].heard_sdp;
    assert!(sdp.contains("opus/48000/2"), "{sdp}");
    sdp.contains(NARROWBAND)
}

fn hear_each_other(world: &World, a: usize, b: usize) -> bool {
    world.hears(a, 0) == Some(Heard::Peer(b, 0)) && world.hears(b, 0) == Some(Heard::Peer(a, 0))
}

#[test]
fn a_browser_is_asked_for_narrowband_where_nobody_would_hear_more() {
    for (caller, callee, expected) in [(true, false, [true, false]), (false, true, [false, true]), (true, true, [false, false])] {
        let mut world = world(1, Weather::CALM, config(Vec::new()), &[("alice", caller), ("bob", callee)]);
        assert!(talk(&mut world, 0, "bob"));
        for (at, browser) in [caller, callee].into_iter().enumerate().filter(|(_, browser)| *browser) {
            assert_eq!(narrowed(&world, at), expected[at], "{caller} {callee} {browser}\n{}", world.last_words());
        }
    }
    let mut world = world(1, Weather::CALM, config(Vec::new()), &[("alice", true)]);
    assert!(talk(&mut world, 0, "600"));
    assert!(!narrowed(&world, 0), "who hears itself hears all of it");
}

/// alice (browser)   gateway     bob (phone)    carol (browser)
///   200, narrowband  |              |              |
///                    <-- REFER carol               |
///                     INVITE -----------------------> wideband
///   <-- re-INVITE, wideband
#[test]
fn a_browser_that_is_handed_on_to_another_one_is_asked_for_all_of_its_voice() {
    for (seed, weather) in std::iter::once((1, Weather::CALM)).chain((0..SEEDS).map(|seed| (seed, Weather::ROUGH))) {
        let mut world = world(seed, weather, config(Vec::new()), &[("alice", true), ("bob", false), ("carol", true)]);
        if talk(&mut world, 0, "bob") {
            assert!(narrowed(&world, 0));
            world.act(1, |p, _| p.refer(0, "carol"));
            if world.run_until(secs(40), |w| w.peers[2].outcome == Outcome::Talking) {
                world.run_for(secs(20));
                assert!(!narrowed(&world, 0) && !narrowed(&world, 2), "{}", world.last_words());
                assert!(hear_each_other(&world, 0, 2), "{}", world.last_words());
                assert_eq!((invites(&world, 0), invites(&world, 2)), (1, 1), "{}", world.last_words());
            }
        }
        assert!(weather.loss > 0 || world.peers[2].outcome == Outcome::Talking, "calm weather\n{}", world.last_words());
    }
}

/// alice (browser)   gateway     bob (phone), rings with early media    carol (browser)
///   <-- 183, narrowband
///                                                                       answers
///   <-- 200, the same description (RFC 3261 section 13.2.1)
///   ACK -->
///   <-- re-INVITE, wideband
#[test]
fn a_browser_whose_early_media_came_from_a_phone_is_asked_for_more_once_a_browser_has_answered() {
    let plan = "[[rule]]\nname = \"both\"\ndial = \"300\"\nto = \"group\"\nmembers = [\"account:bob\", \"account:carol\"]\n";
    let plan = Dialplan::parse("own.toml", plan).expect("a dialplan");
    let config = EngineConfig { dialplan: plan, ..config(Vec::new()) };
    let mut world = world(1, Weather::CALM, config, &[("alice", true), ("bob", false), ("carol", true)]);
    world.peers[1].callee = Callee::AnswersAfterEarlyMedia;
    world.peers[1].answers_after = secs(30);
    assert!(talk(&mut world, 0, "300"));
    world.run_for(secs(5));
    assert!(hear_each_other(&world, 0, 2) && !narrowed(&world, 0), "{}", world.last_words());
    assert_eq!(invites(&world, 0), 1);
}

fn browsers_prefer(prefer: Prefer) -> EngineConfig {
    let browser = Arc::new(Profile { prefer, ..Profile::clone(&profile("jssip")) });
    EngineConfig { browser, ..config(Vec::new()) }
}

fn browsers_leg(world: &World) -> LegId {
    world.remotes.iter().find(|(_, remote)| matches!(remote, LegRemote::WebRtc { .. })).expect("a browser's leg").0
}

fn lose(world: &mut World) {
    let leg = browsers_leg(world);
    world.input(Input::Media(MediaEvent::Lossy { leg }));
}

/// What the browser's leg speaks, and the phone's.
fn codecs(world: &World) -> (Codec, Codec) {
    let browser = browsers_leg(world);
    let codec = |is_browser: bool| {
        let legs = world.legs.iter().filter_map(|(leg, path)| Some((*leg, (*path)?.0.codec)));
        legs.filter(|(leg, _)| (*leg == browser) == is_browser).map(|(_, codec)| codec).next().expect("a leg that talks")
    };
    (codec(true), codec(false))
}

/// alice (browser)   gateway                  bob (phone)
///   200, PCMA        |                          |
///                    media: much is lost        |
///   <-- re-INVITE, Opus first                (hears nothing of it)
///   200 -->
#[test]
fn a_browser_that_loses_much_is_moved_to_opus_once() {
    for (seed, weather) in std::iter::once((1, Weather::CALM)).chain((0..SEEDS).map(|seed| (seed, Weather::ROUGH))) {
        let mut world = world(seed, weather, browsers_prefer(Prefer::Auto), &[("alice", true), ("bob", false)]);
        if !talk(&mut world, 0, "bob") {
            assert!(weather.loss > 0, "calm weather\n{}", world.last_words());
            continue;
        }
        assert_eq!(codecs(&world), (Codec::Pcma, Codec::Pcma));
        lose(&mut world);
        world.run_for(secs(40));
        assert_eq!(codecs(&world), (Codec::Opus, Codec::Pcma), "{}", world.last_words());
        assert!(hear_each_other(&world, 0, 1) && narrowed(&world, 0), "{}", world.last_words());
        lose(&mut world);
        // What alice proposes later leaves it so.
        world.act(0, |p, _| p.reinvite(0, Some(Direction::Both)));
        world.run_for(secs(40));
        assert_eq!(codecs(&world), (Codec::Opus, Codec::Pcma));
        assert_eq!((invites(&world, 0), invites(&world, 1)), (1, 1), "{}", world.last_words());
    }
}

#[test]
fn a_browser_that_was_called_is_moved_too_and_what_it_refuses_stays_as_it_is() {
    for (refuses, tries) in [(None, 1), (Some(488), 1), (Some(415), 1), (Some(491), 3)] {
        let mut world = world(1, Weather::CALM, browsers_prefer(Prefer::Auto), &[("alice", false), ("bob", true)]);
        world.peers[1].web_formats = "8 0 111";
        assert!(talk(&mut world, 0, "bob"));
        assert_eq!(codecs(&world), (Codec::Pcma, Codec::Pcma));
        world.peers[1].web_formats = "111 0 8";
        world.peers[1].refuses_reinvites = refuses;
        lose(&mut world);
        world.run_for(secs(120));
        let expected = if refuses.is_some() { Codec::Pcma } else { Codec::Opus };
        assert_eq!(codecs(&world), (expected, Codec::Pcma), "{refuses:?}\n{}", world.last_words());
        assert!(hear_each_other(&world, 0, 1), "{}", world.last_words());
        assert_eq!(invites(&world, 1), 1 + tries, "{refuses:?}\n{}", world.last_words());
    }
}

#[test]
fn a_browser_that_answers_with_g711_again_is_left_in_peace() {
    let mut world = world(1, Weather::CALM, browsers_prefer(Prefer::Auto), &[("alice", false), ("bob", true)]);
    world.peers[1].web_formats = "8 0 111";
    assert!(talk(&mut world, 0, "bob"));
    for _ in 0..3 {
        lose(&mut world);
        world.run_for(secs(30));
    }
    assert_eq!((codecs(&world), invites(&world, 1)), ((Codec::Pcma, Codec::Pcma), 2), "{}", world.last_words());
    assert!(hear_each_other(&world, 0, 1));
}

#[test]
fn nobody_else_is_moved() {
    for prefer in [Prefer::Opus, Prefer::Passthrough] {
        let mut world = world(1, Weather::CALM, browsers_prefer(prefer), &[("alice", true), ("bob", false)]);
        assert!(talk(&mut world, 0, "bob"));
        let before = codecs(&world);
        lose(&mut world);
        let phone = *world.legs.keys().find(|leg| **leg != browsers_leg(&world)).expect("bob's leg");
        world.input(Input::Media(MediaEvent::Lossy { leg: phone }));
        world.run_for(secs(30));
        assert_eq!((codecs(&world), invites(&world, 0), invites(&world, 1)), (before, 0, 1), "{prefer:?}");
    }
}

#[test]
fn a_route_says_how_its_browsers_choose_and_its_phones_choose_as_before() {
    let rule = |prefer: &str| format!("[[rule]]\nname = \"all\"\naccount = true\nto = \"account\"\nprefer = \"{prefer}\"\n");
    for (prefer, first) in [("opus", Codec::Opus), ("passthrough", Codec::Pcma), ("auto", Codec::Pcma)] {
        for (caller, callee) in [(true, false), (false, true)] {
            let dialplan = Dialplan::parse("own.toml", &rule(prefer)).expect("a dialplan");
            let profile = if prefer == "opus" { Prefer::Passthrough } else { Prefer::Opus };
            let config = EngineConfig { dialplan, ..browsers_prefer(profile) };
            let mut world = world(1, Weather::CALM, config, &[("alice", caller), ("bob", callee)]);
            // Who answers keeps the order of the offer.
            let (ours, web_formats) = if first == Codec::Opus { ("111 ", "111 0 8") } else { ("8 ", "8 0 111") };
            world.peers[1].web_formats = web_formats;
            assert!(talk(&mut world, 0, "bob"));
            let offer = world.peers[1].heard_sdp.clone().expect("an offer");
            assert!(!callee || offer.contains(&format!("SAVPF {ours}")), "{prefer}\n{offer}");
            let (browser, phone) = codecs(&world);
            assert_eq!(browser, first, "{prefer} {caller} {callee}\n{}", world.last_words());
            assert_eq!(browser == phone, prefer != "opus");
        }
    }
}
