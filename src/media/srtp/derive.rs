use aes::cipher::{KeyIvInit, StreamCipher};

use super::{Profile, SrtpError};

/// Which session key, counted from the first label of its kind: 0 for RTP, 3 for RTCP (RFC 3711 section 4.3.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Label {
    Key = 0,
    Auth = 1,
    Salt = 2,
}

/// Fills `out` with the session key of `label` (0 to 5) by AES in counter mode: RFC 3711 section 4.3.3, RFC 6188 for a
/// 256-bit master key, RFC 7714 section 11 for a 96-bit salt (shifted left to 112 bits).
///
/// # Errors
/// Master key or salt of another length than the profile's.
pub fn derive_key(profile: Profile, key: &[u8], salt: &[u8], label: u8, out: &mut [u8]) -> Result<(), SrtpError> {
    if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
        return Err(SrtpError::KeyLength);
    }
    let mut iv = [0; 16];
    iv[..salt.len()].copy_from_slice(salt);
    iv[7] ^= label;
    out.fill(0);
    let wrong = |_| SrtpError::KeyLength;
    match key.len() {
        32 => ctr::Ctr128BE::<aes::Aes256>::new_from_slices(key, &iv).map_err(wrong)?.apply_keystream(out),
        _ => ctr::Ctr128BE::<aes::Aes128>::new_from_slices(key, &iv).map_err(wrong)?.apply_keystream(out),
    }
    Ok(())
}
