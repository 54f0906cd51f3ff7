//! The media half: packets in, packets out, decided beforehand by each leg's [`LegPlan`](crate::plan::LegPlan) and
//! [`Source`](crate::plan::Source).
//!
//! Sans-IO: [`Core`] is told the time, given datagrams and commands, and answers through a [`Sink`]; sockets, clocks and
//! threads are `io::worker`'s. No SIP is known here, and no call: there are legs, and who hears whom.
//!
//! ```text
//! datagram -> Core: kind by first byte (RFC 7983) -> leg by pair of addresses, or for STUN by user fragment
//!   STUN -> ice: answered; its source is validated, or selected (USE-CANDIDATE)
//!   DTLS -> dtls: from validated remotes alone; certificate against SDP's fingerprint -> keys
//!   RTP  -> leg.accept: source, srtp.unprotect in place, header -> stats: its place in the order
//!        -> the leg's flow, to the one leg that hears it (or to itself): rewrite (payload untouched, same slot)
//!           | transcode (decode, conceal, listen for keys, encode)
//!        -> leg.seal: header right before the payload, srtp.protect in place -> Sink
//!   RTCP -> reports
//! deadline -> Core -> the leg's voice: a tone, ringback, music or a key, a packet each packet time -> leg.seal -> Sink
//! ```
//!
//! # Legs and what they hear
//! A leg sits in a `Seat`: the leg itself, what it hears, and the *flow* that carries its packets to whoever hears it.
//! SetPath says what a leg hears (`joins`); the flow between two legs is laid when both have agreed and left alone while it
//! fits, so that a call is two SetPaths, and a hold or a transfer one or two more. What is sent to a leg is one stream whatever
//! it hears: its [`rewrite::TxSource`] gives out every number, and whoever takes over from another goes on behind it.
//!
//! # Several workers
//! Each has a core of its own, and legs that hear each other are all with one. [`Core::extract`] takes some out as a [`Parcel`],
//! [`Core::adopt`] of another core takes them in: numbers, keys, flows and what a codec remembers go on unbroken. Who sends to a
//! shared port goes on sending there; the leg's *home*, the core with that port, hands what comes for it over to where the leg
//! lives and is told what new addresses it is found by ([`RouteChange`]). In what order all that happens is `io::worker`'s.
//!
//! # Keys
//! | they come as | heard by | and reach the listener as |
//! |---|---|---|
//! | events (RFC 4733) | packet for packet: [`dtmf::EventMap`] | events |
//! | events | [`dtmf::EventEar`] | tones, or news to signalling |
//! | tones | [`detect::Detector`], which mutes them | events, or news to signalling |
//! | tones | nobody: they pass as audio | tones |
//! | a command | | events or tones |
//!
//! Keys that we make ourselves wait in the leg's `keypad` and are spoken by its `voice`, on one clock with everything else that
//! it plays; while one sounds the flow is silent. A key whose end is lost is let go after [`dtmf::KEY_LOST`].
//!
//! # What is promised
//! Per packet there is no allocation after warm-up (`tests/no_alloc.rs`), no lock, no log line. Every RTP packet of a leg is
//! counted out as [`Sent`, `Held` or `Dropped`](stats::Outcome) with a [reason](stats::Drop). A leg that meets a broken
//! invariant dies alone: it is taken out, [`Closed`](crate::plan::MediaEvent::Closed) is told unasked, and who heard it hears
//! nothing.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod browser;
mod classic;
mod core;
mod flow;
mod joins;
mod keypad;
mod leg;
mod moving;
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

pub use self::core::{Core, CoreConfig, Lookahead};
pub use buffer::Slot;
pub use dtls::DtlsIdentity;
pub use ice::Pair;
pub use moving::{Parcel, RouteChange};
pub use routes::Address;
pub use stats::{Totals, Traffic, Unrouted};

use crate::plan::{MediaEvent, OpenFailure};

/// One of the worker's sockets, by number: a small one, used again after it was given back. The shared sockets of all workers
/// have the same numbers with each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

/// One of the media workers, by number: each runs a [`Core`] of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u16);

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

    /// Hands what lies in `slot` over to the worker that a leg of ours lives with; what is left in the slot afterwards is of no
    /// use. False when that worker has no room for it, or there is none.
    fn hand_over(&mut self, to: WorkerId, slot: &mut Slot, pair: Pair) -> bool;

    /// Tells the worker on whose port a leg was opened how its datagrams are found from now on ([`Core::handle_route`]).
    fn tell_route(&mut self, home: WorkerId, change: RouteChange);
}
