//! What is left of a DTLS connection once its handshake has been over for a while: a few hundred bytes, where [`dimpl`] keeps
//! eleven thousand.
//!
//! Nothing but close_notify travels in it from then on. Ours is sealed beforehand. To recognise theirs takes the secret that their
//! records are protected with, which `dimpl` does not hand out; it has its HMACs made by us, though, and those that make traffic
//! secrets are taken note of, as a browser does for its key log (RFC 9850).
//!
//! A far side that asks for our last words of the handshake again gets the very datagram that it has missed: the end of the last
//! flight in DTLS 1.2 (RFC 6347 section 4.2.4), the acknowledgement in 1.3 (RFC 9147 section 7). One that it has not missed after
//! all is a replay to it.

use std::cell::Cell;

use dimpl::crypto::aws_lc_rs::default_provider;
use dimpl::crypto::prf_hkdf::{hkdf_expand_label_dtls13, prf_tls12};
use dimpl::crypto::{
    Aad, Buf, Cipher, CryptoProvider, Dtls12CipherSuite, Dtls13CipherSuite, HashAlgorithm, HmacProvider, Nonce, TmpBuf,
};
use dimpl::{ConfigBuilder, CryptoError};

use super::key::GatewayKey;
use crate::plan::DtlsRole;

/// AES-GCM alone, which no browser lacks: the hash then says which.
const SUITES_12: [Dtls12CipherSuite; 2] =
    [Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256, Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384];
const SUITES_13: [Dtls13CipherSuite; 2] = [Dtls13CipherSuite::AES_128_GCM_SHA256, Dtls13CipherSuite::AES_256_GCM_SHA384];

const TAG_LEN: usize = 16;
/// Content types (RFC 8446 section 5.1), and close_notify.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const CLOSE_NOTIFY: u8 = 0;

/// The secret that records of a connection are protected with.
#[derive(Clone, Copy)]
pub(super) enum Secret {
    /// DTLS 1.2: the master secret, and server and client random (RFC 5246 section 6.3).
    Master { hash: HashAlgorithm, secret: [u8; 48], randoms: [u8; 64] },
    /// DTLS 1.3: the first secret of one side's application traffic (RFC 8446 section 7.1).
    Traffic { hash: HashAlgorithm, secret: [u8; 48] },
}

thread_local! {
    /// What was noted in the step that is being taken: of the client, and of the server.
    static NOTED: Cell<[Option<Secret>; 2]> = const { Cell::new([None; 2]) };
}

fn index(role: DtlsRole) -> usize {
    match role {
        DtlsRole::Client => 0,
        DtlsRole::Server => 1,
    }
}

/// Takes a step of a connection, and answers the secret that came up in it for records of the side with `role`, if one did.
pub(super) fn noting<T>(role: DtlsRole, step: impl FnOnce() -> T) -> (T, Option<Secret>) {
    NOTED.set([None; 2]);
    let done = step();
    (done, NOTED.take()[index(role)])
}

/// Has handshakes run with `key`, and so that [`noting`] works.
pub(super) fn with_notes(config: ConfigBuilder, key: &'static GatewayKey) -> ConfigBuilder {
    config
        .with_crypto_provider(CryptoProvider { hmac_provider: &NotingHmac, key_provider: key, ..default_provider() })
        .dtls12_cipher_suites(&SUITES_12)
        .dtls13_cipher_suites(&SUITES_13)
}

#[derive(Debug)]
struct NotingHmac;

impl HmacProvider for NotingHmac {
    fn hmac(&self, hash: HashAlgorithm, key: &[u8], data: &[u8], out: &mut [u8]) -> Result<usize, CryptoError> {
        let len = default_provider().hmac_provider.hmac(hash, key, data, out)?;
        if let Some(randoms) = data.strip_prefix(b"key expansion") {
            if let (Ok(secret), Ok(randoms)) = (key.try_into(), randoms.try_into()) {
                NOTED.set([Some(Secret::Master { hash, secret, randoms }); 2]);
            }
        } else if let Some(label) = data.get(3..).and_then(|label| label.strip_prefix(b"dtls13")) {
            let sides: [&[u8]; 2] = [b"c ap traffic", b"s ap traffic"];
            if let Some(side) = sides.iter().position(|side| label.starts_with(side)) {
                let mut secret = [0; 48];
                secret[..len].copy_from_slice(&out[..len]);
                let mut noted = NOTED.get();
                noted[side] = Some(Secret::Traffic { hash, secret });
                NOTED.set(noted);
            }
        }
        Ok(len)
    }
}

/// A connection that carries nothing but its end.
pub(super) struct Settled {
    /// Of the records that the far side sends.
    secret: Secret,
    /// The far side's role.
    theirs: DtlsRole,
    /// Our last words of the handshake.
    last: Box<[u8]>,
    good_bye: Box<[u8]>,
}

impl Settled {
    pub(super) fn new(secret: Secret, theirs: DtlsRole, last: Vec<u8>, good_bye: Vec<u8>) -> Self {
        Self { secret, theirs, last: last.into(), good_bye: good_bye.into() }
    }

    /// Our close_notify.
    pub(super) fn good_bye(&self) -> &[u8] {
        &self.good_bye
    }

    /// Handles a datagram; whether it is the far side's close_notify.
    pub(super) fn handle_datagram(&self, datagram: &[u8], mut send: impl FnMut(&[u8])) -> bool {
        // In the clear under DTLS 1.2; in the epoch of the handshake, 2, under 1.3 (RFC 9147 section 4).
        let is_handshake = datagram.first().is_some_and(|first| *first == HANDSHAKE || first & 0xe3 == 0x22);
        if is_handshake && !self.last.is_empty() {
            send(&self.last);
        }
        !is_handshake && self.is_good_bye(datagram)
    }

    fn is_good_bye(&self, datagram: &[u8]) -> bool {
        let alert = match &self.secret {
            Secret::Master { hash, secret, randoms } => self.alert_12(*hash, secret, randoms, datagram),
            Secret::Traffic { hash, secret } => alert_13(*hash, secret.get(..hash.output_len()).unwrap_or(secret), datagram),
        };
        alert.is_some_and(|[_, description]| description == CLOSE_NOTIFY)
    }

    /// The alert in a record of DTLS 1.2 (RFC 6347 section 4.1.2, RFC 5288).
    fn alert_12(&self, hash: HashAlgorithm, secret: &[u8], randoms: &[u8], datagram: &[u8]) -> Option<[u8; 2]> {
        let (header, sealed) = datagram.split_first_chunk::<13>()?;
        let (explicit, sealed) = sealed.split_first_chunk::<8>()?;
        let sealed = sealed.get(..2 + TAG_LEN)?;
        // The first epoch with keys, and the length of one alert.
        if header[0] != ALERT || header[3..5] != [0, 1] || header[11..] != [0, 8 + 2 + TAG_LEN as u8] {
            return None;
        }
        let suite = default_provider().cipher_suites.iter().find(|suite| {
            let suite = suite.suite();
            SUITES_12.contains(&suite) && suite.hash_algorithm() == hash
        })?;
        let (_, key_len, iv_len) = suite.key_lengths();
        let (mut block, mut scratch) = (Buf::new(), Buf::new());
        let len = 2 * (key_len + iv_len);
        prf_tls12(default_provider().hmac_provider, secret, "key expansion", randoms, &mut block, len, &mut scratch, hash)
            .ok()?;
        let (keys, ivs) = block.split_at_checked(2 * key_len)?;
        let key = keys.chunks_exact(key_len).nth(index(self.theirs))?;
        let iv = ivs.chunks_exact(iv_len).nth(index(self.theirs))?;
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(iv.first_chunk::<4>()?);
        nonce[4..].copy_from_slice(explicit);
        let aad = header[3..11].iter().chain(&header[..3]).chain(&[0, 2]).copied();
        open(suite.create_cipher(key).ok()?, Aad(aad.collect()), nonce, sealed)?.first_chunk().copied()
    }
}

/// The alert in a record of DTLS 1.3 (RFC 9147 section 4). The far side has used few record numbers, of which the wire shows the
/// low 8 or 16 bits: those are taken for all of it.
fn alert_13(hash: HashAlgorithm, secret: &[u8], datagram: &[u8]) -> Option<[u8; 2]> {
    const EPOCH: u8 = 3;
    let first = *datagram.first()?;
    // 001CSLEE: no connection id, the epoch of application traffic.
    if first & 0xf0 != 0x20 || first & 3 != EPOCH {
        return None;
    }
    let number_len = if first & 8 == 0 { 1 } else { 2 };
    let header_len = 1 + number_len + if first & 4 == 0 { 0 } else { 2 };
    let (header, sealed) = datagram.split_at_checked(header_len)?;
    let sealed = match header.get(1 + number_len..).and_then(|len| len.first_chunk::<2>()) {
        Some(len) => sealed.get(..u16::from_be_bytes(*len).into())?,
        None => sealed,
    };
    let suites = default_provider().dtls13_cipher_suites;
    let suite = suites.iter().find(|suite| SUITES_13.contains(&suite.suite()) && suite.hash_algorithm() == hash)?;
    let derive = |label: &[u8], len| {
        let mut out = Buf::new();
        hkdf_expand_label_dtls13(default_provider().hmac_provider, hash, secret, label, &[], &mut out, len).ok()?;
        Some(out)
    };
    let mask = suite.encrypt_sn(&derive(b"sn", suite.key_len())?, sealed.first_chunk()?);
    let mut aad: Vec<u8> = header.to_vec();
    let mut nonce = *derive(b"iv", suite.iv_len())?.first_chunk::<12>()?;
    for (n, mask) in mask.iter().take(number_len).enumerate() {
        aad[1 + n] ^= mask;
        nonce[12 - number_len + n] ^= aad[1 + n];
    }
    let cipher = suite.create_cipher(&derive(b"key", suite.key_len())?).ok()?;
    let plain = open(cipher, Aad(aad.into_iter().collect()), nonce, sealed)?;
    // The content type, and zeros, lie behind the content.
    let end = plain.iter().rposition(|byte| *byte != 0)?;
    (plain[end] == ALERT && end == 2).then(|| [plain[0], plain[1]])
}

fn open(mut cipher: Box<dyn Cipher>, aad: Aad, nonce: [u8; 12], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = sealed.to_vec();
    let mut buf = TmpBuf::new(&mut bytes);
    cipher.decrypt(&mut buf, aad, Nonce(nonce)).ok()?;
    let len = buf.len();
    bytes.truncate(len);
    Some(bytes)
}
