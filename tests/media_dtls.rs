//! A DTLS connection that has settled: both roles and both versions with a far side that has not, in virtual time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::certificate::{calculate_fingerprint, generate_self_signed_certificate};
use dimpl::crypto::{Dtls12CipherSuite, Dtls13CipherSuite};
use dimpl::{Config, Dtls, Output};
use ringway::media::dtls::{DtlsEvent, DtlsIdentity, Handshake};
use ringway::plan::DtlsRole;

const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suite {
    V12(Dtls12CipherSuite),
    V13(Dtls13CipherSuite),
}

const SUITES: [Suite; 4] = [
    Suite::V12(Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256),
    Suite::V12(Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384),
    Suite::V13(Dtls13CipherSuite::AES_128_GCM_SHA256),
    Suite::V13(Dtls13CipherSuite::AES_256_GCM_SHA384),
];

/// Ours, which has its keys, and a far side.
struct Pair {
    now: Instant,
    ours: Handshake,
    theirs: Dtls,
    told_closed: bool,
}

impl Pair {
    /// What ours says once it has its keys may be lost.
    fn new(suite: Suite, role: DtlsRole, is_lost: bool) -> Self {
        let now = Instant::now();
        let identity = DtlsIdentity::generate().unwrap();
        let certificate = generate_self_signed_certificate().unwrap();
        let expected = calculate_fingerprint(&certificate.certificate).try_into().unwrap();
        let builder = Config::builder().use_server_cookie(false);
        let mut theirs = match suite {
            Suite::V12(suite) => {
                Dtls::new_12(Arc::new(builder.dtls12_cipher_suites(&[suite]).build().unwrap()), certificate, now)
            }
            Suite::V13(suite) => {
                Dtls::new_13(Arc::new(builder.dtls13_cipher_suites(&[suite]).build().unwrap()), certificate, now)
            }
        };
        theirs.set_active(role == DtlsRole::Server);
        theirs.handle_timeout(now).unwrap();
        let ours = Handshake::new(now, &identity, role, expected);
        let mut pair = Self { now, ours, theirs, told_closed: false };
        let mut keys = false;
        for _ in 0..20 {
            let mut said = Vec::new();
            keys |= matches!(pair.ours.handle_timeout(pair.now, |p| said.push(p.to_vec())).unwrap(), Some(DtlsEvent::Keys(_)));
            pair.hear(&said, keys && is_lost);
            for packet in pair.say() {
                let mut said = Vec::new();
                let event = pair.ours.handle_datagram(pair.now, &packet, |p| said.push(p.to_vec())).unwrap();
                keys |= matches!(event, Some(DtlsEvent::Keys(_)));
                pair.hear(&said, keys && is_lost);
            }
            pair.now += Duration::from_millis(10);
        }
        assert!(keys, "{suite:?} {role:?}");
        pair
    }

    fn hear(&mut self, packets: &[Vec<u8>], is_lost: bool) {
        packets.iter().filter(|_| !is_lost).for_each(|packet| self.theirs.handle_packet(packet).unwrap());
    }

    fn say(&mut self) -> Vec<Vec<u8>> {
        let (mut buf, mut said) = (vec![0; 2_048], Vec::new());
        self.theirs.handle_timeout(self.now).unwrap();
        loop {
            match self.theirs.poll_output(&mut buf) {
                Output::Packet(packet) => said.push(packet.to_vec()),
                Output::CloseNotify => self.told_closed = true,
                Output::Timeout(_) => return said,
                _ => {}
            }
        }
    }

    /// Time goes on, through all that is due on the way.
    fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while let Some(at) = self.ours.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            assert!(self.ours.handle_timeout(self.now, |_| panic!("there is nothing to say")).unwrap().is_none());
        }
        self.now = end;
    }

    fn is_told(&mut self, packet: &[u8]) -> bool {
        let event = self.ours.handle_datagram(self.now, packet, |_| ()).unwrap();
        matches!(event, Some(DtlsEvent::Closed))
    }
}

fn pairs() -> impl Iterator<Item = (Pair, String)> {
    let roles = [DtlsRole::Client, DtlsRole::Server];
    SUITES.into_iter().flat_map(move |suite| roles.map(|role| (Pair::new(suite, role, false), format!("{suite:?} {role:?}"))))
}

#[test]
fn the_far_sides_good_bye_is_heard_however_late_and_nothing_else_is_taken_for_it() {
    for (mut pair, name) in pairs() {
        pair.advance(LONG);
        assert!(pair.ours.poll_timeout().is_none(), "{name} has settled");
        pair.theirs.close().unwrap();
        let said = pair.say();
        let [good_bye] = &said[..] else { panic!("{name}: {said:?}") };
        for at in 0..good_bye.len() {
            let mut forged = good_bye.clone();
            forged[at] ^= 1;
            assert!(!pair.is_told(&forged), "{name}: byte {at}");
            assert!(!pair.is_told(&good_bye[..at]), "{name}: {at} bytes");
        }
        assert!(pair.is_told(good_bye), "{name}");
    }
}

#[test]
fn application_data_is_no_good_bye() {
    for (mut pair, name) in pairs() {
        pair.advance(LONG);
        // As long as an alert, and of its bytes.
        pair.theirs.send_application_data(&[1, 0]).unwrap();
        let said = pair.say();
        assert!(!said.is_empty() && said.iter().all(|packet| !pair.is_told(packet)), "{name}");
    }
}

#[test]
fn our_good_bye_is_believed_however_late() {
    for (mut pair, name) in pairs() {
        pair.advance(LONG);
        let mut said = Vec::new();
        pair.ours.close(|packet| said.push(packet.to_vec()));
        pair.hear(&said, false);
        pair.say();
        assert!(pair.told_closed, "{name}");
    }
}

#[test]
fn who_asks_for_our_last_words_again_gets_them_before_it_settles_and_after() {
    for suite in SUITES {
        for first in [Duration::ZERO, Duration::from_secs(10)] {
            let mut pair = Pair::new(suite, DtlsRole::Server, true);
            pair.advance(first);
            for is_lost in [true, true, false] {
                let asked = (0..10).find_map(|_| {
                    pair.advance(Duration::from_secs(1));
                    Some(pair.say()).filter(|said| !said.is_empty())
                });
                let mut answers = Vec::new();
                for packet in asked.unwrap_or_else(|| panic!("{suite:?} after {first:?} asks on")) {
                    pair.ours.handle_datagram(pair.now, &packet, |answer| answers.push(answer.to_vec())).unwrap();
                }
                assert!(!answers.is_empty(), "{suite:?} after {first:?}");
                pair.hear(&answers, is_lost);
            }
            pair.advance(LONG);
            assert!(pair.say().is_empty(), "{suite:?}: there is nothing left to ask for");
            pair.theirs.close().unwrap();
            let said = pair.say();
            assert!(said.iter().any(|packet| pair.is_told(packet)), "{suite:?} after {first:?}: {said:?}");
        }
    }
}
