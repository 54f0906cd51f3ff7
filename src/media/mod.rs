//! The media half: packets in, packets out, decided beforehand by a [`SessionPlan`](crate::plan::SessionPlan).
//!
//! Sans-IO: [`Core`] is told the time, given datagrams and commands, and answers through a [`Sink`]; sockets, clocks and
//! threads are `io::worker`'s. No SIP is known here.
//!
//! ```text
//! datagram -> Core: kind by first byte (RFC 7983) -> leg by pair of addresses, or for STUN by user fragment
//!   STUN -> ice: answered; its source is validated, or selected (USE-CANDIDATE)
//!   DTLS -> dtls: from validated remotes alone; certificate against SDP's fingerprint -> keys
//!   RTP  -> leg.accept: source, srtp.unprotect in place, header -> stats: its place in the order
//!        -> flow: rewrite (payload untouched, same slot) | transcode (decode, conceal, encode) | echo = rewrite to oneself
//!        -> leg.seal: header right before the payload, srtp.protect in place -> Sink
//!   RTCP -> reports
//! ```
//!
//! Per packet there is no allocation after warm-up (`tests/no_alloc.rs`), no lock, no log line. Every RTP packet of a leg is
//! counted out as [`Sent`, `Held` or `Dropped`](stats::Outcome) with a [reason](stats::Drop). A session that meets a broken
//! invariant dies alone: it is taken out and [`Closed`](crate::plan::MediaEvent::Closed) is told unasked.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod browser;
mod classic;
mod core;
mod flow;
mod joins;
mod keypad;
mod leg;
mod reports;
mod routes;
mod seat;
mod seats;
mod silence;
mod tones;
mod voice;

pub mod buffer;
pub mod codec;
pub mod detect;
pub mod dtls;
pub mod dtmf;
pub mod ice;
pub mod music;
pub mod rewrite;
pub mod srtp;
pub mod stats;
pub mod transcode;

use std::net::{IpAddr, SocketAddr};

pub use self::core::{Core, CoreConfig, Unrouted};
pub use buffer::Slot;
pub use dtls::DtlsIdentity;
pub use ice::Pair;

use crate::plan::{MediaEvent, OpenFailure};

/// One of the worker's sockets, by number: a small one, used again after it was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// The ports of a classic leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortPair {
    /// The even port.
    pub rtp: SocketId,
    /// The odd one behind it.
    pub rtcp: SocketId,
    /// The even port's address, as SDP names it.
    pub local: SocketAddr,
}

/// What the core hands to the world around it, and asks of it.
pub trait Sink {
    /// The slot for the next datagram that the core makes: the same until [`Sink::transmit`] takes it.
    fn slot(&mut self) -> &mut Slot;

    /// Sends what lies in [`Sink::slot`].
    fn transmit(&mut self, to: Pair);

    /// Sends what lies in `slot`, a received datagram changed in place; what is left in it afterwards is of no use.
    fn forward(&mut self, slot: &mut Slot, to: Pair);

    /// Tells signalling.
    fn event(&mut self, event: MediaEvent);

    /// A pair of ports on `local`, the RTP port even, numbered for [`Core::handle_datagram`].
    ///
    /// # Errors
    /// [`OpenFailure::NoPort`] or [`OpenFailure::NotOurAddress`].
    fn bind_pair(&mut self, local: IpAddr) -> Result<PortPair, OpenFailure>;

    /// A pair is no longer needed; its numbers may be used again.
    fn release_pair(&mut self, ports: PortPair);
}
