use std::net::SocketAddr;

use super::{Pair, PortPair, WorkerId};

/// A classic RTP leg's addresses: its port pair, and whom it believes.
#[derive(Debug)]
pub(super) struct Classic {
    /// Ours.
    pub(super) ports: PortPair,
    /// The worker with whose legs it shares them; none has them but itself.
    pub(super) home: Option<WorkerId>,
    remote: Option<Remote>,
    /// The source that was latched to; it alone is believed from then on.
    latched: Option<SocketAddr>,
    rtcp_latched: Option<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Remote {
    rtp: SocketAddr,
    rtcp: SocketAddr,
    latch: bool,
}

/// What is made of a source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Belief {
    /// Packets from it are heard.
    Believed,
    /// Valid RTP of an agreed payload type from it would be latched to.
    Candidate,
    /// Not heard.
    Foreign,
}

impl Classic {
    /// A leg whose far side is not known yet.
    #[must_use]
    pub(super) fn new(ports: PortPair, home: Option<WorkerId>) -> Self {
        Self { ports, home, remote: None, latched: None, rtcp_latched: None }
    }

    /// The pair that no other leg has.
    pub(super) fn own_ports(&mut self) -> Option<&mut PortPair> {
        self.home.is_none().then_some(&mut self.ports)
    }

    /// What its datagrams on a shared port are found by: what its far side's SDP says.
    #[must_use]
    pub(super) fn announced(&self) -> Vec<Pair> {
        let Some(remote) = self.remote.filter(|_| self.home.is_some()) else { return Vec::new() };
        let rtp = Pair { socket: self.ports.rtp, remote: remote.rtp };
        let rtcp = Pair { socket: self.ports.rtcp, remote: remote.rtcp };
        if remote.rtcp == remote.rtp { vec![rtp] } else { vec![rtp, rtcp] }
    }

    /// The far side's SDP. Another address, or no more latching, lets go of what was latched to.
    pub(super) fn set_remote(&mut self, rtp: SocketAddr, rtcp: SocketAddr, latch: bool) {
        let remote = Some(Remote { rtp, rtcp, latch });
        if self.remote != remote {
            (self.remote, self.latched, self.rtcp_latched) = (remote, None, None);
        }
    }

    /// Whether RTP from `source` is heard.
    #[must_use]
    pub(super) fn believes(&self, source: SocketAddr) -> Belief {
        match (self.remote, self.latched) {
            (Some(Remote { latch: true, .. }), None) => Belief::Candidate,
            (Some(Remote { latch: true, .. }), Some(latched)) if latched == source => Belief::Believed,
            (Some(Remote { latch: false, rtp, .. }), _) if rtp == source => Belief::Believed,
            (Some(_) | None, _) => Belief::Foreign,
        }
    }

    /// Holds on to `source` and to no other.
    pub(super) fn latch(&mut self, source: SocketAddr) {
        self.latched = Some(source);
    }

    /// Whether RTCP from `source` is heard: from where SDP says, or from the latched host.
    pub(super) fn believes_rtcp(&mut self, source: SocketAddr) -> bool {
        let Some(remote) = self.remote else { return false };
        if !remote.latch {
            return source == remote.rtcp || source == remote.rtp;
        }
        if self.latched.is_some_and(|latched| latched.ip() == source.ip()) {
            let held = *self.rtcp_latched.get_or_insert(source);
            return held == source;
        }
        false
    }

    /// Where RTP goes: to the latched source, else to SDP's address.
    #[must_use]
    pub(super) fn rtp_to(&self) -> Option<Pair> {
        let remote = self.remote?;
        Some(Pair { socket: self.ports.rtp, remote: self.latched.unwrap_or(remote.rtp) })
    }

    /// Where RTCP goes: on RTP's own way with rtcp-mux (RFC 5761), else from port to port.
    #[must_use]
    pub(super) fn rtcp_to(&self) -> Option<Pair> {
        let remote = self.remote?;
        if remote.rtcp == remote.rtp {
            return self.rtp_to();
        }
        Some(Pair { socket: self.ports.rtcp, remote: self.rtcp_latched.unwrap_or(remote.rtcp) })
    }
}
