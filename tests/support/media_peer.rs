//! The media core without sockets: a sink that keeps what is sent, and a browser-like peer in virtual time.

#![allow(unreachable_pub, dead_code)]

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Dtls, DtlsCertificate, Output};
use hmac::{Hmac, Mac};
use is::stun::{StunMessage, TransId};
use ringway::base::{Now, Rng};
use ringway::media::srtp::{MasterKeys, Profile, SrtpError, SrtpRx, SrtpTx};
use ringway::media::{Core, CoreConfig, DtlsIdentity, Lookahead, Pair, PortPair, RouteChange, Sink, Slot, SocketId, WorkerId};
use ringway::plan::*;
use sha1::Sha1;

pub const A: LegId = LegId(1);
pub const B: LegId = LegId(2);
pub const PWD: &str = "0123456789012345678901";
pub const SHARED: SocketId = SocketId(0);
/// The pair that classic legs share, where [`Bench::with_shared_ports`] has one.
pub const RTP: SocketId = SocketId(100);
pub const RTCP: SocketId = SocketId(101);
pub const RTP_ADDR: &str = "192.0.2.1:20064";

/// Keeps what the core sends and tells, in slots that are used again.
pub struct TestSink {
    slots: Vec<Slot>,
    targets: Vec<Pair>,
    pub events: Vec<MediaEvent>,
    pub next_socket: u32,
    /// Sending there breaks an invariant.
    pub poison: Option<SocketAddr>,
    /// For legs that live with other workers.
    pub handed: VecDeque<(WorkerId, Pair, Slot)>,
    /// To be used for them again.
    pub spare: Vec<Slot>,
    /// How many more of those there is room for.
    pub room: usize,
    /// For the homes of legs that live here.
    pub routes: VecDeque<(WorkerId, RouteChange)>,
}

impl Default for TestSink {
    fn default() -> Self {
        let slots = (0..65).map(|_| Slot::default()).collect();
        Self {
            slots,
            targets: Vec::with_capacity(64),
            events: Vec::new(),
            next_socket: 1,
            poison: None,
            handed: VecDeque::new(),
            spare: Vec::new(),
            room: usize::MAX,
            routes: VecDeque::new(),
        }
    }
}

impl TestSink {
    /// What was sent since the last call of [`TestSink::clear`].
    pub fn sent(&self) -> impl Iterator<Item = (Pair, &[u8])> {
        self.targets.iter().copied().zip(self.slots.iter().map(Slot::data))
    }

    pub fn clear(&mut self) {
        self.targets.clear();
    }

    /// Takes all that was sent.
    pub fn take(&mut self) -> Vec<(Pair, Vec<u8>)> {
        let taken = self.sent().map(|(pair, data)| (pair, data.to_vec())).collect();
        self.clear();
        taken
    }

    /// Takes the RTP that was sent (RTCP is passed over).
    pub fn take_rtp(&mut self) -> Vec<Vec<u8>> {
        self.take().into_iter().map(|sent| sent.1).filter(|packet| !(192..224).contains(&packet[1])).collect()
    }
}

impl Sink for TestSink {
    fn slot(&mut self) -> &mut Slot {
        &mut self.slots[self.targets.len()]
    }

    fn transmit(&mut self, to: Pair) {
        self.targets.push(to);
        if self.targets.len() == self.slots.len() {
            self.slots.push(Slot::default());
        }
    }

    fn forward(&mut self, slot: &mut Slot, to: Pair) {
        assert_ne!(self.poison, Some(to.remote), "poison");
        std::mem::swap(slot, &mut self.slots[self.targets.len()]);
        self.transmit(to);
    }

    fn event(&mut self, event: MediaEvent) {
        self.events.push(event);
    }

    fn bind_pair(&mut self, local: IpAddr) -> Result<PortPair, OpenFailure> {
        let rtp = self.next_socket;
        self.next_socket += 2;
        let local = SocketAddr::new(local, 10_000 + rtp as u16);
        Ok(PortPair { rtp: SocketId(rtp), rtcp: SocketId(rtp + 1), local })
    }

    fn release_pair(&mut self, _: PortPair) {}

    fn hand_over(&mut self, to: WorkerId, slot: &mut Slot, pair: Pair) -> bool {
        let Some(room) = self.room.checked_sub(1) else { return false };
        self.room = room;
        let full = std::mem::replace(slot, self.spare.pop().unwrap_or_default());
        self.handed.push_back((to, pair, full));
        true
    }

    fn tell_route(&mut self, home: WorkerId, change: RouteChange) {
        self.routes.push_back((home, change));
    }
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A core with one shared socket, a clock and a sink.
pub struct Bench {
    pub core: Core,
    pub sink: TestSink,
    pub now: Now,
    pub slot: Slot,
}

impl Default for Bench {
    fn default() -> Self {
        Self::with(|_| ())
    }
}

/// What a bench's core is made of, unless a test says otherwise.
pub fn core_config() -> CoreConfig {
    CoreConfig {
        worker: WorkerId(0),
        sockets: vec![(SHARED, addr("192.0.2.1:4000"))],
        ports: Vec::new(),
        max_legs: 8,
        music: (0..8_000).map(|n| ((n % 80) * 100 - 4_000) as i16).collect(),
        rtp_timeout: None,
        rtp_hold_timeout: None,
        identity: DtlsIdentity::generate().unwrap(),
        rng: Rng::from_number(1),
    }
}

impl Bench {
    /// A bench whose core differs from [`core_config`]'s.
    pub fn with(change: impl FnOnce(&mut CoreConfig)) -> Self {
        let mut config = core_config();
        change(&mut config);
        let now = Now { mono: Instant::now(), unix: Duration::from_secs(1_790_000_000) };
        Self { core: Core::new(config), sink: TestSink::default(), now, slot: Slot::default() }
    }

    /// A bench whose classic legs may share [`RTP`] and [`RTCP`].
    pub fn with_shared_ports() -> Self {
        Self::with(|config| config.ports = vec![PortPair { rtp: RTP, rtcp: RTCP, local: addr(RTP_ADDR) }])
    }

    pub fn command(&mut self, command: MediaCommand) {
        self.core.handle_command(self.now, command, &mut self.sink);
    }

    /// A datagram arrives, after what it needs was prefetched as a worker does.
    pub fn datagram(&mut self, socket: SocketId, remote: SocketAddr, bytes: &[u8]) {
        self.slot.fill(bytes);
        let mut ahead = Lookahead::default();
        self.core.prefetch(&mut ahead, Some((socket, Some(remote))));
        self.core.prefetch(&mut ahead, None);
        self.core.handle_datagram(self.now, Pair { socket, remote }, &mut self.slot, &mut self.sink);
    }

    /// Time goes on, through every deadline on the way.
    pub fn advance(&mut self, by: Duration) {
        assert_eq!(self.core.forgotten_deadline(self.now), None);
        let end = self.now.after(by);
        while let Some((at, _)) = self.core.poll_timeout().filter(|(at, _)| *at <= end.mono) {
            self.now = self.now.after(at.saturating_duration_since(self.now.mono));
            self.core.handle_timeout(self.now, &mut self.sink);
        }
        self.now = end;
    }

    /// Opens a classic leg; where it is heard.
    pub fn open_classic(&mut self, leg: LegId, port: RtpPort) -> SocketAddr {
        self.command(MediaCommand::Open { leg, how: LegOpen::Rtp { local: addr(RTP_ADDR).ip(), port }, beside: None });
        match self.sink.events.pop() {
            Some(MediaEvent::Opened { leg: opened, local }) if opened == leg => local[0],
            other => panic!("{other:?}"),
        }
    }

    /// A classic leg on the shared ports whose far side is `remote`.
    pub fn phone_on_shared_port(&mut self, leg: LegId, remote: SocketAddr) {
        assert_eq!(self.open_classic(leg, RtpPort::Shared { remote: None }), addr(RTP_ADDR));
        let rtcp = SocketAddr::new(remote.ip(), remote.port() + 1);
        self.set_remote(leg, LegRemote::Rtp { rtp: remote, rtcp, latch: false });
    }

    /// A classic leg whose far side is `remote`; its RTP socket.
    pub fn phone(&mut self, leg: LegId, remote: SocketAddr) -> SocketId {
        let socket = SocketId(self.sink.next_socket);
        self.command(MediaCommand::Open {
            leg,
            how: LegOpen::Rtp { local: addr("192.0.2.1:0").ip(), port: RtpPort::Own },
            beside: None,
        });
        let rtcp = SocketAddr::new(remote.ip(), remote.port() + 1);
        self.set_remote(leg, LegRemote::Rtp { rtp: remote, rtcp, latch: false });
        socket
    }

    pub fn set_remote(&mut self, leg: LegId, remote: LegRemote) {
        self.command(MediaCommand::SetRemote { leg, remote });
    }

    pub fn set_path(&mut self, leg: LegId, plan: LegPlan, hears: Source) {
        self.command(MediaCommand::SetPath { leg, plan, hears });
    }

    /// [`A`] and [`B`] hear each other.
    pub fn join(&mut self, a: LegPlan, b: LegPlan) {
        self.set_path(A, a, Source::Leg(B));
        self.set_path(B, b, Source::Leg(A));
    }

    /// A browser with its keys taken.
    pub fn browser(&mut self, leg: LegId, remote: SocketAddr) -> Peer {
        let mut peer = Peer::new(self.now.mono, remote);
        self.command(MediaCommand::Open { leg, how: webrtc(), beside: None });
        self.set_remote(leg, peer.remote());
        self.check(&peer, remote, true);
        peer.shake_hands(self);
        peer
    }

    /// A connectivity check from `source`.
    pub fn check(&mut self, peer: &Peer, source: SocketAddr, use_candidate: bool) {
        let check = peer.check(use_candidate);
        self.datagram(SHARED, source, &check);
    }
}

/// Our end of a browser leg, as [`Peer`] knows it.
pub fn webrtc() -> LegOpen {
    LegOpen::WebRtc { ice_ufrag: "gate".into(), ice_pwd: PWD.into() }
}

/// A browser-like peer: dimpl as the DTLS client, our SRTP.
pub struct Peer {
    pub addr: SocketAddr,
    dtls: Dtls,
    certificate: DtlsCertificate,
    srtp: Option<(SrtpRx, SrtpTx)>,
}

impl Peer {
    pub fn new(now: Instant, addr: SocketAddr) -> Self {
        let certificate = dimpl::certificate::generate_self_signed_certificate().unwrap();
        let mut dtls = Dtls::new_auto(Arc::new(dimpl::Config::default()), certificate.clone(), now);
        dtls.set_active(true);
        Self { addr, dtls, certificate, srtp: None }
    }

    pub fn remote(&self) -> LegRemote {
        self.remote_of("peer")
    }

    /// The same with another user fragment.
    pub fn remote_of(&self, ice_ufrag: &str) -> LegRemote {
        let fingerprint = self.certificate.fingerprint().try_into().unwrap();
        LegRemote::WebRtc { ice_ufrag: ice_ufrag.into(), ice_pwd: PWD.into(), fingerprint, role: DtlsRole::Server }
    }

    /// A Binding request of the controlling side.
    pub fn check(&self, use_candidate: bool) -> Vec<u8> {
        self.check_of("gate:peer", use_candidate)
    }

    /// The same with other user fragments.
    pub fn check_of(&self, username: &str, use_candidate: bool) -> Vec<u8> {
        let message = StunMessage::binding_request(username, TransId::new(), true, 1, 2_130_706_431, use_candidate);
        let mut buf = vec![0; 300];
        let hmac = |key: &[u8], parts: &[&[u8]]| {
            let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().into()
        };
        let len = message.to_bytes(Some(PWD.as_bytes()), &mut buf, hmac).unwrap();
        buf.truncate(len);
        buf
    }

    pub fn shake_hands(&mut self, bench: &mut Bench) {
        bench.sink.clear();
        for _ in 0..50 {
            for packet in self.say(bench.now.mono) {
                bench.datagram(SHARED, self.addr, &packet);
            }
            for (_, packet) in bench.sink.take() {
                self.hear(&packet);
            }
            // Its last flight has been heard.
            if self.srtp.is_some() && bench.sink.sent().count() == 0 {
                return;
            }
            bench.advance(Duration::from_millis(5));
        }
        panic!("no keys: {:?}", bench.sink.events);
    }

    /// Whether it has its keys.
    pub fn has_keys(&self) -> bool {
        self.srtp.is_some()
    }

    /// A DTLS datagram of the gateway's.
    pub fn hear(&mut self, packet: &[u8]) {
        self.dtls.handle_packet(packet).unwrap();
    }

    /// What its handshake has to say.
    pub fn say(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let (mut buf, mut said) = (vec![0; 2_048], Vec::new());
        self.dtls.handle_timeout(now).unwrap();
        loop {
            match self.dtls.poll_output(&mut buf) {
                Output::Packet(packet) => said.push(packet.to_vec()),
                Output::KeyingMaterial(material, profile) => {
                    let profile = match profile {
                        dimpl::SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
                        dimpl::SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
                        _ => Profile::Aes128CmHmacSha1_80,
                    };
                    let keys = MasterKeys::split(profile, &material).unwrap();
                    let rx = SrtpRx::new(profile, keys.server.0, keys.server.1).unwrap();
                    self.srtp = Some((rx, SrtpTx::new(profile, keys.client.0, keys.client.1).unwrap()));
                }
                Output::Timeout(_) => return said,
                _ => {}
            }
        }
    }

    /// Ends DTLS.
    pub fn close(&mut self, bench: &mut Bench) {
        let mut buf = vec![0; 2_048];
        self.dtls.close().unwrap();
        while let Output::Packet(packet) = self.dtls.poll_output(&mut buf) {
            bench.datagram(SHARED, self.addr, packet);
        }
    }

    /// Encrypts a packet.
    pub fn protect(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut buf = packet.to_vec();
        buf.resize(packet.len() + 20, 0);
        let len = self.srtp.as_mut().unwrap().1.protect_rtp(&mut buf, packet.len()).unwrap();
        buf.truncate(len);
        buf
    }

    /// Decrypts a packet.
    pub fn unprotect(&mut self, packet: &[u8]) -> Vec<u8> {
        self.read(packet).unwrap()
    }

    /// Decrypts a packet, unless its keys don't.
    pub fn read(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let mut buf = packet.to_vec();
        let len = self.srtp.as_mut().unwrap().0.unprotect_rtp(&mut buf)?;
        buf.truncate(len);
        Ok(buf)
    }
}

pub fn plan(codec: Codec, pt: u8, ssrc: u32) -> LegPlan {
    LegPlan {
        codec,
        rx_pt: Pt(pt),
        tx_pt: Pt(pt),
        events: Some(DtmfPlan { rx_pt: Pt(101), tx_pt: Pt(101), clock_hz: codec.clock_hz(), rx_other: None }),
        dtmf_tx: DtmfWay::Events,
        dtmf_rx_tones: false,
        ptime_ms: 20,
        tx_ssrc: Ssrc(ssrc),
        rx: true,
        tx: true,
    }
}
