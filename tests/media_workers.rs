//! Several started workers: calls that move between them, over real sockets, with a WebRTC peer that shares no code with us.

#[path = "support/audio.rs"]
mod audio;
#[path = "support/browser.rs"]
mod browser;
#[path = "support/gateway.rs"]
mod gateway;

use std::net::SocketAddr;

use audio::{fields, rtp};
use browser::Call;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile as Srtp;
use gateway::{A, B, Gateway, LOCAL, PWD, SOON, plan, recv};
use ringway::io::worker::MoveError;
use ringway::media::{Totals, WorkerId};
use ringway::plan::*;
use tokio::net::UdpSocket;

const C: LegId = LegId(9);
const D: LegId = LegId(10);

fn spoken(n: u16, ssrc: u32) -> Vec<u8> {
    rtp(0, false, n, u32::from(n) * 160, ssrc, &[n as u8; 160])
}

/// Packets `from..to` have come, each once, in their order, as one stream; its first sequence number, less `from`.
fn are_whole(heard: &[Vec<u8>], from: u16) -> u16 {
    let base = fields(&heard[0]).1.wrapping_sub(from);
    let first_ts = fields(&heard[0]).2;
    for (n, packet) in (0u16..).zip(heard) {
        let (_, seq, ts, ssrc) = fields(packet);
        assert_eq!((seq, packet[12]), (base.wrapping_add(from + n), (from + n) as u8), "packet {n} of {}", heard.len());
        assert_eq!((ts.wrapping_sub(first_ts), ssrc), (u32::from(n) * 160, fields(&heard[0]).3));
    }
    base
}

fn are_counted(totals: &Totals) {
    assert!(totals.traffic.is_balanced(), "{totals:?}");
    assert_eq!(totals.traffic.rtp, totals.legs.rx, "{totals:?}");
    assert_eq!((totals.legs.dropped_total(), totals.traffic.not_taken_over), (0, 0), "{totals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_moves_back_and_forth_and_nobody_hears_it() {
    for port in [RtpPort::Own, RtpPort::Shared { remote: None }] {
        moves_back_and_forth(port).await;
    }
}

async fn moves_back_and_forth(port: RtpPort) {
    const ROUNDS: u16 = 12;
    const BURST: u16 = 20;
    let mut gateway = Gateway::of(3);
    let mut call = gateway.browser(DtlsRole::Server, Srtp::Srtp_Aes128_Cm_Hmac_Sha1_80).await;
    let (phone, local) = gateway.phone_on(port, false).await;
    gateway.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    gateway.settle(A).await;
    let mut bases = None;
    for round in 0..ROUNDS {
        let from = round * BURST;
        for n in from..from + BURST {
            // In the middle of it, and sometimes twice at once.
            if n % BURST == 7 || (round % 3 == 0 && n % BURST >= 7 && n % BURST < 10) {
                gateway.worker.move_leg(if n % 2 == 0 { A } else { B }, WorkerId((round + n) % 3)).unwrap();
                gateway.worker.wake();
            }
            call.send_rtp(&spoken(n, 77)).await;
            phone.send_to(&spoken(n, 88), local).await.unwrap();
        }
        let (mut at_phone, mut at_browser) = (Vec::new(), Vec::new());
        for n in 0..BURST {
            at_phone.push(recv(&phone, SOON).await.unwrap_or_else(|| panic!("{round}: the phone hears {n}")));
            at_browser.push(call.recv_rtp(SOON).await.unwrap_or_else(|| panic!("{round}: the browser hears {n}")));
        }
        let now = (are_whole(&at_phone, from), are_whole(&at_browser, from));
        assert_eq!(*bases.get_or_insert(now), now, "round {round}");
        assert_eq!(gateway.worker.worker_of(A), gateway.worker.worker_of(B));
    }
    let (a, b) = gateway.close().await;
    let all = u64::from(ROUNDS * BURST);
    assert_eq!([a.rx_packets, a.tx_packets, b.rx_packets, b.tx_packets], [all; 4]);
    let totals = gateway.worker.stop();
    are_counted(&totals);
    assert!(totals.traffic.handed_over > 0, "{totals:?}");
}

/// A phone on a leg of its own, and where it is heard.
async fn phone(gateway: &mut Gateway, leg: LegId, beside: Option<LegId>) -> (UdpSocket, SocketAddr) {
    let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rtp = phone.local_addr().unwrap();
    gateway.send(MediaCommand::Open { leg, how: LegOpen::Rtp { local: LOCAL, port: RtpPort::Own }, beside });
    let MediaEvent::Opened { local, .. } = gateway.event().await else { panic!("it opens") };
    gateway.set_remote(leg, LegRemote::Rtp { rtp, rtcp: rtp, latch: false });
    (phone, local[0])
}

/// Calls of two workers on shared ports, one of which moves to the other's: each phone goes on to be heard where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn phones_on_shared_ports_are_joined_and_each_worker_has_one_for_all() {
    let mut gateway = Gateway::of(2);
    let mut phones = Vec::new();
    for (n, leg) in [A, B, C, D].into_iter().enumerate() {
        let phone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let rtp = phone.local_addr().unwrap();
        let how = LegOpen::Rtp { local: LOCAL, port: RtpPort::Shared { remote: Some(rtp) } };
        gateway.send(MediaCommand::Open { leg, how, beside: (n % 2 == 1).then(|| [A, C][n / 2]) });
        let MediaEvent::Opened { local, .. } = gateway.event().await else { panic!("it opens") };
        gateway.set_remote(leg, LegRemote::Rtp { rtp, rtcp: rtp, latch: false });
        phones.push((phone, local[0]));
    }
    let [a, b, c, d] = &phones[..] else { panic!("four") };
    assert!(a.1 == b.1 && c.1 == d.1 && a.1 != c.1);
    for (leg, hears) in [(A, B), (B, A), (C, D), (D, C)] {
        gateway.set_path(leg, plan(Codec::Pcmu, 0, leg.0 as u32), Source::Leg(hears));
    }
    async fn hears(from: &(UdpSocket, SocketAddr), to: &(UdpSocket, SocketAddr), n: u16) {
        from.0.send_to(&spoken(n, u32::from(from.0.local_addr().unwrap().port())), from.1).await.unwrap();
        let mut packet = [0; 200];
        let (len, source) = tokio::time::timeout(SOON, to.0.recv_from(&mut packet)).await.expect("it is heard").unwrap();
        assert_eq!((len, packet[12], source), (172, n as u8, to.1));
    }
    for (from, to) in [(a, b), (b, a), (c, d), (d, c)] {
        hears(from, to, 1).await;
    }
    gateway.set_path(A, plan(Codec::Pcmu, 0, A.0 as u32), Source::Leg(D));
    gateway.set_path(D, plan(Codec::Pcmu, 0, D.0 as u32), Source::Leg(A));
    assert_eq!(gateway.worker.worker_of(A), gateway.worker.worker_of(D));
    gateway.settle(A).await;
    for n in 2..10 {
        hears(a, d, n).await;
        hears(d, a, n).await;
    }
    // It is the address of a leg that lives elsewhere now, and still taken where it was opened.
    gateway.close_leg(B).await;
    gateway.close_leg(C).await;
    hears(a, d, 10).await;
    gateway.close_leg(A).await;
    gateway.close_leg(D).await;
    let totals = gateway.worker.stop();
    are_counted(&totals);
    assert!(totals.traffic.handed_over > 0, "{totals:?}");
}

/// Each hears what the other says, from packet `from` on.
async fn talk(call: &mut Call, phone: &UdpSocket, local: SocketAddr, from: u16) -> u16 {
    let mut at_browser = Vec::new();
    for n in from..from + 5 {
        call.send_rtp(&spoken(n, 77)).await;
        assert_eq!(recv(phone, SOON).await.expect("the phone hears")[12], n as u8);
        phone.send_to(&spoken(n, 99), local).await.unwrap();
        at_browser.push(call.recv_rtp(SOON).await.expect("the browser hears"));
    }
    are_whole(&at_browser, from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_two_workers_are_joined() {
    let mut gateway = Gateway::of(2);
    let mut call = gateway.browser(DtlsRole::Client, Srtp::Srtp_Aead_Aes_128_Gcm).await;
    let pcmu = |ssrc| plan(Codec::Pcmu, 0, ssrc);
    let (b, b_local) = phone(&mut gateway, B, Some(A)).await;
    let (c, c_local) = phone(&mut gateway, C, None).await;
    let (d, d_local) = phone(&mut gateway, D, Some(C)).await;
    assert_eq!([A, B, C, D].map(|leg| gateway.worker.worker_of(leg).unwrap().0), [0, 0, 1, 1]);
    gateway.set_path(A, pcmu(1), Source::Leg(B));
    gateway.set_path(B, pcmu(2), Source::Leg(A));
    gateway.set_path(C, pcmu(3), Source::Leg(D));
    gateway.set_path(D, pcmu(4), Source::Leg(C));
    let base = talk(&mut call, &b, b_local, 0).await;
    c.send_to(&spoken(1, 5), c_local).await.unwrap();
    assert_eq!(recv(&d, SOON).await.unwrap()[12], 1);
    d.send_to(&spoken(1, 6), d_local).await.unwrap();
    assert_eq!(recv(&c, SOON).await.unwrap()[12], 1);
    // An attended transfer: the browser and the far phone are left to each other.
    gateway.set_path(A, pcmu(1), Source::Leg(D));
    gateway.set_path(D, pcmu(4), Source::Leg(A));
    assert_eq!([A, D].map(|leg| gateway.worker.worker_of(leg).unwrap().0), [1, 1]);
    gateway.close_leg(B).await;
    gateway.close_leg(C).await;
    assert_eq!(talk(&mut call, &d, d_local, 5).await, base, "one stream, whoever is heard in it");
    // The browser restarts ICE on a port whose worker it is no longer with.
    let remote = call.restart(DtlsRole::Client).await;
    gateway.set_remote(A, remote);
    gateway.send(MediaCommand::RestartIce { leg: A, ice_ufrag: "next".into(), ice_pwd: PWD.into() });
    gateway.worker.wake();
    call.reconnect(SocketAddr::new(LOCAL, gateway.worker.webrtc_port()), ("next", PWD)).await;
    assert_eq!(talk(&mut call, &d, d_local, 10).await, base);
    assert_eq!(gateway.worker.move_leg(B, WorkerId(0)), Err(MoveError::NoSuchLeg));
    assert_eq!(gateway.worker.move_leg(A, WorkerId(2)), Err(MoveError::NoSuchWorker));
    assert_eq!((gateway.close_leg(A).await.rx_packets, gateway.close_leg(D).await.rx_packets), (15, 11));
    are_counted(&gateway.worker.stop());
}

/// Calls move all at once, again and again, over all pairs of workers: no worker waits for ever for another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_moves_at_once_end() {
    let mut gateway = Gateway::of(4);
    let legs: Vec<LegId> = (0..16).map(|n| LegId(100 + n)).collect();
    for leg in &legs {
        let how = LegOpen::WebRtc { ice_ufrag: format!("u{}", leg.0), ice_pwd: PWD.into() };
        gateway.open(*leg, how).await;
    }
    for round in 0..50u64 {
        for leg in &legs {
            let to = WorkerId(((leg.0 * 7 + round * (1 + leg.0 % 3)) % 4) as u16);
            gateway.worker.move_leg(*leg, to).unwrap();
        }
        gateway.worker.wake();
    }
    for leg in &legs {
        gateway.close_leg(*leg).await;
    }
    are_counted(&gateway.worker.stop());
}
