//! The floor under every relay: datagrams from port to port by recvmmsg and sendmmsg and nothing else, one socket a leg.

use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::net_sys::{BATCH, Batch, Epoll, Udp};
use crate::spec::Spec;
use crate::worker_pace::Pace;

/// When the sockets are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// As soon as a datagram is there.
    Packet,
    /// As the gateway's workers look at theirs.
    Paced,
}

/// Forwards until it is killed: what comes to one endpoint's `remote` leaves from its peer's, for its peer.
pub(crate) fn forward(spec: &Spec, policy: Policy) -> Result<()> {
    let mut epoll = Epoll::new()?;
    let mut sockets = Vec::with_capacity(spec.endpoints.len());
    for (at, endpoint) in spec.endpoints.iter().enumerate() {
        let socket = Udp::bind(endpoint.remote, false).with_context(|| endpoint.remote.to_string())?;
        epoll.add(&socket, at)?;
        sockets.push(socket);
    }
    let peer = |at: usize| spec.endpoints[at].peer.and_then(|peer| usize::try_from(peer).ok()).unwrap_or(at);
    let mut batch = Batch::new();
    let mut pace = Pace::new(Instant::now());
    println!("{{\"forwarding\":{}}}", sockets.len());
    loop {
        let mut count = epoll.wait(None);
        let (begin, mut datagrams) = (Instant::now(), 0);
        loop {
            for ready in 0..count {
                let at = epoll.ready(ready);
                let to = peer(at);
                let mut read = BATCH;
                while read == BATCH {
                    read = batch.recv(&sockets[at], BATCH);
                    datagrams += read;
                    batch.forward(read, &sockets[to], spec.endpoints[to].local);
                }
            }
            if !epoll.is_full(count) {
                break;
            }
            count = epoll.wait(Some(0));
        }
        if policy == Policy::Paced
            && let Some(rest) = pace.rest(Instant::now(), begin, datagrams)
        {
            std::thread::sleep(rest);
        }
    }
}
