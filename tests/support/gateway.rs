//! Started media workers as signalling sees them, and what their legs agree to.

#![allow(unreachable_pub, dead_code)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use dtls::extension::extension_use_srtp::SrtpProtectionProfile as Srtp;
use ringway::io::worker::{WorkerConfig, Workers, start};
use ringway::media::DtlsIdentity;
use ringway::plan::*;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::browser::{Browser, Call};

pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const A: LegId = LegId(7);
pub const B: LegId = LegId(8);
pub const UFRAG: &str = "gate";
pub const PWD: &str = "0123456789012345678901";

/// Each worker has RTP ports of its own, in this process and beside others, below those that the system hands out by itself.
static NEXT_BLOCK: AtomicU16 = AtomicU16::new(0);

pub fn next_ports() -> u16 {
    let process = u16::try_from(std::process::id() % 400).expect("below 400");
    23_000 + (process + NEXT_BLOCK.fetch_add(1, Ordering::Relaxed)) % 400 * 20
}

pub fn config(max_legs: usize) -> WorkerConfig {
    WorkerConfig {
        addresses: vec![LOCAL],
        workers: 1,
        webrtc_port: 0,
        rtp_ports: 22_920..=22_921,
        max_legs,
        music: [].into(),
        rtp_timeout: None,
        rtp_hold_timeout: None,
        seed: [3; 32],
        identity: DtlsIdentity::generate().unwrap(),
    }
}

pub struct Gateway {
    pub worker: Workers,
    pub events: mpsc::Receiver<MediaEvent>,
    pub fingerprint: [u8; 32],
}

impl Gateway {
    pub fn new() -> Self {
        Self::of(1)
    }

    /// With so many workers.
    pub fn of(workers: usize) -> Self {
        let identity = DtlsIdentity::generate().unwrap();
        let first = next_ports();
        let config = WorkerConfig { workers, rtp_ports: first..=first + 19, identity: identity.clone(), ..config(4) };
        let (tx, events) = mpsc::channel(100);
        Self { worker: start(config, tx).unwrap(), events, fingerprint: identity.fingerprint() }
    }

    pub fn send(&mut self, command: MediaCommand) {
        self.worker.send(command).unwrap();
        self.worker.wake();
    }

    pub async fn event(&mut self) -> MediaEvent {
        let event =
            timeout(Duration::from_secs(10), self.events.recv()).await.expect("an event in time").expect("the worker runs");
        self.worker.note(&event);
        event
    }

    pub async fn open(&mut self, leg: LegId, how: LegOpen) -> SocketAddr {
        self.send(MediaCommand::Open { leg, how, beside: None });
        match self.event().await {
            MediaEvent::Opened { local, .. } => local[0],
            other => panic!("{other:?}"),
        }
    }

    pub async fn open_browser(&mut self, leg: LegId) -> SocketAddr {
        self.open(leg, LegOpen::WebRtc { ice_ufrag: UFRAG.into(), ice_pwd: PWD.into() }).await
    }

    pub fn set_remote(&mut self, leg: LegId, remote: LegRemote) {
        self.send(MediaCommand::SetRemote { leg, remote });
    }

    pub fn set_path(&mut self, leg: LegId, plan: LegPlan, hears: Source) {
        self.send(MediaCommand::SetPath { leg, plan, hears });
    }

    /// [`A`] and [`B`] hear each other.
    pub fn join(&mut self, a: LegPlan, b: LegPlan) {
        self.set_path(A, a, Source::Leg(B));
        self.set_path(B, b, Source::Leg(A));
    }

    /// A browser on leg A, connected.
    pub async fn browser(&mut self, role: DtlsRole, profile: Srtp) -> Call {
        let local = self.open_browser(A).await;
        let browser = Browser::new().await;
        self.set_remote(A, browser.remote(role));
        let call = browser.connect(local, (UFRAG, PWD), role, profile).await.unwrap();
        assert_eq!(self.event().await, MediaEvent::Connected { leg: A });
        assert_eq!(call.gateway_fingerprint, self.fingerprint);
        call
    }

    /// A phone on leg B, and where the gateway hears it.
    pub async fn phone(&mut self, latch: bool) -> (UdpSocket, SocketAddr) {
        self.phone_on(RtpPort::Own, latch).await
    }

    /// The same on such a port.
    pub async fn phone_on(&mut self, port: RtpPort, latch: bool) -> (UdpSocket, SocketAddr) {
        let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let rtp = phone.local_addr().unwrap();
        let local = self.open(B, LegOpen::Rtp { local: LOCAL, port }).await;
        self.set_remote(B, LegRemote::Rtp { rtp, rtcp: rtp, latch });
        (phone, local)
    }

    /// Until all that has been said to the worker of a leg is done: it is asked for a leg that cannot be, and says so.
    pub async fn settle(&mut self, leg: LegId) {
        let elsewhere = LegOpen::Rtp { local: "192.0.2.1".parse().unwrap(), port: RtpPort::Own };
        self.send(MediaCommand::Open { leg: LegId(u64::MAX), how: elsewhere, beside: Some(leg) });
        while !matches!(self.event().await, MediaEvent::OpenFailed { .. }) {}
    }

    pub async fn close(&mut self) -> (LegStats, LegStats) {
        (self.close_leg(A).await, self.close_leg(B).await)
    }

    pub async fn close_leg(&mut self, leg: LegId) -> LegStats {
        self.send(MediaCommand::Close { leg });
        loop {
            match self.event().await {
                MediaEvent::Closed { leg: closed, stats } if closed == leg => return stats,
                _ => {}
            }
        }
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

pub async fn recv(phone: &UdpSocket, wait: Duration) -> Option<Vec<u8>> {
    let mut buf = [0; 2_048];
    loop {
        let len = timeout(wait, phone.recv(&mut buf)).await.ok()?.unwrap();
        if !(192..224).contains(&buf[1]) {
            return Some(buf[..len].to_vec());
        }
    }
}

pub const SOON: Duration = Duration::from_secs(2);
pub const QUIET: Duration = Duration::from_millis(150);
