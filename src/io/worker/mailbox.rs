use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use socket2::Socket;

use super::mmsg_sys::{EventFd, lost_unread};
use super::moves::Move;
use super::roster::Roster;
use crate::media::{Totals, WorkerId};
use crate::plan::{LegId, LegOpen, MediaCommand, MediaEvent, RtpPort};

/// A worker is behind by a whole mailbox; the command is given back.
#[derive(Debug, PartialEq, Eq)]
pub struct MailboxFull(pub Box<MediaCommand>);

impl fmt::Display for MailboxFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the media worker's mailbox is full")
    }
}

impl std::error::Error for MailboxFull {}

/// Why a leg stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveError {
    /// It is not open.
    NoSuchLeg,
    /// There are fewer workers.
    NoSuchWorker,
    /// A worker that has a part in it is behind by a whole mailbox.
    MailboxFull,
}

impl fmt::Display for MoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchLeg => "no such media leg",
            Self::NoSuchWorker => "no such media worker",
            Self::MailboxFull => "a media worker's mailbox is full",
        })
    }
}

impl std::error::Error for MoveError {}

/// What a worker's mailbox holds.
#[derive(Debug)]
pub(super) enum Order {
    /// For its core.
    Media(MediaCommand),
    /// It has a part in it.
    Move(Arc<Move>),
}

/// One worker, seen from outside.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) mailbox: rtrb::Producer<Order>,
    pub(super) wake: Arc<EventFd>,
    pub(super) unread: bool,
    pub(super) thread: Option<JoinHandle<Totals>>,
}

impl Handle {
    fn has_room_for(&self, orders: usize) -> bool {
        self.mailbox.slots() >= orders
    }

    /// There is room: who asks first is the only one to write.
    fn push(&mut self, order: Order) {
        self.unread = true;
        let _ = self.mailbox.push(order);
    }
}

/// The running workers. Dropped, they are stopped without waiting; [`Workers::stop`] waits.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    roster: Roster,
    stop: Arc<AtomicBool>,
    /// The ports that legs share.
    shared: Vec<Arc<Socket>>,
    webrtc_port: u16,
}

impl Workers {
    pub(super) fn new(handles: Vec<Handle>, stop: Arc<AtomicBool>, shared: Vec<Arc<Socket>>, webrtc_port: u16) -> Self {
        let roster = Roster::new(handles.len());
        Self { handles, roster, stop, shared, webrtc_port }
    }

    /// Puts a command into the mailbox of the worker that its leg is with; a leg that is to hear one of another worker moves
    /// there first. The worker sees it at its next turn; [`Workers::wake`] makes that now.
    ///
    /// # Errors
    /// A mailbox is full.
    pub fn send(&mut self, command: MediaCommand) -> Result<(), MailboxFull> {
        let at = match &command {
            MediaCommand::Open { leg, beside, .. } => self.roster.choose(*leg, *beside),
            MediaCommand::SetPath { leg, hears, .. } => match self.roster.calls_away(*leg, *hears) {
                Some(there) if self.relocate(*leg, there).is_err() => return Err(MailboxFull(Box::new(command))),
                Some(there) => there,
                None => self.at(*leg),
            },
            MediaCommand::SetRemote { leg, .. }
            | MediaCommand::RestartIce { leg, .. }
            | MediaCommand::Dtmf { leg, .. }
            | MediaCommand::Close { leg } => self.at(*leg),
        };
        let handle = &mut self.handles[usize::from(at.0)];
        if !handle.has_room_for(1) {
            return Err(MailboxFull(Box::new(command)));
        }
        match &command {
            MediaCommand::Open { leg, how, .. } => {
                let own = matches!(how, LegOpen::Rtp { port: RtpPort::Own, .. });
                self.roster.open(*leg, at, !own);
            }
            MediaCommand::SetPath { leg, hears, .. } => self.roster.hear(*leg, *hears),
            _ => {}
        }
        handle.push(Order::Media(command));
        Ok(())
    }

    /// The worker of a leg; for one that is not open any, which answers a Close and ignores all else.
    fn at(&self, leg: LegId) -> WorkerId {
        self.roster.at(leg).unwrap_or(WorkerId(0))
    }

    /// Moves a leg, and all that it hears or that hear it, to another worker, without a gap in what their far sides hear.
    ///
    /// # Errors
    /// Why it stays.
    pub fn move_leg(&mut self, leg: LegId, to: WorkerId) -> Result<(), MoveError> {
        if usize::from(to.0) >= self.handles.len() {
            return Err(MoveError::NoSuchWorker);
        }
        match self.roster.at(leg) {
            None => Err(MoveError::NoSuchLeg),
            Some(from) if from == to => Ok(()),
            Some(_) => self.relocate(leg, to),
        }
    }

    fn relocate(&mut self, leg: LegId, to: WorkerId) -> Result<(), MoveError> {
        let from = self.roster.at(leg).ok_or(MoveError::NoSuchLeg)?;
        let legs = self.roster.party(leg);
        let homes = self.roster.homes(&legs).into_iter().filter(|home| *home != from).collect();
        let order = Arc::new(Move { legs, from, to, homes });
        // All or none, and room for what is to be said to the leg there.
        if order.workers().any(|worker| !self.handles[usize::from(worker.0)].has_room_for(2)) {
            return Err(MoveError::MailboxFull);
        }
        for worker in order.workers() {
            self.handles[usize::from(worker.0)].push(Order::Move(Arc::clone(&order)));
        }
        self.roster.relocate(&order.legs, to);
        Ok(())
    }

    /// To be told each event on its way to the engine: legs that have ended are forgotten.
    pub fn note(&mut self, event: &MediaEvent) {
        if let MediaEvent::Closed { leg, .. } | MediaEvent::OpenFailed { leg, .. } = event {
            self.roster.forget(*leg);
        }
    }

    /// With which worker a leg is.
    #[must_use]
    pub fn worker_of(&self, leg: LegId) -> Option<WorkerId> {
        self.roster.at(leg)
    }

    /// Wakes the workers that anything was sent to since the last time: once for all that belongs together.
    pub fn wake(&mut self) {
        for handle in &mut self.handles {
            if std::mem::take(&mut handle.unread) {
                handle.wake.ring();
            }
        }
    }

    /// The first worker's port for browser legs.
    #[must_use]
    pub fn webrtc_port(&self) -> u16 {
        self.webrtc_port
    }

    /// Ends all legs, closes all sockets, waits for the threads, and says in the log what became of every packet.
    pub fn stop(mut self) -> Totals {
        self.halt();
        let mut totals = Totals::default();
        for thread in self.handles.iter_mut().filter_map(|handle| handle.thread.take()) {
            // A worker that panicked has ended too, and has said why on its way.
            totals += thread.join().unwrap_or_default();
        }
        let Totals { traffic, legs } = &totals;
        let dropped: Vec<_> = legs.drops().collect();
        let (sent_on, held, sent) = (legs.sent, legs.held, legs.tx);
        tracing::info!(?traffic, sent_on, held, ?dropped, sent, "what media received, and what became of it");
        let unread: u64 = self.shared.iter().map(|socket| lost_unread(socket)).sum();
        if unread > 0 {
            tracing::warn!(
                unread,
                "media came faster than it was read: the kernel threw some away (more cores, or a larger net.core.rmem_max)"
            );
        }
        totals
    }

    fn halt(&self) {
        self.stop.store(true, Ordering::Release);
        self.handles.iter().for_each(|handle| handle.wake.ring());
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.halt();
    }
}
