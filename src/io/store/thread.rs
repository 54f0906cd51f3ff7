//! The one thread that owns the database in a running gateway.
//!
//! The queue is bounded. When it is full a question is refused at once ([`QueueFull`]: the caller answers 503), while SIP
//! messages and call records are dropped, counted and logged: a slow disk must never hold up a call. Messages may fill
//! three quarters of the queue, so that a flood of them shuts out neither questions nor call records.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use super::{MAX_TRACE_ROWS, Store, StoreError};
use crate::policy::account::Account;
use crate::signalling::message::{Kept, Letter, Waiting};
use crate::signalling::record::{CallRecord, TraceRecord};

const QUEUE: usize = 8192;
const QUEUE_FOR_TRACE: usize = QUEUE / 4 * 3;
/// Written in one transaction at most.
const BATCH: usize = 1_024;
/// What is to be written waits for so long, that others may share its transaction: a transaction costs more than a row.
const GATHER: Duration = Duration::from_millis(50);
/// So many messages are written between two prunings.
const PRUNE_EVERY: usize = 5000;

/// The queue has no room, or the thread has ended; what was asked is not done and no answer will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFull;

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the database has more to do than it can take on")
    }
}

impl std::error::Error for QueueFull {}

type Reply<T> = Box<dyn FnOnce(u64, Result<T, StoreError>) + Send>;

enum Request {
    Account {
        token: u64,
        wanted: String,
        reply: Reply<Option<Account>>,
    },
    Keep {
        token: u64,
        account: String,
        letter: Box<Letter>,
        reply: Reply<Option<Kept>>,
    },
    Waiting {
        token: u64,
        account: String,
        taken: Option<u64>,
        reply: Reply<Waiting>,
    },
    Record(Box<CallRecord>),
    Trace(TraceRecord),
    /// What has been gathered is due.
    Write,
    Stop,
}

#[derive(Default)]
struct Counts {
    queued_trace: AtomicUsize,
    dropped_trace: AtomicU64,
    dropped_calls: AtomicU64,
}

/// Starts the thread.
#[derive(Debug)]
pub struct StoreThread;

/// What the rest of the gateway holds of the store; clones speak to the same thread.
#[derive(Clone)]
pub struct StoreHandle {
    queue: SyncSender<Request>,
    counts: Arc<Counts>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl fmt::Debug for StoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreHandle").field("dropped_trace", &self.dropped_trace()).finish_non_exhaustive()
    }
}

impl StoreThread {
    /// Hands the database to a thread of its own.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub fn start(store: Store) -> io::Result<StoreHandle> {
        let (queue, requests) = sync_channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let writer = Writer { store, counts: Arc::clone(&counts), written: 0 };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run(&requests))?;
        Ok(StoreHandle { queue, counts, thread: Arc::new(Mutex::new(Some(thread))) })
    }
}

impl StoreHandle {
    /// Asks for the account that has a name or number; `reply` is called on the store's thread with `token`, so it must be short.
    ///
    /// # Errors
    /// The queue is full: `reply` will not be called.
    pub fn account(
        &self,
        token: u64,
        name_or_number: String,
        reply: impl FnOnce(u64, Result<Option<Account>, StoreError>) + Send + 'static,
    ) -> Result<(), QueueFull> {
        let request = Request::Account { token, wanted: name_or_number, reply: Box::new(reply) };
        self.queue.try_send(request).map_err(|_| QueueFull)
    }

    /// Keeps a letter for an account (none: it has too many); `reply` as for [`StoreHandle::account`].
    ///
    /// # Errors
    /// The queue is full: `reply` will not be called.
    pub fn keep(
        &self,
        token: u64,
        account: String,
        letter: Letter,
        reply: impl FnOnce(u64, Result<Option<Kept>, StoreError>) + Send + 'static,
    ) -> Result<(), QueueFull> {
        let request = Request::Keep { token, account, letter: Box::new(letter), reply: Box::new(reply) };
        self.queue.try_send(request).map_err(|_| QueueFull)
    }

    /// Removes the letter that was `taken`, and asks what waits for the account then; `reply` as for [`StoreHandle::account`].
    ///
    /// # Errors
    /// The queue is full: `reply` will not be called.
    pub fn waiting(
        &self,
        token: u64,
        account: String,
        taken: Option<u64>,
        reply: impl FnOnce(u64, Result<Waiting, StoreError>) + Send + 'static,
    ) -> Result<(), QueueFull> {
        let request = Request::Waiting { token, account, taken, reply: Box::new(reply) };
        self.queue.try_send(request).map_err(|_| QueueFull)
    }

    /// Keeps the record of a call that has ended.
    pub fn record(&self, record: CallRecord) {
        if self.queue.try_send(Request::Record(Box::new(record))).is_err() {
            let dropped = 1 + self.counts.dropped_calls.fetch_add(1, Ordering::Relaxed);
            tracing::error!(dropped, "call record dropped: the database cannot keep up");
        }
    }

    /// Keeps a SIP message.
    pub fn trace(&self, record: TraceRecord) {
        let room = self.counts.queued_trace.fetch_add(1, Ordering::Relaxed) < QUEUE_FOR_TRACE;
        if !room || self.queue.try_send(Request::Trace(record)).is_err() {
            self.counts.queued_trace.fetch_sub(1, Ordering::Relaxed);
            let dropped = 1 + self.counts.dropped_trace.fetch_add(1, Ordering::Relaxed);
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "SIP messages not kept: the database cannot keep up");
            }
        }
    }

    /// SIP messages that were not kept because the queue was full.
    #[must_use]
    pub fn dropped_trace(&self) -> u64 {
        self.counts.dropped_trace.load(Ordering::Relaxed)
    }

    /// Call records that were not kept because the queue was full.
    #[must_use]
    pub fn dropped_calls(&self) -> u64 {
        self.counts.dropped_calls.load(Ordering::Relaxed)
    }

    /// Writes all that is queued and ends the thread; said again, it does nothing.
    pub fn stop(&self) {
        let thread = self.thread.lock().expect("no panic while it is held").take();
        if let Some(thread) = thread {
            // An error means that the thread has ended already.
            let _ = self.queue.send(Request::Stop);
            if thread.join().is_err() {
                tracing::error!("the store's thread panicked");
            }
        }
    }
}

struct Writer {
    store: Store,
    counts: Arc<Counts>,
    written: usize,
}

impl Writer {
    /// Questions are answered as they come; what is to be written is gathered.
    #[allow(clippy::disallowed_methods)]
    fn run(mut self, requests: &Receiver<Request>) {
        let (mut calls, mut trace) = (Vec::new(), Vec::new());
        let mut write_at: Option<Instant> = None;
        self.prune();
        loop {
            let request = match write_at {
                None => requests.recv().ok(),
                Some(at) => match requests.recv_timeout(at.saturating_duration_since(Instant::now())) {
                    Ok(request) => Some(request),
                    Err(RecvTimeoutError::Timeout) => Some(Request::Write),
                    Err(RecvTimeoutError::Disconnected) => None,
                },
            };
            let stop = matches!(request, None | Some(Request::Stop));
            match request {
                Some(Request::Account { token, wanted, reply }) => reply(token, self.store.account_by_name_or_number(&wanted)),
                Some(Request::Keep { token, account, letter, reply }) => reply(token, self.store.keep_message(&account, &letter)),
                Some(Request::Waiting { token, account, taken, reply }) => reply(token, self.waiting(&account, taken)),
                Some(Request::Record(record)) => calls.push(*record),
                Some(Request::Trace(record)) => trace.push(record),
                Some(Request::Write | Request::Stop) | None => {}
            }
            let waits = !calls.is_empty() || !trace.is_empty();
            let due = stop || trace.len() >= BATCH || write_at.is_some_and(|at| at <= Instant::now());
            if waits && due {
                self.write(&calls, &trace);
                self.counts.queued_trace.fetch_sub(trace.len(), Ordering::Relaxed);
                calls.clear();
                trace.clear();
            }
            if stop {
                return;
            }
            write_at = match write_at {
                _ if calls.is_empty() && trace.is_empty() => None,
                Some(at) => Some(at),
                None => Some(Instant::now() + GATHER),
            };
        }
    }

    fn write(&mut self, calls: &[CallRecord], trace: &[TraceRecord]) {
        if calls.is_empty() && trace.is_empty() {
            return;
        }
        if let Err(error) = self.store.insert_batch(calls, trace) {
            tracing::error!(%error, calls = calls.len(), messages = trace.len(), "the database did not keep them");
        }
        self.written += trace.len();
        if self.written >= PRUNE_EVERY {
            self.written = 0;
            self.prune();
        }
    }

    fn waiting(&mut self, account: &str, taken: Option<u64>) -> Result<Waiting, StoreError> {
        if let Some(id) = taken {
            self.store.drop_message(account, id)?;
        }
        self.store.waiting_messages(account, unix_us() / 1_000)
    }

    fn prune(&mut self) {
        if let Err(error) = self.store.prune_trace(unix_us(), MAX_TRACE_ROWS) {
            tracing::error!(%error, "old SIP messages were not removed");
        }
        match self.store.prune_messages(unix_us() / 1_000) {
            Ok(0) => {}
            Ok(messages) => tracing::warn!(messages, "messages that nobody came for were removed"),
            Err(error) => tracing::error!(%error, "old messages were not removed"),
        }
    }
}

fn unix_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::io::store::NewAccount;
    use crate::io::store::tests::{Dir, call, message};

    #[test]
    fn questions_are_answered_and_stop_writes_all_that_is_queued() {
        let dir = Dir::new("thread");
        let mut store = dir.open("a.org");
        let alice = NewAccount { name: "alice", number: Some("201"), display_name: None, password: "correct horse" };
        store.add_account(alice).expect("added");
        let handle = StoreThread::start(store).expect("a thread");
        let (sender, answers) = mpsc::channel();
        let reply = move |token, answer: Result<Option<Account>, StoreError>| {
            sender.send((token, answer.expect("read").map(|account| account.name))).expect("the test listens");
        };
        handle.account(7, "201".to_owned(), reply.clone()).expect("room");
        handle.account(8, "999".to_owned(), reply).expect("room");
        assert_eq!(answers.recv().expect("an answer"), (7, Some("alice".to_owned())));
        assert_eq!(answers.recv().expect("an answer"), (8, None));
        let now = unix_us();
        for n in 0..2000 {
            handle.trace(message("aaaabbbbcccc", now + n));
        }
        handle.record(call("aaaabbbbcccc", 1));
        handle.stop();
        handle.stop();
        assert_eq!((handle.dropped_trace(), handle.dropped_calls()), (0, 0));
        let store = dir.open("a.org");
        assert_eq!(store.trace_of("aaaabbbbcccc").expect("read").len(), 2000);
        assert_eq!(store.recent_calls(1).expect("read").len(), 1);
        assert_eq!(handle.account(9, "201".to_owned(), |_, _| ()), Err(QueueFull), "it has ended");
    }

    #[test]
    fn a_flood_of_messages_is_dropped_and_counted_and_shuts_out_no_question() {
        let dir = Dir::new("flood");
        let handle = StoreThread::start(dir.open("a.org")).expect("a thread");
        // The thread is kept busy by a reply, so that the queue fills.
        let (release, held) = mpsc::channel::<()>();
        let (started, begun) = mpsc::channel();
        let hold = move |_, _| {
            started.send(()).expect("the test listens");
            held.recv().expect("the test lets go");
        };
        handle.account(1, "x".to_owned(), hold).expect("room");
        begun.recv().expect("the thread is busy");
        let now = unix_us();
        for n in 0..QUEUE as u64 {
            handle.trace(message("aaaabbbbcccc", now + n));
        }
        assert_eq!(handle.dropped_trace(), (QUEUE - QUEUE_FOR_TRACE) as u64);
        let (sender, answer) = mpsc::channel();
        let reply = move |token, _| sender.send(token).expect("the test listens");
        handle.account(2, "x".to_owned(), reply).expect("a question has room still");
        let full = (0..QUEUE).any(|_| handle.account(3, "x".to_owned(), |_, _| ()) == Err(QueueFull));
        assert!(full, "even questions are bounded");
        release.send(()).expect("the thread waits");
        assert_eq!(answer.recv(), Ok(2));
        handle.stop();
        assert_eq!(dir.open("a.org").trace_of("aaaabbbbcccc").expect("read").len(), QUEUE_FOR_TRACE);
    }
}
