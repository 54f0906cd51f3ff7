//! Whether the gateway's processor stands still: a thread there, above all others of the real-time class, that only sleeps, and notes
//! how late it wakes up. What the machine's host takes, or the kernel from that class, shows here; what the gateway does, does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use crate::net_sys::{claim, now_ns, sleep_until};

/// It wakes up so often.
const TICK_NS: i64 = 2_000_000;
/// And so late at most, where nothing is in its way.
const WAKING_NS: i64 = 500_000;
/// The load's and the gateway's is 1.
const ABOVE_ALL: i32 = 2;

/// Runs until the process ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<AtomicU64>);

impl Watch {
    /// Begins to watch a processor; without one, nothing ever stands still.
    pub(crate) fn start(cpu: Option<usize>) -> Self {
        let watch = Self::default();
        if cpu.is_some() {
            let stood_ns = Arc::clone(&watch.0);
            thread::spawn(move || {
                claim(cpu, ABOVE_ALL);
                loop {
                    let due = (now_ns() / TICK_NS + 1) * TICK_NS;
                    sleep_until(due);
                    stood_ns.fetch_add((now_ns() - due - WAKING_NS).max(0).unsigned_abs(), Relaxed);
                }
            });
        }
        watch
    }

    /// For how long it has stood still so far, in milliseconds.
    pub(crate) fn stood_ms(&self) -> f64 {
        self.0.load(Relaxed) as f64 / 1e6
    }
}
