//! RTCP compound packets (RFC 3550 section 6): sender and receiver reports, the CNAME, BYE. Feedback (RFC 4585) and
//! extended reports (RFC 3611) are stepped over.

/// Most report blocks that one report can hold (its count has 5 bits).
pub const MAX_REPORTS: usize = 31;

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const CNAME: u8 = 1;

/// Why a datagram is no RTCP compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtcpError {
    /// Fewer bytes than a header says.
    Truncated,
    /// The version of one of its packets is not 2.
    Version,
}

/// What a sender says of itself (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// 64-bit NTP time: seconds since 1900 in the upper half, fraction in the lower.
    pub ntp: u64,
    /// The same moment in ticks of the RTP clock.
    pub rtp_ticks: u32,
    /// RTP packets sent.
    pub packets: u32,
    /// Payload bytes sent.
    pub octets: u32,
}

/// What a receiver says of one source (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// The source that it is about.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost since the beginning; 24 bits, signed on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number with its cycles in the upper half.
    pub highest_seq: u32,
    /// Interarrival jitter in ticks.
    pub jitter_ticks: u32,
    /// Middle 32 bits of the NTP time of the last sender report; 0 when there was none.
    pub last_sr: u32,
    /// Since that report, in 65,536ths of a second.
    pub delay_since_last_sr: u32,
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report<'a> {
    /// A sender report's own part; its blocks follow as [`Report::Block`].
    Sender {
        /// Who sends.
        ssrc: u32,
        /// What it says of itself.
        info: SenderInfo,
    },
    /// A receiver report's own part; its blocks follow as [`Report::Block`].
    Receiver {
        /// Who reports.
        ssrc: u32,
    },
    /// One report block.
    Block {
        /// Who reports.
        from: u32,
        /// What it says.
        block: ReportBlock,
    },
    /// The CNAME item of one SDES chunk.
    Cname {
        /// Whose.
        ssrc: u32,
        /// The name, as bytes: UTF-8 is promised, not checked.
        name: &'a [u8],
    },
    /// A source has left.
    Bye {
        /// Which.
        ssrc: u32,
    },
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word))
}

/// Hands every known part of a compound to `each`, in order.
///
/// # Errors
/// Names what is wrong with a header; parts before it have been handed out.
pub fn parse_compound<'a>(mut datagram: &'a [u8], mut each: impl FnMut(Report<'a>)) -> Result<(), RtcpError> {
    while !datagram.is_empty() {
        let [first, kind, high, low] = datagram.first_chunk::<4>().ok_or(RtcpError::Truncated)?;
        if first >> 6 != 2 {
            return Err(RtcpError::Version);
        }
        let len = 4 + usize::from(u16::from_be_bytes([*high, *low])) * 4;
        let (packet, rest) = datagram.split_at_checked(len).ok_or(RtcpError::Truncated)?;
        parse_one(usize::from(first & 0x1f), *kind, &packet[4..], &mut each).ok_or(RtcpError::Truncated)?;
        datagram = rest;
    }
    Ok(())
}

fn parse_one<'a>(count: usize, kind: u8, body: &'a [u8], each: &mut impl FnMut(Report<'a>)) -> Option<()> {
    match kind {
        SR => {
            let ssrc = word(body, 0)?;
            let info = SenderInfo {
                ntp: u64::from(word(body, 4)?) << 32 | u64::from(word(body, 8)?),
                rtp_ticks: word(body, 12)?,
                packets: word(body, 16)?,
                octets: word(body, 20)?,
            };
            each(Report::Sender { ssrc, info });
            parse_blocks(ssrc, count, body.get(24..)?, each)
        }
        RR => {
            let ssrc = word(body, 0)?;
            each(Report::Receiver { ssrc });
            parse_blocks(ssrc, count, body.get(4..)?, each)
        }
        SDES => parse_sdes(count, body, each),
        BYE => (0..count).try_for_each(|n| {
            each(Report::Bye { ssrc: word(body, n * 4)? });
            Some(())
        }),
        // RFC 3550 section 6.1: what is not known is ignored, by its length.
        _ => Some(()),
    }
}

fn parse_blocks<'a>(from: u32, count: usize, body: &[u8], each: &mut impl FnMut(Report<'a>)) -> Option<()> {
    for at in (0..count).map(|n| n * 24) {
        let lost = word(body, at + 4)?;
        let block = ReportBlock {
            ssrc: word(body, at)?,
            fraction_lost: (lost >> 24) as u8,
            cumulative_lost: (lost << 8).cast_signed() >> 8,
            highest_seq: word(body, at + 8)?,
            jitter_ticks: word(body, at + 12)?,
            last_sr: word(body, at + 16)?,
            delay_since_last_sr: word(body, at + 20)?,
        };
        each(Report::Block { from, block });
    }
    Some(())
}

fn parse_sdes<'a>(chunks: usize, body: &'a [u8], each: &mut impl FnMut(Report<'a>)) -> Option<()> {
    let mut at = 0;
    for _ in 0..chunks {
        let ssrc = word(body, at)?;
        at += 4;
        while *body.get(at)? != 0 {
            let len = usize::from(*body.get(at + 1)?);
            let name = body.get(at + 2..at + 2 + len)?;
            if body[at] == CNAME {
                each(Report::Cname { ssrc, name });
            }
            at += 2 + len;
        }
        // A chunk ends with one null at least and is padded to a word.
        at = (at / 4 + 1) * 4;
    }
    Some(())
}

/// Writes a compound into a buffer; what does not fit is left out whole, and [`CompoundWriter::len`] tells.
#[derive(Debug)]
pub struct CompoundWriter<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> CompoundWriter<'a> {
    /// Writes from the start of `buf`.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn packet(&mut self, count: usize, kind: u8, words: impl Iterator<Item = u32> + Clone) {
        let len = 4 + words.clone().count() * 4;
        let Some(place) = self.buf.get_mut(self.len..self.len + len) else { return };
        place[0] = 0x80 | count as u8;
        place[1] = kind;
        place[2..4].copy_from_slice(&((len / 4 - 1) as u16).to_be_bytes());
        for (place, word) in place[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        self.len += len;
    }

    /// Appends an SR when `info` is there, else an RR; at most 31 blocks are written.
    pub fn report(&mut self, ssrc: u32, info: Option<SenderInfo>, blocks: &[ReportBlock]) {
        let blocks = &blocks[..blocks.len().min(MAX_REPORTS)];
        let own = info.map(|info| [(info.ntp >> 32) as u32, info.ntp as u32, info.rtp_ticks, info.packets, info.octets]);
        let own = own.into_iter().flatten();
        let blocks_words = blocks.iter().flat_map(|block| {
            let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff;
            [
                block.ssrc,
                u32::from(block.fraction_lost) << 24 | lost,
                block.highest_seq,
                block.jitter_ticks,
                block.last_sr,
                block.delay_since_last_sr,
            ]
        });
        let kind = if info.is_some() { SR } else { RR };
        self.packet(blocks.len(), kind, std::iter::once(ssrc).chain(own).chain(blocks_words));
    }

    /// Appends an SDES packet with one CNAME of at most 255 bytes.
    pub fn cname(&mut self, ssrc: u32, name: &[u8]) {
        let name = &name[..name.len().min(255)];
        let len = (4 + 4 + 2 + name.len() + 4) / 4 * 4;
        let Some(place) = self.buf.get_mut(self.len..self.len + len) else { return };
        place.fill(0);
        place[0] = 0x81;
        place[1] = SDES;
        place[2..4].copy_from_slice(&((len / 4 - 1) as u16).to_be_bytes());
        place[4..8].copy_from_slice(&ssrc.to_be_bytes());
        place[8] = CNAME;
        place[9] = name.len() as u8;
        place[10..10 + name.len()].copy_from_slice(name);
        self.len += len;
    }

    /// Appends a BYE.
    pub fn bye(&mut self, ssrc: u32) {
        self.packet(1, BYE, std::iter::once(ssrc));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_compound_is_read_as_it_was_written() {
        let info = SenderInfo { ntp: 0x0102_0304_0506_0708, rtp_ticks: 5, packets: 6, octets: 7 };
        let block = ReportBlock {
            ssrc: 9,
            fraction_lost: 12,
            cumulative_lost: -3,
            highest_seq: 0x1_0002,
            jitter_ticks: 44,
            last_sr: 55,
            delay_since_last_sr: 66,
        };
        let mut buf = [0; 200];
        let mut writer = CompoundWriter::new(&mut buf);
        writer.report(1, Some(info), &[block]);
        writer.report(2, None, &[]);
        writer.cname(1, b"abc@def");
        writer.bye(1);
        let len = writer.len();
        let mut seen = Vec::new();
        parse_compound(&buf[..len], |report| seen.push(report)).unwrap();
        let expected = [
            Report::Sender { ssrc: 1, info },
            Report::Block { from: 1, block },
            Report::Receiver { ssrc: 2 },
            Report::Cname { ssrc: 1, name: b"abc@def" },
            Report::Bye { ssrc: 1 },
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn every_length_of_cname_ends_in_a_null_on_a_word() {
        for len in 0..=255 {
            let (mut buf, name) = ([0xff; 300], vec![b'x'; len]);
            let mut writer = CompoundWriter::new(&mut buf);
            writer.cname(3, &name);
            let total = writer.len();
            assert_eq!(total % 4, 0);
            let mut seen = 0;
            parse_compound(&buf[..total], |report| {
                assert_eq!(report, Report::Cname { ssrc: 3, name: &name });
                seen += 1;
            })
            .unwrap();
            assert_eq!(seen, 1, "{len}");
        }
    }

    #[test]
    fn what_lies_about_its_lengths_is_refused() {
        assert_eq!(parse_compound(&[0x81, 200, 0, 1, 0, 0, 0, 0], |_| ()), Err(RtcpError::Truncated));
        assert_eq!(parse_compound(&[0x80, 201, 0, 9], |_| ()), Err(RtcpError::Truncated));
        assert_eq!(parse_compound(&[0x00, 201, 0, 0], |_| ()), Err(RtcpError::Version));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 200u8..204, mut bytes in proptest::collection::vec(any::<u8>(), 8..120)) {
            bytes[0] = 0x80 | bytes[0] & 0x1f;
            bytes[1] = kind;
            bytes[2] = 0;
            let _ = parse_compound(&bytes, |_| ());
        }
    }
}
