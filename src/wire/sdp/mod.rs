//! Session descriptions (RFC 8866): what offer/answer needs of them, typed; what it does not, passed over.
//!
//! Reading is lenient where RFC 8866 section 5 allows it and bounded everywhere; writing gives exactly what is said.
//! Extensions that nobody understands (`extmap`, `ssrc`, `rtcp-fb`, …) are not kept: nothing is ever copied from one leg
//! to the other.

mod attribute;
mod media;
mod session;

pub use attribute::{Direction, Fingerprint, Fmtp, RtpMap, Setup};
pub use media::{Media, MediaType};
pub use session::{SdpError, Session};
