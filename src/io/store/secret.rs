//! Password records at rest: sealed with AES-256-GCM by a key in a file of its own, so that a copy of the database alone
//! lets nobody log in. Each record is bound to its account and realm: moved to another row, it does not open.
//!
//! A sealed record is nonce (12 bytes), H(name:realm:password) by MD5 (16) and SHA-256 (32), tag (16).

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use super::StoreError;
use crate::policy::account::Ha1;

const KEY_FILE: &str = "secret.key";
const KEY_LEN: usize = 32;

pub(super) struct SecretKey(RandomizedNonceKey);

impl SecretKey {
    /// Reads `secret.key`, or makes it when it is not there and `may_make` says that nothing was sealed with another.
    pub(super) fn read_or_make(data_dir: &Path, may_make: bool) -> Result<Self, StoreError> {
        let path = data_dir.join(KEY_FILE);
        let file_error = |cause| StoreError::File { path: path.clone(), cause };
        if !path.try_exists().map_err(file_error)? {
            if !may_make {
                return Err(StoreError::KeyMissing(path));
            }
            make(data_dir, &path).map_err(file_error)?;
        }
        let mut file = fs::File::open(&path).map_err(file_error)?;
        if file.metadata().map_err(file_error)?.mode() & 0o077 != 0 {
            return Err(StoreError::KeyExposed(path));
        }
        let mut bytes = Vec::with_capacity(KEY_LEN);
        file.read_to_end(&mut bytes).map_err(file_error)?;
        if bytes.len() != KEY_LEN {
            return Err(StoreError::KeyBroken(path));
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes);
        key.map(Self).map_err(|_| StoreError::KeyBroken(path))
    }

    pub(super) fn seal(&self, name: &str, realm: &str, ha1: &Ha1) -> Vec<u8> {
        let mut secret = [ha1.md5.as_slice(), &ha1.sha256].concat();
        let sealed = self.0.seal_in_place_append_tag(aad(name, realm), &mut secret);
        let nonce = sealed.expect("AES-256-GCM seals 48 bytes");
        [nonce.as_ref().as_slice(), &secret].concat()
    }

    pub(super) fn open(&self, name: &str, realm: &str, sealed: &[u8]) -> Option<Ha1> {
        let (nonce, secret) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut secret = secret.to_vec();
        let opened = self.0.open_in_place(nonce, aad(name, realm), &mut secret).ok()?;
        let (md5, sha256) = opened.split_at_checked(16)?;
        Some(Ha1 { md5: md5.try_into().ok()?, sha256: sha256.try_into().ok()? })
    }
}

/// Neither a name nor a realm holds a zero byte, so no two pairs give the same bytes.
fn aad(name: &str, realm: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("ringway ha1 v1\0{name}\0{realm}").into_bytes())
}

/// Writes a new key beside its place and then links it there: of two processes that do so at once, both read the first one's.
fn make(data_dir: &Path, path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_LEN];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("the operating system gives no randomness"))?;
    let draft = data_dir.join(format!("{KEY_FILE}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}
