//! What a browser costs before its first packet: an ICE agent and a DTLS handshake, as the gateway makes them against
//! webrtc-ice and dtls, in one run: `cargo bench --bench ice_dtls`. Trust the ratios, not the figures.
#![allow(unsafe_code)]

mod harness;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dtls::config::{ClientAuthType, Config as DtlsConfig, ExtendedMasterSecretType};
use dtls::conn::DTLSConn;
use dtls::crypto::Certificate;
use dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use harness::{allocated, median};
use ringway::media::dtls::{DtlsEvent, DtlsIdentity, Handshake};
use ringway::media::ice::Ice;
use ringway::plan::DtlsRole;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use webrtc_ice::agent::Agent;
use webrtc_ice::agent::agent_config::AgentConfig;
use webrtc_ice::mdns::MulticastDnsMode;
use webrtc_ice::network_type::NetworkType;
use webrtc_util::conn::conn_pipe::pipe;

const AGENTS: usize = 50;
const HANDSHAKES: usize = 60;

/// What this thread has computed, in microseconds: a busy machine takes the processor away, a handshake waits.
fn cpu_us() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which is ours.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(done, 0, "Linux has this clock");
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// One agent: microseconds, bytes that it keeps, allocations, tasks.
struct AgentCost {
    us: f64,
    bytes: f64,
    allocations: f64,
    tasks: f64,
}

fn our_agents() -> AgentCost {
    let make = |n: usize| Ice::new(format!("ufrag{n}"), "passwordOfTwentyTwoAndMore".to_owned());
    drop(make(0));
    let before = cpu_us();
    let timed: Vec<Ice> = (0..AGENTS).map(make).collect();
    let us = (cpu_us() - before) / AGENTS as f64;
    drop(timed);
    let mut kept = Vec::with_capacity(AGENTS);
    let ((), allocations, bytes) = allocated(|| kept.extend((0..AGENTS).map(make)));
    let bytes = bytes + AGENTS * size_of::<Ice>();
    AgentCost { us, bytes: bytes as f64 / AGENTS as f64, allocations: allocations as f64 / AGENTS as f64, tasks: 0.0 }
}

/// With one candidate on the loopback, as a gateway's has one.
async fn webrtc_agent() -> Agent {
    let config = AgentConfig {
        network_types: vec![NetworkType::Udp4],
        multicast_dns_mode: MulticastDnsMode::Disabled,
        include_loopback: true,
        ip_filter: Arc::new(Some(Box::new(|ip| ip.is_loopback()))),
        ..AgentConfig::default()
    };
    let agent = Agent::new(config).await.expect("an agent");
    let (tx, mut gathered) = mpsc::channel::<()>(1);
    agent.on_candidate(Box::new(move |candidate| {
        let tx = tx.clone();
        Box::pin(async move {
            if candidate.is_none() {
                let _ = tx.send(()).await;
            }
        })
    }));
    agent.gather_candidates().expect("it gathers");
    gathered.recv().await.expect("it has gathered");
    agent
}

fn webrtc_agents(runtime: &Runtime) -> AgentCost {
    let make = || async {
        let mut agents = Vec::with_capacity(AGENTS);
        for _ in 0..AGENTS {
            agents.push(webrtc_agent().await);
        }
        agents
    };
    let close = |agents: Vec<Agent>| async move {
        for agent in agents {
            agent.close().await.expect("it closes");
        }
    };
    runtime
        .block_on(async {
            close(make().await).await;
            let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
            let before = cpu_us();
            let timed = make().await;
            let us = (cpu_us() - before) / AGENTS as f64;
            let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() - tasks;
            close(timed).await;
            us_and(us, tasks)
        })
        .with_memory(|| runtime.block_on(make()), |agents| runtime.block_on(close(agents)))
}

fn us_and(us: f64, tasks: usize) -> AgentCost {
    AgentCost { us, bytes: 0.0, allocations: 0.0, tasks: tasks as f64 / AGENTS as f64 }
}

impl AgentCost {
    fn with_memory<T>(self, make: impl FnOnce() -> T, close: impl FnOnce(T)) -> Self {
        let (agents, allocations, bytes) = allocated(make);
        close(agents);
        Self { bytes: bytes as f64 / AGENTS as f64, allocations: allocations as f64 / AGENTS as f64, ..self }
    }
}

/// CPU of both ends, until both have keys.
fn our_handshake(identities: &[DtlsIdentity; 2]) -> f64 {
    let before = cpu_us();
    let now = Instant::now();
    let mut server = Handshake::new(now, &identities[0], DtlsRole::Server, identities[1].fingerprint());
    let mut client = Handshake::new(now, &identities[1], DtlsRole::Client, identities[0].fingerprint());
    let (mut to_server, mut to_client): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    let (mut server_keys, mut client_keys) = (false, false);
    client.handle_timeout(now, |packet| to_server.push(packet.to_vec())).expect("a ClientHello");
    while !(server_keys && client_keys) {
        let (for_server, for_client) = (std::mem::take(&mut to_server), std::mem::take(&mut to_client));
        assert!(!(for_server.is_empty() && for_client.is_empty()), "the handshake stalled");
        for packet in for_server {
            let event = server.handle_datagram(now, &packet, |p| to_client.push(p.to_vec())).expect("a client's flight");
            server_keys |= matches!(event, Some(DtlsEvent::Keys(_)));
        }
        for packet in for_client {
            let event = client.handle_datagram(now, &packet, |p| to_server.push(p.to_vec())).expect("a server's flight");
            client_keys |= matches!(event, Some(DtlsEvent::Keys(_)));
        }
    }
    cpu_us() - before
}

fn dtls_handshake(runtime: &Runtime, certificate: &Certificate) -> f64 {
    let config = || DtlsConfig {
        certificates: vec![certificate.clone()],
        srtp_protection_profiles: vec![SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80],
        client_auth: ClientAuthType::RequireAnyClientCert,
        extended_master_secret: ExtendedMasterSecretType::Require,
        insecure_skip_verify: true,
        flight_interval: Duration::from_millis(200),
        ..DtlsConfig::default()
    };
    runtime.block_on(async {
        let before = cpu_us();
        let (a, b) = pipe();
        let (server, client) =
            tokio::join!(DTLSConn::new(Arc::new(a), config(), false, None), DTLSConn::new(Arc::new(b), config(), true, None));
        let took = cpu_us() - before;
        let (server, client) = (server.expect("keys"), client.expect("keys"));
        let _ = tokio::join!(server.close(), client.close());
        took
    })
}

fn main() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("the first in this process");
    // One thread, whose clock then counts all that either does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");

    let (ours, theirs) = (our_agents(), webrtc_agents(&runtime));
    println!("an ICE agent with one candidate       ours   webrtc-ice   ours/theirs");
    for (what, ours, theirs) in [
        ("CPU to make it, µs", ours.us, theirs.us),
        ("bytes that it keeps", ours.bytes, theirs.bytes),
        ("allocations to make it", ours.allocations, theirs.allocations),
        ("tasks that it keeps", ours.tasks, theirs.tasks),
    ] {
        println!("{what:<32} {ours:>9.1} {theirs:>12.1} {:>13.3}", ours / theirs);
    }

    let identities = [(); 2].map(|()| DtlsIdentity::generate().expect("a certificate"));
    let certificate = Certificate::generate_self_signed(vec!["bench.test".to_owned()]).expect("a certificate");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..HANDSHAKES {
        ours.push(our_handshake(&identities));
        theirs.push(dtls_handshake(&runtime, &certificate));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("\na DTLS handshake, both ends, mutual   ours         dtls   ours/theirs");
    println!("{:<32} {ours:>9.0} {theirs:>12.0} {:>13.2}", "CPU, µs", ours / theirs);
}
