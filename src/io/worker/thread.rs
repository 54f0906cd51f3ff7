use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::links::Arrivals;
use super::mailbox::Order;
use super::mmsg_sys::{EventFd, MAX_BATCH, Ready, RecvBatch, Token};
use super::moves::{Part, Sign};
use super::now;
use super::outbox::Outbox;
use super::pace::Pace;
use crate::base::Now;
use crate::media::{Core, Lookahead, Pair, SocketId, Totals, WorkerId};

/// Batches read from a shared socket before the others have their turn.
const BATCHES_A_TURN: usize = 8;

/// How soon waiting events are offered again.
const RETRY: Duration = Duration::from_millis(5);

/// No wait is longer: a safety net, not a clock.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The loop of one worker.
#[derive(Debug)]
pub(super) struct Turner {
    pub(super) worker: WorkerId,
    pub(super) core: Core,
    pub(super) outbox: Outbox,
    mailbox: rtrb::Consumer<Order>,
    pub(super) arrivals: Arrivals,
    /// The move that is under way; commands wait behind it.
    pub(super) part: Option<Part>,
    pub(super) signs: Vec<Sign>,
    wake: Arc<EventFd>,
    stop: Arc<AtomicBool>,
    batch: Box<RecvBatch>,
}

impl Turner {
    pub(super) fn new(
        worker: WorkerId,
        core: Core,
        outbox: Outbox,
        mailbox: rtrb::Consumer<Order>,
        arrivals: Arrivals,
        wake: Arc<EventFd>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let (part, signs) = (None, Vec::new());
        Self { worker, core, outbox, mailbox, arrivals, part, signs, wake, stop, batch: Box::default() }
    }

    /// Runs until it is told to stop; all that was counted.
    pub(super) fn run(mut self) -> Totals {
        let mut ready = Ready::default();
        let mut pace = Pace::new(now().mono);
        while !self.stop.load(Ordering::Acquire) {
            let wait = self.wait();
            self.outbox.epoll.wait(&mut ready, wait);
            // One time for all that has waited for this turn.
            let now = now();
            let (mut datagrams, mut more_wait) = (0, false);
            let (mut at, mut ahead) = (0, Lookahead::default());
            self.prefetch(&mut ahead, &ready, 1);
            while let Some(token) = ready.token(at) {
                self.prefetch(&mut ahead, &ready, at + 2);
                match token {
                    Token::Socket(socket) => {
                        let count = self.read(now, socket, ready.is_behind());
                        datagrams += count;
                        more_wait |= count == BATCHES_A_TURN * MAX_BATCH;
                    }
                    Token::Mailbox => self.wake.clear(),
                }
                at += 1;
            }
            datagrams += self.read_links();
            self.core.handle_timeout(now, &mut self.outbox);
            self.outbox.tell();
            self.take_commands();
            self.move_on();
            self.outbox.flush();
            self.outbox.links.flush();
            if let Some(rest) = pace.rest(Instant::now(), now.mono, datagrams, more_wait) {
                std::thread::sleep(rest);
            }
        }
        self.core.shutdown(now(), &mut self.outbox);
        self.outbox.flush();
        self.core.totals()
    }

    fn wait(&self) -> Duration {
        let due = self.core.poll_timeout().map(|(at, _)| at.saturating_duration_since(now().mono));
        let retry = (self.outbox.has_backlog() || self.outbox.links.has_backlog()).then_some(RETRY);
        due.into_iter().chain(retry).min().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    /// Brings into the cache what the socket at this place will need: from memory it takes as long as to carry a datagram.
    fn prefetch(&self, ahead: &mut Lookahead, ready: &Ready, at: usize) {
        let socket = match ready.token(at) {
            Some(Token::Socket(socket)) => Some(socket),
            Some(Token::Mailbox) | None => None,
        };
        socket.into_iter().for_each(|socket| self.outbox.prefetch(socket));
        self.core.prefetch(ahead, socket.map(|socket| (socket, None)));
    }

    /// Carries what a socket has, and answers how much. What a leg's own has more than is read at once, the next turns read.
    fn read(&mut self, now: Now, socket: SocketId, is_behind: bool) -> usize {
        let mut datagrams = 0;
        for _ in 0..BATCHES_A_TURN {
            let count = self.outbox.recv(socket, &mut self.batch, is_behind);
            // A command that was given before one of these was sent is carried out before it: nobody's first packet meets a
            // path that is not laid yet. (A socket's number that this gives back and out again is read as the new one.)
            self.take_commands();
            let mut ahead = Lookahead::default();
            self.core.prefetch(&mut ahead, (count > 1).then(|| (socket, self.batch.remote(1))));
            for at in 0..count {
                self.core.prefetch(&mut ahead, (at + 2 < count).then(|| (socket, self.batch.remote(at + 2))));
                let (slot, remote) = self.batch.received(at);
                match remote {
                    Some(remote) => self.core.handle_datagram(now, Pair { socket, remote }, slot, &mut self.outbox),
                    None => self.core.refuse_too_long(),
                }
            }
            datagrams += count;
            if count < MAX_BATCH {
                break;
            }
        }
        datagrams
    }

    pub(super) fn take_commands(&mut self) {
        while self.part.is_none() && !self.outbox.is_stalled() {
            match self.mailbox.pop() {
                Ok(Order::Media(command)) => self.core.handle_command(now(), command, &mut self.outbox),
                // Begun at the turn's end, when nothing that was read waits to be handled: that alone is heard before the
                // commands behind a move.
                Ok(Order::Move(order)) => self.part = Some(Part::new(order)),
                Err(rtrb::PopError::Empty) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::sync::mpsc;

    use super::super::links;
    use super::super::ports::PortPool;
    use super::*;
    use crate::base::Rng;
    use crate::media::{CoreConfig, DtlsIdentity};
    use crate::plan::{LegId, LegOpen, MediaCommand, RtpPort};

    #[test]
    fn a_worker_with_nothing_to_do_sleeps_as_long_as_it_may() {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        let wake = Arc::new(EventFd::new().unwrap());
        let (links, arrivals) = links::between(&[Arc::clone(&wake), Arc::new(EventFd::new().unwrap())]).swap_remove(0);
        let pool = PortPool::new(&[ip], 22_880..=22_899).unwrap();
        let outbox = Outbox::new(Vec::new(), 0..0, links, pool, 2, mpsc::channel(8).0, &wake).unwrap();
        let core = Core::new(CoreConfig {
            worker: WorkerId(0),
            sockets: Vec::new(),
            ports: Vec::new(),
            max_legs: 4,
            music: [].into(),
            rtp_timeout: None,
            rtp_hold_timeout: None,
            identity: DtlsIdentity::generate().unwrap(),
            rng: Rng::from_number(1),
        });
        let (_, orders) = rtrb::RingBuffer::new(4);
        let mut turner = Turner::new(WorkerId(0), core, outbox, orders, arrivals, wake, Arc::default());
        assert_eq!(turner.wait(), LONGEST_WAIT);
        // With legs of either kind that nobody speaks on, too.
        let browser = LegOpen::WebRtc { ice_ufrag: "u".to_owned(), ice_pwd: "0123456789012345678901".to_owned() };
        for (n, how) in [LegOpen::Rtp { local: ip, port: RtpPort::Own }, browser].into_iter().enumerate() {
            let open = MediaCommand::Open { leg: LegId(n as u64), how, beside: None };
            turner.core.handle_command(now(), open, &mut turner.outbox);
        }
        assert_eq!((turner.core.leg_count(), turner.wait()), (2, LONGEST_WAIT));
    }
}
