//! How a kind of peer speaks: `sip-profiles/*.toml`.

use crate::plan::Codec;
use serde::Deserialize;

/// One kind of peer: what is offered to it, what is believed from it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name that configuration and logs call it by: the file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// What the profile is for, in a sentence.
    pub about: String,
    /// What kind of media it has, whatever carries its SIP.
    pub media: MediaKind,
    /// Codecs that it is offered and that are accepted from it, best first.
    pub codecs: Vec<Codec>,
    /// What to do when the two sides could speak without transcoding.
    pub prefer: Prefer,
    /// Milliseconds of audio in a packet that we send it.
    pub ptime_ms: u8,
    /// Whether telephone events (RFC 4733) are offered and accepted.
    pub telephone_event: bool,
    /// Digest challenges in the order in which they stand in a 401 or 407.
    pub digest: Vec<DigestAlgorithm>,
    /// Whether it sits behind a NAT: RTP is believed from the first source that sends it, SIP goes back where it came from.
    pub behind_nat: bool,
}

/// What carries a peer's audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// ICE, DTLS-SRTP, rtcp-mux: a browser.
    Webrtc,
    /// RTP/AVP in the clear: phones, PBXs, trunks.
    Rtp,
}

/// What a leg's codec is chosen by when more than one would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefer {
    /// The profile's own order: Opus toward a browser survives a bad network, at the price of transcoding.
    Opus,
    /// The other leg's codec first, so that nothing is decoded where both sides have it.
    Passthrough,
}

/// A digest algorithm (RFC 8760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DigestAlgorithm {
    /// RFC 2617; the only one that JsSIP knows.
    #[serde(rename = "MD5")]
    Md5,
    /// FIPS 180-4.
    #[serde(rename = "SHA-256")]
    Sha256,
}
