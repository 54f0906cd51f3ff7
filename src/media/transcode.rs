//! From one codec to the other.

use super::codec::{CodecError, Decoder, Encoded, Encoder, MAX_CONCEALED_SAMPLES, MAX_PACKET_SAMPLES, SAMPLE_HZ, frame_samples};
use crate::plan::{Codec, LegPlan};
use crate::wire::rtp::ts_diff;

/// Timestamps may run ahead of the time that has passed by so many samples at 8,000 Hz (a second: what came before was late) and
/// tell of a silence. Further ahead, they are of a clock set anew.
const MAX_AHEAD_SAMPLES: i32 = 8_000;

/// The PCM of one turn, a call of [`Transcoder::push`] and those of [`Transcoder::pop`] behind it: less than a frame that was held,
/// filled up, a gap and a packet. It is much more than what is held from one turn to the next, which is all that a transcoder
/// keeps: all of a core share one.
#[derive(Debug)]
pub struct TurnPcm([i16; 2 * MAX_PACKET_SAMPLES + MAX_CONCEALED_SAMPLES]);

impl Default for TurnPcm {
    fn default() -> Self {
        Self([0; 2 * MAX_PACKET_SAMPLES + MAX_CONCEALED_SAMPLES])
    }
}

/// One direction of a transcoded call, driven by its packets: what comes is decoded at once, and encoded as soon as it
/// fills a frame of the outgoing packet time, by the encoder of who hears it. A gap is concealed when the packet behind it shows it.
///
/// Timestamps go on in the outgoing clock by the audio's own length, over gaps and silences too.
#[derive(Debug)]
pub struct Transcoder {
    decoder: Decoder,
    /// Incoming ticks a sample at 8,000 Hz, and outgoing.
    in_scale: u32,
    out_scale: u32,
    frame_samples: usize,
    /// Between two turns, the PCM that does not fill a frame yet, at the front of one frame's room.
    rest: Box<[i16]>,
    /// How much of it there is; within a turn, how much of the turn's.
    held: usize,
    /// The incoming timestamp that continues the last packet.
    expected_ts: Option<u32>,
    /// The outgoing timestamp of the first held sample.
    out_ts: u32,
    marker: bool,
    /// Outgoing ticks that are left out behind the next frame, which was filled up for it.
    pending_break: Option<u32>,
    /// The outgoing index behind the last frame of ours: when our source is elsewhere, another has sent in between.
    out_index: Option<u64>,
    /// What was decoded was not sent: what comes next follows the present of the outgoing clock.
    discarded: bool,
    /// What the last packet brought.
    fresh: Fresh,
}

/// What the last packet brought, at the end of the held PCM.
#[derive(Debug, Clone, Copy, Default)]
struct Fresh {
    /// Its own samples.
    decoded: usize,
    before: Gap,
}

/// What lay before a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gap {
    /// The one before.
    #[default]
    None,
    /// So many samples that were lost, and made up.
    Lost(usize),
    /// A silence that was not sent, or another clock.
    Silence,
}

/// One audio packet that arrived in order.
#[derive(Debug, Clone, Copy)]
pub struct AudioIn<'a> {
    /// Its timestamp.
    pub timestamp: u32,
    /// Sequence numbers missing before it.
    pub missing: u64,
    /// The timestamp that the outgoing clock shows at its arrival.
    pub out_ts_now: u32,
    /// The index that the next outgoing packet gets.
    pub out_index: u64,
    /// Its payload.
    pub payload: &'a [u8],
}

/// One encoded frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Its timestamp in the outgoing clock.
    pub timestamp: u32,
    /// It starts a talkspurt.
    pub marker: bool,
    /// Bytes of payload written.
    pub len: usize,
}

impl Transcoder {
    /// A transcoder from what `from`'s far side sends to what `to`'s is sent; `out_ts` is the first outgoing timestamp.
    ///
    /// # Errors
    /// A codec refused to start.
    pub fn new(from: &LegPlan, to: &LegPlan, out_ts: u32) -> Result<Self, CodecError> {
        let frame_samples = frame_samples(to.codec, to.ptime_ms);
        Ok(Self {
            decoder: Decoder::new(from.codec)?,
            frame_samples,
            in_scale: scale(from.codec),
            out_scale: scale(to.codec),
            rest: vec![0; frame_samples].into(),
            held: 0,
            expected_ts: None,
            out_ts,
            marker: true,
            pending_break: None,
            out_index: None,
            discarded: false,
            fresh: Fresh::default(),
        })
    }

    /// Decodes a packet and conceals the gap before it, if any. Whatever it answers, [`Transcoder::pop`] must then be called
    /// until there is no frame left, or [`Transcoder::discard`].
    ///
    /// # Errors
    /// The payload is no packet of its codec.
    pub fn push(&mut self, audio: AudioIn<'_>, pcm: &mut TurnPcm) -> Result<(), CodecError> {
        let pcm = &mut pcm.0;
        pcm[..self.held].copy_from_slice(&self.rest[..self.held]);
        self.fresh = Fresh::default();
        let samples = self.decoder.samples(audio.payload)?;
        let interrupted = self.discarded || self.out_index.is_some_and(|index| index != audio.out_index);
        if interrupted {
            self.discard();
            self.discarded = false;
            self.go_on_from(audio.out_ts_now, pcm);
        }
        let jump = match self.expected_ts {
            Some(expected) => ts_diff(expected, audio.timestamp) / self.in_scale.cast_signed(),
            None => {
                self.go_on_from(audio.out_ts_now, pcm);
                0
            }
        };
        match usize::try_from(jump) {
            Ok(0) => {}
            // More than the missing packets had room for is a silence, one of them in it or not.
            Ok(gap) if gap as u64 <= audio.missing * samples as u64 && gap <= MAX_CONCEALED_SAMPLES => {
                self.decoder.conceal(audio.payload, &mut pcm[self.held..self.held + gap])?;
                self.held += gap;
                self.fresh.before = Gap::Lost(gap);
            }
            Ok(gap) if !interrupted && jump <= self.passed(audio.out_ts_now).saturating_add(MAX_AHEAD_SAMPLES) => {
                self.skip(gap, pcm);
                self.fresh.before = Gap::Silence;
            }
            // Back, or ahead of time: the sender's clock was set anew. Ours goes on with the time that has passed.
            Ok(_) | Err(_) => {
                self.go_on_from(audio.out_ts_now, pcm);
                self.fresh.before = Gap::Silence;
            }
        }
        self.expected_ts = Some(audio.timestamp.wrapping_add(samples as u32 * self.in_scale));
        self.fresh.decoded = self.decoder.decode(audio.payload, &mut pcm[self.held..])?;
        self.held += self.fresh.decoded;
        Ok(())
    }

    /// What the last packet brought and what lay before it: to be listened to, or changed.
    pub fn fresh<'a>(&self, pcm: &'a mut TurnPcm) -> (Gap, &'a mut [i16]) {
        (self.fresh.before, &mut pcm.0[self.held - self.fresh.decoded..self.held])
    }

    /// What comes next is another source's and continues nothing.
    pub fn forget(&mut self) {
        self.expected_ts = None;
    }

    /// What has been decoded is not to be heard: something else is being sent.
    pub fn discard(&mut self) {
        (self.held, self.pending_break, self.marker, self.discarded) = (0, None, true, true);
        self.fresh.decoded = 0;
    }

    /// `out_index` lies behind what was sent of all that [`Transcoder::pop`] gave.
    pub fn sent_up_to(&mut self, out_index: u64) {
        self.out_index = Some(out_index);
    }

    /// Encodes the next full frame into `payload`, for a far side that loses so many packets in a hundred; none when what is left
    /// does not fill one, or is a pause. A frame that the encoder refuses is lost.
    pub fn pop(
        &mut self,
        encoder: &mut Encoder,
        loss_percent: u8,
        pcm: &mut TurnPcm,
        payload: &mut [u8],
    ) -> Option<Result<Frame, CodecError>> {
        let pcm = &mut pcm.0;
        while self.held >= self.frame_samples {
            if self.marker {
                encoder.begin_anew();
            }
            let encoded = encoder.encode(&pcm[..self.frame_samples], loss_percent, payload);
            let timestamp = self.out_ts;
            let marker = self.marker && encoded == Ok(Encoded::Pause);
            let marker = std::mem::replace(&mut self.marker, marker);
            pcm.copy_within(self.frame_samples..self.held, 0);
            self.take_frame();
            match encoded {
                Ok(Encoded::Payload { len, onset }) => return Some(Ok(Frame { timestamp, marker: marker || onset, len })),
                Ok(Encoded::Pause) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        self.rest[..self.held].copy_from_slice(&pcm[..self.held]);
        None
    }

    /// One frame less is held.
    fn take_frame(&mut self) {
        self.held -= self.frame_samples;
        self.out_ts = self.out_ts.wrapping_add(self.frame_samples as u32 * self.out_scale);
        if let Some(ticks) = self.pending_break.take() {
            self.out_ts = self.out_ts.wrapping_add(ticks);
            self.marker = true;
        }
    }

    /// The outgoing timestamp of a moment that the far side calls `timestamp` (the start of a telephone event): near what is
    /// expected next, its distance from that; else the present of the outgoing clock.
    #[must_use]
    pub fn out_ts_of(&self, timestamp: u32, out_ts_now: u32) -> u32 {
        let Some(expected) = self.expected_ts else { return out_ts_now };
        let off = ts_diff(expected, timestamp) / self.in_scale.cast_signed();
        if off.unsigned_abs() > SAMPLE_HZ {
            return out_ts_now;
        }
        let next = self.out_ts.wrapping_add(self.held as u32 * self.out_scale);
        next.wrapping_add((off * self.out_scale.cast_signed()).cast_unsigned())
    }

    /// A silence of `gap` samples that is not sent. A frame begun before it is filled up from it.
    fn skip(&mut self, gap: usize, pcm: &mut [i16]) {
        let filled = self.fill_up(pcm);
        self.leave_out(gap.saturating_sub(filled) as u32 * self.out_scale);
    }

    /// What follows is at `out_ts`, or right behind what was sent last.
    fn go_on_from(&mut self, out_ts: u32, pcm: &mut [i16]) {
        self.fill_up(pcm);
        let passed = self.passed(out_ts);
        self.leave_out(u32::try_from(passed).unwrap_or(0) * self.out_scale);
    }

    /// How many samples at 8,000 Hz `out_ts` lies behind what is held; below 0, how far it was run ahead of.
    fn passed(&self, out_ts: u32) -> i32 {
        ts_diff(self.out_ts.wrapping_add(self.held as u32 * self.out_scale), out_ts) / self.out_scale.cast_signed()
    }

    fn leave_out(&mut self, ticks: u32) {
        if self.held > 0 {
            self.pending_break = Some(ticks);
        } else {
            self.out_ts = self.out_ts.wrapping_add(ticks);
            self.marker = true;
        }
    }

    /// Fills a frame that was begun with silence; answers how many samples that took.
    fn fill_up(&mut self, pcm: &mut [i16]) -> usize {
        let fill = (self.frame_samples - self.held % self.frame_samples) % self.frame_samples;
        pcm[self.held..self.held + fill].fill(0);
        self.held += fill;
        fill
    }
}

fn scale(codec: Codec) -> u32 {
    codec.clock_hz() / SAMPLE_HZ
}
