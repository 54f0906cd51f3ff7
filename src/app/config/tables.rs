//! The tables of `ringway.toml`, each with its keys and their defaults.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::fields::{origins, peer_address, peer_name, port, some_port};
use crate::policy::source::{text_as, whole};

/// More threads than this carry no audio.
const MAX_WORKERS: u64 = 64;

/// `[web]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Web {
    /// HTTPS and WSS.
    #[serde(deserialize_with = "port")]
    pub port: u16,
    /// HTTP and WS without TLS; off when absent.
    #[serde(deserialize_with = "some_port")]
    pub plain_port: Option<u16>,
    /// Pages of these origins may open the WebSocket; none: only the gateway's own.
    #[serde(deserialize_with = "origins")]
    pub allowed_origins: Vec<String>,
    /// A certificate chain in PEM; absent: self-signed, made at the first start.
    pub certificate_file: Option<PathBuf>,
    /// Its private key in PEM.
    pub key_file: Option<PathBuf>,
}

impl Default for Web {
    fn default() -> Self {
        Self { port: 8443, plain_port: None, allowed_origins: Vec::new(), certificate_file: None, key_file: None }
    }
}

/// `[sip]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sip {
    /// SIP over UDP, on each of `addresses`.
    #[serde(deserialize_with = "port")]
    pub udp_port: u16,
}

impl Default for Sip {
    fn default() -> Self {
        Self { udp_port: 5060 }
    }
}

/// `[media]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Media {
    /// How many threads carry audio; 0 is one a core. [`Media::worker_count`] is what it comes to.
    #[serde(deserialize_with = "whole::<_, _, 0, MAX_WORKERS>")]
    pub workers: usize,
    /// UDP ports for the audio of browsers: one a worker, from this one on.
    #[serde(deserialize_with = "port")]
    pub webrtc_port: u16,
    /// UDP ports for phones and PBXs: two a stream (RTP even, RTCP odd), or two a worker for all that are not behind NAT.
    pub rtp_ports: PortRange,
    /// More calls at once are refused (503).
    #[serde(deserialize_with = "whole::<_, _, 1, 100_000>")]
    pub max_calls: usize,
    /// A call whose phone or browser should send audio and sends nothing for so long is ended; 0 is never.
    #[serde(deserialize_with = "whole::<_, _, 0, 86_400>")]
    pub rtp_timeout_secs: u32,
    /// The same while it is on hold.
    #[serde(deserialize_with = "whole::<_, _, 0, 86_400>")]
    pub rtp_hold_timeout_secs: u32,
}

impl Default for Media {
    fn default() -> Self {
        Self {
            workers: 0,
            webrtc_port: 20_000,
            rtp_ports: PortRange { first: 20_064, last: 29_999 },
            max_calls: 500,
            rtp_timeout_secs: 60,
            rtp_hold_timeout_secs: 3_600,
        }
    }
}

impl Media {
    /// How many workers there are.
    #[must_use]
    pub fn worker_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS as usize);
        if self.workers == 0 { cores() } else { self.workers }
    }

    /// The workers' ports for browsers; none if there are not so many.
    #[must_use]
    pub fn webrtc_ports(&self) -> Option<RangeInclusive<u16>> {
        let last = usize::from(self.webrtc_port) + self.worker_count() - 1;
        Some(self.webrtc_port..=u16::try_from(last).ok()?)
    }
}

/// `[calls]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Calls {
    /// How long a call rings before the caller hears "no answer".
    #[serde(deserialize_with = "whole::<_, _, 5, 600>")]
    pub ring_secs: u32,
    /// How long a call outlives its browser's WebSocket: long enough to reload a page, or to change the network.
    #[serde(deserialize_with = "whole::<_, _, 0, 60>")]
    pub websocket_grace_secs: u32,
    /// A WAV file that callers on hold hear; absent: the built-in music.
    pub hold_music_file: Option<PathBuf>,
}

impl Default for Calls {
    fn default() -> Self {
        Self { ring_secs: 60, websocket_grace_secs: 8, hold_music_file: None }
    }
}

/// `[registrar]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registrar {
    /// A shorter registration is refused (423).
    #[serde(deserialize_with = "whole::<_, _, 1, 86_400>")]
    pub min_expires_secs: u32,
    /// A longer one is shortened to this.
    #[serde(deserialize_with = "whole::<_, _, 1, 86_400>")]
    pub max_expires_secs: u32,
    /// For a registration that asks for none.
    #[serde(deserialize_with = "whole::<_, _, 1, 86_400>")]
    pub default_expires_secs: u32,
    /// Devices of one account at once.
    #[serde(deserialize_with = "whole::<_, _, 1, 100>")]
    pub max_bindings_per_account: usize,
}

impl Default for Registrar {
    fn default() -> Self {
        Self { min_expires_secs: 60, max_expires_secs: 3600, default_expires_secs: 600, max_bindings_per_account: 10 }
    }
}

/// `[digest]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Digest {
    /// How long a challenge may be answered.
    #[serde(deserialize_with = "whole::<_, _, 10, 86_400>")]
    pub nonce_lifetime_secs: u32,
}

impl Default for Digest {
    fn default() -> Self {
        Self { nonce_lifetime_secs: 300 }
    }
}

/// `[profiles]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profiles {
    /// Of those who come by WebSocket.
    pub browser: String,
    /// Of those who register by UDP.
    pub phone: String,
    /// A directory of own `NAME.toml` profiles, which go over the built-in ones of the same name.
    pub dir: Option<PathBuf>,
}

impl Default for Profiles {
    fn default() -> Self {
        Self { browser: "jssip".to_owned(), phone: "generic-phone".to_owned(), dir: None }
    }
}

/// `[dialplan]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct DialplanFile {
    /// An own dialplan in place of the built-in one.
    pub file: Option<PathBuf>,
}

/// `[[peer]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// What the dialplan, logs and call records call it.
    #[serde(deserialize_with = "peer_name")]
    pub name: String,
    /// Where it sends from and is sent to.
    #[serde(deserialize_with = "peer_address")]
    pub address: SocketAddr,
    /// How it speaks.
    #[serde(default = "peer_profile")]
    pub profile: String,
    /// Whether it may call without authenticating.
    #[serde(default)]
    pub trusted: bool,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// The least important line that is written.
    pub level: LogLevel,
    /// Whether numbers, addresses and names are shown in clear.
    pub reveal: bool,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what is odd.
    Warn,
    /// And what each call did, in about six lines.
    #[default]
    Info,
    /// And why.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word that a tracing filter takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// UDP ports from `first` (even) to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// An even port.
    pub first: u16,
    /// Above `first`.
    pub last: u16,
}

impl PortRange {
    /// Whether a port is in it.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether any port of another range is in it.
    #[must_use]
    pub fn overlaps(self, other: &RangeInclusive<u16>) -> bool {
        self.first <= *other.end() && *other.start() <= self.last
    }

    /// Reads `20064-29999`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        let range = Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
        (range.first >= 1024 && range.first.is_multiple_of(2) && range.last > range.first).then_some(range)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "two ports as \"20064-29999\": the first even and at least 1024, the last higher";
        text_as(from, expected, Self::parse)
    }
}

fn peer_profile() -> String {
    "generic-pbx".to_owned()
}
