use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use socket2::Socket;
use tokio::sync::mpsc;

use super::mmsg_sys::EventFd;
use super::outbox::Outbox;
use super::ports::{self, PortPool};
use super::thread::Turner;
use super::{MAILBOX, WorkerConfig, named};
use crate::base::Rng;
use crate::media::{Core, CoreConfig};
use crate::plan::{MediaCommand, MediaEvent};

/// The worker is behind by a whole mailbox; the command is given back.
#[derive(Debug, PartialEq, Eq)]
pub struct MailboxFull(pub Box<MediaCommand>);

impl fmt::Display for MailboxFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the media worker's mailbox is full")
    }
}

impl std::error::Error for MailboxFull {}

/// A running worker. Dropped, it is stopped without waiting; [`Worker::stop`] waits.
#[derive(Debug)]
pub struct Worker {
    commands: rtrb::Producer<MediaCommand>,
    wake: Arc<EventFd>,
    unread: bool,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    webrtc_port: u16,
}

impl Worker {
    /// Puts a command into the mailbox. The worker sees it at its next turn; [`Worker::wake`] makes that now.
    ///
    /// # Errors
    /// The mailbox is full.
    pub fn send(&mut self, command: MediaCommand) -> Result<(), MailboxFull> {
        self.unread = true;
        self.commands.push(command).map_err(|rtrb::PushError::Full(command)| MailboxFull(Box::new(command)))
    }

    /// Wakes the worker if anything was sent since the last time: once for all that belongs together.
    pub fn wake(&mut self) {
        if std::mem::take(&mut self.unread) {
            self.wake.ring();
        }
    }

    /// The port of all browser legs.
    #[must_use]
    pub fn webrtc_port(&self) -> u16 {
        self.webrtc_port
    }

    /// Ends all legs, closes all sockets and waits for the thread.
    pub fn stop(mut self) {
        self.halt();
        if let Some(thread) = self.thread.take() {
            // A worker that panicked has ended too, and has said why on its way.
            let _ = thread.join();
        }
    }

    fn halt(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake.ring();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.halt();
    }
}

pub(super) fn start(config: WorkerConfig, events: mpsc::Sender<MediaEvent>) -> io::Result<Worker> {
    let shared = bind_shared(&config)?;
    let webrtc_port = shared.first().map_or(0, |(_, addr)| addr.port());
    let pool = PortPool::new(config.addresses.clone(), config.rtp_ports.clone())?;
    let wake = Arc::new(EventFd::new()?);
    let mut outbox = Outbox::new(pool, events, Arc::clone(&wake))?;
    let sockets = shared.into_iter().map(|(socket, addr)| outbox.adopt(socket).map(|id| (id, addr)));
    let sockets: Vec<_> = sockets.collect::<io::Result<_>>()?;
    outbox.shared = sockets.len() as u32;
    let core = Core::new(CoreConfig {
        sockets,
        max_legs: config.max_legs,
        music: config.music,
        rtp_timeout: config.rtp_timeout,
        rtp_hold_timeout: config.rtp_hold_timeout,
        identity: config.identity,
        rng: Rng::from_seed(config.seed),
    });
    let (commands, mailbox) = rtrb::RingBuffer::new(MAILBOX);
    let stop = Arc::new(AtomicBool::new(false));
    let turner = Turner::new(core, outbox, mailbox, Arc::clone(&wake), Arc::clone(&stop));
    let thread = std::thread::Builder::new().name("media-0".into()).spawn(move || turner.run())?;
    Ok(Worker { commands, wake, unread: false, stop, thread: Some(thread), webrtc_port })
}

/// The shared port on every address. With port 0 the first address chooses and the others follow, anew if they cannot.
fn bind_shared(config: &WorkerConfig) -> io::Result<Vec<(Socket, SocketAddr)>> {
    if config.addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "media worker: no address is configured"));
    }
    if let Some(addr) = config.addresses.iter().find(|addr| addr.is_unspecified()) {
        let text = format!("media worker: {addr} is a wildcard; media needs the addresses themselves");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let attempts = if config.webrtc_port == 0 { 16 } else { 1 };
    let mut last = None;
    for _ in 0..attempts {
        match bind_all(config) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("at least one attempt was made"))
}

fn bind_all(config: &WorkerConfig) -> io::Result<Vec<(Socket, SocketAddr)>> {
    let (mut bound, mut port) = (Vec::new(), config.webrtc_port);
    for ip in &config.addresses {
        let wanted = SocketAddr::new(*ip, port);
        let socket = ports::bind_udp(wanted).map_err(|error| named(wanted, &error))?;
        let addr = socket.local_addr()?.as_socket().unwrap_or(wanted);
        // All browsers share it: room for a burst of all of them. The kernel may give less.
        let _ = socket.set_recv_buffer_size(4 << 20);
        let _ = socket.set_send_buffer_size(4 << 20);
        port = addr.port();
        bound.push((socket, addr));
    }
    Ok(bound)
}
