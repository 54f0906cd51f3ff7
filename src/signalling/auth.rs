//! Who someone is (RFC 3261 section 22, RFC 7616, RFC 8760): challenges, and the proof that answers them.
//!
//! A nonce is a time and a signature, so a challenge costs no memory. What has been *used with the right password* is
//! remembered until it expires: each use must bear a higher count. The table of used nonces is bounded; when it is full
//! the oldest goes, and with it the validity of every nonce that was given out as early as it.
//!
//! An unknown name is answered as a wrong password is: the same bytes, after the same work.

use std::collections::BTreeMap;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::base::{Now, Rng};
use crate::policy::account::{Account, Ha1};
use crate::policy::profile::DigestAlgorithm;
use crate::wire::sip::digest::{Algorithm, Credentials, hex};

/// The most nonces whose use is remembered.
const MAX_USED_NONCES: usize = 100_000;

/// What a request's Authorization is worth before the account has been looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// None, or none that can be checked: to be challenged.
    None,
    /// An honest answer to a challenge that has expired or was used up: to be challenged with `stale=true`.
    Stale,
    /// To be held against the account of this name.
    Check(Box<Credentials>, Algorithm),
}

/// Issues nonces and checks what is made of them.
pub struct Authenticator {
    realm: String,
    lifetime: Duration,
    secret: [u8; 32],
    /// By time of issue and nonce: the highest count seen.
    used: BTreeMap<(u64, String), u32>,
    /// Nonces issued at or before this are stale.
    floor_ms: u64,
}

impl Authenticator {
    /// Challenges for `realm` with nonces that live for `lifetime`.
    #[must_use]
    pub fn new(realm: String, lifetime: Duration, rng: &mut Rng) -> Self {
        let mut secret = [0; 32];
        rng.fill(&mut secret);
        Self { realm, lifetime, secret, used: BTreeMap::new(), floor_ms: 0 }
    }

    fn sign(&self, what: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(what.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// One challenge value an algorithm, in the order of the profile.
    pub fn challenges(&self, now: Now, rng: &mut Rng, algorithms: &[DigestAlgorithm], stale: bool) -> Vec<String> {
        let body = format!("{:x}.{}", now.unix_ms(), rng.token(16));
        let nonce = format!("{body}.{}", &hex(&self.sign(&body))[..32]);
        let stale = if stale { ", stale=true" } else { "" };
        let write = |algorithm: Algorithm| {
            format!(r#"Digest realm="{}", nonce="{nonce}", algorithm={}, qop="auth"{stale}"#, self.realm, algorithm.as_str())
        };
        algorithms
            .iter()
            .map(|algorithm| match algorithm {
                DigestAlgorithm::Md5 => write(Algorithm::Md5),
                DigestAlgorithm::Sha256 => write(Algorithm::Sha256),
            })
            .collect()
    }

    /// When a nonce was issued, if it is ours.
    fn issued_ms(&self, nonce: &str) -> Option<u64> {
        let (body, signature) = nonce.rsplit_once('.')?;
        let genuine: bool = hex(&self.sign(body)).as_bytes()[..32].ct_eq(signature.as_bytes()).into();
        u64::from_str_radix(body.split_once('.')?.0, 16).ok().filter(|_| genuine)
    }

    /// Looks at the Authorization values of a request (there may be others' among them).
    pub fn read<'a>(&self, now: Now, values: impl Iterator<Item = &'a [u8]>) -> Claim {
        let ours = values.filter_map(|v| Credentials::parse(v).ok()).find(|c| c.realm == self.realm);
        let Some(credentials) = ours else { return Claim::None };
        let Some(algorithm) = credentials.algorithm() else { return Claim::None };
        if credentials.qop.as_deref().is_some_and(|qop| qop != "auth" || credentials.nonce_count().is_none()) {
            return Claim::None;
        }
        let Some(issued_ms) = self.issued_ms(&credentials.nonce) else { return Claim::None };
        let age = now.unix_ms().saturating_sub(issued_ms);
        if issued_ms <= self.floor_ms || u128::from(age) > self.lifetime.as_millis() || self.is_used_up(issued_ms, &credentials) {
            return Claim::Stale;
        }
        Claim::Check(Box::new(credentials), algorithm)
    }

    fn is_used_up(&self, issued_ms: u64, credentials: &Credentials) -> bool {
        let last = self.used.get(&(issued_ms, credentials.nonce.clone()));
        // Without qop there is no count: such a nonce is good for one request.
        last.is_some_and(|last| credentials.nonce_count().is_none_or(|count| count <= *last))
    }

    /// Holds a claim against the account that was found for its name, or against nobody's.
    pub fn verify(
        &mut self,
        now: Now,
        credentials: &Credentials,
        algorithm: Algorithm,
        method: &str,
        account: Option<&Account>,
    ) -> bool {
        let named = account.filter(|a| a.name == credentials.username.to_ascii_lowercase());
        // Worked out for a known name too: both take the same time.
        let nobody = self.nobody(&credentials.username);
        let ha1 = named.map_or(&nobody, |account| &account.ha1);
        let ha1_hex = match algorithm {
            Algorithm::Md5 => hex(&ha1.md5),
            Algorithm::Sha256 => hex(&ha1.sha256),
        };
        let expected = credentials.expected_response(algorithm, &ha1_hex, method);
        let right: bool = expected.as_bytes().ct_eq(credentials.response.as_bytes()).into();
        let Some(issued_ms) = self.issued_ms(&credentials.nonce).filter(|_| right && named.is_some()) else { return false };
        // Two requests with one count may have been looked up at the same time.
        if self.is_used_up(issued_ms, credentials) {
            return false;
        }
        self.remember(now, issued_ms, credentials);
        true
    }

    /// An HA1 that no password has, so that an unknown name costs the same work.
    fn nobody(&self, name: &str) -> Ha1 {
        let sha256 = self.sign(name);
        let mut md5 = [0; 16];
        md5.copy_from_slice(&sha256[..16]);
        Ha1 { md5, sha256 }
    }

    fn remember(&mut self, now: Now, issued_ms: u64, credentials: &Credentials) {
        let oldest_alive = now.unix_ms().saturating_sub(u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX));
        while let Some(first) = self.used.first_entry() {
            let expired = first.key().0 < oldest_alive;
            if !expired {
                break;
            }
            first.remove();
        }
        if self.used.len() >= MAX_USED_NONCES
            && let Some(((issued, _), _)) = self.used.pop_first()
        {
            self.floor_ms = issued;
        }
        self.used.insert((issued_ms, credentials.nonce.clone()), credentials.nonce_count().unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const REALM: &str = "example.org";

    #[allow(clippy::disallowed_methods)]
    fn start() -> Now {
        Now { mono: Instant::now(), unix: Duration::from_secs(1_800_000_000) }
    }

    fn answer(challenge: &str, name: &str, password: &str, count: u32) -> String {
        let field = |name: &str| {
            challenge
                .split(&format!("{name}="))
                .nth(1)
                .map(|t| t.trim_start_matches('"').split(['"', ',']).next().unwrap_or_default().to_owned())
        };
        let (nonce, algorithm) = (field("nonce").expect("a nonce"), field("algorithm").expect("an algorithm"));
        let mut value = format!(
            r#"Digest username="{name}", realm="{REALM}", nonce="{nonce}", uri="sip:example.org", algorithm={algorithm}, qop=auth, cnonce="c", nc={count:08x}, response="0""#
        );
        let credentials = Credentials::parse(value.as_bytes()).expect("well formed");
        let algorithm = credentials.algorithm().expect("ours");
        let ha1 = algorithm.hash_hex(format!("{name}:{REALM}:{password}").as_bytes());
        let response = credentials.expected_response(algorithm, &ha1, "REGISTER");
        value = value.replace(r#"response="0""#, &format!(r#"response="{response}""#));
        value
    }

    fn account() -> Account {
        Account { name: "alice".into(), number: None, display_name: None, ha1: Ha1::of("alice", REALM, "correct horse") }
    }

    struct Bench {
        auth: Authenticator,
        rng: Rng,
        now: Now,
    }

    impl Bench {
        fn new() -> Self {
            let mut rng = Rng::from_number(1);
            Self { auth: Authenticator::new(REALM.into(), Duration::from_secs(300), &mut rng), rng, now: start() }
        }

        fn challenge(&mut self, algorithm: DigestAlgorithm) -> String {
            self.auth.challenges(self.now, &mut self.rng, &[algorithm], false).remove(0)
        }

        fn try_with(&mut self, value: &str, account: Option<&Account>) -> Result<bool, Claim> {
            match self.auth.read(self.now, std::iter::once(value.as_bytes())) {
                Claim::Check(credentials, algorithm) => {
                    Ok(self.auth.verify(self.now, &credentials, algorithm, "REGISTER", account))
                }
                other => Err(other),
            }
        }
    }

    #[test]
    fn the_right_password_passes_by_either_algorithm_and_others_do_not() {
        for algorithm in [DigestAlgorithm::Md5, DigestAlgorithm::Sha256] {
            let mut bench = Bench::new();
            let challenge = bench.challenge(algorithm);
            assert_eq!(bench.try_with(&answer(&challenge, "alice", "wrong", 1), Some(&account())), Ok(false));
            assert_eq!(bench.try_with(&answer(&challenge, "nobody", "correct horse", 1), None), Ok(false));
            assert_eq!(bench.try_with(&answer(&challenge, "alice", "correct horse", 1), Some(&account())), Ok(true));
        }
    }

    #[test]
    fn an_answer_cannot_be_replayed_but_a_nonce_can_be_counted_up() {
        let mut bench = Bench::new();
        let challenge = bench.challenge(DigestAlgorithm::Sha256);
        let first = answer(&challenge, "alice", "correct horse", 1);
        assert_eq!(bench.try_with(&first, Some(&account())), Ok(true));
        assert_eq!(bench.try_with(&first, Some(&account())), Err(Claim::Stale));
        assert_eq!(bench.try_with(&answer(&challenge, "alice", "correct horse", 2), Some(&account())), Ok(true));
    }

    #[test]
    fn a_nonce_expires_and_a_foreign_one_is_no_nonce() {
        let mut bench = Bench::new();
        let challenge = bench.challenge(DigestAlgorithm::Md5);
        let value = answer(&challenge, "alice", "correct horse", 1);
        let forged = value.replace(r#"nonce=""#, r#"nonce="1"#);
        assert_eq!(bench.try_with(&forged, Some(&account())), Err(Claim::None));
        bench.now = bench.now.after(Duration::from_secs(301));
        assert_eq!(bench.try_with(&value, Some(&account())), Err(Claim::Stale));
    }
}
