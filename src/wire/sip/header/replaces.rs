use crate::wire::sip::{Malformed, Params};

/// `Replaces` (RFC 3891 section 6.1): the dialog whose place a new one takes, as its other end knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// Call-ID.
    pub call_id: String,
    /// The tag of whoever receives the header.
    pub to_tag: String,
    /// The other tag.
    pub from_tag: String,
    /// Only if that dialog is not confirmed yet.
    pub early_only: bool,
}

impl Replaces {
    /// Parses a header value.
    ///
    /// # Errors
    /// No Call-ID or not both tags.
    pub fn parse(value: &[u8]) -> Result<Self, Malformed> {
        let at = memchr::memchr(b';', value).ok_or(Malformed)?;
        let call_id = std::str::from_utf8(&value[..at]).map_err(|_| Malformed)?.trim();
        let params = Params::parse(&value[at..])?;
        let tag = |name| params.text(name).filter(|tag| !tag.is_empty()).map(str::to_owned).ok_or(Malformed);
        if call_id.is_empty() {
            return Err(Malformed);
        }
        Ok(Self {
            call_id: call_id.to_owned(),
            to_tag: tag("to-tag")?,
            from_tag: tag("from-tag")?,
            early_only: params.value("early-only").is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_dialog() {
        let replaces = Replaces::parse(b"98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff").expect("well formed");
        assert_eq!((replaces.to_tag.as_str(), replaces.from_tag.as_str()), ("ff87ff", "r33th4x0r"));
        assert!(!replaces.early_only);
        assert!(Replaces::parse(b"a;to-tag=1;from-tag=2;early-only").expect("well formed").early_only);
        assert!(
            Replaces::parse(b"a;to-tag=1").is_err()
                && Replaces::parse(b"a").is_err()
                && Replaces::parse(b";to-tag=1;from-tag=2").is_err()
        );
    }
}
