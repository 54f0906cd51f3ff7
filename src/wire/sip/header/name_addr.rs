use crate::wire::sip::Uri;
use crate::wire::sip::defect::Malformed;
use crate::wire::sip::lex::{self, Params};

/// From, To, Contact, Route, Record-Route (RFC 3261 sections 20.10 and 25.1): `"Name" <uri>;params` or `uri;params`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name as it stands, with its quotes if it has them; empty if there is none.
    pub display: &'a [u8],
    /// The address.
    pub uri: Uri<'a>,
    /// The header's own parameters (`tag`, `expires`, `+sip.instance`): without `<>` all parameters are the header's.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Parses one value (no commas outside quotes and brackets).
    ///
    /// # Errors
    /// An unbalanced quote or bracket, a display name that needed quotes, a broken URI or parameter.
    pub fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let value = lex::trim(value);
        let open = if value.first() == Some(&b'"') {
            let quoted = lex::quoted_end(value)?;
            let gap = value[quoted..].iter().position(|b| !matches!(b, b' ' | b'\t')).ok_or(Malformed)?;
            if value[quoted + gap] != b'<' {
                return Err(Malformed);
            }
            Some(quoted + gap)
        } else {
            memchr::memchr(b'<', value)
        };
        let Some(open) = open else { return Self::parse_bare(value) };
        let display = lex::trim(&value[..open]);
        let quoted = display.first() == Some(&b'"');
        if !quoted && display.split(|b| matches!(b, b' ' | b'\t')).any(|word| !word.is_empty() && !lex::is_token(word)) {
            return Err(Malformed);
        }
        let close = open + memchr::memchr(b'>', &value[open..]).ok_or(Malformed)?;
        Ok(Self { display, uri: Uri::parse(&value[open + 1..close])?, params: Params::parse(&value[close + 1..])? })
    }

    fn parse_bare(value: &'a [u8]) -> Result<Self, Malformed> {
        // A URI with `?`, `;` or `,` must stand in brackets (section 20): what follows `;` is the header's.
        let (uri, params) = value.split_at(memchr::memchr(b';', value).unwrap_or(value.len()));
        if memchr::memchr2(b'?', b',', uri).is_some() {
            return Err(Malformed);
        }
        Ok(Self { display: &[], uri: Uri::parse(lex::trim(uri))?, params: Params::parse(params)? })
    }

    /// The `tag` parameter.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.params.text("tag").filter(|tag| !tag.is_empty())
    }

    /// The display name without quotes, if there is one and it is UTF-8.
    #[must_use]
    pub fn display_text(&self) -> Option<String> {
        String::from_utf8(lex::unquote(self.display)).ok().filter(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_belong_to_the_header_without_brackets_and_to_the_uri_within() {
        let bare = NameAddr::parse(b"sip:+19725552222@gw1.example.net;unknownparam").expect("RFC 4475 cparam01");
        assert!(bare.params.value("unknownparam").is_some() && bare.uri.params.raw().is_empty());
        let bracketed = NameAddr::parse(b"<sip:+19725552222@gw1.example.net;unknownparam>").expect("RFC 4475 cparam02");
        assert!(bracketed.params.raw().is_empty() && bracketed.uri.params.value("unknownparam").is_some());
    }

    #[test]
    fn a_jssip_contact_is_read_whole() {
        let raw = br#"<sip:abc@x.invalid;transport=ws>;+sip.ice;reg-id=1;+sip.instance="<urn:uuid:1-2>";expires=600"#;
        let contact = NameAddr::parse(raw).expect("as JsSIP sends it");
        assert_eq!(contact.params.value("+sip.instance"), Some(&br#""<urn:uuid:1-2>""#[..]));
        assert_eq!(contact.params.text("reg-id"), Some("1"));
        assert_eq!(contact.params.text("expires"), Some("600"));
    }

    #[test]
    fn refuses_what_cannot_be_told_apart() {
        for bad in [
            &b"\"Mr. J. User <sip:j.user@example.com>"[..],
            b"Bell, Alexander <sip:a.g.bell@example.com>;tag=43",
            b"\"Watson\" < sip:t.watson@example.org >",
            b"sip:user@example.com?Route=%3Csip:sip.example.com%3E",
            b"<sip:a@b",
            b"<sip:a@b>;;tag=1",
        ] {
            assert!(NameAddr::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
