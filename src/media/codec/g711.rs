//! G.711 by table one way and by arithmetic the other (ITU-T G.711, and G.191 for the roundings).

/// Which of the two laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// µ-law, PCMU.
    Mu,
    /// A-law, PCMA.
    A,
}

static ULAW: [i16; 256] = table(Law::Mu);
static ALAW: [i16; 256] = table(Law::A);

const fn table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match law {
            Law::Mu => expand_ulaw(byte as u8),
            Law::A => expand_alaw(byte as u8),
        };
        byte += 1;
    }
    table
}

const fn expand_ulaw(byte: u8) -> i16 {
    let bits = !byte;
    let magnitude = (((((bits & 0x0f) as i16) << 3) + 132) << (bits >> 4 & 7)) - 132;
    if bits & 0x80 != 0 { -magnitude } else { magnitude }
}

const fn expand_alaw(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let (segment, mantissa) = (bits >> 4 & 7, (bits & 0x0f) as i16);
    let magnitude = match segment {
        0 => (mantissa << 4) + 8,
        _ => (((mantissa + 16) << 4) + 8) << (segment - 1),
    };
    if bits & 0x80 != 0 { magnitude } else { -magnitude }
}

/// One µ-law byte to a linear sample.
#[must_use]
pub fn decode_ulaw(byte: u8) -> i16 {
    ULAW[usize::from(byte)]
}

/// One A-law byte to a linear sample.
#[must_use]
pub fn decode_alaw(byte: u8) -> i16 {
    ALAW[usize::from(byte)]
}

/// One linear sample to µ-law.
#[must_use]
pub fn encode_ulaw(sample: i16) -> u8 {
    let magnitude = sample.unsigned_abs().min(32_635) + 132;
    let segment = 8 - magnitude.leading_zeros() as u16;
    let mantissa = magnitude >> (segment + 3) & 0x0f;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | (segment << 4 | mantissa) as u8)
}

/// One linear sample to A-law.
#[must_use]
pub fn encode_alaw(sample: i16) -> u8 {
    let (magnitude, sign) = if sample < 0 { (!sample, 0) } else { (sample, 0x80) };
    let magnitude = magnitude.cast_unsigned() >> 4;
    let bits = match magnitude {
        0..=15 => magnitude,
        _ => {
            let segment = 12 - magnitude.leading_zeros() as u16;
            segment << 4 | magnitude >> (segment - 1) & 0x0f
        }
    };
    (bits as u8 | sign) ^ 0x55
}

impl Law {
    /// Payload to samples, as many as the shorter holds.
    pub fn decode(self, payload: &[u8], pcm: &mut [i16]) {
        let table = match self {
            Self::Mu => &ULAW,
            Self::A => &ALAW,
        };
        for (sample, byte) in pcm.iter_mut().zip(payload) {
            *sample = table[usize::from(*byte)];
        }
    }

    /// Samples to payload, as many as the shorter holds.
    pub fn encode(self, pcm: &[i16], payload: &mut [u8]) {
        let pairs = payload.iter_mut().zip(pcm);
        match self {
            Self::Mu => pairs.for_each(|(byte, sample)| *byte = encode_ulaw(*sample)),
            Self::A => pairs.for_each(|(byte, sample)| *byte = encode_alaw(*sample)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_way_there_and_back() {
        for byte in 0..=255u8 {
            // µ-law has two zeros; minus zero comes back as zero.
            if byte != 0x7f {
                assert_eq!(encode_ulaw(decode_ulaw(byte)), byte);
            }
            assert_eq!(encode_alaw(decode_alaw(byte)), byte);
        }
    }

    #[test]
    fn known_values_of_g_711() {
        assert_eq!((decode_ulaw(0xff), decode_ulaw(0x80), decode_ulaw(0x00)), (0, 32_124, -32_124));
        assert_eq!((decode_alaw(0xd5), decode_alaw(0xaa), decode_alaw(0x2a)), (8, 32_256, -32_256));
        assert_eq!((encode_ulaw(i16::MAX), encode_ulaw(i16::MIN)), (0x80, 0x00));
        assert_eq!((encode_alaw(i16::MAX), encode_alaw(i16::MIN)), (0xaa, 0x2a));
    }

    #[test]
    fn no_sample_is_further_off_than_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let step = i32::from(sample.unsigned_abs()) / 16 + 16;
            let off = (i32::from(decode_ulaw(encode_ulaw(sample))) - i32::from(sample)).abs();
            assert!(off <= step || sample.unsigned_abs() > 32_635, "{sample}: {off}");
            let off = (i32::from(decode_alaw(encode_alaw(sample))) - i32::from(sample)).abs();
            assert!(off <= step, "{sample}: {off}");
        }
    }
}
