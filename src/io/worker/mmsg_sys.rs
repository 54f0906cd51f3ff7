//! The kernel's own calls: epoll, eventfd, recvmmsg, sendmmsg.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use socket2::Socket;

use crate::media::{Pair, Slot, SocketId};

/// Datagrams in one call.
pub(super) const MAX_BATCH: usize = 32;

const MAILBOX_TOKEN: u64 = u64::MAX;

fn checked(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// A counter that wakes epoll.
#[derive(Debug)]
pub(super) struct EventFd(OwnedFd);

impl EventFd {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the descriptor that it answers is ours alone.
        unsafe {
            let fd = checked(libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC))?;
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// Wakes whoever waits. The only failure is a counter at its end, and then it is awake.
    pub(super) fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the descriptor is open as long as `self`; `one` is 8 bytes long.
        unsafe { libc::write(self.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes the wake-up.
    pub(super) fn clear(&self) {
        let mut count = [0u8; 8];
        // SAFETY: the descriptor is open as long as `self`; `count` is 8 bytes long.
        unsafe { libc::read(self.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Asks for room for so much in a socket before it is read and before it is sent: as much as asked for where we may (CAP_NET_ADMIN),
/// else what the machine allows everyone (`net.core.rmem_max`).
pub(super) fn widen(socket: &Socket, bytes: usize) {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    for (force, ask) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)] {
        let set = |option| {
            let len = size_of_val(&value) as libc::socklen_t;
            // SAFETY: the descriptor is open as long as `socket`; `value` is one integer, which the kernel reads.
            checked(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), len) })
        };
        // Less than asked for is no reason not to start.
        let _ = set(force).or_else(|_| set(ask));
    }
}

/// How many datagrams the kernel threw away because the socket's room was full of unread ones (sock_diag(7), SK_MEMINFO_DROPS).
pub(super) fn lost_unread(socket: &Socket) -> u64 {
    const COUNT: usize = libc::SK_MEMINFO_DROPS as usize + 1;
    let mut info = [0u32; COUNT];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `socket`; the kernel writes at most `len` bytes, which `info` has.
    let answer = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    if answer < 0 { 0 } else { u64::from(info[COUNT - 1]) }
}

/// What is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    Socket(SocketId),
    Mailbox,
}

/// Sockets that one wait answers: under load every leg's has something within a turn.
const MAX_READY: usize = 256;

/// A worker for whom so many waits in a row were full is behind: most sockets have several datagrams by then.
const BEHIND: u32 = 8;

/// What the last wait answered.
pub(super) struct Ready {
    events: [libc::epoll_event; MAX_READY],
    count: usize,
    full_waits: u32,
}

impl Default for Ready {
    fn default() -> Self {
        Self { events: [libc::epoll_event { events: 0, u64: 0 }; MAX_READY], count: 0, full_waits: 0 }
    }
}

impl Ready {
    /// One of those that are ready.
    pub(super) fn token(&self, at: usize) -> Option<Token> {
        self.events[..self.count].get(at).map(|event| match event.u64 {
            MAILBOX_TOKEN => Token::Mailbox,
            socket => Token::Socket(SocketId(socket as u32)),
        })
    }

    /// Whether more has been ready than one wait answers, for some time.
    pub(super) fn is_behind(&self) -> bool {
        self.full_waits >= BEHIND
    }
}

#[derive(Debug)]
pub(super) struct Epoll(OwnedFd);

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the descriptor that it answers is ours alone.
        unsafe { Ok(Self(OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?))) }
    }

    pub(super) fn add(&self, fd: RawFd, token: Token) -> io::Result<()> {
        let u64 = match token {
            Token::Socket(id) => u64::from(id.0),
            Token::Mailbox => MAILBOX_TOKEN,
        };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64 };
        // SAFETY: both descriptors are open; the kernel copies `event`.
        checked(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) }).map(|_| ())
    }

    /// Watches a descriptor no longer. It is one that [`Epoll::add`] took, so that there is nothing to fail.
    pub(super) fn remove(&self, fd: RawFd) {
        // SAFETY: both descriptors are open; the kernel reads no event for this operation.
        unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, std::ptr::null_mut()) };
    }

    /// Waits until something is ready or time is up, rounded up to a millisecond.
    pub(super) fn wait(&self, ready: &mut Ready, wait: Duration) {
        let millis = wait.as_micros().div_ceil(1_000).min(60_000) as libc::c_int;
        // SAFETY: the array is as long as said; the descriptor is open as long as `self`.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), ready.events.as_mut_ptr(), MAX_READY as i32, millis) };
        // A signal (EINTR) is a wake-up with nothing ready.
        ready.count = usize::try_from(count).unwrap_or(0);
        ready.full_waits = if ready.count == MAX_READY { ready.full_waits.saturating_add(1) } else { 0 };
    }
}

/// A batch of received datagrams, each in its slot.
pub(super) struct RecvBatch {
    slots: [Slot; MAX_BATCH],
    remotes: [Option<SocketAddr>; MAX_BATCH],
    names: [libc::sockaddr_storage; MAX_BATCH],
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecvBatch")
    }
}

impl Default for RecvBatch {
    fn default() -> Self {
        // SAFETY: sockaddr_storage is plain data for which all zeros is a value (family unspecified).
        let names = unsafe { zeroed() };
        Self { slots: std::array::from_fn(|_| Slot::default()), remotes: [None; MAX_BATCH], names }
    }
}

impl RecvBatch {
    /// Reads what is there, so many at most, of [`MAX_BATCH`].
    pub(super) fn recv(&mut self, fd: RawFd, most: usize) -> io::Result<usize> {
        let most = most.min(MAX_BATCH);
        // SAFETY: iovec and mmsghdr are plain data for which all zeros is a value (null pointers, lengths 0).
        let mut iovecs: [libc::iovec; MAX_BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; MAX_BATCH] = unsafe { zeroed() };
        for (at, slot) in self.slots[..most].iter_mut().enumerate() {
            let room = slot.room();
            iovecs[at] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let header = &mut headers[at].msg_hdr;
            header.msg_name = (&raw mut self.names[at]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as u32;
            header.msg_iov = &raw mut iovecs[at];
            header.msg_iovlen = 1;
        }
        // SAFETY: every header points to a name and an iovec of its own, and every iovec to the room of a slot of its own; all
        // live in `self` or this frame, are not touched during the call, and are as long as said.
        let count =
            checked(unsafe { libc::recvmmsg(fd, headers.as_mut_ptr(), most as u32, libc::MSG_DONTWAIT, std::ptr::null_mut()) })?
                as usize;
        for (at, header) in headers[..count].iter().enumerate() {
            self.slots[at].set_len(header.msg_len as usize);
            // A datagram that was cut is none of ours: no leg sends so much.
            let whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            self.remotes[at] = if whole { read_name(&self.names[at]) } else { None };
        }
        Ok(count)
    }

    /// As [`RecvBatch::recv`] for one datagram, for which recvfrom costs less.
    pub(super) fn recv_one(&mut self, fd: RawFd) -> io::Result<usize> {
        let (room, name) = (self.slots[0].room(), &mut self.names[0]);
        let mut name_len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        // With MSG_TRUNC the answer is the datagram's own length, however much of it was cut.
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        // SAFETY: the kernel writes at most the length of `room` into it and at most `name_len` bytes into `name`, which is as long.
        let len = unsafe {
            libc::recvfrom(fd, room.as_mut_ptr().cast(), room.len(), flags, (&raw mut *name).cast(), &raw mut name_len)
        };
        let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
        self.remotes[0] = if len <= room.len() { read_name(name) } else { None };
        self.slots[0].set_len(len);
        Ok(1)
    }

    /// Where one datagram of the last batch came from; from nowhere if it is to be passed over.
    pub(super) fn remote(&self, at: usize) -> Option<SocketAddr> {
        self.remotes[at]
    }

    /// The same with the datagram.
    pub(super) fn received(&mut self, at: usize) -> (&mut Slot, Option<SocketAddr>) {
        (&mut self.slots[at], self.remotes[at])
    }
}

/// What sendmmsg needs beside the datagrams.
pub(super) struct SendScratch {
    names: [libc::sockaddr_storage; MAX_BATCH],
}

impl fmt::Debug for SendScratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendScratch")
    }
}

impl Default for SendScratch {
    fn default() -> Self {
        // SAFETY: sockaddr_storage is plain data for which all zeros is a value (family unspecified).
        Self { names: unsafe { zeroed() } }
    }
}

impl SendScratch {
    /// Sends `slots` to `targets` from one socket. One that the kernel refuses is passed over; when it takes no more (its
    /// buffer is full) the rest is dropped.
    pub(super) fn send(&mut self, fd: RawFd, slots: &[Slot], targets: &[Pair]) {
        if let ([slot], [target]) = (slots, targets) {
            return self.send_one(fd, slot, target);
        }
        // SAFETY: iovec and mmsghdr are plain data for which all zeros is a value (null pointers, lengths 0).
        let mut iovecs: [libc::iovec; MAX_BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; MAX_BATCH] = unsafe { zeroed() };
        let count = slots.len().min(targets.len()).min(MAX_BATCH);
        for at in 0..count {
            let data = slots[at].data();
            iovecs[at] = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
            let header = &mut headers[at].msg_hdr;
            header.msg_namelen = write_name(&mut self.names[at], targets[at].remote);
            header.msg_name = (&raw mut self.names[at]).cast();
            header.msg_iov = &raw mut iovecs[at];
            header.msg_iovlen = 1;
        }
        let mut from = 0;
        while from < count {
            // SAFETY: every header from `from` to `count` points to a name and an iovec of its own, and every iovec to a slot's
            // data, which the kernel only reads; all live longer than the call and are as long as said.
            let sent = unsafe {
                let headers = headers[from..count].as_mut_ptr();
                libc::sendmmsg(fd, headers, (count - from) as u32, libc::MSG_DONTWAIT)
            };
            match usize::try_from(sent) {
                Ok(sent) => from += sent.max(1),
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => from += 1,
            }
        }
    }

    /// One alone, for which sendto costs less.
    fn send_one(&mut self, fd: RawFd, slot: &Slot, target: &Pair) {
        let (data, name) = (slot.data(), &mut self.names[0]);
        let len = write_name(name, target.remote);
        // SAFETY: the kernel reads `data` and the first `len` bytes of the name, which are there.
        unsafe { libc::sendto(fd, data.as_ptr().cast(), data.len(), libc::MSG_DONTWAIT, (&raw const *name).cast(), len) };
    }
}

fn read_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel wrote a name of this family, which sockaddr_storage has size and alignment for.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            // Flow labels differ from packet to packet and are no part of an address.
            Some(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn write_name(into: &mut libc::sockaddr_storage, addr: SocketAddr) -> libc::socklen_t {
    match addr {
        SocketAddr::V4(addr) => {
            // SAFETY: sockaddr_storage has size and alignment for every family's name; both are plain data.
            let name = unsafe { &mut *(&raw mut *into).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = addr.port().to_be();
            name.sin_addr.s_addr = u32::from(*addr.ip()).to_be();
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(addr) => {
            // SAFETY: as above.
            let name = unsafe { &mut *(&raw mut *into).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = addr.port().to_be();
            name.sin6_flowinfo = 0;
            name.sin6_addr.s6_addr = addr.ip().octets();
            name.sin6_scope_id = addr.scope_id();
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_full_socket_threw_away_is_known() {
        let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let sender = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(lost_unread(&socket), 0);
        widen(&socket, 4096);
        const SENT: u64 = 200;
        (0..SENT).for_each(|_| assert_eq!(sender.send_to(&[0; 172], to).unwrap(), 172));
        socket.set_nonblocking(true).unwrap();
        let mut room = [std::mem::MaybeUninit::uninit(); 256];
        let read = std::iter::from_fn(|| socket.recv(&mut room).ok()).count() as u64;
        assert!(read > 0 && read < SENT);
        assert_eq!(lost_unread(&socket), SENT - read);
    }

    #[test]
    fn who_finds_all_that_a_wait_answers_ready_again_and_again_is_behind() {
        let (epoll, mut ready) = (Epoll::new().unwrap(), Ready::default());
        let fds: Vec<_> = (0..MAX_READY).map(|_| EventFd::new().unwrap()).collect();
        for (at, fd) in fds.iter().enumerate() {
            fd.ring();
            epoll.add(fd.as_raw_fd(), Token::Socket(SocketId(at as u32))).unwrap();
        }
        for wait in 0..=BEHIND {
            assert_eq!(ready.is_behind(), wait == BEHIND);
            epoll.wait(&mut ready, Duration::ZERO);
        }
        fds[0].clear();
        epoll.wait(&mut ready, Duration::ZERO);
        assert!(!ready.is_behind());
        assert!(ready.token(MAX_READY - 2).is_some() && ready.token(MAX_READY - 1).is_none());
    }
}
