//! Ringway: web browsers on one side, the organisation's telephones on the other.

pub mod app;
pub mod base;
pub mod io;
pub mod media;
pub mod plan;
pub mod policy;
pub mod signalling;
pub mod wire;
