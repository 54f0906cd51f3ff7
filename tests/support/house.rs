//! Several cores in virtual time, as workers carry legs, datagrams and news between them: each ring in order, the next one read
//! when all before is done.

#![allow(unreachable_pub, dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringway::media::{DtlsIdentity, PortPair, SocketId, Totals, WorkerId};
use ringway::plan::*;

use crate::media_peer::{Bench, RTCP, RTP, RTP_ADDR, SHARED, addr};

pub struct House {
    pub workers: Vec<Bench>,
    /// Where each leg lives and was opened.
    legs: BTreeMap<LegId, (usize, usize)>,
    /// The leg of a classic RTP socket; its RTCP socket is the next.
    sockets: BTreeMap<SocketId, LegId>,
}

impl House {
    pub fn new(workers: u16, max_legs: usize) -> Self {
        let identity = DtlsIdentity::generate().unwrap();
        let bench = |worker: u16| {
            let mut bench = Bench::with(|config| {
                config.worker = WorkerId(worker);
                config.sockets = vec![(SocketId(worker.into()), addr(&format!("192.0.2.1:{}", 4_000 + worker)))];
                if worker == 0 {
                    config.ports = vec![PortPair { rtp: RTP, rtcp: RTCP, local: addr(RTP_ADDR) }];
                }
                config.max_legs = max_legs;
                config.identity = identity.clone();
            });
            bench.sink.next_socket = 1_000 * (1 + u32::from(worker));
            bench
        };
        let mut workers: Vec<Bench> = (0..workers).map(bench).collect();
        let now = workers[0].now;
        workers.iter_mut().for_each(|worker| worker.now = now);
        Self { workers, legs: BTreeMap::new(), sockets: BTreeMap::new() }
    }

    /// Says something to the worker that a leg is with.
    pub fn command(&mut self, leg: LegId, command: MediaCommand) {
        let at = self.legs.get(&leg).map_or(0, |(at, _)| *at);
        self.workers[at].command(command);
        self.carry();
    }

    pub fn set_path(&mut self, leg: LegId, plan: LegPlan, hears: Source) {
        self.command(leg, MediaCommand::SetPath { leg, plan, hears });
    }

    /// A phone, opened with a worker.
    pub fn phone(&mut self, at: usize, leg: LegId, remote: SocketAddr) -> SocketId {
        let socket = self.workers[at].phone(leg, remote);
        self.legs.insert(leg, (at, at));
        self.sockets.insert(socket, leg);
        socket
    }

    /// A phone on the first worker's shared port.
    pub fn phone_on_shared_port(&mut self, leg: LegId, remote: SocketAddr) {
        self.workers[0].phone_on_shared_port(leg, remote);
        self.opened(leg);
    }

    /// A leg on a shared port, opened with the first worker.
    pub fn opened(&mut self, leg: LegId) {
        self.legs.insert(leg, (0, 0));
    }

    /// A datagram arrives: at a leg's own socket, wherever that is, or at the first worker's shared one.
    pub fn datagram(&mut self, socket: SocketId, remote: SocketAddr, bytes: &[u8]) {
        let leg = self.sockets.get(&socket).or_else(|| self.sockets.get(&SocketId(socket.0.saturating_sub(1))));
        let at = if socket == SHARED { 0 } else { leg.map_or(0, |leg| self.legs[leg].0) };
        self.workers[at].datagram(socket, remote, bytes);
        self.carry();
    }

    /// What the workers have for each other.
    pub fn carry(&mut self) {
        while let Some(from) = (0..self.workers.len()).find(|at| {
            let sink = &self.workers[*at].sink;
            !sink.routes.is_empty() || !sink.handed.is_empty()
        }) {
            while let Some((home, change)) = self.workers[from].sink.routes.pop_front() {
                self.workers[usize::from(home.0)].core.handle_route(change);
            }
            while let Some((to, pair, mut slot)) = self.workers[from].sink.handed.pop_front() {
                let Bench { core, sink, now, .. } = &mut self.workers[usize::from(to.0)];
                core.handle_datagram(*now, pair, &mut slot, sink);
                self.workers[from].sink.spare.push(slot);
            }
        }
    }

    /// Moves legs that are with one worker to another.
    pub fn move_legs(&mut self, legs: &[LegId], to: usize) {
        let from = self.legs[&legs[0]].0;
        if from == to {
            return;
        }
        let Bench { core, sink, now, .. } = &mut self.workers[from];
        let worker = WorkerId(to as u16);
        let parcel = core.extract(*now, legs, worker, sink);
        self.carry();
        let Bench { core, sink, now, .. } = &mut self.workers[to];
        core.adopt(*now, parcel, sink);
        for leg in legs {
            let (at, home) = self.legs.get_mut(leg).unwrap();
            *at = to;
            if *home != from && *home != to {
                self.workers[*home].core.moved(*leg, worker);
            }
        }
        self.carry();
    }

    pub fn advance(&mut self, by: Duration) {
        for at in 0..self.workers.len() {
            self.workers[at].advance(by);
            self.carry();
        }
    }

    /// Takes what was sent: from which socket, to whom, what.
    pub fn take(&mut self) -> Vec<(SocketId, SocketAddr, Vec<u8>)> {
        let sent = self.workers.iter_mut().flat_map(|worker| worker.sink.take());
        sent.map(|(pair, bytes)| (pair.socket, pair.remote, bytes)).collect()
    }

    /// Takes what was told.
    pub fn events(&mut self) -> Vec<MediaEvent> {
        self.workers.iter_mut().flat_map(|worker| std::mem::take(&mut worker.sink.events)).collect()
    }

    /// All that was counted; each core by itself must have counted out what came in.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for worker in &self.workers {
            let mine = worker.core.totals();
            assert!(mine.traffic.is_balanced(), "{mine:?}");
            totals += mine;
        }
        assert_eq!(totals.traffic.rtp, totals.legs.rx, "{totals:?}");
        assert_eq!(totals.legs.rx, totals.legs.sent + totals.legs.held + totals.legs.dropped_total(), "{totals:?}");
        totals
    }
}
