use aes::Aes128;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use ctr::{CtrCore, flavors::Ctr128BE};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::cipher::Index;
use super::derive::{Label, derive_key};
use super::{Profile, SrtpError};

/// AES_CM_128_HMAC_SHA1_80 (RFC 3711 sections 4.1.1 and 4.2.1).
pub(super) struct CmCipher {
    aes: Aes128,
    salt: [u8; 14],
    mac: Hmac<Sha1>,
}

impl std::fmt::Debug for CmCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CmCipher")
    }
}

impl CmCipher {
    pub(super) const TAG_LEN: usize = 10;

    pub(super) fn new(key: &[u8], salt: &[u8], first_label: u8) -> Result<Self, SrtpError> {
        let (mut session_key, mut auth, mut session_salt) = ([0; 16], [0; 20], [0; 14]);
        let profile = Profile::Aes128CmHmacSha1_80;
        derive_key(profile, key, salt, first_label + Label::Key as u8, &mut session_key)?;
        derive_key(profile, key, salt, first_label + Label::Auth as u8, &mut auth)?;
        derive_key(profile, key, salt, first_label + Label::Salt as u8, &mut session_salt)?;
        let mac = <Hmac<Sha1> as Mac>::new_from_slice(&auth).map_err(|_| SrtpError::KeyLength)?;
        Ok(Self { aes: Aes128::new(&session_key.into()), salt: session_salt, mac })
    }

    fn crypt(&self, payload: &mut [u8], ssrc: u32, index: Index) {
        let index = match index {
            Index::Rtp(index) => index,
            Index::Rtcp(index) => u64::from(index),
        };
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        CtrCore::<&Aes128, Ctr128BE>::inner_iv_init(&self.aes, &iv.into()).apply_keystream_partial(payload.into());
    }

    fn tag(&self, authenticated: &[u8], index: Index) -> [u8; 20] {
        let mut mac = self.mac.clone();
        mac.update(authenticated);
        if let Index::Rtp(index) = index {
            // The ROC is authenticated though not sent (RFC 3711 section 4.2).
            mac.update(&((index >> 16) as u32).to_be_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    pub(super) fn protect(&self, packet: &mut [u8], header_len: usize, len: usize, ssrc: u32, index: Index) {
        self.crypt(&mut packet[header_len..len], ssrc, index);
        let mut end = len;
        if let Index::Rtcp(index) = index {
            packet[len..len + 4].copy_from_slice(&(index | 1 << 31).to_be_bytes());
            end += 4;
        }
        let tag = self.tag(&packet[..end], index);
        packet[end..].copy_from_slice(&tag[..Self::TAG_LEN]);
    }

    pub(super) fn unprotect(
        &self,
        packet: &mut [u8],
        header_len: usize,
        len: usize,
        ssrc: u32,
        index: Index,
        encrypted: bool,
    ) -> Result<(), SrtpError> {
        let end = packet.len() - Self::TAG_LEN;
        let tag = self.tag(&packet[..end], index);
        if !bool::from(tag[..Self::TAG_LEN].ct_eq(&packet[end..])) {
            return Err(SrtpError::Tag);
        }
        if encrypted {
            self.crypt(&mut packet[header_len..len], ssrc, index);
        }
        Ok(())
    }
}

fn xor(into: &mut [u8], with: &[u8]) {
    for (into, with) in into.iter_mut().zip(with) {
        *into ^= with;
    }
}
