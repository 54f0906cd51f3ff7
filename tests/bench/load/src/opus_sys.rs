//! libopus, as bare as it is.
#![allow(unsafe_code)]

use std::ffi::c_int;

use anyhow::{Result, ensure};
use opusic_sys as sys;

/// How an encoder is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) hz: i32,
    pub(crate) bitrate: i32,
    /// None for libopus's own.
    pub(crate) complexity: Option<i32>,
    /// Whether each packet has a copy of the one before it, and for how much loss.
    pub(crate) fec: bool,
    pub(crate) loss_percent: i32,
    /// CELT alone, all packets of one size.
    pub(crate) celt: bool,
    pub(crate) dtx: bool,
    /// At most 4 kHz of audio, whatever `hz` is.
    pub(crate) narrowband: bool,
}

pub(crate) struct Encoder(*mut sys::OpusEncoder);

impl Encoder {
    /// Mono, for voice.
    pub(crate) fn new(settings: Settings) -> Result<Self> {
        let application = if settings.celt { sys::OPUS_APPLICATION_RESTRICTED_LOWDELAY } else { sys::OPUS_APPLICATION_VOIP };
        let mut error = 0;
        // SAFETY: `error` lives through the call, which writes one integer there.
        let state = unsafe { sys::opus_encoder_create(settings.hz, 1, application, &raw mut error) };
        ensure!(!state.is_null() && error == 0, "libopus: {error}");
        let encoder = Self(state);
        let set = |request: c_int, value: i32| {
            // SAFETY: the state is live, and every request made here takes one `opus_int32`.
            let answer = unsafe { sys::opus_encoder_ctl(encoder.0, request, value) };
            ensure!(answer == 0, "libopus: {answer}");
            Ok(())
        };
        set(sys::OPUS_SET_BITRATE_REQUEST, settings.bitrate)?;
        set(sys::OPUS_SET_INBAND_FEC_REQUEST, i32::from(settings.fec))?;
        set(sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST, settings.loss_percent)?;
        set(sys::OPUS_SET_DTX_REQUEST, i32::from(settings.dtx))?;
        if let Some(complexity) = settings.complexity {
            set(sys::OPUS_SET_COMPLEXITY_REQUEST, complexity)?;
        }
        set(sys::OPUS_SET_VBR_REQUEST, i32::from(!settings.celt))?;
        if settings.narrowband {
            set(sys::OPUS_SET_MAX_BANDWIDTH_REQUEST, sys::OPUS_BANDWIDTH_NARROWBAND)?;
        }
        Ok(encoder)
    }

    /// One frame; answers the bytes written.
    pub(crate) fn encode(&mut self, pcm: &[i16], payload: &mut [u8]) -> Result<usize> {
        // SAFETY: the state is live; libopus reads as many samples as `pcm` has and writes at most the length of `payload`.
        let answer =
            unsafe { sys::opus_encode(self.0, pcm.as_ptr(), pcm.len() as i32, payload.as_mut_ptr(), payload.len() as i32) };
        ensure!(answer >= 0, "libopus: {answer}");
        Ok(answer as usize)
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_encoder_create`, destroyed once.
        unsafe { sys::opus_encoder_destroy(self.0) };
    }
}

pub(crate) struct Decoder(*mut sys::OpusDecoder);

impl Decoder {
    /// To 8,000 Hz mono.
    pub(crate) fn new() -> Result<Self> {
        let mut error = 0;
        // SAFETY: `error` lives through the call, which writes one integer there.
        let state = unsafe { sys::opus_decoder_create(8_000, 1, &raw mut error) };
        ensure!(!state.is_null() && error == 0, "libopus: {error}");
        Ok(Self(state))
    }

    /// One packet; answers the samples written.
    pub(crate) fn decode(&mut self, payload: &[u8], pcm: &mut [i16]) -> Result<usize> {
        let len = payload.len() as i32;
        // SAFETY: the state is live; libopus reads the payload and writes at most as many samples as `pcm` has room for.
        let answer = unsafe { sys::opus_decode(self.0, payload.as_ptr(), len, pcm.as_mut_ptr(), pcm.len() as i32, 0) };
        ensure!(answer >= 0, "libopus: {answer}");
        Ok(answer as usize)
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_decoder_create`, destroyed once.
        unsafe { sys::opus_decoder_destroy(self.0) };
    }
}
