use std::fmt::Display;
use std::io::Write as _;
use std::net::SocketAddr;

use super::header::stamp_via;
use super::lex::comma_values;
use super::message::Message;
use super::method::Method;
use super::name::HeaderName;

/// Writes a message line by line. Values can never break out of their line: line ends in them become spaces.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A request's first line.
    #[must_use]
    pub fn request(method: Method, uri: &str) -> Self {
        let mut writer = Self(Vec::with_capacity(1024));
        writer.line(format_args!("{} {uri} SIP/2.0", method.as_str()));
        writer
    }

    /// A response's first line, with the status' own phrase when `reason` is empty.
    #[must_use]
    pub fn response(status: u16, reason: &str) -> Self {
        let mut writer = Self(Vec::with_capacity(1024));
        let reason = if reason.is_empty() { reason_phrase(status) } else { reason };
        writer.line(format_args!("SIP/2.0 {status} {reason}"));
        writer
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let from = self.0.len();
        write!(self.0, "{text}").expect("writing to memory does not fail");
        self.end_line(from);
    }

    fn end_line(&mut self, from: usize) {
        for b in &mut self.0[from..] {
            if matches!(b, b'\r' | b'\n') {
                *b = b' ';
            }
        }
        self.0.extend_from_slice(b"\r\n");
    }

    /// One header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.line(format_args!("{name}: {value}"));
        self
    }

    /// One header line whose value may be no UTF-8.
    #[must_use]
    pub fn raw(mut self, name: &str, value: &[u8]) -> Self {
        let from = self.0.len();
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.end_line(from);
        self
    }

    /// As [`Writer::header`] for each of `values`.
    #[must_use]
    pub fn headers<T: Display>(self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        values.into_iter().fold(self, |writer, value| writer.header(name, value))
    }

    /// Content-Length 0 and the end.
    #[must_use]
    pub fn end(self) -> Vec<u8> {
        let mut out = self.header("Content-Length", 0).0;
        out.extend_from_slice(b"\r\n");
        // It is kept for half a minute, by a transaction, in case that it must be said again.
        out.shrink_to_fit();
        out
    }

    /// The body and the end.
    #[must_use]
    pub fn body(self, content_type: &str, body: &[u8]) -> Vec<u8> {
        let mut out = self.header("Content-Type", content_type).header("Content-Length", body.len()).0;
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out.shrink_to_fit();
        out
    }
}

/// A response to `request`, which came from `source`: Via with `received` and `rport` filled in, From, To with `to_tag`
/// unless it has a tag already, Call-ID, CSeq (RFC 3261 section 8.2.6.2).
#[must_use]
pub fn response_to(request: &Message, status: u16, reason: &str, to_tag: Option<&str>, source: SocketAddr) -> Writer {
    let mut writer = Writer::response(status, reason);
    for (at, line) in request.lines(HeaderName::Via).enumerate() {
        // Only the top value is ours to amend; what does not parse goes back as it came.
        let top = comma_values(line).next().and_then(Result::ok).filter(|_| at == 0);
        let value = top.map_or_else(|| line.to_vec(), |top| [&stamp_via(top, source), &line[top.len()..]].concat());
        writer = writer.raw("Via", &value);
    }
    if let Some(from) = request.line(HeaderName::From) {
        writer = writer.raw("From", from);
    }
    if let Some(to) = request.line(HeaderName::To) {
        let has_tag = request.to().is_ok_and(|to| to.tag().is_some());
        let tag = to_tag.filter(|_| !has_tag && status > 100);
        let value = tag.map_or_else(|| to.to_vec(), |tag| [to, b";tag=", tag.as_bytes()].concat());
        writer = writer.raw("To", &value);
    }
    for (name, text) in [(HeaderName::CallId, "Call-ID"), (HeaderName::CSeq, "CSeq")] {
        if let Some(value) = request.line(name) {
            writer = writer.raw(text, value);
        }
    }
    writer
}

/// The phrase of a status (RFC 3261 section 21 and later RFCs).
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        302 => "Moved Temporarily",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        _ => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirected",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}
