//! What the peer's description says, of what we act on.

use std::borrow::Cow;
use std::net::SocketAddr;

use super::OfferError;
use super::write::{Clocks, Codecs};
use crate::plan::{Codec, DtlsRole, LegRemote, Pt};
use crate::policy::profile::{MediaKind, Profile};
use crate::wire::sdp::{Direction, Media, MediaType, Session, Setup};

/// One m-line as the answer must repeat it, also when it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) media_type: MediaType,
    pub(super) proto: Cow<'static, str>,
    /// Of a line that is refused; empty on the one that is used.
    pub(super) first_format: String,
    pub(super) mid: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Transport {
    Rtp { rtp: SocketAddr, rtcp: SocketAddr },
    WebRtc { ice_ufrag: String, ice_pwd: String, fingerprint: [u8; 32] },
}

/// The peer's end of a leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteEnd {
    /// All its m-lines, in order; `audio` is the one that is used.
    pub(super) lines: Vec<Line>,
    pub(super) audio: usize,
    /// Whether it bundles the audio line.
    pub(super) bundled: bool,
    /// Codecs that the profile has too, the peer's favourite first, with the peer's numbers.
    pub(super) codecs: Codecs,
    /// Telephone events by clock.
    pub(super) dtmf: Clocks,
    pub(super) direction: Direction,
    pub(super) ptime_ms: Option<u8>,
    pub(super) setup: Option<Setup>,
    transport: Transport,
}

impl RemoteEnd {
    pub(super) fn read(session: &Session, profile: &Profile) -> Result<Self, OfferError> {
        let is_audio = |m: &&Media| m.media_type == MediaType::Audio && m.port != 0;
        let audio = session.media.iter().position(|m| is_audio(&m)).ok_or(OfferError::NoAudio)?;
        let media = &session.media[audio];
        let transport = match profile.media {
            MediaKind::Rtp => read_rtp(media)?,
            MediaKind::Webrtc => read_webrtc(media)?,
        };
        let codecs = read_codecs(media, profile);
        if codecs.is_empty() {
            return Err(OfferError::NoCommonCodec);
        }
        let dtmf = if profile.telephone_event { read_dtmf(media) } else { Clocks::new() };
        Ok(Self {
            lines: session.media.iter().enumerate().map(|(at, media)| line(media, at == audio)).collect(),
            audio,
            bundled: media.mid.as_ref().is_some_and(|mid| session.bundle.contains(mid)),
            codecs,
            dtmf,
            direction: media.direction,
            ptime_ms: media.ptime_ms.filter(|ms| matches!(ms, 10 | 20 | 30 | 40 | 60)).and_then(|ms| u8::try_from(ms).ok()),
            setup: media.setup,
            transport,
        })
    }

    /// Its ICE user fragment and password: other ones in a later offer are an ICE restart (RFC 8839 section 4.4.3.2).
    pub(super) fn ice(&self) -> Option<(&str, &str)> {
        match &self.transport {
            Transport::WebRtc { ice_ufrag, ice_pwd, .. } => Some((ice_ufrag, ice_pwd)),
            Transport::Rtp { .. } => None,
        }
    }

    /// Whether the DTLS association of `before` goes on: the certificate is the same (RFC 8842 section 5.5).
    pub(super) fn same_certificate(&self, before: &Self) -> bool {
        match (&self.transport, &before.transport) {
            (Transport::WebRtc { fingerprint: a, .. }, Transport::WebRtc { fingerprint: b, .. }) => a == b,
            _ => false,
        }
    }

    /// Telephone events at the codec's own clock, else at the first that they have.
    pub(super) fn dtmf_for(&self, codec: Codec) -> Option<(u32, Pt)> {
        self.dtmf.iter().find(|(clock_hz, _)| *clock_hz == codec.clock_hz()).or_else(|| self.dtmf.first()).copied()
    }

    pub(super) fn leg_remote(&self, profile: &Profile, role: DtlsRole) -> LegRemote {
        match &self.transport {
            Transport::Rtp { rtp, rtcp } => LegRemote::Rtp { rtp: *rtp, rtcp: *rtcp, latch: profile.behind_nat },
            Transport::WebRtc { ice_ufrag, ice_pwd, fingerprint } => {
                LegRemote::WebRtc { ice_ufrag: ice_ufrag.clone(), ice_pwd: ice_pwd.clone(), fingerprint: *fingerprint, role }
            }
        }
    }
}

fn line(media: &Media, used: bool) -> Line {
    let usual = ["RTP/AVP", "UDP/TLS/RTP/SAVPF"].into_iter().find(|proto| *proto == media.proto);
    Line {
        media_type: media.media_type.clone(),
        proto: usual.map_or_else(|| Cow::Owned(media.proto.clone()), Cow::Borrowed),
        first_format: if used { String::new() } else { media.formats[0].clone() },
        mid: media.mid.clone(),
    }
}

fn read_rtp(media: &Media) -> Result<Transport, OfferError> {
    if !matches!(media.proto.as_str(), "RTP/AVP" | "RTP/AVPF") {
        return Err(OfferError::Transport);
    }
    let (rtp, rtcp) = media.rtp_addr().zip(media.rtcp_addr()).ok_or(OfferError::Address)?;
    Ok(Transport::Rtp { rtp, rtcp })
}

/// Candidates are not read: the peer's checks tell where it is, and `.local` names are never waited for.
fn read_webrtc(media: &Media) -> Result<Transport, OfferError> {
    if !matches!(media.proto.as_str(), "UDP/TLS/RTP/SAVPF" | "UDP/TLS/RTP/SAVP" | "RTP/SAVPF") {
        return Err(OfferError::Transport);
    }
    match (&media.ice_ufrag, &media.ice_pwd, media.fingerprint) {
        (Some(ice_ufrag), Some(ice_pwd), Some(fingerprint)) if media.rtcp_mux => {
            Ok(Transport::WebRtc { ice_ufrag: ice_ufrag.clone(), ice_pwd: ice_pwd.clone(), fingerprint: fingerprint.0 })
        }
        _ => Err(OfferError::Security),
    }
}

fn read_codecs(media: &Media, profile: &Profile) -> Codecs {
    let mut found = Codecs::new();
    for pt in media.formats.iter().filter_map(|f| f.parse::<u8>().ok()) {
        let codec =
            profile.codecs.iter().copied().find(|codec| media.payload_types(codec.sdp_name(), codec.clock_hz()).any(|p| p == pt));
        if let Some(codec) = codec.filter(|codec| !found.iter().any(|(c, _)| c == codec)) {
            found.push((codec, Pt(pt)));
        }
    }
    found
}

fn read_dtmf(media: &Media) -> Clocks {
    [48_000, 8_000]
        .into_iter()
        .filter_map(|clock_hz| Some((clock_hz, Pt(media.payload_types("telephone-event", clock_hz).next()?))))
        .collect()
}
