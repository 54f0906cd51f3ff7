//! Open-loop RTP load and meter for media gateways: N calls of 50 packets a second a direction, real speech, plain or by
//! SDES-SRTP or ICE and DTLS-SRTP, and what becomes of them: loss, added latency, whether the audio is what was said, and what
//! the gateway's processes cost meanwhile. One thread, which says how late it was itself.
//!
//! Its WebRTC side is made of crates of which the gateway has none: stun, dtls, webrtc-srtp.
//!
//! `run SPEC MEDIA_DIR` is the load (also without the word `run`, as the peers kit calls its own generator); `forward` and
//! `opus` are the floors: what a gateway would cost that does nothing but receive and send, or nothing but code.

mod audio;
mod endpoint;
mod forward;
mod g711;
mod handshake;
mod hist;
mod ice;
mod media;
mod net_sys;
mod opus_sys;
mod pace;
mod process;
mod report;
mod run;
mod setup;
mod spec;
mod transcode;
mod turns;
mod watch;
/// The gateway's own: a floor of the same policy.
#[path = "../../../../src/io/worker/pace.rs"]
mod worker_pace;

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::{Args, Parser, Subcommand};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::endpoint::Endpoint;
use crate::forward::Policy;
use crate::media::{Scripts, Speech};
use crate::net_sys::Epoll;
use crate::spec::{Codec, OpusWish, Spec, Talk};
use crate::watch::Watch;

#[derive(Parser)]
#[command(about = "Open-loop RTP load and meter for media gateways, and their floors")]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    load: Option<Load>,
}

#[derive(Subcommand)]
enum Command {
    /// Loads a gateway as a spec says; one JSON line at the end.
    Run(Load),
    /// Forwards between the ports of a spec until it is killed: the floor of a relay.
    Forward {
        /// The generator's spec: its `remote` addresses are bound.
        spec: PathBuf,
        /// When the sockets are looked at.
        #[arg(long, value_enum, default_value = "packet")]
        policy: Policy,
    },
    /// Decodes and encodes by libopus at the gateway's settings: the floor of a transcoder.
    Opus {
        /// `sp8k.s16` and `sp48k.s16`.
        media: PathBuf,
        /// Calls whose states take turns.
        #[arg(long, default_value = "100")]
        calls: usize,
        /// How often the speech is gone through.
        #[arg(long, default_value = "3")]
        passes: usize,
        /// One party speaks at a time.
        #[arg(long)]
        turns: bool,
        /// The browser sends all that it has: `maxplaybackrate=8000` and `maxaveragebitrate=24000` are not asked for.
        #[arg(long)]
        wideband: bool,
        /// The browser leaves silence out, as `usedtx=1` asks for; with `--turns` it does so anyway.
        #[arg(long)]
        dtx: bool,
    },
}

#[derive(Args)]
struct Load {
    /// JSON: what is to be sent where.
    spec: PathBuf,
    /// `sp8k.s16` and `sp48k.s16`: the same speech at two rates.
    media: PathBuf,
    /// A process of the gateway; repeat for each.
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// The processor to run on.
    #[arg(long)]
    cpu: Option<usize>,
    /// The gateway's processor: for how long it stands still is told.
    #[arg(long)]
    watch: Option<usize>,
    /// PEM certificate of all browsers (P-256).
    #[arg(long)]
    cert: Option<PathBuf>,
    /// PEM key of it (PKCS#8).
    #[arg(long)]
    key: Option<PathBuf>,
    /// Browsers that begin ICE each second.
    #[arg(long, default_value = "100")]
    rate: f64,
}

fn load(load: &Load) -> Result<()> {
    let is_real_time = net_sys::claim(load.cpu, 1);
    net_sys::raise_file_limit();
    let spec = Spec::read(&load.spec)?;
    let certificate = match (&load.cert, &load.key) {
        (Some(certificate), Some(key)) => Some(handshake::identity(certificate, key)?),
        _ => None,
    };
    let codecs = spec.endpoints.iter().map(spec::EndpointSpec::codec).collect::<Result<Vec<_>>>()?;
    let mut scripts = Scripts::new(Speech::read(&load.media)?, spec.talk, spec.seed);
    let (mut epoll, mut rng) = (Epoll::new()?, StdRng::from_os_rng());
    let mut endpoints = Vec::with_capacity(codecs.len());
    for (at, endpoint) in spec.endpoints.iter().enumerate() {
        let mut endpoint = Endpoint::new(at, endpoint, &codecs, &mut scripts, &mut rng)?;
        if at / 2 % spec.audio_every.max(1) == 0 && !endpoint.is_marked {
            endpoint.keep();
        }
        epoll.add(&endpoint.socket, at)?;
        endpoints.push(endpoint);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let preparing = setup::set_up(&mut endpoints, &mut epoll, certificate, load.rate, &load.pids);
    let (_connections, setup) = runtime.block_on(preparing)?;
    drop(epoll);
    if spec.turns.are_shared() {
        // The others may still be setting up, which costs both cores: whoever started us says when all are ready.
        println!("{{\"ready\":true}}");
        std::io::stdin().read_line(&mut String::new())?;
    }
    let outcome = run::run(&spec, &mut endpoints, &load.pids, &Watch::start(load.watch));
    println!("{}", report::report(&spec, &endpoints, &outcome, &setup, &load.pids, is_real_time)?);
    Ok(())
}

fn main() -> Result<()> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().map_err(|_| anyhow!("rustls has a provider"))?;
    let cli = Cli::parse();
    match (cli.command, cli.load) {
        (Some(Command::Run(args)), _) | (None, Some(args)) => load(&args),
        (Some(Command::Forward { spec, policy }), _) => {
            net_sys::raise_file_limit();
            forward::forward(&Spec::read(&spec)?, policy)
        }
        (Some(Command::Opus { media, calls, passes, turns, wideband, dtx }), _) => {
            let talk = if turns { Talk::Turns } else { Talk::Always };
            let mut scripts = Scripts::new(Speech::read(&media)?, talk, 1);
            let bitrate = (!wideband).then_some(24_000);
            let wish = OpusWish { narrowband: !wideband, bitrate, dtx: dtx.then_some(true) };
            let (browser, _) = scripts.of(0, (0, 0), Codec::Opus, wish)?;
            let (phone, _) = scripts.of(1, (0, 1), Codec::Pcmu, OpusWish::default())?;
            println!("{}", transcode::transcode(&browser, &phone, calls, passes)?);
            Ok(())
        }
        (None, None) => Err(anyhow!("SPEC and MEDIA_DIR, or a command: see --help")),
    }
}
