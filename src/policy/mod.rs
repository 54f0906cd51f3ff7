//! Peers' quirks and the organisation's wishes as data: profiles say how a kind of peer speaks, the dialplan says where a
//! number goes, an account says who someone is. Nothing here knows a call's state, and nothing here opens a file: whoever
//! reads one hands its text in.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod account;
pub mod dialplan;
pub mod profile;
pub mod source;

pub use source::{PolicyError, Problem};
