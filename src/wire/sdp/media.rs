use std::net::{IpAddr, SocketAddr};

use super::attribute::{Direction, Fingerprint, Fmtp, RtpMap, Setup};

/// The kind of an m-line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaType {
    /// `m=audio`.
    Audio,
    /// Any other, by its name: refused with port 0, never dropped (RFC 3264 section 6).
    Other(String),
}

impl MediaType {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Audio => "audio",
            Self::Other(name) => name,
        }
    }
}

/// One m-line and what stands below it; attributes that stand at session level are filled in where the line has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `audio`, …
    pub media_type: MediaType,
    /// 0 means refused or switched off.
    pub port: u16,
    /// `RTP/AVP`, `UDP/TLS/RTP/SAVPF`, …
    pub proto: String,
    /// Payload types, as written, in order of preference.
    pub formats: Vec<String>,
    /// `c=`: none when it is a name, which nobody here looks up.
    pub connection: Option<IpAddr>,
    /// `a=mid` (RFC 5888).
    pub mid: Option<String>,
    /// `a=sendrecv` or another.
    pub direction: Direction,
    /// What each payload type is; static ones included.
    pub rtpmaps: Vec<RtpMap>,
    /// Codec parameters.
    pub fmtps: Vec<Fmtp>,
    /// `a=ptime`, in ms.
    pub ptime_ms: Option<u32>,
    /// `a=rtcp-mux` (RFC 5761).
    pub rtcp_mux: bool,
    /// `a=rtcp` (RFC 3605): port, and address if it says one.
    pub rtcp: Option<(u16, Option<IpAddr>)>,
    /// `a=ice-ufrag` (RFC 8839).
    pub ice_ufrag: Option<String>,
    /// `a=ice-pwd`.
    pub ice_pwd: Option<String>,
    /// `a=fingerprint`.
    pub fingerprint: Option<Fingerprint>,
    /// `a=setup`.
    pub setup: Option<Setup>,
}

impl Media {
    /// Where RTP goes.
    #[must_use]
    pub fn rtp_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.connection?, self.port)).filter(|addr| addr.port() != 0)
    }

    /// Where RTCP goes: what `a=rtcp` says, RTP's own address with rtcp-mux, else the next port.
    #[must_use]
    pub fn rtcp_addr(&self) -> Option<SocketAddr> {
        let rtp = self.rtp_addr()?;
        Some(match self.rtcp {
            _ if self.rtcp_mux => rtp,
            Some((port, ip)) => SocketAddr::new(ip.unwrap_or_else(|| rtp.ip()), port),
            None => SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?),
        })
    }

    /// The payload types whose encoding is `name` at `clock_hz`, in the author's order of preference.
    pub fn payload_types<'a>(&'a self, name: &'a str, clock_hz: u32) -> impl Iterator<Item = u8> + 'a {
        self.formats.iter().filter_map(|f| f.parse::<u8>().ok()).filter(move |pt| {
            self.rtpmaps.iter().any(|m| m.pt == *pt && m.clock_hz == clock_hz && m.name.eq_ignore_ascii_case(name))
        })
    }

    /// The `fmtp` parameters of a payload type.
    #[must_use]
    pub fn fmtp(&self, pt: u8) -> Option<&str> {
        self.fmtps.iter().find(|f| f.pt == pt).map(|f| f.params.as_str())
    }
}
