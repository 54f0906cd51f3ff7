//! The floor under every transcoder: libopus alone, at the gateway's settings, over the packets that the generator sends.

use anyhow::Result;
use serde_json::{Value, json};

use crate::hist::percentile;
use crate::media::{FRAME_8K, Script};
use crate::net_sys::thread_cpu_ns;
use crate::opus_sys::{Decoder, Encoder, Settings};

/// As `OpusEncoder` of `src/media/codec/opus_sys.rs` is set where no loss is reported.
const GATEWAY: Settings = Settings {
    hz: 8_000,
    bitrate: 36_000,
    complexity: Some(0),
    fec: false,
    loss_percent: 0,
    celt: true,
    dtx: false,
    narrowband: false,
};

/// Decodes what the browser says to 8,000 Hz and encodes what the phone says from 8,000 Hz, for as many calls as asked, whose
/// states take turns as a gateway's do. Microseconds of this thread a pair of frames, the median of the passes.
pub(crate) fn transcode(browser: &Script, phone: &Script, calls: usize, passes: usize) -> Result<Value> {
    let mut states = Vec::with_capacity(calls);
    for _ in 0..calls {
        states.push((Decoder::new()?, Encoder::new(GATEWAY)?));
    }
    let (mut pcm, mut payload, mut bytes) = ([0; FRAME_8K], [0; 400], 0);
    let (mut decoding, mut encoding) = (Vec::new(), Vec::new());
    let frames = browser.frames.len().min(phone.frames.len());
    for _ in 0..passes {
        let (mut decode_ns, mut encode_ns) = (0, 0);
        for frame in 0..frames {
            let begin = thread_cpu_ns();
            for (call, (decoder, _)) in states.iter_mut().enumerate() {
                let packet = &browser.frames[browser.at(call * 37, frame as i64)];
                if !packet.is_empty() {
                    decoder.decode(packet, &mut pcm)?;
                }
            }
            let between = thread_cpu_ns();
            for (call, (_, encoder)) in states.iter_mut().enumerate() {
                let at = phone.at(call * 37, frame as i64) * FRAME_8K;
                bytes += encoder.encode(&phone.pcm[at..at + FRAME_8K], &mut payload)?;
            }
            decode_ns += between - begin;
            encode_ns += thread_cpu_ns() - between;
        }
        let each = |ns: i64| ns as f64 / 1e3 / (frames * calls) as f64;
        decoding.push(each(decode_ns));
        encoding.push(each(encode_ns));
    }
    let mut pairs: Vec<f64> = decoding.iter().zip(&encoding).map(|(a, b)| a + b).collect();
    let pair_us = percentile(&mut pairs, 0.5);
    Ok(json!({
        "calls": calls,
        "decode_us": percentile(&mut decoding, 0.5),
        "encode_us": percentile(&mut encoding, 0.5),
        "pair_us": pair_us,
        "cpu_ms_per_call_s": pair_us * 50.0 / 1e3,
        "bytes_per_frame": bytes as f64 / (frames * calls * passes) as f64,
    }))
}
