use std::ops::Range;

/// Bytes of an RTP header without CSRCs and extension.
pub const FIXED_HEADER_LEN: usize = 12;

/// Why a datagram is no RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtpError {
    /// Fewer bytes than its own header says.
    Truncated,
    /// The version is not 2.
    Version,
    /// The padding count is 0 or larger than the payload.
    Padding,
}

/// An RTP header (RFC 3550 section 5.1) and where the payload lies in the datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpHeader {
    /// The marker bit; for audio, the start of a talkspurt (RFC 3551 section 4.1).
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub pt: u8,
    /// Sequence number.
    pub seq: u16,
    /// Timestamp in ticks of the codec's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// The payload's bytes in the datagram, padding excluded; what lies before is header, CSRCs and extension.
    pub payload: Range<usize>,
}

impl RtpHeader {
    /// Reads the header and checks every length in it. With an encrypted packet use [`RtpHeader::parse_encrypted`]: its
    /// padding count is not readable yet.
    ///
    /// # Errors
    /// Names what is wrong with the datagram.
    pub fn parse(datagram: &[u8]) -> Result<Self, RtpError> {
        let mut header = Self::parse_encrypted(datagram)?;
        if datagram[0] & 0x20 != 0 {
            let count = datagram.last().map_or(0, |last| usize::from(*last));
            if count == 0 || count > header.payload.len() {
                return Err(RtpError::Padding);
            }
            header.payload.end -= count;
        }
        Ok(header)
    }

    /// As [`RtpHeader::parse`], leaving padding alone: `payload` runs to the datagram's end (RFC 3711 section 3.1: padding
    /// lies inside the encrypted portion).
    ///
    /// # Errors
    /// Names what is wrong with the datagram.
    pub fn parse_encrypted(datagram: &[u8]) -> Result<Self, RtpError> {
        let Some((fixed, rest)) = datagram.split_first_chunk::<FIXED_HEADER_LEN>() else {
            return Err(RtpError::Truncated);
        };
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let csrcs = usize::from(fixed[0] & 0x0f) * 4;
        let mut start = FIXED_HEADER_LEN + csrcs;
        if fixed[0] & 0x10 != 0 {
            let words = rest.get(csrcs + 2..csrcs + 4).ok_or(RtpError::Truncated)?;
            start += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
        }
        if start > datagram.len() {
            return Err(RtpError::Truncated);
        }
        Ok(Self {
            marker: fixed[1] & 0x80 != 0,
            pt: fixed[1] & 0x7f,
            seq: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            payload: start..datagram.len(),
        })
    }
}

/// Writes over marker, payload type, sequence number, timestamp and SSRC of a parsed packet, leaving the rest as it is.
/// `payload` of `header` is not looked at. A datagram shorter than a header is left alone.
pub fn set_fields(datagram: &mut [u8], header: &RtpHeader) {
    let Some(fixed) = datagram.first_chunk_mut::<FIXED_HEADER_LEN>() else { return };
    fixed[1] = u8::from(header.marker) << 7 | header.pt & 0x7f;
    fixed[2..4].copy_from_slice(&header.seq.to_be_bytes());
    fixed[4..8].copy_from_slice(&header.timestamp.to_be_bytes());
    fixed[8..12].copy_from_slice(&header.ssrc.to_be_bytes());
}

/// Writes a header without CSRCs, extension or padding into the first 12 bytes; `payload` of `header` is not looked at.
pub fn write_header(fixed: &mut [u8; FIXED_HEADER_LEN], header: &RtpHeader) {
    fixed[0] = 0x80;
    set_fields(fixed, header);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn csrcs_extension_and_padding_are_stepped_over() {
        let mut packet = vec![0xb2, 0x80 | 111, 0x12, 0x34, 0, 0, 0, 9, 1, 2, 3, 4];
        packet.extend([0; 8]); // two CSRCs
        packet.extend([0xbe, 0xde, 0, 1, 9, 9, 9, 9]); // one word of extension
        packet.extend([7, 7, 7, 0, 2]); // three of payload, two of padding
        let header = RtpHeader::parse(&packet).unwrap();
        assert_eq!((header.marker, header.pt, header.seq, header.timestamp), (true, 111, 0x1234, 9));
        assert_eq!(header.ssrc, 0x0102_0304);
        assert_eq!(&packet[header.payload], &[7, 7, 7]);
    }

    #[test]
    fn what_lies_about_its_lengths_is_refused() {
        assert_eq!(RtpHeader::parse(&[0x80; 11]), Err(RtpError::Truncated));
        assert_eq!(RtpHeader::parse(&[0x40; 12]), Err(RtpError::Version));
        assert_eq!(RtpHeader::parse(&[0x81; 12]), Err(RtpError::Truncated));
        assert_eq!(RtpHeader::parse(&[0x90; 15]), Err(RtpError::Truncated));
        assert_eq!(RtpHeader::parse(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]), Err(RtpError::Padding));
        assert_eq!(RtpHeader::parse(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(RtpError::Padding));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = RtpHeader::parse(&bytes) {
                prop_assert!(header.payload.start <= header.payload.end && header.payload.end <= bytes.len());
                let mut again = bytes.clone();
                set_fields(&mut again, &header);
                prop_assert_eq!(bytes, again);
            }
        }
    }
}
