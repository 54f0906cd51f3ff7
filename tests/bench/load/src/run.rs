//! The run: every endpoint sends its frames on time, whatever comes back; what comes back is read in the same turns.

use std::ops::Range;

use crate::endpoint::{Endpoint, Meter, Others, Tally, receive};
use crate::hist::Histogram;
use crate::net_sys::{BATCH, Batch, now_ns, sleep_until, thread_cpu_ns};
use crate::pace::{FRAME_NS, Pace};
use crate::process;
use crate::report::Interval;
use crate::spec::{Codec, Spec};
use crate::watch::Watch;

/// Frames are sent on this grid.
const TICK_NS: i64 = 250_000;
/// A socket is read each so many frames, whatever it has: the kernel's stamp says when it came. To be told by epoll took a sixth more of
/// our core.
const READ_FRAMES: i64 = 8;
/// Frames sent in one go before anything is read.
const BURST: usize = 64;
/// A browser asks for consent this often (RFC 7675: up to 5 s; WebRTC 2.5 s).
const CONSENT_NS: i64 = 2_500_000_000;
/// A gateway has carried by then what was sent at our turn's end.
const CARRIED_NS: i64 = 5_000_000;
/// What is still under way when the last frame was sent.
const DRAIN_NS: i64 = 400_000_000;
/// The window closes before the end, so that its last frames can arrive while others are sent.
const TAIL_NS: i64 = 500_000_000;

/// What the processes under load have taken, and we, and in how much time of ours.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    ours_ns: i64,
    own_ns: i64,
    pub(crate) cpu_ns: u64,
    pub(crate) sleeps: u64,
    pub(crate) stolen_ms: u64,
    pub(crate) stood_ms: f64,
}

impl Counts {
    fn take(ours_ns: i64, pids: &[u32], watch: &Watch) -> Self {
        let (own_ns, stood_ms) = (thread_cpu_ns(), watch.stood_ms());
        let (cpu_ns, sleeps, stolen_ms) = (process::cpu_ns(pids), process::sleeps(pids), process::stolen_ms());
        Self { ours_ns, own_ns, cpu_ns, sleeps, stolen_ms, stood_ms }
    }

    fn add(&mut self, since: Self, now: Self) {
        self.ours_ns += now.ours_ns - since.ours_ns;
        self.own_ns += now.own_ns - since.own_ns;
        self.cpu_ns += now.cpu_ns - since.cpu_ns;
        self.sleeps += now.sleeps.saturating_sub(since.sleeps);
        self.stolen_ms += now.stolen_ms.saturating_sub(since.stolen_ms);
        self.stood_ms += now.stood_ms - since.stood_ms;
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.ours_ns as f64 / 1e9
    }

    pub(crate) fn own_cores(&self) -> f64 {
        self.own_ns as f64 / 1e9 / self.seconds()
    }
}

/// All that was measured.
pub(crate) struct Outcome {
    /// By [`direction`].
    pub(crate) tallies: Vec<Tally>,
    pub(crate) others: Others,
    /// In the window, while it was our turn.
    pub(crate) taken: Counts,
    pub(crate) late: Histogram,
    pub(crate) rss_kb: u64,
    pub(crate) pss_kb: u64,
}

/// Calls are counted together by what is sent and what arrives: one tally a pair of codecs.
pub(crate) fn direction(sent: Codec, arrives: Codec) -> usize {
    sent as usize * Codec::ALL.len() + arrives as usize
}

struct Run<'a> {
    endpoints: &'a mut [Endpoint],
    batch: Batch,
    window: Range<i64>,
    tallies: Vec<Tally>,
    others: Others,
    scratch: Vec<u8>,
}

/// Carries it out.
pub(crate) fn run(spec: &Spec, endpoints: &mut [Endpoint], pids: &[u32], watch: &Watch) -> Outcome {
    let (count, turns) = (endpoints.len(), spec.turns);
    // All that is due is so by our own time, which stands still while others have their turn.
    let start = turns.ours_ns(now_ns()) + FRAME_NS;
    let after = |seconds: f64| start + (seconds * 1e9) as i64;
    let (stop, ours) = (after(spec.duration_s), after(spec.warmup_s)..after(spec.duration_s) - TAIL_NS);
    let window = turns.when_ns(ours.start)..turns.when_ns(ours.end);
    let (mut pace, mut late) = (Pace::new(start, count), Histogram::default());
    let mut run = Run {
        endpoints,
        batch: Batch::new(),
        window: window.clone(),
        tallies: vec![Tally::default(); Codec::ALL.len().pow(2)],
        others: Others::default(),
        scratch: Vec::with_capacity(2_048),
    };
    // Since when it is our turn in the window, while it is.
    let (mut taken, mut since) = (Counts::default(), None);
    let (mut reads, mut consents) = (Pace::new(0, count), Pace::new(0, count));
    let mut intervals = Interval::every(spec.interval_s, window.start);
    loop {
        let at = now_ns();
        let (now, next) = (turns.ours_ns(at), turns.next_ns(at));
        if now >= stop {
            break;
        }
        let counts = next.is_none() && ours.contains(&now);
        if counts && since.is_none() {
            since = Some(Counts::take(now, pids, watch));
        } else if !counts && let Some(since) = since.take() {
            if next.is_some() {
                sleep_until(at + CARRIED_NS);
            }
            taken.add(since, Counts::take(now, pids, watch));
        }
        if let Some(next) = next {
            sleep_until(next);
            continue;
        }
        if let Some(interval) = &mut intervals {
            interval.tell(at, &run.tallies, pids, watch.stood_ms());
        }
        let mut sent = 0;
        while sent < BURST {
            let now = now_ns();
            let Some((at, frame, due)) = pace.next_due(turns.ours_ns(now)) else { break };
            let in_window = window.contains(&now);
            if in_window {
                late.add((turns.ours_ns(now) - due).unsigned_abs());
            }
            run.transmit(at, frame, now, in_window);
            sent += 1;
        }
        // The same turns, each as long as the time between two reads, or two checks.
        while let Some((at, _, _)) = reads.next_due((now - start) / READ_FRAMES) {
            run.read(at);
        }
        while let Some((at, _, _)) = consents.next_due((now - start) / (CONSENT_NS / FRAME_NS)) {
            run.ask_consent(at);
        }
        if sent < BURST {
            sleep_until((at / TICK_NS + 1) * TICK_NS);
        }
    }
    if let Some(since) = since {
        taken.add(since, Counts::take(turns.ours_ns(now_ns()), pids, watch));
    }
    let drained = now_ns() + DRAIN_NS;
    while now_ns() < drained {
        (0..count).for_each(|at| run.read(at));
        sleep_until(now_ns() + FRAME_NS);
    }
    Outcome {
        tallies: run.tallies,
        others: run.others,
        taken,
        late,
        rss_kb: process::rss_kb(pids),
        pss_kb: process::pss_kb(pids),
    }
}

impl Run<'_> {
    fn transmit(&mut self, at: usize, frame: u32, now: i64, in_window: bool) {
        let endpoint = &mut self.endpoints[at];
        let Some(heard_as) = endpoint.heard_as.filter(|_| endpoint.is_ready()) else { return };
        let Some(sent) = endpoint.transmit(at, frame, now, &mut self.scratch) else { return };
        self.tallies[direction(endpoint.codec, heard_as)].sent += u64::from(sent.is_speech && in_window);
        self.others.refused += u64::from(!sent.is_taken);
    }

    fn ask_consent(&mut self, at: usize) {
        let endpoint = &mut self.endpoints[at];
        if let Some(Ok(check)) = endpoint.ice.as_mut().map(crate::ice::Ice::check) {
            endpoint.socket.send(&check);
        }
    }

    /// Reads what one endpoint has.
    fn read(&mut self, at: usize) {
        for one in 0..self.batch.recv(&self.endpoints[at].socket, BATCH) {
            let received = self.batch.received(one);
            let stamp = if received.stamp_ns == 0 { now_ns() } else { received.stamp_ns };
            let endpoint = &mut self.endpoints[at];
            match received.data {
                [0..=1, ..] => {
                    if let Some(answer) = endpoint.ice.as_mut().and_then(|ice| ice.handle(received.data, received.from)) {
                        endpoint.socket.send(&answer);
                    }
                }
                [128..=191, second, ..] if (64..96).contains(&(second & 0x7f)) => self.others.rtcp += 1,
                [128..=191, _, ..] => {
                    let opened;
                    let packet = match &mut endpoint.srtp {
                        None => received.data,
                        Some(srtp) => match srtp.rx.decrypt_rtp(received.data) {
                            Ok(plain) => {
                                opened = plain;
                                &opened
                            }
                            Err(_) => {
                                self.others.auth_failed += 1;
                                continue;
                            }
                        },
                    };
                    let Some(peer) = endpoint.peer.filter(|peer| *peer != at) else { continue };
                    let [here, there] = self.endpoints.get_disjoint_mut([at, peer]).expect("two endpoints, both there");
                    let tally = &mut self.tallies[direction(there.codec, here.codec)];
                    let meter = Meter { window: &self.window, tally, others: &mut self.others };
                    receive(here, there, peer, packet, stamp, meter);
                }
                _ => self.others.other += 1,
            }
        }
    }
}
