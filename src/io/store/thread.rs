//! The one thread that owns the database in a running gateway.
//!
//! The queue is bounded. When it is full a question is refused at once ([`QueueFull`]: the caller answers 503), while SIP
//! messages and call records are dropped, counted and logged: a slow disk must never hold up a call. Messages that wait are
//! bounded by themselves, so that a flood of them shuts out neither questions nor call records.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use super::{MAX_TRACE_ROWS, Store, StoreError};
use crate::policy::account::Account;
use crate::signalling::message::{Kept, Letter, Waiting};
use crate::signalling::record::{CallRecord, TraceRecord};

const QUEUE: usize = 8192;
/// SIP messages that wait to be written, whatever holds them.
const MAX_QUEUED_TRACE: usize = 50_000;
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
    Account { token: u64, wanted: String, reply: Reply<Option<Account>> },
    Keep { token: u64, account: String, letter: Box<Letter>, reply: Reply<Option<Kept>> },
    Waiting { token: u64, account: String, taken: Option<u64>, reply: Reply<Waiting> },
    Write { calls: Vec<CallRecord>, trace: Vec<TraceRecord> },
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

    /// Keeps the records of calls that have ended, and SIP messages, in one transaction: who has several gives them together.
    pub fn write(&self, calls: Vec<CallRecord>, mut trace: Vec<TraceRecord>) {
        let before = self.counts.queued_trace.fetch_add(trace.len(), Ordering::Relaxed);
        if before + trace.len() > MAX_QUEUED_TRACE {
            self.give_up(std::mem::take(&mut trace).len());
        }
        let (calls_count, trace_count) = (calls.len(), trace.len());
        if self.queue.try_send(Request::Write { calls, trace }).is_err() {
            self.give_up(trace_count);
            if calls_count > 0 {
                let dropped = calls_count as u64 + self.counts.dropped_calls.fetch_add(calls_count as u64, Ordering::Relaxed);
                tracing::error!(dropped, "call records dropped: the database cannot keep up");
            }
        }
    }

    fn give_up(&self, trace: usize) {
        if trace == 0 {
            return;
        }
        self.counts.queued_trace.fetch_sub(trace, Ordering::Relaxed);
        let before = self.counts.dropped_trace.fetch_add(trace as u64, Ordering::Relaxed);
        if (before + trace as u64).ilog2() != before.checked_ilog2().unwrap_or(64) {
            tracing::warn!(dropped = before + trace as u64, "SIP messages not kept: the database cannot keep up");
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
    fn run(mut self, requests: &Receiver<Request>) {
        self.prune();
        while let Ok(request) = requests.recv() {
            match request {
                Request::Account { token, wanted, reply } => reply(token, self.store.account_by_name_or_number(&wanted)),
                Request::Keep { token, account, letter, reply } => reply(token, self.store.keep_message(&account, &letter)),
                Request::Waiting { token, account, taken, reply } => reply(token, self.waiting(&account, taken)),
                Request::Write { calls, trace } => {
                    self.write(&calls, &trace);
                    self.counts.queued_trace.fetch_sub(trace.len(), Ordering::Relaxed);
                }
                // What was queued before it has been done already: the queue keeps its order.
                Request::Stop => return,
            }
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
            handle.write(Vec::new(), vec![message("aaaabbbbcccc", now + n)]);
        }
        handle.write(vec![call("aaaabbbbcccc", 1)], Vec::new());
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
        for n in 0..=MAX_QUEUED_TRACE as u64 / 100 {
            handle.write(Vec::new(), (0..100).map(|m| message("aaaabbbbcccc", now + 100 * n + m)).collect());
        }
        assert_eq!(handle.dropped_trace(), 100);
        let (sender, answer) = mpsc::channel();
        let reply = move |token, _| sender.send(token).expect("the test listens");
        handle.account(2, "x".to_owned(), reply).expect("a question has room still");
        let full = (0..QUEUE).any(|_| handle.account(3, "x".to_owned(), |_, _| ()) == Err(QueueFull));
        assert!(full, "even questions are bounded");
        release.send(()).expect("the thread waits");
        assert_eq!(answer.recv(), Ok(2));
        handle.stop();
        assert_eq!(dir.open("a.org").trace_of("aaaabbbbcccc").expect("read").len(), MAX_QUEUED_TRACE);
    }
}
