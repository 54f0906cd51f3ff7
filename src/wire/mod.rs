//! Bytes to types and back; no state, no clock.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod rtp;
pub mod sdp;
pub mod sip;
