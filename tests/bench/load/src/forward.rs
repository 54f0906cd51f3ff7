//! The floor under every relay: datagrams from port to port by recvmmsg and sendmmsg and nothing else, one socket a leg.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::net_sys::{BATCH, Batch, Epoll, Udp, now_ns, sleep_until};
use crate::spec::Spec;

/// When the sockets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// As soon as a datagram is there.
    Packet,
    /// Once a tick: between two passes it sleeps.
    Tick,
}

/// Forwards until it is killed: what comes to one endpoint's `remote` leaves from its peer's, for its peer.
pub(crate) fn forward(spec: &Spec, policy: Policy, tick: Duration) -> Result<()> {
    let mut epoll = Epoll::new()?;
    let mut sockets = Vec::with_capacity(spec.endpoints.len());
    for (at, endpoint) in spec.endpoints.iter().enumerate() {
        let socket = Udp::bind(endpoint.remote, false).with_context(|| endpoint.remote.to_string())?;
        epoll.add(&socket, at)?;
        sockets.push(socket);
    }
    let peer = |at: usize| spec.endpoints[at].peer.and_then(|peer| usize::try_from(peer).ok()).unwrap_or(at);
    let mut batch = Batch::new();
    let tick_ns = i64::try_from(tick.as_nanos()).context("a shorter tick")?.max(1);
    println!("{{\"forwarding\":{}}}", sockets.len());
    loop {
        let mut count = epoll.wait(None);
        loop {
            for ready in 0..count {
                let at = epoll.ready(ready);
                let to = peer(at);
                let mut read = BATCH;
                while read == BATCH {
                    read = batch.recv(&sockets[at], BATCH);
                    batch.forward(read, &sockets[to], spec.endpoints[to].local);
                }
            }
            if !epoll.is_full(count) {
                break;
            }
            count = epoll.wait(Some(0));
        }
        if policy == Policy::Tick {
            sleep_until((now_ns() / tick_ns + 1) * tick_ns);
        }
    }
}
