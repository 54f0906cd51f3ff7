use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use super::udp::Datagram;
use super::{NetEvent, QUEUE, UdpSockets};
use crate::base::Now;
use crate::io::store::{StoreError, StoreHandle};
use crate::io::worker::Workers;
use crate::plan::{MediaCommand, MediaEvent};
use crate::signalling::engine::{Engine, Input, Output, QueryId, Unavailable};
use crate::signalling::message::{KeepError, Letter};
use crate::signalling::record::{CallRecord, TraceRecord};
use crate::signalling::{ConnectionId, Flow};

/// What is to be written waits no longer than this for more of it.
const GATHER: Duration = Duration::from_millis(100);
/// And no more of it waits than this.
const MAX_GATHERED: usize = 4_096;
/// How much of each kind is done before timers are looked at again.
const AT_ONCE: usize = 256;
/// A datagram of so many bytes or fewer keeps a NAT open and says nothing.
const KEEP_ALIVE: usize = 4;
/// A turn begins no sooner than this after the last one's end: what comes alone is done at once, and under load a turn finds several
/// things to do. Going to sleep and waking up, here and in the threads that are told of it, would cost more than what is done in
/// between.
const PACE: Duration = Duration::from_millis(1);
/// How long calls may take to end when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(2);

/// The engine and all that it speaks to.
pub struct Driver {
    /// The one owner of signalling.
    pub engine: Engine,
    /// SIP sockets.
    pub udp: UdpSockets,
    /// What the web port's sockets say; its other end is theirs.
    pub events: mpsc::Receiver<NetEvent>,
    /// The media half.
    pub worker: Workers,
    /// What it reports.
    pub media: mpsc::Receiver<MediaEvent>,
    /// The database.
    pub store: StoreHandle,
}

/// The running state beside the engine.
struct Running {
    engine: Engine,
    udp: UdpSockets,
    connections: BTreeMap<ConnectionId, mpsc::Sender<Bytes>>,
    worker: Workers,
    store: StoreHandle,
    answers: mpsc::Sender<Input>,
    /// What the engine hears instead of the answers that the store had no room to give.
    refused: Vec<Input>,
    /// What is to be written, gathered for a moment: a transaction costs more than what it writes.
    calls: Vec<CallRecord>,
    trace: Vec<TraceRecord>,
    write_at: Option<Instant>,
    out: Vec<Output>,
}

#[allow(clippy::disallowed_methods)]
fn now() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { mono: Instant::now(), unix }
}

/// Runs the engine until `stop` is said; then every call is ended, and what there is to say is said.
pub async fn drive(driver: Driver, mut stop: oneshot::Receiver<()>) {
    let Driver { engine, udp, mut events, worker, mut media, store } = driver;
    // Every question holds a place in the transaction table, which is bounded; this queue need not be longer.
    let (answers, mut answered) = mpsc::channel(QUEUE);
    let mut running = Running {
        engine,
        udp,
        connections: BTreeMap::new(),
        worker,
        store,
        answers,
        refused: Vec::new(),
        calls: Vec::new(),
        trace: Vec::new(),
        write_at: None,
        out: Vec::new(),
    };
    let mut next_turn = tokio::time::Instant::now();
    loop {
        let deadline = running.engine.poll_timeout().map(|(at, _)| at).into_iter().chain(running.write_at).min();
        let timer = async {
            match deadline {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = &mut stop => break,
            Some(event) = media.recv() => running.on_media(event),
            Some(answer) = answered.recv() => running.input(answer),
            () = timer => running.on_timeout(),
            Some(event) = events.recv() => running.on_event(event),
            () = running.udp.readable() => {}
        }
        if tokio::time::Instant::now() < next_turn {
            sleep_until(next_turn).await;
        }
        for _ in 0..AT_ONCE {
            let mut idle = true;
            // One of each kind, so that none keeps the others waiting.
            if let Ok(event) = media.try_recv() {
                running.on_media(event);
                idle = false;
            }
            if let Ok(answer) = answered.try_recv() {
                running.input(answer);
                idle = false;
            }
            if let Ok(event) = events.try_recv() {
                running.on_event(event);
                idle = false;
            }
            if let Some(datagram) = running.udp.read() {
                running.on_datagram(datagram);
                idle = false;
            }
            if idle {
                break;
            }
        }
        running.worker.wake();
        running.gather();
        next_turn = tokio::time::Instant::now() + PACE;
    }
    running.input(Input::ShutDown);
    running.worker.wake();
    // The last BYEs are on their way; media's last counts come for the records.
    let _ = timeout(FAREWELL, async {
        while running.engine.census().calls > 0 {
            tokio::select! {
                Some(event) = media.recv() => running.on_media(event),
                Some(event) = events.recv() => running.on_event(event),
                () = running.udp.readable() => {}
            }
            // No more than so many: a flood shall not hold up the end.
            for datagram in (0..AT_ONCE).map_while(|_| running.udp.read()).collect::<Vec<_>>() {
                running.on_datagram(datagram);
            }
            running.worker.wake();
        }
    })
    .await;
    // The store's thread may be about to answer: nobody listens any more.
    drop(answered);
    running.write();
    running.worker.stop();
    running.store.stop();
}

impl Running {
    fn on_event(&mut self, event: NetEvent) {
        let input = match event {
            NetEvent::Opened { connection, about, tx } => {
                self.connections.insert(connection, tx);
                Input::Opened { connection, about }
            }
            NetEvent::Closed { connection } => {
                self.connections.remove(&connection);
                Input::Closed { connection }
            }
            NetEvent::Frame { connection, bytes } => Input::Message { flow: Flow::WebSocket(connection), bytes },
        };
        self.input(input);
    }

    fn on_datagram(&mut self, Datagram { local, remote, bytes }: Datagram) {
        // RFC 5626 section 3.5.1's keep-alive over UDP is STUN; many phones send line ends or a NUL instead.
        if bytes.len() <= KEEP_ALIVE {
            return;
        }
        self.input(Input::Message { flow: Flow::Udp { local, remote }, bytes });
    }

    fn on_media(&mut self, event: MediaEvent) {
        self.worker.note(&event);
        self.input(Input::Media(event));
    }

    /// Gives what has been gathered to the store, when it is time.
    #[allow(clippy::disallowed_methods)]
    fn gather(&mut self) {
        if self.calls.is_empty() && self.trace.is_empty() {
            return;
        }
        let now = Instant::now();
        let due = *self.write_at.get_or_insert(now + GATHER);
        if due <= now || self.trace.len() >= MAX_GATHERED {
            self.write();
        }
    }

    fn write(&mut self) {
        self.write_at = None;
        self.store.write(std::mem::take(&mut self.calls), std::mem::take(&mut self.trace));
    }

    fn input(&mut self, input: Input) {
        self.engine.handle(now(), input, &mut self.out);
        self.flush();
    }

    fn on_timeout(&mut self) {
        self.engine.handle_timeout(now(), &mut self.out);
        self.flush();
    }

    fn flush(&mut self) {
        loop {
            for output in std::mem::take(&mut self.out) {
                self.carry_out(output);
            }
            let Some(refusal) = self.refused.pop() else { return };
            self.engine.handle(now(), refusal, &mut self.out);
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Send { flow: Flow::Udp { local, remote }, bytes } => {
                self.udp.send(local, remote, &bytes);
            }
            Output::Send { flow: Flow::WebSocket(id), bytes } => {
                let full = self.connections.get(&id).is_some_and(|tx| tx.try_send(bytes).is_err());
                // A browser that does not read is let go: its task closes the WebSocket and says so.
                if full {
                    self.connections.remove(&id);
                }
            }
            Output::Media(command) => self.command(command),
            Output::Query { query, name_or_number } => self.ask(query, name_or_number),
            Output::KeepMessage { query, account, letter } => self.keep(query, account, *letter),
            Output::LoadMessages { query, account, taken } => self.load(query, account, taken),
            Output::Record(record) => {
                tracing::info!(call = %record.id, status = record.status, ended = %record.ended_by, "call ended");
                self.calls.push(*record);
            }
            Output::Trace(record) => self.trace.push(*record),
        }
    }

    fn command(&mut self, command: MediaCommand) {
        if let Err(full) = self.worker.send(command) {
            // The worker is stuck or gone: a call that waits for it ends by its own timers.
            tracing::error!(command = ?full.0, "media command dropped: the worker's mailbox is full");
        }
    }

    fn ask(&mut self, query: QueryId, name_or_number: String) {
        let answers = self.answers.clone();
        let asked = self.store.account(query.0, name_or_number, move |token, found| {
            let account = match found {
                // Its password must be set anew: who asks shall not learn that it exists.
                Err(error @ (StoreError::OtherRealm { .. } | StoreError::Sealed(_))) => {
                    tracing::warn!(%error, "an account cannot be used");
                    Ok(None)
                }
                other => other.map_err(|error| {
                    tracing::error!(%error, "the directory could not be read");
                    Unavailable
                }),
            };
            let _ = answers.blocking_send(Input::Account { query: QueryId(token), account });
        });
        if asked.is_err() {
            self.refused.push(Input::Account { query, account: Err(Unavailable) });
        }
    }

    fn keep(&mut self, query: QueryId, account: String, letter: Letter) {
        let answers = self.answers.clone();
        let asked = self.store.keep(query.0, account, letter, move |token, kept| {
            let kept = match kept {
                Ok(kept) => kept.ok_or(KeepError::Full),
                Err(error) => {
                    tracing::error!(%error, "a message could not be kept");
                    Err(KeepError::Unavailable)
                }
            };
            let _ = answers.blocking_send(Input::MessageKept { query: QueryId(token), kept });
        });
        if asked.is_err() {
            self.refused.push(Input::MessageKept { query, kept: Err(KeepError::Unavailable) });
        }
    }

    fn load(&mut self, query: QueryId, account: String, taken: Option<u64>) {
        let answers = self.answers.clone();
        let asked = self.store.waiting(query.0, account, taken, move |token, waiting| {
            let waiting = waiting.map_err(|error| {
                tracing::error!(%error, "kept messages could not be read");
                Unavailable
            });
            let _ = answers.blocking_send(Input::Messages { query: QueryId(token), waiting });
        });
        if asked.is_err() {
            self.refused.push(Input::Messages { query, waiting: Err(Unavailable) });
        }
    }
}
