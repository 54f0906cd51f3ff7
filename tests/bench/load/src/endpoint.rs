//! One end of a call: what it sends, and what becomes of what its peer sent.

use std::net::SocketAddrV4;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use rand::Rng;
use rand::rngs::StdRng;
use webrtc_srtp::context::Context;
use webrtc_srtp::protection_profile::ProtectionProfile;

use crate::hist::Histogram;
use crate::ice::Ice;
use crate::media::{Script, Scripts};
use crate::net_sys::Udp;
use crate::pace::{FRAME_NS, Numbers};
use crate::spec::{Codec, EndpointSpec, MasterKey};

/// Frames that are remembered: what is later than 5 s is lost.
const RING: usize = 256;
/// Received payloads that are kept of a call whose audio is compared: 6 s.
const KEPT: usize = 300;
/// Marks a payload that is passed through: then the endpoint and the frame, so that latency is exact.
const MARK: [u8; 2] = [0x5a, 0xc3];
const MARK_LEN: usize = 8;

/// The two directions of SRTP.
pub(crate) struct Srtp {
    pub(crate) tx: Context,
    pub(crate) rx: Context,
}

impl Srtp {
    pub(crate) fn new(tx: &MasterKey, rx: &MasterKey) -> Result<Self> {
        let context = |key: &MasterKey| {
            let (key, salt) = key.split_at(16);
            Context::new(key, salt, ProtectionProfile::Aes128CmHmacSha1_80, None, None).context("srtp")
        };
        Ok(Self { tx: context(tx)?, rx: context(rx)? })
    }
}

/// What is counted of one direction, by where it arrives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Frames that were sent in the window and are speech (the rest a gateway may leave out).
    pub(crate) sent: u64,
    /// Of those, arrived.
    pub(crate) received: u64,
    /// Whatever arrived in the window, silence too.
    pub(crate) packets: u64,
    /// Arrived again, or after a later one.
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// Sequence numbers that never came, of those that the gateway gave.
    pub(crate) sequence_gaps: u64,
    /// Passed through, but not as it was sent.
    pub(crate) altered: u64,
    pub(crate) latency: Histogram,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.packets += other.packets;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.sequence_gaps += other.sequence_gaps;
        self.altered += other.altered;
        self.latency.add_all(&other.latency);
    }
}

/// A frame that was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) is_speech: bool,
    /// Whether the kernel took it. It counts as sent all the same: a gateway that has gone loses it.
    pub(crate) is_taken: bool,
}

/// Datagrams that are no media of the peer's, and those that never left.
#[derive(Debug, Default)]
pub(crate) struct Others {
    pub(crate) refused: u64,
    pub(crate) auth_failed: u64,
    pub(crate) rtcp: u64,
    pub(crate) other: u64,
}

/// The stream that arrives.
#[derive(Debug, Default)]
struct Stream {
    ssrc: Option<u32>,
    sequence: u16,
    last_ts: u32,
    /// Ticks since the stream's first packet.
    ticks: i64,
    /// The peer's frame that the stream's first packet is taken to carry.
    anchor: i64,
    last_frame: i64,
    /// Frames that have come, plus one.
    seen: Vec<i64>,
}

/// A payload that is kept to be listened to: ticks since the stream's first packet, and the bytes.
pub(crate) type Kept = (i64, Vec<u8>);

pub(crate) struct Endpoint {
    pub(crate) socket: Udp,
    pub(crate) remote: SocketAddrV4,
    pub(crate) codec: Codec,
    pub(crate) peer: Option<usize>,
    /// The codec in which the peer hears it.
    pub(crate) heard_as: Option<Codec>,
    pub(crate) is_marked: bool,
    pub(crate) srtp: Option<Srtp>,
    pub(crate) ice: Option<Ice>,
    /// Our role, of those who shake hands.
    pub(crate) dtls_client: Option<bool>,
    pub(crate) script: Rc<Script>,
    pub(crate) offset: usize,
    pt: u8,
    numbers: Numbers,
    /// When each frame was sent; 0 for one that was not.
    sent_ns: Vec<i64>,
    next_frame: i64,
    stream: Stream,
    /// What was kept, if this is one that is listened to; and the peer's frame that the stream's first packet carries.
    pub(crate) kept: Option<Vec<Kept>>,
    /// Packets since the window opened, whatever was in them.
    pub(crate) received: u64,
}

impl Endpoint {
    pub(crate) fn new(at: usize, spec: &EndpointSpec, codecs: &[Codec], scripts: &mut Scripts, rng: &mut StdRng) -> Result<Self> {
        let codec = codecs[at];
        let peer = spec.peer.and_then(|peer| usize::try_from(peer).ok());
        let first = peer.map_or(at, |peer| peer.min(at));
        let (script, offset) = scripts.of(at, (first / 2, usize::from(first != at)), codec, spec.opus)?;
        let socket = Udp::bind(spec.local, true).with_context(|| spec.local.to_string())?;
        socket.connect(spec.remote).with_context(|| spec.remote.to_string())?;
        let srtp = spec.sdes()?.map(|(tx, rx)| Srtp::new(&tx, &rx)).transpose()?;
        let numbers = Numbers::new(rng.random(), rng.random_range(0..0x4000), rng.random(), codec.frame_ticks());
        Ok(Self {
            socket,
            remote: spec.remote,
            codec,
            peer,
            heard_as: peer.map(|peer| codecs[peer]),
            is_marked: peer.is_some_and(|peer| codecs[peer] == codec),
            srtp,
            ice: spec.ice.clone().map(|ice| Ice::new(ice, at as u64)),
            dtls_client: spec.dtls.as_deref().map(|role| role == "active"),
            script,
            offset,
            pt: spec.pt,
            numbers,
            sent_ns: vec![0; RING],
            next_frame: 0,
            stream: Stream { seen: vec![0; RING], ..Stream::default() },
            kept: None,
            received: 0,
        })
    }

    /// Whether it has all that it needs to send.
    pub(crate) fn is_ready(&self) -> bool {
        self.dtls_client.is_none() || self.srtp.is_some()
    }

    /// Keeps what arrives from now on, a few seconds of it.
    pub(crate) fn keep(&mut self) {
        self.kept = Some(Vec::with_capacity(KEPT));
    }

    fn write_mark(&self, at: usize, frame: u32, payload: &mut [u8]) {
        if self.is_marked && payload.len() > MARK_LEN {
            payload[..2].copy_from_slice(&MARK);
            payload[2..4].copy_from_slice(&(at as u16).to_ne_bytes());
            payload[4..MARK_LEN].copy_from_slice(&frame.to_ne_bytes());
        }
    }

    /// Sends this frame of endpoint number `at`, if there is anything to send.
    pub(crate) fn transmit(&mut self, at: usize, frame: u32, now_ns: i64, scratch: &mut Vec<u8>) -> Option<Sent> {
        self.next_frame = i64::from(frame) + 1;
        let place = self.script.at(self.offset, frame.into());
        let payload = &self.script.frames[place];
        self.sent_ns[frame as usize % RING] = 0;
        if payload.is_empty() {
            return None;
        }
        scratch.clear();
        scratch.extend(self.numbers.header(frame, self.pt));
        scratch.extend(payload);
        self.write_mark(at, frame, &mut scratch[12..]);
        self.sent_ns[frame as usize % RING] = now_ns;
        let is_taken = match &mut self.srtp {
            Some(srtp) => srtp.tx.encrypt_rtp(scratch).is_ok_and(|packet| self.socket.send(&packet)),
            None => self.socket.send(scratch),
        };
        Some(Sent { is_speech: self.script.is_speech[place], is_taken })
    }

    /// When a frame was sent; none if it was not, or not lately.
    fn sent_at(&self, frame: i64) -> Option<i64> {
        let is_remembered = (0..self.next_frame).contains(&frame) && self.next_frame - frame <= RING as i64;
        let sent = *self.sent_ns.get(frame as usize % RING).filter(|_| is_remembered)?;
        (sent != 0).then_some(sent)
    }

    /// The last frame sent by this time.
    fn last_frame_by(&self, at_ns: i64) -> Option<i64> {
        let sent_by = |frame: &i64| self.sent_at(*frame).is_some_and(|sent| sent <= at_ns);
        (self.next_frame - RING as i64..self.next_frame).rev().find(sent_by)
    }

    /// The peer's frame that the stream's first packet carries, as far as packets alone can tell.
    pub(crate) fn anchor(&self) -> i64 {
        self.stream.anchor
    }
}

/// Where a packet is counted, and the time in which it counts.
pub(crate) struct Meter<'a> {
    pub(crate) window: &'a std::ops::Range<i64>,
    pub(crate) tally: &'a mut Tally,
    pub(crate) others: &'a mut Others,
}

/// Plain RTP of `packet` that arrived at `here`, where `there` (number `peer`) is heard.
pub(crate) fn receive(here: &mut Endpoint, there: &Endpoint, peer: usize, packet: &[u8], stamp_ns: i64, meter: Meter) {
    let Meter { window, tally, others } = meter;
    let Some(payload) = payload_of(packet).filter(|_| packet[1] & 0x7f == here.pt) else {
        others.other += 1;
        return;
    };
    let field = |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
    let (ts, ssrc, sequence) = (field(4), field(8), u16::from_be_bytes([packet[2], packet[3]]));
    let in_window = window.contains(&stamp_ns);
    let stream = &mut here.stream;
    let step = sequence.wrapping_sub(stream.sequence).cast_signed();
    if stream.ssrc == Some(ssrc) {
        stream.ticks += i64::from(ts.wrapping_sub(stream.last_ts).cast_signed());
        if step > 1 && in_window {
            tally.sequence_gaps += step as u64 - 1;
        } else if step < 0 && in_window {
            tally.sequence_gaps = tally.sequence_gaps.saturating_sub(1);
        }
    } else {
        let Some(frame) = there.last_frame_by(stamp_ns) else { return };
        (stream.ssrc, stream.ticks, stream.anchor) = (Some(ssrc), 0, frame);
    }
    stream.last_ts = ts;
    if step > 0 || stream.seen.iter().all(|seen| *seen == 0) {
        stream.sequence = sequence;
    }
    tally.packets += u64::from(in_window);
    here.received += u64::from(in_window);
    if let Some(kept) = here.kept.as_mut().filter(|kept| in_window && kept.len() < KEPT) {
        kept.push((stream.ticks, payload.to_vec()));
    }

    let frame = if there.is_marked {
        let Some(frame) = marked(payload, peer).filter(|frame| i64::from(*frame) < there.next_frame) else {
            tally.altered += 1;
            return;
        };
        let sent = &there.script.frames[there.script.at(there.offset, frame.into())];
        tally.altered += u64::from(sent.len() != payload.len() || sent[MARK_LEN..] != payload[MARK_LEN..]);
        i64::from(frame)
    } else {
        let ticks = i64::from(here.codec.frame_ticks());
        let mut frame = stream.anchor + stream.ticks.div_euclid(ticks);
        // What arrives before it was sent carries an earlier frame: the stream's first packet was late.
        while frame >= there.next_frame || there.sent_at(frame).is_some_and(|sent| sent > stamp_ns) {
            stream.anchor -= 1;
            frame -= 1;
        }
        frame
    };
    let Some(sent) = there.sent_at(frame).filter(|sent| window.contains(sent)) else { return };
    let seen = &mut stream.seen[frame as usize % RING];
    if *seen == frame + 1 {
        tally.duplicates += 1;
        return;
    }
    *seen = frame + 1;
    tally.reordered += u64::from(frame < stream.last_frame);
    stream.last_frame = frame;
    if there.script.is_speech[there.script.at(there.offset, frame)] {
        tally.received += 1;
        tally.latency.add((stamp_ns - sent).unsigned_abs());
    }
}

/// Behind the header, its contributors and its extension (RFC 3550 section 5.1).
fn payload_of(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let mut at = 12 + 4 * usize::from(first & 15);
    if first & 0x10 != 0 {
        let words = packet.get(at + 2..at + 4)?;
        at += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    packet.get(at..).filter(|payload| packet.len() >= 12 && !payload.is_empty())
}

fn marked(payload: &[u8], peer: usize) -> Option<u32> {
    let mark = payload.get(..MARK_LEN)?;
    let is_ours = mark[..2] == MARK && mark[2..4] == (peer as u16).to_ne_bytes();
    is_ours.then(|| u32::from_ne_bytes([mark[4], mark[5], mark[6], mark[7]]))
}

/// Whole frames that a duration spans.
pub(crate) fn frames_ns(frames: i64) -> i64 {
    frames * FRAME_NS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_found_behind_contributors_and_extension() {
        let mut packet = vec![0x91, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        packet.extend([1; 4]); // a contributor
        packet.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]); // an extension of one word
        assert_eq!(payload_of(&packet), None);
        packet.extend(b"sound");
        assert_eq!(payload_of(&packet), Some(&b"sound"[..]));
        assert_eq!(payload_of(&packet[..13]), None);
        assert_eq!(payload_of(&[]), None);
    }

    #[test]
    fn a_mark_names_its_endpoint_and_frame() {
        let payload = [0x5a, 0xc3, 7, 0, 9, 0, 0, 0, 1];
        assert_eq!(marked(&payload, 7), Some(u32::from_ne_bytes([9, 0, 0, 0])));
        assert_eq!(marked(&payload, 8), None);
        assert_eq!(marked(&payload[..7], 7), None);
    }
}
