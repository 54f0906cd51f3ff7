//! The `ringway` command as an administrator meets it: what it prints, what it writes, how it ends.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A directory of one test's own, gone when it ends.
struct Dir(PathBuf);

impl Dir {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-cli-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn run_with(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
        command.current_dir(&self.0).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        // A command that reads no input may have ended already.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait_with_output().expect("it ends")
    }

    fn good(&self, args: &[&str], input: &str) -> String {
        let output = self.run_with(args, input);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{args:?}\n{stdout}\n{stderr}");
        stdout.into_owned()
    }

    fn bad(&self, args: &[&str], input: &str) -> String {
        let output = self.run_with(args, input);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{args:?}\n{stdout}\n{stderr}");
        format!("{stdout}{stderr}")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("written");
    }

    fn init(&self) {
        // Ports of no other test, so that all can run at once.
        let [web, udp, webrtc] = [18443, 15060, 30000].map(|port: u16| port.to_string());
        let args = ["init", "--address", "127.0.0.1", "--web-port", &web, "--udp-port", &udp, "--webrtc-port", &webrtc];
        self.good(&[&args[..], &["--rtp-ports", "30064-30083"]].concat(), "");
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn init_writes_once_and_never_overwrites() {
    let dir = Dir::new("init");
    let said = dir.good(&["init", "--domain", "phones.example.org", "--address", "127.0.0.1"], "");
    assert!(said.contains("Wrote ringway.toml") && said.contains("ringway user add alice"), "{said}");
    let text = std::fs::read_to_string(dir.0.join("ringway.toml")).expect("written");
    assert!(text.contains("domain = \"phones.example.org\"\n") && text.contains("udp_port = 5060\n"), "{text}");
    let said = dir.bad(&["init", "--domain", "other.example.org"], "");
    assert_eq!(
        said,
        "ringway: ringway.toml: there is such a file already, and init never overwrites; move it away or name another by --config\n"
    );
    assert_eq!(std::fs::read_to_string(dir.0.join("ringway.toml")).expect("still there"), text);
    dir.good(&["init", "--config", "second.toml", "--address", "127.0.0.1", "--udp-port", "5070"], "");
    assert!(dir.bad(&["--config", "third.toml", "init", "--domain", "A B"], "").contains("nothing was written"));
    assert!(!dir.0.join("third.toml").exists());
}

#[test]
fn accounts_are_made_in_one_command() {
    let dir = Dir::new("user");
    dir.init();
    assert!(dir.good(&["user", "list"], "").contains("There is no account yet"));
    let add = ["user", "add", "alice", "--number", "201", "--display-name", "Alice Example", "--password-stdin"];
    assert_eq!(dir.good(&add, "correct horse\n"), "Account alice with number 201 is ready.\n");
    dir.good(&["user", "add", "hall", "--password", "battery staple"], "");
    let list = dir.good(&["user", "list"], "");
    assert_eq!(list, "NAME   NUMBER  DISPLAY NAME\nalice  201     Alice Example\nhall\n");
    assert_eq!(dir.bad(&add, "correct horse\n"), "ringway: there is an account alice already\n");
    let taken = dir.bad(&["user", "add", "bob", "--number", "201", "--password", "correct horse"], "");
    assert_eq!(taken, "ringway: the number 201 belongs to the account alice\n");
    assert!(dir.bad(&["user", "add", "bob"], "").contains("--password-stdin"), "no terminal to ask on");
    assert!(dir.bad(&["user", "add", "bob", "--password-stdin"], "short\n").contains("at least 8 characters"));
    assert!(dir.bad(&["user", "add", "Bob", "--password", "correct horse"], "").contains("lower-case letters"));
    assert!(dir.bad(&["user", "add", "bob", "--number", "x", "--password", "correct horse"], "").contains("digits"));
    dir.good(&["user", "passwd", "alice", "--password-stdin"], "battery staple\r\n");
    dir.good(&["user", "remove", "hall"], "");
    assert_eq!(dir.bad(&["user", "remove", "hall"], ""), "ringway: there is no account hall\n");
    assert!(!dir.good(&["user", "list"], "").contains("hall"));
}

#[test]
fn check_says_in_words_what_is_right_and_what_is_not() {
    let dir = Dir::new("check");
    dir.init();
    let said = dir.good(&["check"], "");
    for line in
        ["Everything is right.", "profiles: generic-pbx, generic-phone, jssip, webrtc-pbx", "dialplan: rules: 3, tests passed: 5"]
    {
        assert!(said.contains(line), "{line}\n{said}");
    }
    let head = "domain = \"a.org\"\n";
    let cases = [
        (format!("{head}addresses = [\"192.0.2.77\"]"), "ringway.toml:2: addresses: expected addresses of this machine"),
        (
            format!("{head}[sip]\nudp_port = \"abc\""),
            "ringway.toml:3: sip.udp_port: expected a port number 1 to 65535, found \"abc\"",
        ),
        (
            format!("{head}[profiles]\nbrowser = \"x\""),
            "ringway.toml:3: profiles.browser: expected a profile: one of generic-pbx",
        ),
        (format!("{head}[dialplan]\nfile = \"no.toml\""), "ringway.toml:3: dialplan.file: expected a file that can be read"),
        (
            format!("{head}[web]\ncertificate_file = \"c.pem\"\nkey_file = \"k.pem\""),
            "ringway.toml:3: web.certificate_file: expected a certificate in PEM",
        ),
    ];
    for (text, expected) in cases {
        dir.write("ringway.toml", &text);
        let said = dir.bad(&["check", "--no-ports"], "");
        assert!(said.contains(expected), "expected {expected}\nfound {said}");
    }
}

#[test]
fn check_reads_an_organisations_own_profiles_and_dialplan() {
    let dir = Dir::new("own");
    let rule = "[[rule]]\nname = \"out\"\ndial = \"0.\"\nto = \"peer:pbx\"\nstrip = 1\n";
    let peer = "[[peer]]\nname = \"pbx\"\naddress = \"127.0.0.1:5062\"\nprofile = \"mine\"\n";
    let head = "domain = \"a.org\"\naddresses = [\"127.0.0.1\"]\n[profiles]\ndir = \"p\"\n[dialplan]\nfile = \"plan.toml\"\n";
    std::fs::create_dir(dir.0.join("p")).expect("a directory");
    dir.write("p/mine.toml", include_str!("../sip-profiles/generic-pbx.toml"));
    dir.write("ringway.toml", &format!("{head}{peer}"));
    dir.write("plan.toml", &format!("{rule}[[test]]\ndial = \"0123\"\nexpect = \"peer:pbx 123\"\n"));
    assert!(dir.good(&["check", "--no-ports"], "").contains("dialplan: rules: 1, tests passed: 1"));
    dir.write("plan.toml", &format!("{rule}[[test]]\ndial = \"0123\"\nexpect = \"peer:pbx 0123\"\n"));
    let said = dir.bad(&["check", "--no-ports"], "");
    let expected = "plan.toml:6: 0123: expected peer:pbx 0123, found peer:pbx 123, by rule \"out\", plan.toml:1";
    assert!(said.contains(expected), "{said}");
    dir.write("ringway.toml", head);
    let said = dir.bad(&["check", "--no-ports"], "");
    assert!(said.contains("rule \"out\", plan.toml:1: expected a peer of ringway.toml, found \"pbx\""), "{said}");
    dir.write("p/mine.toml", "media = \"rtp\"\nptime_ms = 21\n");
    assert!(dir.bad(&["check", "--no-ports"], "").contains("p/mine.toml:2: ptime_ms: expected 10, 20, 40 or 60, found 21"));
}

#[test]
fn a_port_in_use_is_named() {
    let dir = Dir::new("ports");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = socket.local_addr().expect("bound").port();
    dir.write("ringway.toml", &format!("domain = \"a.org\"\naddresses = [\"127.0.0.1\"]\n[sip]\nudp_port = {port}\n"));
    let said = dir.bad(&["check"], "");
    assert!(
        said.contains(&format!("ringway.toml:4: sip.udp_port: expected a free UDP port, found 127.0.0.1:{port}: ")),
        "{said}"
    );
}

#[test]
fn a_pair_of_rtp_ports_for_each_worker_is_asked_for() {
    let dir = Dir::new("pairs");
    let media = "[media]\nworkers = 3\nrtp_ports = \"31000-31003\"\n";
    dir.write("ringway.toml", &format!("domain = \"a.org\"\naddresses = [\"127.0.0.1\"]\n{media}"));
    let said = dir.bad(&["check"], "");
    let expected =
        "ringway.toml:5: media.rtp_ports: expected a free pair of UDP ports for each of 3 workers, found 2 of 2 on 127.0.0.1";
    assert!(said.contains(expected), "{said}");
}

#[test]
fn calls_and_ladders_are_shown() {
    use ringway::io::store::Store;
    use ringway::signalling::record::{CallRecord, LegMedia, TraceRecord};
    let dir = Dir::new("calls");
    dir.init();
    assert_eq!(dir.good(&["calls"], ""), "No call yet.\n");
    let mut store = Store::open(&dir.0.join("data"), "ringway.lan").expect("it opens");
    let call = CallRecord {
        id: "aaaabbbbcccc".to_owned(),
        from: "alice".to_owned(),
        dialled: "200".to_owned(),
        because: "rule \"accounts\", dialplan/default.toml:27".to_owned(),
        sip_call_ids: [Some("left@host".to_owned()), Some("right@host".to_owned())],
        started_unix_ms: 1_795_362_354_000,
        answered_unix_ms: Some(1_795_362_356_000),
        ended_unix_ms: 1_795_362_419_000,
        status: 200,
        ended_by: "hung up by alice".to_owned(),
        pipeline: String::new(),
        media: [LegMedia::default(), LegMedia { verdict: "no packet from the phone".to_owned(), ..LegMedia::default() }],
    };
    let message = TraceRecord {
        unix_us: 1_795_362_354_000_000,
        call: Some(call.id.clone()),
        rx: true,
        transport: "wss",
        local: "127.0.0.1:8443".parse().expect("an address"),
        remote: "127.0.0.1:50000".parse().expect("an address"),
        peer: "alice".to_owned(),
        bytes: b"INVITE sip:200@ringway.lan SIP/2.0\r\nCall-ID: left@host\r\nCSeq: 1 INVITE\r\n\r\n"[..].into(),
    };
    store.insert_batch(std::slice::from_ref(&call), &[message]).expect("kept");
    let said = dir.good(&["calls"], "");
    assert!(said.contains("aaaabbbbcccc  2026-11-22 15:45:54  alice  200      1:03    200     hung up by alice\n"), "{said}");
    assert!(said.contains("callee's audio: no packet from the phone"), "{said}");
    let json: serde_json::Value = serde_json::from_str(&dir.good(&["calls", "--json"], "")).expect("JSON");
    assert_eq!(json[0]["from"], "alice");
    for wanted in ["aaaabbbbcccc", "aaaa", "right@host"] {
        let said = dir.good(&["ladder", wanted], "");
        assert!(said.contains("alice dialled 200") && said.contains("│─ INVITE sip:200@… ─"), "{said}");
        assert!(!said.contains("Call-ID: left@host"));
    }
    assert!(dir.good(&["ladder", "aaaa", "--full"], "").contains("Call-ID: left@host"));
    assert!(dir.bad(&["ladder", "zzzz"], "").contains("no call zzzz"));
}

#[test]
fn a_missing_configuration_is_told_with_the_way_out() {
    let dir = Dir::new("missing");
    let said = dir.bad(&["check"], "");
    assert_eq!(said, "ringway: ringway.toml: there is no such file; `ringway init` writes one, --config names another\n");
    assert_eq!(dir.run_with(&["dance"], "").status.code(), Some(2), "what is not understood");
    let help = dir.good(&["--help"], "");
    assert!(help.contains("First steps:") && help.contains("ladder"), "{help}");
}
