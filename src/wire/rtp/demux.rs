/// What one datagram of a shared port is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// First byte 0 to 3.
    Stun,
    /// First byte 20 to 63.
    Dtls,
    /// First byte 128 to 191, and the second is no RTCP packet type.
    Rtp,
    /// First byte 128 to 191, and the second is 192 to 223.
    Rtcp,
    /// ZRTP, TURN channels, QUIC, nothing at all: not for us.
    Unknown,
}

/// Tells the protocols of one port apart: RFC 7983 section 7 by the first byte, RFC 5761 section 4 by the second.
#[must_use]
pub fn classify(datagram: &[u8]) -> Kind {
    match datagram {
        [0..=3, ..] => Kind::Stun,
        [20..=63, ..] => Kind::Dtls,
        [128..=191, 192..=223, ..] => Kind::Rtcp,
        [128..=191, _, ..] => Kind::Rtp,
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_of_rfc_7983_at_their_edges() {
        let kinds = [(0, Kind::Stun), (3, Kind::Stun), (4, Kind::Unknown), (19, Kind::Unknown), (20, Kind::Dtls)];
        for (first, kind) in kinds.into_iter().chain([(63, Kind::Dtls), (64, Kind::Unknown), (192, Kind::Unknown)]) {
            assert_eq!(classify(&[first, 0]), kind, "{first}");
        }
        assert_eq!(classify(&[0x80, 0x80 | 101]), Kind::Rtp);
        assert_eq!(classify(&[0x80, 191]), Kind::Rtp);
        assert_eq!(classify(&[0x81, 192]), Kind::Rtcp);
        assert_eq!(classify(&[0x81, 223]), Kind::Rtcp);
        assert_eq!(classify(&[0x80]), Kind::Unknown);
        assert_eq!(classify(&[]), Kind::Unknown);
    }
}
