//! The media workers: each one thread that owns its sockets, its slots and its media legs; [`Workers`] is the front that knows
//! which leg is where.
//!
//! Each binds one UDP port for its browser legs, on each configured address and never on a wildcard (ICE must know where a
//! check arrived), a pair for all classic legs whose far side sends from where its SDP says, and one more for each other classic
//! leg when that is opened. A turn: wait for sockets, mailbox, other workers or deadline; read datagrams into slots, from shared
//! ports in batches; hand each to [`Core`](crate::media::Core); send what that made, in batches; tell events. With nothing to do
//! it sleeps, and unless it is busy it waits for a few datagrams (`pace`); while it carries one, the legs of the next two are
//! brought into the cache; when it has fallen behind, it reads a few of each leg's own port together.
//!
//! **Legs that hear each other are with one worker** (`roster`), so that a packet meets no second thread. A call's legs are opened
//! beside each other; one that is to hear a leg of another worker moves there first, with all that it is tied to and without a
//! gap (`moves`). A leg with sockets of its own takes them along. Whoever sends to a shared port goes on sending to it; its worker hands
//! the datagrams over (`links`), and the answer leaves from that port's socket: nobody notices.
//!
//! **Queues and what happens when they are full.** Commands wait in a ring of [`MAILBOX`] a worker; when it is full
//! [`Workers::send`] says so and gives the command back. Events go to the caller's channel; while that is full they wait here
//! in order, none is lost, and from [`EVENT_BACKLOG`] on no more commands are taken, so that the mailbox fills and the
//! engine hears of it. Between two workers [`LINK_DATAGRAMS`] may be under way; more are dropped and counted
//! ([`Traffic::not_taken_over`](crate::media::Traffic)), while legs on their way and news of them wait with their sender. A
//! datagram that the kernel will not take is dropped, as the network would.

mod links;
mod mailbox;
mod mmsg_sys;
mod moves;
mod outbox;
mod pace;
mod ports;
mod roster;
mod start;
mod thread;

pub use mailbox::{MailboxFull, MoveError, Workers};

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use crate::base::Now;
use crate::media::DtlsIdentity;
use crate::plan::MediaEvent;

/// Commands that may wait for a worker.
pub const MAILBOX: usize = 4_096;

/// Events that may wait for the engine before a worker takes no more commands.
pub const EVENT_BACKLOG: usize = 1_024;

/// Datagrams that may be under way from one worker to another.
pub const LINK_DATAGRAMS: usize = 256;

/// What the workers are started with.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// The gateway's own addresses, IPv4 and IPv6, none of them a wildcard.
    pub addresses: Vec<IpAddr>,
    /// How many; at least one.
    pub workers: usize,
    /// The port of the first one's browser legs, the same on each address; the others' follow. 0 takes any that are free.
    pub webrtc_port: u16,
    /// Ports of classic legs: RTP on even ones, RTCP on the odd ones behind. On each address the first free pairs are shared ones,
    /// one a worker.
    pub rtp_ports: RangeInclusive<u16>,
    /// Legs at one time with each worker: two a call, and one for each further phone that rings for it.
    pub max_legs: usize,
    /// Hold music, mono at 8,000 Hz, played over and over.
    pub music: Arc<[i16]>,
    /// A far side that should send and is silent for so long has failed; none is for ever.
    pub rtp_timeout: Option<Duration>,
    /// The same on hold.
    pub rtp_hold_timeout: Option<Duration>,
    /// From the operating system's generator; the same seed gives the same SSRCs and first numbers.
    pub seed: [u8; 32],
    /// The gateway's certificate.
    pub identity: DtlsIdentity,
}

/// Binds the shared sockets and starts the threads. `events` receives what [`Workers::send`]'s commands lead to.
///
/// # Errors
/// Which address and port could not be bound and why, a range without a pair of ports, no address, no worker, or no thread.
pub fn start(config: WorkerConfig, events: mpsc::Sender<MediaEvent>) -> io::Result<Workers> {
    start::start(config, events)
}

/// Both clocks, read once a turn.
fn now() -> Now {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::now(), unix }
}

fn named(addr: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("media worker: UDP {addr} cannot be bound: {error}"))
}
