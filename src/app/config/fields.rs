//! How single values of `ringway.toml` are read, each with the words for what it expects.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Deserializer};

use crate::policy::source::text_as;

pub(super) fn port<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    struct Port;
    impl serde::de::Visitor<'_> for Port {
        type Value = u16;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a port number 1 to 65535")
        }

        fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<u16, E> {
            let wrong = || E::invalid_value(serde::de::Unexpected::Signed(value), &self);
            u16::try_from(value).ok().filter(|port| *port != 0).ok_or_else(wrong)
        }
    }
    from.deserialize_i64(Port)
}

pub(super) fn some_port<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u16>, D::Error> {
    port(from).map(Some)
}

/// What a SIP domain may be: a host name in lower case, or an address.
#[must_use]
pub(in crate::app) fn is_domain(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| !label.is_empty() && label.bytes().all(fits) && !label.starts_with('-') && !label.ends_with('-');
    text.len() <= 253 && text.split('.').all(label)
}

pub(super) fn domain<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let parse = |text: &str| is_domain(text).then(|| text.to_owned());
    text_as(from, "a domain in lower case, as \"phones.example.org\"", parse)
}

/// An address that others can reach: neither everyone's nor a group's.
#[must_use]
pub(in crate::app) fn reachable(text: &str) -> Option<IpAddr> {
    text.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast())
}

pub(super) fn addresses<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpAddr>, D::Error> {
    #[derive(PartialEq)]
    struct Address(IpAddr);
    impl<'de> Deserialize<'de> for Address {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            text_as(from, "an IP address of this machine, as \"192.168.1.10\" or \"fd00::10\"", reachable).map(Self)
        }
    }
    let mut list: Vec<IpAddr> = Vec::<Address>::deserialize(from)?.into_iter().map(|Address(ip)| ip).collect();
    let mut seen = std::collections::BTreeSet::new();
    list.retain(|ip| seen.insert(*ip));
    Ok(list)
}

pub(super) fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Origin(String);
    impl<'de> Deserialize<'de> for Origin {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let parse = |text: &str| {
                let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
                let fits = !host.is_empty() && !host.contains(['/', ' ', '*', '?', '#']);
                fits.then(|| Self(text.to_ascii_lowercase()))
            };
            text_as(from, "an origin without a path, as \"https://phone.example.org\"", parse)
        }
    }
    Ok(Vec::<Origin>::deserialize(from)?.into_iter().map(|Origin(text)| text).collect())
}

pub(super) fn peer_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let parse = |text: &str| (!text.is_empty() && text.bytes().all(fits)).then(|| text.to_owned());
    text_as(from, "a name of lower-case letters, digits, - _ .", parse)
}

/// An address with a port, or alone for SIP's own port.
pub(super) fn peer_address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let parse = |text: &str| {
        let alone = || text.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, 5060));
        let address = text.parse().ok().or_else(alone);
        address.filter(|address| !address.ip().is_unspecified() && !address.ip().is_multicast() && address.port() != 0)
    };
    text_as(from, "an IP address with a port, as \"10.0.0.2:5060\" or \"[fd00::2]:5060\"", parse)
}
