use std::time::Duration;

/// Round-trip estimate (RFC 3261 section 17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// The longest interval between retransmissions of a non-INVITE request or a final response to INVITE.
pub const T2: Duration = Duration::from_secs(4);
/// How long a message may stay in the network.
pub const T4: Duration = Duration::from_secs(5);

/// The timers of RFC 3261 table 4 and RFC 6026 section 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Timer {
    A,
    B,
    D,
    E,
    F,
    G,
    H,
    I,
    J,
    K,
    L,
    M,
}

impl Timer {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::A => "timer A",
            Self::B => "timer B",
            Self::D => "timer D",
            Self::E => "timer E",
            Self::F => "timer F",
            Self::G => "timer G",
            Self::H => "timer H",
            Self::I => "timer I",
            Self::J => "timer J",
            Self::K => "timer K",
            Self::L => "timer L",
            Self::M => "timer M",
        }
    }

    /// How long, when it has fired `fired` times; none where a reliable transport has no such timer.
    pub(super) fn length(self, fired: u32, reliable: bool) -> Option<Duration> {
        let doubled = || T1 * 2u32.saturating_pow(fired.min(16));
        match self {
            Self::A => (!reliable).then(doubled),
            Self::E | Self::G => (!reliable).then(|| doubled().min(T2)),
            Self::B | Self::F | Self::H | Self::L | Self::M => Some(T1 * 64),
            Self::D => Some(if reliable { Duration::ZERO } else { Duration::from_secs(32) }),
            Self::I | Self::K => Some(if reliable { Duration::ZERO } else { T4 }),
            Self::J => Some(if reliable { Duration::ZERO } else { T1 * 64 }),
        }
    }
}
