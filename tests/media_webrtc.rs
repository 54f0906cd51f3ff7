//! A started worker between a WebRTC peer that shares no code with it and a phone that is a plain UDP socket.

#[path = "support/audio.rs"]
mod audio;
#[path = "support/browser.rs"]
mod browser;
#[path = "support/gateway.rs"]
mod gateway;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use audio::{fields, rtp, sine, snr_db};
use browser::{Browser, Call};
use dtls::extension::extension_use_srtp::SrtpProtectionProfile as Srtp;
use gateway::{A, B, Gateway, LOCAL, PWD, QUIET, SOON, UFRAG, config, plan, recv};
use ringway::io::worker::{WorkerConfig, start};
use ringway::media::codec::{OpusDecoder, OpusEncoder, decode_ulaw, encode_ulaw};
use ringway::plan::*;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tone_crosses_between_opus_and_pcmu_both_ways() {
    let mut gateway = Gateway::new();
    let mut call = gateway.browser(DtlsRole::Server, Srtp::Srtp_Aes128_Cm_Hmac_Sha1_80).await;
    let (phone, local) = gateway.phone(false).await;
    gateway.join(plan(Codec::Opus, 111, 1), plan(Codec::Pcmu, 0, 2));
    let (mut encoder, mut decoder) = (OpusEncoder::new().unwrap(), OpusDecoder::new().unwrap());
    let (mut at_phone, mut at_browser) = (Vec::new(), Vec::new());
    let (mut phone_ts, mut browser_ts) = (Vec::new(), Vec::new());
    for n in 0..50u16 {
        let from = usize::from(n) * 160;
        let mut payload = [0; 400];
        let len = encoder.encode(&sine(440.0, from, 160), &mut payload).unwrap();
        call.send_rtp(&rtp(111, n == 0, n, u32::from(n) * 960, 77, &payload[..len])).await;
        let ulaw: Vec<u8> = sine(700.0, from, 160).into_iter().map(encode_ulaw).collect();
        phone.send_to(&rtp(0, n == 0, 65_530u16.wrapping_add(n), u32::from(n) * 160, 88, &ulaw), local).await.unwrap();
        let heard = recv(&phone, SOON).await.expect("PCMU for Opus");
        assert_eq!((fields(&heard).0, fields(&heard).3, heard.len()), (0, 2, 172));
        phone_ts.push(fields(&heard).2);
        at_phone.extend(heard[12..].iter().map(|byte| decode_ulaw(*byte)));
        let heard = call.recv_rtp(SOON).await.expect("Opus for PCMU");
        assert_eq!((fields(&heard).0, fields(&heard).3), (111, 1));
        browser_ts.push(fields(&heard).2);
        let mut pcm = [0; 960];
        let len = decoder.decode(Some(&heard[12..]), false, &mut pcm).unwrap();
        at_browser.extend_from_slice(&pcm[..len]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(phone_ts.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 160));
    assert!(browser_ts.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == 960));
    let (phone_snr, browser_snr) = (snr_db(&at_phone[4_000..], 440.0), snr_db(&at_browser[4_000..], 700.0));
    println!("SNR at the phone {phone_snr:.1} dB, at the browser {browser_snr:.1} dB");
    assert!(phone_snr > 20.0, "{phone_snr}");
    assert!(browser_snr > 20.0, "{browser_snr}");
    let (a, b) = gateway.close().await;
    assert_eq!((a.rx_packets, a.rx_dropped, a.tx_packets), (50, 0, 50));
    assert_eq!((b.rx_packets, b.rx_dropped, b.tx_packets), (50, 0, 50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pcmu_is_rewritten_untouched_under_gcm_with_the_gateway_as_client() {
    for profile in [Srtp::Srtp_Aead_Aes_128_Gcm, Srtp::Srtp_Aead_Aes_256_Gcm] {
        let mut gateway = Gateway::new();
        let mut call = gateway.browser(DtlsRole::Client, profile).await;
        let (phone, local) = gateway.phone(false).await;
        gateway.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
        for n in 0..10u16 {
            let payload = [n as u8; 160];
            call.send_rtp(&rtp(0, false, 500 + n, 7_000 + u32::from(n) * 160, 77, &payload)).await;
            let heard = recv(&phone, SOON).await.unwrap();
            assert_eq!((fields(&heard).3, &heard[12..]), (2, &payload[..]));
            phone.send_to(&rtp(0, false, n, 0, 88, &payload), local).await.unwrap();
            let heard = call.recv_rtp(SOON).await.unwrap();
            assert_eq!((fields(&heard).3, &heard[12..]), (1, &payload[..]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echo_comes_back_as_ours_and_a_tone_is_clean() {
    let mut gateway = Gateway::new();
    let mut call = gateway.browser(DtlsRole::Server, Srtp::Srtp_Aes128_Cm_Hmac_Sha1_80).await;
    gateway.set_path(A, plan(Codec::Opus, 111, 1), Source::Itself);
    for n in 0..10u16 {
        call.send_rtp(&rtp(111, false, n, u32::from(n) * 960, 77, b"not even opus")).await;
        let heard = call.recv_rtp(SOON).await.unwrap();
        assert_eq!((fields(&heard).0, fields(&heard).3, &heard[12..]), (111, 1, &b"not even opus"[..]));
    }
    gateway.set_path(A, plan(Codec::Pcmu, 0, 1), Source::Tone { hz: 425 });
    let (mut pcm, mut last) = (Vec::new(), None);
    while pcm.len() < 8_000 {
        let heard = call.recv_rtp(SOON).await.unwrap();
        let (pt, seq, timestamp, ssrc) = fields(&heard);
        assert_eq!((pt, ssrc), (0, 1));
        if let Some((last_seq, last_ts)) = last.replace((seq, timestamp)) {
            assert_eq!((seq.wrapping_sub(last_seq), timestamp.wrapping_sub(last_ts)), (1, 160));
        }
        pcm.extend(heard[12..].iter().map(|byte| decode_ulaw(*byte)));
    }
    assert!(snr_db(&pcm, 425.0) > 30.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_digit_changes_its_clock_both_ways() {
    let mut gateway = Gateway::new();
    let mut call = gateway.browser(DtlsRole::Server, Srtp::Srtp_Aes128_Cm_Hmac_Sha1_80).await;
    let (phone, local) = gateway.phone(false).await;
    let a = LegPlan {
        events: Some(DtmfPlan { rx_pt: Pt(110), tx_pt: Pt(110), clock_hz: 48_000, rx_other: None }),
        ..plan(Codec::Opus, 111, 1)
    };
    gateway.join(a, plan(Codec::Pcmu, 0, 2));
    let digit = |end: bool, ticks: u16| [5, if end { 0x8a } else { 10 }, (ticks >> 8) as u8, ticks as u8];
    let (mut starts, mut back) = (Vec::new(), Vec::new());
    for (n, (end, ms)) in [(false, 20), (false, 40), (true, 60), (true, 60), (true, 60)].into_iter().enumerate() {
        let n = n as u16;
        call.send_rtp(&rtp(110, n == 0, n, 9_600, 77, &digit(end, ms * 48))).await;
        let heard = recv(&phone, SOON).await.unwrap();
        assert_eq!((fields(&heard).0, &heard[12..]), (101, &digit(end, ms * 8)[..]));
        starts.push(fields(&heard).2);
        phone.send_to(&rtp(101, n == 0, n, 1_600, 88, &digit(end, ms * 8)), local).await.unwrap();
        let heard = call.recv_rtp(SOON).await.unwrap();
        assert_eq!((fields(&heard).0, &heard[12..]), (110, &digit(end, ms * 48)[..]));
        back.push(fields(&heard).2);
    }
    assert!(starts.iter().all(|start| *start == starts[0]) && back.iter().all(|start| *start == back[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_than_promised_fails_the_leg() {
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut gateway = Gateway::new();
        let local = gateway.open_browser(A).await;
        let browser = Browser::new().await;
        let mut remote = browser.remote(role);
        if let LegRemote::WebRtc { fingerprint, .. } = &mut remote {
            fingerprint[0] ^= 1;
        }
        gateway.set_remote(A, remote);
        gateway.set_path(A, plan(Codec::Pcmu, 0, 1), Source::Itself);
        let connecting = tokio::spawn(browser.connect(local, (UFRAG, PWD), role, Srtp::Srtp_Aes128_Cm_Hmac_Sha1_80));
        let failed = MediaEvent::Failed { leg: A, cause: LegFailure::FingerprintMismatch };
        assert_eq!(gateway.event().await, failed);
        connecting.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hello_from_an_address_without_checks_is_not_answered() {
    let mut gateway = Gateway::new();
    let local = gateway.open_browser(A).await;
    let browser = Browser::new().await;
    gateway.set_remote(A, browser.remote(DtlsRole::Server));
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.connect(local).await.unwrap();
    // A record header of a ClientHello, and a plaintext fatal alert.
    for datagram in
        [&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0][..], &[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 40]]
    {
        stranger.send(datagram).await.unwrap();
    }
    let mut buf = [0; 100];
    assert!(timeout(QUIET, stranger.recv(&mut buf)).await.is_err(), "a stranger was answered");
    browser.connect(local, (UFRAG, PWD), DtlsRole::Server, Srtp::Srtp_Aes128_Cm_Hmac_Sha1_80).await.unwrap();
    assert_eq!(gateway.event().await, MediaEvent::Connected { leg: A });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_closes_is_told_at_once() {
    let mut gateway = Gateway::new();
    let call = gateway.browser(DtlsRole::Server, Srtp::Srtp_Aes128_Cm_Hmac_Sha1_80).await;
    call.close().await;
    let closed = MediaEvent::Failed { leg: A, cause: LegFailure::DtlsClosed };
    assert_eq!(gateway.event().await, closed);
}

/// A packet each way, and what came of it.
async fn both_ways(call: &mut Call, phone: &UdpSocket, local: SocketAddr, n: u16) -> (u16, u16) {
    let payload = [n as u8; 160];
    call.send_rtp(&rtp(0, false, n, u32::from(n) * 160, 77, &payload)).await;
    let at_phone = recv(phone, SOON).await.expect("the browser is heard");
    phone.send_to(&rtp(0, false, n, u32::from(n) * 160, 88, &payload), local).await.unwrap();
    let at_browser = call.recv_rtp(SOON).await.expect("the phone is heard");
    assert_eq!((&at_phone[12..], &at_browser[12..]), (&payload[..], &payload[..]));
    assert_eq!((fields(&at_phone).3, fields(&at_browser).3), (2, 1));
    (fields(&at_phone).1, fields(&at_browser).1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ice_restart_keeps_the_keys_and_the_audio() {
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut gateway = Gateway::new();
        let mut call = gateway.browser(role, Srtp::Srtp_Aes128_Cm_Hmac_Sha1_80).await;
        let (phone, local) = gateway.phone(false).await;
        gateway.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
        let before = both_ways(&mut call, &phone, local, 1).await;
        let at = SocketAddr::new(LOCAL, gateway.worker.webrtc_port());
        for n in 2..4u16 {
            let remote = call.restart(role).await;
            let ufrag = format!("next{n}");
            gateway.set_remote(A, remote);
            gateway.send(MediaCommand::RestartIce { leg: A, ice_ufrag: ufrag.clone(), ice_pwd: PWD.into() });
            call.reconnect(at, (&ufrag, PWD)).await;
            let after = both_ways(&mut call, &phone, local, n).await;
            assert_eq!(after, (before.0 + n - 1, before.1 + n - 1), "both streams go on");
        }
        let (a, b) = gateway.close().await;
        assert_eq!((a.rx_packets, a.rx_dropped, b.rx_packets, b.rx_dropped), (3, 0, 3, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reloaded_page_with_another_certificate_takes_the_leg_over() {
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let mut gateway = Gateway::new();
        let mut old = gateway.browser(role, Srtp::Srtp_Aes128_Cm_Hmac_Sha1_80).await;
        let (phone, local) = gateway.phone(false).await;
        gateway.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
        let before = both_ways(&mut old, &phone, local, 1).await;
        let page = Browser::new().await;
        gateway.send(MediaCommand::RestartIce { leg: A, ice_ufrag: "next".into(), ice_pwd: PWD.into() });
        gateway.set_remote(A, page.remote(role));
        tokio::time::sleep(QUIET).await;
        both_ways(&mut old, &phone, local, 2).await;
        // The page that is left says good-bye; that ends nothing.
        old.close().await;
        let at = SocketAddr::new(LOCAL, gateway.worker.webrtc_port());
        let mut new = page.connect(at, ("next", PWD), role, Srtp::Srtp_Aead_Aes_128_Gcm).await.unwrap();
        assert_eq!(new.gateway_fingerprint, gateway.fingerprint);
        // The gateway may take its keys a moment after the page has taken its own.
        tokio::time::sleep(QUIET).await;
        let after = both_ways(&mut new, &phone, local, 3).await;
        assert_eq!(after, (before.0 + 2, before.1 + 2), "both streams go on");
        while let Ok(event) = gateway.events.try_recv() {
            assert!(!matches!(event, MediaEvent::Failed { .. }), "{event:?}");
        }
    }
}

/// Two phones: leg A as `a` says, leg B plain.
async fn two_phones(gateway: &mut Gateway, latch: bool) -> (UdpSocket, SocketAddr, UdpSocket) {
    let a = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let local = gateway.open(A, LegOpen::Rtp { local: LOCAL, port: RtpPort::Own }).await;
    let rtp = a.local_addr().unwrap();
    gateway.set_remote(A, LegRemote::Rtp { rtp, rtcp: rtp, latch });
    let (b, _) = gateway.phone(false).await;
    gateway.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    (a, local, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rtp_from_a_stranger_is_dropped_and_counted() {
    let mut gateway = Gateway::new();
    let (a, local, b) = two_phones(&mut gateway, false).await;
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.send_to(&rtp(0, false, 1, 0, 5, &[1; 160]), local).await.unwrap();
    assert!(recv(&b, QUIET).await.is_none());
    a.send_to(&rtp(0, false, 1, 0, 5, &[2; 160]), local).await.unwrap();
    assert_eq!(recv(&b, SOON).await.unwrap()[12..], [2; 160]);
    assert_eq!(gateway.event().await, MediaEvent::Connected { leg: A });
    let (a, b) = gateway.close().await;
    assert_eq!((a.rx_packets, a.rx_dropped, b.tx_packets), (2, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_valid_source_is_latched_to_and_no_other() {
    let mut gateway = Gateway::new();
    let (_, local, b) = two_phones(&mut gateway, true).await;
    let (nat, late) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    late.send_to(b"no RTP at all, but long enough", local).await.unwrap();
    late.send_to(&rtp(96, false, 1, 0, 5, &[1; 160]), local).await.unwrap();
    assert!(recv(&b, QUIET).await.is_none(), "neither is an agreed payload type");
    nat.send_to(&rtp(0, false, 1, 0, 5, &[2; 160]), local).await.unwrap();
    assert_eq!(recv(&b, SOON).await.unwrap()[12..], [2; 160]);
    late.send_to(&rtp(0, false, 2, 160, 5, &[3; 160]), local).await.unwrap();
    assert!(recv(&b, QUIET).await.is_none(), "the latch holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_goes_the_same_way_and_a_taken_port_is_named() {
    let ip: IpAddr = "::1".parse().unwrap();
    let (tx, mut events) = mpsc::channel(100);
    let config = WorkerConfig { addresses: vec![LOCAL, ip], rtp_ports: 22_900..=22_919, ..config(4) };
    let mut worker = start(config.clone(), tx.clone()).unwrap();
    let taken = start(WorkerConfig { webrtc_port: worker.webrtc_port(), ..config }, tx).unwrap_err().to_string();
    assert!(taken.contains(&format!("127.0.0.1:{}", worker.webrtc_port())), "{taken}");
    let how = LegOpen::WebRtc { ice_ufrag: UFRAG.into(), ice_pwd: PWD.into() };
    worker.send(MediaCommand::Open { leg: B, how, beside: None }).unwrap();
    let port = worker.webrtc_port();
    let local = vec![SocketAddr::new(LOCAL, port), SocketAddr::new(ip, port)];
    assert_eq!(events.recv().await, Some(MediaEvent::Opened { leg: B, local }));
    worker.send(MediaCommand::Open { leg: A, how: LegOpen::Rtp { local: ip, port: RtpPort::Own }, beside: None }).unwrap();
    let Some(MediaEvent::Opened { local, .. }) = events.recv().await else { panic!() };
    let phone = UdpSocket::bind("[::1]:0").await.unwrap();
    let remote = phone.local_addr().unwrap();
    let remote = LegRemote::Rtp { rtp: remote, rtcp: remote, latch: false };
    worker.send(MediaCommand::SetRemote { leg: A, remote }).unwrap();
    worker.send(MediaCommand::SetPath { leg: A, plan: plan(Codec::Pcmu, 0, 1), hears: Source::Itself }).unwrap();
    phone.send_to(&rtp(0, false, 1, 0, 5, &[7; 160]), local[0]).await.unwrap();
    assert_eq!(recv(&phone, SOON).await.unwrap()[12..], [7; 160]);
}

#[test]
fn a_range_without_a_pair_for_each_worker_is_named() {
    let few = WorkerConfig { workers: 2, rtp_ports: 22_922..=22_923, ..config(4) };
    let few = start(few, mpsc::channel(1).0).unwrap_err().to_string();
    assert_eq!(few, "media worker: RTP ports 22922 to 22923 hold no free pair on 127.0.0.1 for worker 1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_engine_loses_no_event() {
    let (tx, mut events) = mpsc::channel(1);
    let mut worker = start(config(4_000), tx).unwrap();
    let open = |n: u64| {
        let how = LegOpen::WebRtc { ice_ufrag: format!("u{n}"), ice_pwd: PWD.into() };
        MediaCommand::Open { leg: LegId(n), how, beside: None }
    };
    (0..3_000).for_each(|n| worker.send(open(n)).unwrap());
    tokio::time::sleep(QUIET).await;
    let full = (3_000..9_000).find(|n| worker.send(open(*n)).is_err());
    assert!(full.is_some(), "a stalled engine is told that the mailbox is full");
    for n in 0..3_000 {
        let event = timeout(SOON, events.recv()).await.unwrap().unwrap();
        assert!(matches!(event, MediaEvent::Opened { leg, .. } if leg == LegId(n)), "{n}: {event:?}");
    }
    worker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_answered_by_name() {
    let mut gateway = Gateway::new();
    let elsewhere = LegOpen::Rtp { local: "192.0.2.1".parse().unwrap(), port: RtpPort::Own };
    gateway.send(MediaCommand::Open { leg: A, how: elsewhere, beside: None });
    let cause = OpenFailure::NotOurAddress;
    assert_eq!(gateway.event().await, MediaEvent::OpenFailed { leg: A, cause });
    for n in 0..5 {
        let how = LegOpen::WebRtc { ice_ufrag: format!("u{n}"), ice_pwd: PWD.into() };
        gateway.send(MediaCommand::Open { leg: LegId(n), how, beside: None });
        let opened = matches!(gateway.event().await, MediaEvent::Opened { .. });
        assert_eq!(opened, n < 4);
    }
    gateway.send(MediaCommand::Close { leg: LegId(0) });
    assert!(matches!(gateway.event().await, MediaEvent::Closed { leg: LegId(0), .. }));
    gateway.worker.stop();
}
