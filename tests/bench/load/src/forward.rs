//! The floor under every relay: datagrams through one socket, as the gateway has it, by recvmmsg and sendmmsg and nothing else.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::net_sys::{BATCH, Batch, Epoll, Udp};
use crate::spec::{EndpointSpec, Spec};
use crate::worker_pace::Pace;

/// When the socket is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// As soon as a datagram is there.
    Packet,
    /// As the gateway's workers look at theirs.
    Paced,
}

/// Forwards until it is killed: what comes from one endpoint to the `remote` that all have leaves from there for its peer.
pub(crate) fn forward(spec: &Spec, policy: Policy) -> Result<()> {
    let at = spec.endpoints.first().context("no endpoints")?.remote;
    ensure!(spec.endpoints.iter().all(|endpoint| endpoint.remote == at), "the endpoints must all have the same remote");
    let peer = |endpoint: &EndpointSpec| spec.endpoints.get(usize::try_from(endpoint.peer?).ok()?);
    let ways: HashMap<SocketAddrV4, SocketAddrV4> =
        spec.endpoints.iter().filter_map(|endpoint| Some((endpoint.local, peer(endpoint)?.local))).collect();
    let socket = Udp::bind(at, false).with_context(|| at.to_string())?;
    socket.widen(4 << 20)?;
    let mut epoll = Epoll::new()?;
    epoll.add(&socket, 0)?;
    let mut batch = Batch::new();
    let mut pace = Pace::new(Instant::now());
    println!("{{\"forwarding\":{}}}", ways.len());
    loop {
        epoll.wait(None);
        let (begin, mut datagrams, mut read) = (Instant::now(), 0, BATCH);
        while read == BATCH {
            read = batch.recv(&socket, BATCH);
            datagrams += read;
            batch.forward(read, &socket, |from| ways.get(&from).copied());
        }
        if policy == Policy::Paced
            && let Some(rest) = pace.rest(Instant::now(), begin, datagrams, false)
        {
            std::thread::sleep(rest);
        }
    }
}
