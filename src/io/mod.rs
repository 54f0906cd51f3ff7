//! All that touches the world: sockets, threads, clocks, disks. Decisions are made elsewhere and carried out here.

pub mod net;
pub mod page;
pub mod store;
pub mod worker;
