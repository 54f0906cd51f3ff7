//! Where the world is: sockets, clocks, threads. What the machines decide is carried out here.

pub mod worker;
