use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use socket2::Socket;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::EVENT_BACKLOG;
use super::links::{Crossing, Links};
use super::mmsg_sys::{Epoll, EventFd, MAX_BATCH, RecvBatch, SendScratch, Token};
use super::ports::PortPool;
use crate::base::prefetch;
use crate::media::{Pair, PortPair, RouteChange, Sink, Slot, SocketId, WorkerId};
use crate::plan::{MediaEvent, OpenFailure};

/// So many pairs of ports rest with their sockets open at most, with each worker.
const MAX_RESTING: usize = 256;

/// Datagrams that are read from a leg's own socket together by a worker that is behind: what a leg needs comes from memory once for all
/// of them.
const FEW: usize = 8;

/// A socket, and its descriptor beside it: a packet need not look for it elsewhere.
#[derive(Debug)]
struct Open {
    fd: RawFd,
    socket: Arc<Socket>,
}

impl Open {
    fn new(socket: Arc<Socket>) -> Self {
        Self { fd: socket.as_raw_fd(), socket }
    }
}

/// All that goes out of the core: datagrams in a batch, events in order, sockets as they come and go.
#[derive(Debug)]
pub(super) struct Outbox {
    /// The shared ones of all workers first, numbered alike with each, then those that our classic legs have for their own.
    sockets: Vec<Option<Open>>,
    free: Vec<u32>,
    /// Our own among the shared ones.
    own: Range<u32>,
    /// Our shared ports are not read for now: what comes waits in the kernel.
    muted: bool,
    /// To the other workers.
    pub(super) links: Links,
    pub(super) epoll: Epoll,
    pool: PortPool,
    /// Pairs of ports that no leg has at the moment, the one that has rested longest first: sockets are dear to make. They are
    /// read on, so that what still comes for the leg before is not taken for the next one's.
    resting: VecDeque<PortPair>,
    /// How many at most; the first is used again when more than a quarter of it rest.
    max_resting: usize,
    slots: Vec<Slot>,
    targets: Vec<Pair>,
    scratch: Box<SendScratch>,
    events: mpsc::Sender<MediaEvent>,
    backlog: VecDeque<MediaEvent>,
}

impl Outbox {
    pub(super) fn new(
        shared: Vec<Arc<Socket>>,
        own: Range<u32>,
        links: Links,
        pool: PortPool,
        workers: usize,
        events: mpsc::Sender<MediaEvent>,
        wake: &EventFd,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        epoll.add(wake.as_raw_fd(), Token::Mailbox)?;
        for id in own.clone() {
            epoll.add(shared[id as usize].as_raw_fd(), Token::Socket(SocketId(id)))?;
        }
        Ok(Self {
            sockets: shared.into_iter().map(|socket| Some(Open::new(socket))).collect(),
            free: Vec::new(),
            own,
            muted: false,
            links,
            epoll,
            resting: VecDeque::new(),
            // Those of all workers together are a small share of what there is: none shall lack ports that rest with another.
            max_resting: (pool.pairs() / 8 / workers).min(MAX_RESTING),
            pool,
            // One more than a batch: there is always one to write into.
            slots: (0..=MAX_BATCH).map(|_| Slot::default()).collect(),
            targets: Vec::with_capacity(MAX_BATCH),
            scratch: Box::default(),
            events,
            backlog: VecDeque::with_capacity(EVENT_BACKLOG),
        })
    }

    /// Takes a bound socket in and numbers it.
    fn adopt(&mut self, socket: Arc<Socket>) -> io::Result<SocketId> {
        let id = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            (self.sockets.len() - 1) as u32
        });
        if let Err(error) = self.epoll.add(socket.as_raw_fd(), Token::Socket(SocketId(id))) {
            self.free.push(id);
            return Err(error);
        }
        self.sockets[id as usize] = Some(Open::new(socket));
        Ok(SocketId(id))
    }

    /// Whether many legs share it, rather than one having it for its own.
    fn is_shared(&self, id: SocketId) -> bool {
        self.own.contains(&id.0)
    }

    /// Closes a socket; epoll forgets it by itself.
    fn close(&mut self, id: SocketId) {
        if self.sockets.get_mut(id.0 as usize).and_then(Option::take).is_some() {
            self.free.push(id.0);
        }
    }

    /// Gives out the sockets of a classic leg; what waits in them to be read goes along.
    pub(super) fn take_pair(&mut self, ports: PortPair) -> Option<(Arc<Socket>, Arc<Socket>)> {
        // What the leg has said until now still goes out from them.
        self.flush();
        let mut take = |id: SocketId| {
            let open = self.sockets.get_mut(id.0 as usize).and_then(Option::take)?;
            self.free.push(id.0);
            self.epoll.remove(open.fd);
            Some(open.socket)
        };
        Some((take(ports.rtp)?, take(ports.rtcp)?))
    }

    /// Takes in the sockets of a classic leg that another worker gave out, and numbers them.
    ///
    /// # Errors
    /// The kernel will not watch one more.
    pub(super) fn adopt_pair(&mut self, (rtp, rtcp): (Arc<Socket>, Arc<Socket>), local: SocketAddr) -> io::Result<PortPair> {
        let rtp = self.adopt(rtp)?;
        match self.adopt(rtcp) {
            Ok(rtcp) => Ok(PortPair { rtp, rtcp, local }),
            Err(error) => {
                self.close(rtp);
                Err(error)
            }
        }
    }

    /// Reads our shared ports no longer, or again.
    ///
    /// # Errors
    /// The kernel will not watch it again.
    pub(super) fn mute(&mut self, muted: bool) -> io::Result<()> {
        if std::mem::replace(&mut self.muted, muted) == muted {
            return Ok(());
        }
        for id in self.own.clone() {
            let Some(Some(open)) = self.sockets.get(id as usize) else { continue };
            if muted {
                self.epoll.remove(open.fd);
            } else {
                self.epoll.add(open.fd, Token::Socket(SocketId(id)))?;
            }
        }
        Ok(())
    }

    /// Brings into the cache where a socket is found that will be read soon.
    pub(super) fn prefetch(&self, id: SocketId) {
        self.sockets.get(id.0 as usize).into_iter().for_each(prefetch);
    }

    /// Reads a batch from a shared socket; from a leg's own one datagram, which is what it has, or a few where we are behind. 0 when it
    /// has nothing, or is gone.
    pub(super) fn recv(&self, id: SocketId, batch: &mut RecvBatch, is_behind: bool) -> usize {
        if self.muted && self.is_shared(id) {
            return 0;
        }
        match self.sockets.get(id.0 as usize) {
            // What an error of the socket leaves behind (an ICMP report, say) is read with the next turn.
            Some(Some(open)) if self.is_shared(id) => batch.recv(open.fd, MAX_BATCH).unwrap_or(0),
            Some(Some(open)) if is_behind => batch.recv(open.fd, FEW).unwrap_or(0),
            Some(Some(open)) => batch.recv_one(open.fd).unwrap_or(0),
            _ => 0,
        }
    }

    /// Sends everything in the batch, run by run of one socket.
    pub(super) fn flush(&mut self) {
        let mut from = 0;
        while from < self.targets.len() {
            let socket = self.targets[from].socket;
            let run = self.targets[from..].iter().take_while(|pair| pair.socket == socket).count();
            if let Some(Some(open)) = self.sockets.get(socket.0 as usize) {
                self.scratch.send(open.fd, &self.slots[from..from + run], &self.targets[from..from + run]);
            }
            from += run;
        }
        self.targets.clear();
    }

    /// Tells what waits, as far as the engine takes it.
    pub(super) fn tell(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            if let Err(TrySendError::Full(event)) = self.events.try_send(event) {
                self.backlog.push_front(event);
                return;
            }
        }
    }

    /// Whether events wait for the engine.
    pub(super) fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Whether so many wait that no more commands may be taken.
    pub(super) fn is_stalled(&self) -> bool {
        self.backlog.len() >= EVENT_BACKLOG
    }

    /// The pair on `ip` that has rested longest.
    fn rested(&mut self, ip: IpAddr) -> Option<PortPair> {
        let at = self.resting.iter().position(|ports| ports.local.ip() == ip)?;
        self.resting.remove(at)
    }

    fn push(&mut self, to: Pair) {
        self.targets.push(to);
        if self.targets.len() == MAX_BATCH {
            self.flush();
        }
    }
}

impl Sink for Outbox {
    fn slot(&mut self) -> &mut Slot {
        &mut self.slots[self.targets.len()]
    }

    fn transmit(&mut self, to: Pair) {
        self.push(to);
    }

    fn forward(&mut self, slot: &mut Slot, to: Pair) {
        std::mem::swap(slot, &mut self.slots[self.targets.len()]);
        self.push(to);
    }

    fn event(&mut self, event: MediaEvent) {
        self.backlog.push_back(event);
        self.tell();
    }

    fn bind_pair(&mut self, local: IpAddr) -> Result<PortPair, OpenFailure> {
        if self.resting.len() > self.max_resting / 4
            && let Some(rested) = self.rested(local)
        {
            return Ok(rested);
        }
        let (rtp, addr, rtcp) = match self.pool.bind(local) {
            Ok(bound) => bound,
            Err(OpenFailure::NoPort) => return self.rested(local).ok_or(OpenFailure::NoPort),
            Err(other) => return Err(other),
        };
        self.adopt_pair((Arc::new(rtp), Arc::new(rtcp)), addr).map_err(|_| {
            self.pool.release(addr);
            OpenFailure::NoPort
        })
    }

    fn release_pair(&mut self, ports: PortPair) {
        self.resting.push_back(ports);
        if self.resting.len() > self.max_resting
            && let Some(ports) = self.resting.pop_front()
        {
            // What was said last (a BYE) still goes out from them.
            self.flush();
            self.close(ports.rtp);
            self.close(ports.rtcp);
            self.pool.release(ports.local);
        }
    }

    fn hand_over(&mut self, to: WorkerId, slot: &mut Slot, pair: Pair) -> bool {
        self.links.hand_over(to, slot, pair)
    }

    fn tell_route(&mut self, home: WorkerId, change: RouteChange) {
        self.links.push(home, Crossing::Route(change));
    }
}

#[cfg(test)]
mod tests {
    use super::super::links;
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Two workers that share `pairs` pairs of ports from `first` on.
    fn two(first: u16, pairs: u16) -> Vec<Outbox> {
        let wakes: Vec<_> = (0..2).map(|_| Arc::new(EventFd::new().unwrap())).collect();
        let pool = PortPool::new(&[IP], first..=first + 2 * pairs - 1).unwrap();
        let ways = links::between(&wakes).into_iter().zip(&wakes);
        let outbox = |((links, _), wake): ((Links, _), &Arc<EventFd>)| {
            Outbox::new(Vec::new(), 0..0, links, pool.clone(), wakes.len(), mpsc::channel(1).0, wake).unwrap()
        };
        ways.map(outbox).collect()
    }

    #[test]
    fn a_legs_own_socket_gives_one_datagram_or_a_few_to_who_is_behind_in_their_order() {
        let mut outbox = two(23_600, 20).remove(0);
        let ports = outbox.bind_pair(IP).unwrap();
        let far = std::net::UdpSocket::bind((IP, 0)).unwrap();
        for n in 0..12u8 {
            far.send_to(&[n], ports.local).unwrap();
        }
        let mut batch = RecvBatch::default();
        let mut read = |is_behind| {
            let count = outbox.recv(ports.rtp, &mut batch, is_behind);
            (0..count).map(|at| batch.received(at).0.data()[0]).collect::<Vec<_>>()
        };
        assert_eq!(read(false), [0]);
        assert_eq!(read(true), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(read(true), [9, 10, 11]);
        assert!(read(true).is_empty() && read(false).is_empty());
    }

    #[test]
    fn a_pair_of_ports_is_used_again_with_its_sockets_after_it_has_rested() {
        let mut outbox = two(23_000, 200).remove(0);
        // An eighth of the pairs for two workers: 12 each, of which 3 rest always.
        let pairs: Vec<_> = (0..5).map(|_| outbox.bind_pair(IP).unwrap()).collect();
        pairs.iter().for_each(|pair| outbox.release_pair(*pair));
        assert_eq!((outbox.bind_pair(IP).unwrap(), outbox.bind_pair(IP).unwrap()), (pairs[0], pairs[1]));
        let fresh = outbox.bind_pair(IP).unwrap();
        assert!(!pairs.contains(&fresh), "the others rest on");
    }

    #[test]
    fn ports_that_rest_with_one_worker_hardly_lack_the_other_and_come_back_when_there_are_no_more() {
        let [mut a, mut b] = <[Outbox; 2]>::try_from(two(23_400, 40)).unwrap();
        let all: Vec<_> = (0..40).map(|_| a.bind_pair(IP).unwrap()).collect();
        assert_eq!(b.bind_pair(IP), Err(OpenFailure::NoPort));
        all.into_iter().for_each(|pair| a.release_pair(pair));
        assert_eq!(a.resting.len(), 2);
        for _ in 0..38 {
            b.bind_pair(IP).unwrap();
        }
        assert_eq!(b.bind_pair(IP), Err(OpenFailure::NoPort));
        assert!(a.bind_pair(IP).is_ok() && a.bind_pair(IP).is_ok(), "what rests is taken before a call is refused");
        assert_eq!(a.bind_pair(IP), Err(OpenFailure::NoPort));
    }
}
