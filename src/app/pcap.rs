//! SIP messages as a capture file that Wireshark and tcpdump read: each message a UDP datagram in an Ethernet frame of our making.
//!
//! What came or went by WebSocket stands there as a datagram, too, between the same addresses and ports: its TCP, TLS and
//! framing are not kept, and would hide the message.

use std::net::{IpAddr, SocketAddr};

use crate::signalling::record::TraceRecord;

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const LINKTYPE_ETHERNET: u32 = 1;
const SNAP_LEN: u32 = 262_144;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
/// What fits into an IP packet beside the headers; SIP messages are shorter than 64 KiB, but not by as much.
const MOST: usize = 65_535 - 20 - UDP_HEADER;

/// The whole file.
pub(super) fn pcap(trace: &[TraceRecord]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [MAGIC_MICROSECONDS, 0x0004_0002, 0, 0, SNAP_LEN, LINKTYPE_ETHERNET] {
        out.extend(word.to_le_bytes());
    }
    for record in trace {
        let (from, to) = if record.rx { (record.remote, record.local) } else { (record.local, record.remote) };
        let frame = frame(from, to, &record.bytes[..record.bytes.len().min(MOST)]);
        let length = u32::try_from(frame.len()).expect("a frame is shorter than 64 KiB and a bit");
        let (secs, micros) = (record.unix_us / 1_000_000, record.unix_us % 1_000_000);
        // Seconds have 32 bits in this format, until 2106.
        for word in [secs as u32, micros as u32, length, length] {
            out.extend(word.to_le_bytes());
        }
        out.extend(frame);
    }
    out
}

fn frame(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let datagram = datagram(from, to, payload);
    let length = u16::try_from(datagram.len()).expect("payloads are cut to fit");
    let mut out = [mac(to.ip()), mac(from.ip())].concat();
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend([0x08, 0x00]);
            let mut header = vec![0x45, 0];
            header.extend((length + 20).to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, UDP, 0, 0]);
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            out.extend(header);
        }
        (from, to) => {
            out.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            out.extend(length.to_be_bytes());
            out.extend([UDP, 64]);
            out.extend(six(from));
            out.extend(six(to));
        }
    }
    out.extend(datagram);
    out
}

fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(UDP_HEADER + payload.len()).expect("payloads are cut to fit");
    let words = [from.port(), to.port(), length, 0];
    let mut out: Vec<u8> = words.into_iter().flat_map(u16::to_be_bytes).collect();
    out.extend(payload);
    let mut summed = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (from, to) => [six(from), six(to)].concat(),
    };
    summed.extend([0, UDP]);
    summed.extend(length.to_be_bytes());
    summed.extend(&out);
    // A sum of 0 would say that there is none (RFC 768).
    let sum = Some(checksum(&summed)).filter(|sum| *sum != 0).unwrap_or(0xffff);
    out[6..8].copy_from_slice(&sum.to_be_bytes());
    out
}

fn six(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// A locally administered address that follows from the IP address, so that each host has its own.
fn mac(ip: IpAddr) -> [u8; 6] {
    let [.., a, b, c, d] = six(ip);
    [0x02, 0, a, b, c, d]
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(local: &str, remote: &str) -> TraceRecord {
        TraceRecord {
            unix_us: 1_700_000_000_123_456,
            call: None,
            rx: true,
            transport: "udp",
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
            peer: String::new(),
            bytes: b"OPTIONS sip:a SIP/2.0\r\n\r\n"[..].into(),
        }
    }

    #[test]
    fn a_frame_says_who_sent_what_to_whom_and_when() {
        let file = pcap(&[record("10.0.0.1:5060", "10.0.0.2:5062")]);
        assert_eq!(file[..4], [0xd4, 0xc3, 0xb2, 0xa1], "little-endian, microseconds");
        let (head, frame) = (&file[24..40], &file[40..]);
        assert_eq!(head[..8], [&1_700_000_000_u32.to_le_bytes()[..], &123_456_u32.to_le_bytes()].concat());
        assert_eq!(u32::from_le_bytes(head[8..12].try_into().expect("four")) as usize, frame.len());
        assert_eq!(frame[12..14], [8, 0]);
        let (ip, udp) = (&frame[14..34], &frame[34..]);
        assert_eq!(checksum(ip), 0, "the header's sum is right");
        assert_eq!(ip[12..20], [10, 0, 0, 2, 10, 0, 0, 1]);
        assert_eq!(udp[..6], [0x13, 0xc6, 0x13, 0xc4, 0, 33]);
        assert_eq!(&udp[8..], b"OPTIONS sip:a SIP/2.0\r\n\r\n");
        let pseudo = [&ip[12..20], &[0, 17, 0, 33], udp].concat();
        assert_eq!(checksum(&pseudo), 0, "the datagram's sum is right");
    }

    #[test]
    fn ipv6_has_its_own_header() {
        let file = pcap(&[record("[fd00::1]:5060", "[fd00::2]:5062")]);
        let frame = &file[40..];
        assert_eq!((&frame[12..15], frame[20]), (&[0x86, 0xdd, 0x60][..], 17));
        let pseudo = [&frame[22..54], &[0, 17, 0, 33], &frame[54..]].concat();
        assert_eq!(checksum(&pseudo), 0);
    }
}
