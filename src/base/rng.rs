use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// Chance from a seed: a cryptographic generator that the shell seeds from the operating system and a test from a number.
#[derive(Debug, Clone)]
pub struct Rng(StdRng);

/// RFC 8839 ice-chars and RFC 3261 token characters have these in common: safe in tags, branches, Call-IDs, ufrags.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";

impl Rng {
    /// A generator whose every output follows from `seed`.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    /// As [`Rng::from_seed`], for tests that name their seed by a number.
    #[must_use]
    pub fn from_number(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Uniform over all values.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform over all values.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }

    /// A token of `len` letters, digits, `+` and `-` with 6 bits of chance each (22 give 132 bits).
    pub fn token(&mut self, len: usize) -> String {
        (0..len).map(|_| char::from(ALPHABET[(self.0.next_u32() & 63) as usize])).collect()
    }

    /// A word of `len` lower-case letters and digits, for ids that people read out and type.
    pub fn word(&mut self, len: usize) -> String {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        (0..len).map(|_| char::from(LETTERS[(self.0.next_u32() & 31) as usize])).collect()
    }
}
