//! Offer/answer (RFC 3264, RFC 8829, RFC 8843), one state per leg: what was offered, what was agreed, by whom.
//!
//! A leg is negotiated with its own peer alone, by its own profile; all that passes from leg to leg is which codec the
//! other one has. SDP is never copied across. `remote.rs` reads the peer's description, `write.rs` says ours.
//!
//! To add a codec: [`Codec`], its line in `codec_attributes` (`write.rs`), its name in the profiles.

mod remote;
mod write;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::plan::{Codec, DtlsRole, DtmfPlan, DtmfWay, LegPlan, LegRemote, Pt, Ssrc};
use crate::policy::profile::{Dtmf, MediaKind, Prefer, Profile};
use crate::wire::sdp::{Fingerprint, SdpError, Session, Setup};
use remote::RemoteEnd;
use write::{Formats, Ours};

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

/// Whether an offer starts ICE anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IceRestart(pub bool);

/// Whether nothing over 4 kHz reaches a leg that speaks, or may speak, these: not said of one of which nothing is known.
fn is_narrowband(other: &[Codec]) -> bool {
    !other.is_empty() && !other.contains(&Codec::Opus)
}

/// How the gateway's own end of a leg is described; fixed for the life of the leg, but for what an
/// ICE restart changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalEnd {
    /// RTP's address, or a browser leg's host candidates. Empty until media has opened the leg.
    pub addresses: Vec<SocketAddr>,
    /// What we send with.
    pub ssrc: Ssrc,
    /// `o=` session id.
    pub session_id: u64,
    /// ICE and DTLS, for a browser.
    pub secure: Option<Box<SecureEnd>>,
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
    profile: Arc<Profile>,
    /// As the profile says, or the route, or as it has become.
    prefer: Prefer,
    /// The gateway's end.
    pub local: LocalEnd,
    state: State,
    remote: Option<RemoteEnd>,
    role: DtlsRole,
    codec: Option<Codec>,
    /// Whether our last description asked for no more than is heard by a leg that speaks G.711.
    narrowband: bool,
    /// What we offered, once it has been answered; none where they offered last: then the numbers are theirs.
    offered: Option<Formats>,
    /// What we have offered and they have not answered.
    open: Option<Formats>,
    last_local: Option<String>,
    version: u64,
}

impl OfferAnswer {
    /// A leg of this profile with nothing said.
    #[must_use]
    pub fn new(profile: Arc<Profile>, local: LocalEnd) -> Self {
        Self {
            prefer: profile.prefer,
            profile,
            local,
            state: State::Idle,
            remote: None,
            role: DtlsRole::Server,
            codec: None,
            narrowband: false,
            offered: None,
            open: None,
            last_local: None,
            version: 0,
        }
    }

    /// A route says what a browser's codec is chosen by; what a phone has in common with others is its profile's to say.
    pub fn prefer_by_route(&mut self, prefer: Option<Prefer>) {
        self.prefer = prefer.filter(|_| self.profile.media == MediaKind::Webrtc).unwrap_or(self.prefer);
    }

    /// Much is lost on the way from or to the peer; says whether it is to be offered Opus now in place of what it speaks.
    pub fn on_loss(&mut self) -> bool {
        let moves = self.prefer == Prefer::Auto && self.speaks_other_than_opus() && self.profile.codecs.contains(&Codec::Opus);
        if moves {
            self.prefer = Prefer::Opus;
        }
        moves
    }

    fn speaks_other_than_opus(&self) -> bool {
        self.codec.is_some_and(|codec| codec != Codec::Opus)
    }

    /// What the peer's profile says.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The peer offers; says whether ICE starts anew with it: then [`LocalEnd::secure`] must be given new credentials before
    /// the answer is written.
    ///
    /// # Errors
    /// See [`OfferError`]; nothing is changed.
    pub fn receive_offer(&mut self, sdp: &[u8]) -> Result<IceRestart, OfferError> {
        if self.state == State::LocalOffer {
            return Err(OfferError::Unexpected);
        }
        let remote = self.read(sdp)?;
        let restart = self.remote.as_ref().is_some_and(|before| before.ice() != remote.ice());
        self.role = self.role_toward(&remote);
        self.remote = Some(remote);
        self.state = State::RemoteOffer;
        Ok(IceRestart(restart))
    }

    /// Our end of DTLS. Within a session the association keeps its roles (RFC 8842 section 5.5), whatever is proposed.
    fn role_toward(&self, remote: &RemoteEnd) -> DtlsRole {
        let goes_on = self.codec.is_some() && self.remote.as_ref().is_some_and(|before| remote.same_certificate(before));
        match remote.setup {
            Some(Setup::Passive) => DtlsRole::Client,
            Some(Setup::Active) => DtlsRole::Server,
            _ if goes_on => self.role,
            _ => DtlsRole::Server,
        }
    }

    /// The peer answers our offer.
    ///
    /// # Errors
    /// See [`OfferError`]; nothing is changed.
    pub fn receive_answer(&mut self, sdp: &[u8]) -> Result<Codec, OfferError> {
        // A 200 repeats the description of the 18x before it, or replaces it.
        let ours = self.open.as_ref().or(self.offered.as_ref());
        if !matches!(self.state, State::LocalOffer | State::Stable) || ours.is_none() {
            return Err(OfferError::Unexpected);
        }
        let remote = self.read(sdp)?;
        let codec = remote.codecs.first().ok_or(OfferError::NoCommonCodec)?.0;
        self.role = self.role_toward(&remote);
        self.remote = Some(remote);
        self.codec = Some(codec);
        if let Some(offered) = self.open.take() {
            self.offered = Some(offered);
        }
        self.state = State::Stable;
        Ok(codec)
    }

    /// Our offer was refused: what was agreed before goes on (RFC 3261 section 14.1).
    pub fn roll_back(&mut self) {
        if self.open.take().is_some() && self.remote.is_some() {
            self.state = State::Stable;
        }
    }

    /// Whether an offer of ours waits for its answer.
    #[must_use]
    pub fn has_offered(&self) -> bool {
        self.state == State::LocalOffer
    }

    /// Whether nothing has been said yet.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
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
        match self.prefer {
            Prefer::Passthrough | Prefer::Auto => other.filter(has).or(own),
            Prefer::Opus => own,
        }
    }

    /// Our offer: the profile's codecs, those of `other` (what the other leg speaks, or may speak; nothing where that is not
    /// known) before the rest where the profile would rather pass through. Within a session it asks for no more than that it
    /// goes on as it is.
    pub fn write_offer(&mut self, other: &[Codec]) -> String {
        self.write_offer_of(other, self.codec)
    }

    /// Our offer within a session that wishes for Opus; otherwise as [`OfferAnswer::write_offer`].
    pub fn write_offer_of_opus(&mut self, other: &[Codec]) -> String {
        self.write_offer_of(other, Some(Codec::Opus))
    }

    fn write_offer_of(&mut self, other: &[Codec], first: Option<Codec>) -> String {
        let mut codecs = self.profile.codecs.clone();
        if self.prefer != Prefer::Opus {
            codecs.sort_by_key(|codec| other.iter().position(|o| o == codec).unwrap_or(other.len()));
        }
        // Within a session the codec that is in use comes first, but where another is wished for.
        if let Some(first) = first {
            codecs.sort_by_key(|codec| *codec != first);
        }
        self.narrowband = is_narrowband(other);
        let formats = Formats::to_offer(&self.profile, &codecs, self.remote.as_ref());
        let text = write::offer(&self.ours(), &formats, self.remote.as_ref());
        self.state = State::LocalOffer;
        self.open = Some(formats);
        self.say(text)
    }

    /// Our answer to the peer's offer, with one codec (and telephone events at its clock), when the other leg speaks `other`.
    ///
    /// # Panics
    /// When nothing was offered: the caller has seen [`OfferAnswer::receive_offer`] succeed.
    pub fn write_answer(&mut self, codec: Codec, other: Option<Codec>) -> String {
        self.narrowband = is_narrowband(other.as_slice());
        let remote = self.remote.as_ref().expect("an answer follows an offer");
        self.codec = Some(codec);
        self.offered = None;
        self.state = State::Stable;
        let text = write::answer(&self.ours(), remote, codec, self.role);
        self.say(text)
    }

    fn ours(&self) -> Ours<'_> {
        Ours { local: &self.local, profile: &self.profile, narrowband: self.narrowband, version: self.version }
    }

    /// Whether it speaks Opus, but was asked for no more than a leg that speaks G.711 hears.
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        self.narrowband && self.codec == Some(Codec::Opus)
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

    /// What we said is known to have arrived: nobody will ask for it again.
    pub fn settled(&mut self) {
        self.last_local = None;
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
        let events = self.events(remote, codec);
        let way = match self.profile.dtmf {
            Dtmf::InfoRelay | Dtmf::Info => DtmfWay::Signalling,
            Dtmf::Events if events.is_some() => DtmfWay::Events,
            Dtmf::Events | Dtmf::Tones => DtmfWay::Tones,
        };
        Some(LegPlan {
            codec,
            rx_pt: self.rx_pt(codec, tx_pt),
            tx_pt,
            events,
            dtmf_tx: way,
            dtmf_rx_tones: way == DtmfWay::Tones,
            ptime_ms: remote.ptime_ms.unwrap_or(self.profile.ptime_ms),
            tx_ssrc: self.local.ssrc,
            rx: remote.direction.sends(),
            tx: remote.direction.receives(),
        })
    }

    /// Whether the peer holds the other side: it wants to hear nothing (RFC 3264 section 8.4).
    #[must_use]
    pub fn holds(&self) -> bool {
        self.remote.as_ref().is_some_and(|remote| !remote.direction.receives())
    }

    /// What they send with: an answer takes the offerer's numbers over, so it is theirs where they offered and ours where
    /// we did (an answerer may send with our number although it names another for itself: RFC 3264 section 5.1).
    fn rx_pt(&self, codec: Codec, theirs: Pt) -> Pt {
        let ours = self.offered.as_ref().and_then(|o| o.codecs.iter().find(|(c, _)| *c == codec));
        ours.map_or(theirs, |(_, pt)| *pt)
    }

    fn events(&self, remote: &RemoteEnd, codec: Codec) -> Option<DtmfPlan> {
        let (clock_hz, tx_pt) = remote.dtmf_for(codec)?;
        let offered = self.offered.as_ref().map_or(&[][..], |o| &o.dtmf);
        let ours = offered.iter().find(|(hz, _)| *hz == clock_hz);
        let taken = |hz: u32| remote.dtmf.iter().any(|(theirs, _)| *theirs == hz);
        let rx_other = offered.iter().find(|(hz, _)| *hz != clock_hz && taken(*hz)).map(|(hz, pt)| (*pt, *hz));
        Some(DtmfPlan { rx_pt: ours.map_or(tx_pt, |(_, pt)| *pt), tx_pt, clock_hz, rx_other })
    }

    /// What kind of media leg this is.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        self.profile.media
    }
}
