//! The `ringway` command: configuration, wiring, what an administrator types. Nothing else imports this room.
//!
//! One more command: a variant of `cli::Command` with its help, and a file of its own that does it.

pub mod addresses;
mod calls;
mod check;
mod cli;
pub mod config;
pub mod init;
mod ladder;
pub mod load;
mod pcap;
pub mod serve;
mod terminal_sys;
mod user;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use cli::{Cli, Command};
use config::Config;

use crate::io::store::Store;

/// Runs the command line: 0 when all went well, 1 when not, 2 when it was not understood.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringway: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let path = &cli.config;
    match cli.command {
        Command::Init(args) => init::init(path, args)?,
        Command::Serve => serve::serve(Config::load(path)?)?,
        Command::Check(args) => return check::check(path, &args),
        Command::User(command) => user::user(&mut open(&Config::load(path)?)?, command)?,
        Command::Calls(args) => calls::calls(&open(&Config::load(path)?)?, &args)?,
        Command::Ladder(args) => ladder::ladder(&open(&Config::load(path)?)?, &args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn open(config: &Config) -> anyhow::Result<Store> {
    Store::open(&config.data_dir, &config.domain).with_context(|| format!("opening {}", config.data_dir.display()))
}

/// Prints to standard output; that its reader has gone (`ringway calls | head`) is no error.
fn show(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
