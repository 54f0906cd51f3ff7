//! Media.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod srtp;
pub mod codec;
pub mod buffer;
pub mod stats;
pub mod rewrite;
pub mod dtmf;
pub mod transcode;
pub mod ice;
pub mod dtls;
/// s
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(pub u32);
