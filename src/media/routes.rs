use std::collections::BTreeMap;

use slotmap::DefaultKey;

use super::{Pair, PortPair, SocketId};

/// A leg's place in the core.
pub(super) type LegKey = DefaultKey;

/// What a classic port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Rtp,
    Rtcp,
}

/// How a datagram finds its leg. Bounded by the legs: two ports or a user fragment (two
/// through an ICE restart) a leg, and a browser's few
/// validated remotes.
#[derive(Debug, Default)]
pub(super) struct Routes {
    by_socket: Vec<Option<(LegKey, Port)>>,
    by_ufrag: BTreeMap<String, LegKey>,
    by_pair: BTreeMap<Pair, LegKey>,
}

impl Routes {
    pub(super) fn socket(&self, socket: SocketId) -> Option<(LegKey, Port)> {
        self.by_socket.get(socket.0 as usize).copied().flatten()
    }

    pub(super) fn ufrag(&self, ufrag: &str) -> Option<LegKey> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(super) fn pair(&self, pair: Pair) -> Option<LegKey> {
        self.by_pair.get(&pair).copied()
    }

    pub(super) fn add_ports(&mut self, ports: PortPair, leg: LegKey) {
        for (socket, port) in [(ports.rtp, Port::Rtp), (ports.rtcp, Port::Rtcp)] {
            let at = socket.0 as usize;
            if self.by_socket.len() <= at {
                self.by_socket.resize(at + 1, None);
            }
            self.by_socket[at] = Some((leg, port));
        }
    }

    pub(super) fn remove_ports(&mut self, ports: PortPair) {
        for socket in [ports.rtp, ports.rtcp] {
            if let Some(entry) = self.by_socket.get_mut(socket.0 as usize) {
                *entry = None;
            }
        }
    }

    pub(super) fn add_ufrag(&mut self, ufrag: &str, leg: LegKey) {
        self.by_ufrag.insert(ufrag.to_owned(), leg);
    }

    pub(super) fn remove_ufrag(&mut self, ufrag: &str, leg: LegKey) {
        if self.by_ufrag.get(ufrag) == Some(&leg) {
            self.by_ufrag.remove(ufrag);
        }
    }

    /// The newest valid check of an address decides whose it is: a browser may use a port again for its next call.
    pub(super) fn add_pair(&mut self, pair: Pair, leg: LegKey) {
        self.by_pair.insert(pair, leg);
    }

    pub(super) fn remove_pair(&mut self, pair: Pair, leg: LegKey) {
        if self.by_pair.get(&pair) == Some(&leg) {
            self.by_pair.remove(&pair);
        }
    }
}
