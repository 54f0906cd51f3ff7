use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use socket2::Socket;
use tokio::sync::mpsc;

use super::links::{self, Arrivals, Links};
use super::mailbox::{Handle, Workers};
use super::mmsg_sys::EventFd;
use super::outbox::Outbox;
use super::ports::{self, PortPool};
use super::thread::Turner;
use super::{MAILBOX, WorkerConfig, named};
use crate::base::Rng;
use crate::media::{Core, CoreConfig, SocketId, WorkerId};
use crate::plan::MediaEvent;

/// What all workers have together.
struct Common {
    config: WorkerConfig,
    /// Every worker's port on every address, in the order of their numbers.
    shared: Vec<(Arc<Socket>, SocketAddr)>,
    pool: PortPool,
    events: mpsc::Sender<MediaEvent>,
    stop: Arc<AtomicBool>,
}

pub(super) fn start(config: WorkerConfig, events: mpsc::Sender<MediaEvent>) -> io::Result<Workers> {
    let shared = bind_shared(&config)?;
    let webrtc_port = shared.first().map_or(0, |(_, addr)| addr.port());
    let pool = PortPool::new(&config.addresses, config.rtp_ports.clone())?;
    let wakes: Vec<_> = (0..config.workers).map(|_| EventFd::new().map(Arc::new)).collect::<io::Result<_>>()?;
    let mut rng = Rng::from_seed(config.seed);
    let common = Common { config, shared, pool, events, stop: Arc::new(AtomicBool::new(false)) };
    let mut handles = Vec::with_capacity(wakes.len());
    for (at, (links, wake)) in links::between(&wakes).into_iter().zip(wakes).enumerate() {
        let mut seed = [0; 32];
        rng.fill(&mut seed);
        let handle = common.start_one(WorkerId(at as u16), links, wake, Rng::from_seed(seed));
        // Those that run already must not outlive this.
        handles.push(handle.inspect_err(|_| common.stop.store(true, std::sync::atomic::Ordering::Release))?);
    }
    Ok(Workers::new(handles, common.stop, webrtc_port))
}

impl Common {
    fn start_one(
        &self,
        worker: WorkerId,
        (links, arrivals): (Links, Arrivals),
        wake: Arc<EventFd>,
        rng: Rng,
    ) -> io::Result<Handle> {
        let config = &self.config;
        let addresses = config.addresses.len() as u32;
        let own = u32::from(worker.0) * addresses..(u32::from(worker.0) + 1) * addresses;
        let sockets = own.clone().map(|id| (SocketId(id), self.shared[id as usize].1)).collect();
        let shared = self.shared.iter().map(|(socket, _)| Arc::clone(socket)).collect();
        let outbox = Outbox::new(shared, own, links, self.pool.clone(), config.workers, self.events.clone(), &wake)?;
        let core = Core::new(CoreConfig {
            worker,
            sockets,
            max_legs: config.max_legs,
            music: Arc::clone(&config.music),
            rtp_timeout: config.rtp_timeout,
            rtp_hold_timeout: config.rtp_hold_timeout,
            identity: config.identity.clone(),
            rng,
        });
        let (mailbox, orders) = rtrb::RingBuffer::new(MAILBOX);
        let turner = Turner::new(worker, core, outbox, orders, arrivals, Arc::clone(&wake), Arc::clone(&self.stop));
        let thread = std::thread::Builder::new().name(format!("media-{}", worker.0)).spawn(move || turner.run())?;
        Ok(Handle { mailbox, wake, unread: false, thread: Some(thread) })
    }
}

/// Each worker's port on every address, worker by worker.
fn bind_shared(config: &WorkerConfig) -> io::Result<Vec<(Arc<Socket>, SocketAddr)>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    if config.addresses.is_empty() || config.workers == 0 {
        return Err(invalid("media worker: there must be one, and an address for it".to_owned()));
    }
    if let Some(addr) = config.addresses.iter().find(|addr| addr.is_unspecified()) {
        return Err(invalid(format!("media worker: {addr} is a wildcard; media needs the addresses themselves")));
    }
    let mut bound = Vec::new();
    for worker in 0..config.workers {
        let port = match config.webrtc_port {
            0 => 0,
            first => u16::try_from(usize::from(first) + worker)
                .map_err(|_| invalid(format!("media worker: {} ports from {first} on are too many", config.workers)))?,
        };
        bound.extend(bind_one(config, port)?);
    }
    Ok(bound.into_iter().map(|(socket, addr)| (Arc::new(socket), addr)).collect())
}

/// One port on every address. With port 0 the first address chooses and the others follow, anew if they cannot.
fn bind_one(config: &WorkerConfig, port: u16) -> io::Result<Vec<(Socket, SocketAddr)>> {
    let attempts = if port == 0 { 16 } else { 1 };
    let mut last = None;
    for _ in 0..attempts {
        match bind_all(config, port) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("at least one attempt was made"))
}

fn bind_all(config: &WorkerConfig, mut port: u16) -> io::Result<Vec<(Socket, SocketAddr)>> {
    let mut bound = Vec::new();
    for ip in &config.addresses {
        let wanted = SocketAddr::new(*ip, port);
        let socket = ports::bind_udp(wanted).map_err(|error| named(wanted, &error))?;
        let addr = socket.local_addr()?.as_socket().unwrap_or(wanted);
        // Many browsers share it: room for a burst of all of them. The kernel may give less.
        let _ = socket.set_recv_buffer_size(4 << 20);
        let _ = socket.set_send_buffer_size(4 << 20);
        port = addr.port();
        bound.push((socket, addr));
    }
    Ok(bound)
}
