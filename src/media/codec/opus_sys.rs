//! libopus behind a safe face. The state lies in a boxed buffer of ours, sized by `opus_*_get_size` and set up by
//! `opus_*_init`: one allocation when a leg is planned, none per packet.
#![allow(unsafe_code)]

use std::ffi::c_int;

use opusic_sys as sys;

use super::SAMPLE_HZ;

/// What libopus answered (`opus_defines.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpusError(pub i32);

/// Memory for one libopus state: 8-byte aligned, which is what its own `align()` asks for on every target.
#[derive(Debug)]
struct State(Box<[u64]>);

impl State {
    fn new(bytes: c_int) -> Self {
        Self(vec![0; usize::try_from(bytes).unwrap_or(0).div_ceil(8)].into_boxed_slice())
    }
}

fn checked(answer: c_int) -> Result<usize, OpusError> {
    usize::try_from(answer).map_err(|_| OpusError(answer))
}

fn len_of(len: usize) -> c_int {
    c_int::try_from(len).unwrap_or(c_int::MAX)
}

/// Opus to 8,000 Hz mono.
#[derive(Debug)]
pub struct OpusDecoder {
    state: State,
    /// Samples of the last packet decoded: how much its successor's in-band copy holds.
    last_samples: usize,
}

impl OpusDecoder {
    /// A decoder in its first state.
    ///
    /// # Errors
    /// What libopus answered.
    pub fn new() -> Result<Self, OpusError> {
        // SAFETY: takes no pointer.
        let mut state = State::new(unsafe { sys::opus_decoder_get_size(1) });
        // SAFETY: `state` is as large as libopus said and aligned for it; it lives as long as `self` and, being boxed, is
        // never moved; nothing else points to it.
        let answer = unsafe { sys::opus_decoder_init(state.0.as_mut_ptr().cast(), SAMPLE_HZ.cast_signed(), 1) };
        checked(answer).map(|_| Self { state, last_samples: 160 })
    }

    /// Samples at 8,000 Hz in a packet; none if it is no Opus packet.
    #[must_use]
    pub fn samples(packet: &[u8]) -> Option<usize> {
        if packet.is_empty() {
            return None;
        }
        // SAFETY: the pointer and length are of one live slice, which libopus only reads.
        let answer = unsafe { sys::opus_packet_get_nb_samples(packet.as_ptr(), len_of(packet.len()), SAMPLE_HZ.cast_signed()) };
        checked(answer).ok()
    }

    /// Decodes `packet` (with `fec`, the copy in it of the packet before), or conceals where there is none, into `pcm`.
    ///
    /// # Errors
    /// What libopus answered.
    pub fn decode(&mut self, packet: Option<&[u8]>, fec: bool, pcm: &mut [i16]) -> Result<usize, OpusError> {
        let (data, len) = packet.map_or((std::ptr::null(), 0), |packet| (packet.as_ptr(), len_of(packet.len())));
        // SAFETY: the state was set up by `opus_decoder_init`; `data` and `len` are of one live slice or null and 0, which
        // libopus reads as a loss; it writes at most `frame_size` mono samples into `pcm`, which is its length.
        let answer = unsafe {
            let state = self.state.0.as_mut_ptr().cast();
            sys::opus_decode(state, data, len, pcm.as_mut_ptr(), len_of(pcm.len()), c_int::from(fec))
        };
        let samples = checked(answer)?;
        if packet.is_some() && !fec {
            self.last_samples = samples;
        }
        Ok(samples)
    }

    /// Fills `pcm` with what was lost before `next`: the last packet of the gap from the copy in `next`, the rest made up.
    ///
    /// # Errors
    /// What libopus answered.
    pub fn conceal(&mut self, next: &[u8], pcm: &mut [i16]) -> Result<(), OpusError> {
        // libopus conceals in steps of 2.5 ms.
        let len = pcm.len() / 20 * 20;
        let (pcm, odd) = pcm.split_at_mut(len);
        odd.fill(0);
        let recovered = if next.len() > 2 { self.last_samples.min(len) / 20 * 20 } else { 0 };
        let (made_up, recovered) = pcm.split_at_mut(len - recovered);
        for piece in made_up.chunks_mut(self.last_samples.clamp(20, 160) / 20 * 20) {
            self.decode(None, false, piece)?;
        }
        if !recovered.is_empty() {
            self.decode(Some(next), true, recovered)?;
        }
        Ok(())
    }
}

/// 8,000 Hz mono to Opus.
#[derive(Debug)]
pub struct OpusEncoder {
    state: State,
    /// How the last frame was encoded; none: the next one begins anew.
    mode: Option<Mode>,
    /// The loss that is expected, in percent.
    loss_percent: u8,
}

/// Of the two codecs that Opus is made of (RFC 6716 section 2), the one that is used. Both at complexity 0: bits cost less time
/// than trying harder does (`tests/bench/README.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// CELT: half of the time that SILK takes, for a third more bits.
    Celt,
    /// SILK, which alone can tell a lost packet again (in-band FEC).
    Silk,
}

impl OpusEncoder {
    /// An encoder for voice: CELT at 36 kbit/s, all packets of one size (RFC 6562), and SILK at 32 kbit/s with in-band FEC as
    /// long as a loss is expected ([`OpusEncoder::expect_loss`]).
    ///
    /// # Errors
    /// What libopus answered.
    pub fn new() -> Result<Self, OpusError> {
        // SAFETY: takes no pointer.
        let mut state = State::new(unsafe { sys::opus_encoder_get_size(1) });
        // SAFETY: `state` is as large as libopus said and aligned for it; it lives as long as `self` and, being boxed, is
        // never moved; nothing else points to it.
        let answer = unsafe {
            let state = state.0.as_mut_ptr().cast();
            sys::opus_encoder_init(state, SAMPLE_HZ.cast_signed(), 1, sys::OPUS_APPLICATION_RESTRICTED_LOWDELAY)
        };
        checked(answer)?;
        let mut encoder = Self { state, mode: None, loss_percent: 0 };
        encoder.set(sys::OPUS_SET_COMPLEXITY_REQUEST, 0)?;
        encoder.set(sys::OPUS_SET_SIGNAL_REQUEST, sys::OPUS_SIGNAL_VOICE)?;
        Ok(encoder)
    }

    /// The loss that is to be reckoned with from the next frame on, in percent.
    ///
    /// # Errors
    /// What libopus answered.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        self.loss_percent = percent;
        self.set(sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST, percent.into())
    }

    /// What comes next follows a pause, or packets of another encoder, and leans on nothing before it. A decoder that has
    /// heard something else than its encoder has said would be wrong for half a second; so the first packet is one of CELT
    /// without prediction, behind which a speech decoder (SILK) starts afresh too (RFC 6716 section 4.5.2).
    pub fn begin_anew(&mut self) {
        self.mode = None;
    }

    /// Encodes one frame of 10, 20, 40 or 60 ms; answers the bytes written into `payload`.
    ///
    /// # Errors
    /// What libopus answered: a frame of another length, a `payload` that is too short.
    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Result<usize, OpusError> {
        let begins = self.mode.is_none();
        let mode = if begins || self.loss_percent == 0 { Mode::Celt } else { Mode::Silk };
        if self.mode != Some(mode) {
            self.reset()?;
            self.set_mode(mode)?;
        }
        if begins {
            self.set(sys::OPUS_SET_PREDICTION_DISABLED_REQUEST, 1)?;
        }
        let written = self.encode_next(pcm, payload);
        if begins {
            self.set(sys::OPUS_SET_PREDICTION_DISABLED_REQUEST, 0)?;
        }
        self.mode = Some(mode);
        written
    }

    /// libopus takes another application only right behind a reset.
    fn set_mode(&mut self, mode: Mode) -> Result<(), OpusError> {
        let (application, bitrate, vbr, fec) = match mode {
            Mode::Celt => (sys::OPUS_APPLICATION_RESTRICTED_LOWDELAY, 36_000, 0, 0),
            Mode::Silk => (sys::OPUS_APPLICATION_VOIP, 32_000, 1, 1),
        };
        self.set(sys::OPUS_SET_APPLICATION_REQUEST, application)?;
        self.set(sys::OPUS_SET_BITRATE_REQUEST, bitrate)?;
        self.set(sys::OPUS_SET_VBR_REQUEST, vbr)?;
        self.set(sys::OPUS_SET_INBAND_FEC_REQUEST, fec)
    }

    fn reset(&mut self) -> Result<(), OpusError> {
        // SAFETY: the state was set up by `opus_encoder_init`; this request takes no argument.
        checked(unsafe { sys::opus_encoder_ctl(self.state.0.as_mut_ptr().cast(), sys::OPUS_RESET_STATE) }).map(|_| ())
    }

    fn set(&mut self, request: c_int, value: i32) -> Result<(), OpusError> {
        // SAFETY: the state was set up by `opus_encoder_init`, and every request made here takes one `opus_int32`.
        checked(unsafe { sys::opus_encoder_ctl(self.state.0.as_mut_ptr().cast(), request, value) }).map(|_| ())
    }

    fn encode_next(&mut self, pcm: &[i16], payload: &mut [u8]) -> Result<usize, OpusError> {
        // SAFETY: the state was set up by `opus_encoder_init`; libopus reads `frame_size` mono samples, which is the length
        // of `pcm`, and writes at most the length of `payload`.
        checked(unsafe {
            let state = self.state.0.as_mut_ptr().cast();
            sys::opus_encode(state, pcm.as_ptr(), len_of(pcm.len()), payload.as_mut_ptr(), len_of(payload.len()))
        })
    }
}
