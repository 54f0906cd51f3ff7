//! Keys through the media core in virtual time: from every form into every form, each once and as long as it was pressed,
//! whatever the network does to the packets that say so.

#[path = "support/audio.rs"]
mod audio;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::f64::consts::TAU;
use std::time::Duration;

use audio::{fields, rtp, voice};
use media_peer::{A, B, Bench, addr, plan};
use ringway::base::Rng;
use ringway::media::codec::{OpusEncoder, decode_ulaw, encode_ulaw};
use ringway::media::detect::Detector;
use ringway::media::dtmf::{Heard, KEY_LOST};
use ringway::media::music;
use ringway::plan::*;

const PHONE_A: &str = "198.51.100.1:20000";
const PHONE_B: &str = "198.51.100.2:20000";

#[derive(Debug, Clone, Copy, PartialEq)]
enum From {
    Events(Codec),
    /// Of a phone's own codec.
    Tones(Codec),
    Command,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum To {
    Events(Codec),
    Tones,
    Signalling,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Network {
    Good,
    StartsLost,
    TwoEndsLost,
    EndsLost,
    MoreEnds,
    Reordered,
    Lossy(u64),
}

const FROM: [From; 5] =
    [From::Events(Codec::Pcmu), From::Events(Codec::Opus), From::Tones(Codec::Pcmu), From::Tones(Codec::Opus), From::Command];
const TO: [To; 4] = [To::Events(Codec::Pcmu), To::Events(Codec::Opus), To::Tones, To::Signalling];

/// A key as it was pressed, and what of it came through the network.
#[derive(Debug, Clone, Copy, Default)]
struct Pressed {
    event: u8,
    ms: u32,
    /// The longest duration that arrived; none when nothing did.
    known_ms: Option<u32>,
    end_arrived: bool,
}

struct Packet {
    bytes: Vec<u8>,
    at_ms: u32,
    key: Option<(usize, u32, bool)>,
    first: bool,
}

fn codec_plan(codec: Codec, ssrc: u32) -> LegPlan {
    plan(codec, if codec == Codec::Opus { 111 } else { 0 }, ssrc)
}

fn from_plan(from: From) -> LegPlan {
    match from {
        From::Events(codec) => codec_plan(codec, 1),
        From::Tones(codec) => LegPlan { events: None, dtmf_rx_tones: true, ..codec_plan(codec, 1) },
        From::Command => codec_plan(Codec::Pcmu, 1),
    }
}

fn to_plan(to: To) -> LegPlan {
    match to {
        To::Events(codec) => codec_plan(codec, 2),
        To::Tones => LegPlan { events: None, dtmf_tx: DtmfWay::Tones, ..codec_plan(Codec::Pcmu, 2) },
        To::Signalling => LegPlan { events: None, dtmf_tx: DtmfWay::Signalling, ..codec_plan(Codec::Pcmu, 2) },
    }
}

fn tone(event: u8, len: usize) -> Vec<i16> {
    const KEYS: &[u8; 16] = &[1, 2, 3, 12, 4, 5, 6, 13, 7, 8, 9, 14, 10, 0, 11, 15];
    let at = KEYS.iter().position(|key| *key == event).unwrap();
    let (row, column) = ([697.0, 770.0, 852.0, 941.0][at / 4], [1_209.0, 1_336.0, 1_477.0, 1_633.0][at % 4]);
    let wave = |n: usize, hz: f64| (n as f64 * hz * TAU / 8_000.0).sin() * 6_000.0;
    (0..len).map(|n| (wave(n, row) + wave(n, column)) as i16).collect()
}

/// What a phone sends that presses these keys, 300 ms apart, a packet each 20 ms, silence between.
fn script(from: From, pressed: &[Pressed], network: Network) -> Vec<Packet> {
    let codec = from_plan(from).codec;
    let (pt, ticks_ms) = (from_plan(from).rx_pt.0, codec.clock_hz() / 1_000);
    let mut encoder = OpusEncoder::new().unwrap();
    let mut audio = |pcm: &[i16]| {
        if codec == Codec::Pcmu {
            return pcm.iter().map(|sample| encode_ulaw(*sample)).collect();
        }
        let mut payload = vec![0; 400];
        let len = encoder.encode(pcm, &mut payload).unwrap();
        payload.truncate(len);
        payload
    };
    let (mut packets, mut at_ms) = (Vec::new(), 0);
    let mut put = |at_ms: u32, ts: u32, pt: u8, payload: &[u8], key, first| {
        let bytes = rtp(pt, first, packets.len() as u16, ts, 9, payload);
        packets.push(Packet { bytes, at_ms, key, first });
    };
    for (n, key) in pressed.iter().enumerate() {
        for _ in 0..15 {
            put(at_ms, at_ms * ticks_ms, pt, &audio(&[0; 160]), None, false);
            at_ms += 20;
        }
        if matches!(from, From::Tones(_)) {
            // Anywhere among the packets.
            let mut pcm = vec![0; n % 160];
            pcm.extend(tone(key.event, key.ms as usize * 8));
            pcm.resize(pcm.len().next_multiple_of(160), 0);
            for (m, frame) in pcm.chunks(160).enumerate() {
                put(at_ms, at_ms * ticks_ms, pt, &audio(frame), Some((n, key.ms, true)), m == 0);
                at_ms += 20;
            }
        } else if from != From::Command {
            let (start, ends) = (at_ms, if network == Network::MoreEnds { 7 } else { 3 });
            let (mut segment, mut now_ms) = (0, 0);
            loop {
                now_ms = (now_ms + 20).min(key.ms);
                let (ticks, end) = (now_ms * ticks_ms, now_ms == key.ms);
                segment = if ticks - segment * 0xffff > 0xffff { segment + 1 } else { segment };
                let duration = ticks - segment * 0xffff;
                let payload = [key.event, if end { 0x8a } else { 10 }, (duration >> 8) as u8, duration as u8];
                for _ in 0..if end { ends } else { 1 } {
                    put(at_ms, start * ticks_ms + segment * 0xffff, 101, &payload, Some((n, now_ms, end)), now_ms == 20);
                    at_ms += 20;
                }
                if end {
                    break;
                }
            }
        }
    }
    for _ in 0..20 {
        put(at_ms, at_ms * ticks_ms, pt, &audio(&[0; 160]), None, false);
        at_ms += 20;
    }
    packets
}

/// What the network leaves of it.
fn deliver(mut packets: Vec<Packet>, network: Network) -> Vec<Packet> {
    match network {
        Network::Good | Network::MoreEnds => {}
        Network::StartsLost => packets.retain(|packet| !packet.first),
        Network::TwoEndsLost => {
            let mut ends = 0;
            packets.retain(|packet| {
                ends = if packet.key.is_some_and(|key| key.2) { ends + 1 } else { 0 };
                ends % 3 == 0
            });
        }
        Network::EndsLost => packets.retain(|packet| !packet.key.is_some_and(|key| key.2)),
        Network::Reordered => {
            for at in (0..packets.len() - 1).filter(|at| at % 4 == 1) {
                let (one, two) = (packets[at].at_ms, packets[at + 1].at_ms);
                packets.swap(at, at + 1);
                (packets[at].at_ms, packets[at + 1].at_ms) = (one, two);
            }
        }
        Network::Lossy(seed) => {
            let mut rng = Rng::from_number(seed);
            packets.retain(|_| rng.next_u32() % 100 >= 10);
        }
    }
    packets
}

/// What the phone at the other end got.
#[derive(Default)]
struct Got {
    keys: Vec<(u8, u32)>,
    pcm: Vec<i16>,
    events: Vec<(u64, Vec<u8>)>,
}

fn run(from: From, to: To, pressed: &mut [Pressed], network: Network) -> Got {
    let mut bench = Bench::default();
    let (socket, _) = (bench.phone(A, addr(PHONE_A)), bench.phone(B, addr(PHONE_B)));
    bench.join(from_plan(from), to_plan(to));
    let (mut got, mut last, mut now_ms) = (Got::default(), None, 0);
    let mut wall = 0u64;
    let mut take = |bench: &mut Bench, wall: u64| {
        for (pair, packet) in bench.sink.take() {
            if pair.remote == addr(PHONE_B) && !(192..224).contains(&packet[1]) {
                note(&mut got, &mut last, to, wall, packet);
            }
        }
    };
    let mut keys = pressed.to_vec();
    if from == From::Command {
        for key in pressed.iter_mut() {
            bench.command(MediaCommand::Dtmf { leg: B, event: key.event, duration_ms: key.ms });
            (key.known_ms, key.end_arrived) = (Some(key.ms), true);
            for _ in 0..(key.ms + 300) / 10 {
                bench.advance(Duration::from_millis(10));
                wall += 10;
                take(&mut bench, wall);
            }
        }
        keys.clear();
    }
    for packet in deliver(script(from, &keys, network), network) {
        while now_ms < packet.at_ms {
            bench.advance(Duration::from_millis(10));
            (now_ms, wall) = (now_ms + 10, wall + 10);
            take(&mut bench, wall);
        }
        if let Some((n, ms, end)) = packet.key {
            pressed[n].known_ms = pressed[n].known_ms.max(Some(ms));
            pressed[n].end_arrived |= end;
        }
        bench.datagram(socket, addr(PHONE_A), &packet.bytes);
        take(&mut bench, wall);
    }
    for _ in 0..50 {
        bench.advance(Duration::from_millis(20));
        wall += 20;
        take(&mut bench, wall);
    }
    let heard = bench.sink.events.iter().filter_map(|event| match event {
        MediaEvent::Dtmf { leg: A, event, duration_ms } => Some((*event, *duration_ms)),
        _ => None,
    });
    got.keys.extend(heard);
    match to {
        To::Events(codec) => keys_of_events(&mut got, codec.clock_hz() / 1_000),
        To::Tones => keys_of_tones(&mut got),
        To::Signalling => {}
    }
    got
}

fn note(got: &mut Got, last: &mut Option<(u16, u32)>, to: To, wall: u64, packet: Vec<u8>) {
    let (pt, seq, ts, ssrc) = fields(&packet);
    assert_eq!(ssrc, 2);
    if let Some((last_seq, last_ts)) = *last
        && pt != 101
    {
        assert_ne!(seq, last_seq);
        if pt == 0 {
            let gap = ts.wrapping_sub(last_ts);
            if gap > 1 << 31 {
                return; // late, as it came
            }
            assert!(gap < 80_000, "time goes on: {gap}");
            got.pcm.resize(got.pcm.len() + (gap as usize).saturating_sub(160), 0);
        }
    }
    match pt {
        101 => got.events.push((wall, packet)),
        0 => got.pcm.extend(packet[12..].iter().map(|byte| decode_ulaw(*byte))),
        _ => assert_eq!(to, To::Events(Codec::Opus)),
    }
    if pt != 101 {
        *last = Some((seq, ts));
    }
}

/// The keys in event packets, put together by nothing but what RFC 4733 says of them.
fn keys_of_events(got: &mut Got, ticks_ms: u32) {
    let mut current: Option<(u8, u32, u32)> = None;
    for (_, packet) in &got.events {
        let (_, _, ts, _) = fields(packet);
        let (event, ticks) = (packet[12], u32::from(u16::from_be_bytes([packet[14], packet[15]])));
        let within =
            current.filter(|(_, start, _)| ts.wrapping_sub(*start).is_multiple_of(0xffff) && ts.wrapping_sub(*start) < 0x40_0000);
        match (within, current) {
            (Some((_, start, most)), _) => current = Some((event, start, most.max(ts.wrapping_sub(start) + ticks))),
            // Of a key before: it came late.
            (None, Some((_, start, _))) if ts.wrapping_sub(start) > 1 << 31 => {}
            (None, _) => {
                got.keys.extend(current.map(|(event, _, most)| (event, most / ticks_ms)));
                current = Some((event, ts, ticks));
            }
        }
    }
    got.keys.extend(current.map(|(event, _, most)| (event, most / ticks_ms)));
}

fn detect(pcm: &[i16]) -> Vec<u8> {
    let (mut detector, mut keys, mut pcm) = (Detector::default(), Vec::new(), pcm.to_vec());
    detector.hear(&mut pcm, |heard| {
        if let Heard::LetGo { event, .. } = heard {
            keys.push(event);
        }
    });
    keys
}

/// The keys in the audio: stretches that are not silent, and which key each is.
fn keys_of_tones(got: &mut Got) {
    let loud: Vec<usize> = (0..got.pcm.len()).filter(|n| got.pcm[*n].unsigned_abs() > 2_000).collect();
    for stretch in loud.chunk_by(|one, two| two - one < 160) {
        let (first, last) = (stretch[0], stretch[stretch.len() - 1]);
        let mut padded = vec![0; 200];
        padded.extend(&got.pcm[first..=last]);
        padded.extend([0; 800]);
        let found = detect(&padded);
        assert_eq!(found.len(), 1, "{} ms of something", (last - first) / 8);
        got.keys.push((found[0], ((last - first) as u32 + 8) / 8));
    }
}

fn all_keys(lengths: &[u32]) -> Vec<Pressed> {
    let each = |event| lengths.iter().map(move |ms| Pressed { event, ms: *ms, ..Pressed::default() });
    (0..16).flat_map(each).collect()
}

/// Every key that came through at all is there once, in order, and as long as can be known.
fn check(from: From, to: To, network: Network, pressed: &[Pressed], got: &Got) {
    let what = format!("{from:?} to {to:?}, {network:?}");
    let expected: Vec<&Pressed> = pressed.iter().filter(|key| key.known_ms.is_some()).collect();
    let silent = (from, to) == (From::Command, To::Signalling);
    let (events, found): (Vec<u8>, Vec<u8>) =
        (expected.iter().map(|key| key.event).collect(), got.keys.iter().map(|key| key.0).collect());
    assert_eq!(if silent { Vec::new() } else { events }, found, "{what}");
    for (key, (_, ms)) in expected.iter().zip(&got.keys) {
        let known = if key.end_arrived { key.ms } else { key.known_ms.unwrap_or(0) };
        let late = if key.end_arrived { 20 } else { 20 + KEY_LOST.as_millis() as u32 };
        let fits = (known.saturating_sub(20)..=known.max(40) + late).contains(ms);
        assert!(fits, "{what}: {key:?} became {ms} ms");
    }
}

const EVENTS_FROM: [From; 2] = [From::Events(Codec::Pcmu), From::Events(Codec::Opus)];

#[test]
fn every_key_goes_from_every_form_into_every_other_once_and_as_long_as_it_was() {
    for (from, to) in FROM.into_iter().flat_map(|from| TO.map(|to| (from, to))) {
        let mut pressed = all_keys(&[50, 100, 250, 2_000]);
        let got = run(from, to, &mut pressed, Network::Good);
        check(from, to, Network::Good, &pressed, &got);
        let off = pressed.iter().zip(&got.keys).map(|(key, got)| key.ms.abs_diff(got.1)).max();
        println!("{from:?} to {to:?}: {} keys, at most {off:?} ms off", got.keys.len());
        if matches!(from, From::Tones(_)) && to != To::Tones {
            assert!(detect(&got.pcm).is_empty(), "{to:?}: what is left of the tones is no key");
        }
    }
}

#[test]
fn events_whose_packets_are_lost_repeated_or_out_of_order_are_one_key_each() {
    let networks = [Network::StartsLost, Network::TwoEndsLost, Network::EndsLost, Network::MoreEnds, Network::Reordered];
    for (from, to) in EVENTS_FROM.into_iter().flat_map(|from| TO.map(|to| (from, to))) {
        for network in networks.into_iter().chain((1..6).map(Network::Lossy)) {
            let mut pressed = all_keys(&[50, 100, 250]);
            pressed.extend([2_000, 2_500].map(|ms| Pressed { event: 7, ms, ..Pressed::default() }));
            let got = run(from, to, &mut pressed, network);
            check(from, to, network, &pressed, &got);
        }
    }
}

#[test]
fn tones_through_a_bad_network_are_one_key_each() {
    for (to, network) in TO.into_iter().flat_map(|to| [Network::Reordered, Network::Lossy(1), Network::Lossy(2)].map(|n| (to, n)))
    {
        if to == To::Tones {
            continue; // they pass as audio
        }
        let mut pressed = all_keys(&[250, 1_000]);
        let got = run(From::Tones(Codec::Pcmu), to, &mut pressed, network);
        let (expected, found): (Vec<u8>, Vec<u8>) =
            (pressed.iter().map(|key| key.event).collect(), got.keys.iter().map(|key| key.0).collect());
        assert_eq!(expected, found, "{to:?}, {network:?}");
    }
}

#[test]
fn an_event_begins_with_the_marker_says_itself_every_packet_time_and_ends_three_times() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        for (from, ms) in [(From::Command, 100), (From::Tones(Codec::Pcmu), 400), (From::Command, 3_000)] {
            let mut pressed = [Pressed { event: 5, ms, ..Pressed::default() }];
            let got = run(from, To::Events(codec), &mut pressed, Network::Good);
            let packets: Vec<_> = got.events.iter().map(|(wall, packet)| (*wall, packet.clone())).collect();
            let marked = packets.iter().filter(|(_, packet)| packet[1] & 0x80 != 0).count();
            let ends = packets.iter().filter(|(_, packet)| packet[13] & 0x80 != 0).count();
            assert_eq!((marked, ends, packets[0].1[1] & 0x80), (1, 3, 0x80), "{from:?}");
            assert!(packets[packets.len() - 3..].iter().all(|(_, packet)| packet[12..] == packets[packets.len() - 1].1[12..]));
            assert!(packets.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 20), "a packet each packet time");
            let full = |packet: &[u8]| packet[14..16] == [0xff, 0xff] && packet[13] & 0x80 == 0;
            let segments = ms * codec.clock_hz() / 1_000 / 0xffff;
            assert_eq!(packets.iter().filter(|(_, packet)| full(packet)).count() as u32, 3 * segments, "{codec:?} {ms}");
        }
    }
}

#[test]
fn keys_wait_for_each_other_and_more_than_a_few_are_dropped() {
    for to in [To::Events(Codec::Pcmu), To::Tones] {
        let mut bench = Bench::default();
        bench.phone(B, addr(PHONE_B));
        bench.set_path(B, to_plan(to), Source::Music);
        for n in 0..50u8 {
            bench.command(MediaCommand::Dtmf { leg: B, event: n % 16, duration_ms: if n == 1 { 1 } else { 60 } });
        }
        bench.command(MediaCommand::Dtmf { leg: B, event: 16, duration_ms: 100 });
        let (mut got, mut last) = (Got::default(), None);
        for wall in 0..800 {
            bench.advance(Duration::from_millis(10));
            for (_, packet) in bench.sink.take().into_iter().filter(|sent| !(192..224).contains(&sent.1[1])) {
                note(&mut got, &mut last, to, wall * 10, packet);
            }
        }
        let found = match to {
            To::Tones => detect(&got.pcm),
            _ => {
                keys_of_events(&mut got, 8);
                assert_eq!((got.keys[0].1, got.keys[1].1), (60, 40));
                got.keys.iter().map(|key| key.0).collect()
            }
        };
        assert_eq!(found, (0..32).map(|n| n % 16).collect::<Vec<u8>>(), "{to:?}");
        assert!(got.pcm[got.pcm.len() - 8_000..].iter().any(|sample| *sample != 0), "then the music goes on");
    }
}

#[test]
fn the_key_of_a_phone_that_sends_events_and_tones_at_once_comes_once() {
    let from = LegPlan { dtmf_rx_tones: true, ..codec_plan(Codec::Pcmu, 1) };
    let mut bench = Bench::default();
    let (socket, _) = (bench.phone(A, addr(PHONE_A)), bench.phone(B, addr(PHONE_B)));
    bench.join(from, to_plan(To::Signalling));
    let (pcm, mut seq) = (tone(5, 3_200), 0);
    for n in 0..40u32 {
        let frame = pcm
            .chunks(160)
            .nth(n as usize)
            .map_or_else(|| vec![0xff; 160], |frame| frame.iter().copied().map(encode_ulaw).collect());
        if n < 20 {
            let ticks = (n + 1) * 160;
            let payload = [5, if n == 19 { 0x8a } else { 10 }, (ticks >> 8) as u8, ticks as u8];
            bench.datagram(socket, addr(PHONE_A), &rtp(101, n == 0, seq, 0, 9, &payload));
            seq += 1;
        }
        bench.datagram(socket, addr(PHONE_A), &rtp(0, false, seq, n * 160, 9, &frame));
        seq += 1;
        bench.sink.clear();
        bench.advance(Duration::from_millis(20));
    }
    let told: Vec<_> = bench.sink.events.iter().filter(|event| matches!(event, MediaEvent::Dtmf { .. })).collect();
    assert_eq!(told, [&MediaEvent::Dtmf { leg: A, event: 5, duration_ms: 400 }]);
}

/// The timestamp tells one key from the next (RFC 4733 section 2.2): a new one in the middle would be another key.
#[test]
fn a_key_that_is_down_while_the_codec_changes_stays_one_key() {
    for (before, after) in [(Codec::Pcmu, Codec::Opus), (Codec::Opus, Codec::Pcmu)] {
        let mut bench = Bench::default();
        bench.phone(B, addr(PHONE_B));
        bench.set_path(B, to_plan(To::Events(before)), Source::Music);
        bench.advance(Duration::from_millis(500));
        bench.sink.clear();
        bench.command(MediaCommand::Dtmf { leg: B, event: 5, duration_ms: 400 });
        bench.advance(Duration::from_millis(200));
        bench.set_path(B, to_plan(To::Events(after)), Source::Music);
        bench.advance(Duration::from_millis(800));
        let events = bench.sink.take_rtp().into_iter().filter(|packet| fields(packet).0 == 101);
        let mut starts: Vec<u32> = events.map(|packet| fields(&packet).2).collect();
        assert!(starts.len() > 20, "{}", starts.len());
        starts.dedup();
        assert_eq!(starts.len(), 1, "{before:?} to {after:?}");
    }
}

/// Chromium, offered events at both clocks, takes both, and sends those at 8,000 beside Opus: of each key the three ends alone.
/// A phone needs a beginning.
#[test]
fn keys_come_by_the_other_clock_that_was_offered() {
    let events = DtmfPlan { rx_pt: Pt(110), tx_pt: Pt(110), clock_hz: 48_000, rx_other: Some((Pt(101), 8_000)) };
    let from = LegPlan { events: Some(events), ..codec_plan(Codec::Opus, 1) };
    for to in [To::Events(Codec::Pcmu), To::Tones, To::Signalling] {
        let mut bench = Bench::default();
        let (socket, _) = (bench.phone(A, addr(PHONE_A)), bench.phone(B, addr(PHONE_B)));
        bench.join(from, to_plan(to));
        let (mut got, mut last) = (Got::default(), None);
        for n in 0..6u32 {
            let seq = n as u16;
            bench.datagram(socket, addr(PHONE_A), &rtp(101, true, seq, n / 3 * 38_400, 9, &[5, 0x8a, 3, 0xc0]));
            for wall in 0..if n % 3 == 2 { 80 } else { 0 } {
                bench.advance(Duration::from_millis(10));
                for (_, packet) in bench.sink.take().into_iter().filter(|(_, packet)| !(192..224).contains(&packet[1])) {
                    note(&mut got, &mut last, to, u64::from(n * 800 + wall * 10), packet);
                }
            }
        }
        assert!(got.events.first().is_none_or(|(_, packet)| packet[13] & 0x80 == 0), "its beginning first");
        keys_of_events(&mut got, 8);
        let told = bench.sink.events.iter().filter_map(|event| match event {
            MediaEvent::Dtmf { event, duration_ms, .. } => Some((*event, *duration_ms)),
            _ => None,
        });
        let mut keys: Vec<_> = got.keys.iter().map(|key| (key.0, key.1)).chain(told).collect();
        keys.extend(detect(&got.pcm).into_iter().map(|key| (key, 120)));
        assert_eq!(keys, [(5, 120), (5, 120)], "{to:?}");
    }
}

/// Noise in the shape of speech: pitches that glide, formants that move, syllables and breath.
fn babble(seed: u64, len: usize) -> Vec<i16> {
    let mut rng = Rng::from_number(seed);
    let mut chance = move || f64::from(rng.next_u32()) / f64::from(u32::MAX);
    let (mut pitch, mut formants, mut phase, mut left) = (120.0, [500.0, 1_500.0, 2_500.0, 3_400.0], 0.0, 0);
    let mut loud = 0.0;
    (0..len)
        .map(|_| {
            if left == 0 {
                left = 400 + (chance() * 2_000.0) as usize;
                (pitch, loud) = (80.0 + 180.0 * chance(), if chance() < 0.2 { 0.0 } else { chance() });
                formants = [300.0 + 650.0 * chance(), 900.0 + 1_400.0 * chance(), 2_200.0 + 700.0 * chance(), 3_400.0];
            }
            left -= 1;
            pitch *= 1.0 + (chance() - 0.5) * 0.002;
            phase = (phase + pitch * TAU / 8_000.0) % TAU;
            // A throat's overtones fall off by 6 dB an octave, resonances are 100 Hz wide with long skirts.
            let buzz: f64 = (1..24)
                .map(|n| {
                    let hz = f64::from(n) * pitch;
                    let near = |centre: f64| 1.0 / (1.0 + ((hz - centre) / 50.0).powi(2)).sqrt();
                    formants.iter().map(|centre| near(*centre)).sum::<f64>() / f64::from(n) * (phase * f64::from(n)).sin()
                })
                .sum();
            ((buzz * 2.0 + (chance() - 0.5) * 0.1) * loud * 12_000.0).clamp(-32_000.0, 32_000.0) as i16
        })
        .collect()
}

#[test]
fn no_key_is_heard_in_speech_or_in_music() {
    const SECS: usize = 120;
    for seed in 0..5 {
        let found = detect(&babble(seed, SECS * 8_000));
        assert!(found.is_empty(), "seed {seed}: {found:?}");
    }
    let speech: Vec<i16> = include_bytes!("../examples/analog-phone/speech.ulaw").iter().map(|byte| decode_ulaw(*byte)).collect();
    assert!(detect(&speech).is_empty(), "in {} s of someone speaking", speech.len() / 8_000);
    assert!(detect(&voice(0, 60 * 8_000)).is_empty());
    assert!(detect(&music::built_in()).is_empty());
}
