//! `ringway.toml`: one file, every key with a default but the domain, every mistake named with its file, line and key.
//!
//! One more key: a field in `tables` with its default, and a line with its comment in `init`'s template (a test compares the two).

mod fields;
mod hold_music;
mod tables;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize;

use crate::policy::source::{self, Place};

use fields::{addresses, domain};
pub(super) use fields::{is_domain, reachable};
pub use tables::{Calls, DialplanFile, Digest, Log, LogLevel, Media, Peer, PortRange, Profiles, Registrar, Sip, Web};

/// What is wrong in `ringway.toml`, and where.
pub type ConfigError = crate::policy::PolicyError;

/// All of `ringway.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The SIP domain, which is the digest realm too: passwords are stored for it.
    #[serde(deserialize_with = "domain")]
    pub domain: String,
    /// Where the database, its key and the certificate are kept.
    #[serde(default = "data_dir")]
    pub data_dir: PathBuf,
    /// This machine's addresses that phones and browsers can reach; never empty after [`Config::load`].
    #[serde(default, deserialize_with = "addresses")]
    pub addresses: Vec<IpAddr>,
    /// HTTPS: the page and the WebSocket.
    #[serde(default)]
    pub web: Web,
    /// SIP over UDP.
    #[serde(default)]
    pub sip: Sip,
    /// Audio.
    #[serde(default)]
    pub media: Media,
    /// How long calls wait.
    #[serde(default)]
    pub calls: Calls,
    /// Registrations.
    #[serde(default)]
    pub registrar: Registrar,
    /// Passwords on the wire.
    #[serde(default)]
    pub digest: Digest,
    /// Which profile is for whom.
    #[serde(default)]
    pub profiles: Profiles,
    /// Where numbers go.
    #[serde(default)]
    pub dialplan: DialplanFile,
    /// PBXs and trunks with a fixed address.
    #[serde(default, rename = "peer")]
    pub peers: Vec<Peer>,
    /// Logs.
    #[serde(default)]
    pub log: Log,
    /// Where all this was read.
    #[serde(skip)]
    pub source: Source,
}

/// The file that a configuration came from, kept so that later checks can still name a line.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// Its path as the command line gave it.
    pub path: PathBuf,
    text: String,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

impl Config {
    /// Reads the text of a configuration; relative paths in it are taken from the directory of `path`.
    ///
    /// # Errors
    /// The first key that does not fit.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut config: Self = source::read(&path.display().to_string(), text)?;
        config.source = Source { path: path.to_owned(), text: text.to_owned() };
        config.check_keys_together()?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let Self { data_dir, web, calls, profiles, dialplan, .. } = &mut config;
        let files = [&mut web.certificate_file, &mut web.key_file, &mut calls.hold_music_file];
        let paths = files.into_iter().chain([&mut profiles.dir, &mut dialplan.file]);
        for path in paths.flatten().chain([data_dir]) {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    /// Reads a configuration's file and finds this machine's addresses if it names none.
    ///
    /// # Errors
    /// The file is not there or not readable, a key does not fit, or no address can be found.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                anyhow::anyhow!("{}: there is no such file; `ringway init` writes one, --config names another", path.display())
            }
            _ => anyhow::anyhow!("{}: {error}", path.display()),
        })?;
        let mut config = Self::parse(path, &text)?;
        if config.addresses.is_empty() {
            config.addresses = super::addresses::detect().context("finding this machine's addresses")?;
        }
        Ok(config)
    }

    /// An error about a key that was read well but does not fit what lies outside of the file (`peer.0.profile`).
    #[must_use]
    pub fn wrong(&self, path: &str, expected: &str, found: impl Into<String>) -> ConfigError {
        let file = self.source.path.display().to_string();
        let span = source::span_of(&self.source.text, path);
        let key: Vec<&str> = path.split('.').filter(|part| part.parse::<usize>().is_err()).collect();
        ConfigError::expected(Place { file: &file, text: &self.source.text, span }, &key.join("."), expected, found)
    }

    fn check_keys_together(&self) -> Result<(), ConfigError> {
        let Self { web, sip, media, registrar, peers, .. } = self;
        if web.plain_port == Some(web.port) {
            return Err(self.wrong("web.plain_port", "another port than web.port", web.port.to_string()));
        }
        match (&web.certificate_file, &web.key_file) {
            (Some(_), None) => return Err(self.wrong("web.certificate_file", "key_file beside it", "it alone")),
            (None, Some(_)) => return Err(self.wrong("web.key_file", "certificate_file beside it", "it alone")),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let Some(webrtc) = media.webrtc_ports() else {
            let expected = format!("a port with room behind it for each of the workers ({})", media.worker_count());
            return Err(self.wrong("media.webrtc_port", &expected, media.webrtc_port.to_string()));
        };
        let each = format!("media.webrtc_port ({}, one a worker: to {})", webrtc.start(), webrtc.end());
        if webrtc.contains(&sip.udp_port) {
            return Err(self.wrong("sip.udp_port", &format!("none of {each}"), sip.udp_port.to_string()));
        }
        let rtp = media.rtp_ports;
        let in_rtp = [(rtp.contains(sip.udp_port), format!("sip.udp_port ({})", sip.udp_port)), (rtp.overlaps(&webrtc), each)];
        if let Some((_, other)) = in_rtp.into_iter().find(|(within, _)| *within) {
            let found = format!("{}-{}", rtp.first, rtp.last);
            return Err(self.wrong("media.rtp_ports", &format!("a range without {other}"), found));
        }
        let (min, max, default) = (registrar.min_expires_secs, registrar.max_expires_secs, registrar.default_expires_secs);
        if min > max {
            return Err(self.wrong("registrar.max_expires_secs", &format!("at least min_expires_secs ({min})"), max.to_string()));
        }
        if !(min..=max).contains(&default) {
            let expected = format!("min_expires_secs to max_expires_secs ({min} to {max})");
            return Err(self.wrong("registrar.default_expires_secs", &expected, default.to_string()));
        }
        for (i, peer) in peers.iter().enumerate() {
            if peers[..i].iter().any(|other| other.name == peer.name) {
                let found = format!("\"{}\" twice", peer.name);
                return Err(self.wrong(&format!("peer.{i}.name"), "a name that no other peer has", found));
            }
            if peers[..i].iter().any(|other| other.address == peer.address) {
                let found = format!("{} twice", peer.address);
                return Err(self.wrong(&format!("peer.{i}.address"), "an address that no other peer has", found));
            }
        }
        Ok(())
    }
}

fn data_dir() -> PathBuf {
    PathBuf::from("data")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("etc/ringway.toml"), text)
    }

    #[test]
    fn three_lines_are_enough() {
        let config = parse("domain = \"a.org\"\n[[peer]]\nname = \"pbx\"\naddress = \"10.0.0.2\"\n").expect("it reads");
        assert_eq!(config.data_dir, Path::new("etc/data"), "seen from the file's directory");
        assert_eq!(config.peers[0].address, SocketAddr::from(([10, 0, 0, 2], 5060)));
        assert_eq!((config.peers[0].profile.as_str(), config.peers[0].trusted), ("generic-pbx", false));
    }

    #[test]
    fn each_mistake_is_named_with_line_key_and_what_was_expected() {
        let cases = [
            ("", "1: domain: expected this key, found nothing"),
            ("domain = \"A b\"", "1: domain: expected a domain in lower case, as \"phones.example.org\", found \"A b\""),
            ("domain = \"a\"\n[sip]\nudp_prot = 5060", "3: sip.udp_prot: no such key; did you mean udp_port?"),
            ("domain = \"a\"\n[sip]\nudp_port = \"abc\"", "3: sip.udp_port: expected a port number 1 to 65535, found \"abc\""),
            ("domain = \"a\"\n[sip]\nudp_port = 70000", "3: sip.udp_port: expected a port number 1 to 65535, found 70000"),
            (
                "domain = \"a\"\naddresses = [\n\"10.0.0.1\",\n\"0.0.0.0\"]",
                "4: addresses: expected an IP address of this machine",
            ),
            ("domain = \"a\"\n[media]\nrtp_ports = \"9-8\"", "3: media.rtp_ports: expected two ports as"),
            (
                "domain = \"a\"\n[media]\nwebrtc_port = 20062\nworkers = 3",
                "2: media.rtp_ports: expected a range without media.webrtc_port (20062, one a worker: to 20064)",
            ),
            (
                "domain = \"a\"\n[media]\nwebrtc_port = 5058\nworkers = 3",
                "1: sip.udp_port: expected none of media.webrtc_port (5058, one a worker: to 5060), found 5060",
            ),
            (
                "domain = \"a\"\n[media]\nwebrtc_port = 65530\nworkers = 7",
                "3: media.webrtc_port: expected a port with room behind it for each of the workers (7), found 65530",
            ),
            ("domain = \"a\"\n[media]\nworkers = 65", "3: media.workers: expected a whole number 0 to 64, found 65"),
            (
                "domain = \"a\"\n[calls]\nwebsocket_grace_secs = 61",
                "3: calls.websocket_grace_secs: expected a whole number 0 to 60, found 61",
            ),
            (
                "domain = \"a\"\n[media]\nrtp_timeout_secs = -1",
                "3: media.rtp_timeout_secs: expected a whole number 0 to 86400, found -1",
            ),
            ("domain = \"a\"\n[calls]\nring_seconds = 11", "3: calls.ring_seconds: no such key; did you mean ring_secs?"),
            (
                "domain = \"a\"\n[registrar]\nmin_expires_secs = 4000",
                "2: registrar.max_expires_secs: expected at least min_expires_secs (4000)",
            ),
            ("domain = \"a\"\n[web]\nkey_file = \"k\"", "3: web.key_file: expected certificate_file beside it, found it alone"),
            ("domain = \"a\"\n[web]\nallowed_origins = [\"*\"]", "3: web.allowed_origins: expected an origin without a path"),
            ("domain = \"a\"\n[log]\nlevel = \"loud\"", "3: log.level: expected one of \"error\""),
            ("domain = \"a\"\n[log]\nreveal = 1", "3: log.reveal: expected true or false, found 1"),
            ("domain = \"a\"\n[[peer]]\nname = \"p\"\naddress = \"pbx\"", "4: peer.address: expected an IP address with a port"),
            ("domain = \"a\"\n[[peer]]\nname = \"p\"", "2: peer.address: expected this key"),
            (
                "domain = \"a\"\n[[peer]]\nname = \"p\"\naddress = \"10.0.0.1\"\n[[peer]]\nname = \"p\"\naddress = \"10.0.0.2\"",
                "6: peer.name: expected a name that no other peer has, found \"p\" twice",
            ),
            ("domain = \"a\"\ndomain = \"b\"", "2: "),
            ("domain = ", "1: not valid TOML"),
        ];
        for (text, expected) in cases {
            let found = parse(text).expect_err(text).to_string();
            assert!(found.starts_with(&format!("etc/ringway.toml:{expected}")), "{text}\nexpected {expected}\nfound    {found}");
        }
    }
}
