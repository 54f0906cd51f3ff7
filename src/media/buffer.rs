//! Fixed buffers that datagrams live in from the kernel in to the kernel out.

/// Bytes of one slot: a datagram of any sane MTU with room before and behind.
pub const SLOT_LEN: usize = 2_048;

/// Room in front of a received datagram, for headers that grow.
pub const HEADROOM: usize = 64;

/// Room behind a received datagram, for a tag (see [`super::srtp::MAX_TRAILER`]) and to spare.
pub const TAILROOM: usize = 64;

/// One datagram in a fixed buffer. Handing it on swaps the box, never the bytes.
#[derive(Debug)]
pub struct Slot {
    bytes: Box<[u8; SLOT_LEN]>,
    start: usize,
    len: usize,
}

impl Default for Slot {
    fn default() -> Self {
        Self { bytes: Box::new([0; SLOT_LEN]), start: HEADROOM, len: 0 }
    }
}

impl Slot {
    /// The most that a slot receives: longer datagrams are cut by the kernel and then refused.
    pub const CAPACITY: usize = SLOT_LEN - HEADROOM - TAILROOM;

    /// The datagram.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    /// The datagram, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }

    /// Empties the slot and gives its whole receiving room; [`Slot::set_len`] says how much of it was filled.
    pub fn room(&mut self) -> &mut [u8] {
        (self.start, self.len) = (HEADROOM, 0);
        &mut self.bytes[HEADROOM..SLOT_LEN - TAILROOM]
    }

    /// The datagram with all the room behind it; [`Slot::set_len`] says how long it has become.
    pub fn data_and_tailroom(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// Sets the length of the datagram, at most to the slot's end.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(SLOT_LEN - self.start);
    }

    /// Cuts bytes off the front, at most all.
    pub fn trim_front(&mut self, count: usize) {
        let count = count.min(self.len);
        self.start += count;
        self.len -= count;
    }

    /// Makes `data`, as much of it as fits, the datagram.
    pub fn fill(&mut self, data: &[u8]) {
        let len = data.len().min(Self::CAPACITY);
        self.room()[..len].copy_from_slice(&data[..len]);
        self.len = len;
    }
}
