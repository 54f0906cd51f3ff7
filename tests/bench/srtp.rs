//! SRTP a packet, ours against webrtc-srtp in one run: `cargo bench --bench srtp`. Trust the ratios, not the nanoseconds.

use std::hint::black_box;
use std::time::Instant;

use ringway::media::srtp::{Profile, SrtpRx, SrtpTx};
use webrtc_srtp::context::Context;
use webrtc_srtp::option::srtp_replay_protection;
use webrtc_srtp::protection_profile::ProtectionProfile;

const PACKETS: usize = 20_000;
const ROUNDS: usize = 15;

fn packets(payload: usize) -> Vec<Vec<u8>> {
    let packet = |n: usize| {
        let mut packet = vec![0x80, 0];
        packet.extend((n as u16).to_be_bytes());
        packet.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        packet.extend((0..payload).map(|byte| byte as u8));
        packet
    };
    (0..PACKETS).map(packet).collect()
}

/// Nanoseconds a packet in the fastest of the rounds; each starts from fresh state, made outside the clock.
fn fastest<S>(mut fresh: impl FnMut() -> S, mut run: impl FnMut(&mut S)) -> f64 {
    let round = |_| {
        let mut state = fresh();
        let start = Instant::now();
        run(&mut state);
        start.elapsed().as_nanos() as f64 / PACKETS as f64
    };
    (0..ROUNDS).map(round).fold(f64::MAX, f64::min)
}

fn main() {
    println!("{:<24} {:>4}  {:^17} {:^18} {:^19}", "ns a packet", "", "protect", "unprotect", "ratio, ours/theirs");
    println!(
        "{:<24} {:>4}  {:>8} {:>8} {:>9} {:>8} {:>11} {:>9}",
        "", "len", "ours", "theirs", "ours", "theirs", "protect", "unprotect"
    );
    let profiles = [
        ("AES_CM_128_HMAC_SHA1_80", Profile::Aes128CmHmacSha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
        ("AEAD_AES_128_GCM", Profile::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
        ("AEAD_AES_256_GCM", Profile::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
    ];
    for (name, ours, theirs) in profiles {
        for payload in [160, 80] {
            let (key, salt) = (vec![7; ours.key_len()], vec![9; ours.salt_len()]);
            let context = || Context::new(&key, &salt, theirs, Some(srtp_replay_protection(64)), None).unwrap();
            let plain = packets(payload);
            let len = plain[0].len();
            let padded: Vec<_> = plain.iter().map(|packet| [packet.as_slice(), &[0; 20]].concat()).collect();
            let mut tx = context();
            let sealed: Vec<_> = plain.iter().map(|packet| tx.encrypt_rtp(packet).unwrap().to_vec()).collect();

            let protect = fastest(
                || (SrtpTx::new(ours, &key, &salt).unwrap(), padded.clone()),
                |(tx, packets)| packets.iter_mut().for_each(|packet| _ = black_box(tx.protect_rtp(packet, len).unwrap())),
            );
            let protect_theirs =
                fastest(context, |tx| plain.iter().for_each(|packet| _ = black_box(tx.encrypt_rtp(packet).unwrap())));
            let unprotect = fastest(
                || (SrtpRx::new(ours, &key, &salt).unwrap(), sealed.clone()),
                |(rx, packets)| packets.iter_mut().for_each(|packet| _ = black_box(rx.unprotect_rtp(packet).unwrap())),
            );
            let unprotect_theirs =
                fastest(context, |rx| sealed.iter().for_each(|packet| _ = black_box(rx.decrypt_rtp(packet).unwrap())));
            println!(
                "{name:<24} {len:>4}  {protect:>8.0} {protect_theirs:>8.0} {unprotect:>9.0} {unprotect_theirs:>8.0} {:>11.2} {:>9.2}",
                protect / protect_theirs,
                unprotect / unprotect_theirs,
            );
        }
    }
}
