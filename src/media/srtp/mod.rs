//! SRTP and SRTCP in place (RFC 3711), for the three profiles that browsers offer (RFC 5764, RFC 7714).
//!
//! [`SrtpTx`] protects what we send and [`SrtpRx`] unprotects what arrives; each has the keys of one direction. Both
//! work inside the datagram's own buffer and allocate nothing: the tag goes into the room behind the packet. State for a
//! synchronisation source is made by its first good tag and never before, for at most [`MAX_SOURCES`] of them.
//!
//! Key derivation rate 0 and no MKI, as DTLS-SRTP has it. The way to add a profile: a variant of [`Profile`], its
//! lengths, and a `cipher::Cipher`.

mod cipher;
mod cm;
mod context;
mod derive;
mod gcm;

pub use context::{MAX_SOURCES, SrtpRx, SrtpTx};
pub use derive::derive_key;

/// Room that [`SrtpTx`] needs behind a packet: an AEAD tag and the SRTCP index.
pub const MAX_TRAILER: usize = 20;

/// A protection profile (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// AES-128 in counter mode, HMAC-SHA1 cut to 80 bits: Chromium's first.
    Aes128CmHmacSha1_80,
    /// AES-128-GCM with a 128-bit tag: Firefox's first.
    AeadAes128Gcm,
    /// AES-256-GCM with a 128-bit tag.
    AeadAes256Gcm,
}

impl Profile {
    /// Bytes of a master key.
    #[must_use]
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128CmHmacSha1_80 | Self::AeadAes128Gcm => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt.
    #[must_use]
    pub fn salt_len(self) -> usize {
        match self {
            Self::Aes128CmHmacSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }
}

/// Why a packet was not protected or not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SrtpError {
    /// No RTP or RTCP packet with a tag: too short, or its lengths lie.
    Malformed,
    /// The tag does not fit: forged, damaged or of other keys.
    Tag,
    /// The index has been seen, or lies behind the replay window (RFC 3711 section 3.3.2).
    Replay,
    /// The context holds as many sources as it may.
    TooManySources,
    /// Sending it would use an index twice, or one behind the window: the same keystream for two packets.
    IndexReuse,
    /// The index has run out (2^48 RTP, 2^31 RTCP packets).
    KeyExhausted,
    /// No room behind the packet for the tag.
    NoRoom,
    /// Master key or salt of the wrong length for the profile.
    KeyLength,
}

/// Master keys of both directions.
#[derive(Clone)]
pub struct MasterKeys<'a> {
    /// What the DTLS client sends with: key and salt.
    pub client: (&'a [u8], &'a [u8]),
    /// What the DTLS server sends with: key and salt.
    pub server: (&'a [u8], &'a [u8]),
}

impl<'a> MasterKeys<'a> {
    /// Cuts exported keying material apart in the order of RFC 5764 section 4.2: client key, server key, client salt,
    /// server salt.
    ///
    /// # Errors
    /// Material of another length than the profile's.
    pub fn split(profile: Profile, material: &'a [u8]) -> Result<Self, SrtpError> {
        let (key, salt) = (profile.key_len(), profile.salt_len());
        if material.len() != 2 * (key + salt) {
            return Err(SrtpError::KeyLength);
        }
        let (keys, salts) = material.split_at(2 * key);
        Ok(Self { client: (&keys[..key], &salts[..salt]), server: (&keys[key..], &salts[salt..]) })
    }
}
