//! `ringway check`: is everything right, in words.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::config::Config;
use super::{addresses, load, show};
use crate::io::store::{DATABASE_FILE, Store};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Don't ask whether ports are free: the gateway runs and holds them
    #[arg(long)]
    no_ports: bool,
}

/// What has been found so far.
#[derive(Default)]
struct Findings {
    failures: usize,
}

impl Findings {
    fn good(&mut self, what: &str) -> anyhow::Result<()> {
        show(&format!("  ok    {what}\n"))
    }

    fn note(&mut self, what: &str) -> anyhow::Result<()> {
        show(&format!("  note  {what}\n"))
    }

    fn bad(&mut self, what: &str) -> anyhow::Result<()> {
        self.failures += 1;
        show(&format!("  FAIL  {what}\n"))
    }
}

pub(super) fn check(path: &Path, args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    let mut found = Findings::default();
    show(&format!("Checking {}\n", path.display()))?;
    found.good(&format!("configuration: domain {}, peers: {}", config.domain, config.peers.len()))?;
    policy(&config, &mut found)?;
    own_addresses(&config, &mut found)?;
    if args.no_ports {
        found.note("ports: not asked for")?;
    } else {
        ports(&config, &mut found)?;
    }
    certificate(&config, &mut found)?;
    hold_music(&config, &mut found)?;
    accounts(&config, &mut found)?;
    if found.failures == 0 {
        show("Everything is right.\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let thing = if found.failures == 1 { "One thing is" } else { "Some things are" };
    show(&format!("{thing} not right ({}).\n", found.failures))?;
    Ok(ExitCode::FAILURE)
}

fn policy(config: &Config, found: &mut Findings) -> anyhow::Result<()> {
    match load::profiles(config) {
        Ok(profiles) => {
            let names: Vec<&str> = profiles.keys().map(String::as_str).collect();
            found.good(&format!("profiles: {}", names.join(", ")))?;
        }
        Err(error) => found.bad(&format!("{error:#}"))?,
    }
    let plan = match load::dialplan(config) {
        Ok(plan) => plan,
        Err(error) => return found.bad(&format!("{error:#}")),
    };
    let outcomes = plan.run_tests();
    let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
    for outcome in &failed {
        found.bad(&format!("dialplan test {outcome}"))?;
    }
    if failed.is_empty() {
        found.good(&format!("dialplan: rules: {}, tests passed: {}", plan.rules_count(), outcomes.len()))?;
    }
    Ok(())
}

fn own_addresses(config: &Config, found: &mut Findings) -> anyhow::Result<()> {
    let own = addresses::all()?;
    for ip in &config.addresses {
        if addresses::is_own(&own, *ip) {
            found.good(&format!("address {ip} is this machine's"))?;
        } else {
            let list: Vec<String> = own.iter().filter(|ip| !ip.is_loopback()).map(IpAddr::to_string).collect();
            let error = config.wrong("addresses", &format!("addresses of this machine ({})", list.join(", ")), ip.to_string());
            found.bad(&error.to_string())?;
        }
    }
    if config.addresses.iter().all(IpAddr::is_loopback) {
        found.note("only this machine itself can reach the gateway: `addresses` has nothing but loopback")?;
    }
    Ok(())
}

fn ports(config: &Config, found: &mut Findings) -> anyhow::Result<()> {
    let own = addresses::all()?;
    let (web, media) = (&config.web, &config.media);
    let tcp = [("web.port", Some(web.port)), ("web.plain_port", web.plain_port)];
    let webrtc = media.webrtc_ports().into_iter().flatten().map(|port| ("media.webrtc_port", port));
    let udp: Vec<_> = [("sip.udp_port", config.sip.udp_port)].into_iter().chain(webrtc).collect();
    for ip in config.addresses.iter().filter(|ip| addresses::is_own(&own, **ip)) {
        for (key, port) in tcp.into_iter().filter_map(|(key, port)| Some((key, port?))) {
            port_is_free(config, found, key, "TCP", TcpListener::bind(SocketAddr::new(*ip, port)).map(drop), *ip, port)?;
        }
        for (key, port) in udp.iter().copied() {
            port_is_free(config, found, key, "UDP", UdpSocket::bind(SocketAddr::new(*ip, port)).map(drop), *ip, port)?;
        }
        let range = media.rtp_ports;
        let pair_is_free = |rtp: u16| (rtp..=rtp + 1).all(|port| UdpSocket::bind(SocketAddr::new(*ip, port)).is_ok());
        let pairs = (range.first..range.last).step_by(2);
        let (all, free) = (pairs.len(), pairs.filter(|rtp| pair_is_free(*rtp)).count());
        let workers = media.worker_count();
        if free < workers {
            let (pair_each, are_free) =
                (format!("a free pair of UDP ports for each of {workers} workers"), format!("{free} of {all} on {ip}"));
            found.bad(&config.wrong("media.rtp_ports", &pair_each, are_free).to_string())?;
        } else {
            found.good(&format!("media.rtp_ports: {free} of {all} UDP port pairs on {ip} are free"))?;
        }
    }
    Ok(())
}

fn port_is_free(
    config: &Config,
    found: &mut Findings,
    key: &str,
    kind: &str,
    bound: std::io::Result<()>,
    ip: IpAddr,
    port: u16,
) -> anyhow::Result<()> {
    let socket = SocketAddr::new(ip, port);
    match bound {
        Ok(()) => found.good(&format!("{key}: {kind} {socket} is free")),
        Err(error) => {
            let free = format!("a free {kind} port");
            let why = format!("{socket}: {error} (if the gateway runs: --no-ports)");
            found.bad(&config.wrong(key, &free, why).to_string())
        }
    }
}

fn certificate(config: &Config, found: &mut Findings) -> anyhow::Result<()> {
    let (Some(chain), Some(key)) = (&config.web.certificate_file, &config.web.key_file) else {
        return found.note("certificate: self-signed, made at the first start; browsers will ask once");
    };
    let certificates = CertificateDer::pem_file_iter(chain).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let key_read = PrivateKeyDer::from_pem_file(key);
    let wrong = |key: &str, expected: &str, path: &Path, why: &str| {
        config.wrong(key, expected, format!("{} ({why})", path.display())).to_string()
    };
    match certificates {
        Ok(list) if !list.is_empty() => found.good(&format!("certificate: {} in {}", list.len(), chain.display()))?,
        Ok(_) => found.bad(&wrong("web.certificate_file", "a certificate in PEM", chain, "there is none in it"))?,
        Err(error) => found.bad(&wrong("web.certificate_file", "a certificate in PEM", chain, &error.to_string()))?,
    }
    match key_read {
        Ok(_) => found.good(&format!("certificate's key: {}", key.display())),
        Err(error) => found.bad(&wrong("web.key_file", "a private key in PEM", key, &error.to_string())),
    }
}

fn hold_music(config: &Config, found: &mut Findings) -> anyhow::Result<()> {
    let Some(path) = &config.calls.hold_music_file else { return found.good("hold music: the built-in one") };
    match config.hold_music() {
        Ok(pcm) => found.good(&format!("hold music: {} s in {}", pcm.len() / 8_000, path.display())),
        Err(error) => found.bad(&error.to_string()),
    }
}

fn accounts(config: &Config, found: &mut Findings) -> anyhow::Result<()> {
    let dir = &config.data_dir;
    if !dir.join(DATABASE_FILE).exists() {
        return found.note(&format!("{}: no database yet; made by the first `ringway user add` or start", dir.display()));
    }
    let accounts = Store::open(dir, &config.domain).and_then(|store| store.list_accounts());
    let accounts = match accounts {
        Ok(accounts) => accounts,
        Err(error) => return found.bad(&error.to_string()),
    };
    for account in accounts.iter().filter(|account| account.realm != config.domain) {
        let (name, realm) = (&account.name, &account.realm);
        found.bad(&format!("account {name}: its password was set for the domain {realm}; ringway user passwd {name}"))?;
    }
    match accounts.len() {
        0 => found.note("accounts: none yet; ringway user add alice --number 201"),
        count => found.good(&format!("accounts: {count} in {}", dir.join(DATABASE_FILE).display())),
    }
}
