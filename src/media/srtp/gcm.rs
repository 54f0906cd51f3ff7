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

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    /// The RFC's examples start from session keys.
    fn cipher(key_len: u8) -> GcmCipher {
        let key: Vec<u8> = (0..key_len).collect();
        let algorithm = if key_len == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, &key).unwrap());
        GcmCipher { key, salt: *b"Quid pro quo" }
    }

    fn check(key_len: u8, plain: &str, header_len: usize, ssrc: u32, index: Index, sealed: &str) {
        let (cipher, plain, sealed) = (cipher(key_len), hex(plain), hex(sealed));
        let mut packet = plain.clone();
        packet.resize(sealed.len(), 0);
        cipher.protect(&mut packet, header_len, plain.len(), ssrc, index).unwrap();
        assert_eq!(packet, sealed);
        cipher.unprotect(&mut packet, header_len, plain.len(), ssrc, index, true).unwrap();
        assert_eq!(packet[..plain.len()], plain);
        let mut damaged = sealed;
        damaged[header_len] ^= 1;
        let refused = cipher.unprotect(&mut damaged, header_len, plain.len(), ssrc, index, true);
        assert_eq!(refused, Err(SrtpError::Tag));
    }

    const RTP: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070
        61727465 73207472 6573";

    #[test]
    fn srtp_of_rfc_7714_section_16() {
        let index = Index::Rtp(0xf17b);
        check(
            16,
            RTP,
            12,
            0x5501_a0b2,
            index,
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf
            8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        );
        check(
            32,
            RTP,
            12,
            0x5501_a0b2,
            index,
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799
            b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        );
    }

    #[test]
    fn srtcp_of_rfc_7714_section_17() {
        check(
            16,
            "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef
            deadbeef",
            8,
            0x4d61_7273,
            Index::Rtcp(0x5d4),
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded
            0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        );
    }
}
