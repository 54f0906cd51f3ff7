use std::sync::Arc;
use std::time::Instant;

use super::browser::Browser;
use super::buffer::Slot;
use super::classic::{Belief, Classic};
use super::codec::Encoder;
use super::reports::{Reports, Streams};
use super::rewrite::TxSource;
use super::routes::Address;
use super::silence::{Patience, Silence};
use super::srtp::SrtpError;
use super::stats::{Counters, Drop, RxSource};
use super::voice::{Said, Tick, Voice};
use super::{Pair, PortPair, Sink, WorkerId};
use crate::base::{Now, Rng};
use crate::plan::{DtmfWay, LegId, LegPlan, LegStats, Source};
use crate::wire::rtp::{FIXED_HEADER_LEN, RtpHeader, write_header};

/// Letters of a name in reports: 98 bits, where RFC 7022 section 5 asks for 96.
const CNAME_LEN: usize = 21;

/// How a leg's packets travel.
#[derive(Debug)]
pub(super) enum Transport {
    /// In the clear, on ports of its own or shared ones.
    Classic(Classic),
    /// As SRTP, on the shared port.
    Browser(Box<Browser>),
}

/// Our end of one leg: how its packets travel, what was agreed, what came and went.
#[derive(Debug)]
pub(super) struct Leg {
    /// Its name between the halves.
    pub(super) id: LegId,
    /// How its packets travel.
    pub(super) transport: Transport,
    /// What was agreed; none before SetPath.
    pub(super) plan: Option<LegPlan>,
    /// What the far side sends.
    pub(super) rx: RxSource,
    /// What we send.
    pub(super) tx: TxSource,
    /// RTP packets in and out.
    pub(super) counters: Counters,
    /// What is played to the far side by us.
    pub(super) voice: Voice,
    /// Encodes for the far side, whether what it hears is another leg's or our own; there while either may need it.
    pub(super) encoder: Option<Encoder>,
    /// What it hears of another leg is encoded anew.
    hears_transcoded: bool,
    /// The watch over a far side that says nothing.
    pub(super) silence: Silence,
    reports: Reports,
    /// Connected has been told.
    connected: bool,
    /// Our name in reports.
    cname: [u8; CNAME_LEN],
    /// Where our source's numbers start once its SSRC is known.
    tx_random: u64,
}

/// A believed packet.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Its header, in the clear.
    pub(super) header: RtpHeader,
    /// It is the first of a classic leg: Connected is due.
    pub(super) first: bool,
}

impl Leg {
    /// A leg with nothing agreed yet.
    #[must_use]
    pub(super) fn new(id: LegId, transport: Transport, patience: Patience, mut rng: Rng) -> Self {
        Self {
            id,
            transport,
            plan: None,
            rx: RxSource::default(),
            tx: TxSource::new(rng.next_u32(), rng.next_u64()),
            counters: Counters::default(),
            voice: Voice::default(),
            encoder: None,
            hears_transcoded: false,
            silence: Silence::new(patience),
            reports: Reports::new(rng.next_u32()),
            connected: false,
            cname: std::array::from_fn(|_| b'a' + (rng.next_u32() % 26) as u8),
            tx_random: rng.next_u64(),
        }
    }

    /// The worker on whose shared port it was opened.
    #[must_use]
    pub(super) fn home(&self) -> Option<WorkerId> {
        match &self.transport {
            Transport::Classic(classic) => classic.home,
            Transport::Browser(browser) => Some(browser.home),
        }
    }

    /// The ports that no other leg has.
    pub(super) fn own_ports(&mut self) -> Option<&mut PortPair> {
        match &mut self.transport {
            Transport::Classic(classic) => classic.own_ports(),
            Transport::Browser(_) => None,
        }
    }

    /// What its datagrams on a shared port are found by.
    #[must_use]
    pub(super) fn addresses(&self) -> Vec<Address> {
        match &self.transport {
            Transport::Classic(classic) => classic.announced().into_iter().map(Address::Announced).collect(),
            Transport::Browser(browser) => {
                let ufrags = browser.ice.ufrags().map(|ufrag| Address::Ufrag(ufrag.to_owned()));
                ufrags.chain(browser.ice.validated().map(Address::Pair)).collect()
            }
        }
    }

    /// What was agreed. Our source goes on, unless it is to be another.
    pub(super) fn set_plan(&mut self, now: Instant, plan: LegPlan) {
        if self.tx.ssrc != plan.tx_ssrc.0 {
            self.tx = TxSource::new(plan.tx_ssrc.0, self.tx_random);
            self.drop_encoder();
        }
        if self.plan != Some(plan) {
            self.silence.start(now, &plan);
        }
        if self.plan.is_some_and(|before| before.codec != plan.codec) {
            self.reports.forget_loss();
            self.drop_encoder();
        }
        self.tx.set_pace(u32::from(plan.ptime_ms) * (plan.codec.clock_hz() / 1_000));
        self.plan = Some(plan);
        self.reports.start(now);
    }

    /// What is played to the far side; another leg's packets are not.
    pub(super) fn set_source(&mut self, now: Instant, source: Source, music: &Arc<[i16]>) {
        let Some(plan) = self.plan else { return };
        if self.voice.set(now, &plan, source, music, self.tx.ts_next(now, plan.codec.clock_hz())) {
            self.drop_encoder();
        }
        self.equip();
    }

    /// Another flow brings it what it hears of another leg, encoded by its encoder or not.
    pub(super) fn hear(&mut self, transcoded: bool) {
        if self.hears_transcoded {
            self.drop_encoder();
        }
        self.hears_transcoded = transcoded;
        self.equip();
    }

    /// What comes next is another source's or another stream: what the encoder knows of a background is of the one before.
    fn drop_encoder(&mut self) {
        (self.encoder, self.hears_transcoded) = (None, false);
    }

    /// Makes an encoder ahead of the packet or the key that needs it. Without one, if its library refuses, nothing is heard.
    fn equip(&mut self) {
        match (self.hears_transcoded || self.voice.speaks(), &self.encoder) {
            (true, None) => self.encoder = self.plan.and_then(|plan| Encoder::new(plan.codec).ok()),
            (false, Some(_)) => self.encoder = None,
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Believes or refuses a packet, and decrypts it in place.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) fn accept(&mut self, now: Instant, pair: Pair, slot: &mut Slot) -> Result<Accepted, Drop> {
        match &mut self.transport {
            Transport::Classic(classic) => {
                let belief = classic.believes(pair.remote);
                if belief == Belief::Foreign {
                    return Err(Drop::ForeignSource);
                }
                let header = RtpHeader::parse(slot.data()).map_err(|_| Drop::Malformed)?;
                if belief == Belief::Candidate {
                    let plan = self.plan.ok_or(Drop::NoPath)?;
                    if !plan_agrees(&plan, header.pt) {
                        return Err(Drop::PayloadType);
                    }
                    classic.latch(pair.remote);
                }
                self.silence.heard(now);
                Ok(Accepted { header, first: !std::mem::replace(&mut self.connected, true) })
            }
            Transport::Browser(browser) => {
                let rx = browser.rx().ok_or(Drop::NoKeys)?;
                let len = rx.unprotect_rtp(slot.data_mut()).map_err(|error| match error {
                    SrtpError::Tag => Drop::SrtpTag,
                    SrtpError::Replay => Drop::SrtpReplay,
                    SrtpError::TooManySources => Drop::TooManySources,
                    _ => Drop::Malformed,
                })?;
                slot.set_len(len);
                browser.ice.on_heard(now, pair);
                self.silence.heard(now);
                let header = RtpHeader::parse(slot.data()).map_err(|_| Drop::Malformed)?;
                Ok(Accepted { header, first: false })
            }
        }
    }

    /// Reads RTCP of the far side. What is refused changes nothing: RTCP is not counted among the packets.
    pub(super) fn on_rtcp(&mut self, now: Now, pair: Pair, slot: &mut Slot) {
        match &mut self.transport {
            Transport::Classic(classic) => {
                if !classic.believes_rtcp(pair.remote) {
                    return;
                }
            }
            Transport::Browser(browser) => {
                let Some(Ok(len)) = browser.rx().map(|rx| rx.unprotect_rtcp(slot.data_mut())) else { return };
                slot.set_len(len);
                browser.ice.on_heard(now.mono, pair);
            }
        }
        self.silence.heard(now.mono);
        // A compound that ends wrong has been read as far as it went right (RFC 3550 appendix A.2 would refuse it whole; peers
        // exist that pad theirs wrong).
        let _ = self.reports.read(now, slot.data(), Some(self.tx.ssrc), self.rx.ssrc());
    }

    /// The loss on the way to the far side that is to be reckoned with, in percent.
    #[must_use]
    pub(super) fn expected_loss_percent(&self) -> u8 {
        self.reports.expected_loss_percent()
    }

    /// Whether loss has lasted, either way, for the first time with this codec.
    pub(super) fn is_newly_lossy(&mut self) -> bool {
        self.reports.is_newly_lossy()
    }

    /// Where RTP can be sent now, if it may be.
    ///
    /// # Errors
    /// [`Drop::NoPath`], [`Drop::NotSending`] or [`Drop::PeerNotReady`].
    pub(super) fn ready(&self) -> Result<(LegPlan, Pair), Drop> {
        let plan = self.plan.ok_or(Drop::NoPath)?;
        if !plan.tx {
            return Err(Drop::NotSending);
        }
        let pair = match &self.transport {
            Transport::Classic(classic) => classic.rtp_to(),
            Transport::Browser(browser) => browser.send_pair(),
        };
        pair.map(|pair| (plan, pair)).ok_or(Drop::PeerNotReady)
    }

    /// Writes `header` right before the payload that it names, cutting off what was before it and behind, then encrypts:
    /// the slot is then ready to be sent.
    ///
    /// # Errors
    /// [`Drop::Protect`].
    pub(super) fn seal(&mut self, now: Instant, slot: &mut Slot, header: &RtpHeader) -> Result<(), Drop> {
        let payload = header.payload.clone();
        let payload_len = payload.len();
        slot.set_len(payload.end);
        slot.trim_front(payload.start.checked_sub(FIXED_HEADER_LEN).ok_or(Drop::Protect)?);
        let fixed = slot.data_mut().first_chunk_mut::<FIXED_HEADER_LEN>().ok_or(Drop::Protect)?;
        write_header(fixed, header);
        if let Transport::Browser(browser) = &mut self.transport {
            let len = FIXED_HEADER_LEN + payload_len;
            let len = browser.protect(slot.data_and_tailroom(), len, false).map_err(|_| Drop::Protect)?;
            slot.set_len(len);
        }
        self.tx.sent(now, header.timestamp, payload_len);
        self.counters.tx += 1;
        Ok(())
    }

    /// Plays whatever of our own is due at `now`.
    pub(super) fn play(&mut self, now: Instant, sink: &mut dyn Sink) {
        let loss_percent = self.expected_loss_percent();
        loop {
            let payload = &mut sink.slot().room()[FIXED_HEADER_LEN..];
            let Some(tick) = self.voice.tick(now, self.encoder.as_mut(), loss_percent, payload) else { break };
            // Unheard frames pass as time does; a frame that the encoder refused is a gap of its own length.
            let Ok((plan, pair)) = self.ready() else { continue };
            match tick {
                Tick::Quiet => {}
                Tick::Audio(frame) => {
                    // A packet that our own SRTP refuses is a gap as well.
                    let _ = self.send_made(now, pair, sink, (plan.tx_pt.0, frame.marker, frame.timestamp), frame.len);
                }
                Tick::Event(event) => {
                    let Some(events) = plan.events else { continue };
                    for said in event.packets(events.clock_hz).flatten() {
                        let Said { event, timestamp, marker } = said;
                        sink.slot().room()[FIXED_HEADER_LEN..][..event.len()].copy_from_slice(&event);
                        let _ = self.send_made(now, pair, sink, (events.tx_pt.0, marker, timestamp), event.len());
                    }
                }
            }
        }
    }

    /// Sends a payload of our own making that lies in the sink's slot behind the room of a header.
    ///
    /// # Errors
    /// As [`Leg::seal`].
    pub(super) fn send_made(
        &mut self,
        now: Instant,
        pair: Pair,
        sink: &mut dyn Sink,
        (pt, marker, timestamp): (u8, bool, u32),
        len: usize,
    ) -> Result<(), Drop> {
        let payload = FIXED_HEADER_LEN..FIXED_HEADER_LEN + len;
        let (seq, ssrc) = (self.tx.next_seq(), self.tx.ssrc);
        let header = RtpHeader { marker, pt, seq, timestamp, ssrc, payload };
        self.seal(now, sink.slot(), &header)?;
        sink.transmit(pair);
        Ok(())
    }

    /// Presses a key toward the far side.
    pub(super) fn press_key(&mut self, now: Instant, event: u8, ms: u32) {
        let Some(plan) = self.plan.filter(|plan| event < 16 && sends_keys(plan)) else { return };
        self.voice.press(now, event, ms, self.tx.ts_next(now, plan.codec.clock_hz()));
    }

    /// Presses a key toward the far side that has been held for `ms` so far.
    pub(super) fn hold_key(&mut self, now: Instant, event: u8, ms: u32) {
        let Some(plan) = self.plan else { return };
        self.voice.hold(now, event, ms, self.tx.ts_next(now, plan.codec.clock_hz()));
    }

    /// Says good-bye.
    pub(super) fn close(&mut self, now: Now, sink: &mut dyn Sink) {
        self.report(now, true, sink);
        if let Transport::Browser(browser) = &mut self.transport {
            browser.close(sink);
        }
    }

    /// Marks a browser leg as connected; whether that is news.
    pub(super) fn connect(&mut self) -> bool {
        !std::mem::replace(&mut self.connected, true)
    }

    /// The next report's time.
    #[must_use]
    pub(super) fn report_due(&self) -> Option<Instant> {
        self.reports.due()
    }

    /// Sends a report if one is due, or a last one with BYE.
    pub(super) fn report(&mut self, now: Now, bye: bool, sink: &mut dyn Sink) {
        let Some(plan) = self.plan else { return };
        // RFC 3550 section 6.3.7: who has never sent anything says no BYE.
        let due =
            if bye { self.tx.packets > 0 || self.reports.sent() } else { self.reports.due().is_some_and(|due| due <= now.mono) };
        if !due {
            return;
        }
        self.reports.schedule(now.mono);
        let pair = match &self.transport {
            Transport::Classic(classic) => classic.rtcp_to(),
            Transport::Browser(browser) => browser.send_pair(),
        };
        let Some(pair) = pair else { return };
        let slot = sink.slot();
        let cname = &self.cname;
        let streams = Streams { rx: &mut self.rx, tx: &self.tx, clock_hz: plan.codec.clock_hz(), cname };
        let mut len = self.reports.write(now, streams, bye, slot.room());
        if let Transport::Browser(browser) = &mut self.transport {
            let Ok(protected) = browser.protect(slot.data_and_tailroom(), len, true) else { return };
            len = protected;
        }
        slot.set_len(len);
        sink.transmit(pair);
    }

    /// The counts as signalling is told them.
    #[must_use]
    pub(super) fn stats(&self) -> LegStats {
        let clock_hz = self.plan.map_or(8_000, |plan| plan.codec.clock_hz());
        let jitter_us = u64::from(self.rx.jitter_ticks()) * 1_000_000 / u64::from(clock_hz);
        LegStats {
            rx_packets: self.counters.rx,
            rx_dropped: self.counters.dropped_total(),
            rx_lost: self.rx.lost(),
            tx_packets: self.counters.tx,
            remote_lost: self.reports.remote_lost,
            rx_jitter_us: u32::try_from(jitter_us).unwrap_or(u32::MAX),
            rtt_us: self.reports.rtt_us,
        }
    }
}

/// Whether media sends keys to the far side at all.
fn sends_keys(plan: &LegPlan) -> bool {
    match plan.dtmf_tx {
        DtmfWay::Events => plan.events.is_some(),
        DtmfWay::Tones => true,
        DtmfWay::Signalling => false,
    }
}

fn plan_agrees(plan: &LegPlan, pt: u8) -> bool {
    plan.rx_pt.0 == pt || plan.events.is_some_and(|events| events.received_as(pt).is_some())
}
