use smallvec::SmallVec;

use super::cipher::{Cipher, Index};
use super::{Profile, SrtpError};
use crate::wire::rtp::{ReplayWindow, RtpHeader, Seen, packet_index};

/// Most synchronisation sources that one direction keeps state for. A browser's audio leg has one, and one more each time
/// that it renegotiates with another track.
pub const MAX_SOURCES: usize = 16;

/// Bytes of the first RTCP header, which are never encrypted (RFC 3711 section 3.4).
const RTCP_HEADER_LEN: usize = 8;

/// One source: which indices it has used.
#[derive(Debug, Clone, Copy)]
struct Source {
    ssrc: u32,
    rtp: ReplayWindow,
    rtcp: ReplayWindow,
}

#[derive(Debug, Default)]
struct Sources(SmallVec<[Source; 2]>);

impl Sources {
    fn find(&self, ssrc: u32) -> Result<Option<usize>, SrtpError> {
        let found = self.0.iter().position(|source| source.ssrc == ssrc);
        if found.is_none() && self.0.len() >= MAX_SOURCES {
            return Err(SrtpError::TooManySources);
        }
        Ok(found)
    }

    fn entry(&mut self, found: Option<usize>, ssrc: u32) -> &mut Source {
        let at = found.unwrap_or_else(|| {
            self.0.push(Source { ssrc, rtp: ReplayWindow::default(), rtcp: ReplayWindow::default() });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    /// The index that `seq` of a source has, and the window's word on it.
    fn rtp_index(&self, found: Option<usize>, seq: u16) -> (u64, Seen) {
        match found.map(|at| &self.0[at].rtp).filter(|window| !window.is_empty()) {
            Some(window) => {
                let index = packet_index(window.highest(), seq);
                (index, window.check(index))
            }
            None => (u64::from(seq), Seen::New),
        }
    }
}

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let header = packet.first_chunk::<RTCP_HEADER_LEN>().ok_or(SrtpError::Malformed)?;
    Ok(u32::from_be_bytes([header[4], header[5], header[6], header[7]]))
}

#[derive(Debug)]
struct Keys {
    rtp: Cipher,
    rtcp: Cipher,
}

impl Keys {
    fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        Ok(Self { rtp: Cipher::new(profile, key, salt, 0)?, rtcp: Cipher::new(profile, key, salt, 3)? })
    }
}

/// The sending direction: one master key, the state of our sources.
#[derive(Debug)]
pub struct SrtpTx {
    keys: Keys,
    sources: Sources,
}

impl SrtpTx {
    /// Session keys from a master key and salt.
    ///
    /// # Errors
    /// [`SrtpError::KeyLength`].
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        Ok(Self { keys: Keys::new(profile, key, salt)?, sources: Sources::default() })
    }

    /// Encrypts the RTP packet `buf[..len]` in place and writes its tag behind; answers the new length.
    ///
    /// # Errors
    /// The packet is left as it was; an index is never used twice.
    pub fn protect_rtp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        self.keys.rtp.prefetch();
        let packet = buf.get(..len).ok_or(SrtpError::Malformed)?;
        let header = RtpHeader::parse_encrypted(packet).map_err(|_| SrtpError::Malformed)?;
        let found = self.sources.find(header.ssrc)?;
        let (index, seen) = self.sources.rtp_index(found, header.seq);
        if seen != Seen::New {
            return Err(SrtpError::IndexReuse);
        }
        if index >> 48 != 0 {
            return Err(SrtpError::KeyExhausted);
        }
        let total = self.keys.rtp.protect(buf, header.payload.start, len, header.ssrc, Index::Rtp(index))?;
        self.sources.entry(found, header.ssrc).rtp.mark(index);
        Ok(total)
    }

    /// Encrypts the RTCP compound `buf[..len]` in place and writes index and tag behind; answers the new length.
    ///
    /// # Errors
    /// The packet is left as it was.
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(buf.get(..len).ok_or(SrtpError::Malformed)?)?;
        let found = self.sources.find(ssrc)?;
        let index = found.map_or(0, |at| self.sources.0[at].rtcp.highest()) + 1;
        let index = u32::try_from(index).ok().filter(|index| index >> 31 == 0).ok_or(SrtpError::KeyExhausted)?;
        let total = self.keys.rtcp.protect(buf, RTCP_HEADER_LEN, len, ssrc, Index::Rtcp(index))?;
        self.sources.entry(found, ssrc).rtcp.mark(u64::from(index));
        Ok(total)
    }
}

/// The receiving direction: one master key, the state of the far side's sources.
#[derive(Debug)]
pub struct SrtpRx {
    keys: Keys,
    sources: Sources,
}

impl SrtpRx {
    /// Session keys from a master key and salt.
    ///
    /// # Errors
    /// [`SrtpError::KeyLength`].
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        Ok(Self { keys: Keys::new(profile, key, salt)?, sources: Sources::default() })
    }

    /// Checks and decrypts an SRTP packet in place; answers its length without the tag.
    ///
    /// # Errors
    /// Nothing has been learnt from a packet that is refused; its bytes may be changed.
    pub fn unprotect_rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        self.keys.rtp.prefetch();
        let header = RtpHeader::parse_encrypted(packet).map_err(|_| SrtpError::Malformed)?;
        let found = self.sources.find(header.ssrc)?;
        let (index, seen) = self.sources.rtp_index(found, header.seq);
        if seen != Seen::New {
            return Err(SrtpError::Replay);
        }
        let len = self.keys.rtp.unprotect(packet, header.payload.start, header.ssrc, Index::Rtp(index), true)?;
        self.sources.entry(found, header.ssrc).rtp.mark(index);
        Ok(len)
    }

    /// Checks and decrypts an SRTCP packet in place; answers the compound's length.
    ///
    /// # Errors
    /// Nothing has been learnt from a packet that is refused; its bytes may be changed.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let ssrc = rtcp_ssrc(packet)?;
        let word = self.keys.rtcp.rtcp_word(packet).ok_or(SrtpError::Malformed)?;
        let (encrypted, index) = (word >> 31 == 1, word & !(1 << 31));
        let found = self.sources.find(ssrc)?;
        if found.is_some_and(|at| self.sources.0[at].rtcp.check(u64::from(index)) != Seen::New) {
            return Err(SrtpError::Replay);
        }
        let len = self.keys.rtcp.unprotect(packet, RTCP_HEADER_LEN, ssrc, Index::Rtcp(index), encrypted)?;
        self.sources.entry(found, ssrc).rtcp.mark(u64::from(index));
        Ok(len)
    }

    /// How many sources it keeps state for.
    #[must_use]
    pub fn source_count(&self) -> usize {
        self.sources.0.len()
    }
}
