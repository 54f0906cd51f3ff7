/// How far `b` lies after `a` on the circle of 16-bit sequence numbers (RFC 1982); negative when before.
#[must_use]
pub fn seq_diff(a: u16, b: u16) -> i16 {
    b.wrapping_sub(a).cast_signed()
}

/// How far `b` lies after `a` on the circle of 32-bit timestamps, in ticks; negative when before.
#[must_use]
pub fn ts_diff(a: u32, b: u32) -> i32 {
    b.wrapping_sub(a).cast_signed()
}

/// The 48-bit index (ROC times 65,536 plus sequence number) that `seq` most likely has when `highest` is the highest
/// index so far: RFC 3711 section 3.3.1 and appendix A.
///
/// Before the first roll-over nothing lies below 0, so a late packet of the first cycle keeps ROC 0.
#[must_use]
pub fn packet_index(highest: u64, seq: u16) -> u64 {
    let step = i64::from(seq_diff((highest & 0xffff) as u16, seq));
    highest.checked_add_signed(step).unwrap_or_else(|| u64::from(seq))
}

/// What a [`ReplayWindow`] says of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Not seen before and inside the window, or ahead of it.
    New,
    /// Seen before.
    Duplicate,
    /// So far behind the highest that the window no longer knows.
    TooOld,
}

/// Which of the last 128 indices have been seen (RFC 3711 section 3.3.2 asks for 64 at least).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayWindow {
    highest: u64,
    /// Bit `n` stands for `highest - n`; 0 overall means that nothing has been seen.
    bits: u128,
}

impl ReplayWindow {
    /// How many indices it remembers.
    pub const SIZE: u64 = 128;

    /// The highest index marked so far; 0 before the first.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether nothing has been marked yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// Asks without marking: a packet is marked only once its tag has proven it.
    #[must_use]
    pub fn check(&self, index: u64) -> Seen {
        if self.bits == 0 || index > self.highest {
            return Seen::New;
        }
        match self.highest - index {
            behind if behind >= Self::SIZE => Seen::TooOld,
            behind if self.bits >> behind & 1 == 1 => Seen::Duplicate,
            _ => Seen::New,
        }
    }

    /// Marks `index` as seen.
    pub fn mark(&mut self, index: u64) {
        if self.bits == 0 {
            (self.highest, self.bits) = (index, 1);
        } else if index > self.highest {
            let ahead = index - self.highest;
            self.bits = if ahead >= Self::SIZE { 1 } else { self.bits << ahead | 1 };
            self.highest = index;
        } else if self.highest - index < Self::SIZE {
            self.bits |= 1 << (self.highest - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_rolls_over_and_back() {
        assert_eq!(packet_index(0xffff, 0), 0x1_0000);
        assert_eq!(packet_index(0x1_0000, 0xffff), 0xffff);
        assert_eq!(packet_index(0x1_0005, 0x0003), 0x1_0003);
        assert_eq!(packet_index(3, 0xfffe), 0xfffe, "nothing lies before the first cycle");
    }

    #[test]
    fn the_window_knows_new_old_and_again() {
        let mut window = ReplayWindow::default();
        assert_eq!(window.check(0), Seen::New);
        window.mark(10);
        assert_eq!(window.check(10), Seen::Duplicate);
        assert_eq!(window.check(9), Seen::New);
        window.mark(9);
        assert_eq!(window.check(9), Seen::Duplicate);
        window.mark(10 + 127);
        assert_eq!(window.check(10), Seen::Duplicate);
        assert_eq!(window.check(9), Seen::TooOld);
        window.mark(1_000);
        assert_eq!(window.check(137), Seen::TooOld);
        assert_eq!(window.check(999), Seen::New);
    }
}
