use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use socket2::Socket;
use tokio::sync::mpsc;

use super::links::{self, Arrivals, Links};
use super::mailbox::{Handle, Workers};
use super::mmsg_sys::{EventFd, widen};
use super::outbox::Outbox;
use super::ports::{self, PortPool};
use super::thread::Turner;
use super::{MAILBOX, WorkerConfig, named};
use crate::base::Rng;
use crate::media::{Core, CoreConfig, PortPair, SocketId, WorkerId};
use crate::plan::MediaEvent;

/// Of a port that many legs share: room for what comes for 400 of them within a quarter of a second.
const SHARED_BUFFER_BYTES: usize = 4 << 20;

/// What all workers have together.
struct Common {
    config: WorkerConfig,
    shared: Shared,
    pool: PortPool,
    events: mpsc::Sender<MediaEvent>,
    stop: Arc<AtomicBool>,
}

pub(super) fn start(config: WorkerConfig, events: mpsc::Sender<MediaEvent>) -> io::Result<Workers> {
    let pool = PortPool::new(&config.addresses, config.rtp_ports.clone())?;
    let shared = bind_shared(&config, &pool)?;
    let webrtc_port = shared.of_workers.first().and_then(|ports| ports.webrtc.first()).map_or(0, |(_, addr)| addr.port());
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
    Ok(Workers::new(handles, common.stop, common.shared.sockets, webrtc_port))
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
        let SharedPorts { ids, webrtc, rtp } = self.shared.of_workers[usize::from(worker.0)].clone();
        let (sockets, pool, events) = (self.shared.sockets.clone(), self.pool.clone(), self.events.clone());
        let outbox = Outbox::new(sockets, ids, links, pool, config.workers, events, &wake)?;
        let core = Core::new(CoreConfig {
            worker,
            sockets: webrtc,
            ports: rtp,
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

/// The ports that legs share.
#[derive(Default)]
struct Shared {
    /// All of them, by their numbers.
    sockets: Vec<Arc<Socket>>,
    of_workers: Vec<SharedPorts>,
}

/// One worker's, on each address.
#[derive(Clone)]
struct SharedPorts {
    ids: Range<u32>,
    /// Of browser legs.
    webrtc: Vec<(SocketId, SocketAddr)>,
    /// Of classic legs whose far side sends from where its SDP says.
    rtp: Vec<PortPair>,
}

impl Shared {
    fn add(&mut self, socket: Socket) -> SocketId {
        widen(&socket, SHARED_BUFFER_BYTES);
        self.sockets.push(Arc::new(socket));
        SocketId(self.sockets.len() as u32 - 1)
    }

    fn next_id(&self) -> u32 {
        self.sockets.len() as u32
    }
}

/// Each worker's ports on every address, worker by worker.
fn bind_shared(config: &WorkerConfig, pool: &PortPool) -> io::Result<Shared> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    if config.addresses.is_empty() || config.workers == 0 {
        return Err(invalid("media worker: there must be one, and an address for it".to_owned()));
    }
    if let Some(addr) = config.addresses.iter().find(|addr| addr.is_unspecified()) {
        return Err(invalid(format!("media worker: {addr} is a wildcard; media needs the addresses themselves")));
    }
    let mut shared = Shared::default();
    for worker in 0..config.workers {
        let port = match config.webrtc_port {
            0 => 0,
            first => u16::try_from(usize::from(first) + worker)
                .map_err(|_| invalid(format!("media worker: {} ports from {first} on are too many", config.workers)))?,
        };
        let first = shared.next_id();
        let webrtc = bind_one(config, port)?.into_iter().map(|(socket, addr)| (shared.add(socket), addr)).collect();
        let mut rtp = Vec::with_capacity(config.addresses.len());
        for ip in &config.addresses {
            let (low, high) = (config.rtp_ports.start(), config.rtp_ports.end());
            let (even, local, odd) = pool.bind(*ip).map_err(|_| {
                let text = format!("media worker: RTP ports {low} to {high} hold no free pair on {ip} for worker {worker}");
                io::Error::new(io::ErrorKind::AddrInUse, text)
            })?;
            rtp.push(PortPair { rtp: shared.add(even), rtcp: shared.add(odd), local });
        }
        shared.of_workers.push(SharedPorts { ids: first..shared.next_id(), webrtc, rtp });
    }
    Ok(shared)
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
        port = addr.port();
        bound.push((socket, addr));
    }
    Ok(bound)
}
