//! The ways between workers: a ring from each to each other, read in the order in which it was written.

use std::collections::VecDeque;
use std::sync::Arc;

use socket2::Socket;

use super::LINK_DATAGRAMS;
use super::mmsg_sys::EventFd;
use super::moves::Move;
use crate::media::{Pair, Parcel, RouteChange, Slot, WorkerId};

/// What else than datagrams fits into a ring; more of it waits with its sender.
const LINK_ORDERS: usize = 64;

/// What one worker has for another.
#[derive(Debug)]
pub(super) enum Crossing {
    /// It came on the sender's port, for a leg that lives with the receiver.
    Datagram(Pair, Slot),
    /// How a leg that lives with the sender is found on the receiver's port.
    Route(RouteChange),
    /// The sender's port is not read until the move is over: all that came before is ahead of this.
    Mark(Arc<Move>),
    /// The legs.
    Goods(Arc<Move>, Box<Goods>),
    /// The legs live with the sender from now on.
    Settled(Arc<Move>),
}

/// Legs on their way, and the sockets of those that have their own, in the parcel's order.
#[derive(Debug)]
pub(super) struct Goods {
    pub(super) parcel: Parcel,
    pub(super) sockets: Vec<(Arc<Socket>, Arc<Socket>)>,
}

/// One worker's ways to the others.
#[derive(Debug)]
pub(super) struct Links(Vec<Option<Link>>);

#[derive(Debug)]
struct Link {
    ring: rtrb::Producer<Crossing>,
    /// Slots that the receiver has done with.
    empties: rtrb::Consumer<Slot>,
    /// Slots that have not been made yet: a way that no datagram goes costs none.
    unmade: usize,
    backlog: VecDeque<Crossing>,
    wake: Arc<EventFd>,
    unread: bool,
}

/// One worker's ways from the others.
#[derive(Debug)]
pub(super) struct Arrivals(Vec<Option<Arrival>>);

#[derive(Debug)]
struct Arrival {
    ring: rtrb::Consumer<Crossing>,
    empties: rtrb::Producer<Slot>,
}

/// The ways among as many workers as there are wakers.
pub(super) fn between(wakes: &[Arc<EventFd>]) -> Vec<(Links, Arrivals)> {
    let blank = || (Links(wakes.iter().map(|_| None).collect()), Arrivals(wakes.iter().map(|_| None).collect()));
    let mut all: Vec<(Links, Arrivals)> = wakes.iter().map(|_| blank()).collect();
    for from in 0..wakes.len() {
        for to in (0..wakes.len()).filter(|to| *to != from) {
            let (ring, arriving) = rtrb::RingBuffer::new(LINK_DATAGRAMS + LINK_ORDERS);
            let (used, empties) = rtrb::RingBuffer::new(LINK_DATAGRAMS);
            let (backlog, wake) = (VecDeque::new(), Arc::clone(&wakes[to]));
            all[from].0.0[to] = Some(Link { ring, empties, unmade: LINK_DATAGRAMS, backlog, wake, unread: false });
            all[to].1.0[from] = Some(Arrival { ring: arriving, empties: used });
        }
    }
    all
}

impl Links {
    fn link(&mut self, to: WorkerId) -> Option<&mut Link> {
        self.0.get_mut(usize::from(to.0))?.as_mut()
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Link> {
        self.0.iter_mut().flatten()
    }

    /// Hands a datagram on; false when all slots of the way are under way.
    pub(super) fn hand_over(&mut self, to: WorkerId, slot: &mut Slot, pair: Pair) -> bool {
        let Some(link) = self.link(to).filter(|link| link.backlog.is_empty() && !link.ring.is_full()) else { return false };
        let empty = link.empties.pop().ok().or_else(|| {
            link.unmade = link.unmade.checked_sub(1)?;
            Some(Slot::default())
        });
        let Some(empty) = empty else { return false };
        let full = std::mem::replace(slot, empty);
        link.unread = true;
        link.ring.push(Crossing::Datagram(pair, full)).is_ok()
    }

    /// Sends what must not be lost. What does not fit waits here: as much as there are moves and changes of address under way.
    pub(super) fn push(&mut self, to: WorkerId, crossing: Crossing) {
        if let Some(link) = self.link(to) {
            link.backlog.push_back(crossing);
            link.send_backlog();
        }
    }

    /// Sends what waits, and wakes whoever has something to read.
    pub(super) fn flush(&mut self) {
        for link in self.all() {
            link.send_backlog();
            if std::mem::take(&mut link.unread) {
                link.wake.ring();
            }
        }
    }

    /// Whether something waits here.
    pub(super) fn has_backlog(&self) -> bool {
        self.0.iter().flatten().any(|link| !link.backlog.is_empty())
    }

    /// Whether a worker has ended.
    pub(super) fn is_gone(&self, worker: WorkerId) -> bool {
        self.0.get(usize::from(worker.0)).and_then(Option::as_ref).is_some_and(|link| link.ring.is_abandoned())
    }
}

impl Link {
    fn send_backlog(&mut self) {
        while !self.ring.is_full() {
            let Some(crossing) = self.backlog.pop_front() else { return };
            self.unread = true;
            // There is room, and nobody else writes.
            let _ = self.ring.push(crossing);
        }
    }
}

impl Arrivals {
    /// All workers that something may come from.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.0.len() as u16).map(WorkerId)
    }

    /// The next thing from one worker.
    pub(super) fn pop(&mut self, from: WorkerId) -> Option<Crossing> {
        self.0.get_mut(usize::from(from.0))?.as_mut()?.ring.pop().ok()
    }

    /// Gives a slot back to the worker that it came from.
    pub(super) fn give_back(&mut self, from: WorkerId, slot: Slot) {
        if let Some(Some(arrival)) = self.0.get_mut(usize::from(from.0)) {
            // As many slots as fit were ever made.
            let _ = arrival.empties.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::SocketId;

    #[test]
    fn a_full_way_refuses_datagrams_and_keeps_all_else_in_order() {
        let wakes: Vec<_> = (0..2).map(|_| Arc::new(EventFd::new().unwrap())).collect();
        let mut ways = between(&wakes);
        let (_, mut arrivals) = ways.pop().unwrap();
        let (mut links, _) = ways.pop().unwrap();
        let (to, from) = (WorkerId(1), WorkerId(0));
        let pair = Pair { socket: SocketId(0), remote: "127.0.0.1:9".parse().unwrap() };
        let mut slot = Slot::default();
        let mut handed = 0;
        while links.hand_over(to, &mut slot, pair) {
            handed += 1;
        }
        assert_eq!(handed, LINK_DATAGRAMS);
        let changes = || (0..200).map(|n| RouteChange::Gone(crate::plan::LegId(n)));
        changes().for_each(|change| links.push(to, Crossing::Route(change)));
        assert!(links.has_backlog());
        for _ in 0..LINK_DATAGRAMS {
            let Some(Crossing::Datagram(_, slot)) = arrivals.pop(from) else { panic!("a datagram") };
            arrivals.give_back(from, slot);
        }
        assert!(!links.hand_over(to, &mut slot, pair), "nothing overtakes what waits");
        links.flush();
        for change in changes() {
            assert!(matches!(arrivals.pop(from), Some(Crossing::Route(found)) if found == change));
        }
        assert!(links.hand_over(to, &mut slot, pair), "slots come back");
        assert!(!links.is_gone(to));
        drop(arrivals);
        assert!(links.is_gone(to));
    }
}
