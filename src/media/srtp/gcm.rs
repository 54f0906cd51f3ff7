use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::cipher::Index;
use super::derive::{Label, derive_key};
use super::{Profile, SrtpError};

/// AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714).
#[derive(Debug)]
pub(super) struct GcmCipher {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl GcmCipher {
    pub(super) const TAG_LEN: usize = 16;

    pub(super) fn new(profile: Profile, key: &[u8], salt: &[u8], first_label: u8) -> Result<Self, SrtpError> {
        let (mut session_key, mut session_salt) = ([0; 32], [0; 12]);
        let session_key = &mut session_key[..profile.key_len()];
        derive_key(profile, key, salt, first_label + Label::Key as u8, session_key)?;
        derive_key(profile, key, salt, first_label + Label::Salt as u8, &mut session_salt)?;
        let algorithm = if session_key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, session_key).map_err(|_| SrtpError::KeyLength)?;
        Ok(Self { key: LessSafeKey::new(key), salt: session_salt })
    }

    /// RFC 7714 sections 8.1 and 9.1: two zero bytes, SSRC, then ROC and sequence number, or two zero bytes and the index.
    fn nonce(&self, ssrc: u32, index: Index) -> Nonce {
        let index = match index {
            Index::Rtp(index) => index,
            Index::Rtcp(index) => u64::from(index),
        };
        let mut iv = [0; 12];
        iv[2..6].copy_from_slice(&ssrc.to_be_bytes());
        iv[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        for (byte, salt) in iv.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(iv)
    }

    pub(super) fn protect(
        &self,
        packet: &mut [u8],
        header_len: usize,
        len: usize,
        ssrc: u32,
        index: Index,
    ) -> Result<(), SrtpError> {
        let nonce = self.nonce(ssrc, index);
        let (header, rest) = packet.split_at_mut(header_len);
        let (payload, trailer) = rest.split_at_mut(len - header_len);
        let tag = match index {
            Index::Rtp(_) => self.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload),
            Index::Rtcp(index) => {
                let word = (index | 1 << 31).to_be_bytes();
                trailer[Self::TAG_LEN..].copy_from_slice(&word);
                self.key.seal_in_place_separate_tag(nonce, Aad::from(rtcp_aad(header, word)?), payload)
            }
        };
        let tag = tag.map_err(|_| SrtpError::Malformed)?;
        trailer[..Self::TAG_LEN].copy_from_slice(tag.as_ref());
        Ok(())
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
        let nonce = self.nonce(ssrc, index);
        let end = len + Self::TAG_LEN;
        let (header, rest) = packet.split_at_mut(header_len);
        let opened = match index {
            Index::Rtp(_) => self.key.open_in_place(nonce, Aad::from(&*header), rest).map(|_| ()),
            Index::Rtcp(index) if encrypted => {
                let aad = rtcp_aad(header, (index | 1 << 31).to_be_bytes())?;
                self.key.open_in_place(nonce, Aad::from(aad), &mut rest[..end - header_len]).map(|_| ())
            }
            // RFC 7714 section 9.3: not encrypted, the whole packet and its index are associated data. No browser sends it
            // so, and the pieces do not lie side by side.
            Index::Rtcp(_) => return Err(SrtpError::Malformed),
        };
        opened.map_err(|_| SrtpError::Tag)
    }
}

/// RFC 7714 section 9.2: the 8 bytes of the first RTCP header and the word with the E flag and index.
fn rtcp_aad(header: &[u8], word: [u8; 4]) -> Result<[u8; 12], SrtpError> {
    let header: &[u8; 8] = header.try_into().map_err(|_| SrtpError::Malformed)?;
    let mut aad = [0; 12];
    aad[..8].copy_from_slice(header);
    aad[8..].copy_from_slice(&word);
    Ok(aad)
}
