use bytes::Bytes;
use smallvec::SmallVec;

use super::defect::{Defect, Malformed};
use super::header::{CSeq, NameAddr, Via};
use super::lex;
use super::method::Method;
use super::name::HeaderName;
use super::uri::Uri;

/// The largest message that is looked at: a UDP datagram's limit, kept for WebSocket frames too.
pub const MAX_MESSAGE_BYTES: usize = 65_535;
/// Header lines are collected on the stack up to this many; browsers send about 15.
const USUAL_HEADERS: usize = 32;
/// The most header lines that a message may have.
pub const MAX_HEADERS: usize = 256;

/// How the transport told messages apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One message a datagram; what follows Content-Length is padding (RFC 3261 section 18.3).
    Datagram,
    /// One message a WebSocket message (RFC 7118 section 5.3); Content-Length may be absent.
    WebSocket,
}

/// Why bytes cannot be looked at as a SIP message at all: they are dropped and counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParseError {
    /// Nothing but line ends: a keep-alive (RFC 5626 section 3.5.1).
    Empty,
    /// More than [`MAX_MESSAGE_BYTES`].
    TooLong,
    /// More than [`MAX_HEADERS`] lines.
    TooManyHeaders,
    /// The first line is neither a request's nor a response's.
    NotSip,
}

/// A range of the message's bytes; messages are below 64 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Span {
    start: u16,
    end: u16,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let fit = |at: usize| u16::try_from(at).expect("parse refuses messages of 64 KiB");
        Self { start: fit(start), end: fit(end) }
    }
}

#[derive(Debug, Clone, Copy)]
struct RawHeader {
    name: HeaderName,
    name_text: Span,
    value: Span,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Request { method: Method, method_text: Span, uri: Span },
    Response { status: u16, reason: Span },
}

/// A SIP message: an ordered index of raw headers over the received bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Bytes,
    start: Start,
    headers: std::sync::Arc<[RawHeader]>,
    body: Span,
    defect: Option<Defect>,
}

/// Reads lines that end in CRLF, or in a bare LF as some phones send them.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A line without its end.
struct Line {
    start: usize,
    end: usize,
    /// It holds a lone CR, which would end it for a laxer reader behind us.
    bare_cr: bool,
}

impl Lines<'_> {
    /// The next line; none when no line end follows.
    fn next(&mut self) -> Option<Line> {
        let (start, mut from, mut bare_cr) = (self.at, self.at, false);
        loop {
            let end = from + memchr::memchr2(b'\r', b'\n', &self.bytes[from..])?;
            let ends = if self.bytes[end] == b'\n' { 1 } else { 2 };
            if ends == 1 || self.bytes.get(end + 1) == Some(&b'\n') {
                self.at = end + ends;
                return Some(Line { start, end, bare_cr });
            }
            bare_cr = true;
            from = end + 1;
        }
    }
}

impl Message {
    /// Indexes a message. One allocation; none of its text is copied, unless lines are folded.
    ///
    /// # Errors
    /// Only what cannot be answered (see [`ParseError`]); all else is a message with a [`Message::defect`].
    pub fn parse(bytes: Bytes, framing: Framing) -> Result<Self, ParseError> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(ParseError::TooLong);
        }
        let mut lines = Lines { bytes: &bytes, at: 0 };
        lines.at = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).ok_or(ParseError::Empty)?;
        let line = lines.next().ok_or(ParseError::NotSip)?;
        let (start, mut defect) = parse_start(&bytes, line.start, line.end)?;
        let mut headers: SmallVec<[RawHeader; USUAL_HEADERS]> = SmallVec::new();
        loop {
            let Some(line) = lines.next() else {
                defect.get_or_insert(Defect::NoEndOfHeaders);
                lines.at = bytes.len();
                break;
            };
            if line.start == line.end {
                break;
            }
            if matches!(bytes[line.start], b' ' | b'\t') {
                return Self::parse(unfold(&bytes), framing);
            }
            if headers.len() == MAX_HEADERS {
                return Err(ParseError::TooManyHeaders);
            }
            match parse_header_line(&bytes, &line) {
                Ok(header) => headers.push(header),
                Err(found) => {
                    defect.get_or_insert(found);
                }
            }
        }
        let rest = lines.at;
        let mut message = Self { body: Span::new(rest, bytes.len()), bytes, start, headers: headers.as_slice().into(), defect };
        if let Err(found) = message.apply_content_length(rest, framing) {
            message.defect.get_or_insert(found);
        }
        Ok(message)
    }

    fn apply_content_length(&mut self, body_at: usize, framing: Framing) -> Result<(), Defect> {
        let mut lengths = self.lines(HeaderName::ContentLength);
        let Some(value) = lengths.next() else { return Ok(()) };
        let length = lex::number(value).map_err(|Malformed| Defect::ContentLength)? as usize;
        if lengths.any(|other| other != value) {
            return Err(Defect::Repeated("Content-Length"));
        }
        drop(lengths);
        let available = self.bytes.len() - body_at;
        match framing {
            Framing::Datagram | Framing::WebSocket if length > available => Err(Defect::ContentLength),
            Framing::Datagram | Framing::WebSocket => {
                self.body = Span::new(body_at, body_at + length);
                Ok(())
            }
        }
    }

    fn at(&self, span: Span) -> &[u8] {
        &self.bytes[span.start as usize..span.end as usize]
    }

    /// The first thing found wrong while indexing; see also [`Message::check`].
    #[must_use]
    pub fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// Holds the headers that every message must have (RFC 3261 section 8.1.1) against their grammar.
    ///
    /// # Errors
    /// The first defect, in the order in which a peer would want to hear of them.
    pub fn check(&self) -> Result<(), Defect> {
        if let Some(defect) = self.defect {
            return Err(defect);
        }
        for via in self.values(HeaderName::Via) {
            let via = via.and_then(Via::parse).map_err(|Malformed| Defect::Via)?;
            if via.branch() == Some("z9hG4bK") {
                return Err(Defect::Branch);
            }
        }
        self.exactly_one(HeaderName::Via, "Via", false)?;
        for (name, text) in
            [(HeaderName::From, "From"), (HeaderName::To, "To"), (HeaderName::CallId, "Call-ID"), (HeaderName::CSeq, "CSeq")]
        {
            self.exactly_one(name, text, true)?;
        }
        self.from().map_err(|Malformed| Defect::From)?;
        self.to().map_err(|Malformed| Defect::To)?;
        self.call_id().map_err(|Malformed| Defect::CallId)?;
        let cseq = self.cseq().map_err(|Malformed| Defect::CSeq)?;
        if let Start::Request { method_text, .. } = self.start {
            if cseq.method != self.at(method_text) {
                return Err(Defect::CSeqMethod);
            }
            let uri = self.request_uri().map_err(|Malformed| Defect::RequestUri)?;
            // Headers in a Request-URI would be somebody else's words in our mouth (RFC 3261 section 19.1.1).
            if uri.headers.is_some() {
                return Err(Defect::RequestUri);
            }
        }
        if self.lines(HeaderName::MaxForwards).count() > 1 {
            return Err(Defect::Repeated("Max-Forwards"));
        }
        self.max_forwards().map_err(|Malformed| Defect::MaxForwards)?;
        for contact in self.values(HeaderName::Contact) {
            let contact = contact.map_err(|Malformed| Defect::Contact)?;
            if contact != b"*" {
                NameAddr::parse(contact).map_err(|Malformed| Defect::Contact)?;
            }
        }
        Ok(())
    }

    fn exactly_one(&self, name: HeaderName, text: &'static str, only: bool) -> Result<(), Defect> {
        match self.lines(name).take(2).count() {
            0 => Err(Defect::Missing(text)),
            1 => Ok(()),
            _ if only => Err(Defect::Repeated(text)),
            _ => Ok(()),
        }
    }

    /// The method, of a request.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        match self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The method as it was written, of a request.
    #[must_use]
    pub fn method_text(&self) -> Option<&[u8]> {
        match self.start {
            Start::Request { method_text, .. } => Some(self.at(method_text)),
            Start::Response { .. } => None,
        }
    }

    /// The Request-URI.
    ///
    /// # Errors
    /// When it does not parse, or the message is a response.
    pub fn request_uri(&self) -> Result<Uri<'_>, Malformed> {
        match self.start {
            Start::Request { uri, .. } => Uri::parse(self.at(uri)),
            Start::Response { .. } => Err(Malformed),
        }
    }

    /// The status code, of a response: 100 to 699.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// The reason phrase, of a response.
    #[must_use]
    pub fn reason(&self) -> &[u8] {
        match self.start {
            Start::Response { reason, .. } => self.at(reason),
            Start::Request { .. } => &[],
        }
    }

    /// The raw values of all lines with this name, in order.
    pub fn lines(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |h| h.name == name).map(|h| self.at(h.value))
    }

    /// The raw value of the first line with this name.
    #[must_use]
    pub fn line(&self, name: HeaderName) -> Option<&[u8]> {
        self.lines(name).next()
    }

    /// The raw value of the first line with this name, by its text in any case: for headers without a [`HeaderName`].
    #[must_use]
    pub fn line_named(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|h| self.at(h.name_text).eq_ignore_ascii_case(name.as_bytes())).map(|h| self.at(h.value))
    }

    /// All values of all lines with this name, lines of several taken apart at their commas.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = Result<&[u8], Malformed>> {
        self.lines(name).flat_map(lex::comma_values)
    }

    /// Whether a comma-separated list of tokens (Require, Supported, Allow) holds `token`, in any case.
    #[must_use]
    pub fn lists(&self, name: HeaderName, token: &str) -> bool {
        self.values(name).flatten().any(|value| value.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The top Via.
    ///
    /// # Errors
    /// When there is none or it does not parse.
    pub fn via(&self) -> Result<Via<'_>, Malformed> {
        Via::parse(self.values(HeaderName::Via).next().ok_or(Malformed)??)
    }

    /// From.
    ///
    /// # Errors
    /// When there is none or it does not parse.
    pub fn from(&self) -> Result<NameAddr<'_>, Malformed> {
        NameAddr::parse(self.line(HeaderName::From).ok_or(Malformed)?)
    }

    /// To.
    ///
    /// # Errors
    /// When there is none or it does not parse.
    pub fn to(&self) -> Result<NameAddr<'_>, Malformed> {
        NameAddr::parse(self.line(HeaderName::To).ok_or(Malformed)?)
    }

    /// Call-ID.
    ///
    /// # Errors
    /// When there is none, it is empty, or it holds white space.
    pub fn call_id(&self) -> Result<&str, Malformed> {
        let text = lex::utf8(self.line(HeaderName::CallId).ok_or(Malformed)?)?;
        if text.is_empty() || text.bytes().any(|b| b <= b' ') { Err(Malformed) } else { Ok(text) }
    }

    /// CSeq.
    ///
    /// # Errors
    /// When there is none or it does not parse.
    pub fn cseq(&self) -> Result<CSeq<'_>, Malformed> {
        CSeq::parse(self.line(HeaderName::CSeq).ok_or(Malformed)?)
    }

    /// The first Contact.
    ///
    /// # Errors
    /// When there is none or it does not parse.
    pub fn contact(&self) -> Result<NameAddr<'_>, Malformed> {
        NameAddr::parse(self.values(HeaderName::Contact).next().ok_or(Malformed)??)
    }

    /// Max-Forwards, 0 to 255.
    ///
    /// # Errors
    /// When it is no such number.
    pub fn max_forwards(&self) -> Result<Option<u8>, Malformed> {
        let Some(value) = self.line(HeaderName::MaxForwards) else { return Ok(None) };
        lex::number(value).and_then(|hops| u8::try_from(hops).map_err(|_| Malformed)).map(Some)
    }

    /// Expires, in seconds; a number too large to hold is the largest (RFC 3261 section 20.19), any other text is none.
    #[must_use]
    pub fn expires_secs(&self) -> Option<u32> {
        self.line(HeaderName::Expires).and_then(saturating_secs)
    }

    /// The media type of the body, without parameters: `application/sdp`.
    #[must_use]
    pub fn content_type(&self) -> Option<&[u8]> {
        self.line(HeaderName::ContentType).map(|value| lex::trim(value.split(|&b| b == b';').next().unwrap_or_default()))
    }

    /// The body, to the byte.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.at(self.body)
    }

    /// The bytes that were indexed: as received, but for folded lines, whose line ends are spaces.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// A count of seconds as `expires` writes it; all digits but too large means "the largest".
pub(super) fn saturating_secs(value: &[u8]) -> Option<u32> {
    (!value.is_empty() && value.iter().all(u8::is_ascii_digit)).then(|| lex::number(value).unwrap_or(u32::MAX))
}

fn parse_start(bytes: &[u8], start: usize, end: usize) -> Result<(Start, Option<Defect>), ParseError> {
    let line = &bytes[start..end];
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        return parse_status_line(line, start, end).ok_or(ParseError::NotSip).map(|s| (s, None));
    }
    let first_space = memchr::memchr(b' ', line).ok_or(ParseError::NotSip)?;
    let trimmed = lex::trim(line);
    let last_space = memchr::memrchr(b' ', trimmed).filter(|&at| at > first_space).ok_or(ParseError::NotSip)?;
    let version = &trimmed[last_space + 1..];
    let method_text = &line[..first_space];
    if version.len() < 4 || !version[..4].eq_ignore_ascii_case(b"SIP/") || !lex::is_token(method_text) {
        return Err(ParseError::NotSip);
    }
    let uri = &line[first_space + 1..last_space];
    let defect = if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        Some(Defect::Version)
    } else if uri.contains(&b' ') || uri.contains(&b'\t') || trimmed.len() != line.len() {
        Some(Defect::StartLine)
    } else {
        None
    };
    let request = Start::Request {
        method: Method::of(method_text),
        method_text: Span::new(start, start + first_space),
        uri: Span::new(start + first_space + 1, start + last_space),
    };
    Ok((request, defect))
}

fn parse_status_line(line: &[u8], start: usize, end: usize) -> Option<Start> {
    let rest = line.get(8..).filter(|_| line[..7].eq_ignore_ascii_case(b"SIP/2.0") && line[7] == b' ')?;
    let code_len = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    let status = u16::try_from(lex::number(&rest[..code_len]).ok()?).ok()?;
    if code_len != 3 || !(100..700).contains(&status) {
        return None;
    }
    let reason_at = (start + 8 + code_len + 1).min(end);
    Some(Start::Response { status, reason: Span::new(reason_at, end) })
}

fn parse_header_line(bytes: &[u8], Line { start, end, bare_cr }: &Line) -> Result<RawHeader, Defect> {
    let (start, line) = (*start, &bytes[*start..*end]);
    let name_end = lex::TOKEN.run(line);
    let blanks = line[name_end..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let colon = name_end + blanks;
    if name_end == 0 || line.get(colon) != Some(&b':') {
        return Err(Defect::HeaderLine);
    }
    if *bare_cr {
        return Err(Defect::BareCarriageReturn);
    }
    let (mut from, mut to) = (colon + 1, line.len());
    while from < to && matches!(line[from], b' ' | b'\t') {
        from += 1;
    }
    while to > from && matches!(line[to - 1], b' ' | b'\t') {
        to -= 1;
    }
    Ok(RawHeader {
        name: HeaderName::of(&line[..name_end]),
        name_text: Span::new(start, start + name_end),
        value: Span::new(start + from, start + to),
    })
}

/// A copy in which the line ends of folded headers are spaces (RFC 3261 section 7.3.1): every offset stays.
fn unfold(bytes: &Bytes) -> Bytes {
    let mut copy = bytes.to_vec();
    let mut at = copy.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(copy.len());
    let mut first_line = true;
    while let Some(found) = memchr::memchr(b'\n', &copy[at..]) {
        let newline = at + found;
        let line_end = if newline > at && copy[newline - 1] == b'\r' { newline - 1 } else { newline };
        if line_end == at {
            break;
        }
        at = newline + 1;
        if !first_line && matches!(copy.get(at), Some(b' ' | b'\t')) {
            copy[line_end..=newline].fill(b' ');
        }
        // A fold right after the start line belongs to no header: it becomes a header line without a colon, a defect.
        if first_line && matches!(copy.get(at), Some(b' ' | b'\t')) {
            copy[at] = b'?';
        }
        first_line = false;
    }
    copy.into()
}
