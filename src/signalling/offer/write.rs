//! What the gateway says of its own end: RFC 8866 text, the same shape for offer and answer.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use smallvec::{SmallVec, smallvec};

use super::LocalEnd;
use super::remote::{Line, RemoteEnd};
use crate::plan::{Codec, DtlsRole, Pt};
use crate::policy::profile::Profile;
use crate::wire::sdp::{Direction, MediaType, Setup};

/// The number that our offers give a codec.
fn usual_pt(codec: Codec) -> Pt {
    match codec {
        Codec::Pcmu => Pt(0),
        Codec::Pcma => Pt(8),
        Codec::Opus => Pt(111),
    }
}

/// The number that our offers give telephone events at this clock.
fn usual_dtmf_pt(clock_hz: u32) -> Pt {
    if clock_hz == 48_000 { Pt(110) } else { Pt(101) }
}

/// Codecs with their numbers.
pub(super) type Codecs = SmallVec<[(Codec, Pt); 3]>;

/// Telephone events' clocks, in Hertz, with their numbers.
pub(super) type Clocks = SmallVec<[(u32, Pt); 2]>;

/// An m-line's codecs and telephone events, with their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Formats {
    pub(super) codecs: Codecs,
    pub(super) dtmf: Clocks,
}

impl Formats {
    /// What we offer. Numbers that the peer has given stay what they are for the whole session (RFC 3264 section 8.3.2).
    pub(super) fn to_offer(profile: &Profile, codecs: &[Codec], remote: Option<&RemoteEnd>) -> Self {
        let mut clocks: Vec<u32> = codecs.iter().map(|c| c.clock_hz()).filter(|_| profile.telephone_event).collect();
        clocks.sort_unstable();
        clocks.dedup();
        clocks.reverse();
        let theirs_codecs: Codecs = remote.map(|r| r.codecs.clone()).unwrap_or_default();
        let theirs_dtmf: Clocks = remote.map(|r| r.dtmf.clone()).unwrap_or_default();
        let mut taken: Vec<u8> = theirs_codecs.iter().map(|(_, pt)| pt.0).chain(theirs_dtmf.iter().map(|(_, pt)| pt.0)).collect();
        let mut free = |usual: Pt| {
            let free = std::iter::once(usual.0).chain(96..=127).find(|pt| !taken.contains(pt)).unwrap_or(usual.0);
            taken.push(free);
            Pt(free)
        };
        let known = |codec: &Codec| theirs_codecs.iter().find(|(c, _)| c == codec).map(|(_, pt)| *pt);
        let known_dtmf = |hz: &u32| theirs_dtmf.iter().find(|(h, _)| h == hz).map(|(_, pt)| *pt);
        Self {
            codecs: codecs.iter().map(|c| (*c, known(c).unwrap_or_else(|| free(usual_pt(*c))))).collect(),
            dtmf: clocks.iter().map(|hz| (*hz, known_dtmf(hz).unwrap_or_else(|| free(usual_dtmf_pt(*hz))))).collect(),
        }
    }
}

/// What our descriptions are written from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours<'a> {
    pub(super) local: &'a LocalEnd,
    pub(super) profile: &'a Profile,
    /// Whether what the peer sends is heard by a leg that speaks G.711.
    pub(super) narrowband: bool,
    /// `o=` version.
    pub(super) version: u64,
}

/// Our first offer, or, once there is a remote end, one within the session: its m-lines in their order, its mid and bundle,
/// its hold respected.
pub(super) fn offer(ours: &Ours<'_>, formats: &Formats, remote: Option<&RemoteEnd>) -> String {
    let local = ours.local;
    let Some(remote) = remote else {
        let line = Line {
            media_type: MediaType::Audio,
            proto: if local.secure.is_some() { "UDP/TLS/RTP/SAVPF" } else { "RTP/AVP" }.into(),
            first_format: String::new(),
            mid: local.secure.is_some().then(|| "0".to_owned()),
        };
        let mut out = session_part(local, ours.version, local.secure.is_some().then_some("0"));
        audio_line(&mut out, ours, &line, formats, ours.profile.ptime_ms, Direction::SendRecv, Setup::ActPass);
        return out;
    };
    // RFC 8842 section 5.3: an offer says actpass, and the answerer keeps the association's role.
    session_like(ours, remote, formats, Setup::ActPass)
}

pub(super) fn answer(ours: &Ours<'_>, remote: &RemoteEnd, codec: Codec, role: DtlsRole) -> String {
    let pt = remote.codecs.iter().find(|(c, _)| *c == codec).expect("the codec was chosen from the offer").1;
    let formats = Formats { codecs: smallvec![(codec, pt)], dtmf: remote.dtmf_for(codec).into_iter().collect() };
    let setup = match role {
        DtlsRole::Server => Setup::Passive,
        DtlsRole::Client => Setup::Active,
    };
    session_like(ours, remote, &formats, setup)
}

/// A description with the m-lines of the peer's, of which the audio line alone is ours.
fn session_like(ours: &Ours<'_>, remote: &RemoteEnd, formats: &Formats, setup: Setup) -> String {
    let direction = Direction::of(remote.direction.receives(), remote.direction.sends());
    let bundle_mid = remote.lines[remote.audio].mid.as_deref().filter(|_| remote.bundled);
    let mut out = session_part(ours.local, ours.version, bundle_mid);
    for (at, line) in remote.lines.iter().enumerate() {
        if at == remote.audio {
            let ptime_ms = remote.ptime_ms.unwrap_or(ours.profile.ptime_ms);
            audio_line(&mut out, ours, line, formats, ptime_ms, direction, setup);
        } else {
            refused_line(&mut out, line);
        }
    }
    out
}

/// RFC 8866 gives IPv4 and IPv6 a name each.
fn connection(ip: IpAddr) -> String {
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    format!("IN {family} {ip}")
}

fn first_address(local: &LocalEnd) -> SocketAddr {
    // A leg is described only after media has opened it; the discard port is what says "nowhere yet" (RFC 8840).
    local.addresses.first().copied().unwrap_or_else(|| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 9))
}

fn session_part(local: &LocalEnd, version: u64, bundle_mid: Option<&str>) -> String {
    let at = connection(first_address(local).ip());
    let mut out = format!("v=0\r\no=ringway {} {version} {at}\r\ns=-\r\nc={at}\r\nt=0 0\r\n", local.session_id);
    if local.secure.is_some() {
        out.push_str("a=ice-lite\r\n");
    }
    if let Some(mid) = bundle_mid {
        put(&mut out, format_args!("a=group:BUNDLE {mid}"));
    }
    out
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    write!(out, "{line}\r\n").expect("writing to memory does not fail");
}

fn audio_line(
    out: &mut String,
    ours: &Ours<'_>,
    line: &Line,
    formats: &Formats,
    ptime_ms: u8,
    direction: Direction,
    setup: Setup,
) {
    let numbers = formats.codecs.iter().map(|(_, pt)| pt.0).chain(formats.dtmf.iter().map(|(_, pt)| pt.0));
    let numbers: Vec<String> = numbers.map(|n| n.to_string()).collect();
    put(out, format_args!("m=audio {} {} {}", first_address(ours.local).port(), line.proto, numbers.join(" ")));
    if let Some(mid) = &line.mid {
        put(out, format_args!("a=mid:{mid}"));
    }
    for (codec, pt) in &formats.codecs {
        codec_attributes(out, *codec, *pt, ours.narrowband);
    }
    for (clock_hz, pt) in &formats.dtmf {
        put(out, format_args!("a=rtpmap:{} telephone-event/{clock_hz}", pt.0));
        put(out, format_args!("a=fmtp:{} 0-16", pt.0));
    }
    put(out, format_args!("a=ptime:{ptime_ms}"));
    put(out, format_args!("a={}", direction.as_str()));
    secure_attributes(out, ours.local, setup);
}

/// Of Opus for a leg that speaks G.711 (RFC 7587 section 6.1): nothing over 4 kHz, which is cheap to decode, at the rate at
/// which it sounds no worse than all of it at 32 kbit/s (`tests/bench/README.md`).
const NARROWBAND: &str = ";maxplaybackrate=8000;sprop-maxcapturerate=8000;maxaveragebitrate=24000";

fn codec_attributes(out: &mut String, codec: Codec, pt: Pt, narrowband: bool) {
    let channels = if codec == Codec::Opus { "/2" } else { "" };
    put(out, format_args!("a=rtpmap:{} {}/{}{channels}", pt.0, codec.sdp_name(), codec.clock_hz()));
    if codec == Codec::Opus {
        let narrowband = if narrowband { NARROWBAND } else { "" };
        put(out, format_args!("a=fmtp:{} minptime=10;useinbandfec=1{narrowband}", pt.0));
    }
}

fn secure_attributes(out: &mut String, local: &LocalEnd, setup: Setup) {
    let Some(secure) = &local.secure else { return };
    put(out, format_args!("a=rtcp-mux"));
    put(out, format_args!("a=setup:{}", setup.as_str()));
    put(out, format_args!("a=fingerprint:{}", secure.fingerprint));
    put(out, format_args!("a=ice-ufrag:{}", secure.ice_ufrag));
    put(out, format_args!("a=ice-pwd:{}", secure.ice_pwd));
    // Without a stream id the browser's `track` event names no stream, and simple pages play nothing.
    put(out, format_args!("a=msid:ringway audio"));
    put(out, format_args!("a=ssrc:{} cname:ringway", local.ssrc.0));
    for (at, address) in local.addresses.iter().enumerate() {
        // RFC 8445 section 5.1.2.1: host candidates of component 1, the first address preferred.
        let priority = (126 << 24) | ((65_535 - u32::try_from(at).unwrap_or(65_535)) << 8) | 255;
        put(out, format_args!("a=candidate:{} 1 udp {priority} {} {} typ host", at + 1, address.ip(), address.port()));
    }
    put(out, format_args!("a=end-of-candidates"));
}

/// A refused m-line keeps its place with port 0 (RFC 3264 section 6) and its mid (RFC 8843 section 7.3.2 leaves it unbundled).
fn refused_line(out: &mut String, line: &Line) {
    put(out, format_args!("m={} 0 {} {}", line.media_type.as_str(), line.proto, line.first_format));
    if let Some(mid) = &line.mid {
        put(out, format_args!("a=mid:{mid}"));
    }
    put(out, format_args!("a=inactive"));
}
