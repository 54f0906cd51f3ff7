use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

static REVEAL: AtomicBool = AtomicBool::new(false);

/// A number, address or URI that belongs to a person: logged as `‹…›` unless the operator asked for clear logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pii<T>(pub T);

impl Pii<()> {
    /// Lets logs show what is wrapped (`log.reveal = true`).
    pub fn reveal(yes: bool) {
        REVEAL.store(yes, Ordering::Relaxed);
    }
}

impl<T: fmt::Display> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if REVEAL.load(Ordering::Relaxed) { self.0.fmt(f) } else { f.write_str("‹…›") }
    }
}

impl<T: fmt::Debug> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if REVEAL.load(Ordering::Relaxed) { self.0.fmt(f) } else { f.write_str("‹…›") }
    }
}
