//! Who may register and call: what the database knows of a person or a device.

/// One account, as the store answers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user part of its SIP address, lower case: `alice` of `sip:alice@example.org`.
    pub name: String,
    /// The number that others dial to reach it, if it has one.
    pub number: Option<String>,
    /// What others see when it calls.
    pub display_name: Option<String>,
    /// What its password is checked against; the password itself is kept nowhere.
    pub ha1: Ha1,
}

/// H(name ":" realm ":" password) for each algorithm (RFC 8760, RFC 2617 section 3.2.2.2), as raw bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    /// For peers that know MD5 alone (JsSIP).
    pub md5: [u8; 16],
    /// For all others.
    pub sha256: [u8; 32],
}

impl std::fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ha1(…)")
    }
}

impl Ha1 {
    /// What is stored for a password, for the realm that the gateway challenges with.
    #[must_use]
    pub fn of(name: &str, realm: &str, password: &str) -> Self {
        use sha2::Digest as _;
        let text = format!("{name}:{realm}:{password}");
        Self { md5: md5::Md5::digest(&text).into(), sha256: sha2::Sha256::digest(&text).into() }
    }
}
