use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::mmsg_sys::{EventFd, MAX_BATCH, Ready, RecvBatch, Token};
use super::now;
use super::outbox::Outbox;
use crate::media::{Core, Pair, SocketId};
use crate::plan::MediaCommand;

/// Batches read from a shared socket before the others have their turn.
const BATCHES_A_TURN: usize = 4;

/// A turn begins no sooner than this after the one before, once that had [`BUSY`] datagrams or more to carry: under load each turn
/// then finds many, and going to sleep and waking up for each would cost more than all else. Half of it is what a packet waits.
const PACE: Duration = Duration::from_micros(500);

/// With fewer datagrams in a turn, each is carried as it comes.
const BUSY: usize = 2;

/// How soon waiting events are offered again.
const RETRY: Duration = Duration::from_millis(5);

/// No wait is longer: a safety net, not a clock.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The loop of one worker.
#[derive(Debug)]
pub(super) struct Turner {
    core: Core,
    outbox: Outbox,
    mailbox: rtrb::Consumer<MediaCommand>,
    wake: Arc<EventFd>,
    stop: Arc<AtomicBool>,
    batch: Box<RecvBatch>,
}

impl Turner {
    pub(super) fn new(
        core: Core,
        outbox: Outbox,
        mailbox: rtrb::Consumer<MediaCommand>,
        wake: Arc<EventFd>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self { core, outbox, mailbox, wake, stop, batch: Box::default() }
    }

    pub(super) fn run(mut self) {
        let mut ready = Ready::default();
        while !self.stop.load(Ordering::Acquire) {
            let wait = self.wait();
            let count = self.outbox.epoll.wait(&mut ready, wait);
            let begun = Instant::now();
            let mut carried = 0;
            for token in ready.tokens(count) {
                match token {
                    Token::Socket(socket) => carried += self.read(socket),
                    Token::Mailbox => self.wake.clear(),
                }
            }
            self.core.handle_timeout(now(), &mut self.outbox);
            self.outbox.tell();
            self.take_commands();
            self.outbox.flush();
            if carried >= BUSY {
                std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
            }
        }
        self.core.shutdown(now(), &mut self.outbox);
        self.outbox.flush();
    }

    fn wait(&self) -> Duration {
        let due = self.core.poll_timeout().map(|(at, _)| at.saturating_duration_since(now().mono));
        let retry = self.outbox.has_backlog().then_some(RETRY);
        due.into_iter().chain(retry).min().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    /// Carries what a socket has, and answers how much that was. A leg's own has one datagram in a turn, or a few, which the next
    /// turns read.
    fn read(&mut self, socket: SocketId) -> usize {
        let (batches, at_most) = if self.outbox.is_shared(socket) { (BATCHES_A_TURN, MAX_BATCH) } else { (1, 1) };
        let mut carried = 0;
        for _ in 0..batches {
            let count = self.outbox.recv(socket, &mut self.batch, at_most);
            carried += count;
            // A command that was given before one of these was sent is carried out before it: nobody's first packet meets a
            // path that is not laid yet. (A socket's number that this gives back and out again is read as the new one.)
            self.take_commands();
            let now = now();
            for at in 0..count {
                let (slot, remote) = self.batch.received(at);
                if let Some(remote) = remote {
                    self.core.handle_datagram(now, Pair { socket, remote }, slot, &mut self.outbox);
                }
            }
            if count < at_most {
                break;
            }
        }
        carried
    }

    fn take_commands(&mut self) {
        while !self.outbox.is_stalled() {
            let Ok(command) = self.mailbox.pop() else { return };
            self.core.handle_command(now(), command, &mut self.outbox);
        }
    }
}
