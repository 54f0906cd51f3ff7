//! The ground floor: time as a parameter, ids, seeded chance, named deadlines, redaction, prefetch. No clock is read and no thread
//! made here.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod deadline;
mod pii;
mod prefetch_sys;
mod rng;
mod time;

pub use deadline::{DeadlineKey, Deadlines};
pub use pii::Pii;
pub use prefetch_sys::prefetch;
pub use rng::Rng;
pub use time::{Now, civil_date};
