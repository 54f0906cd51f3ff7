//! The kernel's own calls: sockets with receive time stamps, epoll, recvmmsg, sendmmsg, clocks and the scheduler.
#![allow(unsafe_code)]

use std::io;
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Datagrams in one call.
pub(crate) const BATCH: usize = 32;
/// No datagram of a call is longer.
const ROOM: usize = 2_048;
/// Of one control message with a time stamp.
const CONTROL: usize = 64;
/// As the peers kit's generator has it.
const SOCKET_BUFFER: libc::c_int = 1 << 18;

fn checked(answer: libc::c_int) -> io::Result<libc::c_int> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

fn name_of(addr: SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: sockaddr_in is plain data for which all zeros is a value.
    let mut name: libc::sockaddr_in = unsafe { zeroed() };
    name.sin_family = libc::AF_INET as libc::sa_family_t;
    name.sin_port = addr.port().to_be();
    name.sin_addr.s_addr = u32::from(*addr.ip()).to_be();
    name
}

fn addr_of(name: &libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port))
}

/// A UDP socket that does not block.
#[derive(Debug)]
pub(crate) struct Udp(OwnedFd);

impl Udp {
    /// Bound to exactly this address, with receive time stamps if asked for.
    pub(crate) fn bind(local: SocketAddrV4, stamps: bool) -> io::Result<Self> {
        // SAFETY: takes no pointer; the descriptor that it answers is ours alone.
        let socket = unsafe {
            let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            Self(OwnedFd::from_raw_fd(checked(libc::socket(libc::AF_INET, kind, 0))?))
        };
        socket.set(libc::SO_RCVBUF, SOCKET_BUFFER)?;
        if stamps {
            socket.set(libc::SO_TIMESTAMPNS, 1)?;
        }
        let name = name_of(local);
        // SAFETY: `name` is one sockaddr_in, which the kernel reads.
        checked(unsafe { libc::bind(socket.fd(), (&raw const name).cast(), size_of_val(&name) as u32) })?;
        Ok(socket)
    }

    /// Talks to this one alone from now on: the kernel looks the way up once, and not for every datagram.
    pub(crate) fn connect(&self, remote: SocketAddrV4) -> io::Result<()> {
        let name = name_of(remote);
        // SAFETY: `name` is one sockaddr_in, which the kernel reads.
        checked(unsafe { libc::connect(self.fd(), (&raw const name).cast(), size_of_val(&name) as u32) }).map(|_| ())
    }

    /// Room for so many bytes of what has come and is not read, whatever the machine allows everyone (needs root).
    pub(crate) fn widen(&self, bytes: libc::c_int) -> io::Result<()> {
        self.set(libc::SO_RCVBUFFORCE, bytes)
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    fn set(&self, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        // SAFETY: `value` is one integer, which the kernel reads.
        let answer = unsafe {
            libc::setsockopt(self.fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), size_of_val(&value) as u32)
        };
        checked(answer).map(|_| ())
    }

    /// Sends to whom it is connected to; whether the kernel took it.
    pub(crate) fn send(&self, datagram: &[u8]) -> bool {
        send(self.fd(), datagram)
    }
}

/// Sends one datagram from a connected socket that is known by its descriptor; whether the kernel took it.
pub(crate) fn send(fd: RawFd, datagram: &[u8]) -> bool {
    // SAFETY: the kernel reads the datagram, which is as long as said.
    let sent = unsafe { libc::send(fd, datagram.as_ptr().cast(), datagram.len(), libc::MSG_DONTWAIT) };
    usize::try_from(sent) == Ok(datagram.len())
}

/// Readable sockets, by the number that each was added with.
#[derive(Debug)]
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer; the descriptor that it answers is ours alone.
        let fd = unsafe { OwnedFd::from_raw_fd(checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; 512] })
    }

    pub(crate) fn add(&self, socket: &Udp, number: usize) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
        // SAFETY: both descriptors are open; the kernel copies `event`.
        checked(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.fd(), &raw mut event) }).map(|_| ())
    }

    /// Waits at most this long, for ever with none; answers how many are ready.
    pub(crate) fn wait(&mut self, wait_ns: Option<i64>) -> usize {
        let wait = libc::timespec { tv_sec: wait_ns.unwrap_or(0) / 1_000_000_000, tv_nsec: wait_ns.unwrap_or(0) % 1_000_000_000 };
        let wait = if wait_ns.is_some() { &raw const wait } else { std::ptr::null() };
        let (events, room) = (self.events.as_mut_ptr(), self.events.len() as libc::c_int);
        // SAFETY: the kernel writes at most `room` events and reads the timespec, which lives through the call.
        let count = unsafe { libc::epoll_pwait2(self.fd.as_raw_fd(), events, room, wait, std::ptr::null()) };
        usize::try_from(count).unwrap_or(0)
    }

    /// One of those that the last wait found.
    pub(crate) fn ready(&self, at: usize) -> usize {
        self.events[at].u64 as usize
    }
}

/// A received datagram.
pub(crate) struct Received<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) from: SocketAddrV4,
    /// When the kernel had it, by [`now_ns`]'s clock; 0 when it did not say.
    pub(crate) stamp_ns: i64,
}

/// Room for a batch of datagrams. The headers point into the boxes beside them, which never move.
pub(crate) struct Batch {
    data: Box<[[u8; ROOM]; BATCH]>,
    names: Box<[libc::sockaddr_in; BATCH]>,
    controls: Box<[[u64; CONTROL / 8]; BATCH]>,
    iovecs: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        // SAFETY: all four are plain data for which all zeros is a value (null pointers, lengths 0).
        let (names, iovecs, headers) = unsafe { (Box::new(zeroed()), Box::new(zeroed()), Box::new(zeroed())) };
        let (data, controls) = (Box::new([[0; ROOM]; BATCH]), Box::new([[0; CONTROL / 8]; BATCH]));
        let mut batch = Self { data, names, controls, iovecs, headers };
        for at in 0..BATCH {
            batch.iovecs[at] = libc::iovec { iov_base: batch.data[at].as_mut_ptr().cast(), iov_len: ROOM };
            let header: &mut libc::msghdr = &mut batch.headers[at].msg_hdr;
            header.msg_name = (&raw mut batch.names[at]).cast();
            header.msg_iov = &raw mut batch.iovecs[at];
            header.msg_iovlen = 1;
            header.msg_control = batch.controls[at].as_mut_ptr().cast();
        }
        batch
    }

    /// Reads what a socket has, at most `room` of [`BATCH`]: to ask for one more than there is costs a look.
    pub(crate) fn recv(&mut self, socket: &Udp, room: usize) -> usize {
        let room = room.min(BATCH);
        for header in self.headers.iter_mut().take(room) {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
            header.msg_hdr.msg_controllen = CONTROL;
        }
        // SAFETY: each header points to a name, an iovec and a control buffer of its own, each iovec to data of its own; all are
        // boxed in `self`, as long as said, and not touched during the call.
        let count = unsafe {
            let headers = self.headers.as_mut_ptr();
            libc::recvmmsg(socket.fd(), headers, room as u32, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// One of those that the last call read.
    pub(crate) fn received(&self, at: usize) -> Received<'_> {
        let header = &self.headers[at];
        let data = &self.data[at][..(header.msg_len as usize).min(ROOM)];
        Received { data, from: addr_of(&self.names[at]), stamp_ns: stamp_of(&header.msg_hdr) }
    }

    /// Sends the first `count` of what was read on, each to whom its sender talks to, as many as the kernel takes.
    pub(crate) fn forward(&mut self, count: usize, socket: &Udp, to: impl Fn(SocketAddrV4) -> Option<SocketAddrV4>) {
        for at in 0..count {
            self.iovecs[at].iov_len = self.headers[at].msg_len as usize;
            // Nobody's goes back to where it came from.
            let from = addr_of(&self.names[at]);
            self.names[at] = name_of(to(from).unwrap_or(from));
            self.headers[at].msg_hdr.msg_controllen = 0;
        }
        // SAFETY: as in `recv`; the kernel only reads names and data.
        unsafe { libc::sendmmsg(socket.fd(), self.headers.as_mut_ptr(), count as u32, libc::MSG_DONTWAIT) };
        for iovec in &mut self.iovecs[..count] {
            iovec.iov_len = ROOM;
        }
    }
}

fn stamp_of(header: &libc::msghdr) -> i64 {
    // SAFETY: the header is one that the kernel has filled in: its control buffer holds whole messages, which the macros walk,
    // and one of this type holds a timespec (read unaligned).
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            if (*message).cmsg_type == libc::SCM_TIMESTAMPNS {
                let stamp: libc::timespec = libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned();
                return stamp.tv_sec * 1_000_000_000 + stamp.tv_nsec;
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    0
}

fn clock(id: libc::clockid_t) -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which is ours.
    unsafe { libc::clock_gettime(id, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The clock of the kernel's receive time stamps, in nanoseconds.
pub(crate) fn now_ns() -> i64 {
    clock(libc::CLOCK_REALTIME)
}

/// What this thread has computed, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> i64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Sleeps until [`now_ns`] is this.
pub(crate) fn sleep_until(at_ns: i64) {
    let at = libc::timespec { tv_sec: at_ns / 1_000_000_000, tv_nsec: at_ns % 1_000_000_000 };
    // SAFETY: the kernel reads one timespec.
    unsafe { libc::clock_nanosleep(libc::CLOCK_REALTIME, libc::TIMER_ABSTIME, &raw const at, std::ptr::null_mut()) };
}

/// Binds this thread to a processor and asks for the real-time class; whether it was given.
pub(crate) fn claim(cpu: Option<usize>, priority: i32) -> bool {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the set is plain data of ours, which the kernel reads; likewise the parameters.
    unsafe {
        if let Some(cpu) = cpu {
            let mut set: libc::cpu_set_t = zeroed();
            libc::CPU_SET(cpu, &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
        }
        libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameters) == 0
    }
}

/// As many open sockets as the machine allows.
pub(crate) fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes and reads one rlimit of ours.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_come_with_their_time_and_origin() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let (a, b) = (Udp::bind(any, true).expect("a socket"), Udp::bind(any, true).expect("a socket"));
        let addr = |socket: &Udp| {
            let mut name = name_of(any);
            let mut len = size_of_val(&name) as u32;
            // SAFETY: the kernel writes one sockaddr_in, which is ours.
            unsafe { libc::getsockname(socket.fd(), (&raw mut name).cast(), &raw mut len) };
            addr_of(&name)
        };
        let mut epoll = Epoll::new().expect("an epoll");
        epoll.add(&b, 5).expect("added");
        let before = now_ns();
        a.connect(addr(&b)).expect("connected");
        assert!(a.send(b"one") && a.send(b"two"));
        assert_eq!((epoll.wait(None), epoll.ready(0)), (1, 5));
        let mut batch = Batch::new();
        assert_eq!(batch.recv(&b, BATCH), 2);
        let second = batch.received(1);
        assert_eq!((second.data, second.from), (&b"two"[..], addr(&a)));
        assert!((before..=now_ns()).contains(&second.stamp_ns), "stamped {} after {before}", second.stamp_ns);
    }
}
