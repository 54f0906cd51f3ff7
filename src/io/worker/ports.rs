use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use socket2::{Domain, Protocol, Socket, Type};

use crate::plan::OpenFailure;

/// A UDP socket that does not block, on exactly this address.
pub(super) fn bind_udp(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// Pairs of ports for classic legs: even for RTP, odd for RTCP (RFC 3550 section 11), each address with a range of its own. One
/// pool for all workers, shared without a lock: a leg gives its pair back wherever it has got to.
#[derive(Debug, Clone)]
pub(super) struct PortPool {
    addresses: Arc<[Address]>,
    first: u16,
}

#[derive(Debug)]
struct Address {
    ip: IpAddr,
    taken: Vec<AtomicBool>,
    /// Where the next search starts: a port rests as long as it can before it is used again.
    cursor: AtomicUsize,
}

impl PortPool {
    pub(super) fn new(addresses: &[IpAddr], range: RangeInclusive<u16>) -> io::Result<Self> {
        let (low, high) = (u32::from(*range.start()), u32::from(*range.end()));
        let first = low.next_multiple_of(2).max(2);
        let pairs = (high + 1).saturating_sub(first) / 2;
        if pairs == 0 {
            let text = format!("media worker: RTP ports {low} to {high} hold no even port with the odd one behind");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let taken = || (0..pairs).map(|_| AtomicBool::new(false)).collect();
        let address = |ip: &IpAddr| Address { ip: *ip, taken: taken(), cursor: AtomicUsize::new(0) };
        Ok(Self { addresses: addresses.iter().map(address).collect(), first: first as u16 })
    }

    /// How many pairs there are on each address.
    pub(super) fn pairs(&self) -> usize {
        self.addresses.first().map_or(0, |address| address.taken.len())
    }

    /// Binds the next free pair on `ip`: RTP's socket and address, RTCP's socket. Ports that others hold are passed over.
    pub(super) fn bind(&self, ip: IpAddr) -> Result<(Socket, SocketAddr, Socket), OpenFailure> {
        let address = self.addresses.iter().find(|address| address.ip == ip).ok_or(OpenFailure::NotOurAddress)?;
        let (pairs, from) = (address.taken.len(), address.cursor.load(Ordering::Relaxed));
        for step in 0..pairs {
            let at = (from + step) % pairs;
            if address.taken[at].swap(true, Ordering::AcqRel) {
                continue;
            }
            let rtp = SocketAddr::new(ip, self.first + 2 * at as u16);
            let rtcp = SocketAddr::new(ip, rtp.port() + 1);
            match bind_udp(rtp).and_then(|rtp_socket| Ok((rtp_socket, bind_udp(rtcp)?))) {
                Ok((rtp_socket, rtcp_socket)) => {
                    address.cursor.store((at + 1) % pairs, Ordering::Relaxed);
                    return Ok((rtp_socket, rtp, rtcp_socket));
                }
                Err(error) => {
                    address.taken[at].store(false, Ordering::Release);
                    // No other port would help: the process may have no more files open, say.
                    if error.kind() != io::ErrorKind::AddrInUse {
                        tracing::error!(%error, "no socket for a call's media");
                        return Err(OpenFailure::NoPort);
                    }
                }
            }
        }
        Err(OpenFailure::NoPort)
    }

    pub(super) fn release(&self, rtp: SocketAddr) {
        let at = usize::from(rtp.port().saturating_sub(self.first) / 2);
        let address = self.addresses.iter().find(|address| address.ip == rtp.ip());
        if let Some(taken) = address.and_then(|address| address.taken.get(at)) {
            taken.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_even_and_odd_and_run_out() {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(PortPool::new(&[ip], 5_001..=5_002).is_err());
        let pool = PortPool::new(&[ip], 42_001..=42_006).unwrap();
        let (a, a_addr, a_rtcp) = pool.bind(ip).unwrap();
        assert_eq!(a_addr.port() % 2, 0);
        assert_eq!(a_rtcp.local_addr().unwrap().as_socket().unwrap().port(), a_addr.port() + 1);
        let b = pool.bind(ip).unwrap();
        assert_eq!(pool.bind(ip).err(), Some(OpenFailure::NoPort));
        assert_eq!(pool.bind("192.0.2.1".parse().unwrap()).err(), Some(OpenFailure::NotOurAddress));
        drop((a, a_rtcp));
        pool.release(a_addr);
        assert_eq!(pool.bind(ip).unwrap().1, a_addr);
        drop(b);
    }
}
