//! The gateway's sockets as a peer meets them: a real `ringway serve` on loopback ports of its own, real datagrams, real
//! WebSockets.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use ringway::wire::sip::digest::{Algorithm, Credentials};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

const PATIENCE: Duration = Duration::from_secs(10);

struct Gateway {
    child: Child,
    dir: PathBuf,
    sip: SocketAddr,
    web: SocketAddr,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A port that was free a moment ago.
fn free_port(ip: IpAddr) -> u16 {
    TcpListener::bind((ip, 0)).and_then(|l| l.local_addr()).expect("a free port").port()
}

fn start(name: &str, ip: &str) -> Gateway {
    let ip: IpAddr = ip.parse().expect("an address");
    let dir = std::env::temp_dir().join(format!("ringway-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let (web, sip) = (SocketAddr::new(ip, free_port(ip)), SocketAddr::new(ip, free_port(ip)));
    let config = format!(
        "domain = \"net.test\"\naddresses = [\"{ip}\"]\n[web]\nport = {}\nplain_port = {}\nallowed_origins = [\"https://intranet.example\"]\n[sip]\nudp_port = {}\n[media]\nworkers = 1\nwebrtc_port = {}\nrtp_ports = \"21000-21099\"\n",
        free_port(ip),
        web.port(),
        sip.port(),
        free_port(ip)
    );
    std::fs::write(dir.join("ringway.toml"), config).expect("written");
    Gateway { child: serve(&dir), dir, sip, web }
}

fn serve(dir: &Path) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["--config", "ringway.toml", "serve"])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ringway starts");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    let ready = stdout.lines().map_while(Result::ok).any(|line| line == "ready");
    if !ready {
        let mut words = String::new();
        let _ = std::io::Read::read_to_string(&mut child.stderr.take().expect("piped"), &mut words);
        panic!("ringway does not become ready: {words}");
    }
    child
}

/// A BYE of no dialog: answered 481 by its transaction, whoever sends it.
fn stray(via: &str, n: u32) -> String {
    format!(
        "BYE sip:net.test SIP/2.0\r\nVia: {via};branch=z9hG4bKo{n}\r\nMax-Forwards: 70\r\nFrom: <sip:x@net.test>;tag=1\r\nTo: <sip:net.test>\r\nCall-ID: o{n}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
    )
}

fn udp(gateway: &Gateway) -> UdpSocket {
    let socket = UdpSocket::bind((gateway.sip.ip(), 0)).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = [0; 4096];
    let (len, _) = socket.recv_from(&mut buffer).expect("an answer");
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

#[test]
fn udp_answers_where_rport_asks_and_says_what_it_saw() {
    for ip in ["127.0.0.1", "::1"] {
        let gateway = start(&format!("udp{}", ip.len()), ip);
        let socket = udp(&gateway);
        let own = socket.local_addr().expect("bound");
        socket.send_to(stray("SIP/2.0/UDP 192.0.2.77:9;rport", 1).as_bytes(), gateway.sip).expect("sent");
        let answer = receive(&socket);
        assert!(answer.starts_with("SIP/2.0 481 "), "{answer}");
        assert!(
            answer.contains(&format!(";received={}", own.ip())) && answer.contains(&format!(";rport={}", own.port())),
            "{answer}"
        );
        // A retransmission is answered alike, from the transaction.
        socket.send_to(stray("SIP/2.0/UDP 192.0.2.77:9;rport", 1).as_bytes(), gateway.sip).expect("sent");
        assert_eq!(receive(&socket), answer);
    }
}

#[test]
fn udp_survives_what_is_no_sip() {
    let gateway = start("junk", "127.0.0.1");
    let socket = udp(&gateway);
    for junk in [&b"\r\n\r\n"[..], b"\0", b"hello", &[0xff; 1500], b"OPTIONS sip:x SIP/2.0\r\n"] {
        socket.send_to(junk, gateway.sip).expect("sent");
    }
    socket.send_to(stray("SIP/2.0/UDP 192.0.2.77:9;rport", 2).as_bytes(), gateway.sip).expect("sent");
    // The message without headers may have been answered with 400; the whole one is answered with 481.
    let answers = [receive(&socket)];
    let last = if answers[0].starts_with("SIP/2.0 400") { receive(&socket) } else { answers[0].clone() };
    assert!(last.starts_with("SIP/2.0 481"), "{last}");
}

async fn connect(
    gateway: &Gateway,
    protocol: Option<&str>,
    origin: Option<&str>,
) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
    let mut request = format!("ws://{}/ws", gateway.web).into_client_request()?;
    if let Some(protocol) = protocol {
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().expect("a value"));
    }
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", origin.parse().expect("a value"));
    }
    let stream = TcpStream::connect(gateway.web).await.expect("the web port listens");
    let (socket, response) = timeout(PATIENCE, client_async(request, stream)).await.expect("in time")?;
    assert_eq!(response.headers().get("Sec-WebSocket-Protocol").map(|v| v.as_bytes()), Some(&b"sip"[..]));
    Ok(socket)
}

fn refused_with(result: Result<WebSocketStream<TcpStream>, tungstenite::Error>) -> u16 {
    match result {
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        other => panic!("expected a refusal, found {other:?}"),
    }
}

async fn next(socket: &mut WebSocketStream<TcpStream>) -> Message {
    timeout(PATIENCE, socket.next()).await.expect("in time").expect("open").expect("a message")
}

#[tokio::test]
async fn websockets_need_the_sip_subprotocol_and_an_origin_that_is_ours() {
    let gateway = start("origin", "127.0.0.1");
    let own = format!("http://{}", gateway.web);
    assert_eq!(refused_with(connect(&gateway, None, Some(&own)).await), 400);
    assert_eq!(refused_with(connect(&gateway, Some("chat"), Some(&own)).await), 400);
    assert_eq!(refused_with(connect(&gateway, Some("sip"), Some("https://evil.example")).await), 403);
    for origin in [Some(own.as_str()), Some("https://intranet.example"), None] {
        connect(&gateway, Some("sip"), origin).await.expect("allowed");
    }
}

#[tokio::test]
async fn a_websocket_message_is_one_sip_message_text_or_binary() {
    for ip in ["127.0.0.1", "::1"] {
        one_message_a_frame(&start(&format!("frames{}", ip.len()), ip)).await;
    }
}

async fn one_message_a_frame(gateway: &Gateway) {
    let mut socket = connect(gateway, Some("sip"), None).await.expect("allowed");
    let text = stray("SIP/2.0/WS df7jal23ls0d.invalid", 1);
    for message in [Message::text(text.clone()), Message::binary(stray("SIP/2.0/WS df7jal23ls0d.invalid", 2).into_bytes())] {
        socket.send(message).await.expect("sent");
        let Message::Text(answer) = next(&mut socket).await else { panic!("text is answered") };
        assert!(answer.starts_with("SIP/2.0 481 "), "{answer}");
        assert!(answer.contains("Via: SIP/2.0/WS df7jal23ls0d.invalid"), "{answer}");
    }
    // What follows the first message's Content-Length is not a second one.
    let third = stray("SIP/2.0/WS df7jal23ls0d.invalid", 3) + &stray("SIP/2.0/WS df7jal23ls0d.invalid", 4);
    socket.send(Message::text(third)).await.expect("sent");
    let Message::Text(answer) = next(&mut socket).await else { panic!("text is answered") };
    assert!(answer.contains("Call-ID: o3"), "{answer}");
    socket.send(Message::Ping(b"there?".to_vec().into())).await.expect("sent");
    assert!(matches!(next(&mut socket).await, Message::Pong(payload) if payload == "there?"), "nothing stood between");
}

#[tokio::test]
async fn keep_alives_are_answered_and_too_much_is_cut_off() {
    let gateway = start("keepalive", "127.0.0.1");
    let mut socket = connect(&gateway, Some("sip"), None).await.expect("allowed");
    socket.send(Message::text("\r\n\r\n")).await.expect("sent");
    let Message::Text(answer) = next(&mut socket).await else { panic!("text is answered") };
    assert_eq!(answer.as_str(), "\r\n");
    // Larger than any SIP message: the connection is closed, the gateway lives.
    let _ = socket.send(Message::text("x".repeat(70_000))).await;
    let over = timeout(PATIENCE, async {
        while let Some(Ok(message)) = socket.next().await {
            assert!(message.is_close())
        }
    })
    .await;
    assert!(over.is_ok(), "the connection ends");
    connect(&gateway, Some("sip"), None).await.expect("the next one is served");
}

#[test]
fn several_gateways_run_side_by_side_and_a_taken_port_is_named() {
    let (first, second) = (start("one", "127.0.0.1"), start("two", "127.0.0.1"));
    assert_ne!(first.sip, second.sip);
    let config = std::fs::read_to_string(first.dir.join("ringway.toml")).expect("readable");
    std::fs::write(second.dir.join("same.toml"), config).expect("written");
    let third = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["--config", "same.toml", "serve"])
        .current_dir(&second.dir)
        .output()
        .expect("runs");
    let words = String::from_utf8_lossy(&third.stderr).into_owned();
    assert!(!third.status.success() && words.contains(&first.sip.to_string()), "{words}");
}

fn ringway(gateway: &Gateway, args: &[&str], stdin: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["--config", "ringway.toml"])
        .args(args)
        .current_dir(&gateway.dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("ringway starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), stdin.as_bytes()).expect("written");
    assert!(child.wait().expect("ends").success(), "ringway {args:?}");
}

/// Registers by digest as `alice`: the status of the answer to the proof.
fn register(gateway: &Gateway, call_id: &str, password: &str) -> String {
    let socket = udp(gateway);
    let own = socket.local_addr().expect("bound");
    let request = |n: u32, authorization: &str| {
        format!(
            "REGISTER sip:net.test SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{call_id}{n}\r\nMax-Forwards: 70\r\nFrom: <sip:alice@net.test>;tag=1\r\nTo: <sip:alice@net.test>\r\nCall-ID: {call_id}\r\nCSeq: {n} REGISTER\r\nContact: <sip:alice@{own}>\r\n{authorization}Content-Length: 0\r\n\r\n"
        )
    };
    socket.send_to(request(1, "").as_bytes(), gateway.sip).expect("sent");
    let challenge = receive(&socket);
    let nonce = challenge.split("nonce=\"").nth(1).and_then(|t| t.split('"').next()).expect("a nonce").to_owned();
    let write = |response: &str| {
        format!(
            "Digest username=\"alice\", realm=\"net.test\", nonce=\"{nonce}\", uri=\"sip:net.test\", algorithm=MD5, qop=auth, cnonce=\"c\", nc=00000001, response=\"{response}\""
        )
    };
    let draft = Credentials::parse(write("0").as_bytes()).expect("well formed");
    let ha1 = Algorithm::Md5.hash_hex(format!("alice:net.test:{password}").as_bytes());
    let proof = format!("Authorization: {}\r\n", write(&draft.expected_response(Algorithm::Md5, &ha1, "REGISTER")));
    socket.send_to(request(2, &proof).as_bytes(), gateway.sip).expect("sent");
    receive(&socket).split(' ').nth(1).expect("a status").to_owned()
}

#[test]
fn accounts_are_made_changed_and_removed_while_the_gateway_runs() {
    let gateway = start("accounts", "127.0.0.1");
    assert_eq!(register(&gateway, "before", "correct horse"), "401");
    ringway(&gateway, &["user", "add", "alice", "--number", "201", "--password-stdin"], "correct horse\n");
    assert_eq!(register(&gateway, "made", "correct horse"), "200");
    ringway(&gateway, &["user", "passwd", "alice", "--password-stdin"], "battery staple\n");
    assert_eq!(register(&gateway, "old", "correct horse"), "401");
    assert_eq!(register(&gateway, "new", "battery staple"), "200");
    ringway(&gateway, &["user", "remove", "alice"], "");
    assert_eq!(register(&gateway, "removed", "battery staple"), "401");
}

/// Sends a request with an account's proof: the answer to it.
fn proven(gateway: &Gateway, socket: &UdpSocket, name: &str, method: &str, to: &str, lines: &str, body: &str) -> String {
    let own = socket.local_addr().expect("bound");
    let request = |n: u32, authorization: &str| {
        format!(
            "{method} sip:{to}net.test SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bK{method}{name}{n}\r\nMax-Forwards: 70\r\nFrom: <sip:{name}@net.test>;tag=1\r\nTo: <sip:{to}net.test>\r\nCall-ID: {method}{own}\r\nCSeq: {n} {method}\r\nContact: <sip:{name}@{own}>\r\n{authorization}{lines}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let to_register =
        |text: String| if method == "REGISTER" { text.replace("To: <sip:net", &format!("To: <sip:{name}@net")) } else { text };
    socket.send_to(to_register(request(1, "")).as_bytes(), gateway.sip).expect("sent");
    let challenge = receive(socket);
    let nonce = challenge.split("nonce=\"").nth(1).and_then(|t| t.split('"').next()).expect("a nonce").to_owned();
    let write = |response: &str| {
        format!(
            "Digest username=\"{name}\", realm=\"net.test\", nonce=\"{nonce}\", uri=\"sip:{to}net.test\", algorithm=MD5, qop=auth, cnonce=\"c\", nc=00000001, response=\"{response}\""
        )
    };
    let draft = Credentials::parse(write("0").as_bytes()).expect("well formed");
    let ha1 = Algorithm::Md5.hash_hex(format!("{name}:net.test:correct horse").as_bytes());
    let proof = format!("Authorization: {}\r\n", write(&draft.expected_response(Algorithm::Md5, &ha1, method)));
    socket.send_to(to_register(request(2, &proof)).as_bytes(), gateway.sip).expect("sent");
    receive(socket)
}

/// alice               gateway               bob
///   MESSAGE, MESSAGE ->
///   <------------- 202    stops, and starts anew
///                         <------ REGISTER
///                         MESSAGE, and the next once it is taken ->
#[test]
fn a_message_outlives_the_gateway_until_its_addressee_comes() {
    let mut gateway = start("kept", "127.0.0.1");
    for name in ["alice", "bob"] {
        ringway(&gateway, &["user", "add", name, "--password-stdin"], "correct horse\n");
    }
    let words = ["grüß dich 🎧\r\n", "und noch etwas"];
    for text in words {
        let answer = proven(&gateway, &udp(&gateway), "alice", "MESSAGE", "bob@", "Content-Type: text/plain\r\n", text);
        assert!(answer.starts_with("SIP/2.0 202 "), "{answer}");
    }
    gateway.child.kill().expect("killed");
    gateway.child.wait().expect("gone");
    gateway.child = serve(&gateway.dir);
    let socket = udp(&gateway);
    let answer = proven(&gateway, &socket, "bob", "REGISTER", "", "", "");
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    for text in words {
        let message = receive(&socket);
        assert!(message.starts_with("MESSAGE sip:bob@") && message.ends_with(&format!("\r\n\r\n{text}")), "{message}");
        let names = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
        let lines: Vec<&str> = message.split("\r\n").filter(|line| names.iter().any(|name| line.starts_with(name))).collect();
        let ok = format!("SIP/2.0 200 OK\r\n{}\r\nContent-Length: 0\r\n\r\n", lines.join("\r\n"));
        socket.send_to(ok.as_bytes(), gateway.sip).expect("sent");
    }
}
