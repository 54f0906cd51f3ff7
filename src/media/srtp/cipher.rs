use super::cm::CmCipher;
use super::gcm::GcmCipher;
use super::{Profile, SrtpError};
use crate::base::prefetch;

/// Where a packet lies: RTP with its 48-bit index, or RTCP with its 31-bit index.
#[derive(Debug, Clone, Copy)]
pub(super) enum Index {
    Rtp(u64),
    Rtcp(u32),
}

/// The session keys of one direction, for RTP or for RTCP.
#[derive(Debug)]
pub(super) enum Cipher {
    Cm(Box<CmCipher>),
    Gcm(GcmCipher),
}

impl Cipher {
    /// Has all of the keys' state brought into the cache at once, while what is to be done with it is looked up.
    pub(super) fn prefetch(&self) {
        match self {
            Self::Cm(cm) => prefetch(&**cm),
            Self::Gcm(gcm) => prefetch(gcm),
        }
    }

    /// `first_label` is 0 for RTP's keys and 3 for RTCP's.
    pub(super) fn new(profile: Profile, key: &[u8], salt: &[u8], first_label: u8) -> Result<Self, SrtpError> {
        match profile {
            Profile::Aes128CmHmacSha1_80 => CmCipher::new(key, salt, first_label).map(|cm| Self::Cm(Box::new(cm))),
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => GcmCipher::new(profile, key, salt, first_label).map(Self::Gcm),
        }
    }

    /// Bytes that protection adds.
    pub(super) fn trailer_len(&self, rtcp: bool) -> usize {
        let tag = match self {
            Self::Cm(_) => CmCipher::TAG_LEN,
            Self::Gcm(_) => GcmCipher::TAG_LEN,
        };
        tag + if rtcp { 4 } else { 0 }
    }

    /// Encrypts `buf[header_len..len]` and writes tag and index behind; the new length.
    pub(super) fn protect(
        &self,
        buf: &mut [u8],
        header_len: usize,
        len: usize,
        ssrc: u32,
        index: Index,
    ) -> Result<usize, SrtpError> {
        let total = len + self.trailer_len(matches!(index, Index::Rtcp(_)));
        let packet = buf.get_mut(..total).ok_or(SrtpError::NoRoom)?;
        match self {
            Self::Cm(cm) => cm.protect(packet, header_len, len, ssrc, index),
            Self::Gcm(gcm) => gcm.protect(packet, header_len, len, ssrc, index)?,
        }
        Ok(total)
    }

    /// Checks the tag and decrypts; the length without tag and index.
    pub(super) fn unprotect(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: Index,
        encrypted: bool,
    ) -> Result<usize, SrtpError> {
        let trailer = self.trailer_len(matches!(index, Index::Rtcp(_)));
        let len = packet.len().checked_sub(trailer).filter(|len| *len >= header_len).ok_or(SrtpError::Malformed)?;
        match self {
            Self::Cm(cm) => cm.unprotect(packet, header_len, len, ssrc, index, encrypted)?,
            Self::Gcm(gcm) => gcm.unprotect(packet, header_len, len, ssrc, index, encrypted)?,
        }
        Ok(len)
    }

    /// The SRTCP word (E flag and index) of a packet: the last word under GCM, before the tag under CM.
    pub(super) fn rtcp_word(&self, packet: &[u8]) -> Option<u32> {
        let behind = match self {
            Self::Cm(_) => CmCipher::TAG_LEN,
            Self::Gcm(_) => 0,
        };
        let at = packet.len().checked_sub(behind + 4)?;
        packet[at..].first_chunk::<4>().map(|word| u32::from_be_bytes(*word))
    }
}
