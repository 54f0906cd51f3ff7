/// A header field's name, of those that the gateway looks at; any other is kept and can be read by its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum HeaderName {
    Accept,
    Allow,
    Authorization,
    CallId,
    Contact,
    ContentEncoding,
    ContentLength,
    ContentType,
    CSeq,
    Expires,
    From,
    MaxForwards,
    MinExpires,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyRequire,
    Reason,
    RecordRoute,
    Require,
    RetryAfter,
    Route,
    SessionExpires,
    Supported,
    To,
    Unsupported,
    UserAgent,
    Via,
    Warning,
    WwwAuthenticate,
    /// Any other name.
    Other,
}

impl HeaderName {
    /// Long and compact forms (RFC 3261 section 7.3.3), in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        // Length and first letter leave one candidate or two: one comparison instead of thirty.
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        let first = name.first().map_or(0, u8::to_ascii_lowercase);
        match (name.len(), first) {
            (1, b'v') => Self::Via,
            (1, b'f') => Self::From,
            (1, b't') => Self::To,
            (1, b'i') => Self::CallId,
            (1, b'm') => Self::Contact,
            (1, b'l') => Self::ContentLength,
            (1, b'c') => Self::ContentType,
            (1, b'e') => Self::ContentEncoding,
            (1, b'k') => Self::Supported,
            (1, b'x') => Self::SessionExpires,
            (2, b't') if is("To") => Self::To,
            (3, b'v') if is("Via") => Self::Via,
            (4, b'f') if is("From") => Self::From,
            (4, b'c') if is("CSeq") => Self::CSeq,
            (5, b'a') if is("Allow") => Self::Allow,
            (5, b'r') if is("Route") => Self::Route,
            (6, b'a') if is("Accept") => Self::Accept,
            (6, b'r') if is("Reason") => Self::Reason,
            (7, b'c') if is("Call-ID") => Self::CallId,
            (7, b'c') if is("Contact") => Self::Contact,
            (7, b'e') if is("Expires") => Self::Expires,
            (7, b'r') if is("Require") => Self::Require,
            (7, b'w') if is("Warning") => Self::Warning,
            (9, b's') if is("Supported") => Self::Supported,
            (10, b'u') if is("User-Agent") => Self::UserAgent,
            (11, b'm') if is("Min-Expires") => Self::MinExpires,
            (11, b'r') if is("Retry-After") => Self::RetryAfter,
            (11, b'u') if is("Unsupported") => Self::Unsupported,
            (12, b'c') if is("Content-Type") => Self::ContentType,
            (12, b'm') if is("Max-Forwards") => Self::MaxForwards,
            (12, b'r') if is("Record-Route") => Self::RecordRoute,
            (13, b'a') if is("Authorization") => Self::Authorization,
            (13, b'p') if is("Proxy-Require") => Self::ProxyRequire,
            (14, b'c') if is("Content-Length") => Self::ContentLength,
            (15, b's') if is("Session-Expires") => Self::SessionExpires,
            (16, b'c') if is("Content-Encoding") => Self::ContentEncoding,
            (16, b'w') if is("WWW-Authenticate") => Self::WwwAuthenticate,
            (18, b'p') if is("Proxy-Authenticate") => Self::ProxyAuthenticate,
            (19, b'p') if is("Proxy-Authorization") => Self::ProxyAuthorization,
            _ => Self::Other,
        }
    }
}
