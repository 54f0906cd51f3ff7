//! What headers say, one file each: parsed from the raw value on demand, borrowing from it.

mod cseq;
mod date;
mod name_addr;
mod replaces;
mod via;

pub use cseq::CSeq;
pub use date::date;
pub use name_addr::NameAddr;
pub use replaces::Replaces;
pub use via::{Via, stamp_via};
