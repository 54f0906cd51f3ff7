//! The small grammar that all headers share (RFC 3261 section 25.1).

use super::defect::Malformed;

/// Which bytes belong to a class: one look a byte where a comparison with each member would be ten.
pub(super) struct Class([bool; 256]);

impl Class {
    /// Letters, digits and `others`.
    pub(super) const fn alphanumeric_and(others: &[u8]) -> Self {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        Self(Self::set(table, others, true))
    }

    /// All that is printable or above ASCII, but for `others`.
    pub(super) const fn visible_without(others: &[u8]) -> Self {
        let mut table = [false; 256];
        let mut byte = b'!' as usize;
        while byte < 256 {
            table[byte] = byte != 0x7f;
            byte += 1;
        }
        Self(Self::set(table, others, false))
    }

    const fn set(mut table: [bool; 256], bytes: &[u8], to: bool) -> [bool; 256] {
        let mut at = 0;
        while at < bytes.len() {
            table[bytes[at] as usize] = to;
            at += 1;
        }
        table
    }

    /// How many bytes at the start of `text` belong to it.
    pub(super) fn run(&self, text: &[u8]) -> usize {
        text.iter().position(|&b| !self.0[b as usize]).unwrap_or(text.len())
    }

    /// Whether all bytes of `text` belong to it.
    pub(super) fn holds(&self, text: &[u8]) -> bool {
        text.iter().all(|&b| self.0[b as usize])
    }
}

/// Token characters (`token`).
pub(super) static TOKEN: Class = Class::alphanumeric_and(b"-.!%*_+`'~");

/// What an unquoted parameter's value may hold: an IPv6 address stands bare in `received=`, and hosts may, so anything that
/// separates nothing.
static BARE_VALUE: Class = Class::visible_without(b"\"<>,;");

/// Whether `text` is a token: not empty, and of token characters alone.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && TOKEN.holds(text)
}

/// Without spaces and tabs at both ends.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let is_space = |b: &u8| matches!(b, b' ' | b'\t');
    let Some(start) = text.iter().position(|b| !is_space(b)) else { return &[] };
    let end = text.iter().rposition(|b| !is_space(b)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// `text` as UTF-8, which every token, host and URI is.
pub(super) fn utf8(text: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(text).map_err(|_| Malformed)
}

/// A decimal number of at most ten digits that fits 32 bits.
pub(super) fn number(text: &[u8]) -> Result<u32, Malformed> {
    if text.is_empty() || text.len() > 10 {
        return Err(Malformed);
    }
    let mut value: u64 = 0;
    for &b in text {
        if !b.is_ascii_digit() {
            return Err(Malformed);
        }
        value = value * 10 + u64::from(b - b'0');
    }
    u32::try_from(value).map_err(|_| Malformed)
}

/// Where the quoted string that starts at `text[0]` ends: the index after its closing quote.
pub(super) fn quoted_end(text: &[u8]) -> Result<usize, Malformed> {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return Ok(at + 1),
            _ => at += 1,
        }
    }
    Err(Malformed)
}

/// The index of the first `wanted` byte that stands in no quoted string and in no `<…>`.
pub(super) fn find_outside(text: &[u8], wanted: u8) -> Result<Option<usize>, Malformed> {
    let mut at = 0;
    while let Some(found) = memchr::memchr3(b'"', b'<', wanted, &text[at..]) {
        at += found;
        match text[at] {
            b'"' => at += quoted_end(&text[at..])?,
            b'<' => match memchr::memchr(b'>', &text[at..]) {
                Some(close) => at += close,
                None => return Ok(None),
            },
            _ => return Ok(Some(at)),
        }
    }
    Ok(None)
}

/// The values of a header line that may hold several, separated by commas. An unbalanced quote ends them with an error.
pub fn comma_values(line: &[u8]) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        match find_outside(text, b',') {
            Ok(Some(comma)) => {
                rest = Some(&text[comma + 1..]);
                Some(Ok(trim(&text[..comma])))
            }
            Ok(None) => {
                rest = None;
                Some(Ok(trim(text)))
            }
            Err(malformed) => {
                rest = None;
                Some(Err(malformed))
            }
        }
    })
}

/// The text of a quoted string without its quotes and backslashes; any other text as it is.
#[must_use]
pub fn unquote(text: &[u8]) -> Vec<u8> {
    let Some(inner) = text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\"")) else { return text.to_vec() };
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &b in inner {
        if b == b'\\' && !escaped {
            escaped = true;
        } else {
            out.push(b);
            escaped = false;
        }
    }
    out
}

/// `text` as a quoted string, with quotes and backslashes escaped and line ends made spaces.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\r' | '\n' => out.push(' '),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Parameters as they stand: `;name=value;name;name="quoted"`. Checked when made, so that reading them cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// `text` is empty or starts with `;`.
    ///
    /// # Errors
    /// An empty name, a name that is no token, an unbalanced quote.
    pub fn parse(text: &'a [u8]) -> Result<Self, Malformed> {
        let text = trim(text);
        let mut rest = text;
        while !rest.is_empty() {
            rest = next_param(rest)?.1;
        }
        Ok(Self(text))
    }

    /// Name and value, in order; a value as it stands, with its quotes.
    pub fn iter(self) -> impl Iterator<Item = Param<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (param, after) = next_param(rest).ok()?;
            rest = after;
            Some(param)
        })
    }

    /// The value of `name` in any case; an empty one for a flag without value.
    #[must_use]
    pub fn value(self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v.unwrap_or_default())
    }

    /// As [`Params::value`], if it is UTF-8.
    #[must_use]
    pub fn text(self, name: &str) -> Option<&'a str> {
        self.value(name).and_then(|v| std::str::from_utf8(v).ok())
    }

    /// The parameters as they stood.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        self.0
    }
}

/// A parameter's name, and its value if it is no flag.
type Param<'a> = (&'a [u8], Option<&'a [u8]>);

/// The parameter at the start of `text`, which begins with its `;`, and what follows.
fn next_param(text: &[u8]) -> Result<(Param<'_>, &[u8]), Malformed> {
    let text = skip_blanks(text.strip_prefix(b";").ok_or(Malformed)?);
    let (name, after) = text.split_at(TOKEN.run(text));
    if name.is_empty() {
        return Err(Malformed);
    }
    let after = skip_blanks(after);
    let Some(value) = after.strip_prefix(b"=").map(skip_blanks) else { return end_of_param((name, None), after) };
    let len = if value.first() == Some(&b'"') { quoted_end(value)? } else { BARE_VALUE.run(value) };
    if len == 0 {
        return Err(Malformed);
    }
    end_of_param((name, Some(&value[..len])), skip_blanks(&value[len..]))
}

fn end_of_param<'a>(param: Param<'a>, rest: &'a [u8]) -> Result<(Param<'a>, &'a [u8]), Malformed> {
    if rest.is_empty() || rest[0] == b';' { Ok((param, rest)) } else { Err(Malformed) }
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().take_while(|b| matches!(b, b' ' | b'\t')).count()..]
}
