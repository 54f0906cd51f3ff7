//! What a leg is sent is one stream, whatever happens before it: packets lost, late, twice; far sides that begin anew; another
//! codec in mid-call, hold, another party to be heard, keys pressed in between. Generated calls, in virtual time.

#[path = "support/audio.rs"]
mod audio;
#[path = "support/chance.rs"]
mod chance;
#[path = "support/media_peer.rs"]
mod media_peer;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use audio::{fields, rtp, sine};
use chance::cases;
use media_peer::{A, B, Bench, Peer, addr, plan};
use proptest::prelude::*;
use ringway::media::SocketId;
use ringway::media::codec::{OpusEncoder, encode_alaw, encode_ulaw};
use ringway::media::stats::Drop;
use ringway::plan::*;
use ringway::wire::rtp::{seq_diff, ts_diff};

/// The leg that listens; [`A`] and [`B`] speak, half a frame apart.
const LISTENER: LegId = LegId(3);
const LISTENER_ADDR: &str = "198.51.100.3:20000";
const TX_SSRC: u32 = 77;

const FRAME_MS: i64 = 20;
/// The payload type of telephone events.
const KEYS: u8 = 101;

const CODECS: [Codec; 3] = [Codec::Opus, Codec::Pcmu, Codec::Pcma];

/// The latest that a packet is, in frames.
const MAX_DELAY: usize = 3;

fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 111,
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
    }
}

fn plan_of(codec: Codec, ssrc: u32) -> LegPlan {
    plan(codec, payload_type(codec), ssrc)
}

/// A second of a tone as each codec has it.
fn frame(codec: Codec, n: usize) -> &'static [u8] {
    static FRAMES: OnceLock<[Vec<Vec<u8>>; 3]> = OnceLock::new();
    let all = FRAMES.get_or_init(|| {
        let pcm = |n: usize| sine(440.0, n * 160, 160);
        let mut encoder = OpusEncoder::new().unwrap();
        let opus = |n| {
            let mut payload = [0; 400];
            let len = encoder.encode(&pcm(n), &mut payload).unwrap();
            payload[..len].to_vec()
        };
        [
            (0..50).map(opus).collect(),
            (0..50).map(|n| pcm(n).into_iter().map(encode_ulaw).collect()).collect(),
            (0..50).map(|n| pcm(n).into_iter().map(encode_alaw).collect()).collect(),
        ]
    });
    let at = CODECS.iter().position(|other| *other == codec).unwrap();
    &all[at][n % 50]
}

/// What the network does to a packet.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    Lost,
    /// By so many frames, behind what is not.
    Late(usize),
    Twice,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// The listener agrees to another codec.
    Listener(Codec),
    /// A speaker does.
    Speaker(usize, Codec),
    /// A speaker begins anew: another source, its numbers anywhere.
    Restart(usize, u16, u32),
    /// A speaker sets its clock anew, so many ticks ahead. Only while it is transcoded: what is rewritten keeps the far side's
    /// distances.
    Clock(usize, u32),
    /// Whether the listener is on hold.
    Hold(bool),
    /// Whether a speaker may speak.
    Mute(usize, bool),
    Hear(Heard),
    /// A key toward the listener, for so many milliseconds.
    Key(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Speaker(usize),
    Music,
    Nothing,
}

type Step = ([Fate; 2], Option<Event>);

/// How far ahead a clock is set, in ticks: far more than a second, which a silence that was not sent may be ahead of its time.
fn clocks_set_anew() -> impl Strategy<Value = u32> {
    const FAR: u32 = 48_000 * 3 / 2;
    prop_oneof![FAR..FAR * 20, FAR..u32::MAX]
}

fn events() -> impl Strategy<Value = Event> {
    let codec = || prop::sample::select(CODECS.to_vec());
    let speaker = 0..2usize;
    prop_oneof![
        2 => codec().prop_map(Event::Listener),
        2 => (speaker.clone(), codec()).prop_map(|(who, codec)| Event::Speaker(who, codec)),
        2 => (speaker.clone(), any::<u16>(), any::<u32>()).prop_map(|(who, seq, ts)| Event::Restart(who, seq, ts)),
        1 => (speaker.clone(), clocks_set_anew()).prop_map(|(who, ahead)| Event::Clock(who, ahead)),
        1 => any::<bool>().prop_map(Event::Hold),
        1 => (speaker.clone(), any::<bool>()).prop_map(|(who, on)| Event::Mute(who, on)),
        2 => prop_oneof![
            4 => speaker.prop_map(Heard::Speaker),
            1 => Just(Heard::Music),
            1 => Just(Heard::Nothing),
        ].prop_map(Event::Hear),
        2 => (40..200u32).prop_map(Event::Key),
    ]
}

fn fates(clean: bool) -> BoxedStrategy<Fate> {
    if clean {
        return prop_oneof![9 => Just(Fate::Arrives), 1 => Just(Fate::Twice)].boxed();
    }
    prop_oneof![
        7 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        1 => (1..=MAX_DELAY).prop_map(Fate::Late),
        1 => Just(Fate::Twice),
    ]
    .boxed()
}

fn steps(clean: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = ([fates(clean), fates(clean)], prop::option::weighted(0.15, events()));
    proptest::collection::vec(step, 10..250)
}

struct Speaker {
    leg: LegId,
    socket: SocketId,
    remote: SocketAddr,
    codec: Codec,
    may_speak: bool,
    ssrc: u32,
    seq: u16,
    timestamp: u32,
    /// Packets on their way, and in which frame they arrive.
    on_the_way: Vec<(usize, Vec<u8>)>,
    /// The source that was heard last.
    last_ssrc: Option<u32>,
}

/// An RTP packet as the listener got it.
#[derive(Debug, Clone, Copy)]
struct Got {
    at_ms: i64,
    codec_hz: u32,
    is_key: bool,
    seq: u16,
    timestamp: u32,
}

struct Call {
    bench: Bench,
    speakers: [Speaker; 2],
    listener: Option<Peer>,
    codec: Codec,
    on_hold: bool,
    heard: Heard,
    now_ms: i64,
    got: Vec<Got>,
    /// Packets that the network took away or brought late: each may leave a gap.
    disturbed: usize,
    /// How often something else than before was to be sent on: each may cost a packet time.
    changes: i64,
    fed: u64,
}

impl Call {
    fn new(secure: bool) -> Self {
        let mut bench = Bench::default();
        let listener = secure.then(|| bench.browser(LISTENER, addr(LISTENER_ADDR)));
        if !secure {
            bench.phone(LISTENER, addr(LISTENER_ADDR));
        }
        let mut speaker = |leg: LegId, remote: &str| Speaker {
            leg,
            socket: bench.phone(leg, addr(remote)),
            remote: addr(remote),
            codec: Codec::Pcmu,
            may_speak: true,
            ssrc: leg.0 as u32 * 1_000,
            seq: 65_500,
            timestamp: u32::MAX - 5_000,
            on_the_way: Vec::new(),
            last_ssrc: None,
        };
        let speakers = [speaker(A, "198.51.100.1:20000"), speaker(B, "198.51.100.2:20000")];
        let mut call = Self {
            bench,
            speakers,
            listener,
            codec: Codec::Pcmu,
            on_hold: false,
            heard: Heard::Speaker(0),
            now_ms: 0,
            got: Vec::new(),
            disturbed: 0,
            changes: 0,
            fed: 0,
        };
        call.agree();
        call
    }

    /// Signalling says again how things stand.
    fn agree(&mut self) {
        for speaker in &self.speakers {
            let plan = LegPlan { rx: speaker.may_speak, ..plan_of(speaker.codec, speaker.leg.0 as u32) };
            self.bench.set_path(speaker.leg, plan, Source::Nothing);
        }
        let hears = match self.heard {
            Heard::Speaker(who) => Source::Leg(self.speakers[who].leg),
            Heard::Music => Source::Music,
            Heard::Nothing => Source::Nothing,
        };
        let plan = LegPlan { tx: !self.on_hold, ..plan_of(self.codec, TX_SSRC) };
        self.bench.set_path(LISTENER, plan, hears);
        self.changes += 1;
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Listener(codec) => self.codec = codec,
            Event::Speaker(who, codec) => self.speakers[who].codec = codec,
            Event::Restart(who, seq, timestamp) => {
                let speaker = &mut self.speakers[who];
                (speaker.ssrc, speaker.seq, speaker.timestamp) = (speaker.ssrc + 1, seq, timestamp);
            }
            Event::Clock(who, ahead) => {
                let speaker = &mut self.speakers[who];
                if speaker.codec != self.codec {
                    speaker.timestamp = speaker.timestamp.wrapping_add(ahead);
                }
            }
            Event::Hold(on) => self.on_hold = on,
            Event::Mute(who, on) => self.speakers[who].may_speak = !on,
            Event::Hear(heard) => self.heard = heard,
            Event::Key(duration_ms) => {
                self.bench.command(MediaCommand::Dtmf { leg: LISTENER, event: 5, duration_ms });
                self.changes += 1;
            }
        }
        self.agree();
    }

    /// A speaker says a frame, and what the network has ready of it arrives: the newest first.
    fn speak(&mut self, who: usize, n: usize, fate: Fate) {
        let speaker = &mut self.speakers[who];
        let Speaker { codec, seq, timestamp, ssrc, .. } = *speaker;
        let packet = rtp(payload_type(codec), false, seq, timestamp, ssrc, frame(codec, n));
        speaker.seq = seq.wrapping_add(1);
        speaker.timestamp = timestamp.wrapping_add(codec.clock_hz() / 50);
        match fate {
            Fate::Arrives => speaker.on_the_way.push((n, packet)),
            Fate::Lost => self.disturbed += 1,
            Fate::Late(by) => {
                speaker.on_the_way.push((n + by, packet));
                self.disturbed += 1;
            }
            Fate::Twice => speaker.on_the_way.extend([(n, packet.clone()), (n, packet)]),
        }
        let all = std::mem::take(&mut speaker.on_the_way);
        let (due, later) = all.into_iter().partition(|(at, _)| *at <= n);
        speaker.on_the_way = later;
        for (_, packet) in Vec::into_iter(due).rev() {
            let ssrc = fields(&packet).3;
            if self.speakers[who].last_ssrc.replace(ssrc) != Some(ssrc) {
                self.changes += 1;
            }
            let Speaker { socket, remote, .. } = self.speakers[who];
            self.bench.datagram(socket, remote, &packet);
            self.fed += 1;
            self.listen();
        }
    }

    fn advance(&mut self, ms: i64) {
        self.bench.advance(Duration::from_millis(ms.unsigned_abs()));
        self.now_ms += ms;
        self.listen();
    }

    fn listen(&mut self) {
        for (pair, packet) in self.bench.sink.take() {
            if pair.remote != addr(LISTENER_ADDR) || packet[0] < 128 || (192..224).contains(&packet[1]) {
                continue;
            }
            let packet = match &mut self.listener {
                Some(peer) => peer.unprotect(&packet),
                None => packet,
            };
            let (pt, seq, timestamp, ssrc) = fields(&packet);
            assert_eq!(ssrc, TX_SSRC, "one source");
            let is_key = pt == KEYS;
            assert!(is_key || pt == payload_type(self.codec), "of what was agreed: {pt}");
            assert!(!self.on_hold, "nothing on hold");
            self.got.push(Got { at_ms: self.now_ms, codec_hz: self.codec.clock_hz(), is_key, seq, timestamp });
        }
    }

    fn play(&mut self, steps: &[Step]) {
        for (n, ([of_a, of_b], event)) in steps.iter().enumerate() {
            if let Some(event) = event {
                self.happens(*event);
                self.listen();
            }
            self.speak(0, n, *of_a);
            self.advance(FRAME_MS / 2);
            self.speak(1, n, *of_b);
            self.advance(FRAME_MS / 2);
        }
    }

    /// No number was used twice, and none was left out that the network had not disturbed.
    fn numbers_are_one_row(&self) -> Result<(), TestCaseError> {
        let Some(first) = self.got.first().map(|got| got.seq) else { return Ok(()) };
        let mut seen = BTreeSet::new();
        for got in &self.got {
            prop_assert!(seen.insert(seq_diff(first, got.seq)), "{} twice", got.seq);
        }
        let span = usize::try_from(seen.last().unwrap() - seen.first().unwrap()).unwrap() + 1;
        let gaps = span - self.got.len();
        prop_assert!(gaps <= self.disturbed, "{gaps} gaps, {} packets disturbed", self.disturbed);
        Ok(())
    }

    /// In the order of their numbers, timestamps go forward with the time that passes.
    fn time_goes_on(&self) -> Result<(), TestCaseError> {
        let Some(first) = self.got.first().map(|got| got.seq) else { return Ok(()) };
        let mut in_order = self.got.clone();
        in_order.sort_by_key(|got| seq_diff(first, got.seq));
        // A packet may be late, a frame wait to be filled, and one is looked at up to half a frame after it was sent.
        let jitter = (MAX_DELAY as i64 + 1) * FRAME_MS + FRAME_MS + FRAME_MS / 2;
        let mut ahead = 0;
        for pair in in_order.windows(2) {
            let ticks = i64::from(ts_diff(pair[0].timestamp, pair[1].timestamp));
            let took = pair[1].at_ms - pair[0].at_ms;
            let off = ticks * 1_000 / i64::from(pair[1].codec_hz) - took;
            ahead += off;
            // All packets of a key have the time of its beginning (RFC 4733 section 2.3.1).
            if pair[1].is_key {
                prop_assert!(ticks >= 0, "time went back: {pair:?}");
                continue;
            }
            prop_assert!(ticks > 0, "time stood or went back: {pair:?}");
            prop_assert!(pair[0].is_key || off.abs() <= jitter + FRAME_MS, "{off} ms off: {pair:?}");
            let most = jitter + self.changes * FRAME_MS;
            prop_assert!(ahead.abs() <= most, "{ahead} ms ahead of the clock, {most} allowed: {pair:?}");
        }
        Ok(())
    }

    fn all_is_counted_out(&self) -> Result<(), TestCaseError> {
        let mut received = 0;
        for leg in [A, B, LISTENER] {
            let counters = self.bench.core.counters(leg).unwrap();
            prop_assert_eq!(counters.rx, counters.sent + counters.held + counters.dropped_total());
            prop_assert_eq!(counters.dropped_for(Drop::Protect), 0);
            received += counters.rx;
        }
        prop_assert_eq!(received, self.fed);
        prop_assert_eq!(self.bench.core.counters(LISTENER).unwrap().tx, self.got.len() as u64);
        prop_assert!(self.bench.core.totals().traffic.is_balanced());
        Ok(())
    }
}

/// What each found once is kept.
#[test]
fn what_was_found_stays_found() {
    use Fate::{Arrives, Late, Lost};
    let frame = |first: Fate, event: Option<Event>| ([first, Arrives], event);
    let quiet = || std::iter::repeat_n(frame(Arrives, None), 10);
    let found: [&[Step]; 4] = [
        // A clock that goes ahead of time is no silence.
        &[
            frame(Arrives, Some(Event::Listener(Codec::Pcma))),
            frame(Arrives, None),
            frame(Arrives, Some(Event::Clock(0, 72_000))),
        ],
        // What comes late from before a change of path does not say how the numbers of the new one lie.
        &[
            frame(Arrives, Some(Event::Listener(Codec::Opus))),
            frame(Late(2), None),
            frame(Arrives, Some(Event::Clock(0, 72_000))),
            frame(Lost, Some(Event::Listener(Codec::Pcmu))),
        ],
        // What was received while nobody was to hear it is not made up for as lost.
        &[
            frame(Arrives, Some(Event::Listener(Codec::Opus))),
            frame(Arrives, Some(Event::Mute(0, true))),
            frame(Arrives, None),
            frame(Arrives, None),
            frame(Lost, None),
            frame(Late(3), None),
            frame(Lost, None),
            frame(Lost, Some(Event::Mute(0, false))),
            frame(Lost, None),
        ],
        // A key that is down while the codec changes goes on in the new codec's clock.
        &[
            frame(Arrives, None),
            frame(Arrives, Some(Event::Hold(true))),
            frame(Arrives, None),
            frame(Arrives, None),
            frame(Arrives, Some(Event::Listener(Codec::Opus))),
            frame(Arrives, None),
            frame(Arrives, None),
            frame(Arrives, None),
            frame(Arrives, Some(Event::Key(41))),
            frame(Arrives, Some(Event::Listener(Codec::Pcmu))),
            frame(Arrives, Some(Event::Hold(false))),
        ],
    ];
    for steps in found {
        let mut call = Call::new(false);
        call.play(&steps.iter().copied().chain(quiet()).collect::<Vec<_>>());
        call.numbers_are_one_row().unwrap();
        call.time_goes_on().unwrap();
        call.all_is_counted_out().unwrap();
    }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn a_leg_is_sent_one_stream_whatever_happens_to_whom_it_hears(
        steps in any::<bool>().prop_flat_map(steps), secure in any::<bool>(),
    ) {
        let mut call = Call::new(secure);
        call.play(&steps);
        call.numbers_are_one_row()?;
        call.time_goes_on()?;
        call.all_is_counted_out()?;
    }

    /// Where every frame is made by us there is no gap at all, whatever was lost before it.
    #[test]
    fn a_leg_that_is_transcoded_for_is_sent_no_gap(
        steps in steps(false), secure in any::<bool>(), law in prop::sample::select(vec![Codec::Pcmu, Codec::Pcma]),
    ) {
        let mut call = Call::new(secure);
        call.happens(Event::Listener(Codec::Opus));
        let stays_transcoded = |event: &Event| match event {
            Event::Listener(_) => Event::Listener(Codec::Opus),
            Event::Speaker(who, _) => Event::Speaker(*who, law),
            other => *other,
        };
        let steps: Vec<Step> = steps.iter().map(|(fates, event)| (*fates, event.as_ref().map(stays_transcoded))).collect();
        call.play(&steps);
        call.disturbed = 0;
        call.numbers_are_one_row()?;
        call.time_goes_on()?;
        call.all_is_counted_out()?;
    }
}
