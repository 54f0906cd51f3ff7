use std::time::{Duration, Instant};

use super::rewrite::TxSource;
use super::stats::{RxSource, ticks};
use crate::base::Now;
use crate::wire::rtp::{CompoundWriter, Report, ReportBlock, RtcpError, SenderInfo, parse_compound};

/// RFC 3550 section 6.2: five seconds, times a half to one and a half by chance.
const INTERVAL_MS: u64 = 5_000;

/// Seconds from 1900 to 1970.
const NTP_EPOCH_SECS: u64 = 2_208_988_800;

/// From so much on, in 256ths (3 %), a loss is heard through what conceals it in G.711.
const LOSSY_X256: u8 = 8;
/// In so many reports of ours in a row it is no accident (15 s on the average).
const LOSSY_REPORTS: u8 = 3;

/// RTCP of one leg: when the next report is due, and what the far side's last ones said.
#[derive(Debug, Default)]
pub(super) struct Reports {
    due: Option<Instant>,
    /// Where the chance in their times comes from.
    chance: u32,
    /// One has been written.
    written: bool,
    /// Middle bits of the far side's last SR, and when it came.
    last_sr: Option<(u32, Instant)>,
    /// RTP packets that had been sent at the last report of ours.
    packets_then: u64,
    /// What it said it lost of ours, cumulative.
    pub(super) remote_lost: u32,
    /// The share that it said it loses, in 1/256: as soon as it grows, and by a quarter of the difference as it shrinks.
    loss_x256: u8,
    /// The share that it said last that it loses, in 1/256.
    told_x256: u8,
    /// Reports of ours in a row at which either direction lost as much as [`LOSSY_X256`].
    lossy: u8,
    /// That has been told.
    lossy_told: bool,
    /// Round trip in microseconds; 0 when unknown.
    pub(super) rtt_us: u32,
}

/// What a report is about.
#[derive(Debug)]
pub(super) struct Streams<'a> {
    /// What the far side sends.
    pub(super) rx: &'a mut RxSource,
    /// What we send.
    pub(super) tx: &'a TxSource,
    /// The clock of both, in Hertz.
    pub(super) clock_hz: u32,
    /// Our name (RFC 3550 section 6.5.1).
    pub(super) cname: &'a [u8],
}

fn ntp(now: Now) -> u64 {
    let fraction = (u64::from(now.unix.subsec_nanos()) << 32) / 1_000_000_000;
    (now.unix.as_secs() + NTP_EPOCH_SECS) << 32 | fraction
}

fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

impl Reports {
    /// Reports whose times follow from `chance`.
    #[must_use]
    pub(super) fn new(chance: u32) -> Self {
        Self { chance, ..Self::default() }
    }

    /// When the next report is due.
    #[must_use]
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether there has been one.
    #[must_use]
    pub(super) fn sent(&self) -> bool {
        self.written
    }

    /// Sets the time of the next report.
    pub(super) fn schedule(&mut self, now: Instant) {
        // A step of a linear congruential generator: reports shall not come in step, and nothing hangs on their being guessed.
        self.chance = self.chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let chance = (u64::from(self.chance) * INTERVAL_MS) >> 32;
        self.due = Some(now + Duration::from_millis(INTERVAL_MS / 2 + chance));
    }

    /// Starts the clock, if it does not run yet.
    pub(super) fn start(&mut self, now: Instant) {
        if self.due.is_none() {
            self.schedule(now);
        }
    }

    /// Writes a compound: SR if RTP was sent since the last one (RFC 3550 section 6.4), else RR, then the CNAME, and BYE
    /// with `bye`; answers its length.
    pub(super) fn write(&mut self, now: Now, streams: Streams<'_>, bye: bool, buf: &mut [u8]) -> usize {
        let Streams { rx, tx, clock_hz, cname } = streams;
        self.written = true;
        let ntp = ntp(now);
        let info = (tx.packets > self.packets_then).then(|| SenderInfo {
            ntp,
            rtp_ticks: tx.ts_at(now.mono, clock_hz),
            packets: tx.packets as u32,
            octets: tx.octets as u32,
        });
        self.packets_then = tx.packets;
        let block = rx.ssrc().map(|ssrc| {
            let (fraction_lost, cumulative_lost, highest_seq) = rx.report();
            let (last_sr, at) = self.last_sr.map_or((0, now.mono), |(sr, at)| (sr, at));
            self.lossy = if fraction_lost.max(self.told_x256) < LOSSY_X256 { 0 } else { self.lossy.saturating_add(1) };
            let delay = ticks(now.mono.saturating_duration_since(at), 65_536);
            ReportBlock {
                ssrc,
                fraction_lost,
                cumulative_lost,
                highest_seq,
                jitter_ticks: rx.jitter_ticks(),
                last_sr,
                delay_since_last_sr: u32::try_from(delay).unwrap_or(u32::MAX),
            }
        });
        let mut writer = CompoundWriter::new(buf);
        writer.report(tx.ssrc, info, block.as_slice());
        writer.cname(tx.ssrc, cname);
        if bye {
            writer.bye(tx.ssrc);
        }
        writer.len()
    }

    /// Reads a compound of the far side: `ours` is our source, `theirs` the one that we hear.
    ///
    /// # Errors
    /// Names what is wrong with it; what came before stands.
    pub(super) fn read(&mut self, now: Now, compound: &[u8], ours: Option<u32>, theirs: Option<u32>) -> Result<(), RtcpError> {
        parse_compound(compound, |report| match report {
            Report::Sender { ssrc, info } if theirs.is_none_or(|theirs| theirs == ssrc) => {
                self.last_sr = Some((middle(info.ntp), now.mono));
            }
            Report::Block { block, .. } if Some(block.ssrc) == ours => {
                self.told_x256 = block.fraction_lost;
                self.remote_lost = u32::try_from(block.cumulative_lost).unwrap_or(0);
                self.loss_x256 =
                    block.fraction_lost.max(self.loss_x256 - self.loss_x256.saturating_sub(block.fraction_lost).div_ceil(4));
                if block.last_sr != 0 {
                    self.on_echo(now, block.last_sr, block.delay_since_last_sr);
                }
            }
            Report::Sender { .. }
            | Report::Block { .. }
            | Report::Receiver { .. }
            | Report::Cname { .. }
            | Report::Bye { .. } => {}
        })
    }

    /// The loss on the way to the far side that is to be reckoned with, in percent.
    #[must_use]
    pub(super) fn expected_loss_percent(&self) -> u8 {
        (u32::from(self.loss_x256) * 100).div_ceil(256).min(100) as u8
    }

    /// Whether loss has lasted, either way, for the first time.
    pub(super) fn is_newly_lossy(&mut self) -> bool {
        self.lossy >= LOSSY_REPORTS && !std::mem::replace(&mut self.lossy_told, true)
    }

    /// Another codec: what its packets lose is told of anew.
    pub(super) fn forget_loss(&mut self) {
        (self.told_x256, self.lossy, self.lossy_told) = (0, 0, false);
    }

    /// RFC 3550 section 6.4.1: round trip = now - LSR - DLSR. A negative one is a far side that counts wrong.
    fn on_echo(&mut self, now: Now, last_sr: u32, delay: u32) {
        let trip = middle(ntp(now)).wrapping_sub(last_sr).wrapping_sub(delay);
        if trip < 60 << 16 {
            self.rtt_us = ((u64::from(trip) * 1_000_000) >> 16) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ends_learn_loss_and_round_trip_from_each_other() {
        #[allow(clippy::disallowed_methods)]
        let now = Now { mono: Instant::now(), unix: Duration::from_secs(1_700_000_000) };
        let (mut a, mut b) = (Reports::default(), Reports::default());
        let (mut a_tx, b_tx) = (TxSource::new(1, 0), TxSource::new(2, 0));
        let (mut a_rx, mut b_rx) = (RxSource::default(), RxSource::default());
        for seq in [0u16, 1, 2, 5] {
            a_tx.sent(now.mono, u32::from(seq) * 160, 160);
            b_rx.place(1, seq).unwrap();
        }
        let mut buf = [0; 256];
        let len = a.write(now, Streams { rx: &mut a_rx, tx: &a_tx, clock_hz: 8_000, cname: b"a" }, false, &mut buf);
        let heard = now.after(Duration::from_millis(40));
        b.read(heard, &buf[..len], Some(2), Some(1)).unwrap();
        let answered = heard.after(Duration::from_millis(500));
        let len = b.write(answered, Streams { rx: &mut b_rx, tx: &b_tx, clock_hz: 8_000, cname: b"b" }, true, &mut buf);
        a.read(answered.after(Duration::from_millis(40)), &buf[..len], Some(1), Some(2)).unwrap();
        assert_eq!(a.remote_lost, 2);
        // Two of six.
        assert_eq!(a.expected_loss_percent(), 34);
        assert!((79_000..=81_000).contains(&a.rtt_us), "{}", a.rtt_us);
    }

    #[test]
    fn loss_is_expected_as_soon_as_it_is_told_of_and_forgotten_slowly() {
        let mut reports = Reports::default();
        let mut told = |fraction_lost| {
            let mut buf = [0; 64];
            let mut writer = CompoundWriter::new(&mut buf);
            let block = ReportBlock {
                ssrc: 1,
                fraction_lost,
                cumulative_lost: 0,
                highest_seq: 0,
                jitter_ticks: 0,
                last_sr: 0,
                delay_since_last_sr: 0,
            };
            writer.report(2, None, &[block]);
            let len = writer.len();
            #[allow(clippy::disallowed_methods)]
            let now = Now { mono: Instant::now(), unix: Duration::ZERO };
            reports.read(now, &buf[..len], Some(1), None).unwrap();
            reports.expected_loss_percent()
        };
        assert_eq!([0, 26, 0, 0].map(&mut told), [0, 11, 8, 6]);
        (0..40).for_each(|_| _ = told(0));
        assert_eq!(told(0), 0);
    }

    /// What a far side that reports `told` (in 256ths) and whose every `nth` packet is lost comes to, report by report.
    fn lossy_at(reports: &mut Reports, told: u8, nth: u16, times: usize) -> Vec<bool> {
        #[allow(clippy::disallowed_methods)]
        let now = Now { mono: Instant::now(), unix: Duration::ZERO };
        let (mut rx, tx) = (RxSource::default(), TxSource::new(1, 0));
        let (mut seq, mut buf) = (0u16, [0; 256]);
        let mut report = || {
            let mut writer = CompoundWriter::new(&mut buf);
            let (cumulative_lost, highest_seq, jitter_ticks, last_sr, delay_since_last_sr) = (0, 0, 0, 0, 0);
            let block = ReportBlock {
                ssrc: 1,
                fraction_lost: told,
                cumulative_lost,
                highest_seq,
                jitter_ticks,
                last_sr,
                delay_since_last_sr,
            };
            writer.report(2, None, &[block]);
            let len = writer.len();
            reports.read(now, &buf[..len], Some(1), None).unwrap();
            for _ in 0..250 {
                seq = seq.wrapping_add(1);
                if nth == 0 || seq % nth != 1 {
                    _ = rx.place(2, seq);
                }
            }
            reports.write(now, Streams { rx: &mut rx, tx: &tx, clock_hz: 8_000, cname: b"x" }, false, &mut buf);
            reports.is_newly_lossy()
        };
        (0..times).map(|_| report()).collect()
    }

    #[test]
    fn a_loss_that_lasts_is_told_once_whichever_way_it_goes() {
        for (told, nth) in [(8, 0), (0, 25), (200, 2)] {
            let mut reports = Reports::default();
            assert_eq!(lossy_at(&mut reports, told, nth, 5), [false, false, true, false, false], "{told}/256, every {nth}th");
            reports.forget_loss();
            assert_eq!(lossy_at(&mut reports, told, nth, 3), [false, false, true], "of another codec");
        }
    }

    #[test]
    fn a_loss_that_is_small_or_passes_is_not_told() {
        let mut reports = Reports::default();
        assert!(!lossy_at(&mut reports, 7, 40, 20).contains(&true), "2.7 % and 2.5 %");
        for _ in 0..5 {
            assert!(!lossy_at(&mut reports, 100, 0, 2).contains(&true));
            assert!(!lossy_at(&mut reports, 0, 0, 1).contains(&true));
        }
    }
}
