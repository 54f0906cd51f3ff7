//! Instructions that one packet costs on each path of the core, and a browser's leg until it has its keys, held against
//! `instructions.golden`: what became slower shows in review, on a busy machine too. `script/bench --instructions` compares,
//! `script/bench --instructions --bless` writes anew.
//!
//! It runs itself under valgrind, once for each path; what is counted are the calls inside [`counted`], set-up is not. Built as
//! the tests are (`cargo test --bench instructions`), so that nothing need be compiled for it but this file: libopus, AES and
//! the rest of what is foreign is optimised there as in a release.

#[path = "../support/audio.rs"]
mod audio;
#[path = "../support/media_peer.rs"]
mod media_peer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::time::Duration;

use audio::{rtp, voice};
use media_peer::{A, B, Bench, PWD, Peer, RTP, SHARED, addr, plan};
use ringway::media::codec::{OpusEncoder, encode_ulaw};
use ringway::media::srtp::{Profile, SrtpRx, SrtpTx};
use ringway::media::{Pair, SocketId};
use ringway::plan::{Codec, LegId, LegOpen, MediaCommand, MediaEvent};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/instructions.golden");
const BLESS: &str = "script/bench --instructions --bless";

/// Off by more than this, in percent, is news.
const PLAY: f64 = 5.0;

/// Frames that go before: windows, deadlines and a pause have set in.
const WARM: usize = 50;
/// Frames that count.
const FRAMES: usize = 210;
/// Legs that are set up.
const LEGS: usize = 20;

const SET_UP: &str = "set-up of a browser's leg, ICE and DTLS 1.3";

const PATHS: [(&str, fn()); 11] = [
    (SET_UP, set_up),
    ("rewritten, RTP to RTP", || rewritten(false, false)),
    ("rewritten, RTP to RTP on a shared port", rewritten_on_a_shared_port),
    ("rewritten, SRTP to RTP", || rewritten(true, false)),
    ("rewritten, RTP to SRTP", || rewritten(false, true)),
    ("transcoded, Opus over SRTP to PCMU", || transcoded(true, true)),
    ("transcoded, PCMU to Opus over SRTP", || transcoded(false, true)),
    ("transcoded, PCMU to Opus over SRTP, silence", || transcoded(false, false)),
    ("SRTP alone, AES-CM, in and out", || srtp(Profile::Aes128CmHmacSha1_80)),
    ("SRTP alone, AES-128-GCM, in and out", || srtp(Profile::AeadAes128Gcm)),
    ("SRTP alone, AES-256-GCM, in and out", || srtp(Profile::AeadAes256Gcm)),
];

/// What valgrind counts: it finds this function by its name.
#[inline(never)]
fn counted<T>(work: impl FnOnce() -> T) -> T {
    work()
}

fn ulaw(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().map(|sample| encode_ulaw(*sample)).collect()
}

/// A second of a voice, over and over.
fn spoken(n: usize) -> Vec<i16> {
    voice(n % 50 * 160, 160)
}

/// A bench with a browser [`A`] where either is one, a phone or two.
struct Call {
    bench: Bench,
    browser: Option<Peer>,
    phone: SocketId,
}

const BROWSER: &str = "203.0.113.1:50000";
const PHONE: &str = "198.51.100.1:20000";

impl Call {
    fn new(with_browser: bool, codec: (Codec, u8)) -> Self {
        let mut bench = Bench::default();
        let browser = with_browser.then(|| bench.browser(A, addr(BROWSER)));
        if !with_browser {
            bench.phone(A, addr("198.51.100.2:20000"));
        }
        let phone = bench.phone(B, addr(PHONE));
        bench.join(plan(codec.0, codec.1, 1), plan(Codec::Pcmu, 0, 2));
        Self { bench, browser, phone }
    }

    /// Each frame arrives in its turn, from the browser or from the phone.
    fn carry(&mut self, from_browser: bool, packets: impl Iterator<Item = Vec<u8>>) {
        for (n, packet) in packets.take(WARM + FRAMES).enumerate() {
            let packet = match &mut self.browser {
                Some(browser) if from_browser => browser.protect(&packet),
                _ => packet,
            };
            let pair = match from_browser {
                true => Pair { socket: SHARED, remote: addr(BROWSER) },
                false => Pair { socket: self.phone, remote: addr(PHONE) },
            };
            let bench = &mut self.bench;
            if n < WARM {
                bench.datagram(pair.socket, pair.remote, &packet);
            } else {
                counted(|| bench.datagram(pair.socket, pair.remote, &packet));
            }
            self.bench.advance(Duration::from_millis(20));
            self.bench.sink.clear();
        }
        let counters = self.bench.core.counters(if from_browser { A } else { B }).unwrap();
        assert_eq!(counters.rx, (WARM + FRAMES) as u64);
        assert_eq!(counters.dropped_total(), 0);
    }
}

/// All that a browser's leg takes until it has its keys; what the browser takes is not counted.
fn set_up() {
    let mut bench = Bench::with(|config| config.max_legs = LEGS);
    for n in 0..LEGS {
        let (ours, theirs) = (format!("gate{n}"), format!("peer{n}"));
        let mut peer = Peer::new(bench.now.mono, SocketAddr::new(addr(BROWSER).ip(), 10_000 + n as u16));
        let (leg, remote, check) = (LegId(n as u64), peer.remote_of(&theirs), peer.check_of(&format!("{ours}:{theirs}"), true));
        let how = LegOpen::WebRtc { ice_ufrag: ours, ice_pwd: PWD.into() };
        counted(|| {
            bench.command(MediaCommand::Open { leg, how, beside: None });
            bench.set_remote(leg, remote);
            bench.datagram(SHARED, peer.addr, &check);
        });
        bench.sink.clear();
        while !peer.has_keys() || bench.sink.sent().count() > 0 {
            bench.sink.take().iter().for_each(|(_, packet)| peer.hear(packet));
            for packet in peer.say(bench.now.mono) {
                counted(|| bench.datagram(SHARED, peer.addr, &packet));
            }
        }
        assert!(bench.sink.events.contains(&MediaEvent::Connected { leg }), "{:?}", bench.sink.events);
    }
}

fn rewritten(from_browser: bool, to_browser: bool) {
    let packet = |n: usize| rtp(0, false, n as u16, n as u32 * 160, 7, &[n as u8; 160]);
    Call::new(from_browser || to_browser, (Codec::Pcmu, 0)).carry(from_browser, (0..).map(packet));
}

fn rewritten_on_a_shared_port() {
    let mut bench = Bench::with_shared_ports();
    bench.phone_on_shared_port(A, addr("198.51.100.2:20000"));
    bench.phone_on_shared_port(B, addr(PHONE));
    bench.join(plan(Codec::Pcmu, 0, 1), plan(Codec::Pcmu, 0, 2));
    let packet = |n: usize| rtp(0, false, n as u16, n as u32 * 160, 7, &[n as u8; 160]);
    Call { bench, browser: None, phone: RTP }.carry(false, (0..).map(packet));
}

fn transcoded(from_browser: bool, speaks: bool) {
    let mut encoder = OpusEncoder::new().unwrap();
    // As browsers do: SILK with FEC.
    encoder.expect_loss(5).unwrap();
    let packet = |n: usize| {
        let pcm = if speaks { spoken(n) } else { vec![0; 160] };
        if !from_browser {
            return rtp(0, false, n as u16, n as u32 * 160, 7, &ulaw(&pcm));
        }
        let mut payload = [0; 400];
        let len = encoder.encode(&pcm, &mut payload).unwrap();
        rtp(111, false, n as u16, n as u32 * 960, 7, &payload[..len])
    };
    Call::new(true, (Codec::Opus, 111)).carry(from_browser, (0..).map(packet));
}

fn srtp(profile: Profile) {
    let (key, salt) = (vec![3; profile.key_len()], vec![5; profile.salt_len()]);
    let mut tx = SrtpTx::new(profile, &key, &salt).unwrap();
    let mut rx = SrtpRx::new(profile, &key, &salt).unwrap();
    for n in 0..WARM + FRAMES {
        let mut packet = rtp(0, false, n as u16, n as u32 * 160, 7, &[n as u8; 160]);
        let len = packet.len();
        packet.resize(len + 20, 0);
        let mut there_and_back = || {
            let sealed = tx.protect_rtp(&mut packet, len).unwrap();
            assert_eq!(rx.unprotect_rtp(&mut packet[..sealed]), Ok(len));
        };
        if n < WARM { there_and_back() } else { counted(there_and_back) }
    }
}

/// What the instructions depend on besides the code.
fn machine() -> String {
    #[cfg(target_arch = "x86_64")]
    let features: Vec<&str> = [
        ("aes", std::is_x86_feature_detected!("aes")),
        ("pclmulqdq", std::is_x86_feature_detected!("pclmulqdq")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("sha", std::is_x86_feature_detected!("sha")),
    ]
    .into_iter()
    .filter_map(|(name, is_there)| is_there.then_some(name))
    .collect();
    #[cfg(not(target_arch = "x86_64"))]
    let features: [&str; 0] = [];
    format!("{} {}", std::env::consts::ARCH, features.join(" "))
}

fn said_by(command: &str) -> Option<String> {
    let output = Command::new(command).arg("--version").output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// Runs this program under valgrind; what it said, and the instructions that were counted.
fn under_valgrind(path: &str) -> Result<(String, u64), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=instructions::counted*", "--callgrind-out-file=/dev/null"])
        .args(["--read-inline-info=no", "--"])
        .arg(program)
        .args(["--path", path])
        .output()
        .map_err(|error| format!("valgrind does not run ({error}): script/setup --test installs it"))?;
    let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let collected = told.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match collected.filter(|count| *count > 0 && output.status.success()) {
        Some(count) => Ok((said.trim().to_owned(), count)),
        None => Err(format!("{path}: nothing was counted\n{said}\n{told}")),
    }
}

/// Instructions a packet, path by path.
type Figures = Vec<(&'static str, u64)>;

/// Instructions a packet of each path, and the kind of machine that valgrind shows.
fn measure() -> Result<(String, Figures), String> {
    let mut seen = String::new();
    let mut found = Figures::new();
    for (path, _) in PATHS {
        let (machine, count) = under_valgrind(path)?;
        seen = machine;
        let counted = if path == SET_UP { LEGS } else { FRAMES };
        found.push((path, count / counted as u64));
    }
    Ok((seen, found))
}

fn bless(machine: &str, found: &[(&str, u64)]) -> std::io::Result<()> {
    let tools = ["valgrind", "rustc"].map(|tool| said_by(tool).unwrap_or_default());
    let mut text = format!(
        "# Instructions a packet, as the tests are built; written by {BLESS}.\n# Taken with {}, {}.\nmachine: {machine}\n",
        tools[0], tools[1]
    );
    found.iter().for_each(|(path, count)| text += &format!("{path}: {count}\n"));
    std::fs::write(GOLDEN, text)
}

/// Path by path, what is off.
fn compare(golden: &str, machine: &str, found: &[(&str, u64)]) -> Vec<String> {
    let lines = golden.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": "));
    let mut golden: BTreeMap<&str, &str> = lines.collect();
    let mut off = Vec::new();
    if golden.remove("machine") != Some(machine) {
        off.push(format!("the golden figures are of another kind of machine than {machine}: compare by hand, or {BLESS}"));
    }
    for (path, count) in found {
        match golden.remove(path).and_then(|figure| figure.parse::<u64>().ok()) {
            None => off.push(format!("{path}: no golden figure, found {count}: {BLESS}")),
            Some(figure) => {
                let percent = (*count as f64 / figure as f64 - 1.0) * 100.0;
                println!("{path:<46}{figure:>9}{count:>9}{percent:>+8.1} %");
                if percent.abs() > PLAY {
                    off.push(format!("{path}: golden {figure}, found {count}, {percent:+.1} %; if it ought to be so: {BLESS}"));
                }
            }
        }
    }
    off.extend(golden.keys().map(|path| format!("{path}: a golden figure of no path: {BLESS}")));
    off
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, path] = &args[..]
        && flag == "--path"
    {
        let (_, run) = PATHS.iter().find(|(name, _)| name == path).expect("a path");
        run();
        println!("{}", machine());
        return ExitCode::SUCCESS;
    }
    if !cfg!(debug_assertions) {
        println!("the golden figures are not a release build's: script/bench --instructions");
        return ExitCode::FAILURE;
    }
    let (machine, found) = match measure() {
        Ok(measured) => measured,
        Err(why) => {
            println!("{why}\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
            return ExitCode::FAILURE;
        }
    };
    if args.iter().any(|arg| arg == "--bless") {
        bless(&machine, &found).expect("the golden file is written");
    }
    println!("{:<46}{:>9}{:>9}", "instructions a packet", "golden", "found");
    let off = compare(&std::fs::read_to_string(GOLDEN).unwrap_or_default(), &machine, &found);
    off.iter().for_each(|line| println!("{line}"));
    let (verdict, failed) = if off.is_empty() { ("ok", 0) } else { ("FAILED", 1) };
    println!("test result: {verdict}. {} passed; {failed} failed; 0 ignored", 1 - failed);
    ExitCode::from(failed)
}
