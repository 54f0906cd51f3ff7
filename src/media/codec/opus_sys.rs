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
    /// The next packet is to lean on none before it.
    anew: bool,
}

/// How libopus is made to write a packet of CELT alone; of its own `opus_private.h`, for which see [`OpusEncoder::begin_anew`].
const SET_FORCE_MODE: c_int = 11_002;
const CELT_ONLY: i32 = 1_002;

impl OpusEncoder {
    /// Bits a second. They cost no time: at this rate and complexity 0 speech is as good as at 24,000 and complexity 5, which
    /// takes twice as long (`tests/bench/README.md`).
    pub const BITRATE: i32 = 32_000;
    /// How hard libopus tries, of 10.
    pub const COMPLEXITY: i32 = 0;

    /// An encoder for voice, with in-band FEC as soon as a loss is expected ([`OpusEncoder::expect_loss`]).
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
            sys::opus_encoder_init(state, SAMPLE_HZ.cast_signed(), 1, sys::OPUS_APPLICATION_VOIP)
        };
        checked(answer)?;
        let mut encoder = Self { state, anew: true };
        encoder.set(sys::OPUS_SET_BITRATE_REQUEST, Self::BITRATE)?;
        encoder.set(sys::OPUS_SET_COMPLEXITY_REQUEST, Self::COMPLEXITY)?;
        encoder.set(sys::OPUS_SET_SIGNAL_REQUEST, sys::OPUS_SIGNAL_VOICE)?;
        encoder.expect_loss(0)?;
        Ok(encoder)
    }

    /// The loss that in-band FEC is made for from the next frame on, in percent; with 0 it is neither made nor paid for.
    ///
    /// # Errors
    /// What libopus answered.
    pub fn expect_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        self.set(sys::OPUS_SET_INBAND_FEC_REQUEST, i32::from(percent > 0))?;
        self.set(sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST, percent.into())
    }

    /// What comes next follows a pause, or packets of another encoder: forgets all that was encoded, and makes the far side's
    /// decoder do so. A speech decoder (SILK) that has heard something else than its encoder has said would be wrong for half
    /// a second, but behind a packet of CELT alone it starts afresh (RFC 6716 section 4.5.2): the first packet is one.
    pub fn begin_anew(&mut self) {
        self.anew = true;
    }

    fn reset(&mut self) -> Result<(), OpusError> {
        // SAFETY: the state was set up by `opus_encoder_init`; this request takes no argument.
        checked(unsafe { sys::opus_encoder_ctl(self.state.0.as_mut_ptr().cast(), sys::OPUS_RESET_STATE) }).map(|_| ())
    }

    fn set(&mut self, request: c_int, value: i32) -> Result<(), OpusError> {
        // SAFETY: the state was set up by `opus_encoder_init`, and every request made here takes one `opus_int32`.
        checked(unsafe { sys::opus_encoder_ctl(self.state.0.as_mut_ptr().cast(), request, value) }).map(|_| ())
    }

    /// Encodes one frame of 10, 20, 40 or 60 ms; answers the bytes written into `payload`.
    ///
    /// # Errors
    /// What libopus answered: a frame of another length, a `payload` that is too short.
    pub fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Result<usize, OpusError> {
        if !std::mem::take(&mut self.anew) {
            return self.encode_next(pcm, payload);
        }
        self.reset()?;
        self.set(SET_FORCE_MODE, CELT_ONLY)?;
        let written = self.encode_next(pcm, payload);
        self.set(SET_FORCE_MODE, sys::OPUS_AUTO)?;
        written
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
