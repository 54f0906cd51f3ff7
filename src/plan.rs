//! All that crosses between signalling and media: plain data, commands one way, events the other.
//!
//! Signalling decides everything at negotiation (which codec, which path, which addresses are believed); media carries
//! it out packet by packet and never asks back. No RTP packet crosses here.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One leg of a call: the same id names its dialog in signalling and its packets in media. Minted by the engine, never used
/// twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

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
    /// Classic RTP: a port pair (RTP even, RTCP the next) on `local`.
    Rtp {
        /// One of the worker's own addresses.
        local: IpAddr,
        /// Whose the pair is.
        port: RtpPort,
    },
    /// A browser: on a port shared with others, found by `ice_ufrag`.
    WebRtc {
        /// Our ICE user fragment, unique among live legs.
        ice_ufrag: String,
        /// Our ICE password (RFC 8839: 22 to 256 characters).
        ice_pwd: String,
    },
}

/// Whose port a classic leg is heard on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtpPort {
    /// Its own: nobody can tell from where its far side will send (a NATed phone).
    Own,
    /// One that it shares with others, each found by the address that its far side's SDP names (RFC 4961: it sends from where it
    /// listens). It is its own all the same where another leg's far side has that address.
    Shared {
        /// What SDP names, if that is known already.
        remote: Option<SocketAddr>,
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
    /// Number and clock of the other ones, where we offered events at two clocks and both were taken: a browser was seen to
    /// send those at 8,000 beside Opus.
    pub rx_other: Option<(Pt, u32)>,
}

impl DtmfPlan {
    /// The events that a packet of this payload type carries, if it carries any.
    #[must_use]
    pub fn received_as(self, pt: u8) -> Option<Self> {
        let other = self.rx_other.filter(|(other, _)| other.0 == pt);
        match other {
            _ if self.rx_pt.0 == pt => Some(self),
            Some((rx_pt, clock_hz)) => Some(Self { rx_pt, clock_hz, ..self }),
            None => None,
        }
    }
}

/// How key presses reach the far side of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DtmfWay {
    /// As telephone events; [`LegPlan::events`] has their numbers.
    Events,
    /// As INFO: media tells of each one by [`MediaEvent::Dtmf`] and sends nothing itself.
    Signalling,
    /// As tones in the audio.
    Tones,
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
    /// Telephone events, if both have them; they are taken from the far side whatever [`LegPlan::dtmf_tx`] says.
    pub events: Option<DtmfPlan>,
    /// How key presses are sent to the far side.
    pub dtmf_tx: DtmfWay,
    /// Whether the far side presses keys as tones in its audio, so that they must be listened for.
    pub dtmf_rx_tones: bool,
    /// How much audio a packet that we send holds.
    pub ptime_ms: u8,
    /// What we send with; ours alone, told in SDP where SDP tells it.
    pub tx_ssrc: Ssrc,
    /// Whether the far side sends to us.
    pub rx: bool,
    /// Whether we send to the far side.
    pub tx: bool,
}

/// What a leg hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nothing is sent to it.
    Nothing,
    /// Another leg. Each leg is heard by one other at most; who listened before hears nothing.
    Leg(LegId),
    /// Itself (the demo number 600).
    Itself,
    /// A sine of this pitch (the demo number 601).
    Tone {
        /// Hertz.
        hz: u16,
    },
    /// The tone of a phone that rings elsewhere: 425 Hz, 1 s on, 4 s off.
    Ringback,
    /// The organisation's hold music, or the built-in one.
    Music,
}

/// How packets are carried from one leg to another: fixed when both have agreed, one `match` in the hot loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// SSRC, sequence, timestamp and payload type are rewritten, the payload is not touched.
    Rewrite,
    /// Decode and encode.
    Transcode,
}

impl Path {
    /// How packets of `from`'s far side reach `to`'s: decoded where the codecs differ, and where key presses must be heard
    /// in the audio or put into it.
    #[must_use]
    pub fn between(from: &LegPlan, to: &LegPlan) -> Self {
        let tones_change = from.dtmf_rx_tones != (to.dtmf_tx == DtmfWay::Tones);
        if from.codec == to.codec && !tones_change { Self::Rewrite } else { Self::Transcode }
    }
}

impl fmt::Display for LegPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} pt {}>{}", self.codec.sdp_name(), self.codec.clock_hz(), self.rx_pt.0, self.tx_pt.0)?;
        if let Some(dtmf) = self.events {
            write!(f, " dtmf {}>{}@{}", dtmf.rx_pt.0, dtmf.tx_pt.0, dtmf.clock_hz)?;
        }
        Ok(())
    }
}

/// Signalling to media. Commands are carried out in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaCommand {
    /// Make a leg. Answered by [`MediaEvent::Opened`] or [`MediaEvent::OpenFailed`].
    Open {
        /// Which.
        leg: LegId,
        /// What kind.
        how: LegOpen,
        /// A leg that it is likely to be joined with (its call's first): it is made where that is, for legs that hear each
        /// other are one worker's.
        beside: Option<LegId>,
    },
    /// The far side's SDP is known: connectivity checks, the handshake and RTP may be answered. Said again, it replaces.
    SetRemote {
        /// Which.
        leg: LegId,
        /// Where and who it is.
        remote: LegRemote,
    },
    /// ICE starts anew on a browser leg (RFC 8839 section 4.4.1.1.1): these are our credentials from now on. Checks with the
    /// old ones are answered until one with the new has succeeded.
    RestartIce {
        /// Which.
        leg: LegId,
        /// Our ICE user fragment.
        ice_ufrag: String,
        /// Our ICE password.
        ice_pwd: String,
    },
    /// What the leg agreed to, and what it hears. Said again, it replaces; what stays the same goes on unbroken. A leg hears
    /// another as soon as both have a path.
    SetPath {
        /// Which.
        leg: LegId,
        /// What was agreed.
        plan: LegPlan,
        /// What it hears.
        hears: Source,
    },
    /// Press a key toward the far side of a leg, as its [`LegPlan::dtmf_tx`] says. While it lasts it takes the place of what
    /// the leg hears; a few wait for their turn, more are dropped.
    Dtmf {
        /// Which.
        leg: LegId,
        /// 0 to 9, 10 for `*`, 11 for `#`, 12 to 15 for A to D (RFC 4733 section 3.2).
        event: u8,
        /// Its length.
        duration_ms: u32,
    },
    /// End a leg; answered by [`MediaEvent::Closed`].
    Close {
        /// Which.
        leg: LegId,
    },
}

/// Media to signalling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MediaEvent {
    /// The leg exists; a classic leg's SDP may name this address (RTP's; RTCP is the next port), a browser's these candidates.
    Opened {
        /// Which.
        leg: LegId,
        /// RTP address of a classic leg (one); host candidates of a browser's (one an address of the gateway).
        local: Vec<SocketAddr>,
    },
    /// The leg could not be made.
    OpenFailed {
        /// Which.
        leg: LegId,
        /// Why.
        cause: OpenFailure,
    },
    /// Media can flow: keys are there and the fingerprint matched (browser), or the first believed packet came (classic).
    Connected {
        /// Which.
        leg: LegId,
    },
    /// The far side of a leg pressed a key, by event or by tone, that the leg which hears it wants to be told of by
    /// signalling. Told once, when the key was let go.
    Dtmf {
        /// Which leg's far side.
        leg: LegId,
        /// As in [`MediaCommand::Dtmf`].
        event: u8,
        /// How long it was pressed.
        duration_ms: u32,
    },
    /// Of what a leg's far side sends, or of what it is sent, at least 3 % has been lost for a quarter of a minute. Told once,
    /// and again only after the leg's codec has changed.
    Lossy {
        /// Which leg.
        leg: LegId,
    },
    /// This leg will never work, or no longer does.
    Failed {
        /// Which.
        leg: LegId,
        /// Why.
        cause: LegFailure,
    },
    /// The leg is gone: it was told to close, or it met a broken invariant. Told once.
    Closed {
        /// Which.
        leg: LegId,
        /// What it did.
        stats: LegStats,
    },
}

/// Why a leg could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFailure {
    /// No free port pair in the configured range.
    NoPort,
    /// The worker holds as many legs as it was given room for.
    TooManyLegs,
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
    /// No valid connectivity check came in time, or they stopped (RFC 7675).
    IceTimeout,
    /// Neither RTP nor RTCP came for as long as the configuration allows.
    RtpTimeout,
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
