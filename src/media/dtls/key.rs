//! The gateway's private key, parsed once: `dimpl` has it parsed for each handshake, and again where that turns out to be DTLS 1.2.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use dimpl::crypto::{Buf, HashAlgorithm, KeyProvider, SignatureAlgorithm, SigningKey};
use dimpl::{CryptoError, CryptoOperation};

/// An ECDSA key on P-256, for SHA-256; whatever bytes it is asked to load, this is what it answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct GatewayKey(&'static EcdsaKeyPair);

impl GatewayKey {
    /// Parses PKCS #8; `None` if it is no such key. It stays for as long as the process runs, which is what `dimpl` asks of a
    /// provider, and a gateway has one.
    pub(super) fn parse(pkcs8: &[u8]) -> Option<&'static Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).ok()?;
        Some(Box::leak(Box::new(Self(Box::leak(Box::new(pair))))))
    }
}

impl KeyProvider for GatewayKey {
    fn load_private_key(&self, _: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        Ok(Box::new(*self))
    }
}

impl SigningKey for GatewayKey {
    fn sign(&mut self, data: &[u8], hash: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        if hash != self.hash_algorithm() {
            return Err(CryptoError::SigningKeyHashMismatch { key_hash: self.hash_algorithm(), requested: hash });
        }
        let signature = self.0.sign(&SystemRandom::new(), data);
        out.clear();
        out.extend_from_slice(signature.map_err(|_| CryptoError::OperationFailed(CryptoOperation::Sign))?.as_ref());
        Ok(())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::SHA256
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        &[HashAlgorithm::SHA256]
    }
}
