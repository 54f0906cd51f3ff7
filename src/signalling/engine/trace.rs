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

/// The bytes with what a digest proves blanked (who sees a trace shall not be able to guess passwords offline), and what
/// people write to each other.
fn blank_secrets(bytes: &Bytes) -> Bytes {
    // Most messages hold neither: they are kept as they are, without a copy.
    let proves = memchr::memchr2_iter(b'z', b'Z', bytes).any(|z| {
        let word = z.checked_sub("authori".len()).and_then(|from| bytes.get(from..from + "authorization".len()));
        word.is_some_and(|word| word.eq_ignore_ascii_case(b"authorization"))
    });
    let speaks = bytes.starts_with(b"MESSAGE ");
    if !proves && !speaks {
        return bytes.clone();
    }
    let Ok(message) = Message::parse(bytes.clone(), Framing::Datagram) else { return Bytes::new() };
    let mut copy = bytes.to_vec();
    let place = |part: &[u8]| part.as_ptr() as usize - message.bytes().as_ptr() as usize;
    for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
        for line in message.lines(name) {
            let lower = line.to_ascii_lowercase();
            let Some(at) = memchr::memmem::find(&lower, b"response=\"") else { continue };
            let from = place(line) + at + b"response=\"".len();
            let Some(len) = copy.get(from..).and_then(|rest| memchr::memchr(b'"', rest)) else { continue };
            copy[from..from + len].fill(b'x');
        }
    }
    if speaks {
        let body = message.body();
        let from = place(body);
        copy[from..from + body.len()].fill(b'.');
    }
    copy.into()
}
