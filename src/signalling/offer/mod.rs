//! Offer/answer (RFC 3264, RFC 8829, RFC 8843), one state per leg: what was offered, what was agreed, by whom.
//!
//! A leg is negotiated with its own peer alone, by its own profile; all that passes from leg to leg is which codec the
//! other one has. SDP is never copied across. `remote.rs` reads the peer's description, `write.rs` says ours.
//!
//! To add a codec: [`Codec`], its line in `codec_attributes` (`write.rs`), its name in the profiles.

mod remote;
mod write;

use std::net::SocketAddr;

use crate::plan::{Codec, DtlsRole, DtmfPlan, LegPlan, LegRemote, Pt, Ssrc};
use crate::policy::profile::{MediaKind, Prefer, Profile};
use crate::wire::sdp::{Fingerprint, SdpError, Session, Setup};
use remote::RemoteEnd;

/// Why a description cannot be agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferError {
    /// It is no session description.
    Sdp(SdpError),
    /// It has no audio m-line, or its port is 0.
    NoAudio,
    /// Its transport is not the profile's: `RTP/AVP` from a browser, `SAVPF` from a phone.
    Transport,
    /// A browser's description without ICE credentials, fingerprint or rtcp-mux.
    Security,
    /// No codec that both sides have.
    NoCommonCodec,
    /// Its address is a name, or missing.
    Address,
    /// An answer although nothing was offered, or an offer while ours is open.
    Unexpected,
}

/// How the gateway's own end of a leg is described; fixed for the life of the leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEnd {
    /// RTP's address, or a browser leg's host candidates. Empty until media has opened the leg.
    pub addresses: Vec<SocketAddr>,
    /// What we send with.
    pub ssrc: Ssrc,
    /// `o=` session id.
    pub session_id: u64,
    /// ICE and DTLS, for a browser.
    pub secure: Option<SecureEnd>,
}

/// The gateway's ICE credentials and certificate on a browser leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecureEnd {
    /// `a=ice-ufrag`.
    pub ice_ufrag: String,
    /// `a=ice-pwd`.
    pub ice_pwd: String,
    /// `a=fingerprint`.
    pub fingerprint: Fingerprint,
}

/// Where one leg's negotiation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Nothing said yet.
    Idle,
    /// We have offered.
    LocalOffer,
    /// They have offered.
    RemoteOffer,
    /// Agreed.
    Stable,
}

/// One leg's negotiation.
#[derive(Debug, Clone)]
pub struct OfferAnswer {
    profile: Profile,
    /// The gateway's end.
    pub local: LocalEnd,
    state: State,
    remote: Option<RemoteEnd>,
    role: DtlsRole,
    codec: Option<Codec>,
    /// Whether the payload type numbers are the peer's (it offered) or ours.
    we_answered: bool,
    last_local: Option<String>,
    version: u64,
}

impl OfferAnswer {
    /// A leg of this profile with nothing said.
    #[must_use]
    pub fn new(profile: Profile, local: LocalEnd) -> Self {
        Self {
            profile,
            local,
            state: State::Idle,
            remote: None,
            role: DtlsRole::Server,
            codec: None,
            we_answered: false,
            last_local: None,
            version: 0,
        }
    }

    /// What the peer's profile says.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The peer offers.
    ///
    /// # Errors
    /// See [`OfferError`]; nothing is changed.
    pub fn receive_offer(&mut self, sdp: &[u8]) -> Result<(), OfferError> {
        if self.state == State::LocalOffer {
            return Err(OfferError::Unexpected);
        }
        let remote = self.read(sdp)?;
        self.role = match remote.setup {
            Some(Setup::Passive) => DtlsRole::Client,
            _ => DtlsRole::Server,
        };
        self.remote = Some(remote);
        self.state = State::RemoteOffer;
        Ok(())
    }

    /// The peer answers our offer.
    ///
    /// # Errors
    /// See [`OfferError`]; nothing is changed.
    pub fn receive_answer(&mut self, sdp: &[u8]) -> Result<Codec, OfferError> {
        // A 200 repeats the description of the 18x before it, or replaces it.
        if !matches!(self.state, State::LocalOffer | State::Stable) {
            return Err(OfferError::Unexpected);
        }
        let remote = self.read(sdp)?;
        let codec = remote.codecs.first().ok_or(OfferError::NoCommonCodec)?.0;
        self.role = match remote.setup {
            Some(Setup::Passive) => DtlsRole::Client,
            _ => DtlsRole::Server,
        };
        self.remote = Some(remote);
        self.codec = Some(codec);
        self.we_answered = false;
        self.state = State::Stable;
        Ok(codec)
    }

    fn read(&self, sdp: &[u8]) -> Result<RemoteEnd, OfferError> {
        let session = Session::parse(sdp).map_err(OfferError::Sdp)?;
        RemoteEnd::read(&session, &self.profile)
    }

    /// The codecs that the peer offered and its profile has, the peer's favourite first.
    pub fn offered(&self) -> impl Iterator<Item = Codec> {
        self.remote.iter().flat_map(|r| r.codecs.iter().map(|(codec, _)| *codec))
    }

    /// The codec to answer an offer with when the other leg speaks `other`: its own, if this profile would rather pass
    /// through; else the first of the profile's that was offered.
    #[must_use]
    pub fn choose(&self, other: Option<Codec>) -> Option<Codec> {
        let has = |codec: &Codec| self.offered().any(|c| c == *codec);
        let own = self.profile.codecs.iter().copied().find(has);
        match self.profile.prefer {
            Prefer::Passthrough => other.filter(has).or(own),
            Prefer::Opus => own,
        }
    }

    /// Our offer: the profile's codecs, those of `first` before the others where the profile would rather pass through.
    pub fn write_offer(&mut self, first: &[Codec]) -> String {
        let mut codecs = self.profile.codecs.clone();
        if self.profile.prefer == Prefer::Passthrough {
            codecs.sort_by_key(|codec| first.iter().position(|f| f == codec).unwrap_or(first.len()));
        }
        self.state = State::LocalOffer;
        self.say(write::offer(&self.local, &self.profile, &codecs, self.version))
    }

    /// Our answer to the peer's offer, with one codec (and telephone events at its clock).
    ///
    /// # Panics
    /// When nothing was offered: the caller has seen [`OfferAnswer::receive_offer`] succeed.
    pub fn write_answer(&mut self, codec: Codec) -> String {
        let remote = self.remote.as_ref().expect("an answer follows an offer");
        self.codec = Some(codec);
        self.we_answered = true;
        self.state = State::Stable;
        let text = write::answer(&self.local, &self.profile, remote, codec, self.role, self.version);
        self.say(text)
    }

    fn say(&mut self, text: String) -> String {
        self.version += 1;
        self.last_local = Some(text.clone());
        text
    }

    /// What we said last: a 200 repeats the 18x before it to the byte.
    #[must_use]
    pub fn last_local(&self) -> Option<&str> {
        self.last_local.as_deref()
    }

    /// What the peer said of its end, for the media half.
    #[must_use]
    pub fn leg_remote(&self) -> Option<LegRemote> {
        self.remote.as_ref().map(|r| r.leg_remote(&self.profile, self.role))
    }

    /// What was agreed, for the media half; none before it is.
    #[must_use]
    pub fn leg_plan(&self) -> Option<LegPlan> {
        let (remote, codec) = (self.remote.as_ref()?, self.codec?);
        let tx_pt = remote.codecs.iter().find(|(c, _)| *c == codec)?.1;
        Some(LegPlan {
            codec,
            rx_pt: self.rx_pt(codec, tx_pt),
            tx_pt,
            dtmf: self.dtmf(remote, codec),
            ptime_ms: remote.ptime_ms.unwrap_or(self.profile.ptime_ms),
            tx_ssrc: self.local.ssrc,
            rx: remote.direction.sends(),
            tx: remote.direction.receives(),
        })
    }

    /// What they send with: an answer takes the offerer's numbers over, so it is theirs where they offered and ours where
    /// we did (an answerer may send with our number although it names another for itself: RFC 3264 section 5.1).
    fn rx_pt(&self, codec: Codec, theirs: Pt) -> Pt {
        if self.we_answered { theirs } else { write::offered_pt(codec) }
    }

    fn dtmf(&self, remote: &RemoteEnd, codec: Codec) -> Option<DtmfPlan> {
        let (clock_hz, tx_pt) = remote.dtmf_for(codec)?;
        let rx_pt = if self.we_answered { tx_pt } else { write::offered_dtmf_pt(clock_hz) };
        Some(DtmfPlan { rx_pt, tx_pt, clock_hz })
    }

    /// What kind of media leg this is.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        self.profile.media
    }
}
