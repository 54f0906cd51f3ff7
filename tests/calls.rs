//! Everything that happens in a call, each flow with its ladder: in calm weather with what it must come to, and in rough
//! weather (20 % of the datagrams lost, others doubled and overtaking each other) for many seeds. `SEED=7 cargo test --test
//! calls name` replays one of them.

mod support;

use std::time::Duration;

use ringway::plan::{LegPlan, Path};
use ringway::policy::dialplan::Dialplan;
use ringway::signalling::engine::{EngineConfig, Peer as TrustedPeer};
use ringway::wire::sip::{Framing, HeaderName, Message};
use support::peer::{Callee, Direction, Outcome};
use support::world::{Heard, Weather, World, config, profile};

const SEEDS: u64 = 300;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Runs a flow once in calm weather, held to all that it says, and in rough weather for many seeds, where patience may run
/// out before a flow is through: then it must still leave nothing behind.
fn in_all_weather(config: impl Fn() -> EngineConfig, peers: &[(&str, bool)], flow: impl Fn(&mut World) -> Option<()>) {
    let run = |seed: u64, weather: Weather| {
        let mut world = World::new(seed, weather, config());
        for (name, websocket) in peers {
            world.add(name, *websocket);
        }
        world.register_all();
        let through = flow(&mut world).is_some();
        // What still rings is answered or given up.
        world.run_for(secs(70));
        for at in 0..world.peers.len() {
            while world.peers[at].talking().next().is_some() {
                world.act(at, |p, _| p.bye());
            }
        }
        world.run_for(secs(280));
        assert!(world.nothing_left(), "seed {seed}, {weather:?}\n{}", world.last_words());
        assert!(through || weather.loss > 0, "calm weather\n{}", world.last_words());
        through
    };
    run(1, Weather::CALM);
    let seeds = match std::env::var("SEED").ok().and_then(|s| s.parse::<u64>().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS,
    };
    let all = seeds.end - seeds.start;
    let through = seeds.filter(|seed| run(*seed, Weather::ROUGH)).count() as u64;
    assert!(through * 100 >= all * 80, "{through} of {all} were through");
}

fn plain() -> EngineConfig {
    config(Vec::new())
}

fn plan(text: &str) -> EngineConfig {
    EngineConfig { dialplan: Dialplan::parse("own.toml", text).expect("a dialplan"), ..plain() }
}

fn talk(world: &mut World, from: usize, to: &str) -> Option<()> {
    let before = world.peers[from].calls.len();
    world.act(from, |p, now| p.call(to, now));
    let talks = |w: &World| w.peers[from].calls.get(before).is_some_and(|c| c.outcome == Outcome::Talking);
    world.run_until(secs(60), talks).then(|| world.run_for(secs(3)))
}

/// Waits until something holds; in calm weather it must soon.
fn until(world: &mut World, holds: impl Fn(&World) -> bool) -> Option<()> {
    world.run_until(secs(40), holds).then_some(())
}

fn hear_each_other(world: &World, a: (usize, usize), b: (usize, usize)) -> bool {
    world.hears(a.0, a.1) == Some(Heard::Peer(b.0, b.1)) && world.hears(b.0, b.1) == Some(Heard::Peer(a.0, a.1))
}

fn requests(world: &World, at: usize, method: &str) -> Vec<Message> {
    let to = world.peers[at].addr;
    let sent = world.ladder.iter().filter(|t| !t.rx && t.remote == to && t.bytes.starts_with(method.as_bytes()));
    sent.map(|t| Message::parse(t.bytes.clone(), Framing::Datagram).expect("ours")).collect()
}

/// alice         gateway        bob, browser    bob, phone
///   INVITE -->     INVITE -->   (offer A, Call-ID 1)
///                  INVITE ------------------>  (offer B, Call-ID 2)
///                  <-- 180      <------- 180
///   <-- 180
///                  <-- 200
///   <-- 200        ACK -->
///                  CANCEL ------------------>  Reason: SIP;cause=200;text="Call completed elsewhere"
///                  <------- 200, 487   ACK -->
#[test]
fn every_device_of_an_account_rings_and_the_first_answer_wins() {
    in_all_weather(plain, &[("alice", true), ("bob", true), ("bob", false)], |world| {
        world.peers[2].callee = Callee::Rings;
        talk(world, 0, "bob")?;
        until(world, |w| w.peers[2].outcome == Outcome::Failed(487))?;
        if world.weather.loss == 0 {
            let (a, b) = (requests(world, 1, "INVITE"), requests(world, 2, "INVITE"));
            assert_ne!(a[0].call_id(), b[0].call_id(), "each branch has a Call-ID of its own");
            assert!(String::from_utf8_lossy(a[0].body()).contains("UDP/TLS/RTP/SAVPF"));
            assert!(String::from_utf8_lossy(b[0].body()).contains("RTP/AVP 0 8 101"));
            let cancel = &requests(world, 2, "CANCEL")[0];
            let reason = String::from_utf8_lossy(cancel.line(HeaderName::Reason).expect("a Reason")).into_owned();
            assert_eq!(reason, "SIP;cause=200;text=\"Call completed elsewhere\"");
        }
        hear_each_other(world, (0, 0), (1, 0)).then_some(())
    });
}

/// Two answers in the same moment leave one call: the second is acknowledged and ended.
#[test]
fn two_answers_in_one_moment_leave_one_call() {
    in_all_weather(plain, &[("alice", false), ("bob", false), ("bob", false), ("bob", true)], |world| {
        world.act(0, |p, now| p.call("bob", now));
        until(world, |w| w.peers[0].outcome == Outcome::Talking)?;
        until(world, |w| (1..4).filter(|at| w.peers[*at].outcome == Outcome::Talking).count() == 1)?;
        let winner = (1..4).find(|at| world.peers[*at].outcome == Outcome::Talking)?;
        hear_each_other(world, (0, 0), (winner, 0)).then_some(())
    });
}

#[test]
fn a_dead_device_holds_nobody_up() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("bob", false)], |world| {
        world.peers[1].callee = Callee::Dead;
        world.peers[2].callee = Callee::Refuses(486);
        world.act(0, |p, now| p.call("bob", now));
        let start = world.now.mono;
        until(world, |w| w.peers[0].outcome == Outcome::Failed(486))?;
        assert!(world.weather.loss > 0 || world.now.mono - start < secs(6), "{}", world.last_words());
        Some(())
    });
}

#[test]
fn the_best_failure_is_passed_on() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("bob", true)], |world| {
        world.peers[1].callee = Callee::Refuses(500);
        world.peers[2].callee = Callee::Refuses(486);
        world.act(0, |p, now| p.call("bob", now));
        until(world, |w| w.peers[0].outcome == Outcome::Failed(486))
    });
}

/// A 6xx speaks for the person: the other devices stop at once.
#[test]
fn a_decline_stops_all_devices() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("bob", true)], |world| {
        world.peers[1].callee = Callee::Rings;
        world.peers[2].callee = Callee::Refuses(603);
        world.act(0, |p, now| p.call("bob", now));
        until(world, |w| w.peers[0].outcome == Outcome::Failed(603) && w.peers[1].outcome == Outcome::Failed(487))
    });
}

const GROUP: &str =
    "[[rule]]\nname = \"group\"\ndial = \"300\"\nto = \"group\"\nmembers = [\"account:bob\", \"account:carol\"]\n";

#[test]
fn a_group_rings_together() {
    in_all_weather(
        || plan(GROUP),
        &[("alice", true), ("bob", false), ("carol", true)],
        |world| {
            world.peers[1].callee = Callee::Rings;
            talk(world, 0, "300")?;
            until(world, |w| w.peers[1].outcome == Outcome::Failed(487))?;
            hear_each_other(world, (0, 0), (2, 0)).then_some(())
        },
    );
}

/// alice       gateway       bob        carol       dave
///   INVITE -->   INVITE -->               |           |
///                <-- 180                  |           |
///                15 s                     |           |
///                CANCEL -->               |           |
///                INVITE ----------------> |           |
///                <----------------- 486   |           |
///                INVITE ---------------------------> |     busy = "account:dave"
#[test]
fn a_group_rings_in_turn_and_is_forwarded_when_busy() {
    let rules = format!("{GROUP}ring = \"in turn\"\nring_secs = 15\nbusy = \"account:dave\"\n");
    let peers = [("alice", true), ("bob", false), ("carol", true), ("dave", false)];
    in_all_weather(
        || plan(&rules),
        &peers,
        |world| {
            world.peers[1].callee = Callee::Rings;
            world.peers[2].callee = Callee::Refuses(486);
            talk(world, 0, "300")?;
            until(world, |w| w.peers[1].outcome == Outcome::Failed(487))?;
            until(world, |w| hear_each_other(w, (0, 0), (3, 0)))
        },
    );
}

#[test]
fn who_does_not_answer_or_is_not_there_is_forwarded() {
    let rules = "[[rule]]\nname = \"a\"\ndial = \"1\"\nto = \"account:bob\"\nring_secs = 10\nno_answer = \"account:carol\"\n[[rule]]\nname = \"b\"\ndial = \"2\"\nto = \"account:nobody\"\nunregistered = \"account:carol\"\n";
    in_all_weather(
        || plan(rules),
        &[("alice", true), ("bob", false), ("carol", true)],
        |world| {
            world.peers[1].callee = Callee::Rings;
            talk(world, 0, "1")?;
            until(world, |w| w.peers[1].outcome == Outcome::Failed(487))?;
            world.act(0, |p, _| p.bye());
            world.run_for(secs(5));
            talk(world, 0, "2")?;
            until(world, |w| w.peers[2].calls.len() == 2 && w.peers[2].calls[1].outcome == Outcome::Talking)
        },
    );
}

#[test]
fn a_redirection_is_followed_and_one_in_a_circle_ends() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("carol", true)], |world| {
        world.peers[1].callee = Callee::Redirects("carol");
        talk(world, 0, "bob")?;
        until(world, |w| hear_each_other(w, (0, 0), (2, 0)))?;
        world.act(0, |p, _| p.bye());
        world.run_for(secs(5));
        world.peers[2].callee = Callee::Redirects("bob");
        world.act(0, |p, now| p.call("bob", now));
        until(world, |w| w.peers[0].outcome == Outcome::Failed(480))
    });
}

/// bob           gateway        alice
///   183 sdp 1 -->  183 sdp -->           alice has one answer, and hears bob's first device
///   183 sdp 2 (another device) -->  183 the same
///   200 (second device) -->  200 the same; alice hears the second
#[test]
fn several_early_media_are_one_answer() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("bob", false)], |world| {
        world.peers[1].callee = Callee::AnswersAfterEarlyMedia;
        world.peers[1].answers_after = secs(9);
        world.peers[2].callee = Callee::AnswersAfterEarlyMedia;
        world.peers[2].answers_after = secs(6);
        world.act(0, |p, now| p.call("bob", now));
        until(world, |w| matches!(w.hears(0, 0), Some(Heard::Peer(..))))?;
        until(world, |w| w.peers[0].outcome == Outcome::Talking)?;
        let addr = world.peers[0].addr;
        let sdps: std::collections::BTreeSet<Vec<u8>> = world
            .ladder
            .iter()
            .filter(|t| !t.rx && t.remote == addr)
            .map(|t| Message::parse(t.bytes.clone(), Framing::Datagram).expect("ours"))
            .filter(|m| m.status().is_some_and(|s| s > 100 && s < 300) && !m.body().is_empty())
            .map(|m| m.body().to_vec())
            .collect();
        assert_eq!(sdps.len(), 1, "one description, to the byte");
        let winner = (1..3).find(|at| world.peers[*at].outcome == Outcome::Talking)?;
        until(world, |w| hear_each_other(w, (0, 0), (winner, 0)))
    });
}

/// The branch that was heard early refuses while another rings: the caller, who has an answer already, hears ringing.
#[test]
fn ringing_is_played_when_early_media_ends() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("bob", false)], |world| {
        world.peers[1].callee = Callee::AnswersAfterEarlyMedia;
        world.peers[1].answers_after = secs(30);
        world.peers[2].answers_after = secs(14);
        world.act(0, |p, now| p.call("bob", now));
        until(world, |w| w.hears(0, 0) == Some(Heard::Peer(1, 0)))?;
        // It declines for itself alone.
        world.peers[1].callee = Callee::Refuses(480);
        world.peers[1].calls[0].wind_up(world.now.mono);
        until(world, |w| w.hears(0, 0) == Some(Heard::Ringback))?;
        until(world, |w| hear_each_other(w, (0, 0), (2, 0)))
    });
}

/// alice           gateway          bob
///   INVITE (100rel required) -->
///                    INVITE -->
///                    <-- 183 sdp
///   <-- 183 RSeq     (again and again until PRACK)
///   PRACK -->
///   <-- 200
///                    <-- 200
///   <-- 200
#[test]
fn provisional_responses_are_reliable_toward_who_wants_it() {
    in_all_weather(plain, &[("alice", false), ("bob", false)], |world| {
        world.peers[0].extra = "Require: 100rel\r\n".to_owned();
        world.peers[1].callee = Callee::AnswersAfterEarlyMedia;
        world.peers[1].answers_after = secs(1);
        talk(world, 0, "bob")?;
        let pracks = world.ladder.iter().filter(|t| t.rx && t.bytes.starts_with(b"PRACK")).count();
        // In rough weather the 183 may never come.
        assert!(pracks > 0 || world.weather.loss > 0, "{}", world.last_words());
        until(world, |w| hear_each_other(w, (0, 0), (1, 0)))
    });
}

/// bob's 180 wants a PRACK, and his 200 waits for it.
#[test]
fn reliable_provisional_responses_are_acknowledged() {
    in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
        world.peers[1].callee = Callee::AnswersReliably;
        talk(world, 0, "bob")?;
        let prack = &requests(world, 1, "PRACK")[0];
        assert_eq!(prack.line_named("RAck"), Some(&b"7 1 INVITE"[..]));
        until(world, |w| hear_each_other(w, (0, 0), (1, 0)))
    });
}

/// alice            gateway          bob
///   INVITE (no offer) -->
///                     INVITE sdp -->
///                     <-- 200 sdp
///   <-- 200 offer
///   ACK answer -->
#[test]
fn a_late_offer_is_made_and_answered_in_the_ack() {
    for websocket in [false, true] {
        in_all_weather(plain, &[("alice", websocket), ("bob", false)], |world| {
            world.peers[0].offerless = true;
            talk(world, 0, "bob")?;
            until(world, |w| hear_each_other(w, (0, 0), (1, 0)))
        });
    }
}

/// Hold and resume from either side, twice; who is held hears music, and who holds hears nothing.
#[test]
fn hold_and_resume_from_either_side() {
    for websockets in [(true, false), (false, true), (true, true), (false, false)] {
        for (holder, held) in [(0, 1), (1, 0)] {
            in_all_weather(plain, &[("alice", websockets.0), ("bob", websockets.1)], |world| {
                talk(world, 0, "bob")?;
                for direction in [Direction::SendOnly, Direction::Inactive] {
                    world.act(holder, |p, _| p.reinvite(0, Some(direction)));
                    until(world, |w| w.hears(held, 0) == Some(Heard::Music) && w.hears(holder, 0) == Some(Heard::Nothing))?;
                    world.run_for(secs(40));
                    world.act(holder, |p, _| p.reinvite(0, Some(Direction::Both)));
                    until(world, |w| hear_each_other(w, (0, 0), (1, 0)))?;
                    world.run_for(secs(40));
                }
                Some(())
            });
        }
    }
}

#[test]
fn both_hold_and_nobody_hears_music() {
    in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
        talk(world, 0, "bob")?;
        for at in [0, 1] {
            world.act(at, |p, _| p.reinvite(0, Some(Direction::Inactive)));
        }
        until(world, |w| w.hears(0, 0) == Some(Heard::Nothing) && w.hears(1, 0) == Some(Heard::Nothing))?;
        world.run_for(secs(40));
        world.act(0, |p, _| p.reinvite(0, Some(Direction::Both)));
        until(world, |w| w.hears(0, 0) == Some(Heard::Music))
    });
}

/// The second peer is a PBX with a fixed address; all that begins with 0 goes there.
fn trunk() -> EngineConfig {
    let address = "10.0.1.2:5060".parse().expect("an address");
    let pbx = TrustedPeer { name: "pbx".into(), address, profile: profile("generic-pbx"), trusted: true };
    let rules =
        "[[rule]]\nname = \"out\"\ndial = \"0.\"\nto = \"peer:pbx\"\n[[rule]]\nname = \"a\"\naccount = true\nto = \"account\"\n";
    EngineConfig { dialplan: Dialplan::parse("own.toml", rules).expect("a dialplan"), ..config(vec![pbx]) }
}

/// A PBX that plays music of its own while it holds is heard.
#[test]
fn music_of_a_pbx_is_passed_on() {
    in_all_weather(trunk, &[("alice", true), ("pbx", false)], |world| {
        talk(world, 0, "0123")?;
        world.act(1, |p, _| p.reinvite(0, Some(Direction::SendOnly)));
        until(world, |w| w.hears(1, 0) == Some(Heard::Nothing))?;
        (world.hears(0, 0) == Some(Heard::Peer(1, 0))).then_some(())
    });
}

/// alice          gateway
///   re-INVITE (no offer) -->
///   <-- 200 offer, on the same m-line, mid, numbers
///   ACK answer -->
#[test]
fn an_offerless_reinvite_gets_our_offer() {
    for (at, websocket) in [(0, true), (1, false)] {
        in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
            talk(world, 0, "bob")?;
            world.act(at, |p, _| p.reinvite(0, None));
            world.run_for(secs(40));
            let offer = world.peers[at].calls[0].heard_sdp.clone();
            if world.weather.loss == 0 {
                if websocket {
                    assert!(offer.contains("a=setup:actpass") && offer.contains("a=mid:0"), "{offer}");
                    assert!(offer.contains("SAVPF 111 0 8 110 126"), "numbers stay what they are\n{offer}");
                } else {
                    assert!(offer.contains("RTP/AVP 8 0 101"), "what is in use comes first\n{offer}");
                }
            }
            until(world, |w| hear_each_other(w, (0, 0), (1, 0)))
        });
    }
}

/// bob, who spoke PCMA with another phone, offers PCMU alone, and later both again: decoded meanwhile, passed on before and
/// after, for the codec that is in use stays where it can.
#[test]
fn a_codec_changes_within_the_call_to_transcoding_and_back() {
    in_all_weather(plain, &[("alice", false), ("bob", false)], |world| {
        let path = |world: &World| {
            let plans: Vec<LegPlan> = world.legs.values().flatten().map(|(plan, _)| *plan).collect();
            Path::between(&plans[0], &plans[1])
        };
        talk(world, 0, "bob")?;
        assert_eq!(path(world), Path::Rewrite);
        for (formats, expected) in [("0 101", Path::Transcode), ("8 101", Path::Rewrite)] {
            world.peers[1].formats = formats;
            world.act(1, |p, _| p.reinvite(0, Some(Direction::Both)));
            world.run_for(secs(40));
            until(world, |w| hear_each_other(w, (0, 0), (1, 0)))?;
            assert_eq!(path(world), expected, "{formats}\n{}", world.last_words());
        }
        Some(())
    });
}

/// alice (another network)   gateway
///   re-INVITE, new ICE credentials -->
///   <-- 200, new ones of ours, the same certificate, role and mid
#[test]
fn an_ice_restart_is_answered_with_new_credentials_and_keeps_the_rest() {
    in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
        talk(world, 0, "bob")?;
        let line = |world: &World, name: &str| {
            let sdp = world.peers[0].calls[0].heard_sdp.clone();
            sdp.lines().find(|line| line.starts_with(name)).map(str::to_owned)
        };
        let kept = ["a=fingerprint", "a=setup", "a=mid", "a=group", "m=audio", "a=ssrc"];
        let before: Vec<_> = kept.iter().map(|name| line(world, name)).collect();
        let ufrag = line(world, "a=ice-ufrag");
        world.act(0, |p, _| p.reinvite(0, Some(Direction::Both)));
        world.run_for(secs(40));
        assert_eq!((line(world, "a=ice-ufrag"), world.restarts.len()), (ufrag.clone(), 0), "the same credentials are no restart");
        world.peers[0].ice_session = 1;
        world.act(0, |p, _| p.reinvite(0, Some(Direction::Both)));
        world.run_for(secs(40));
        let (_, new) = world.restarts.first()?;
        assert_eq!(line(world, "a=ice-ufrag"), Some(format!("a=ice-ufrag:{new}")));
        assert_ne!(line(world, "a=ice-ufrag"), ufrag);
        assert_eq!(kept.iter().map(|name| line(world, name)).collect::<Vec<_>>(), before);
        hear_each_other(world, (0, 0), (1, 0)).then_some(())
    });
}

/// alice                gateway                bob
///   INVITE, Session-Expires: 90 -->
///                         INVITE, Session-Expires: 1800 -->
///                         <-- 200
///   <-- 200, Session-Expires: 90;refresher=uac
///   45 s: UPDATE -->
///   <-- 200                  (bob hears nothing of it)
#[test]
fn session_timers_end_per_leg() {
    in_all_weather(trunk, &[("alice", true), ("pbx", false)], |world| {
        world.peers[0].session_expires = Some("90");
        talk(world, 0, "01")?;
        for _ in 0..4 {
            world.run_for(secs(45));
            world.act(0, |p, _| p.update(0, "Supported: timer\r\nSession-Expires: 90;refresher=uac\r\n"));
        }
        world.run_for(secs(20));
        let invite = &requests(world, 1, "INVITE")[0];
        assert_eq!(invite.line(HeaderName::SessionExpires), Some(&b"1800"[..]));
        let updates = requests(world, 1, "UPDATE").len();
        assert_eq!(updates, 0, "the other leg hears nothing of it");
        hear_each_other(world, (0, 0), (1, 0)).then_some(())
    });
}

#[test]
fn a_session_that_nobody_refreshes_ends() {
    in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
        world.peers[0].session_expires = Some("90");
        talk(world, 0, "bob")?;
        world.run_for(secs(70));
        until(world, |w| w.peers[1].outcome == Outcome::Ended)?;
        let reason = world.peers[1].calls[0].reason.clone().unwrap_or_default();
        assert!(reason.contains("Session timer expired"), "{reason}");
        (world.records[0].ended_by == "alice did not refresh the session in time").then_some(())
    });
}

/// bob                  gateway
///   200, Session-Expires: 90;refresher=uac -->
///   <-- UPDATE (45 s)   200 -->
#[test]
fn the_gateway_refreshes_where_it_has_agreed_to() {
    in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
        world.peers[1].session_expires = Some("90;refresher=uac");
        talk(world, 0, "bob")?;
        world.run_for(secs(200));
        let updates = requests(world, 1, "UPDATE").len();
        assert!(updates >= 3, "{updates}\n{}", world.last_words());
        hear_each_other(world, (0, 0), (1, 0)).then_some(())
    });
}

#[test]
fn an_interval_too_small_is_answered_422() {
    in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
        world.peers[0].session_expires = Some("30");
        world.act(0, |p, now| p.call("bob", now));
        until(world, |w| w.peers[0].outcome == Outcome::Failed(422))
    });
}

/// Both re-INVITE at once: 491 to one or both, and after the timers of RFC 3261 section 14.1 both are through.
#[test]
fn glare_is_settled() {
    in_all_weather(plain, &[("alice", false), ("bob", false)], |world| {
        world.peers[1].session_expires = Some("90;refresher=uac");
        world.peers[1].knows_update = false;
        talk(world, 0, "bob")?;
        world.run_for(secs(41));
        for _ in 0..10 {
            world.run_for(Duration::from_millis(200));
            world.act(1, |p, _| p.reinvite(0, Some(Direction::Both)));
        }
        world.run_for(secs(60));
        until(world, |w| hear_each_other(w, (0, 0), (1, 0)))
    });
}

/// alice            gateway         bob          carol
///   REFER carol -->   |              |             |
///   <-- 202           |              |             |
///   <-- NOTIFY 100    |              |  hears ringing
///                     INVITE --------------------> |
///                     <-------------------- 180    |
///   <-- NOTIFY 180    |              |             |
///                     <-------------------- 200    |
///   <-- NOTIFY 200    |              |  hears carol
///   BYE -->
#[test]
fn blind_transfer_by_a_browser_and_by_a_phone() {
    for (websocket, by, party) in [(true, 0, 1), (false, 0, 1), (true, 1, 0), (false, 1, 0)] {
        in_all_weather(plain, &[("alice", websocket), ("bob", !websocket), ("carol", true)], |world| {
            talk(world, 0, "bob")?;
            world.act(by, |p, _| p.refer(0, "carol"));
            until(world, |w| w.hears(party, 0) == Some(Heard::Ringback))?;
            until(world, |w| w.peers[2].outcome == Outcome::Talking)?;
            until(world, |w| hear_each_other(w, (party, 0), (2, 0)))?;
            until(world, |w| w.peers[by].calls[0].referred.last() == Some(&200))?;
            // It need not hang up by itself.
            until(world, |w| w.peers[by].calls[0].outcome == Outcome::Ended)?;
            world.run_for(secs(10));
            let from = requests(world, 2, "INVITE")[0].from().expect("From").uri.user_decoded();
            assert_eq!(from.as_deref(), Some(world.peers[party].name.as_str()), "the target sees whom it will talk to");
            hear_each_other(world, (party, 0), (2, 0)).then_some(())
        });
    }
}

#[test]
fn one_who_transfers_and_hangs_up_at_once_leaves_the_transfer_going() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("carol", false)], |world| {
        talk(world, 0, "bob")?;
        world.act(0, |p, _| p.refer(0, "carol"));
        until(world, |w| w.peers[0].calls[0].refer_status == Some(202))?;
        world.act(0, |p, _| p.bye());
        until(world, |w| w.peers[2].outcome == Outcome::Talking)?;
        until(world, |w| hear_each_other(w, (1, 0), (2, 0)))
    });
}

#[test]
fn a_transfer_that_fails_leaves_the_two_talking() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("carol", false)], |world| {
        world.peers[2].callee = Callee::Refuses(486);
        talk(world, 0, "bob")?;
        world.act(0, |p, _| p.refer(0, "carol"));
        until(world, |w| w.peers[0].calls[0].referred.contains(&486))?;
        until(world, |w| hear_each_other(w, (0, 0), (1, 0)))
    });
}

#[test]
fn a_transfer_to_where_its_sender_may_not_call_is_refused() {
    let rules = "[[rule]]\nname = \"no\"\ndial = \"carol\"\nfrom = \"account\"\nto = \"refuse:403\"\n[[rule]]\nname = \"a\"\naccount = true\nto = \"account\"\n";
    in_all_weather(
        || plan(rules),
        &[("alice", true), ("bob", false), ("carol", false)],
        |world| {
            talk(world, 0, "bob")?;
            world.act(0, |p, _| p.refer(0, "carol"));
            until(world, |w| w.peers[0].calls[0].refer_status == Some(403))?;
            world.run_for(secs(5));
            assert!(world.peers[2].calls.is_empty(), "carol never rings");
            hear_each_other(world, (0, 0), (1, 0)).then_some(())
        },
    );
}

/// alice talks to bob and, in another call, to carol; REFER with Replaces joins the two.
#[test]
fn attended_transfer_joins_two_calls() {
    for (websocket, others) in [(true, false), (false, true)] {
        in_all_weather(plain, &[("alice", websocket), ("bob", others), ("carol", !others)], |world| {
            talk(world, 0, "bob")?;
            world.act(0, |p, _| p.reinvite(0, Some(Direction::SendOnly)));
            until(world, |w| w.hears(1, 0) == Some(Heard::Music))?;
            world.run_for(secs(40));
            talk(world, 0, "carol")?;
            world.act(0, |p, _| p.refer_to_call(0, 1));
            until(world, |w| hear_each_other(w, (1, 0), (2, 0)))?;
            until(world, |w| w.peers[0].calls.iter().all(|c| c.outcome == Outcome::Ended))?;
            until(world, |w| w.records.len() == 1)?;
            assert_eq!(world.records[0].ended_by, "transferred by alice");
            world.run_for(secs(10));
            hear_each_other(world, (1, 0), (2, 0)).then_some(())
        });
    }
}

/// The same, but it was carol who called, and alice names the tags of that call the wrong way round, as JsSIP does then.
#[test]
fn attended_transfer_into_a_call_that_was_received() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("carol", true)], |world| {
        talk(world, 0, "bob")?;
        talk(world, 2, "alice")?;
        until(world, |w| w.peers[0].calls.len() == 2)?;
        let right = world.peers[0].replaces(1);
        let parts: Vec<&str> = right.split([';', '=']).collect();
        let [call_id, _, theirs, _, ours] = parts[..] else { panic!("{right}") };
        let wrong = format!("{call_id};to-tag={ours};from-tag={theirs}");
        world.act(0, |p, _| p.refer_replacing(0, &wrong));
        until(world, |w| hear_each_other(w, (1, 0), (2, 0)))
    });
}

/// The second call still rings when it is handed over: who is transferred hears ringing until it is answered.
#[test]
fn a_transfer_into_a_call_that_rings() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("carol", false)], |world| {
        world.peers[2].answers_after = secs(20);
        talk(world, 0, "bob")?;
        world.act(0, |p, now| p.call("carol", now));
        until(world, |w| w.peers[2].outcome == Outcome::Pending)?;
        world.run_for(secs(2));
        // The dialog of a call that rings is named by the tag of its 180.
        let tag = world.peers[0].calls[1].early_tag(&world.ladder, world.peers[0].addr)?;
        world.peers[0].calls[1].remote = format!("<sip:carol@sim.test>;tag={tag}");
        world.act(0, |p, _| p.refer_to_call(0, 1));
        until(world, |w| w.hears(1, 0) == Some(Heard::Ringback))?;
        until(world, |w| hear_each_other(w, (1, 0), (2, 0)))
    });
}

/// alice's WebSocket breaks and she is back within the grace: her call goes on, and what is said to her takes the new flow.
#[test]
fn a_dropped_websocket_does_not_end_the_call() {
    in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
        talk(world, 0, "bob")?;
        world.close_websocket(0);
        world.run_for(secs(3));
        world.reconnect(0);
        world.run_for(secs(60));
        if !hear_each_other(world, (0, 0), (1, 0)) {
            return None;
        }
        // In-dialog requests take the new flow, both ways.
        world.act(0, |p, _| p.reinvite(0, Some(Direction::SendOnly)));
        until(world, |w| w.hears(1, 0) == Some(Heard::Music))?;
        world.run_for(secs(40));
        world.act(1, |p, _| p.bye());
        until(world, |w| w.peers[0].outcome == Outcome::Ended)
    });
}

#[test]
fn another_device_of_the_account_does_not_take_the_call_over() {
    in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
        talk(world, 0, "bob")?;
        world.close_websocket(0);
        world.peers[0].instance = Some("\"<urn:uuid:another>\"".to_owned());
        world.reconnect(0);
        until(world, |w| w.peers[1].outcome == Outcome::Ended)
    });
}

/// A page that was loaded again has a new WebSocket and a new peer connection: INVITE with Replaces puts it in its old place.
#[test]
fn a_page_that_was_loaded_again_takes_its_place_by_replaces() {
    in_all_weather(plain, &[("alice", true), ("bob", false)], |world| {
        talk(world, 0, "bob")?;
        world.close_websocket(0);
        world.run_for(secs(1));
        let replaces = world.peers[0].replaces(0);
        world.reconnect(0);
        until(world, |w| w.peers[0].registered)?;
        world.peers[0].calls[0].outcome = Outcome::Failed(0);
        world.peers[0].extra = format!("Replaces: {replaces}\r\n");
        talk(world, 0, "bob")?;
        until(world, |w| hear_each_other(w, (0, 1), (1, 0)))?;
        world.run_for(secs(20));
        hear_each_other(world, (0, 1), (1, 0)).then_some(())
    });
}

#[test]
fn nobody_takes_anothers_place() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("mallory", true)], |world| {
        talk(world, 0, "bob")?;
        let replaces = world.peers[0].replaces(0);
        world.peers[2].extra = format!("Replaces: {replaces}\r\n");
        world.act(2, |p, now| p.call("bob", now));
        until(world, |w| w.peers[2].outcome == Outcome::Failed(403))?;
        hear_each_other(world, (0, 0), (1, 0)).then_some(())
    });
}

/// Keys as INFO: to a browser as INFO, to a phone as events by media; each once, in order.
#[test]
fn keys_go_across_in_the_way_that_the_other_side_understands() {
    in_all_weather(plain, &[("alice", true), ("bob", false), ("carol", true)], |world| {
        talk(world, 0, "bob")?;
        for key in "15#".chars() {
            world.act(0, |p, _| p.key(0, key));
            world.run_for(secs(1));
        }
        until(world, |w| w.keys.len() >= 3)?;
        let keys: Vec<(u8, u32)> = world.keys.iter().map(|(_, event, ms)| (*event, *ms)).collect();
        assert_eq!(keys, [(1, 160), (5, 160), (11, 160)]);
        for key in "90".chars() {
            world.act(1, |p, _| p.key(0, key));
            world.run_for(secs(35));
        }
        until(world, |w| w.peers[0].calls[0].keys.len() == 2)?;
        let heard = world.peers[0].calls[0].keys.clone();
        if world.weather.loss == 0 {
            assert!(heard[0].contains("Signal=9") && heard[1].contains("Signal=0"), "{heard:?}");
        }
        Some(())
    });
}
