//! The processor's own instruction to fetch ahead of need.
#![allow(unsafe_code)]

/// Bytes that the processor fetches at once.
const LINE: usize = 64;

/// Has a value brought into the cache while something else is done: from memory it takes as long as hundreds of instructions. Changes
/// nothing; where stable Rust has no such instruction it does nothing.
#[inline]
pub fn prefetch<T>(value: &T) {
    for at in (0..size_of::<T>()).step_by(LINE) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: nothing is read or written; whatever is at the address, and be it nothing, the instruction has no effect on it.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>().wrapping_add(at));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (value, at);
    }
}
