//! What the benches share: a counting allocator, and contenders that take turns so that a busy machine is busy for all.
#![allow(unsafe_code, dead_code, unreachable_pub)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Counts what is allocated, by calls and by bytes that are not yet freed. Switched off it costs one load, so that counting
/// does not weigh on who allocates.
struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicUsize = AtomicUsize::new(0);
static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);

fn count(calls: usize, more: usize, fewer: usize) {
    if ON.load(Relaxed) {
        CALLS.fetch_add(calls, Relaxed);
        LIVE_BYTES.fetch_add(more.wrapping_sub(fewer), Relaxed);
    }
}

// SAFETY: every call is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size(), 0);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, 0, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, new_size, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `run` allocates: calls, and bytes that it has not freed when it ends.
pub fn allocated<T>(run: impl FnOnce() -> T) -> (T, usize, usize) {
    let (calls, bytes) = (CALLS.load(Relaxed), LIVE_BYTES.load(Relaxed));
    ON.store(true, Relaxed);
    let done = run();
    ON.store(false, Relaxed);
    (done, CALLS.load(Relaxed) - calls, LIVE_BYTES.load(Relaxed).wrapping_sub(bytes))
}

/// What one call costs.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Nanoseconds.
    pub ns: f64,
    /// Allocations, reallocations included.
    pub allocations: f64,
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians over `rounds`; in each round every contender runs `iterations` times, one after the other.
pub fn compare<const N: usize>(rounds: usize, iterations: usize, contenders: [&mut dyn FnMut(); N]) -> [Cost; N] {
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(rounds));
    let mut contenders = contenders;
    let allocations = contenders.each_mut().map(|run| allocated(&mut **run).1 as f64);
    for _ in 0..rounds {
        for (at, run) in contenders.iter_mut().enumerate() {
            let start = Instant::now();
            for _ in 0..iterations {
                run();
            }
            let took = start.elapsed().as_nanos() as f64;
            times[at].push(took / iterations as f64);
        }
    }
    std::array::from_fn(|at| Cost { ns: median(std::mem::take(&mut times[at])), allocations: allocations[at] })
}
