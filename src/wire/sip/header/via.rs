use std::net::{IpAddr, SocketAddr};

use crate::wire::sip::Host;
use crate::wire::sip::defect::Malformed;
use crate::wire::sip::lex::{self, Params};
use crate::wire::sip::uri;

/// `Via: SIP/2.0/WSS host:port;branch=z9hG4bK…` (RFC 3261 section 20.42).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS` or any other token.
    pub transport: &'a str,
    /// Where the sender says it is.
    pub host: Host<'a>,
    /// The port beside it.
    pub port: Option<u16>,
    /// `branch`, `rport`, `received`, …
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses one value.
    ///
    /// # Errors
    /// Another protocol than `SIP/2.0`, no host, a broken port or parameter.
    pub fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let rest = match value.strip_prefix(b"SIP/2.0/") {
            Some(rest) => lex::trim(rest),
            None => after_protocol(value)?,
        };
        let space = rest.iter().position(|b| matches!(b, b' ' | b'\t')).ok_or(Malformed)?;
        let transport = &rest[..space];
        if !lex::is_token(transport) {
            return Err(Malformed);
        }
        let sent_by = lex::trim(&rest[space..]);
        let (hostport, params) = sent_by.split_at(memchr::memchr(b';', sent_by).unwrap_or(sent_by.len()));
        let (host, port) = uri::host_and_port(lex::utf8(lex::trim(hostport))?)?;
        let params = Params::parse(params)?;
        if let Some(received) = params.value("received") {
            Host::parse_bare(received)?;
        }
        Ok(Self { transport: lex::utf8(transport)?, host, port, params })
    }

    /// The transaction's branch; an RFC 2543 client sends none.
    #[must_use]
    pub fn branch(&self) -> Option<&'a str> {
        self.params.text("branch")
    }
}

/// What follows `SIP/2.0/`, written with spaces or in lower case (RFC 4475 section 3.1.1.1).
fn after_protocol(value: &[u8]) -> Result<&[u8], Malformed> {
    let mut parts = value.splitn(3, |&b| b == b'/');
    let (name, version) = (parts.next().ok_or(Malformed)?, parts.next().ok_or(Malformed)?);
    if !lex::trim(name).eq_ignore_ascii_case(b"SIP") || lex::trim(version) != b"2.0" {
        return Err(Malformed);
    }
    parts.next().map(lex::trim).ok_or(Malformed)
}

/// The top Via of a response to a request that came from `source`: `received` where it differs from what the sender
/// believes or where `rport` asked for it, and the port in `rport` (RFC 3261 section 18.2.1, RFC 3581 section 4).
///
/// A value that does not parse is given back as it is.
#[must_use]
pub fn stamp_via(value: &[u8], source: SocketAddr) -> Vec<u8> {
    let Ok(via) = Via::parse(value) else { return value.to_vec() };
    let source_ip = source.ip().to_canonical();
    let asks_for_port = via.params.value("rport").is_some();
    let differs = via.host != Host::Ip(source_ip);
    if !asks_for_port && !differs {
        return value.to_vec();
    }
    let params_at = value.len() - trailing_params_len(value, &via);
    let mut out = lex::trim(&value[..params_at]).to_vec();
    for (name, param) in via.params.iter() {
        if name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport") {
            continue;
        }
        out.push(b';');
        out.extend_from_slice(name);
        if let Some(param) = param {
            out.push(b'=');
            out.extend_from_slice(param);
        }
    }
    let received = match source_ip {
        IpAddr::V4(ip) => format!(";received={ip}"),
        IpAddr::V6(ip) => format!(";received={ip}"),
    };
    out.extend_from_slice(received.as_bytes());
    if asks_for_port {
        out.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
    }
    out
}

/// The value is trimmed and its parameters reach to its end.
fn trailing_params_len(value: &[u8], via: &Via<'_>) -> usize {
    if via.params.raw().is_empty() { 0 } else { value.len() - memchr::memchr(b';', value).unwrap_or(value.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_what_a_nat_changed() {
        let source = "198.51.100.7:40000".parse().expect("an address");
        let stamped = stamp_via(b"SIP/2.0/UDP 10.0.0.2:5060;rport;branch=z9hG4bKa", source);
        assert_eq!(stamped, b"SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKa;received=198.51.100.7;rport=40000");
        let stamped = stamp_via(b"SIP/2.0/WSS x.invalid;branch=z9hG4bKa", source);
        assert_eq!(stamped, b"SIP/2.0/WSS x.invalid;branch=z9hG4bKa;received=198.51.100.7");
        let same = b"SIP/2.0/UDP 198.51.100.7:40000;branch=z9hG4bKa";
        assert_eq!(stamp_via(same, source), same);
    }

    #[test]
    fn reads_odd_spacing_and_bare_ipv6() {
        let via =
            Via::parse(b"SIP  / 2.0\t/  UDP [2001:db8::9:1] ;branch=z9hG4bKas3-111;received=2001:db8::9:255").expect("legal");
        assert_eq!((via.transport, via.branch()), ("UDP", Some("z9hG4bKas3-111")));
        assert!(Via::parse(b"SIP/2.0/UDP 192.0.2.15;;,;,,").is_err());
    }
}
