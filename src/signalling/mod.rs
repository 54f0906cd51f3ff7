//! SIP: transactions, dialogs, registrar, offer/answer, calls, and the engine that joins them by id.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod auth;
pub mod call;
pub mod dialog;
pub mod engine;
mod flow;
pub mod message;
pub mod notifier;
pub mod offer;
pub mod record;
pub mod registrar;
pub mod transaction;

pub use flow::{Connection, ConnectionId, Flow};
