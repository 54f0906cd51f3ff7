use crate::wire::sip::defect::Malformed;
use crate::wire::sip::lex;

/// `CSeq: 4711 INVITE` (RFC 3261 section 20.16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2^31 (section 8.1.1.5).
    pub number: u32,
    /// The request's method, as text.
    pub method: &'a [u8],
}

impl<'a> CSeq<'a> {
    /// Parses the header's value.
    ///
    /// # Errors
    /// No number, a number of 2^31 or more, no method.
    pub fn parse(value: &'a [u8]) -> Result<Self, Malformed> {
        let split = value.iter().position(|b| matches!(b, b' ' | b'\t')).ok_or(Malformed)?;
        // Leading zeros are legal and seen (RFC 4475 3.1.1.1).
        let digits = &value[..split];
        let zeros = digits.iter().take_while(|&&b| b == b'0').count().min(digits.len().saturating_sub(1));
        let number = lex::number(&digits[zeros..])?;
        let method = lex::trim(&value[split..]);
        if number >= 1 << 31 || !lex::is_token(method) {
            return Err(Malformed);
        }
        Ok(Self { number, method })
    }
}
