/// Why a payload is no telephone event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TelephoneEventError {
    /// Fewer than 4 bytes.
    Truncated,
}

/// The payload of a telephone-event packet (RFC 4733 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// 0 to 9 for the digits, 10 `*`, 11 `#`, 12 to 15 `A` to `D`; others are not DTMF.
    pub event: u8,
    /// The event is over; sent three times.
    pub end: bool,
    /// Tone level as -dBm0, 0 to 63.
    pub volume: u8,
    /// Duration so far in ticks of the payload type's clock.
    pub duration_ticks: u16,
}

impl TelephoneEvent {
    /// Bytes of a payload.
    pub const LEN: usize = 4;

    /// Reads the first event of a payload.
    ///
    /// # Errors
    /// A payload of fewer than 4 bytes.
    pub fn parse(payload: &[u8]) -> Result<Self, TelephoneEventError> {
        let Some([event, flags, high, low]) = payload.first_chunk::<4>() else {
            return Err(TelephoneEventError::Truncated);
        };
        Ok(Self {
            event: *event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration_ticks: u16::from_be_bytes([*high, *low]),
        })
    }

    /// The payload's bytes, the reserved bit 0.
    #[must_use]
    pub fn write(self) -> [u8; Self::LEN] {
        let [high, low] = self.duration_ticks.to_be_bytes();
        [self.event, u8::from(self.end) << 7 | self.volume & 0x3f, high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_is_read() {
        let event = TelephoneEvent { event: 11, end: true, volume: 10, duration_ticks: 0x1234 };
        assert_eq!(event.write(), [11, 0x8a, 0x12, 0x34]);
        assert_eq!(TelephoneEvent::parse(&event.write()), Ok(event));
        assert_eq!(TelephoneEvent::parse(&[1, 2, 3]), Err(TelephoneEventError::Truncated));
    }
}
