use std::sync::Arc;

use bytes::Bytes;

use super::{Engine, Flow, Output};
use crate::base::Now;
use crate::signalling::record::TraceRecord;
use crate::wire::sip::{Framing, HeaderName, Message};

impl Engine {
    /// A message as it is kept: over which flow, whose it is, and of which call.
    pub(super) fn trace(&self, now: Now, flow: Flow, call: Option<Arc<str>>, rx: bool, bytes: &Bytes) -> Option<Output> {
        let transport = match flow {
            Flow::Udp { .. } => "udp",
            Flow::WebSocket(id) if self.connections.get(&id)?.secure => "wss",
            Flow::WebSocket(_) => "ws",
        };
        let peer = match flow {
            Flow::Udp { remote, .. } => self.config.peer_at(remote).map(|p| p.name.as_str()),
            Flow::WebSocket(_) => None,
        };
        Some(Output::Trace(Box::new(TraceRecord {
            unix_us: u64::try_from(now.unix.as_micros()).unwrap_or(u64::MAX),
            call: call.map(|id| id.to_string()),
            rx,
            transport,
            local: self.local_of(flow)?,
            remote: self.remote_of(flow)?,
            peer: peer.or_else(|| self.registrar.account_of(flow)).unwrap_or_default().to_owned(),
            bytes: blank_secrets(bytes),
        })))
    }
}

/// The bytes with what a digest proves blanked: who sees a trace shall not be able to guess passwords offline.
fn blank_secrets(bytes: &Bytes) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    let Ok(message) = Message::parse(bytes.clone(), Framing::Datagram) else { return copy };
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        for line in message.lines(name) {
            let lower = line.to_ascii_lowercase();
            let Some(at) = memchr::memmem::find(&lower, b"response=\"") else { continue };
            let from = line.as_ptr() as usize - message.bytes().as_ptr() as usize + at + b"response=\"".len();
            let Some(len) = copy.get(from..).and_then(|rest| memchr::memchr(b'"', rest)) else { continue };
            copy[from..from + len].fill(b'x');
        }
    }
    copy
}
