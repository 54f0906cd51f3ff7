use std::net::SocketAddr;

/// One accepted WebSocket, for as long as it lives; minted by `io::net`, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A way to reach a peer (RFC 5626 section 2): one WebSocket, or one of our UDP sockets and the peer's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flow {
    /// Our socket's address, and theirs.
    Udp {
        /// Ours.
        local: SocketAddr,
        /// Theirs.
        remote: SocketAddr,
    },
    /// A WebSocket.
    WebSocket(ConnectionId),
}

impl Flow {
    /// Whether what is sent arrives or the flow is known to be dead: no retransmissions (RFC 3261 section 17).
    #[must_use]
    pub fn is_reliable(self) -> bool {
        matches!(self, Self::WebSocket(_))
    }
}

/// What is known of a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// Our end.
    pub local: SocketAddr,
    /// Their end.
    pub remote: SocketAddr,
    /// `wss` rather than `ws`.
    pub secure: bool,
}
