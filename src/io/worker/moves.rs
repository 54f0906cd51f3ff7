//! One worker's part in moving legs to another.
//!
//! All that have a part (who gives, who takes, and the *homes*, on whose shared ports any of the legs arrive) get the same
//! order, and each meets it in its mailbox after all that was said before and carries out nothing else until its part is done.
//! Moves have an order that all mailboxes agree on, so that nobody waits for somebody who waits for him.
//!
//! ```text
//! home (unless it is the giver)   giver                              taker
//! stops reading its shared ports
//! Mark ---------------------------> what came before it is read
//!                                   takes the legs out, Goods ------> takes them in, and what follows in the same ring
//!          <--------------------------------------------- Settled
//! reads them again, hands over to the taker (or is the taker, and keeps)
//! ```
//! So nothing is lost or overtaken: what comes meanwhile waits in the kernel, or behind the goods.

use std::sync::Arc;

use super::links::{Crossing, Goods};
use super::now;
use super::thread::Turner;
use crate::media::WorkerId;
use crate::plan::LegId;

/// Legs that move together, and who has a part in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) legs: Vec<LegId>,
    pub(super) from: WorkerId,
    pub(super) to: WorkerId,
    /// Of those among the legs that arrive on shared ports; never `from`.
    pub(super) homes: Vec<WorkerId>,
}

impl Move {
    /// All that have a part.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> + '_ {
        let homes = self.homes.iter().copied().filter(|home| *home != self.to);
        [self.from, self.to].into_iter().chain(homes)
    }
}

/// What other workers have said of a move that may not have been met in the mailbox yet.
#[derive(Debug)]
pub(super) enum Sign {
    Marked(Arc<Move>),
    Arrived(Arc<Move>),
    Settled(Arc<Move>),
}

/// A move in which this worker has a part.
#[derive(Debug)]
pub(super) struct Part {
    order: Arc<Move>,
    marked: bool,
}

impl Part {
    pub(super) fn new(order: Arc<Move>) -> Self {
        Self { order, marked: false }
    }
}

impl Turner {
    /// Goes on with the move that is under way and, when that is over, with the commands behind it.
    pub(super) fn move_on(&mut self) {
        while let Some(mut part) = self.part.take() {
            if !self.is_done(&mut part) {
                self.part = Some(part);
                return;
            }
            self.read_ports_again();
            self.take_commands();
        }
    }

    fn is_done(&mut self, part: &mut Part) -> bool {
        let order = Arc::clone(&part.order);
        // A worker that has ended answers no more: whatever is here stays here.
        if order.workers().any(|worker| self.outbox.links.is_gone(worker)) {
            return true;
        }
        if order.homes.contains(&self.worker) && !std::mem::replace(&mut part.marked, true) {
            // Muting cannot fail.
            let _ = self.outbox.mute(true);
            self.outbox.links.push(order.from, Crossing::Mark(Arc::clone(&order)));
        }
        if order.from == self.worker {
            return self.give(&order);
        }
        let arrives = order.to == self.worker;
        let before = self.signs.len();
        self.signs.retain(|sign| match sign {
            Sign::Arrived(of) => !(arrives && Arc::ptr_eq(of, &order)),
            Sign::Settled(of) => !Arc::ptr_eq(of, &order),
            Sign::Marked(_) => true,
        });
        self.signs.len() < before
    }

    /// Gives the legs, once all homes hold back; whether that has been done.
    fn give(&mut self, order: &Arc<Move>) -> bool {
        let is_mark = |sign: &Sign| matches!(sign, Sign::Marked(of) if Arc::ptr_eq(of, order));
        // What we have told the homes of these legs must be there before the taker says more.
        if self.signs.iter().filter(|sign| is_mark(sign)).count() < order.homes.len() || self.outbox.links.has_backlog() {
            return false;
        }
        self.signs.retain(|sign| !is_mark(sign));
        let mut parcel = self.core.extract(now(), &order.legs, order.to, &mut self.outbox);
        let ports: Vec<_> = parcel.ports().map(|ports| *ports).collect();
        let sockets = ports.into_iter().filter_map(|ports| self.outbox.take_pair(ports)).collect();
        self.outbox.links.push(order.to, Crossing::Goods(Arc::clone(order), Box::new(Goods { parcel, sockets })));
        true
    }

    /// Reads what other workers have for us, and answers how many datagrams that were.
    pub(super) fn read_links(&mut self) -> usize {
        // As with sockets: a command that was given before a datagram came is carried out before it.
        self.take_commands();
        self.arrivals.workers().map(|from| self.read_link(from)).sum()
    }

    fn read_link(&mut self, from: WorkerId) -> usize {
        let mut datagrams = 0;
        while let Some(crossing) = self.arrivals.pop(from) {
            match crossing {
                Crossing::Datagram(pair, mut slot) => {
                    self.core.handle_datagram(now(), pair, &mut slot, &mut self.outbox);
                    self.arrivals.give_back(from, slot);
                    datagrams += 1;
                }
                Crossing::Route(change) => self.core.handle_route(change),
                Crossing::Mark(order) => self.signs.push(Sign::Marked(order)),
                Crossing::Goods(order, goods) => self.take_in(order, *goods),
                Crossing::Settled(order) => {
                    // What the giver had told of the legs before.
                    datagrams += self.read_link(order.from);
                    order.legs.iter().for_each(|leg| self.core.moved(*leg, order.to));
                    self.signs.push(Sign::Settled(order));
                }
            }
        }
        datagrams
    }

    fn take_in(&mut self, order: Arc<Move>, Goods { mut parcel, sockets }: Goods) {
        for (ports, sockets) in parcel.ports().zip(sockets) {
            match self.outbox.adopt_pair(sockets, ports.local) {
                Ok(adopted) => *ports = adopted,
                // Deaf from now on, the leg ends by its own timers.
                Err(error) => tracing::error!(%error, "a leg that moved to another media worker cannot hear there"),
            }
        }
        self.core.adopt(now(), parcel, &mut self.outbox);
        for home in order.homes.iter().filter(|home| **home != self.worker) {
            self.outbox.links.push(*home, Crossing::Settled(Arc::clone(&order)));
        }
        self.signs.push(Sign::Arrived(order));
    }

    fn read_ports_again(&mut self) {
        if let Err(error) = self.outbox.mute(false) {
            tracing::error!(%error, "a shared media port cannot be read any more");
        }
    }
}
