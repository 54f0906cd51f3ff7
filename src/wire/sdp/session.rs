use std::net::IpAddr;

use super::attribute::{Direction, Fingerprint, Fmtp, RtpMap, Setup};
use super::media::{Media, MediaType};

/// A description's lines of more than these numbers are an attack, not a call.
const MAX_LINES: usize = 1_000;
const MAX_MEDIA: usize = 16;
const MAX_FORMATS: usize = 64;

/// Why a body is no session description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SdpError {
    /// It does not start with `v=0`.
    NoVersion,
    /// It is no UTF-8 outside of free text.
    NotText,
    /// A line is not `x=…`, at this line (from 1).
    Line(usize),
    /// An m-line does not parse, at this line.
    Media(usize),
    /// More lines, m-lines or formats than are looked at.
    TooLarge,
}

/// A session description, session-level attributes already handed down to the m-lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `o=`'s session id and version, to tell a new description from a repeated one.
    pub origin: String,
    /// Its m-lines, in order; the order never changes within a dialog (RFC 3264 section 8).
    pub media: Vec<Media>,
    /// The mids of `a=group:BUNDLE`, first group alone.
    pub bundle: Vec<String>,
    /// `a=ice-lite`.
    pub ice_lite: bool,
}

/// What may stand at session level and counts for every m-line below that does not say otherwise.
#[derive(Default)]
struct Defaults {
    connection: Option<IpAddr>,
    direction: Option<Direction>,
    ice_ufrag: Option<String>,
    ice_pwd: Option<String>,
    fingerprint: Option<Fingerprint>,
    setup: Option<Setup>,
}

impl Session {
    /// Parses a description.
    ///
    /// # Errors
    /// See [`SdpError`]; attributes that do not parse are passed over.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        // Free text (s=, i=) may be Latin-1 from old phones; what we read is ASCII.
        let text = String::from_utf8_lossy(body);
        let mut session = Self { origin: String::new(), media: Vec::new(), bundle: Vec::new(), ice_lite: false };
        let mut defaults = Defaults::default();
        let mut directions: Vec<Option<Direction>> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if at >= MAX_LINES {
                return Err(SdpError::TooLarge);
            }
            if at == 0 && line.trim_end() != "v=0" {
                return Err(SdpError::NoVersion);
            }
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            let (kind, value) = line.split_once('=').filter(|(kind, _)| kind.len() == 1).ok_or(SdpError::Line(at + 1))?;
            match (kind, session.media.last_mut()) {
                ("o", None) => value.clone_into(&mut session.origin),
                ("m", _) => {
                    if session.media.len() == MAX_MEDIA {
                        return Err(SdpError::TooLarge);
                    }
                    session.media.push(parse_m(value).ok_or(SdpError::Media(at + 1))?);
                    directions.push(None);
                }
                ("c", None) => defaults.connection = parse_c(value),
                ("c", Some(media)) => media.connection = parse_c(value),
                ("a", None) => session_attribute(&mut session, &mut defaults, value),
                ("a", Some(media)) => {
                    if let Some(direction) = Direction::parse(value) {
                        *directions.last_mut().expect("one for each m-line") = Some(direction);
                    } else {
                        media_attribute(media, value);
                    }
                }
                // Everything else (s=, t=, b=, i=, k=, …) says nothing that the gateway acts on.
                _ => {}
            }
        }
        if text.is_empty() {
            return Err(SdpError::NoVersion);
        }
        for (media, direction) in session.media.iter_mut().zip(directions) {
            inherit(media, &defaults, direction);
        }
        Ok(session)
    }
}

fn inherit(media: &mut Media, defaults: &Defaults, direction: Option<Direction>) {
    media.direction = direction.or(defaults.direction).unwrap_or_default();
    media.connection = media.connection.or(defaults.connection);
    media.fingerprint = media.fingerprint.or(defaults.fingerprint);
    media.setup = media.setup.or(defaults.setup);
    if media.ice_ufrag.is_none() {
        media.ice_ufrag.clone_from(&defaults.ice_ufrag);
        media.ice_pwd.clone_from(&defaults.ice_pwd);
    }
    // `c=0.0.0.0` is RFC 2543's hold: nothing may be sent there. With ICE it only says that no candidate is known yet, or
    // none but mDNS names (RFC 8839 section 4.3.1): the connectivity checks find the way.
    if media.connection.is_some_and(|ip| ip.is_unspecified()) && media.ice_ufrag.is_none() {
        media.direction = Direction::of(media.direction.sends(), false);
    }
    for pt in media.formats.iter().filter_map(|f| f.parse::<u8>().ok()) {
        if !media.rtpmaps.iter().any(|m| m.pt == pt) {
            media.rtpmaps.extend(RtpMap::of_static(pt));
        }
    }
}

fn session_attribute(session: &mut Session, defaults: &mut Defaults, text: &str) {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    match name {
        "group" => {
            let mut words = value.split_whitespace();
            if words.next() == Some("BUNDLE") && session.bundle.is_empty() {
                session.bundle = words.map(str::to_owned).collect();
            }
        }
        "ice-lite" => session.ice_lite = true,
        "ice-ufrag" => defaults.ice_ufrag = ice_text(value),
        "ice-pwd" => defaults.ice_pwd = ice_text(value),
        "fingerprint" => defaults.fingerprint = defaults.fingerprint.or_else(|| Fingerprint::parse(value)),
        "setup" => defaults.setup = Setup::parse(value),
        _ => defaults.direction = Direction::parse(name).or(defaults.direction),
    }
}

fn media_attribute(media: &mut Media, text: &str) {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    match name {
        "mid" => media.mid = Some(value.trim().to_owned()).filter(|mid| is_token(mid)),
        "rtpmap" => {
            if let Some(map) = RtpMap::parse(value).filter(|_| media.rtpmaps.len() < MAX_FORMATS) {
                media.rtpmaps.push(map);
            }
        }
        "fmtp" => {
            if let Some(fmtp) = Fmtp::parse(value).filter(|_| media.fmtps.len() < MAX_FORMATS) {
                media.fmtps.push(fmtp);
            }
        }
        "ptime" => media.ptime_ms = value.trim().parse().ok(),
        "rtcp-mux" => media.rtcp_mux = true,
        "rtcp" => media.rtcp = parse_rtcp(value),
        "ice-ufrag" => media.ice_ufrag = ice_text(value),
        "ice-pwd" => media.ice_pwd = ice_text(value),
        "fingerprint" => media.fingerprint = media.fingerprint.or_else(|| Fingerprint::parse(value)),
        "setup" => media.setup = Setup::parse(value),
        _ => {}
    }
}

/// ufrag and pwd: 4 or 22 to 256 ice-chars (RFC 8839 section 5.4).
fn ice_text(value: &str) -> Option<String> {
    let value = value.trim();
    let legal = (4..=256).contains(&value.len())
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'='));
    legal.then(|| value.to_owned())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic())
}

fn parse_m(value: &str) -> Option<Media> {
    let mut words = value.split_whitespace();
    let media_type = match words.next()? {
        "audio" => MediaType::Audio,
        other => MediaType::Other(other.to_owned()),
    };
    let port = words.next()?.split('/').next()?.parse().ok()?;
    let proto = words.next()?.to_owned();
    let formats: Vec<String> = words.map(str::to_owned).collect();
    if formats.is_empty() || formats.len() > MAX_FORMATS {
        return None;
    }
    Some(Media {
        media_type,
        port,
        proto,
        formats,
        connection: None,
        mid: None,
        direction: Direction::default(),
        rtpmaps: Vec::new(),
        fmtps: Vec::new(),
        ptime_ms: None,
        rtcp_mux: false,
        rtcp: None,
        ice_ufrag: None,
        ice_pwd: None,
        fingerprint: None,
        setup: None,
    })
}

/// `IN IP4 192.0.2.1` or `IN IP6 2001:db8::1`.
fn parse_c(value: &str) -> Option<IpAddr> {
    let mut words = value.split_whitespace();
    let (net, _family) = (words.next()?, words.next()?);
    (net == "IN").then_some(())?;
    words.next()?.split('/').next()?.parse().ok()
}

/// `53020` or `53020 IN IP4 192.0.2.1` (RFC 3605).
fn parse_rtcp(value: &str) -> Option<(u16, Option<IpAddr>)> {
    let (port, rest) = value.split_once(' ').unwrap_or((value, ""));
    Some((port.trim().parse().ok()?, parse_c(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_session_level_attributes_down() {
        let sdp = b"v=0\r\no=- 1 2 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\na=sendonly\r\na=setup:actpass\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\nm=video 0 RTP/AVP 99\r\n";
        let session = Session::parse(sdp).expect("a description");
        let audio = &session.media[0];
        assert_eq!(
            (audio.direction, audio.setup, audio.ice_ufrag.as_deref()),
            (Direction::SendOnly, Some(Setup::ActPass), Some("abcd"))
        );
        assert_eq!(audio.rtp_addr(), Some("10.0.0.1:4000".parse().expect("an address")));
        assert_eq!(audio.rtcp_addr(), Some("10.0.0.1:4001".parse().expect("an address")));
        assert_eq!(audio.payload_types("pcmu", 8_000).collect::<Vec<_>>(), [0]);
        assert_eq!(session.media[1].rtp_addr(), None);
    }

    #[test]
    fn no_address_is_hold_without_ice_and_nothing_of_the_kind_with_it() {
        let direction = |attributes: &str| {
            let sdp = format!("v=0\r\nm=audio 9 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n{attributes}a=sendrecv\r\n");
            Session::parse(sdp.as_bytes()).expect("a description").media[0].direction
        };
        assert_eq!(direction(""), Direction::SendOnly);
        assert_eq!(direction("a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"), Direction::SendRecv);
    }

    #[test]
    fn refuses_what_is_no_description() {
        assert_eq!(Session::parse(b""), Err(SdpError::NoVersion));
        assert_eq!(Session::parse(b"hello"), Err(SdpError::NoVersion));
        assert_eq!(Session::parse(b"v=0\r\nnonsense\r\n"), Err(SdpError::Line(2)));
        assert_eq!(Session::parse(b"v=0\r\nm=audio x RTP/AVP 0\r\n"), Err(SdpError::Media(2)));
    }
}
