//! Media.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod srtp;
pub mod codec;
