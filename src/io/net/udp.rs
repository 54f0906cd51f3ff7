use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::NetEvent;
use crate::wire::sip::MAX_MESSAGE_BYTES;

/// Our SIP sockets, by their address.
pub type UdpSockets = BTreeMap<SocketAddr, Arc<UdpSocket>>;

/// Bursts of registrations come all at once after a power cut.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Binds one socket an address; port 0 takes any.
///
/// # Errors
/// The address is not this machine's or its port is taken; says which.
pub fn bind_udp(addresses: &[IpAddr], port: u16) -> io::Result<UdpSockets> {
    addresses
        .iter()
        .map(|ip| {
            let address = SocketAddr::new(*ip, port);
            let socket =
                bind_one(address).map_err(|error| io::Error::new(error.kind(), format!("SIP on UDP {address}: {error}")))?;
            Ok((socket.local_addr()?, Arc::new(socket)))
        })
        .collect()
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

/// Reads a socket until the driver is gone.
pub(super) fn read(local: SocketAddr, socket: Arc<UdpSocket>, events: mpsc::Sender<NetEvent>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut buffer = vec![0; MAX_MESSAGE_BYTES + 1];
        let mut dropped: u64 = 0;
        loop {
            // An ICMP error of an earlier send is no reason to stop reading.
            let Ok((len, remote)) = socket.recv_from(&mut buffer).await else { continue };
            // RFC 5626 section 3.5.1's keep-alive over UDP is STUN; many phones send line ends or a NUL instead.
            if len <= 4 {
                continue;
            }
            let event = NetEvent::Datagram { local, remote, bytes: Bytes::copy_from_slice(&buffer[..len]) };
            match events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    dropped += 1;
                    if dropped.is_power_of_two() {
                        tracing::warn!(dropped, "SIP datagrams dropped: the engine has more to do than it can take on");
                    }
                }
            }
        }
    })
}
