//! What is kept of a call and of each SIP message: plain data for the store, the ladder and the logs.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::plan::LegStats;

/// A call detail record: written once, when the call has ended.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CallRecord {
    /// The gateway's own id of the call (what `ringway ladder` takes): 12 letters and digits.
    pub id: String,
    /// Who called: `alice`, or a peer's name and the number that it gave.
    pub from: String,
    /// What was dialled.
    pub dialled: String,
    /// The dialplan's reason: `rule "users", dialplan/default.toml:9`. Empty when no rule was reached.
    pub because: String,
    /// The Call-ID header of the leg that came in, and of the one that went out.
    pub sip_call_ids: [Option<String>; 2],
    /// When the INVITE came, in ms since 1970.
    pub started_unix_ms: u64,
    /// When it was answered.
    pub answered_unix_ms: Option<u64>,
    /// When it ended.
    pub ended_unix_ms: u64,
    /// The final SIP status of the call: 200 if it was answered.
    pub status: u16,
    /// How it ended, in words: `hung up by alice`, `busy`, `no answer`, `websocket closed`.
    pub ended_by: String,
    /// The media pipeline that was agreed, in one line; empty if none was.
    pub pipeline: String,
    /// What each leg's media did, and in words what was wrong with it if anything was.
    pub media: [LegMedia; 2],
}

/// One leg's media, with a verdict that a person understands.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct LegMedia {
    /// Counts.
    pub stats: LegStats,
    /// `ok`, or what is wrong: `ICE ok, DTLS ok, no packet from the phone (its SDP said 10.0.0.3:4000)`.
    pub verdict: String,
}

/// One SIP message on the wire: the ladder, the pcap and the tests all feed on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceRecord {
    /// When, in microseconds since 1970.
    pub unix_us: u64,
    /// The gateway's id of the call that it belongs to; none for registrations and strays.
    pub call: Option<String>,
    /// Whether it came in.
    pub rx: bool,
    /// `udp`, `ws`, `wss`.
    pub transport: &'static str,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The peer as people know it: an account, a peer's name, or empty.
    pub peer: String,
    /// The message as it was on the wire, but with `response=` of Authorization and what people write to each other blanked.
    pub bytes: Bytes,
}
