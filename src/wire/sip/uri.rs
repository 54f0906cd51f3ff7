use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::defect::Malformed;
use super::lex::{self, Class, Params};

static SCHEME: Class = Class::alphanumeric_and(b"+-.");
static HOST: Class = Class::alphanumeric_and(b"-._");
/// What may follow a scheme: no white space, no controls, nothing that ends the URI in a header.
static REST: Class = Class::visible_without(b"<>\"");

/// What kind of address a URI is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 3261 section 19.1.
    Sip,
    /// RFC 3261 section 19.1, over TLS.
    Sips,
    /// RFC 3966: the number stands in `user`.
    Tel,
    /// Any other, kept as it is.
    Other,
}

/// A host as SIP writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A domain name, also `….invalid`.
    Name(&'a str),
    /// An address; IPv6 stands in brackets.
    Ip(IpAddr),
}

impl<'a> Host<'a> {
    /// A name, an IPv4 address, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// An empty host, or one with characters that no host has.
    pub fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        match read_host(lex::utf8(text)?)? {
            (host, "") => Ok(host),
            _ => Err(Malformed),
        }
    }

    /// As [`Host::parse`], and an IPv6 address without brackets: `received=` is seen in both forms (RFC 5118 section 4.5).
    ///
    /// # Errors
    /// As [`Host::parse`].
    pub fn parse_bare(text: &'a [u8]) -> Result<Self, Malformed> {
        Self::parse(text).or_else(|_| parse_v6(lex::utf8(text)?))
    }
}

/// The host at the start of `text`, and what follows it.
fn read_host(text: &str) -> Result<(Host<'_>, &str), Malformed> {
    if let Some(inner) = text.strip_prefix('[') {
        let (address, after) = split_once(inner, b']').ok_or(Malformed)?;
        return Ok((parse_v6(address)?, after));
    }
    let (host, after) = text.split_at(HOST.run(text.as_bytes()));
    let last = host.bytes().next_back().ok_or(Malformed)?;
    // Only what ends in a digit can be an address; most hosts are names.
    let address = if last.is_ascii_digit() { host.parse::<Ipv4Addr>().ok() } else { None };
    Ok((address.map_or(Host::Name(host), |ip| Host::Ip(IpAddr::V4(ip))), after))
}

/// Tolerates the three colons that an early grammar produced before an embedded IPv4 address (RFC 5118 section 4.10).
fn parse_v6<'a>(text: &str) -> Result<Host<'a>, Malformed> {
    let parsed = text.parse::<Ipv6Addr>().or_else(|_| text.replacen(":::", "::", 1).parse());
    parsed.map(|ip| Host::Ip(IpAddr::V6(ip))).map_err(|_| Malformed)
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// A URI over the bytes that it came in: SIP, SIPS and TEL taken apart, any other kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The whole text.
    pub text: &'a str,
    /// Its scheme.
    pub scheme: Scheme,
    /// Before `@`, without the password, escapes as they stand; the number of a `tel:`.
    pub user: Option<&'a str>,
    /// After `@`; none for `tel:` and unknown schemes.
    pub host: Option<Host<'a>>,
    /// After the host's colon.
    pub port: Option<u16>,
    /// `;transport=ws;lr`.
    pub params: Params<'a>,
    /// After `?`.
    pub headers: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Parses an absolute URI.
    ///
    /// # Errors
    /// No scheme, white space or angle brackets inside, a broken host, port or parameter, a broken `%` escape in the user part.
    pub fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        let text = lex::utf8(text)?;
        let (scheme, rest) = text.split_at(SCHEME.run(text.as_bytes()));
        let rest = rest.strip_prefix(':').ok_or(Malformed)?;
        let first_is_letter = scheme.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
        if !first_is_letter {
            return Err(Malformed);
        }
        if rest.is_empty() || !REST.holds(rest.as_bytes()) {
            return Err(Malformed);
        }
        if scheme.eq_ignore_ascii_case("sip") {
            Self::parse_sip(text, Scheme::Sip, rest)
        } else if scheme.eq_ignore_ascii_case("sips") {
            Self::parse_sip(text, Scheme::Sips, rest)
        } else if scheme.eq_ignore_ascii_case("tel") {
            let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            if number.is_empty() {
                return Err(Malformed);
            }
            let params = Params::parse(params.as_bytes())?;
            Ok(Self { text, scheme: Scheme::Tel, user: Some(number), host: None, port: None, params, headers: None })
        } else {
            let params = Params::default();
            Ok(Self { text, scheme: Scheme::Other, user: None, host: None, port: None, params, headers: None })
        }
    }

    fn parse_sip(text: &'a str, scheme: Scheme, rest: &'a str) -> Result<Self, Malformed> {
        // A user part may hold `;`, `?` and `/`, never a bare `@`; nor may anything after it.
        let (user, host_part) = match split_once(rest, b'@') {
            Some((userinfo, after)) => {
                let user = split_once(userinfo, b':').map_or(userinfo, |(user, _password)| user);
                // Most have no escape, and then there is nothing to undo.
                if user.is_empty() || (user.contains('%') && decode_percent(user).is_none()) {
                    return Err(Malformed);
                }
                (Some(user), after)
            }
            None => (None, rest),
        };
        let (before_headers, headers) = match split_once(host_part, b'?') {
            Some((before, headers)) => (before, Some(headers)),
            None => (host_part, None),
        };
        let semicolon = memchr::memchr(b';', before_headers.as_bytes()).unwrap_or(before_headers.len());
        let (hostport, params) = before_headers.split_at(semicolon);
        let (host, port) = host_and_port(hostport)?;
        Ok(Self { text, scheme, user, host: Some(host), port, params: Params::parse(params.as_bytes())?, headers })
    }

    /// A header that the URI asks for (RFC 3261 section 19.1.1), with `%` escapes undone.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut fields = self.headers?.split('&').filter_map(|field| field.split_once('='));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).and_then(|(_, value)| decode_percent(value))
    }

    /// The user part with `%` escapes undone.
    #[must_use]
    pub fn user_decoded(&self) -> Option<String> {
        self.user.and_then(decode_percent)
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// As [`str::split_once`], by an ASCII byte.
fn split_once(text: &str, byte: u8) -> Option<(&str, &str)> {
    memchr::memchr(byte, text.as_bytes()).map(|at| (&text[..at], &text[at + 1..]))
}

/// `host[:port]`, IPv6 in brackets.
pub(super) fn host_and_port(text: &str) -> Result<(Host<'_>, Option<u16>), Malformed> {
    let (host, after) = read_host(text)?;
    let after = lex::trim(after.as_bytes());
    let port = match after.strip_prefix(b":") {
        Some(port) => Some(u16::try_from(lex::number(lex::trim(port))?).map_err(|_| Malformed)?),
        None if after.is_empty() => None,
        None => return Err(Malformed),
    };
    Ok((host, port))
}

/// The user part of a SIP URI of ours: what its grammar does not allow is escaped (RFC 3261 section 25.1, `user`).
#[must_use]
pub fn escape_user(user: &str) -> String {
    use fmt::Write as _;
    user.bytes().fold(String::with_capacity(user.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&b) {
            out.push(char::from(b));
        } else {
            write!(out, "%{b:02X}").expect("writing to memory does not fail");
        }
        out
    })
}

fn decode_percent(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        if b != b'%' {
            out.push(b);
            continue;
        }
        let hex = [bytes.next()?, bytes.next()?];
        let digits = std::str::from_utf8(&hex).ok()?;
        out.push(u8::from_str_radix(digits, 16).ok().filter(|_| hex.iter().all(u8::is_ascii_hexdigit))?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_apart_what_peers_send() {
        let uri = Uri::parse(b"sip:m0eeoi4b@lnq1cg4dglnd.invalid;transport=ws").expect("JsSIP's Contact");
        assert_eq!((uri.user, uri.host), (Some("m0eeoi4b"), Some(Host::Name("lnq1cg4dglnd.invalid"))));
        assert_eq!(uri.params.text("transport"), Some("ws"));
        let uri = Uri::parse(b"sip:alice@[2001:db8::10]:5070").expect("IPv6 with a port");
        assert_eq!((uri.host, uri.port), (Some(Host::Ip("2001:db8::10".parse().expect("an address"))), Some(5070)));
        let uri = Uri::parse(b"tel:+43-1-234;phone-context=x").expect("tel");
        assert_eq!((uri.scheme, uri.user), (Scheme::Tel, Some("+43-1-234")));
        let uri = Uri::parse(b"sip:sips%3Auser%40example.com@example.net").expect("RFC 4475 3.1.1.3");
        assert_eq!(uri.user_decoded().as_deref(), Some("sips:user@example.com"));
    }

    #[test]
    fn refuses_what_is_no_uri() {
        for bad in [
            "",
            "sip:",
            "alice",
            "sip:alice@",
            "sip:al ice@host",
            "<sip:a@b>",
            "sip:a@host:99999",
            "sip:a@[::1",
            "sip:a%4@h",
            "1sip:a@b",
        ] {
            assert!(Uri::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
