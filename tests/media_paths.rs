//! Who hears what, and how it changes: one stream per leg through every change of source, partner and codec.

#[path = "support/audio.rs"]
mod audio;
#[path = "support/chance.rs"]
mod chance;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::net::SocketAddr;
use std::time::Duration;

use audio::{fields, rtp, sine, snr_db};
use chance::cases;
use media_peer::{A, B, Bench, addr, plan};
use proptest::prelude::*;
use ringway::media::SocketId;
use ringway::media::codec::{OpusDecoder, OpusEncoder, decode_ulaw, encode_ulaw};
use ringway::media::stats::Drop;
use ringway::plan::*;

const FRAME: Duration = Duration::from_millis(20);
const C: LegId = LegId(3);

fn far(leg: LegId) -> SocketAddr {
    SocketAddr::new(addr("198.51.100.0:1").ip(), 20_000 + 10 * leg.0 as u16)
}

fn pcmu(ssrc: u32) -> LegPlan {
    plan(Codec::Pcmu, 0, ssrc)
}

fn three_phones() -> (Bench, [SocketId; 3]) {
    let mut bench = Bench::default();
    let sockets = [A, B, C].map(|leg| bench.phone(leg, far(leg)));
    (bench, sockets)
}

/// What each leg's far side got since the last time.
fn taken(bench: &mut Bench, leg: LegId) -> Vec<Vec<u8>> {
    let sent = bench.sink.sent().filter(|(pair, data)| pair.remote == far(leg) && !(192..224).contains(&data[1]));
    sent.map(|(_, data)| data.to_vec()).collect()
}

fn say(bench: &mut Bench, socket: SocketId, leg: LegId, n: u16) {
    bench.datagram(socket, far(leg), &rtp(0, false, n, u32::from(n) * 160, 100 + leg.0 as u32, &[leg.0 as u8; 160]));
}

#[test]
fn a_call_comes_alive_with_the_second_path_and_a_leg_is_heard_by_one_other() {
    let (mut bench, [a, b, c]) = three_phones();
    bench.set_path(A, pcmu(1), Source::Leg(B));
    say(&mut bench, b, B, 1);
    assert!(taken(&mut bench, A).is_empty());
    bench.set_path(B, pcmu(2), Source::Leg(A));
    say(&mut bench, b, B, 2);
    say(&mut bench, a, A, 2);
    assert_eq!((taken(&mut bench, A)[0][12], taken(&mut bench, B)[0][12]), (2, 1));
    bench.sink.clear();
    // C takes A away: B hears nothing, but is still heard by A until A is told otherwise.
    bench.set_path(C, pcmu(3), Source::Leg(A));
    say(&mut bench, a, A, 3);
    say(&mut bench, b, B, 3);
    assert_eq!([B, C, A].map(|leg| taken(&mut bench, leg).len()), [0, 1, 1]);
    bench.sink.clear();
    bench.set_path(A, pcmu(1), Source::Leg(C));
    say(&mut bench, b, B, 4);
    say(&mut bench, c, C, 4);
    assert_eq!((taken(&mut bench, A).len(), taken(&mut bench, A)[0][12]), (1, 3));
    assert_eq!(bench.core.counters(B).unwrap().dropped_for(Drop::NotNeeded), 1);
}

#[test]
fn a_path_to_a_leg_that_is_not_there_yet_waits_for_it() {
    let mut bench = Bench::default();
    bench.phone(A, far(A));
    bench.set_path(A, pcmu(1), Source::Leg(B));
    let b = bench.phone(B, far(B));
    bench.set_path(B, pcmu(2), Source::Music);
    bench.sink.clear();
    say(&mut bench, b, B, 1);
    assert_eq!(taken(&mut bench, A).len(), 1, "B need not hear A for it");
    bench.command(MediaCommand::Close { leg: A });
    bench.sink.clear();
    bench.advance(FRAME);
    assert!(!taken(&mut bench, B).is_empty(), "B still has its music");
}

#[test]
fn the_same_path_said_again_changes_nothing() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        let (mut bench, [a, ..]) = three_phones();
        let b = plan(codec, 8, 2);
        bench.join(pcmu(1), b);
        let mut last: Option<(u16, u32)> = None;
        for n in 0..20u16 {
            bench.join(pcmu(1), b);
            // Half a packet time late: a flow made anew would show it.
            let late = if n == 10 { 10 } else { 0 };
            bench.advance(Duration::from_millis(late));
            say(&mut bench, a, A, n);
            let packet = taken(&mut bench, B).remove(0);
            let (_, seq, ts, _) = fields(&packet);
            assert_eq!(packet[1] & 0x80 != 0, n == 0);
            if let Some((last_seq, last_ts)) = last.replace((seq, ts)) {
                assert_eq!((seq.wrapping_sub(last_seq), ts.wrapping_sub(last_ts)), (1, 160));
            }
            bench.sink.clear();
            bench.advance(FRAME - Duration::from_millis(late));
        }
    }
}

#[test]
fn a_new_source_is_heard_of_at_once_though_nobody_speaks() {
    let (mut bench, [_, b, _]) = three_phones();
    let opus = |ssrc| plan(Codec::Opus, 111, ssrc);
    bench.join(opus(1), pcmu(2));
    let sent_in_silence = |bench: &mut Bench, frames: std::ops::Range<u16>| {
        bench.sink.clear();
        for n in frames {
            bench.advance(FRAME);
            bench.datagram(b, far(B), &rtp(0, false, n, u32::from(n) * 160, 7, &[encode_ulaw(0); 160]));
        }
        taken(bench, A).iter().map(|packet| fields(packet).3).collect::<Vec<_>>()
    };
    assert_eq!(sent_in_silence(&mut bench, 0..20), [1; 11], "until the pause has begun");
    bench.set_path(A, opus(9), Source::Leg(B));
    assert_eq!(sent_in_silence(&mut bench, 20..21), [9]);
}

#[test]
fn the_room_behind_a_ringing_tone_is_not_taken_for_speech() {
    let (mut bench, [_, b, _]) = three_phones();
    bench.set_path(B, pcmu(2), Source::Leg(A));
    // With keys as tones its one encoder is wanted throughout.
    let opus = LegPlan { dtmf_tx: DtmfWay::Tones, ..plan(Codec::Opus, 111, 1) };
    bench.set_path(A, opus, Source::Ringback);
    bench.advance(Duration::from_secs(10));
    bench.set_path(A, opus, Source::Leg(B));
    bench.sink.clear();
    for n in 0..50 {
        bench.advance(FRAME);
        // A room at -53 dBov.
        let room = std::array::from_fn::<u8, 160, _>(|at| encode_ulaw(if at % 2 == 0 { 70 } else { -70 }));
        bench.datagram(b, far(B), &rtp(0, false, n, u32::from(n) * 160, 7, &room));
    }
    let sent = taken(&mut bench, A).len();
    assert!((11..16).contains(&sent), "{sent} packets of a second in which nobody speaks");
}

fn hear_pcmu(bench: &mut Bench, leg: LegId, secs: usize) -> Vec<i16> {
    let mut pcm = Vec::new();
    while pcm.len() < secs * 8_000 {
        bench.advance(FRAME);
        pcm.extend(taken(bench, leg).iter().flat_map(|packet| packet[12..].to_vec()).map(decode_ulaw));
        bench.sink.clear();
    }
    pcm
}

#[test]
fn ringback_is_a_second_of_425_hz_every_five() {
    let (mut bench, _) = three_phones();
    bench.set_path(A, pcmu(1), Source::Ringback);
    let pcm = hear_pcmu(&mut bench, A, 11);
    assert_eq!(pcm.iter().position(|sample| *sample != 0).map(|at| at / 100), Some(0));
    for (sec, second) in pcm.chunks(8_000).enumerate().take(11) {
        match sec % 5 {
            0 => assert!(snr_db(second, 425.0) > 30.0, "{sec}"),
            _ => assert!(second.iter().all(|sample| sample.abs() < 100), "{sec}"),
        }
    }
}

#[test]
fn music_starts_at_its_beginning_for_each_and_goes_round() {
    let (mut bench, _) = three_phones();
    // Each sample of the bench's music names its place, as far as µ-law can tell.
    let music: Vec<i16> = (0..8_000).map(|n| decode_ulaw(encode_ulaw(((n % 80) * 100 - 4_000) as i16))).collect();
    bench.set_path(A, pcmu(1), Source::Music);
    let first = hear_pcmu(&mut bench, A, 2);
    assert_eq!((&first[..8_000], &first[8_000..16_000]), (&music[..], &music[..]));
    bench.set_path(B, plan(Codec::Opus, 111, 2), Source::Music);
    bench.set_path(C, pcmu(3), Source::Music);
    let mut decoder = OpusDecoder::new().unwrap();
    let (mut opus, mut third) = (0, Vec::new());
    for _ in 0..50 {
        bench.advance(FRAME);
        for packet in taken(&mut bench, B) {
            opus += decoder.decode(Some(&packet[12..]), false, &mut [0; 960]).unwrap();
        }
        third.extend(taken(&mut bench, C).iter().flat_map(|packet| packet[12..].to_vec()).map(decode_ulaw));
        bench.sink.clear();
    }
    assert!(opus >= 8_000);
    assert_eq!(third[..7_840], music[..7_840]);
}

#[test]
fn a_far_side_that_is_silent_fails_its_leg_once() {
    let timeouts = |bench: &Bench, leg: LegId| {
        let failed = MediaEvent::Failed { leg, cause: LegFailure::RtpTimeout };
        bench.sink.events.iter().filter(|event| **event == failed).count()
    };
    let mut bench = Bench::with(|config| {
        config.rtp_timeout = Some(Duration::from_secs(60));
        config.rtp_hold_timeout = Some(Duration::from_secs(600));
    });
    let (a, _) = (bench.phone(A, far(A)), bench.phone(B, far(B)));
    let secs = |bench: &mut Bench, secs: u64| {
        for _ in 0..secs * 2 {
            bench.advance(Duration::from_millis(500));
            bench.sink.clear();
        }
    };
    secs(&mut bench, 100);
    assert_eq!(timeouts(&bench, A), 0, "nothing has been agreed yet");
    bench.join(pcmu(1), pcmu(2));
    for n in 0..5 {
        secs(&mut bench, 59);
        match n % 2 {
            0 => say(&mut bench, a, A, n),
            _ => bench.datagram(
                SocketId(a.0 + 1),
                far(A).to_string().replace("20010", "20011").parse().unwrap(),
                &[0x80, 201, 0, 1, 0, 0, 0, 9],
            ),
        }
    }
    assert_eq!((timeouts(&bench, A), timeouts(&bench, B)), (0, 1), "RTP or RTCP is enough");
    // What is not believed does not count.
    secs(&mut bench, 30);
    bench.datagram(a, addr("203.0.113.5:5"), &rtp(0, false, 1, 0, 9, &[0; 160]));
    secs(&mut bench, 31);
    assert_eq!(timeouts(&bench, A), 1);
    secs(&mut bench, 300);
    assert_eq!((timeouts(&bench, A), timeouts(&bench, B)), (1, 1), "told once");
    // On hold, either way, there is more patience; and each change starts the clock anew.
    for (rx, tx) in [(false, true), (true, false), (false, false)] {
        bench.sink.events.clear();
        bench.set_path(A, LegPlan { rx, tx, ..pcmu(1) }, Source::Music);
        secs(&mut bench, 590);
        assert_eq!(timeouts(&bench, A), 0);
        secs(&mut bench, 11);
        assert_eq!(timeouts(&bench, A), 1);
    }
    bench.sink.events.clear();
    bench.set_path(A, pcmu(1), Source::Music);
    secs(&mut bench, 61);
    assert_eq!(timeouts(&bench, A), 1);
}

#[test]
fn a_browser_that_sends_nothing_fails_by_the_same_clock() {
    let mut bench = Bench::with(|config| config.rtp_timeout = Some(Duration::from_secs(60)));
    let peer = bench.browser(A, addr("203.0.113.1:5"));
    bench.set_path(A, plan(Codec::Opus, 111, 1), Source::Nothing);
    for n in 0..61 {
        assert!(n >= 60 || !bench.sink.events.contains(&MediaEvent::Failed { leg: A, cause: LegFailure::RtpTimeout }));
        bench.check(&peer, peer.addr, true);
        bench.advance(Duration::from_secs(1));
        bench.sink.clear();
    }
    assert!(bench.sink.events.contains(&MediaEvent::Failed { leg: A, cause: LegFailure::RtpTimeout }));
}

#[test]
fn timeouts_of_none_are_never() {
    let (mut bench, _) = three_phones();
    bench.join(pcmu(1), pcmu(2));
    for _ in 0..4_000 {
        bench.advance(Duration::from_secs(1));
        bench.sink.clear();
    }
    assert!(!bench.sink.events.iter().any(|event| matches!(event, MediaEvent::Failed { .. })));
}

const SOURCES: [Source; 7] =
    [Source::Leg(B), Source::Leg(C), Source::Nothing, Source::Music, Source::Ringback, Source::Tone { hz: 440 }, Source::Itself];

proptest! {
    #![proptest_config(cases(64))]

    /// A changes what it hears, keys are pressed toward it, codecs change: its far side sees one source whose sequence numbers
    /// have no gap, whose timestamps never go back or stand for audio, and never run ahead of time by more than the changes.
    #[test]
    fn whatever_a_leg_hears_its_far_side_hears_one_stream(
        steps in proptest::collection::vec((0usize..7, 0u8..8, 0u8..6, 0u64..20, prop::sample::select(vec![3u32, 20, 20, 27])), 2..24), first in any::<u16>(), opus in any::<bool>(),
    ) {
        let (mut bench, [a, b, c]) = three_phones();
        let plan_a = if opus { plan(Codec::Opus, 111, 1) } else { pcmu(1) };
        let ticks_ms = plan_a.codec.clock_hz() / 1_000;
        bench.set_path(B, pcmu(2), Source::Nothing);
        bench.set_path(C, plan(Codec::Opus, 111, 3), Source::Nothing);
        let mut encoder = OpusEncoder::new().unwrap();
        let mut opus_frame = [0; 400];
        let len = encoder.encode(&sine(440.0, 0, 160), &mut opus_frame).unwrap();
        let (mut n, mut last, mut changes, mut start) = (0u16, None::<(u16, u32)>, 0u32, None::<(std::time::Instant, u32)>);
        let mut hurried_ms = 0;
        for (source, frames, other, offset, pace_ms) in steps {
            bench.set_path(A, plan_a, SOURCES[source]);
            changes += 1;
            match other {
                0 => {
                    bench.command(MediaCommand::Dtmf { leg: A, event: 5, duration_ms: 60 });
                    changes += 2;
                }
                1 => bench.set_path(B, plan(Codec::Pcma, 0, 2), Source::Nothing),
                2 => bench.set_path(B, pcmu(2), Source::Nothing),
                3 => bench.set_path(A, LegPlan { dtmf_tx: DtmfWay::Tones, ..plan_a }, SOURCES[source]),
                _ => {}
            }
            bench.advance(Duration::from_millis(offset));
            for _ in 0..frames {
                let seq = first.wrapping_add(n);
                let (ts, opus_ts) = (u32::from(n) * 160, u32::from(n) * 960);
                bench.datagram(b, far(B), &rtp(0, false, seq, ts, 8, &[0x55; 160]));
                bench.datagram(c, far(C), &rtp(111, false, seq, opus_ts, 9, &opus_frame[..len]));
                let own = if opus { rtp(111, false, seq, opus_ts, 7, &opus_frame[..len]) } else { rtp(0, false, seq, ts, 7, &[0x66; 160]) };
                bench.datagram(a, far(A), &own);
                n += 1;
                bench.advance(Duration::from_millis(pace_ms.into()));
                // Who sends faster than time goes makes it so.
                hurried_ms += 20u32.saturating_sub(pace_ms);
                for packet in taken(&mut bench, A) {
                    let (pt, seq, ts, ssrc) = fields(&packet);
                    prop_assert_eq!(ssrc, 1);
                    if let Some((last_seq, last_ts)) = last {
                        prop_assert_eq!(seq.wrapping_sub(last_seq), 1);
                        let ahead = ts.wrapping_sub(last_ts);
                        prop_assert!(ahead < 20_000 * ticks_ms, "{} after {}", ts, last_ts);
                        prop_assert!(pt == 101 || ahead > 0, "time stands");
                    }
                    let (started, first_ts) = *start.get_or_insert((bench.now.mono, ts));
                    let passed_ms = bench.now.mono.saturating_duration_since(started).as_millis() as u32;
                    prop_assert!(ts.wrapping_sub(first_ts) / ticks_ms <= passed_ms + hurried_ms + 40 + 40 * changes, "it runs ahead");
                    last = Some((seq, ts));
                }
                bench.sink.clear();
            }
        }
    }
}
