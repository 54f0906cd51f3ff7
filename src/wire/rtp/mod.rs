//! RTP and its neighbours on one port, as bytes: packets and reports (RFC 3550), what shares the port with them
//! (RFC 7983, RFC 5761), sequence arithmetic, telephone events (RFC 4733).
//!
//! Nothing here keeps state or copies a payload: [`RtpHeader::parse`] says where the parts of a packet lie, and the
//! `set_*` functions write over the fixed header in place. Every index is checked against the datagram.

mod demux;
mod dtmf;
mod packet;
mod rtcp;
mod sequence;

pub use demux::{Kind, classify};
pub use dtmf::{TelephoneEvent, TelephoneEventError};
pub use packet::{FIXED_HEADER_LEN, RtpError, RtpHeader, set_fields, write_header};
pub use rtcp::{CompoundWriter, MAX_REPORTS, Report, ReportBlock, RtcpError, SenderInfo, parse_compound};
pub use sequence::{ReplayWindow, Seen, packet_index, seq_diff, ts_diff};
