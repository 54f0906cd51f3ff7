use std::fmt;

/// `a=sendrecv` and its kin (RFC 8866 section 6.7), as their author sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways; what silence means.
    #[default]
    SendRecv,
    /// The author sends.
    SendOnly,
    /// The author listens.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// From what its author does.
    #[must_use]
    pub fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether its author sends.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether its author listens.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive].into_iter().find(|d| d.as_str() == name)
    }
}

/// `a=setup` (RFC 4145, RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// Its author sends the ClientHello.
    Active,
    /// Its author waits for it.
    Passive,
    /// The answerer chooses.
    ActPass,
}

impl Setup {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Passive, Self::ActPass].into_iter().find(|s| text.eq_ignore_ascii_case(s.as_str()))
    }
}

/// `a=fingerprint:sha-256 …` (RFC 8122); other hash functions are not spoken by today's browsers nor by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (function, hex) = text.split_once(' ')?;
        if !function.eq_ignore_ascii_case("sha-256") {
            return None;
        }
        let mut out = [0; 32];
        let mut parts = hex.trim().split(':');
        for byte in &mut out {
            *byte = parts.next().filter(|p| p.len() == 2).and_then(|p| u8::from_str_radix(p, 16).ok())?;
        }
        parts.next().is_none().then_some(Self(out))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha-256 ")?;
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

/// `a=rtpmap:111 opus/48000/2` (RFC 8866 section 6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpMap {
    /// Payload type, 0 to 127.
    pub pt: u8,
    /// Encoding name, as written; compared in any case.
    pub name: String,
    /// RTP ticks a second.
    pub clock_hz: u32,
    /// Channels; 1 unless said.
    pub channels: u8,
}

impl RtpMap {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (pt, map) = text.split_once(' ')?;
        let mut parts = map.trim().split('/');
        let name = parts.next().filter(|n| !n.is_empty())?.to_owned();
        let clock_hz = parts.next()?.parse().ok()?;
        let channels = parts.next().map_or(Some(1), |c| c.parse().ok())?;
        Some(Self { pt: pt.parse().ok().filter(|pt| *pt < 128)?, name, clock_hz, channels })
    }

    /// The static assignments of RFC 3551 that need no line of their own.
    pub(super) fn of_static(pt: u8) -> Option<Self> {
        let name = match pt {
            0 => "PCMU",
            8 => "PCMA",
            _ => return None,
        };
        Some(Self { pt, name: name.to_owned(), clock_hz: 8_000, channels: 1 })
    }
}

/// `a=fmtp:111 useinbandfec=1` (RFC 8866 section 6.15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fmtp {
    /// Payload type.
    pub pt: u8,
    /// Its parameters, as written.
    pub params: String,
}

impl Fmtp {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (pt, params) = text.split_once(' ')?;
        Some(Self { pt: pt.parse().ok().filter(|pt| *pt < 128)?, params: params.trim().to_owned() })
    }
}
