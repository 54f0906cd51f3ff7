//! Our SRTP against webrtc-srtp, packet by packet and both ways, and against the vectors of the RFCs.

#[path = "support/chance.rs"]
mod chance;

use chance::cases;
use proptest::prelude::*;
use ringway::media::srtp::{MAX_SOURCES, MasterKeys, Profile, SrtpError, SrtpRx, SrtpTx, derive_key};
use webrtc_srtp::context::Context;
use webrtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use webrtc_srtp::protection_profile::ProtectionProfile;

const PROFILES: [(Profile, ProtectionProfile); 3] = [
    (Profile::Aes128CmHmacSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
    (Profile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (Profile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
];

fn keys(profile: Profile) -> (Vec<u8>, Vec<u8>) {
    let byte = |n: usize| (n * 7 + 3) as u8;
    ((0..profile.key_len()).map(byte).collect(), (100..100 + profile.salt_len()).map(byte).collect())
}

fn theirs(profile: (Profile, ProtectionProfile)) -> Context {
    let (key, salt) = keys(profile.0);
    let (rtp, rtcp) = (srtp_replay_protection(64), srtcp_replay_protection(64));
    Context::new(&key, &salt, profile.1, Some(rtp), Some(rtcp)).unwrap()
}

fn tx(profile: Profile) -> SrtpTx {
    let (key, salt) = keys(profile);
    SrtpTx::new(profile, &key, &salt).unwrap()
}

fn rx(profile: Profile) -> SrtpRx {
    let (key, salt) = keys(profile);
    SrtpRx::new(profile, &key, &salt).unwrap()
}

/// A packet with a CSRC and an extension every third time, of a length that differs.
fn rtp(seq: u16, ssrc: u32) -> Vec<u8> {
    let rich = seq.is_multiple_of(3);
    let mut packet = vec![if rich { 0x91 } else { 0x80 }, 111];
    packet.extend(seq.to_be_bytes());
    packet.extend((u32::from(seq) * 960).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    if rich {
        packet.extend([1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0]);
    }
    packet.extend((0..40 + seq % 120).map(|n| n as u8));
    packet
}

fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(0..20);
    packet
}

fn protect(tx: &mut SrtpTx, packet: &[u8]) -> Vec<u8> {
    let mut buf = packet.to_vec();
    buf.resize(packet.len() + 20, 0xee);
    let len = tx.protect_rtp(&mut buf, packet.len()).unwrap();
    buf.truncate(len);
    buf
}

fn protect_rtcp(tx: &mut SrtpTx, packet: &[u8]) -> Vec<u8> {
    let mut buf = packet.to_vec();
    buf.resize(packet.len() + 20, 0xee);
    let len = tx.protect_rtcp(&mut buf, packet.len()).unwrap();
    buf.truncate(len);
    buf
}

#[test]
fn both_make_and_read_the_same_bytes_over_two_roll_overs() {
    for profile in PROFILES {
        let (mut our_tx, mut their_tx) = (tx(profile.0), theirs(profile));
        let (mut our_rx, mut their_rx) = (rx(profile.0), theirs(profile));
        for n in 0..140_000u32 {
            let step = if (60_000..70_000).contains(&n) || !(300..=125_000).contains(&n) { 1 } else { 37 };
            if n % step != 0 {
                continue;
            }
            let plain = rtp((n + 20_000) as u16, 0xdead_beef);
            let ours = protect(&mut our_tx, &plain);
            assert_eq!(ours, their_tx.encrypt_rtp(&plain).unwrap(), "{profile:?} {n}");
            assert_eq!(their_rx.decrypt_rtp(&ours).unwrap(), plain);
            let mut back = ours;
            let len = our_rx.unprotect_rtp(&mut back).unwrap();
            assert_eq!(back[..len], plain);
        }
    }
}

#[test]
fn reordering_around_the_roll_over_is_read() {
    for profile in PROFILES {
        let (mut their_tx, mut our_rx) = (theirs(profile), rx(profile.0));
        let order = [65_530u16, 65_531, 65_532, 65_533, 65_534, 65_535, 0, 1, 2, 3];
        let mut sent: Vec<_> = order.iter().map(|seq| their_tx.encrypt_rtp(&rtp(*seq, 5)).unwrap().to_vec()).collect();
        for at in [0, 1, 6, 3, 7, 2, 9, 5, 8, 4] {
            let len = our_rx.unprotect_rtp(&mut sent[at]).unwrap_or_else(|error| panic!("{profile:?} {at} {error:?}"));
            assert_eq!(sent[at][..len], rtp(order[at], 5));
        }
    }
}

/// How far behind the newest a packet may come for either side to know it still: webrtc-srtp's window is 64.
const LATEST: usize = 60;

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn loss_and_lateness_around_the_roll_over_are_read_by_both_and_nothing_twice(
        fates in proptest::collection::vec((prop::bool::weighted(0.3), 0..LATEST), 2..300),
        first in 65_300u16..=65_535,
        which in 0..PROFILES.len(),
    ) {
        let profile = PROFILES[which];
        // The first arrives first: who has heard nothing before the roll-over cannot know of it.
        let kept = fates.iter().enumerate().filter(|(n, (lost, _))| *n == 0 || !lost);
        let mut arrivals: Vec<(usize, usize)> = kept.map(|(n, (_, late))| (if n == 0 { 0 } else { n + late }, n)).collect();
        arrivals.sort_unstable();
        let plain: Vec<Vec<u8>> = (0..fates.len()).map(|n| rtp(first.wrapping_add(n as u16), 5)).collect();
        let (mut our_tx, mut their_tx) = (tx(profile.0), theirs(profile));
        let (mut our_rx, mut their_rx) = (rx(profile.0), theirs(profile));
        let ours: Vec<Vec<u8>> = plain.iter().map(|packet| protect(&mut our_tx, packet)).collect();
        let theirs: Vec<Vec<u8>> = plain.iter().map(|packet| their_tx.encrypt_rtp(packet).unwrap().to_vec()).collect();
        for (_, n) in arrivals {
            prop_assert_eq!(&their_rx.decrypt_rtp(&ours[n]).unwrap()[..], &plain[n][..], "{:?} {}", profile, n);
            let mut packet = theirs[n].clone();
            let len = our_rx.unprotect_rtp(&mut packet);
            prop_assert_eq!(len, Ok(plain[n].len()), "{:?} {}", profile, n);
            prop_assert_eq!(&packet[..plain[n].len()], &plain[n][..]);
            prop_assert_eq!(our_rx.unprotect_rtp(&mut theirs[n].clone()), Err(SrtpError::Replay));
        }
    }
}

#[test]
fn nearly_half_a_cycle_may_be_lost_over_the_roll_over() {
    for profile in PROFILES {
        let (mut our_tx, mut their_tx) = (tx(profile.0), theirs(profile));
        let (mut our_rx, mut their_rx) = (rx(profile.0), theirs(profile));
        // Four times over it, each time with another distance.
        for index in [40_000u32, 72_767, 105_000, 137_000, 169_000, 200_000, 232_000, 264_000] {
            let plain = rtp(index as u16, 5);
            let ours = protect(&mut our_tx, &plain);
            assert_eq!(their_rx.decrypt_rtp(&ours).unwrap(), plain, "{profile:?} {index}");
            let mut theirs = their_tx.encrypt_rtp(&plain).unwrap().to_vec();
            assert_eq!(theirs, ours, "{profile:?} {index}");
            assert_eq!(our_rx.unprotect_rtp(&mut theirs), Ok(plain.len()), "{profile:?} {index}");
        }
    }
}

#[test]
fn the_replay_window_has_its_edge_where_it_has_it_before_over_and_behind_the_roll_over() {
    let (profile, window) = (Profile::AeadAes128Gcm, 128u32);
    for newest in (65_536 - 3)..(65_536 + window + 3) {
        let mut tx = tx(profile);
        let mut sealed = |index: u32| protect(&mut tx, &rtp(index as u16, 5));
        let mut heard_of = sealed(newest - 2 * window);
        let [mut too_old, mut old_enough, mut last] = [newest - window, newest - window + 1, newest].map(&mut sealed);
        let mut rx = rx(profile);
        rx.unprotect_rtp(&mut heard_of).unwrap();
        rx.unprotect_rtp(&mut last).unwrap();
        assert_eq!(rx.unprotect_rtp(&mut too_old), Err(SrtpError::Replay), "{newest}");
        assert!(rx.unprotect_rtp(&mut old_enough.clone()).is_ok(), "{newest}");
        assert_eq!(rx.unprotect_rtp(&mut old_enough), Err(SrtpError::Replay), "{newest}");
    }
}

#[test]
fn a_packet_of_one_cycle_before_is_not_taken_for_one_of_now() {
    for (profile, _) in PROFILES {
        let (mut our_tx, mut our_rx) = (tx(profile), rx(profile));
        let mut sealed = |index: u32| protect(&mut our_tx, &rtp(index as u16, 5));
        let old = sealed(1_000);
        let between = [30_000, 60_000, 66_000].map(&mut sealed);
        our_rx.unprotect_rtp(&mut old.clone()).unwrap();
        between.into_iter().for_each(|mut packet| assert!(our_rx.unprotect_rtp(&mut packet).is_ok()));
        // Ahead of the newest by its number, and by its number right behind it.
        assert_eq!(our_rx.unprotect_rtp(&mut old.clone()), Err(SrtpError::Tag), "{profile:?}");
        our_rx.unprotect_rtp(&mut sealed(65_536 + 1_001)).unwrap();
        assert_eq!(our_rx.unprotect_rtp(&mut old.clone()), Err(SrtpError::Tag), "{profile:?}");
        our_rx.unprotect_rtp(&mut sealed(65_536 + 1_002)).unwrap();
    }
}

#[test]
fn forgeries_do_not_roll_over() {
    for (profile, _) in PROFILES {
        let (mut our_tx, mut our_rx) = (tx(profile), rx(profile));
        let (key, salt) = keys(profile);
        let other_key: Vec<u8> = key.iter().map(|byte| byte ^ 1).collect();
        for index in 65_500..65_600u32 {
            for ahead in [0u32, 1, 40, 128, 1_000, 20_000, 32_700] {
                let forged = &mut SrtpTx::new(profile, &other_key, &salt).unwrap();
                let forged = protect(forged, &rtp((index + ahead) as u16, 5));
                assert_eq!(our_rx.unprotect_rtp(&mut forged.clone()), Err(SrtpError::Tag), "{profile:?} {index} {ahead}");
            }
            let mut good = protect(&mut our_tx, &rtp(index as u16, 5));
            assert!(our_rx.unprotect_rtp(&mut good).is_ok(), "{profile:?} {index}");
        }
    }
}

#[test]
fn forged_rtcp_leaves_no_trace_either() {
    for (profile, _) in PROFILES {
        let (mut our_tx, mut our_rx) = (tx(profile), rx(profile));
        let (key, salt) = keys(profile);
        let other_key: Vec<u8> = key.iter().map(|byte| byte ^ 1).collect();
        let mut forger = SrtpTx::new(profile, &other_key, &salt).unwrap();
        for ssrc in 100..100 + MAX_SOURCES as u32 {
            let mut forged = protect_rtcp(&mut forger, &rtcp(ssrc));
            assert_eq!(our_rx.unprotect_rtcp(&mut forged), Err(SrtpError::Tag));
            assert_eq!(our_rx.source_count(), 0, "a forged SSRC makes no state");
        }
        // Nor do forged indices move the window over one that is there.
        our_rx.unprotect_rtcp(&mut protect_rtcp(&mut our_tx, &rtcp(9))).unwrap();
        let mut forger = SrtpTx::new(profile, &other_key, &salt).unwrap();
        (0..300).for_each(|_| {
            let mut forged = protect_rtcp(&mut forger, &rtcp(9));
            assert!(our_rx.unprotect_rtcp(&mut forged).is_err());
        });
        our_rx.unprotect_rtcp(&mut protect_rtcp(&mut our_tx, &rtcp(9))).unwrap();
    }
}

#[test]
fn rtcp_goes_both_ways_and_not_twice() {
    for profile in PROFILES {
        let (mut our_tx, mut their_tx) = (tx(profile.0), theirs(profile));
        let (mut our_rx, mut their_rx) = (rx(profile.0), theirs(profile));
        for n in 0..200 {
            let plain = rtcp(77 + n % 3);
            let ours = protect_rtcp(&mut our_tx, &plain);
            assert_eq!(their_rx.decrypt_rtcp(&ours).unwrap(), plain, "{profile:?}");
            let theirs = their_tx.encrypt_rtcp(&plain).unwrap().to_vec();
            let mut back = theirs.clone();
            let len = our_rx.unprotect_rtcp(&mut back).unwrap();
            assert_eq!(back[..len], plain);
            assert_eq!(our_rx.unprotect_rtcp(&mut theirs.clone()), Err(SrtpError::Replay));
        }
    }
}

#[test]
fn replays_and_forgeries_are_refused_and_leave_no_trace() {
    for profile in PROFILES {
        let (mut our_tx, mut our_rx) = (tx(profile.0), rx(profile.0));
        let sent: Vec<_> = (0..300u16).map(|seq| protect(&mut our_tx, &rtp(seq, 9))).collect();
        let mut first = sent[0].clone();
        first[20] ^= 1;
        assert_eq!(our_rx.unprotect_rtp(&mut first), Err(SrtpError::Tag));
        assert_eq!(our_rx.source_count(), 0);
        for packet in &sent {
            our_rx.unprotect_rtp(&mut packet.clone()).unwrap();
            assert_eq!(our_rx.unprotect_rtp(&mut packet.clone()), Err(SrtpError::Replay));
        }
        assert_eq!(our_rx.unprotect_rtp(&mut sent[0].clone()), Err(SrtpError::Replay));
        for ssrc in 100..10_100u32 {
            let mut forged = protect(
                &mut SrtpTx::new(profile.0, &keys(profile.0).1.repeat(3)[..profile.0.key_len()], &keys(profile.0).1).unwrap(),
                &rtp(1, ssrc),
            );
            assert_eq!(our_rx.unprotect_rtp(&mut forged), Err(SrtpError::Tag));
        }
        assert_eq!(our_rx.source_count(), 1, "a forged SSRC makes no state");
        for ssrc in 10..10 + MAX_SOURCES as u32 - 1 {
            our_rx.unprotect_rtp(&mut protect(&mut tx(profile.0), &rtp(1, ssrc))).unwrap();
        }
        let mut one_more = protect(&mut tx(profile.0), &rtp(1, 8_000));
        assert_eq!(our_rx.unprotect_rtp(&mut one_more), Err(SrtpError::TooManySources));
    }
}

#[test]
fn an_index_is_never_used_twice() {
    for (profile, _) in PROFILES {
        let mut our_tx = tx(profile);
        protect(&mut our_tx, &rtp(5, 1));
        let mut again = rtp(5, 1);
        let len = again.len();
        again.resize(len + 20, 0);
        assert_eq!(our_tx.protect_rtp(&mut again, len), Err(SrtpError::IndexReuse));
        let mut full = rtp(6, 1);
        let len = full.len();
        assert_eq!(our_tx.protect_rtp(&mut full, len), Err(SrtpError::NoRoom));
    }
}

#[test]
fn nothing_short_makes_it_panic() {
    for (profile, _) in PROFILES {
        let (mut our_tx, mut our_rx) = (tx(profile), rx(profile));
        let rtp = protect(&mut our_tx, &rtp(1, 1));
        let rtcp = protect_rtcp(&mut our_tx, &rtcp(1));
        for len in 0..rtp.len() {
            assert!(our_rx.unprotect_rtp(&mut rtp[..len].to_vec()).is_err());
        }
        for len in 0..rtcp.len() {
            assert!(our_rx.unprotect_rtcp(&mut rtcp[..len].to_vec()).is_err());
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// RFC 3711 appendix B.3.
#[test]
fn session_keys_of_rfc_3711() {
    let (key, salt) = (hex("E1F97A0D3E018BE0D64FA32C06DE4139"), hex("0EC675AD498AFEEBB6960B3AABE6"));
    let derive = |label, len| {
        let mut out = vec![0; len];
        derive_key(Profile::Aes128CmHmacSha1_80, &key, &salt, label, &mut out).unwrap();
        out
    };
    assert_eq!(derive(0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive(2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
    let auth = "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2DC68";
    assert_eq!(derive(1, 94), hex(auth)[..94]);
}

/// libsrtp's own vector (test/srtp_driver.c) from master key and salt; RFC 7714's start from session keys, which DTLS never
/// gives, and are in `media::srtp`.
#[test]
fn an_aes_gcm_packet_of_libsrtp() {
    let key = hex("000102030405060708090a0b0c0d0e0f");
    let salt = hex("a0a1a2a3a4a5a6a7a8a9aaab");
    let plain = hex("800f1234decafbadcafebabeabababababababababababababababab");
    let cipher = hex("800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392");
    let mut tx = SrtpTx::new(Profile::AeadAes128Gcm, &key, &salt).unwrap();
    assert_eq!(protect(&mut tx, &plain), cipher);
}

/// As above, AES_CM_128_HMAC_SHA1_80.
#[test]
fn an_aes_cm_packet_of_libsrtp() {
    let (key, salt) = (hex("e1f97a0d3e018be0d64fa32c06de4139"), hex("0ec675ad498afeebb6960b3aabe6"));
    let plain = hex("800f1234decafbadcafebabeabababababababababababababababab");
    let cipher = hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb");
    let mut tx = SrtpTx::new(Profile::Aes128CmHmacSha1_80, &key, &salt).unwrap();
    assert_eq!(protect(&mut tx, &plain), cipher);
}

#[test]
fn exported_material_is_cut_in_the_order_of_rfc_5764() {
    let material: Vec<u8> = (0..60).collect();
    let keys = MasterKeys::split(Profile::Aes128CmHmacSha1_80, &material).unwrap();
    assert_eq!((keys.client.0[0], keys.server.0[0], keys.client.1[0], keys.server.1[0]), (0, 16, 32, 46));
    assert!(MasterKeys::split(Profile::AeadAes128Gcm, &material).is_err());
}
