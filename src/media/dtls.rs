//! Our end of DTLS-SRTP (RFC 5763, RFC 5764) for one browser leg, over [`dimpl`].
//!
//! Fed only with datagrams from a remote that ICE has validated. `dimpl` checks no fingerprint: the certificate is held
//! against the one that SDP promised here, and until it fits no keys are handed out.
//!
//! A few seconds after the handshake little is kept of the connection (`settled`): it carries nothing but its own end.

mod key;
mod settled;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::certificate::{calculate_fingerprint, generate_self_signed_certificate};
use dimpl::{Dtls, DtlsCertificate, Output, SrtpProfile};
use smallvec::{SmallVec, smallvec};

use self::key::GatewayKey;
use self::settled::{Secret, Settled, noting, with_notes};
use super::srtp::{MasterKeys, Profile, SrtpRx, SrtpTx};
use crate::plan::{DtlsRole, LegFailure};

/// The first retransmission of a flight: a call rings, it cannot bear the second that RFC 6347 section 4.2.4.1 allows.
const FIRST_RETRANSMISSION: Duration = Duration::from_millis(150);

/// A handshake that has not ended by then has failed.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// With keys, and after so long a silence in DTLS, the connection settles.
const SETTLE_TIME: Duration = Duration::from_secs(5);

/// The largest DTLS record there is, with room.
const MAX_RECORD: usize = 17_000;

/// The gateway's certificate (ECDSA P-256, self-signed), made once a start, and how handshakes are run with it.
#[derive(Clone)]
pub struct DtlsIdentity {
    certificate: DtlsCertificate,
    config: Arc<dimpl::Config>,
}

impl fmt::Debug for DtlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DtlsIdentity").field(&self.fingerprint_sdp()).finish()
    }
}

/// The certificate could not be made or the settings not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityError {
    /// Key or certificate generation failed.
    Generation,
    /// The DTLS settings were refused.
    Settings,
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generation => "the DTLS certificate could not be made",
            Self::Settings => "the DTLS settings were refused",
        })
    }
}

impl std::error::Error for IdentityError {}

impl DtlsIdentity {
    /// A new key and certificate, valid from now for a year (browsers look at the fingerprint alone).
    ///
    /// # Errors
    /// Names the step that failed.
    pub fn generate() -> Result<Self, IdentityError> {
        let certificate = generate_self_signed_certificate().map_err(|_| IdentityError::Generation)?;
        let key = GatewayKey::parse(&certificate.private_key).ok_or(IdentityError::Generation)?;
        let config = with_notes(dimpl::Config::builder(), key)
            .use_server_cookie(false) // ICE has proven the address
            .require_client_certificate(true)
            .flight_start_rto(FIRST_RETRANSMISSION)
            .flight_retries(6)
            .handshake_timeout(HANDSHAKE_TIMEOUT)
            .build()
            .map_err(|_| IdentityError::Settings)?;
        Ok(Self { certificate, config: Arc::new(config) })
    }

    /// SHA-256 of the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        sha256(&self.certificate.certificate)
    }

    /// The value of `a=fingerprint:sha-256` (RFC 8122): `AA:BB:..`, 32 bytes.
    #[must_use]
    pub fn fingerprint_sdp(&self) -> String {
        self.certificate.fingerprint_str()
    }
}

fn sha256(der: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(&calculate_fingerprint(der)[..32]);
    out
}

/// What a step of the handshake brought.
#[derive(Debug)]
pub enum DtlsEvent {
    /// The certificate fits and the keys are there: what arrives, what we send.
    Keys(Box<(SrtpRx, SrtpTx)>),
    /// The far side has ended the connection.
    Closed,
}

/// One handshake with one browser, and the connection that it makes.
pub struct Handshake(State);

enum State {
    Shaking(Box<Shaking>),
    Settled(Settled),
}

struct Shaking {
    dtls: Dtls,
    role: DtlsRole,
    expected: [u8; 32],
    verified: bool,
    /// dimpl's own timer.
    deadline: Option<Instant>,
    /// Before there are keys: without any by then it has failed, whether or not the far side ever said a word.
    give_up: Option<Instant>,
    /// With keys: when it settles unless the far side says something more.
    settle: Option<Instant>,
    /// Of the records that the far side sends.
    secret: Option<Secret>,
    /// With keys: the datagram that was sent last.
    last: Vec<u8>,
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Handshake");
        if let State::Shaking(shaking) = &self.0 {
            debug.field("role", &shaking.role).field("verified", &shaking.verified);
        }
        debug.finish_non_exhaustive()
    }
}

impl Handshake {
    /// A handshake that has not begun; `expected` is the SHA-256 that SDP promised.
    #[must_use]
    pub fn new(now: Instant, identity: &DtlsIdentity, role: DtlsRole, expected: [u8; 32]) -> Self {
        Self(State::Shaking(Box::new(Shaking::new(now, identity, role, expected))))
    }

    /// Handles a datagram from a validated remote; what must be sent goes through `send`.
    ///
    /// # Errors
    /// The leg has failed: the handshake broke or the certificate is another one.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        send: impl FnMut(&[u8]),
    ) -> Result<Option<DtlsEvent>, LegFailure> {
        match &mut self.0 {
            State::Shaking(shaking) => shaking.handle_datagram(now, datagram, send),
            State::Settled(settled) => Ok(settled.handle_datagram(datagram, send).then_some(DtlsEvent::Closed)),
        }
    }

    /// Starts the handshake, retransmits, gives up, settles: whatever is due at `now`.
    ///
    /// # Errors
    /// The leg has failed: the far side did not answer in time.
    pub fn handle_timeout(&mut self, now: Instant, send: impl FnMut(&[u8])) -> Result<Option<DtlsEvent>, LegFailure> {
        let State::Shaking(shaking) = &mut self.0 else { return Ok(None) };
        let event = shaking.handle_timeout(now, send)?;
        if shaking.settle.is_some_and(|at| at <= now) {
            shaking.settle = None;
            if let Some(settled) = shaking.settled() {
                self.0 = State::Settled(settled);
            }
        }
        Ok(event)
    }

    /// When [`Handshake::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.0 {
            State::Shaking(shaking) => shaking.deadline.into_iter().chain(shaking.give_up).chain(shaking.settle).min(),
            State::Settled(_) => None,
        }
    }

    /// Tells the far side that the connection ends.
    pub fn close(&mut self, mut send: impl FnMut(&[u8])) {
        match &mut self.0 {
            State::Shaking(shaking) => shaking.close(send),
            State::Settled(settled) => send(settled.good_bye()),
        }
    }
}

impl Shaking {
    fn new(now: Instant, identity: &DtlsIdentity, role: DtlsRole, expected: [u8; 32]) -> Self {
        let mut dtls = Dtls::new_auto(Arc::clone(&identity.config), identity.certificate.clone(), now);
        if role == DtlsRole::Client {
            dtls.set_active(true);
        }
        let give_up = Some(now + HANDSHAKE_TIMEOUT);
        Self { dtls, role, expected, verified: false, deadline: Some(now), give_up, settle: None, secret: None, last: Vec::new() }
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        datagram: &[u8],
        mut send: impl FnMut(&[u8]),
    ) -> Result<Option<DtlsEvent>, LegFailure> {
        let mut last = Vec::new();
        let (event, secret) = noting(their_role(self.role), || {
            self.dtls.handle_timeout(now).map_err(|_| LegFailure::Dtls)?;
            self.dtls.handle_packet(datagram).map_err(|_| LegFailure::Dtls)?;
            self.poll(|packet| {
                send(packet);
                last = packet.to_vec();
            })
        });
        self.secret = secret.or(self.secret);
        if self.give_up.is_none() {
            self.settle = Some(now + SETTLE_TIME);
            if !last.is_empty() {
                self.last = last;
            }
        }
        event
    }

    fn handle_timeout(&mut self, now: Instant, send: impl FnMut(&[u8])) -> Result<Option<DtlsEvent>, LegFailure> {
        if self.give_up.is_some_and(|at| at <= now) {
            return Err(LegFailure::Dtls);
        }
        self.dtls.handle_timeout(now).map_err(|_| LegFailure::Dtls)?;
        self.poll(send)
    }

    fn close(&mut self, send: impl FnMut(&[u8])) {
        if self.dtls.close().is_ok() {
            // What else the last poll brings, a failure included, is about a connection that is over.
            let _ = self.poll(send);
        }
    }

    /// What is kept of it; none if its secret or its end is not known, and all of it is kept.
    fn settled(&mut self) -> Option<Settled> {
        let secret = self.secret?;
        let mut good_bye = Vec::new();
        self.close(|packet| good_bye = packet.to_vec());
        (!good_bye.is_empty()).then(|| Settled::new(secret, their_role(self.role), std::mem::take(&mut self.last), good_bye))
    }

    fn poll(&mut self, mut send: impl FnMut(&[u8])) -> Result<Option<DtlsEvent>, LegFailure> {
        let mut event = None;
        let mut buf: SmallVec<[u8; 2_048]> = smallvec![0; 2_048];
        loop {
            match self.dtls.poll_output(&mut buf) {
                Output::Packet(packet) => send(packet),
                Output::BufferTooSmall { needed } if needed > MAX_RECORD => return Err(LegFailure::Dtls),
                Output::BufferTooSmall { needed } => buf.resize(needed, 0),
                Output::Timeout(at) => {
                    self.deadline = Some(at);
                    return Ok(event);
                }
                Output::PeerCert(der) => {
                    if sha256(der) != self.expected {
                        return Err(LegFailure::FingerprintMismatch);
                    }
                    self.verified = true;
                }
                Output::KeyingMaterial(material, profile) => {
                    if !self.verified {
                        return Err(LegFailure::FingerprintMismatch);
                    }
                    self.give_up = None;
                    event = Some(DtlsEvent::Keys(Box::new(contexts(self.role, &material, profile)?)));
                }
                Output::CloseNotify => event = Some(DtlsEvent::Closed),
                // Data channels are not offered; what comes inside DTLS is nobody's.
                Output::Connected | Output::ApplicationData(_) => {}
                _ => {}
            }
        }
    }
}

fn their_role(ours: DtlsRole) -> DtlsRole {
    match ours {
        DtlsRole::Client => DtlsRole::Server,
        DtlsRole::Server => DtlsRole::Client,
    }
}

fn contexts(role: DtlsRole, material: &[u8], profile: SrtpProfile) -> Result<(SrtpRx, SrtpTx), LegFailure> {
    let profile = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmHmacSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
        _ => return Err(LegFailure::Dtls),
    };
    let keys = MasterKeys::split(profile, material).map_err(|_| LegFailure::Dtls)?;
    let (theirs, ours) = match role {
        DtlsRole::Client => (keys.server, keys.client),
        DtlsRole::Server => (keys.client, keys.server),
    };
    let rx = SrtpRx::new(profile, theirs.0, theirs.1).map_err(|_| LegFailure::Dtls)?;
    let tx = SrtpTx::new(profile, ours.0, ours.1).map_err(|_| LegFailure::Dtls)?;
    Ok((rx, tx))
}
