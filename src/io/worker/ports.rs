use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

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

/// Pairs of ports for classic legs: even for RTP, odd for RTCP (RFC 3550 section 11), each address with a range of its own.
#[derive(Debug)]
pub(super) struct PortPool {
    addresses: Vec<Address>,
    first: u16,
}

#[derive(Debug)]
struct Address {
    ip: IpAddr,
    taken: Vec<bool>,
    /// Where the next search starts: a port rests as long as it can before it is used again.
    cursor: usize,
}

impl PortPool {
    pub(super) fn new(addresses: Vec<IpAddr>, range: RangeInclusive<u16>) -> io::Result<Self> {
        let (low, high) = (u32::from(*range.start()), u32::from(*range.end()));
        let first = low.next_multiple_of(2).max(2);
        let pairs = (high + 1).saturating_sub(first) / 2;
        if pairs == 0 {
            let text = format!("media worker: RTP ports {low} to {high} hold no even port with the odd one behind");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let address = |ip| Address { ip, taken: vec![false; pairs as usize], cursor: 0 };
        Ok(Self { addresses: addresses.into_iter().map(address).collect(), first: first as u16 })
    }

    /// Binds the next free pair on `ip`: RTP's socket and address, RTCP's socket. Ports that others hold are passed over.
    pub(super) fn bind(&mut self, ip: IpAddr) -> Result<(Socket, SocketAddr, Socket), OpenFailure> {
        let first = self.first;
        let address = self.addresses.iter_mut().find(|address| address.ip == ip).ok_or(OpenFailure::NotOurAddress)?;
        let pairs = address.taken.len();
        for step in 0..pairs {
            let at = (address.cursor + step) % pairs;
            if address.taken[at] {
                continue;
            }
            let rtp = SocketAddr::new(ip, first + 2 * at as u16);
            let rtcp = SocketAddr::new(ip, rtp.port() + 1);
            match bind_udp(rtp).and_then(|rtp_socket| Ok((rtp_socket, bind_udp(rtcp)?))) {
                Ok((rtp_socket, rtcp_socket)) => {
                    address.taken[at] = true;
                    address.cursor = (at + 1) % pairs;
                    return Ok((rtp_socket, rtp, rtcp_socket));
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                // No other port would help: the process may have no more files open, say.
                Err(error) => {
                    tracing::error!(%error, "no socket for a call's media");
                    return Err(OpenFailure::NoPort);
                }
            }
        }
        Err(OpenFailure::NoPort)
    }

    pub(super) fn release(&mut self, rtp: SocketAddr) {
        let at = usize::from(rtp.port().saturating_sub(self.first) / 2);
        let address = self.addresses.iter_mut().find(|address| address.ip == rtp.ip());
        if let Some(taken) = address.and_then(|address| address.taken.get_mut(at)) {
            *taken = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_even_and_odd_and_run_out() {
        let ip: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(PortPool::new(vec![ip], 5_001..=5_002).is_err());
        let mut pool = PortPool::new(vec![ip], 42_001..=42_006).unwrap();
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
