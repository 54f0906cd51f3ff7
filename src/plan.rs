//! All that crosses between signalling and media: plain data, commands one way, events the other.
//!
//! Signalling decides everything at negotiation (which codec, which path, which addresses are believed); media carries
//! it out packet by packet and never asks back. No RTP packet crosses here.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One media session: the media legs of one call, owned by one worker. Minted by the engine, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Which leg of a session: `A` came in, `B` goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The leg that came in.
    A,
    /// The leg that goes out.
    B,
}

impl Side {
    /// The other leg.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// An RTP payload type number, 0 to 127 (RFC 3550 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pt(pub u8);

/// An RTP synchronisation source (RFC 3550 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

/// An audio codec that the gateway can decode and encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// RFC 6716, RTP payload RFC 7587; the RTP clock is 48,000 Hz whatever is sent.
    Opus,
    /// G.711 µ-law, 8,000 Hz; static payload type 0 (RFC 3551).
    Pcmu,
    /// G.711 A-law, 8,000 Hz; static payload type 8 (RFC 3551).
    Pcma,
}

impl Codec {
    /// RTP timestamp ticks a second.
    #[must_use]
    pub fn clock_hz(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Pcmu | Self::Pcma => 8_000,
        }
    }

    /// The encoding name as SDP writes it.
    #[must_use]
    pub fn sdp_name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }
}

/// How a media leg is made: what must exist before SDP can name its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegOpen {
    /// Classic RTP: a port pair (RTP even, RTCP the next) of its own on `local`.
    Rtp {
        /// One of the worker's own addresses.
        local: IpAddr,
    },
    /// A browser: on the port shared by all, found by `ice_ufrag`.
    WebRtc {
        /// Our ICE user fragment, unique among live sessions.
        ice_ufrag: String,
        /// Our ICE password (RFC 8839: 22 to 256 characters).
        ice_pwd: String,
    },
}

/// Which end of the DTLS handshake we are (RFC 8842).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtlsRole {
    /// `setup:active`: we send the ClientHello.
    Client,
    /// `setup:passive`: we wait for it.
    Server,
}

/// What the far side's SDP said of its end of one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegRemote {
    /// Classic RTP.
    Rtp {
        /// Where SDP says that RTP goes and comes from.
        rtp: SocketAddr,
        /// Where RTCP goes: `a=rtcp`, else the next port; the same as `rtp` with rtcp-mux.
        rtcp: SocketAddr,
        /// A NATed phone: take the first source that sends valid RTP of an agreed payload type and hold on to it, and to no
        /// other. Without it only `rtp` is believed.
        latch: bool,
    },
    /// A browser.
    WebRtc {
        /// Its ICE user fragment.
        ice_ufrag: String,
        /// Its ICE password.
        ice_pwd: String,
        /// SHA-256 of its certificate, from `a=fingerprint`.
        fingerprint: [u8; 32],
        /// Our role.
        role: DtlsRole,
    },
}

/// Telephone events (RFC 4733) as agreed on one leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DtmfPlan {
    /// The payload type that we told them to send.
    pub rx_pt: Pt,
    /// The payload type that they told us to send.
    pub tx_pt: Pt,
    /// 8,000 or 48,000: the clock of the audio codec that it stands beside.
    pub clock_hz: u32,
}

/// What one leg agreed to: all that the hot path needs to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegPlan {
    /// The audio codec, the same both ways.
    pub codec: Codec,
    /// The payload type that arrives (we named it in our SDP).
    pub rx_pt: Pt,
    /// The payload type that we send (they named it in theirs).
    pub tx_pt: Pt,
    /// Telephone events, if both have them.
    pub dtmf: Option<DtmfPlan>,
    /// How much audio a packet that we send holds.
    pub ptime_ms: u8,
    /// What we send with; ours alone, told in SDP where SDP tells it.
    pub tx_ssrc: Ssrc,
    /// Whether the far side sends to us.
    pub rx: bool,
    /// Whether we send to the far side.
    pub tx: bool,
}

/// What happens to a packet between the legs: fixed at negotiation, one `match` in the hot loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Same codec on both legs: SSRC, sequence, timestamp and payload type are rewritten, the payload is not touched.
    Rewrite,
    /// Decode and encode.
    Transcode,
    /// No leg `B`: what arrives on `A` goes back to `A` (the demo number 600).
    Echo,
    /// No leg `B`: a sine of this pitch is played to `A` (the demo number 601).
    Tone {
        /// Hertz.
        hz: u16,
    },
}

/// The whole way through the media core for one session. Its `Display` is the pipeline in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionPlan {
    /// Leg A.
    pub a: LegPlan,
    /// Leg B; none for [`Path::Echo`] and [`Path::Tone`].
    pub b: Option<LegPlan>,
    /// What happens between them.
    pub path: Path,
}

impl fmt::Display for LegPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} pt {}>{}", self.codec.sdp_name(), self.codec.clock_hz(), self.rx_pt.0, self.tx_pt.0)?;
        if let Some(dtmf) = self.dtmf {
            write!(f, " dtmf {}>{}@{}", dtmf.rx_pt.0, dtmf.tx_pt.0, dtmf.clock_hz)?;
        }
        Ok(())
    }
}

impl fmt::Display for SessionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path, &self.b) {
            (Path::Echo, _) => write!(f, "A [{}] -> echo -> A", self.a),
            (Path::Tone { hz }, _) => write!(f, "tone {hz} Hz -> A [{}]", self.a),
            (path, Some(b)) => write!(f, "A [{}] <- {path:?} -> B [{b}]", self.a),
            (path, None) => write!(f, "A [{}] <- {path:?} -> nothing", self.a),
        }
    }
}

/// Signalling to media. Commands of one session are carried out in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaCommand {
    /// Make a leg; the session is made with its first. Answered by [`MediaEvent::Opened`] or [`MediaEvent::OpenFailed`].
    Open {
        /// Which session.
        session: SessionId,
        /// Which leg.
        side: Side,
        /// What kind.
        leg: LegOpen,
    },
    /// The far side's SDP is known: connectivity checks, the handshake and RTP may be answered. Said again, it replaces.
    SetRemote {
        /// Which session.
        session: SessionId,
        /// Which leg.
        side: Side,
        /// Where and who it is.
        remote: LegRemote,
    },
    /// Both sides have agreed: packets flow. Said again, it replaces.
    SetPath {
        /// Which session.
        session: SessionId,
        /// How.
        plan: SessionPlan,
    },
    /// End one leg and keep the other (a branch that was not taken). Answered by nothing.
    CloseLeg {
        /// Which session.
        session: SessionId,
        /// Which leg.
        side: Side,
    },
    /// End the session; answered by [`MediaEvent::Closed`].
    Close {
        /// Which session.
        session: SessionId,
    },
}

/// Media to signalling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// The leg exists; a classic leg's SDP may name this address (RTP's; RTCP is the next port), a browser's these candidates.
    Opened {
        /// Which session.
        session: SessionId,
        /// Which leg.
        side: Side,
        /// RTP address of a classic leg (one); host candidates of a browser's (one an address of the gateway).
        local: Vec<SocketAddr>,
    },
    /// The leg could not be made.
    OpenFailed {
        /// Which session.
        session: SessionId,
        /// Which leg.
        side: Side,
        /// Why.
        cause: OpenFailure,
    },
    /// Media can flow: keys are there and the fingerprint matched (browser), or the first believed packet came (classic).
    Connected {
        /// Which session.
        session: SessionId,
        /// Which leg.
        side: Side,
    },
    /// This leg will never work, or no longer does.
    Failed {
        /// Which session.
        session: SessionId,
        /// Which leg.
        side: Side,
        /// Why.
        cause: LegFailure,
    },
    /// The session is gone; what it did.
    Closed {
        /// Which session.
        session: SessionId,
        /// Counts of leg A.
        a: LegStats,
        /// Counts of leg B.
        b: LegStats,
    },
}

/// Why a leg could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFailure {
    /// No free port pair in the configured range.
    NoPort,
    /// The worker holds as many sessions as it was given room for.
    TooManySessions,
    /// `local` is none of the worker's addresses.
    NotOurAddress,
}

/// Why a leg failed after it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegFailure {
    /// The certificate is not the one that SDP promised.
    FingerprintMismatch,
    /// The handshake broke.
    Dtls,
    /// The far side ended DTLS (the page closed its connection).
    DtlsClosed,
    /// No valid connectivity check came in time, or they stopped.
    IceTimeout,
}

/// What one leg received and sent: `rx_packets` = sent on or held + `rx_dropped` (RTP only).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct LegStats {
    /// RTP packets that arrived for this leg.
    pub rx_packets: u64,
    /// Of those, dropped, whatever the reason.
    pub rx_dropped: u64,
    /// Packets that sequence numbers say were lost before us.
    pub rx_lost: u64,
    /// RTP packets sent.
    pub tx_packets: u64,
    /// What the far side's last RTCP report said it lost of ours, cumulative.
    pub remote_lost: u32,
    /// Interarrival jitter as RFC 3550 section 6.4.1 defines it, in microseconds.
    pub rx_jitter_us: u32,
    /// Round trip by RTCP (RFC 3550 section 6.4.1), in microseconds; 0 when unknown.
    pub rtt_us: u32,
}
