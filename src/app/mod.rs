//! The `ringway` command: configuration, wiring, what an administrator types. Nothing else imports this room.

pub mod addresses;
pub mod config;
pub mod init;
pub mod load;
pub mod serve;
