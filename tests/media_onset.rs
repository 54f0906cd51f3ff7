//! Opus is heard right from its first packet on, whatever the far side's decoder has heard before: another encoder, or nothing.

#[path = "support/audio.rs"]
mod audio;

use audio::{sine, snr_db, voice};
use ringway::media::codec::{Encoded, Encoder, OpusDecoder, OpusEncoder};
use ringway::plan::Codec;

const FRAME: usize = 160;

fn packet(encoder: &mut Encoder, pcm: &[i16]) -> Option<(Vec<u8>, bool)> {
    let mut payload = [0; 400];
    match encoder.encode(pcm, 0, &mut payload).unwrap() {
        Encoded::Payload { len, onset } => Some((payload[..len].to_vec(), onset)),
        Encoded::Pause => None,
    }
}

/// A decoder that has heard a second of another encoder's speech.
fn decoder_in_mid_speech() -> OpusDecoder {
    let (mut encoder, mut decoder) = (Encoder::new(Codec::Opus).unwrap(), OpusDecoder::new().unwrap());
    for n in 0..50 {
        let (payload, _) = packet(&mut encoder, &voice(n * FRAME, FRAME)).unwrap();
        decoder.decode(Some(&payload), false, &mut [0; FRAME]).unwrap();
    }
    decoder
}

/// How well a tone comes across: its first fifth of a second, but the 40 ms in which the decoder blends over.
fn heard_db(encoder: &mut Encoder, decoder: &mut OpusDecoder, hz: f64) -> f64 {
    let mut heard = Vec::new();
    for n in 0..10 {
        let mut pcm = [0; FRAME];
        let (payload, _) = packet(encoder, &sine(hz, n * FRAME, FRAME)).unwrap();
        decoder.decode(Some(&payload), false, &mut pcm).unwrap();
        heard.extend(pcm);
    }
    snr_db(&heard[2 * FRAME..], hz)
}

#[test]
fn a_tone_is_clear_at_once_after_another_encoders_speech() {
    for hz in [350.0, 440.0, 1_000.0] {
        let db = heard_db(&mut Encoder::new(Codec::Opus).unwrap(), &mut decoder_in_mid_speech(), hz);
        assert!(db > 25.0, "{hz} Hz: {db:.1} dB");
    }
}

#[test]
fn a_tone_is_clear_at_once_after_a_pause() {
    for hz in [350.0, 440.0, 1_000.0] {
        let (mut encoder, mut decoder) = (Encoder::new(Codec::Opus).unwrap(), OpusDecoder::new().unwrap());
        let mut pauses = 0;
        for n in 0..150 {
            let pcm = if n < 50 { voice(n * FRAME, FRAME) } else { vec![0; FRAME] };
            let sent = packet(&mut encoder, &pcm);
            pauses += usize::from(sent.is_none());
            // A far side makes up what is not sent, and what says no more than that.
            let payload = sent.as_ref().map(|(payload, _)| payload.as_slice()).filter(|payload| payload.len() > 1);
            decoder.decode(payload, false, &mut [0; FRAME]).unwrap();
        }
        assert!(pauses > 50, "{pauses}");
        let db = heard_db(&mut encoder, &mut decoder, hz);
        assert!(db > 25.0, "{hz} Hz: {db:.1} dB");
    }
}

#[test]
fn an_encoder_that_was_interrupted_is_clear_at_once() {
    let mut encoder = Encoder::new(Codec::Opus).unwrap();
    for n in 0..50 {
        packet(&mut encoder, &voice(n * FRAME, FRAME)).unwrap();
    }
    encoder.begin_anew();
    let db = heard_db(&mut encoder, &mut decoder_in_mid_speech(), 440.0);
    assert!(db > 25.0, "{db:.1} dB");
}

/// The first byte's mode (RFC 6716 section 3.1): CELT alone from configuration 16 on, SILK alone below 12.
fn modes(encoder: &mut OpusEncoder, frames: std::ops::Range<usize>) -> Vec<&'static str> {
    let mode = |n: usize| {
        let mut payload = [0; 400];
        encoder.encode(&voice(n * FRAME, FRAME), &mut payload).unwrap();
        match payload[0] >> 3 {
            16.. => "CELT",
            ..12 => "SILK",
            _ => "both",
        }
    };
    frames.map(mode).collect()
}

#[test]
fn speech_is_encoded_for_little_time_until_a_loss_is_told_and_for_the_loss_then() {
    let mut encoder = OpusEncoder::new().unwrap();
    assert_eq!(modes(&mut encoder, 0..50), ["CELT"; 50]);
    encoder.expect_loss(2).unwrap();
    assert_eq!(modes(&mut encoder, 50..100), ["SILK"; 50]);
    encoder.begin_anew();
    assert_eq!(modes(&mut encoder, 100..103), ["CELT", "SILK", "SILK"], "the first packet leans on nothing");
    encoder.expect_loss(0).unwrap();
    assert_eq!(modes(&mut encoder, 103..105), ["CELT"; 2]);
}

/// RFC 6562 section 4: packets whose sizes follow what is said tell an eavesdropper of it.
#[test]
fn all_packets_are_of_one_size_while_nothing_is_lost() {
    let mut encoder = OpusEncoder::new().unwrap();
    let mut size = |n: usize| encoder.encode(&voice(n * FRAME, FRAME), &mut [0; 400]).unwrap();
    let first = size(0);
    assert!((1..100).all(|n| size(n) == first), "{first} bytes");
}

#[test]
fn what_is_encoded_for_a_loss_is_clear_at_once_too() {
    for hz in [350.0, 440.0, 1_000.0] {
        let mut encoder = Encoder::new(Codec::Opus).unwrap();
        let mut decoder = decoder_in_mid_speech();
        let mut heard = Vec::new();
        for n in 0..10 {
            let (mut payload, mut pcm) = ([0; 400], [0; FRAME]);
            let encoded = encoder.encode(&sine(hz, n * FRAME, FRAME), 5, &mut payload).unwrap();
            let Encoded::Payload { len, .. } = encoded else { panic!("a tone is no pause") };
            decoder.decode(Some(&payload[..len]), false, &mut pcm).unwrap();
            heard.extend(pcm);
        }
        let db = snr_db(&heard[2 * FRAME..], hz);
        assert!(db > 25.0, "{hz} Hz: {db:.1} dB");
    }
}

#[test]
fn the_end_of_a_pause_is_told() {
    let mut encoder = Encoder::new(Codec::Opus).unwrap();
    let mut onsets = |range: std::ops::Range<usize>, silent: bool| {
        let pcm = |n| if silent { vec![0; FRAME] } else { voice(n * FRAME, FRAME) };
        range.filter_map(|n| packet(&mut encoder, &pcm(n))).filter(|(_, onset)| *onset).count()
    };
    assert_eq!((onsets(0..50, false), onsets(50..150, true), onsets(150..151, false), onsets(151..165, false)), (0, 0, 1, 0));
}
