use std::fmt;

/// A header's value that breaks its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// What is wrong with a message that could still be indexed, and so can still be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Defect {
    StartLine,
    Version,
    RequestUri,
    HeaderLine,
    NoEndOfHeaders,
    BareCarriageReturn,
    ContentLength,
    Via,
    Branch,
    From,
    To,
    CallId,
    CSeq,
    CSeqMethod,
    MaxForwards,
    Contact,
    Missing(&'static str),
    Repeated(&'static str),
}

impl Defect {
    /// The status that a request with this defect is answered with (RFC 3261 sections 8.2 and 16.3, RFC 4475).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            _ => 400,
        }
    }
}

impl fmt::Display for Defect {
    /// Fit for a reason phrase: short, ASCII, names the header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartLine => f.write_str("Malformed Request-Line"),
            Self::Version => f.write_str("SIP Version Not Supported"),
            Self::RequestUri => f.write_str("Malformed Request-URI"),
            Self::HeaderLine => f.write_str("Malformed header line"),
            Self::NoEndOfHeaders => f.write_str("No empty line after the headers"),
            Self::BareCarriageReturn => f.write_str("Carriage return inside a header"),
            Self::ContentLength => f.write_str("Content-Length does not fit the body"),
            Self::Via => f.write_str("Malformed Via"),
            Self::Branch => f.write_str("Empty branch in Via"),
            Self::From => f.write_str("Malformed From"),
            Self::To => f.write_str("Malformed To"),
            Self::CallId => f.write_str("Malformed Call-ID"),
            Self::CSeq => f.write_str("Malformed CSeq"),
            Self::CSeqMethod => f.write_str("CSeq method is not the request's"),
            Self::MaxForwards => f.write_str("Malformed Max-Forwards"),
            Self::Contact => f.write_str("Malformed Contact"),
            Self::Missing(name) => write!(f, "Missing {name}"),
            Self::Repeated(name) => write!(f, "More than one {name}"),
        }
    }
}
