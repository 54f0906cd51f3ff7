use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::wire::sip::MAX_MESSAGE_BYTES;

/// Bursts of registrations come all at once after a power cut. What the kernel has no room for is lost, as in the network,
/// and its sender says it again.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// A datagram.
#[derive(Debug)]
pub(super) struct Datagram {
    /// Our socket's address.
    pub(super) local: SocketAddr,
    /// The sender's.
    pub(super) remote: SocketAddr,
    /// Its payload.
    pub(super) bytes: Bytes,
}

/// Our SIP sockets, one an address. Read by the driver itself, many datagrams a turn: a task of their own would wake it for
/// each one.
#[derive(Debug)]
pub struct UdpSockets {
    sockets: Vec<(SocketAddr, UdpSocket)>,
    /// Whose turn it is.
    next: usize,
    buffer: Vec<u8>,
}

impl UdpSockets {
    /// Binds one socket an address; port 0 takes any.
    ///
    /// # Errors
    /// The address is not this machine's or its port is taken; says which.
    pub fn bind(addresses: &[IpAddr], port: u16) -> io::Result<Self> {
        let bind = |ip: &IpAddr| {
            let address = SocketAddr::new(*ip, port);
            let socket =
                bind_one(address).map_err(|error| io::Error::new(error.kind(), format!("SIP on UDP {address}: {error}")))?;
            Ok((socket.local_addr()?, socket))
        };
        let sockets = addresses.iter().map(bind).collect::<io::Result<_>>()?;
        Ok(Self { sockets, next: 0, buffer: vec![0; MAX_MESSAGE_BYTES + 1] })
    }

    /// Their addresses.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.sockets.iter().map(|(address, _)| *address)
    }

    /// Waits until one of them may have something.
    pub(super) async fn readable(&self) {
        poll_fn(|cx| {
            // An error is told by reading.
            let ready = self.sockets.iter().filter(|(_, socket)| socket.poll_recv_ready(cx).is_ready()).count();
            if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The next datagram, from each socket in turn; none when there is none.
    pub(super) fn read(&mut self) -> Option<Datagram> {
        let mut empty = 0;
        while empty < self.sockets.len() {
            let (local, socket) = &self.sockets[self.next];
            match socket.try_recv_from(&mut self.buffer) {
                Ok((len, remote)) => {
                    return Some(Datagram { local: *local, remote, bytes: Bytes::copy_from_slice(&self.buffer[..len]) });
                }
                // An ICMP error of an earlier send has been taken by this: what is behind it is read with the next turn.
                Err(_) => {
                    self.next = (self.next + 1) % self.sockets.len();
                    empty += 1;
                }
            }
        }
        None
    }

    /// Sends from the socket of `local`. A full socket buffer loses it, as the network might: its transaction sends it again.
    pub(super) fn send(&self, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) {
        if let Some((_, socket)) = self.sockets.iter().find(|(address, _)| *address == local) {
            let _ = socket.try_send_to(bytes, remote);
        }
    }
}

fn bind_one(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The kernel gives what it allows; less is no failure.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
