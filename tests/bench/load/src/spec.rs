//! What is to be sent where: the peers kit's JSON, which its drivers write, and a few things more that only we read.

use std::net::SocketAddrV4;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::turns::Turns;

/// A run.
#[derive(Debug, Deserialize)]
pub(crate) struct Spec {
    /// How long to send.
    pub(crate) duration_s: f64,
    /// How much of its start is not measured.
    pub(crate) warmup_s: f64,
    pub(crate) endpoints: Vec<EndpointSpec>,
    /// How the parties of a call talk.
    #[serde(default)]
    pub(crate) talk: Talk,
    /// The turns are drawn from it.
    #[serde(default = "one")]
    pub(crate) seed: u64,
    /// The audio of every so many calls is decoded and compared with what was sent.
    #[serde(default = "twenty")]
    pub(crate) audio_every: usize,
    /// A line of figures is written each so many seconds while it runs; 0 for none.
    #[serde(default)]
    pub(crate) interval_s: f64,
    /// The first call's received audio, 8,000 Hz s16, goes into `<record>-<endpoint>.s16`, what was sent into
    /// `<record>-<endpoint>-sent.s16`.
    #[serde(default)]
    pub(crate) record: Option<String>,
    /// Of several loads at one time, the turns that this one has.
    #[serde(default)]
    pub(crate) turns: Turns,
}

fn one() -> u64 {
    1
}

fn twenty() -> usize {
    20
}

/// How the two parties of a call talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Talk {
    /// Both all the time.
    #[default]
    Always,
    /// One at a time.
    Turns,
}

/// One end of a call.
#[derive(Debug, Deserialize)]
pub(crate) struct EndpointSpec {
    pub(crate) local: SocketAddrV4,
    pub(crate) remote: SocketAddrV4,
    codec: String,
    pub(crate) pt: u8,
    /// Whose media arrives here; negative for nobody's.
    pub(crate) peer: Option<i64>,
    srtp: Option<Sdes>,
    /// `active` or `passive`.
    pub(crate) dtls: Option<String>,
    pub(crate) ice: Option<IceSpec>,
    /// What the gateway's description asks for, of a browser.
    #[serde(default)]
    pub(crate) opus: OpusWish,
}

/// What a description asks of who sends Opus to it (RFC 7587 section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) struct OpusWish {
    /// `maxplaybackrate=8000`.
    #[serde(default)]
    pub(crate) narrowband: bool,
    /// `maxaveragebitrate`, in bits a second.
    #[serde(default)]
    pub(crate) bitrate: Option<i32>,
    /// `usedtx=1`; where it is not known, who talks in turns leaves silence out.
    #[serde(default)]
    pub(crate) dtx: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Sdes {
    tx: String,
    rx: String,
}

/// The credentials of both sides.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct IceSpec {
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) remote_ufrag: String,
    pub(crate) remote_pwd: String,
}

/// A codec that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Pcmu,
    Pcma,
    Opus,
}

impl Codec {
    pub(crate) const ALL: [Self; 3] = [Self::Pcmu, Self::Pcma, Self::Opus];

    /// Timestamp ticks of a frame of 20 ms.
    pub(crate) fn frame_ticks(self) -> u32 {
        if self == Self::Opus { 960 } else { 160 }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::Opus => "opus",
        }
    }
}

/// A master key of 16 bytes and its salt of 14 (RFC 3711).
pub(crate) type MasterKey = [u8; 30];

impl EndpointSpec {
    pub(crate) fn codec(&self) -> Result<Codec> {
        let named = Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(&self.codec));
        named.with_context(|| format!("spec: codec {} is none of PCMU, PCMA, opus", self.codec))
    }

    /// What SDES agreed on: to send with, to receive with.
    pub(crate) fn sdes(&self) -> Result<Option<(MasterKey, MasterKey)>> {
        let key = |text: &str| -> Result<MasterKey> {
            let bytes = BASE64_STANDARD.decode(text).context("spec: srtp key")?;
            bytes.try_into().map_err(|_| anyhow::anyhow!("spec: an srtp key has 30 bytes"))
        };
        self.srtp.as_ref().map(|sdes| Ok((key(&sdes.tx)?, key(&sdes.rx)?))).transpose()
    }
}

impl Spec {
    pub(crate) fn read(path: &std::path::Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let spec: Self = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        spec.turns.check()?;
        let count = spec.endpoints.len();
        for endpoint in &spec.endpoints {
            endpoint.codec()?;
            if endpoint.peer.is_some_and(|peer| peer >= count as i64) {
                bail!("spec: a peer that is none of the {count} endpoints");
            }
        }
        if spec.duration_s < spec.warmup_s + 1.0 {
            bail!("spec: duration_s must leave at least a second after warmup_s");
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kits_spec_is_read_as_it_is() {
        let text = r#"{"duration_s":8,"warmup_s":2,"endpoints":[
            {"local":"127.0.7.1:10000","remote":"127.0.7.2:20000","codec":"opus","pt":111,"peer":1,"probe":true,
             "dtls":"active","ice":{"ufrag":"a","pwd":"b","remote_ufrag":"c","remote_pwd":"d","controlling":true}},
            {"local":"127.0.7.1:16000","remote":"127.0.7.2:20002","codec":"PCMU","pt":0,"peer":0,"mark":true,
             "srtp":{"tx":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","rx":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}]}"#;
        let spec: Spec = serde_json::from_str(text).expect("a spec");
        assert_eq!((spec.talk, spec.audio_every), (Talk::Always, 20));
        assert_eq!(spec.endpoints[0].codec().expect("a codec"), Codec::Opus);
        assert!(spec.endpoints[0].sdes().expect("no keys").is_none());
        assert_eq!(spec.endpoints[1].sdes().expect("keys"), Some(([0; 30], [0; 30])));
    }
}
