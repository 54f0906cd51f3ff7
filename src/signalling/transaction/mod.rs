//! The transaction layer (RFC 3261 section 17, with the Accepted state of RFC 6026): retransmissions stop here.
//!
//! Four machines, one file each, are tables: `(state, event) -> (state, actions)`, laid out like the RFC's figures. The
//! [`Table`] owns all transactions, matches messages to them and carries the actions out; it knows nothing of dialogs or
//! calls, which it names by an opaque owner.
//!
//! A 2xx to INVITE is retransmitted by the dialog's owner, not here (RFC 6026 section 7.1): so is its ACK.

mod client_invite;
mod client_other;
mod server_invite;
mod server_other;
mod table;
mod timer;

pub use table::{ClientId, Incoming, ServerId, Table, TransactionEvent, Transmit};
pub use timer::{T1, T2, T4, Timer};

/// What a machine has its table do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Send the transaction's message (a client's request, a server's last response) again, or for the first time.
    Send,
    /// Send the ACK for a failure (RFC 3261 section 17.1.1.3).
    Ack,
    /// Give what came to the transaction's owner.
    Up,
    /// Tell the owner that nothing came.
    TimedOut,
    /// Start a timer; its length follows from the transport and from how often it fired.
    Arm(Timer),
    /// Stop a timer.
    Disarm(Timer),
}
