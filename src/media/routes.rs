use std::collections::BTreeMap;

use slotmap::DefaultKey;

use super::{Pair, PortPair, SocketId, WorkerId};
use crate::plan::LegId;

/// A leg's place in the core.
pub(super) type LegKey = DefaultKey;

/// What a classic port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    Rtp,
    Rtcp,
}

/// What a datagram on a shared port finds a browser leg by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// STUN: our user fragment.
    Ufrag(String),
    /// All else: a validated remote.
    Pair(Pair),
}

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// A leg of this core.
    Here(LegKey),
    /// A leg that was opened here and lives with another worker now.
    Away(LegId),
}

/// How a datagram finds its leg. Bounded by the legs: two ports or a user fragment (two
/// through an ICE restart) a leg, and a browser's few
/// validated remotes.
#[derive(Debug, Default)]
pub(super) struct Routes {
    by_socket: Vec<Option<(LegKey, Port)>>,
    by_ufrag: BTreeMap<String, Whose>,
    by_pair: BTreeMap<Pair, Whose>,
    away: BTreeMap<LegId, WorkerId>,
}

impl Routes {
    pub(super) fn socket(&self, socket: SocketId) -> Option<(LegKey, Port)> {
        self.by_socket.get(socket.0 as usize).copied().flatten()
    }

    pub(super) fn ufrag(&self, ufrag: &str) -> Option<Whose> {
        self.by_ufrag.get(ufrag).copied()
    }

    pub(super) fn pair(&self, pair: Pair) -> Option<Whose> {
        self.by_pair.get(&pair).copied()
    }

    /// With which worker a leg that is away lives.
    pub(super) fn away(&self, leg: LegId) -> Option<WorkerId> {
        self.away.get(&leg).copied()
    }

    pub(super) fn set_away(&mut self, leg: LegId, at: WorkerId) {
        self.away.insert(leg, at);
    }

    pub(super) fn forget_away(&mut self, leg: LegId) {
        self.away.remove(&leg);
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

    pub(super) fn whose(&self, address: &Address) -> Option<Whose> {
        match address {
            Address::Ufrag(ufrag) => self.ufrag(ufrag),
            Address::Pair(pair) => self.pair(*pair),
        }
    }

    /// The newest valid check of an address decides whose it is: a browser may use a port again for its next call.
    pub(super) fn add(&mut self, address: Address, whose: Whose) {
        match address {
            Address::Ufrag(ufrag) => self.by_ufrag.insert(ufrag, whose),
            Address::Pair(pair) => self.by_pair.insert(pair, whose),
        };
    }

    /// Forgets an address, unless it is somebody else's by now.
    pub(super) fn remove(&mut self, address: &Address, whose: Whose) {
        if self.whose(address) != Some(whose) {
            return;
        }
        match address {
            Address::Ufrag(ufrag) => self.by_ufrag.remove(ufrag),
            Address::Pair(pair) => self.by_pair.remove(pair),
        };
    }
}
