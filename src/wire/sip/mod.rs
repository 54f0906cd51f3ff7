//! SIP messages (RFC 3261 sections 7 and 25): bytes in, views on demand, bytes out.
//!
//! [`Message::parse`] makes an index of raw headers over the received bytes and nothing else; what a header says is
//! parsed when it is asked for ([`header`]). What came in can therefore always be shown, answered and forwarded to the
//! byte, however odd it is. Lines that can be indexed but break the grammar leave a [`Defect`]: the one place that says
//! which SIP status a malformed request is answered with.
//!
//! To add a header: a name in [`HeaderName`] (with its compact form, if any), and, if it has a grammar of its own, a file in
//! `header/` with a `parse(&[u8]) -> Result<_, Malformed>`.

mod defect;
pub mod digest;
pub mod header;
mod lex;
mod message;
mod method;
mod name;
mod uri;
mod write;

pub use defect::{Defect, Malformed};
pub use header::{CSeq, NameAddr, Replaces, Via, date};
pub use lex::{Params, comma_values, quote, unquote};
pub use message::{Framing, MAX_HEADERS, MAX_MESSAGE_BYTES, Message, ParseError};
pub use method::Method;
pub use name::HeaderName;
pub use uri::{Host, Scheme, Uri, escape_user};
pub use write::{Writer, reason_phrase, response_to};
