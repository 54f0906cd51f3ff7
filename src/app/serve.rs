//! `ringway serve`: the wiring. Everything is bound before anything runs, so that a taken port is told at once.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};

use super::config::Config;
use super::load;
use crate::base::{Pii, Rng};
use crate::io::net::{self, Certificate, Driver, HttpConfig, drive, load_or_make, serve_http};
use crate::io::page::{DemoNumber, PageInfo};
use crate::io::store::{Store, StoreThread};
use crate::io::worker::{self, WorkerConfig};
use crate::media::dtls::DtlsIdentity;
use crate::policy::dialplan::{Dialplan, Target};
use crate::signalling::call::CallTimes;
use crate::signalling::engine::{Engine, EngineConfig, Peer};
use crate::signalling::registrar::RegistrarLimits;
use crate::wire::sdp::Fingerprint;

/// Transactions on each side: a call has about four at once.
const TRANSACTIONS_PER_CALL: usize = 20;

/// Its two, and phones that ring beside the one that will answer.
const LEGS_PER_CALL: usize = 4;

/// Runs the gateway until it is told to stop (SIGINT, SIGTERM).
///
/// # Errors
/// What cannot be read or bound, by name.
pub fn serve(config: Config) -> anyhow::Result<()> {
    log_to_stderr(&config);
    // One provider for all TLS: two in one process make rustls choose none.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(run(config))
}

fn log_to_stderr(config: &Config) {
    Pii::reveal(config.log.reveal);
    let filter = tracing_subscriber::EnvFilter::try_from_env("RINGWAY_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("ringway={}", config.log.level.name())));
    let ansi = std::io::stderr().is_terminal();
    // Someone else's subscriber (a test's) may be there already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false)
        .try_init();
}

async fn run(config: Config) -> anyhow::Result<()> {
    let profiles = load::profiles(&config)?;
    let dialplan = load::dialplan(&config)?;
    let store = Store::open(&config.data_dir, &config.domain)?;

    let identity = DtlsIdentity::generate().context("making the DTLS certificate")?;
    let udp = net::UdpSockets::bind(&config.addresses, config.sip.udp_port)?;
    let (media_tx, media) = mpsc::channel(net::QUEUE);
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).ok().context("the operating system gives no random numbers")?;
    let worker = worker::start(
        WorkerConfig {
            addresses: config.addresses.clone(),
            workers: config.media.worker_count(),
            webrtc_port: config.media.webrtc_port,
            rtp_ports: config.media.rtp_ports.first..=config.media.rtp_ports.last,
            max_legs: config.media.max_calls * LEGS_PER_CALL,
            music: config.hold_music()?,
            rtp_timeout: secs_or_never(config.media.rtp_timeout_secs),
            rtp_hold_timeout: secs_or_never(config.media.rtp_hold_timeout_secs),
            seed,
            identity: identity.clone(),
        },
        media_tx,
    )?;

    let (events_tx, events) = mpsc::channel(net::QUEUE);
    let (web, web_tasks) = serve_http(http_config(&config, &dialplan)?, events_tx).await?;
    say_where(&config, &web, udp.addresses());

    let named = |name: &str| profiles.get(name).cloned().with_context(|| format!("profile {name}"));
    let peers = config.peers.iter().map(|peer| {
        Ok(Peer { name: peer.name.clone(), address: peer.address, profile: named(&peer.profile)?, trusted: peer.trusted })
    });
    let engine_config = EngineConfig {
        domain: config.domain.clone(),
        udp: udp.addresses().collect(),
        browser: named(&config.profiles.browser)?,
        phone: named(&config.profiles.phone)?,
        peers: peers.collect::<anyhow::Result<_>>()?,
        dialplan,
        fingerprint: Fingerprint(identity.fingerprint()),
        times: CallTimes {
            ring: Duration::from_secs(config.calls.ring_secs.into()),
            grace: Duration::from_secs(config.calls.websocket_grace_secs.into()),
        },
        registrar: RegistrarLimits {
            min_expires_secs: config.registrar.min_expires_secs,
            max_expires_secs: config.registrar.max_expires_secs,
            default_expires_secs: config.registrar.default_expires_secs,
            max_bindings: config.registrar.max_bindings_per_account,
        },
        nonce_lifetime: Duration::from_secs(config.digest.nonce_lifetime_secs.into()),
        max_calls: config.media.max_calls,
        max_transactions: 2_000 + config.media.max_calls * TRANSACTIONS_PER_CALL,
    };
    let mut engine_seed = [0; 32];
    aws_lc_rs::rand::fill(&mut engine_seed).ok().context("the operating system gives no random numbers")?;
    let engine = Engine::new(engine_config, Rng::from_seed(engine_seed));
    let store = StoreThread::start(store).context("starting the database's thread")?;

    let (stop, stopped) = oneshot::channel();
    let driver = tokio::spawn(drive(Driver { engine, udp, events, worker, media, store }, stopped));
    wait_for_signal().await?;
    tracing::info!("stopping: calls are being ended");
    let _ = stop.send(());
    driver.await.context("the engine's task")?;
    for task in web_tasks {
        task.abort();
    }
    Ok(())
}

fn secs_or_never(secs: u32) -> Option<Duration> {
    (secs != 0).then(|| Duration::from_secs(secs.into()))
}

fn http_config(config: &Config, dialplan: &Dialplan) -> anyhow::Result<HttpConfig> {
    let certificate = match (&config.web.certificate_file, &config.web.key_file) {
        (Some(certificate), Some(key)) => Certificate::Files { certificate: certificate.clone(), key: key.clone() },
        _ => Certificate::SelfSigned {
            dir: config.data_dir.clone(),
            names: vec![config.domain.clone(), "localhost".to_owned()],
            addresses: config.addresses.clone(),
        },
    };
    let tls = load_or_make(&certificate)?;
    let secure = config.addresses.iter().map(|ip| (SocketAddr::new(*ip, config.web.port), Some(tls.clone())));
    let plain = config
        .web
        .plain_port
        .into_iter()
        .flat_map(|port| config.addresses.iter().map(move |ip| (SocketAddr::new(*ip, port), None)));
    let page = PageInfo { domain: config.domain.clone(), demo_numbers: demo_numbers(dialplan) };
    Ok(HttpConfig { listen: secure.chain(plain).collect(), origins: config.web.allowed_origins.clone(), page })
}

/// What the page offers to dial: the numbers that the dialplan answers itself.
fn demo_numbers(dialplan: &Dialplan) -> Vec<DemoNumber> {
    let what = |target: &Target| match target {
        Target::Echo => Some("echo: hear yourself"),
        Target::Tone { .. } => Some("a tone"),
        Target::Group { .. } => Some("a group of people"),
        Target::Account(_) | Target::Peer { .. } | Target::Refuse { .. } => None,
    };
    dialplan
        .fixed_numbers()
        .into_iter()
        .filter_map(|(number, target)| Some(DemoNumber { number, what: what(&target)?.to_owned() }))
        .collect()
}

/// On standard output, for people and for scripts that wait for it.
fn say_where(config: &Config, web: &[SocketAddr], udp: impl Iterator<Item = SocketAddr>) {
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| {
        // Nobody reads: that is no reason not to serve.
        let _ = writeln!(out, "{line}");
    };
    say(format!("ringway serves {}", config.domain));
    for address in web {
        let scheme = if Some(address.port()) == config.web.plain_port { "http" } else { "https" };
        say(format!("  page        {scheme}://{address}/"));
    }
    for address in udp {
        say(format!("  phones      sip:{address} (UDP)"));
    }
    say("ready".to_owned());
    let _ = out.flush();
}

async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("listening for SIGINT"),
        _ = terminate.recv() => Ok(()),
    }
}
