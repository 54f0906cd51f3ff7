//! The network: UDP sockets, HTTPS with WebSockets (RFC 7118), and the task that drives the engine.
//!
//! Sockets read into one bounded queue ([`NetEvent`]); the driver owns the engine and writes out what it says. Nothing is
//! decided here.

mod drive;
mod http;
mod tls;
mod udp;
mod websocket;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::signalling::{Connection, ConnectionId};

pub use drive::{Driver, drive};
pub use http::{HttpConfig, serve_http};
pub use tls::{Certificate, load_or_make};
pub use udp::UdpSockets;

/// How many messages of WebSockets may wait for the engine. A WebSocket waits for room, which slows its peer down.
pub const QUEUE: usize = 4_096;

/// What the sockets tell the driver.
#[derive(Debug)]
pub enum NetEvent {
    /// A WebSocket was accepted.
    Opened {
        /// Its id.
        connection: ConnectionId,
        /// Its ends.
        about: Connection,
        /// What is to be written to it, one SIP message each.
        tx: mpsc::Sender<Bytes>,
    },
    /// It closed.
    Closed {
        /// Its id.
        connection: ConnectionId,
    },
    /// A message over it.
    Frame {
        /// Its id.
        connection: ConnectionId,
        /// One SIP message.
        bytes: Bytes,
    },
}
