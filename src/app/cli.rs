//! The words of the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::calls::CallsArgs;
use super::check::CheckArgs;
use super::init::InitArgs;
use super::ladder::LadderArgs;
use super::user::UserCommand;

/// Connects web browsers to the telephones that an organisation already has.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, propagate_version = true, max_term_width = 100, after_help = FIRST_STEPS)]
pub(super) struct Cli {
    /// The configuration; paths in it are seen from its directory
    #[arg(long, global = true, value_name = "FILE", default_value = "ringway.toml")]
    pub(super) config: PathBuf,
    #[command(subcommand)]
    pub(super) command: Command,
}

const FIRST_STEPS: &str = "\
First steps:
  ringway init                                   write ringway.toml, with a comment for each key
  ringway user add alice --number 201            an account; asks for the password
  ringway check                                  is everything right?
  ringway serve                                  then open https://ADDRESS:8443/ and sign in
  ringway calls                                  what calls there were, and how they ended
  ringway ladder 7kq2                            one of them, message by message";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write a configuration with every default and a comment for each key
    #[command(after_help = "\
On a terminal it asks for what is not said; elsewhere it takes the defaults. It never overwrites a file.

Examples:
  ringway init
  ringway init --domain phones.example.org --address 192.168.1.10 --address fd00::10
  ringway --config second.toml init --data-dir second --web-port 9443 --udp-port 5070 --webrtc-port 30000 \\
      --rtp-ports 30064-39999                    a second gateway on the same machine")]
    Init(InitArgs),
    /// Start the gateway
    #[command(after_help = "\
Stops on Ctrl-C or SIGTERM. The address of the page and what to dial are printed when it is ready.")]
    Serve,
    /// Check configuration, profiles, dialplan, addresses and ports, and say what was found
    #[command(after_help = "\
Runs the dialplan's [[test]] blocks. Ends with 0 when everything is right, with 1 when something is not.

Examples:
  ringway check
  ringway check --no-ports                       while the gateway runs and holds its ports")]
    Check(CheckArgs),
    /// Accounts of people and phones: add, passwd, list, remove
    #[command(
        subcommand,
        after_help = "\
Works while the gateway runs or not; it knows of a change at once.

Examples:
  ringway user add alice --number 201 --display-name 'Alice Example'
  echo \"$PASSWORD\" | ringway user add hall --number 200 --password-stdin
  ringway user passwd alice
  ringway user list
  ringway user remove alice"
    )]
    User(UserCommand),
    /// The latest calls: who, where to, how long, how it ended
    #[command(after_help = "\
Times are UTC. What was wrong with a call's audio, if anything, stands below it.

Examples:
  ringway calls
  ringway calls --limit 200
  ringway calls --json | jq '.[] | select(.status != 200)'")]
    Calls(CallsArgs),
    /// One call as a sequence diagram, message by message
    #[command(after_help = "\
Examples:
  ringway ladder 7kq2mzpw04xd                    by the id that `ringway calls` and the logs show
  ringway ladder 7kq                             by its beginning, if no other call has the same
  ringway ladder 3c26700cf0a5@10.0.0.3           by the SIP Call-ID of either side
  ringway ladder 7kq --full                      with the messages as they were on the wire
  ringway ladder 7kq --pcap call.pcap            for Wireshark; WebSocket messages stand there as UDP
  ringway ladder --all --pcap all.pcap           all that is kept, registrations among it")]
    Ladder(LadderArgs),
}
