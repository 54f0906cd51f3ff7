//! How a kind of peer speaks: `sip-profiles/*.toml`.
//!
//! One more built-in profile: add the file, name it in [`BUILT_IN`]. One more quirk: a field here, a line with its reason in
//! every file, and a capture in `pcap-fixtures/` that shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use super::source::{self, PolicyError};
use crate::plan::Codec;

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
    #[serde(deserialize_with = "some")]
    pub codecs: Vec<Codec>,
    /// What to do when the two sides could speak without transcoding.
    pub prefer: Prefer,
    /// Milliseconds of audio in a packet that we send it.
    #[serde(deserialize_with = "ptime_ms")]
    pub ptime_ms: u8,
    /// Whether telephone events (RFC 4733) are offered and accepted.
    pub telephone_event: bool,
    /// How key presses are sent to it. What is sent by it is taken however it comes.
    pub dtmf: Dtmf,
    /// Whether its audio is passed on while it holds the other side: it plays music itself.
    pub plays_hold_music: bool,
    /// Seconds between session refreshes (RFC 4028) that our INVITEs ask for and our answers grant at most; 0 asks for none.
    #[serde(deserialize_with = "session_expires_secs")]
    pub session_expires_secs: u32,
    /// Whether provisional responses with a description are acknowledged (RFC 3262) where it can do so.
    pub reliable_provisional: bool,
    /// Digest challenges in the order in which they stand in a 401 or 407.
    #[serde(deserialize_with = "some")]
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
    /// As [`Prefer::Passthrough`], until so much is lost on the way from or to the peer that Opus is worth its price: then it
    /// is asked to speak that, for the rest of the call.
    Auto,
}

/// How key presses reach a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Dtmf {
    /// As RTP events; as tones where it did not agree to events.
    #[serde(rename = "rfc4733")]
    Events,
    /// INFO with `application/dtmf-relay`: key and length.
    #[serde(rename = "info-relay")]
    InfoRelay,
    /// INFO with `application/dtmf`: the key alone.
    #[serde(rename = "info")]
    Info,
    /// As tones in the audio; its own are listened for.
    #[serde(rename = "tones")]
    Tones,
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

/// The profiles that the binary brings along, as (name, file, text).
pub const BUILT_IN: [(&str, &str, &str); 4] = [
    ("jssip", "sip-profiles/jssip.toml", include_str!("../../sip-profiles/jssip.toml")),
    ("generic-phone", "sip-profiles/generic-phone.toml", include_str!("../../sip-profiles/generic-phone.toml")),
    ("generic-pbx", "sip-profiles/generic-pbx.toml", include_str!("../../sip-profiles/generic-pbx.toml")),
    ("webrtc-pbx", "sip-profiles/webrtc-pbx.toml", include_str!("../../sip-profiles/webrtc-pbx.toml")),
];

impl Profile {
    /// Reads one profile's file; `name` is what configuration and logs call it by.
    ///
    /// # Errors
    /// The first key that does not fit, with its line.
    pub fn parse(name: &str, file_name: &str, text: &str) -> Result<Self, PolicyError> {
        let profile: Self = source::read(file_name, text)?;
        Ok(Self { name: name.to_owned(), ..profile })
    }
}

/// The built-in profiles by name; an organisation's own files go over them by the same name.
#[must_use]
pub fn built_in() -> BTreeMap<String, Arc<Profile>> {
    let parse = |(name, file, text): (&str, &str, &str)| {
        let profile = Profile::parse(name, file, text).expect("built-in profiles are read by a test");
        (name.to_owned(), Arc::new(profile))
    };
    BUILT_IN.into_iter().map(parse).collect()
}

/// A list with at least one entry and none twice.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de> + PartialEq>(from: D) -> Result<Vec<T>, D::Error> {
    use serde::de::{Error as _, Unexpected};
    let list = Vec::<T>::deserialize(from)?;
    if list.is_empty() {
        return Err(D::Error::invalid_value(Unexpected::Other("an empty list"), &"at least one entry"));
    }
    if (1..list.len()).any(|i| list[..i].contains(&list[i])) {
        return Err(D::Error::invalid_value(Unexpected::Other("an entry twice"), &"each entry once"));
    }
    Ok(list)
}

/// RFC 4028 section 4: 90 s is the least.
fn session_expires_secs<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    use serde::de::{Error as _, Unexpected};
    let secs = i64::deserialize(from)?;
    let fits = u32::try_from(secs).ok().filter(|secs| *secs == 0 || (90..=86_400).contains(secs));
    fits.ok_or_else(|| D::Error::invalid_value(Unexpected::Signed(secs), &"0, or 90 to 86400"))
}

/// What G.711 and Opus both can do: Opus frames are 10, 20, 40 or 60 ms long (RFC 6716 section 2.1.4).
fn ptime_ms<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
    use serde::de::{Error as _, Unexpected};
    let ms = i64::deserialize(from)?;
    let fits = u8::try_from(ms).ok().filter(|ms| [10, 20, 40, 60].contains(ms));
    fits.ok_or_else(|| D::Error::invalid_value(Unexpected::Signed(ms), &"10, 20, 40 or 60"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_reads() {
        let all = built_in();
        assert_eq!(all.len(), BUILT_IN.len());
        assert_eq!(all["jssip"].digest, [DigestAlgorithm::Md5], "JsSIP knows MD5 alone");
        assert_eq!(all["generic-phone"].digest, [DigestAlgorithm::Md5]);
        assert!(all["generic-phone"].behind_nat && !all["generic-pbx"].behind_nat);
        assert_eq!(all["webrtc-pbx"].media, MediaKind::Webrtc);
    }

    #[test]
    fn an_error_names_file_line_key_and_what_was_expected() {
        let good = BUILT_IN[0].2;
        let ptime = good.replace("ptime_ms = 20", "ptime_ms = 25");
        let line = 1 + good.lines().position(|line| line.starts_with("ptime_ms")).expect("jssip.toml has ptime_ms");
        let error = Profile::parse("jssip", "my.toml", &ptime).expect_err("25 ms is no Opus frame");
        assert_eq!(error.to_string(), format!("my.toml:{line}: ptime_ms: expected 10, 20, 40 or 60, found 25"));
        let codec = good.replace("\"pcma\"", "\"g729\"");
        let error = Profile::parse("jssip", "my.toml", &codec).expect_err("no G.729 here").to_string();
        assert!(error.contains(": codecs: ") && error.contains("found \"g729\""), "{error}");
        let error = Profile::parse("x", "x.toml", "about = \"x\"\nbehind_nat2 = true\n").expect_err("unknown").to_string();
        assert_eq!(error, "x.toml:2: behind_nat2: no such key; did you mean behind_nat?");
    }
}
