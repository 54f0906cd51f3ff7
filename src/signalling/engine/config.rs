use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::policy::dialplan::Dialplan;
use crate::policy::profile::Profile;
use crate::signalling::call::CallTimes;
use crate::signalling::registrar::RegistrarLimits;
use crate::wire::sdp::Fingerprint;

/// A peer by address: a PBX, a trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name in the configuration and the dialplan.
    pub name: String,
    /// Where it is, and where it calls from.
    pub address: SocketAddr,
    /// How it speaks.
    pub profile: Arc<Profile>,
    /// Whether it may call in without a password.
    pub trusted: bool,
}

/// What the engine has to know of the organisation.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The SIP domain and digest realm.
    pub domain: String,
    /// Our UDP sockets.
    pub udp: Vec<SocketAddr>,
    /// Which profile a WebSocket has.
    pub browser: Arc<Profile>,
    /// Which profile a device over UDP has that is no peer.
    pub phone: Arc<Profile>,
    /// Peers by address.
    pub peers: Vec<Peer>,
    /// Where numbers go.
    pub dialplan: Dialplan,
    /// The certificate that browsers will see.
    pub fingerprint: Fingerprint,
    /// How long calls wait.
    pub times: CallTimes,
    /// Bindings.
    pub registrar: RegistrarLimits,
    /// How long a digest nonce is good.
    pub nonce_lifetime: Duration,
    /// More calls than this are refused with 503.
    pub max_calls: usize,
    /// More transactions than this on each side are refused with 503.
    pub max_transactions: usize,
}

impl EngineConfig {
    /// The peer at an address.
    #[must_use]
    pub fn peer_at(&self, remote: SocketAddr) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.address == remote)
    }

    /// The peer of a name.
    #[must_use]
    pub fn peer_named(&self, name: &str) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.name == name)
    }

    /// Which of our UDP sockets a peer is written to from: of its family, in the most similar network.
    #[must_use]
    pub fn udp_toward(&self, remote: IpAddr) -> Option<SocketAddr> {
        self.udp.iter().copied().filter(|own| own.is_ipv4() == remote.is_ipv4()).max_by_key(|own| common_bits(own.ip(), remote))
    }
}

fn common_bits(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}
