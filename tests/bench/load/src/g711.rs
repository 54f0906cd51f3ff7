//! G.711, both laws, by their definition (ITU-T G.711): encoded before a run, decoded after it.

pub(crate) fn ulaw(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 { (0x80, -i32::from(sample)) } else { (0, i32::from(sample)) };
    let biased = magnitude.min(32_635) + 132;
    let exponent = 31 - biased.leading_zeros() as i32 - 7;
    !(sign | (exponent << 4) as u8 | ((biased >> (exponent + 3)) & 15) as u8)
}

pub(crate) fn from_ulaw(byte: u8) -> i16 {
    let byte = !byte;
    let magnitude = ((i32::from(byte & 15) << 3) + 132) << ((byte & 0x70) >> 4);
    (if byte & 0x80 == 0 { magnitude - 132 } else { 132 - magnitude }) as i16
}

pub(crate) fn alaw(sample: i16) -> u8 {
    let (mask, magnitude) = if sample >= 0 { (0xd5, i32::from(sample)) } else { (0x55, -i32::from(sample) - 1) };
    let magnitude = magnitude >> 3;
    let segment = (32 - (magnitude >> 5).leading_zeros()) as i32;
    let step = (magnitude >> segment.max(1)) & 15;
    ((segment << 4 | step) as u8) ^ mask
}

pub(crate) fn from_alaw(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (low, segment) = (i32::from(byte & 15) << 4, i32::from(byte & 0x70) >> 4);
    let magnitude = if segment == 0 { low + 8 } else { (low + 0x108) << (segment - 1) };
    (if byte & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_comes_back_as_itself() {
        for byte in 0..=255_u8 {
            assert_eq!(alaw(from_alaw(byte)), byte, "A-law {byte:#x}");
            let canonical = if byte == 0x7f { 0xff } else { byte }; // minus zero
            assert_eq!(ulaw(from_ulaw(byte)), canonical, "µ-law {byte:#x}");
        }
    }

    #[test]
    fn a_sample_comes_back_within_its_step() {
        for sample in (-32_600..32_600).step_by(7) {
            let play = f64::from(i32::from(sample).abs()) * 0.04 + 20.0;
            assert!(f64::from((i32::from(from_ulaw(ulaw(sample))) - i32::from(sample)).abs()) < play, "µ-law {sample}");
            assert!(f64::from((i32::from(from_alaw(alaw(sample))) - i32::from(sample)).abs()) < play, "A-law {sample}");
        }
    }
}
