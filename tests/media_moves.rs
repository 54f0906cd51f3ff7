//! Legs that move between workers, and what all workers have counted.

#[path = "support/audio.rs"]
mod audio;
#[path = "support/chance.rs"]
mod chance;
#[path = "support/house.rs"]
mod house;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use audio::{fields, rtp, sine};
use chance::cases;
use house::House;
use media_peer::{A, B, PWD, Peer, RTP, SHARED, addr, plan};
use proptest::prelude::*;
use ringway::media::SocketId;
use ringway::media::codec::{OpusEncoder, encode_ulaw};
use ringway::media::stats::Drop;
use ringway::plan::*;

const FRAME: Duration = Duration::from_millis(20);
const C: LegId = LegId(3);
const D: LegId = LegId(4);

fn browser_addr() -> SocketAddr {
    addr("203.0.113.1:50000")
}

fn phone_addr() -> SocketAddr {
    addr("198.51.100.2:20000")
}

/// A browser [`A`] and a phone [`B`] with the first of three workers, in a call.
struct Scene {
    house: House,
    browser: Peer,
    phone: SocketId,
}

impl Scene {
    fn new(browser_codec: (Codec, u8)) -> Self {
        let mut house = House::new(3, 8);
        let browser = house.workers[0].browser(A, browser_addr());
        house.opened(A);
        let phone = house.phone(0, B, phone_addr());
        house.set_path(A, plan(browser_codec.0, browser_codec.1, 1), Source::Leg(B));
        house.set_path(B, plan(Codec::Pcmu, 0, 2), Source::Leg(A));
        house.take();
        house.events();
        Self { house, browser, phone }
    }

    /// A packet from each.
    fn speak(&mut self, from_browser: Option<&[u8]>, from_phone: Option<&[u8]>) {
        if let Some(packet) = from_browser {
            let protected = self.browser.protect(packet);
            self.house.datagram(SHARED, browser_addr(), &protected);
        }
        if let Some(packet) = from_phone {
            self.house.datagram(self.phone, phone_addr(), packet);
        }
    }

    /// What each has heard since, in the clear: the browser, the phone. RTCP is passed over.
    fn heard(&mut self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut at_browser, mut at_phone) = (Vec::new(), Vec::new());
        for (socket, remote, bytes) in self.house.take() {
            if (192..224).contains(&bytes[1]) || bytes[0] < 128 {
                continue;
            }
            if remote == phone_addr() {
                assert_eq!(socket, self.phone);
                at_phone.push(bytes);
            } else {
                assert_eq!((socket, remote), (SHARED, browser_addr()), "from where the browser sends to");
                at_browser.push(self.browser.unprotect(&bytes));
            }
        }
        (at_browser, at_phone)
    }
}

/// One packet time: whether each side's packet is lost, and where the call moves to before and between the two.
type Step = (bool, bool, Option<usize>, Option<usize>);

type Heard = (Vec<Vec<u8>>, Vec<Vec<u8>>);

fn play(codec: (Codec, u8), steps: &[Step], moving: bool, first: u16) -> (Heard, ringway::media::Totals) {
    let mut scene = Scene::new(codec);
    let mut encoder = OpusEncoder::new().unwrap();
    let (mut at_browser, mut at_phone) = (Vec::new(), Vec::new());
    for (n, (browser_lost, phone_lost, before, between)) in steps.iter().enumerate() {
        let ticks = u32::try_from(n).unwrap() * codec.0.clock_hz() / 50;
        let (seq, pcm) = (first.wrapping_add(n as u16), sine(440.0, n * 160, 160));
        let ulaw: Vec<u8> = pcm.iter().map(|sample| encode_ulaw(*sample)).collect();
        let mut frame = ulaw.clone();
        if codec.0 == Codec::Opus {
            frame = vec![0; 400];
            let len = encoder.encode(&pcm, &mut frame).unwrap();
            frame.truncate(len);
        }
        let spoken = rtp(codec.1, n == 0, seq, ticks, 7, &frame);
        let said = rtp(0, n == 0, seq, n as u32 * 160, 8, &ulaw);
        let go = |scene: &mut Scene, to: &Option<usize>| {
            if let Some(to) = to.filter(|_| moving) {
                scene.house.move_legs(&[A, B], to);
            }
        };
        go(&mut scene, before);
        scene.speak((!browser_lost).then_some(&spoken), None);
        go(&mut scene, between);
        scene.speak(None, (!phone_lost).then_some(&said));
        scene.house.advance(FRAME);
        let heard = scene.heard();
        at_browser.extend(heard.0);
        at_phone.extend(heard.1);
    }
    assert!(scene.house.events().iter().all(|event| matches!(event, MediaEvent::Connected { .. })));
    ((at_browser, at_phone), scene.house.totals())
}

#[test]
fn who_names_anothers_address_while_away_does_not_get_it_by_coming_home() {
    let mut house = House::new(3, 8);
    let (theirs, other) = (addr("198.51.100.7:30000"), addr("198.51.100.8:30000"));
    for (leg, remote) in [(B, theirs), (C, other)] {
        house.phone_on_shared_port(leg, remote);
        house.set_path(leg, plan(Codec::Pcmu, 0, leg.0 as u32), Source::Itself);
    }
    house.move_legs(&[B], 2);
    house.move_legs(&[C], 1);
    let remote = LegRemote::Rtp { rtp: theirs, rtcp: theirs, latch: false };
    house.command(C, MediaCommand::SetRemote { leg: C, remote });
    house.move_legs(&[C], 0);
    house.datagram(RTP, theirs, &rtp(0, false, 1, 160, 9, &[1; 160]));
    let received = |house: &House, at: usize, leg| house.workers[at].core.counters(leg).expect("it is there").rx;
    assert_eq!((received(&house, 2, B), received(&house, 0, C)), (1, 0));
    house.totals();
}

proptest! {
    #![proptest_config(cases(24))]

    /// A call that moves between workers sounds to the byte as one that stays, whatever is lost on the way to us.
    #[test]
    fn a_call_that_moves_is_the_call_that_stays(
        steps in proptest::collection::vec(
            (prop::bool::weighted(0.1), prop::bool::weighted(0.1), prop::option::weighted(0.2, 0usize..3), prop::option::weighted(0.2, 0usize..3)),
            2..60,
        ),
        first in prop::sample::select(vec![0u16, 30_000, 65_510]),
        codec in prop::sample::select(vec![(Codec::Pcmu, 0u8), (Codec::Pcma, 8), (Codec::Opus, 111)]),
    ) {
        let (stayed, _) = play(codec, &steps, false, first);
        let (moved, totals) = play(codec, &steps, true, first);
        prop_assert_eq!(&moved, &stayed);
        prop_assert_eq!(totals.legs.dropped_total() + totals.traffic.not_taken_over, 0);
        // Where payloads are not touched it is plain to see: all that came goes on, in its order, with the gaps that it came with.
        if codec.0 == Codec::Pcmu {
            for (heard, lost) in [(&moved.1, steps.iter().map(|step| step.0).collect::<Vec<_>>()), (&moved.0, steps.iter().map(|step| step.1).collect())] {
                let came: Vec<u16> = (0u16..).zip(&lost).filter(|(_, lost)| !**lost).map(|(n, _)| n).collect();
                prop_assert_eq!(heard.len(), came.len());
                for (packets, came) in heard.windows(2).zip(came.windows(2)) {
                    let (before, after) = (fields(&packets[0]), fields(&packets[1]));
                    prop_assert_eq!(after.1.wrapping_sub(before.1), came[1] - came[0]);
                    prop_assert_eq!(after.2.wrapping_sub(before.2), u32::from(came[1] - came[0]) * 160);
                    prop_assert_eq!(after.3, before.3);
                }
            }
        }
    }
}

#[test]
fn a_browser_that_is_away_restarts_ice_and_dtls_and_comes_home() {
    let mut scene = Scene::new((Codec::Pcmu, 0));
    let payload = |n: u16| rtp(0, false, n, u32::from(n) * 160, 7, &[n as u8; 160]);
    let mut last = None;
    let mut goes_on = |scene: &mut Scene, peer: &mut Peer, n: u16| {
        let protected = peer.protect(&payload(n));
        let source = peer.addr;
        scene.house.datagram(SHARED, source, &protected);
        scene.house.datagram(scene.phone, phone_addr(), &payload(n));
        let sent = scene.house.take();
        let to =
            |remote: SocketAddr| sent.iter().find(|sent| sent.1 == remote && sent.2[0] >= 128).expect("it is heard").2.clone();
        let heard = [to(phone_addr()), peer.unprotect(&to(source))].map(|packet| {
            assert_eq!(packet[12..], [n as u8; 160]);
            fields(&packet).1
        });
        if let Some(last) = last.replace(heard) {
            assert_eq!(heard.map(|seq| seq.wrapping_sub(1)), last, "numbers go on");
        }
        scene.house.advance(FRAME);
    };
    let mut old = std::mem::replace(&mut scene.browser, Peer::new(scene.house.workers[0].now.mono, browser_addr()));
    goes_on(&mut scene, &mut old, 1);
    scene.house.move_legs(&[A, B], 1);
    goes_on(&mut scene, &mut old, 2);
    // The same page from another network: ICE alone.
    let restart = |scene: &mut Scene, peer: &Peer, ours: &str, theirs: &str| {
        let remote = peer.remote_of(theirs);
        scene.house.command(A, MediaCommand::RestartIce { leg: A, ice_ufrag: ours.into(), ice_pwd: PWD.into() });
        scene.house.command(A, MediaCommand::SetRemote { leg: A, remote });
    };
    restart(&mut scene, &old, "gate2", "peer2");
    old.addr = addr("203.0.113.9:40000");
    scene.house.datagram(SHARED, old.addr, &old.check_of("gate2:peer2", true));
    goes_on(&mut scene, &mut old, 3);
    // The page is loaded anew: another certificate.
    let mut new = Peer::new(scene.house.workers[0].now.mono, addr("203.0.113.9:40001"));
    restart(&mut scene, &new, "gate3", "peer3");
    scene.house.move_legs(&[A, B], 2);
    goes_on(&mut scene, &mut old, 4);
    scene.house.datagram(SHARED, new.addr, &new.check_of("gate3:peer3", true));
    for _ in 0..50 {
        for packet in new.say(scene.house.workers[0].now.mono) {
            scene.house.datagram(SHARED, new.addr, &packet);
        }
        for (_, remote, packet) in scene.house.take() {
            if remote == new.addr && (20..64).contains(&packet[0]) {
                new.hear(&packet);
            }
        }
        scene.house.advance(Duration::from_millis(5));
    }
    assert!(new.has_keys());
    goes_on(&mut scene, &mut new, 5);
    scene.house.move_legs(&[A, B], 0);
    goes_on(&mut scene, &mut new, 6);
    // What it was known by before leads nowhere; what it is known by now has come home.
    let unrouted = |scene: &Scene| scene.house.totals().traffic.unrouted;
    scene.house.datagram(SHARED, new.addr, &new.check_of("gate:peer", true));
    assert_eq!(unrouted(&scene).stun, 1);
    scene.house.datagram(SHARED, new.addr, &new.check_of("gate3:peer3", true));
    assert_eq!(unrouted(&scene).stun, 1);
    // It ends away from home, and nothing is left of it there.
    scene.house.move_legs(&[A, B], 1);
    scene.house.command(A, MediaCommand::Close { leg: A });
    scene.house.datagram(SHARED, new.addr, &new.check_of("gate3:peer3", true));
    let protected = new.protect(&payload(7));
    scene.house.datagram(SHARED, new.addr, &protected);
    assert_eq!((unrouted(&scene).stun, unrouted(&scene).rtp), (2, 1));
    assert_eq!(scene.house.totals().traffic.not_taken_over, 0);
}

#[test]
fn consent_is_lost_and_legs_die_alone_wherever_they_are() {
    let mut scene = Scene::new((Codec::Pcmu, 0));
    let other = scene.house.phone(1, C, addr("198.51.100.3:20000"));
    scene.house.phone(1, D, addr("198.51.100.4:20000"));
    scene.house.set_path(C, plan(Codec::Pcmu, 0, 3), Source::Leg(D));
    scene.house.set_path(D, plan(Codec::Pcmu, 0, 4), Source::Leg(C));
    scene.house.move_legs(&[A, B], 1);
    // What is said to the browser breaks an invariant there.
    scene.house.workers[1].sink.poison = Some(browser_addr());
    scene.speak(None, Some(&rtp(0, false, 1, 0, 8, &[0; 160])));
    let closed: Vec<_> = scene.house.events().into_iter().filter(|event| matches!(event, MediaEvent::Closed { .. })).collect();
    assert!(matches!(closed[..], [MediaEvent::Closed { leg: B, .. }]), "{closed:?}");
    scene.house.take();
    scene.house.datagram(other, addr("198.51.100.3:20000"), &rtp(0, false, 1, 0, 8, &[0; 160]));
    assert_eq!(scene.house.take().len(), 1, "the other call goes on");
    assert_eq!(scene.house.totals().traffic.broken, 1);
    let checked_for = |scene: &mut Scene, secs: u64, checking: bool| {
        for _ in 0..secs {
            if checking {
                let check = scene.browser.check(true);
                scene.house.datagram(SHARED, browser_addr(), &check);
            }
            scene.house.advance(Duration::from_secs(1));
            scene.house.take();
        }
        scene.house.events().into_iter().filter(|event| matches!(event, MediaEvent::Failed { .. })).collect::<Vec<_>>()
    };
    assert_eq!(checked_for(&mut scene, 60, true), []);
    let failed = MediaEvent::Failed { leg: A, cause: LegFailure::IceTimeout };
    assert_eq!(checked_for(&mut scene, 31, false), [failed]);
}

#[test]
fn who_stays_behind_hears_nothing() {
    let mut scene = Scene::new((Codec::Pcmu, 0));
    let packet = rtp(0, false, 1, 0, 8, &[0; 160]);
    scene.house.move_legs(&[B], 2);
    scene.speak(Some(&packet), Some(&packet));
    assert_eq!(scene.heard(), (vec![], vec![]));
    assert_eq!(scene.house.totals().legs.dropped_for(Drop::NotNeeded), 2);
    // A phone that waits for a leg of another worker hears it once that has come.
    scene.house.set_path(B, plan(Codec::Pcmu, 0, 2), Source::Leg(A));
    scene.house.move_legs(&[A], 2);
    scene.speak(Some(&rtp(0, false, 2, 160, 7, &[0; 160])), None);
    assert_eq!(scene.heard().1.len(), 1);
}

#[test]
fn every_datagram_is_counted_out_on_every_path() {
    let mut scene = Scene::new((Codec::Opus, 111));
    let mut encoder = OpusEncoder::new().unwrap();
    let mut frame = [0; 400];
    let len = encoder.encode(&sine(440.0, 0, 160), &mut frame).unwrap();
    let opus = |seq: u16| rtp(111, false, seq, u32::from(seq) * 960, 7, &frame[..len]);
    let ulaw = |seq: u16, ssrc: u32| rtp(0, false, seq, u32::from(seq) * 160, ssrc, &[0x55; 160]);
    // Transcoded both ways, rewritten, and an echo.
    let (c, d) = (addr("198.51.100.3:20000"), addr("198.51.100.4:20000"));
    let (c_socket, d_socket) = (scene.house.phone(0, C, c), scene.house.phone(0, D, d));
    scene.house.set_path(C, plan(Codec::Pcmu, 0, 3), Source::Leg(D));
    scene.house.set_path(D, plan(Codec::Pcmu, 0, 4), Source::Leg(C));
    let all = |scene: &mut Scene, seq: u16| {
        scene.speak(Some(&opus(seq)), Some(&ulaw(seq, 8)));
        scene.house.datagram(c_socket, c, &ulaw(seq, 9));
        scene.house.datagram(d_socket, d, &ulaw(seq, 10));
        scene.house.take();
    };
    all(&mut scene, 1);
    assert_eq!(scene.house.totals().legs.sent, 4);
    scene.house.set_path(D, plan(Codec::Pcmu, 0, 4), Source::Itself);
    all(&mut scene, 2);
    assert_eq!((scene.house.totals().legs.sent, scene.house.totals().legs.dropped_for(Drop::NotNeeded)), (7, 1));
    // Moved, the call and the others.
    scene.house.move_legs(&[A, B], 1);
    scene.house.move_legs(&[C], 2);
    all(&mut scene, 3);
    let totals = scene.house.totals();
    assert_eq!((totals.traffic.handed_over, totals.legs.sent), (1, 10), "{totals:?}");
    // No room on the way.
    scene.house.workers[0].sink.room = 0;
    scene.speak(Some(&opus(4)), None);
    scene.house.workers[0].sink.room = usize::MAX;
    assert_eq!(scene.house.totals().traffic.not_taken_over, 1);
    // A stranger, no RTP, a duplicate, a payload type, a forged tag; RTCP, DTLS, checks; nobody's, no kind of ours, too long.
    let stranger = addr("203.0.113.66:6");
    let before = scene.house.totals().traffic;
    scene.house.datagram(d_socket, stranger, &ulaw(5, 10));
    scene.house.datagram(d_socket, d, &[0x80; 11]);
    scene.house.datagram(d_socket, d, &ulaw(3, 10));
    scene.house.datagram(d_socket, d, &rtp(97, false, 6, 0, 10, &[0; 160]));
    scene.house.datagram(SHARED, browser_addr(), &opus(5));
    scene.house.datagram(SocketId(d_socket.0 + 1), d, &[0x80, 201, 0, 1, 0, 0, 0, 9]);
    scene.house.datagram(SHARED, browser_addr(), &[20, 254, 253, 0, 1]);
    let check = scene.browser.check(true);
    scene.house.datagram(SHARED, browser_addr(), &check);
    for nobodys in [&check[..8], &[22, 254, 253, 0][..], &ulaw(1, 1)[..], &[0x80, 201, 0, 1, 0, 0, 0, 9][..], &[255][..], &[][..]]
    {
        scene.house.datagram(SHARED, stranger, nobodys);
    }
    scene.house.workers[0].core.refuse_too_long();
    let totals = scene.house.totals();
    for why in [Drop::ForeignSource, Drop::Malformed, Drop::Duplicate, Drop::PayloadType, Drop::SrtpTag] {
        assert_eq!(totals.legs.dropped_for(why), 1, "{why:?}");
    }
    let unrouted = totals.traffic.unrouted;
    assert_eq!(
        (totals.traffic.rtcp, totals.traffic.dtls - before.dtls, totals.traffic.stun - before.stun),
        (1, 1, 1),
        "{totals:?}"
    );
    assert_eq!((unrouted.stun + unrouted.unknown, unrouted.dtls, unrouted.rtp, unrouted.too_long), (3, 1, 2, 1), "{unrouted:?}");
    // A broken invariant, and then all that is left ends.
    scene.house.workers[0].sink.poison = Some(d);
    scene.house.datagram(d_socket, d, &ulaw(7, 10));
    assert_eq!(scene.house.totals().traffic.broken, 1);
    let before = scene.house.totals().legs.rx;
    for leg in [A, B, C, D] {
        scene.house.command(leg, MediaCommand::Close { leg });
    }
    let stats: Vec<LegStats> = scene
        .house
        .events()
        .into_iter()
        .filter_map(|event| if let MediaEvent::Closed { stats, .. } = event { Some(stats) } else { None })
        .collect();
    let totals = scene.house.totals();
    assert_eq!(totals.legs.rx, before, "what has ended stays counted");
    assert_eq!(totals.legs.rx, stats.iter().map(|stats| stats.rx_packets).sum::<u64>());
    assert_eq!(totals.legs.dropped_total(), stats.iter().map(|stats| stats.rx_dropped).sum::<u64>());
}

/// One browser of many: it hears itself, and expects to without a gap.
struct Caller {
    leg: LegId,
    peer: Peer,
    /// The page that is to take over, until it has its keys.
    next: Option<Peer>,
    ufrags: (String, String),
    sent: u16,
    last: Option<(u16, u8)>,
}

impl Caller {
    fn say(&mut self, house: &mut House) {
        if let Some(next) = &mut self.next {
            for packet in next.say(house.workers[0].now.mono) {
                house.datagram(SHARED, next.addr, &packet);
            }
            // The page before it is gone.
            if !next.has_keys() {
                return;
            }
            self.peer = self.next.take().expect("it is there");
        }
        self.sent += 1;
        let packet = rtp(0, false, self.sent, u32::from(self.sent) * 160, 7, &[self.sent as u8; 160]);
        let protected = self.peer.protect(&packet);
        house.datagram(SHARED, self.peer.addr, &protected);
    }

    fn hear(&mut self, remote: SocketAddr, bytes: &[u8]) {
        match bytes[0] {
            20..64 => match &mut self.next {
                Some(next) if next.addr == remote => next.hear(bytes),
                _ => self.peer.hear(bytes),
            },
            128.. if !(192..224).contains(&bytes[1]) => {
                let packet = self.peer.unprotect(bytes);
                let (seq, said) = (fields(&packet).1, packet[12]);
                if let Some((last_seq, last_said)) = self.last.replace((seq, said)) {
                    assert_eq!((seq, said), (last_seq.wrapping_add(1), last_said.wrapping_add(1)), "{:?}", self.leg);
                }
            }
            _ => {}
        }
    }

    fn check(&self, house: &mut House) {
        let peer = self.next.as_ref().unwrap_or(&self.peer);
        let check = peer.check_of(&format!("{}:{}", self.ufrags.0, self.ufrags.1), true);
        house.datagram(SHARED, peer.addr, &check);
    }
}

/// 200 browsers speak all the time; calls move, some restart ICE, some are loaded anew with another certificate, and some fall
/// silent in a way that costs them the consent. Nobody else loses a packet by it.
#[test]
fn restarts_under_load_cost_nobody_a_packet() {
    const CALLERS: u16 = 200;
    let mut house = House::new(2, 400);
    let mut callers: Vec<Caller> = Vec::new();
    for n in 0..CALLERS {
        let (leg, remote) = (LegId(u64::from(n)), SocketAddr::new(addr("203.0.113.1:1").ip(), 10_000 + n));
        let ufrags = (format!("gate{n}"), format!("peer{n}"));
        let mut peer = Peer::new(house.workers[0].now.mono, remote);
        let how = LegOpen::WebRtc { ice_ufrag: ufrags.0.clone(), ice_pwd: PWD.into() };
        house.opened(leg);
        house.command(leg, MediaCommand::Open { leg, how, beside: None });
        let remote = peer.remote_of(&ufrags.1);
        house.command(leg, MediaCommand::SetRemote { leg, remote });
        house.datagram(SHARED, peer.addr, &peer.check_of(&format!("{}:{}", ufrags.0, ufrags.1), true));
        peer.shake_hands(&mut house.workers[0]);
        house.set_path(leg, plan(Codec::Pcmu, 0, 1 + u32::from(n)), Source::Itself);
        callers.push(Caller { leg, peer, next: None, ufrags, sent: 0, last: None });
    }
    house.events();
    // These say nothing more, and are not checked for.
    let is_lost = |n: u16| n % 20 == 19;
    for tick in 0..1_700u16 {
        for (n, caller) in (0..).zip(&mut callers) {
            if is_lost(n) && tick > 10 {
                continue;
            }
            match (n % 4, tick) {
                // Moved about, restarted or not.
                (_, 20..200) if (tick + n) % 40 == 0 => house.move_legs(&[caller.leg], usize::from(tick / 40 % 2)),
                // ICE alone; or with another certificate, from another port.
                (1 | 2, _) if tick == 40 + n => {
                    let next = Peer::new(house.workers[0].now.mono, SocketAddr::new(caller.peer.addr.ip(), 30_000 + n));
                    caller.next = (n % 4 == 2).then_some(next);
                    caller.ufrags = (format!("next{n}"), format!("anew{n}"));
                    let (leg, ice_ufrag) = (caller.leg, caller.ufrags.0.clone());
                    let remote = caller.next.as_ref().unwrap_or(&caller.peer).remote_of(&caller.ufrags.1);
                    house.command(leg, MediaCommand::RestartIce { leg, ice_ufrag, ice_pwd: PWD.into() });
                    house.command(leg, MediaCommand::SetRemote { leg, remote });
                    caller.check(&mut house);
                }
                (_, _) if tick % 200 == n => caller.check(&mut house),
                _ => {}
            }
            // After a while it is enough to see who is still there.
            if tick < 300 {
                caller.say(&mut house);
            }
        }
        house.advance(FRAME);
        let by_addr: BTreeMap<SocketAddr, usize> = callers
            .iter()
            .enumerate()
            .flat_map(|(at, caller)| [Some(caller.peer.addr), caller.next.as_ref().map(|next| next.addr)].map(|addr| (addr, at)))
            .filter_map(|(addr, at)| Some((addr?, at)))
            .collect();
        for (_, remote, bytes) in house.take() {
            if let Some(at) = by_addr.get(&remote) {
                callers[*at].hear(remote, &bytes);
            }
        }
    }
    let failed: Vec<_> = house.events().into_iter().filter(|event| matches!(event, MediaEvent::Failed { .. })).collect();
    let lost = (0..CALLERS).filter(|n| is_lost(*n));
    let expected: Vec<_> = lost.map(|n| MediaEvent::Failed { leg: LegId(n.into()), cause: LegFailure::IceTimeout }).collect();
    assert_eq!(failed.len(), expected.len(), "{failed:?}");
    assert!(expected.iter().all(|event| failed.contains(event)), "{failed:?}");
    for (n, caller) in (0..).zip(&callers) {
        assert!(caller.next.is_none(), "{n} has its new keys");
        let heard = caller.last.expect("it was heard").1;
        assert!(is_lost(n) || heard == caller.sent as u8, "{n}: {heard} of {}", caller.sent);
    }
    let totals = house.totals();
    assert_eq!((totals.traffic.not_taken_over, totals.legs.dropped_total()), (0, 0), "{totals:?}");
    assert!(totals.traffic.handed_over > 1_000);
}
