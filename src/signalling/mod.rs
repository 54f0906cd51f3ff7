//! SIP: transactions, dialogs, registrar, offer/answer, calls, and the engine that joins them by id.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod record;
