use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

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
    /// A classic leg's far side, as SDP says and nobody has proven.
    Announced(Pair),
}

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// A leg of this core.
    Here(LegKey),
    /// A leg that was opened here and lives with another worker now.
    Away(LegId),
}

/// A pair as it is looked up for each packet: numbers, which compare faster than addresses do. A socket is bound to one address, so
/// that of IPv6's scope and flow nothing is left to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PairKey {
    ip: u128,
    socket_and_port: u64,
}

impl From<Pair> for PairKey {
    fn from(Pair { socket, remote }: Pair) -> Self {
        let ip = match remote.ip() {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        };
        Self { ip, socket_and_port: u64::from(socket.0) << 16 | u64::from(remote.port()) }
    }
}

/// How a datagram finds its leg. Bounded by the legs: two ports, two announced remotes or a user fragment (two through an ICE
/// restart) a leg, and a browser's few validated remotes.
#[derive(Debug, Default)]
pub(super) struct Routes {
    by_socket: Vec<Option<(LegKey, Port)>>,
    by_ufrag: BTreeMap<String, Whose>,
    by_pair: BTreeMap<PairKey, Whose>,
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
        self.by_pair.get(&pair.into()).copied()
    }

    /// Whose the host of `pair` is, if it is one leg's on that socket.
    pub(super) fn host(&self, pair: Pair) -> Option<Whose> {
        let at = |port| PairKey::from(Pair { remote: SocketAddr::new(pair.remote.ip(), port), ..pair });
        let mut there = self.by_pair.range(at(0)..=at(u16::MAX)).map(|(_, whose)| *whose);
        there.next().filter(|whose| there.all(|other| other == *whose))
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
            Address::Pair(pair) | Address::Announced(pair) => self.pair(*pair),
        }
    }

    /// The newest valid check of an address decides whose it is: a browser may use a port again for its next call. What is only said
    /// takes nothing from anybody, or a caller would hear whomever he names.
    pub(super) fn claim(&mut self, address: Address, whose: Whose) {
        if matches!(address, Address::Announced(_)) && self.whose(&address).is_some() {
            return;
        }
        self.add(address, whose);
    }

    /// Whoever had an address has it no longer.
    pub(super) fn add(&mut self, address: Address, whose: Whose) {
        match address {
            Address::Ufrag(ufrag) => self.by_ufrag.insert(ufrag, whose),
            Address::Pair(pair) | Address::Announced(pair) => self.by_pair.insert(pair.into(), whose),
        };
    }

    /// Forgets an address, unless it is somebody else's by now.
    pub(super) fn remove(&mut self, address: &Address, whose: Whose) {
        if self.whose(address) != Some(whose) {
            return;
        }
        match address {
            Address::Ufrag(ufrag) => self.by_ufrag.remove(ufrag),
            Address::Pair(pair) | Address::Announced(pair) => self.by_pair.remove(&(*pair).into()),
        };
    }
}
