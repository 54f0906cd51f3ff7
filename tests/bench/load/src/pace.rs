//! When which endpoint sends which frame, and with which numbers.

/// Between two frames of one endpoint.
pub(crate) const FRAME_NS: i64 = 20_000_000;

/// Endpoints in turn, their phases spread evenly over a frame; nothing is skipped when the clock has run ahead (open loop).
#[derive(Debug)]
pub(crate) struct Pace {
    start_ns: i64,
    endpoints: usize,
    at: usize,
    frame: u32,
}

impl Pace {
    pub(crate) fn new(start_ns: i64, endpoints: usize) -> Self {
        Self { start_ns, endpoints, at: 0, frame: 0 }
    }

    /// The next endpoint whose frame is due by `now_ns`: its index, the frame's number, when it was due.
    pub(crate) fn next_due(&mut self, now_ns: i64) -> Option<(usize, u32, i64)> {
        let due = self.start_ns + i64::from(self.frame) * FRAME_NS + self.at as i64 * FRAME_NS / self.endpoints as i64;
        if due > now_ns {
            return None;
        }
        let found = (self.at, self.frame, due);
        self.at += 1;
        if self.at == self.endpoints {
            (self.at, self.frame) = (0, self.frame + 1);
        }
        Some(found)
    }
}

/// The RTP numbers of one stream (RFC 3550 section 5.1): a frame that is not sent (silence) takes time, but no number.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) ssrc: u32,
    sequence: u16,
    first_ts: u32,
    frame_ticks: u32,
    has_sent: bool,
}

impl Numbers {
    pub(crate) fn new(ssrc: u32, sequence: u16, first_ts: u32, frame_ticks: u32) -> Self {
        Self { ssrc, sequence, first_ts, frame_ticks, has_sent: false }
    }

    /// The header of the packet that carries this frame.
    pub(crate) fn header(&mut self, frame: u32, pt: u8) -> [u8; 12] {
        let mut header = [0; 12];
        header[0] = 0x80;
        header[1] = pt | if self.has_sent { 0 } else { 0x80 };
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        let ts = self.first_ts.wrapping_add(frame.wrapping_mul(self.frame_ticks));
        header[4..8].copy_from_slice(&ts.to_be_bytes());
        header[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        self.has_sent = true;
        self.sequence = self.sequence.wrapping_add(1);
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_spread_over_a_frame_and_nothing_is_skipped() {
        let mut pace = Pace::new(1_000, 4);
        assert_eq!(pace.next_due(999), None);
        assert_eq!(pace.next_due(1_000), Some((0, 0, 1_000)));
        assert_eq!(pace.next_due(1_000), None);
        let late: Vec<_> = std::iter::from_fn(|| pace.next_due(1_000 + FRAME_NS)).collect();
        let due = |at: i64| 1_000 + at * FRAME_NS / 4;
        assert_eq!(late, [(1, 0, due(1)), (2, 0, due(2)), (3, 0, due(3)), (0, 1, due(4))]);
    }

    #[test]
    fn silence_takes_time_but_no_sequence_number() {
        let mut numbers = Numbers::new(7, 0xffff, 0xffff_ff00, 960);
        let sequence_and_ts = |header: [u8; 12]| {
            let ts = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            (u16::from_be_bytes([header[2], header[3]]), ts, header[1])
        };
        assert_eq!(sequence_and_ts(numbers.header(0, 111)), (0xffff, 0xffff_ff00, 0xef));
        assert_eq!(sequence_and_ts(numbers.header(3, 111)), (0, 0xffff_ff00_u32.wrapping_add(2_880), 0x6f));
    }
}
