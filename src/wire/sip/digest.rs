//! Digest access authentication as SIP uses it (RFC 3261 section 22, RFC 7616, RFC 8760): reading `Authorization`, computing
//! `response`. Who may answer which nonce is the authenticator's business, not this file's.

use super::defect::Malformed;
use super::lex;
use md5::Digest as _;

/// The algorithms that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// The default when none is named (RFC 2617).
    Md5,
    /// RFC 8760.
    Sha256,
}

impl Algorithm {
    /// As it is written in a header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// The lower-case hexadecimal hash of `text`.
    #[must_use]
    pub fn hash_hex(self, text: &[u8]) -> String {
        match self {
            Self::Md5 => hex(&md5::Md5::digest(text)),
            Self::Sha256 => hex(&sha2::Sha256::digest(text)),
        }
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        write!(out, "{b:02x}").expect("writing to memory does not fail");
        out
    })
}

/// The fields of a `Digest` Authorization, unquoted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// Who.
    pub username: String,
    /// For which realm.
    pub realm: String,
    /// For which challenge.
    pub nonce: String,
    /// The URI that was hashed: the Request-URI as the sender saw it.
    pub uri: String,
    /// The proof, lower-case hexadecimal.
    pub response: String,
    /// As written; none means MD5.
    pub algorithm: Option<String>,
    /// `auth`, or none for RFC 2069 clients.
    pub qop: Option<String>,
    /// The client's own nonce.
    pub cnonce: String,
    /// How often the client has used this nonce, eight hexadecimal digits as written.
    pub nc: String,
}

impl Credentials {
    /// Parses the value of Authorization or Proxy-Authorization.
    ///
    /// # Errors
    /// Another scheme than Digest, a broken list, or a field without which nothing can be verified.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let space = value.iter().position(|b| matches!(b, b' ' | b'\t')).ok_or(Malformed)?;
        if !value[..space].eq_ignore_ascii_case(b"Digest") {
            return Err(Malformed);
        }
        let mut found = Self::default();
        for field in lex::comma_values(&value[space..]) {
            let field = field?;
            let eq = memchr::memchr(b'=', field).ok_or(Malformed)?;
            let (name, raw) = (lex::trim(&field[..eq]), lex::trim(&field[eq + 1..]));
            let text = String::from_utf8(lex::unquote(raw)).map_err(|_| Malformed)?;
            match name.to_ascii_lowercase().as_slice() {
                b"username" => found.username = text,
                b"realm" => found.realm = text,
                b"nonce" => found.nonce = text,
                b"uri" => found.uri = text,
                b"response" => found.response = text.to_ascii_lowercase(),
                b"algorithm" => found.algorithm = Some(text),
                b"qop" => found.qop = Some(text),
                b"cnonce" => found.cnonce = text,
                b"nc" => found.nc = text,
                // `opaque` and extensions say nothing that we sent for a reason.
                _ => {}
            }
        }
        let complete = !found.username.is_empty() && !found.nonce.is_empty() && !found.response.is_empty();
        if complete { Ok(found) } else { Err(Malformed) }
    }

    /// Which algorithm the client used, if it is one of ours.
    #[must_use]
    pub fn algorithm(&self) -> Option<Algorithm> {
        match self.algorithm.as_deref() {
            None => Some(Algorithm::Md5),
            Some(name) if name.eq_ignore_ascii_case("MD5") => Some(Algorithm::Md5),
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => Some(Algorithm::Sha256),
            Some(_) => None,
        }
    }

    /// The count of uses, if it is written as it must be.
    #[must_use]
    pub fn nonce_count(&self) -> Option<u32> {
        (self.nc.len() == 8).then(|| u32::from_str_radix(&self.nc, 16).ok()).flatten()
    }

    /// The `response` that someone who knows the password sends (RFC 7616 section 3.4.1; without `qop` RFC 2069's).
    #[must_use]
    pub fn expected_response(&self, algorithm: Algorithm, ha1_hex: &str, method: &str) -> String {
        let ha2 = algorithm.hash_hex(format!("{method}:{}", self.uri).as_bytes());
        let text = match &self.qop {
            Some(qop) => format!("{ha1_hex}:{}:{}:{}:{qop}:{ha2}", self.nonce, self.nc, self.cnonce),
            None => format!("{ha1_hex}:{}:{ha2}", self.nonce),
        };
        algorithm.hash_hex(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=ALG,
        nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        qop=auth, response="RESPONSE", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#;

    #[test]
    fn computes_the_examples_of_rfc_7616_section_3_9_1() {
        for (name, algorithm, response) in [
            ("MD5", Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", Algorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = EXAMPLE.replace("ALG", name).replace("RESPONSE", response).replace('\n', " ");
            let credentials = Credentials::parse(value.as_bytes()).expect("the RFC's own");
            let ha1 = algorithm.hash_hex(b"Mufasa:http-auth@example.org:Circle of Life");
            assert_eq!(credentials.algorithm(), Some(algorithm));
            assert_eq!(credentials.expected_response(algorithm, &ha1, "GET"), response);
        }
    }
}
