//! The codecs, all heard and spoken at 8,000 Hz mono, 16-bit: Opus decodes and encodes straight from and to
//! that rate whatever the far side sends, so no resampler is needed (the RTP clock stays 48,000: RFC 7587).
//!
//! A new codec is a variant of [`Decoder`] and of [`Encoder`] and of [`Codec`].

mod g711;
mod opus_sys;
mod pause;
mod plc;

pub use g711::{Law, decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
pub use opus_sys::{OpusDecoder, OpusEncoder, OpusError};
pub use plc::Concealer;

use crate::plan::Codec;
use pause::{Pause, Say};

/// Samples a second of all PCM in the gateway.
pub const SAMPLE_HZ: u32 = 8_000;

/// The most that one packet may hold: 120 ms (RFC 6716 section 2.1.4), in samples.
pub const MAX_PACKET_SAMPLES: usize = 960;

/// The longest gap that is concealed: 100 ms, in samples. Behind it lies silence.
pub const MAX_CONCEALED_SAMPLES: usize = 800;

/// Why a payload was not decoded or a frame not encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// The payload is empty, too long, or no packet of its codec.
    Payload,
    /// The library refused; the number is libopus's own.
    Opus(OpusError),
}

impl From<OpusError> for CodecError {
    fn from(error: OpusError) -> Self {
        Self::Opus(error)
    }
}

/// Hears one direction of one leg.
#[derive(Debug)]
pub enum Decoder {
    /// RFC 6716; conceals by its own means, with the in-band copy (FEC) of the packet behind the gap first.
    Opus(OpusDecoder),
    /// G.711; conceals by repeating the last pitch period.
    G711(Law, Box<Concealer>),
}

impl Decoder {
    /// A decoder in its first state.
    ///
    /// # Errors
    /// libopus refused to start.
    pub fn new(codec: Codec) -> Result<Self, CodecError> {
        Ok(match codec {
            Codec::Opus => Self::Opus(OpusDecoder::new()?),
            Codec::Pcmu => Self::G711(Law::Mu, Box::default()),
            Codec::Pcma => Self::G711(Law::A, Box::default()),
        })
    }

    /// How many samples a payload holds, without decoding it.
    ///
    /// # Errors
    /// [`CodecError::Payload`]: none, or more than [`MAX_PACKET_SAMPLES`].
    pub fn samples(&self, payload: &[u8]) -> Result<usize, CodecError> {
        let samples = match self {
            Self::Opus(_) => OpusDecoder::samples(payload).ok_or(CodecError::Payload)?,
            Self::G711(..) => payload.len(),
        };
        if (1..=MAX_PACKET_SAMPLES).contains(&samples) { Ok(samples) } else { Err(CodecError::Payload) }
    }

    /// Decodes one payload into the front of `pcm`; answers the samples written.
    ///
    /// # Errors
    /// The payload is no packet of this codec, or `pcm` is too short for it.
    pub fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize, CodecError> {
        let samples = self.samples(payload)?;
        let pcm = pcm.get_mut(..samples).ok_or(CodecError::Payload)?;
        match self {
            Self::Opus(opus) => Ok(opus.decode(Some(payload), false, pcm)?),
            Self::G711(law, concealer) => {
                law.decode(payload, pcm);
                concealer.heard(pcm);
                Ok(samples)
            }
        }
    }

    /// Fills `pcm` with what may have been lost just before `next`, the packet behind the gap.
    ///
    /// # Errors
    /// libopus refused.
    pub fn conceal(&mut self, next: &[u8], pcm: &mut [i16]) -> Result<(), CodecError> {
        match self {
            Self::Opus(opus) => opus.conceal(next, pcm).map_err(CodecError::Opus),
            Self::G711(_, concealer) => {
                concealer.conceal(pcm);
                Ok(())
            }
        }
    }
}

/// Samples of the frames that a codec is given for a packet time: what the plan asks for where the codec can, 20 ms where it
/// cannot.
#[must_use]
pub fn frame_samples(codec: Codec, ptime_ms: u8) -> usize {
    let able = match codec {
        Codec::Opus => matches!(ptime_ms, 10 | 20 | 40 | 60),
        Codec::Pcmu | Codec::Pcma => (10..=60).contains(&ptime_ms) && ptime_ms.is_multiple_of(10),
    };
    8 * usize::from(if able { ptime_ms } else { 20 })
}

/// What an encoder made of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoded {
    /// A payload.
    Payload {
        /// Its bytes.
        len: usize,
        /// It is the first behind a pause.
        onset: bool,
    },
    /// The frame is part of a pause: nothing is sent in its place, and time goes on.
    Pause,
}

/// Speaks one direction of one leg.
#[derive(Debug)]
pub enum Encoder {
    /// RFC 6716: 36 kbit/s while somebody speaks; pauses are not sent.
    Opus(Box<OpusVoice>),
    /// G.711.
    G711(Law),
}

/// Opus with what it is made with.
#[derive(Debug)]
pub struct OpusVoice {
    encoder: OpusEncoder,
    /// What its FEC is made for.
    loss_percent: u8,
    pause: Pause,
    /// The first byte of the last packet (RFC 6716 section 3.1): what a pause is announced with.
    toc: Option<u8>,
}

impl Encoder {
    /// An encoder in its first state.
    ///
    /// # Errors
    /// libopus refused to start.
    pub fn new(codec: Codec) -> Result<Self, CodecError> {
        Ok(match codec {
            Codec::Opus => Self::Opus(Box::new(OpusVoice {
                encoder: OpusEncoder::new()?,
                loss_percent: 0,
                pause: Pause::default(),
                toc: None,
            })),
            Codec::Pcmu => Self::G711(Law::Mu),
            Codec::Pcma => Self::G711(Law::A),
        })
    }

    /// The far side has heard something else since the last frame: the next one must be understood without those before.
    pub fn begin_anew(&mut self) {
        if let Self::Opus(opus) = self {
            opus.encoder.begin_anew();
        }
    }

    /// Encodes one frame into the front of `payload`, for a far side that loses so many packets in a hundred.
    ///
    /// # Errors
    /// `payload` is too short, or libopus refused.
    pub fn encode(&mut self, pcm: &[i16], loss_percent: u8, payload: &mut [u8]) -> Result<Encoded, CodecError> {
        match self {
            Self::Opus(opus) => opus.encode(pcm, loss_percent, payload),
            Self::G711(law) => {
                let payload = payload.get_mut(..pcm.len()).ok_or(CodecError::Payload)?;
                law.encode(pcm, payload);
                Ok(Encoded::Payload { len: pcm.len(), onset: false })
            }
        }
    }
}

impl OpusVoice {
    fn encode(&mut self, pcm: &[i16], loss_percent: u8, payload: &mut [u8]) -> Result<Encoded, CodecError> {
        let say = self.pause.next(pcm);
        match (say, self.toc) {
            (Say::Nothing, Some(_)) => return Ok(Encoded::Pause),
            (Say::Pause, Some(toc)) => {
                *payload.first_mut().ok_or(CodecError::Payload)? = toc;
                return Ok(Encoded::Payload { len: 1, onset: false });
            }
            (Say::Onset, _) => self.encoder.begin_anew(),
            (Say::Frame | Say::Pause | Say::Nothing, _) => {}
        }
        if self.loss_percent != loss_percent {
            self.encoder.expect_loss(loss_percent)?;
            self.loss_percent = loss_percent;
        }
        let len = self.encoder.encode(pcm, payload)?;
        // Its last two bits say how many frames there are: one.
        self.toc = payload.first().filter(|_| len > 0).map(|first| first & 0xfc);
        Ok(Encoded::Payload { len, onset: say == Say::Onset })
    }
}
