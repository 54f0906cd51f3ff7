//! `ringway init`: writes a configuration with every default and a comment for each key.
//!
//! The file is `ringway.toml.template` with the answers put in. The tests hold it against [`Config`]: what it says is the
//! default, and no key is missing from it.

use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal as _, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::addresses;
use super::config::{Config, Media, PortRange, Sip, Web, is_domain, reachable};

const TEMPLATE: &str = include_str!("ringway.toml.template");

/// What the file says when nobody says otherwise.
const DOMAIN: &str = "ringway.lan";

/// What `ringway init` may be told; what it is not told, it asks for on a terminal or takes the default of.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct InitArgs {
    /// The SIP domain: what follows the @ in a SIP address; need not be in DNS [default: ringway.lan]
    #[arg(long)]
    pub domain: Option<String>,
    /// An address of this machine that browsers and phones can reach; may be said again [default: detected]
    #[arg(long = "address", value_name = "IP")]
    pub addresses: Vec<IpAddr>,
    /// Where the database and the certificate are kept, seen from the file's directory [default: data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// HTTPS, for the page and WebSockets [default: 8443]
    #[arg(long, value_name = "PORT")]
    pub web_port: Option<u16>,
    /// HTTP without TLS, for a reverse proxy or tests [default: off]
    #[arg(long, value_name = "PORT")]
    pub plain_port: Option<u16>,
    /// SIP over UDP [default: 5060]
    #[arg(long, value_name = "PORT")]
    pub udp_port: Option<u16>,
    /// UDP for the audio of browsers: one port a media worker, from this one on [default: 20000]
    #[arg(long, value_name = "PORT")]
    pub webrtc_port: Option<u16>,
    /// UDP for the audio of phones [default: 20064-29999]
    #[arg(long, value_name = "FIRST-LAST", value_parser = port_range)]
    pub rtp_ports: Option<PortRange>,
}

fn port_range(text: &str) -> Result<PortRange, &'static str> {
    PortRange::parse(text).ok_or("expected two ports as 20064-29999: the first even and at least 1024, the last higher")
}

/// Writes the file at `path` and says on standard output what to do next.
///
/// # Errors
/// The file exists already, cannot be written, or an answer does not fit.
pub fn init(path: &Path, mut args: InitArgs) -> anyhow::Result<()> {
    if path.exists() {
        return Err(already_there(path));
    }
    if args.addresses.is_empty() {
        args.addresses = addresses::detect().context("finding this machine's addresses")?;
        if io::stdin().is_terminal() {
            args.addresses = ask(&mut io::stdin().lock(), "Addresses that browsers and phones can reach", &args.addresses)?;
        }
    }
    if args.domain.is_none() && io::stdin().is_terminal() {
        args.domain = Some(ask_domain(&mut io::stdin().lock())?);
    }
    let text = render(&args);
    Config::parse(path, &text).context("what was asked for does not fit together; nothing was written")?;
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => already_there(path),
        _ => anyhow::anyhow!("{}: {error}", path.display()),
    })?;
    file.write_all(text.as_bytes()).with_context(|| path.display().to_string())?;
    let shown = path.display();
    let option = if path == Path::new("ringway.toml") { String::new() } else { format!(" --config {shown}") };
    println!("Wrote {shown}, with a comment for each key. Next:");
    println!("  ringway{option} user add alice --number 201   an account");
    println!("  ringway{option} check                         is everything right?");
    println!("  ringway{option} serve                         start the gateway");
    Ok(())
}

fn already_there(path: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "{}: there is such a file already, and init never overwrites; move it away or name another by --config",
        path.display()
    )
}

fn ask(input: &mut impl BufRead, question: &str, default: &[IpAddr]) -> anyhow::Result<Vec<IpAddr>> {
    let shown: Vec<String> = default.iter().map(IpAddr::to_string).collect();
    loop {
        let answer = ask_line(input, question, &shown.join(", "))?;
        let read: Option<Vec<IpAddr>> = answer.split([',', ' ']).filter(|part| !part.is_empty()).map(reachable).collect();
        match read {
            Some(list) if !list.is_empty() => return Ok(list),
            Some(_) => return Ok(default.to_vec()),
            None => println!("  expected IP addresses, as 192.168.1.10, fd00::10"),
        }
    }
}

fn ask_domain(input: &mut impl BufRead) -> anyhow::Result<String> {
    loop {
        let answer = ask_line(input, "SIP domain", DOMAIN)?;
        match answer.as_str() {
            "" => return Ok(DOMAIN.to_owned()),
            answer if is_domain(answer) => return Ok(answer.to_owned()),
            _ => println!("  expected a domain in lower case, as phones.example.org"),
        }
    }
}

fn ask_line(input: &mut impl BufRead, question: &str, default: &str) -> anyhow::Result<String> {
    print!("{question} [{default}]: ");
    io::stdout().flush()?;
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        anyhow::bail!("no answer; nothing was written");
    }
    Ok(line.trim().to_owned())
}

fn render(args: &InitArgs) -> String {
    let quoted: Vec<String> = args.addresses.iter().map(|ip| format!("\"{ip}\"")).collect();
    let plain = match args.plain_port {
        Some(port) => format!("plain_port = {port}"),
        None => "# plain_port = 8080".to_owned(),
    };
    let (sip, media) = (Sip::default(), Media::default());
    let rtp = args.rtp_ports.unwrap_or(media.rtp_ports);
    let data_dir = args.data_dir.as_ref().map_or_else(|| "data".to_owned(), |dir| escape(&dir.display().to_string()));
    let answers = [
        ("{domain}", escape(args.domain.as_deref().unwrap_or(DOMAIN))),
        ("{data_dir}", data_dir),
        ("{addresses}", quoted.join(", ")),
        ("{web_port}", args.web_port.unwrap_or_else(|| Web::default().port).to_string()),
        ("{plain_port}", plain),
        ("{udp_port}", args.udp_port.unwrap_or(sip.udp_port).to_string()),
        ("{webrtc_port}", args.webrtc_port.unwrap_or(media.webrtc_port).to_string()),
        ("{rtp_ports}", format!("{}-{}", rtp.first, rtp.last)),
    ];
    answers.into_iter().fold(TEMPLATE.to_owned(), |text, (place, answer)| text.replace(place, &answer))
}

/// What a TOML text in double quotes may not hold as it is.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::Source;
    use crate::policy::Problem;

    fn parse(text: &str) -> Config {
        let config = Config::parse(Path::new("ringway.toml"), text).expect("it reads");
        Config { source: Source::default(), ..config }
    }

    #[test]
    fn what_is_written_is_what_is_default() {
        let args = InitArgs { addresses: vec![IpAddr::from([192, 0, 2, 1])], ..InitArgs::default() };
        let shortest = parse("domain = \"ringway.lan\"\naddresses = [\"192.0.2.1\"]\n");
        assert_eq!(parse(&render(&args)), shortest);
    }

    #[test]
    fn every_key_is_in_the_file_with_a_comment() {
        for table in ["", "web", "sip", "media", "calls", "registrar", "digest", "profiles", "dialplan", "[peer]", "log"] {
            let head = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
            // A key that does not exist is answered with all that do.
            let error = Config::parse(Path::new("x"), &format!("{head}no_such_key = 1\n")).expect_err(table);
            let Problem::UnknownKey { known, .. } = error.problem else { panic!("{error}") };
            for key in known {
                let is = |line: &&str| {
                    let line = line.strip_prefix("# ").unwrap_or(line);
                    line.starts_with(&format!("{key} = ")) || line == format!("[{key}]") || line == format!("[[{key}]]")
                };
                let head = head.trim();
                let from = TEMPLATE.find(head).unwrap_or_else(|| panic!("{head} is in the file"));
                let found = TEMPLATE[from..].lines().find(is);
                let filled = key == "plain_port" && TEMPLATE.contains("{plain_port}");
                assert!(found.is_some() || filled, "[{table}] {key} is in the file");
            }
        }
    }

    #[test]
    fn flags_reach_the_file() {
        let args = InitArgs {
            domain: Some("phones.example.org".to_owned()),
            addresses: vec![IpAddr::from([127, 0, 0, 1]), "::1".parse().expect("an address")],
            data_dir: Some(PathBuf::from("/tmp/a \"b\"")),
            web_port: Some(18443),
            plain_port: Some(18080),
            udp_port: Some(15060),
            webrtc_port: Some(30000),
            rtp_ports: PortRange::parse("30064-30163"),
        };
        let config = parse(&render(&args));
        assert_eq!((config.domain.as_str(), config.addresses), ("phones.example.org", args.addresses));
        assert_eq!((config.web.port, config.web.plain_port, config.sip.udp_port), (18443, Some(18080), 15060));
        assert_eq!((config.media.webrtc_port, config.media.rtp_ports.last), (30000, 30163));
        assert_eq!(config.data_dir, PathBuf::from("/tmp/a \"b\""));
    }
}
