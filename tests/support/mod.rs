//! What tests share: a simulated network with its own clock, and scripted SIP peers.
#![allow(dead_code, missing_docs, unreachable_pub)] // each test binary uses its part

pub mod peer;
pub mod world;
