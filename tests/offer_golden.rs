//! Offers as peers send them and the answers that they must get, to the byte: `tests/golden/*.sdp`.
//!
//! A file is an offer, `-----`, and the answer (or `refused: <why>`); with nothing above the line it is our own offer. Its
//! first lines say what it shows, which profile the peer has, and which codec the other leg speaks. An offer in mid-call names
//! the file of the one before it (`after`), which is answered first. What is minted for each call stands as `{name}`. After a change that is meant, `BLESS=1 cargo test --test offer_golden` writes the answers anew:
//! read the diff.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use ringway::plan::{Codec, LegRemote, Pt, Ssrc};
use ringway::policy::profile::{MediaKind, Profile, built_in};
use ringway::signalling::offer::{LocalEnd, OfferAnswer, SecureEnd};
use ringway::wire::sdp::{Fingerprint, Media, Session, Setup};
use webrtc_sdp::attribute_type::{SdpAttribute, SdpAttributeSetup, SdpAttributeType as Attribute};

const LINE: &str = "-----\n";

/// What is minted, and the word that stands for it.
const MINTED: [(&str, &str); 8] = [
    ("192.0.2.77", "{address}"),
    ("40123", "{port}"),
    ("3141592653", "{ssrc}"),
    ("2718281828459", "{session}"),
    ("ourUfrag", "{ufrag}"),
    ("ourPasswordOfTwentyTwoAndMore", "{pwd}"),
    ("C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0:C0", "{fingerprint}"),
    ("2001:db8::77", "{address6}"),
];

fn files() -> Vec<(String, PathBuf)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(dir).expect("tests/golden").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), path)).collect()
}

struct Case {
    head: String,
    profile: Arc<Profile>,
    other: Option<Codec>,
    before: Option<Box<Self>>,
    offer: String,
    expected: String,
}

impl Case {
    fn read(text: &str) -> Self {
        let head: String = text.split_inclusive('\n').take_while(|line| line.starts_with('#')).collect();
        let key = |name: &str| head.lines().find_map(|line| line.strip_prefix(&format!("# {name}: ")));
        let (offer, expected) = text[head.len()..].split_once(LINE).expect("a line between offer and answer");
        let other = key("other").map(|name| match name {
            "opus" => Codec::Opus,
            "pcmu" => Codec::Pcmu,
            "pcma" => Codec::Pcma,
            _ => panic!("no codec: {name}"),
        });
        Self {
            profile: built_in().remove(key("profile").expect("a profile")).expect("a built-in profile"),
            other,
            before: key("after").map(|name| Box::new(Self::named(name))),
            offer: offer.replace('\n', "\r\n"),
            expected: expected.to_owned(),
            head,
        }
    }

    /// What the other leg speaks, all the call long.
    fn other(&self) -> Option<Codec> {
        self.other.or_else(|| self.before.as_ref()?.other())
    }

    fn named(name: &str) -> Self {
        let (_, path) = files().into_iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}.sdp"));
        Self::read(&fs::read_to_string(path).expect("a golden file"))
    }

    /// The leg as it is when the offer comes, with the codec that is in use.
    fn reached(&self) -> (OfferAnswer, Option<Codec>) {
        let Some(before) = &self.before else { return (self.leg(), self.other) };
        let (mut leg, other) = before.reached();
        leg.receive_offer(before.offer.as_bytes()).expect("it was answered");
        let codec = leg.choose(other).expect("it was answered");
        _ = leg.write_answer(codec, other);
        (leg, Some(codec))
    }

    fn leg(&self) -> OfferAnswer {
        let secure = SecureEnd {
            ice_ufrag: MINTED[4].0.to_owned(),
            ice_pwd: MINTED[5].0.to_owned(),
            fingerprint: Fingerprint([0xc0; 32]),
        };
        // Media opens a leg in the peer's own family.
        let ip = if self.offer.contains("c=IN IP6") { MINTED[7].0 } else { MINTED[0].0 };
        let ip: std::net::IpAddr = ip.parse().expect("an address");
        let local = LocalEnd {
            addresses: vec![(ip, MINTED[1].0.parse().expect("a port")).into()],
            ssrc: Ssrc(3_141_592_653),
            session_id: 2_718_281_828_459,
            secure: (self.profile.media == MediaKind::Webrtc).then(|| Box::new(secure)),
        };
        OfferAnswer::new(self.profile.clone(), local)
    }

    /// What we say to it.
    fn outcome(&self) -> String {
        let (mut leg, other) = self.reached();
        let said = if self.offer.is_empty() {
            leg.write_offer(self.other.as_slice())
        } else {
            match leg.receive_offer(self.offer.as_bytes()) {
                Ok(_) => {
                    let codec = leg.choose(other).expect("an offer without a common codec is refused");
                    leg.write_answer(codec, self.other())
                }
                Err(why) => return format!("refused: {why:?}\n"),
            }
        };
        assert!(said.ends_with("\r\n") && !said.replace("\r\n", "").contains(['\r', '\n']), "lines end in CRLF");
        let plain = said.replace("\r\n", "\n");
        MINTED.iter().fold(plain, |text, (minted, word)| text.replace(minted, word))
    }
}

#[test]
fn every_offer_gets_its_answer() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut failures = Vec::new();
    for (name, path) in files() {
        let text = fs::read_to_string(&path).expect("a golden file");
        let case = Case::read(&text);
        let found = case.outcome();
        if bless {
            let offer = case.offer.replace("\r\n", "\n");
            fs::write(&path, format!("{}{offer}{LINE}{found}", case.head)).expect("the file is writable");
        } else if found != case.expected {
            failures.push(format!("== {name}\n-- expected\n{}-- found\n{found}", case.expected));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_answer_keeps_what_an_answer_must_keep() {
    for (name, path) in files() {
        let case = Case::read(&fs::read_to_string(path).expect("a golden file"));
        if case.offer.is_empty() || case.expected.starts_with("refused") {
            continue;
        }
        let said = MINTED.iter().fold(case.expected.clone(), |text, (minted, word)| text.replace(word, minted));
        let (offer, answer) =
            (Session::parse(case.offer.as_bytes()).expect(&name), Session::parse(said.as_bytes()).expect(&name));
        assert_eq!(offer.media.len(), answer.media.len(), "{name}: as many m-lines");
        for (theirs, ours) in offer.media.iter().zip(&answer.media) {
            assert_eq!(theirs.media_type, ours.media_type, "{name}: in the same order");
            assert_eq!((&theirs.proto, &theirs.mid), (&ours.proto, &ours.mid), "{name}: the same transport and mid");
            assert!(ours.formats.iter().all(|f| theirs.formats.contains(f)), "{name}: no number of our own");
            assert!(!ours.direction.sends() || theirs.direction.receives(), "{name}: we send to who listens");
            assert!(!ours.direction.receives() || theirs.direction.sends(), "{name}: we listen to who sends");
            let refused = ours.port == 0;
            assert_eq!(
                ours.mid.as_ref().is_some_and(|mid| answer.bundle.contains(mid)),
                !refused && theirs.mid.is_some(),
                "{name}"
            );
        }
        for forbidden in ["extmap", "rtcp-fb", "ssrc-group", "crypto", "rtcp-rsize", "candidate:2746203217", "tool"] {
            assert!(!case.expected.contains(forbidden), "{name}: {forbidden} was copied across");
        }
    }
}

/// A number in an answer is worth something only if media is told the same.
#[test]
fn media_is_told_what_was_said() {
    for (file, line, ptime_ms, rx_tx) in [
        ("chromium", "opus/48000 pt 111>111 dtmf 110>110@48000", 20, (true, true)),
        ("chromium_passthrough", "PCMU/8000 pt 0>0 dtmf 126>126@8000", 20, (true, true)),
        ("browser_events_at_8000_alone", "opus/48000 pt 111>111 dtmf 126>126@8000", 20, (true, true)),
        ("browser_events_at_48000_alone", "opus/48000 pt 111>111 dtmf 110>110@48000", 20, (true, true)),
        ("browser_hold", "opus/48000 pt 111>111 dtmf 110>110@48000", 20, (true, false)),
        ("firefox", "opus/48000 pt 109>109 dtmf 101>101@8000", 20, (true, true)),
        ("phone_pcma", "PCMA/8000 pt 8>8", 20, (true, true)),
        ("phone_ptime_30", "PCMU/8000 pt 0>0 dtmf 101>101@8000", 30, (true, true)),
        ("phone_hold", "PCMU/8000 pt 0>0 dtmf 101>101@8000", 20, (true, false)),
        ("phone_hold_rfc2543", "PCMU/8000 pt 0>0 dtmf 101>101@8000", 20, (true, false)),
    ] {
        let (_, path) = files().into_iter().find(|(name, _)| name == file).expect(file);
        let case = Case::read(&fs::read_to_string(path).expect("a golden file"));
        let mut leg = case.leg();
        leg.receive_offer(case.offer.as_bytes()).expect(file);
        let codec = leg.choose(case.other).expect(file);
        _ = leg.write_answer(codec, case.other);
        let plan = leg.leg_plan().expect("agreed");
        assert_eq!((plan.to_string().as_str(), plan.ptime_ms, (plan.rx, plan.tx)), (line, ptime_ms, rx_tx), "{file}");
    }
}

/// Who takes telephone events at both clocks that we offered may send either.
#[test]
fn events_are_taken_at_both_clocks_that_were_offered() {
    let (_, path) = files().into_iter().find(|(name, _)| name == "our_offer_to_a_browser").expect("a golden file");
    let mut leg = Case::read(&fs::read_to_string(path).expect("a golden file")).leg();
    let answer = leg.write_offer(&[]).replace("a=setup:actpass", "a=setup:active");
    leg.receive_answer(answer.as_bytes()).expect("an answer");
    let events = leg.leg_plan().expect("agreed").events.expect("telephone events");
    assert_eq!((events.rx_pt, events.clock_hz, events.rx_other), (Pt(110), 48_000, Some((Pt(101), 8_000))));
}

#[test]
fn rtcp_goes_where_the_phone_says() {
    for (file, rtp, rtcp) in [
        ("baresip", "198.51.100.40:10150", "198.51.100.40:10151"),
        ("phone_rtcp", "198.51.100.40:11780", "198.51.100.41:11799"),
        ("phone_ipv6", "[2001:db8::40]:11780", "[2001:db8::40]:11781"),
    ] {
        let (_, path) = files().into_iter().find(|(name, _)| name == file).expect(file);
        let case = Case::read(&fs::read_to_string(path).expect("a golden file"));
        let mut leg = case.leg();
        leg.receive_offer(case.offer.as_bytes()).expect(file);
        let Some(LegRemote::Rtp { rtp: found, rtcp: found_rtcp, .. }) = leg.leg_remote() else { panic!("{file}: classic RTP") };
        assert_eq!((found.to_string().as_str(), found_rtcp.to_string().as_str()), (rtp, rtcp), "{file}");
    }
}

/// What webrtc-sdp, Firefox's own parser, makes of an m-line's attribute, or of the session's where the line has none.
fn independent(session: &webrtc_sdp::SdpSession, at: usize, kind: Attribute) -> Option<&SdpAttribute> {
    session.media[at].get_attribute(kind.clone()).or_else(|| session.get_attribute(kind))
}

fn same_media(name: &str, media: &Media, session: &webrtc_sdp::SdpSession, at: usize) {
    let theirs = &session.media[at];
    assert_eq!(u32::from(media.port), theirs.get_port(), "{name}");
    for attribute in theirs.get_attributes_of_type(Attribute::Rtpmap) {
        let SdpAttribute::Rtpmap(map) = attribute else { panic!("an rtpmap") };
        let found: Vec<u8> = media.payload_types(&map.codec_name, map.frequency).collect();
        assert!(found.contains(&map.payload_type), "{name}: {map:?}");
    }
    let text = |kind| match independent(session, at, kind) {
        Some(SdpAttribute::Mid(text) | SdpAttribute::IceUfrag(text) | SdpAttribute::IcePwd(text)) => Some(text.as_str()),
        _ => None,
    };
    assert_eq!(media.mid.as_deref(), text(Attribute::Mid), "{name}");
    assert_eq!(media.ice_ufrag.as_deref(), text(Attribute::IceUfrag), "{name}");
    assert_eq!(media.ice_pwd.as_deref(), text(Attribute::IcePwd), "{name}");
    assert_eq!(media.rtcp_mux, independent(session, at, Attribute::RtcpMux).is_some(), "{name}");
    let fingerprint = independent(session, at, Attribute::Fingerprint).map(|attribute| match attribute {
        SdpAttribute::Fingerprint(fingerprint) => fingerprint.fingerprint.as_slice(),
        _ => panic!("a fingerprint"),
    });
    assert_eq!(media.fingerprint.as_ref().map(|f| f.0.as_slice()), fingerprint, "{name}");
    let setup = independent(session, at, Attribute::Setup).map(|attribute| match attribute {
        SdpAttribute::Setup(SdpAttributeSetup::Active) => Setup::Active,
        SdpAttribute::Setup(SdpAttributeSetup::Passive) => Setup::Passive,
        SdpAttribute::Setup(SdpAttributeSetup::Actpass) => Setup::ActPass,
        _ => panic!("a setup that we know"),
    });
    assert_eq!(media.setup, setup, "{name}");
}

#[test]
fn an_independent_parser_reads_the_same_in_offers_and_in_our_answers() {
    for (name, path) in files() {
        let case = Case::read(&fs::read_to_string(path).expect("a golden file"));
        let said = MINTED.iter().fold(case.expected.replace('\n', "\r\n"), |text, (minted, word)| text.replace(word, minted));
        let answer = if case.expected.starts_with("refused") { String::new() } else { said };
        for text in [&case.offer, &answer].into_iter().filter(|text| !text.is_empty()) {
            // It refuses m-lines without port 0 or without c=, and transports that no browser has: those it need not read.
            let theirs = match webrtc_sdp::parse_sdp(text, false) {
                Ok(session) => session,
                Err(error) => panic!("{name}: {error}\n{text}"),
            };
            let session = Session::parse(text.as_bytes()).expect(&name);
            assert_eq!(session.media.len(), theirs.media.len(), "{name}");
            session.media.iter().enumerate().for_each(|(at, media)| same_media(&name, media, &theirs, at));
        }
    }
}
