//! Args: what can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use common::size::ByteSize;
use common::telemetry::LogFormat;
use peer::config::LISTEN;

/// A storage node of a Shoal cluster: holds encrypted shards and serves them.
#[derive(Parser)]
#[command(
    name = "shoal-peer",
    version,
    after_help = "\
Examples:
  shoal-peer join shoal1... --data /srv/shoal --listen 0.0.0.0:7401 --zone cellar --capacity 500GB
  shoal-peer serve --data /srv/shoal
  shoal-peer status --data /srv/shoal --json

Exit codes:
  0 ok, 1 failure, 2 usage, 10 not joined yet, 11 exists already or in use,
  12 the ticket is not taken, 13 the directory cannot be reached, 130 interrupted"
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Join a cluster with a ticket, and make a data folder.
    Join(JoinArgs),
    /// Hold and serve shards until SIGINT or SIGTERM.
    Serve(ServeArgs),
    /// Say what is known of the peer in a data folder.
    Status(StatusArgs),
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  shoal-peer join shoal1abc... --data /srv/shoal
  shoal-peer join - --data /srv/shoal < ticket

The ticket is one line, made by: shoal-directory ticket --data DIR --role peer")]
pub(super) struct JoinArgs {
    /// The ticket's one line, or - to read it from stdin.
    pub ticket: String,

    /// The new data folder; it must not exist, or be empty.
    #[arg(long, value_name = "DIR", env = "SHOAL_PEER_DATA")]
    pub data: PathBuf,

    /// The UDP address to listen on; :0 takes any free port at each start.
    #[arg(long, value_name = "HOST:PORT", env = "SHOAL_PEER_LISTEN", default_value = LISTEN)]
    pub listen: String,

    /// Where others can reach this peer, up to 4 times; without it, where the directory sees it.
    #[arg(long, value_name = "HOST:PORT", env = "SHOAL_PEER_ADVERTISE", value_delimiter = ',')]
    pub advertise: Vec<String>,

    /// The zone: peers of one zone are expected to fail together (a room, a house, a provider).
    #[arg(long, value_name = "NAME", env = "SHOAL_PEER_ZONE", default_value = "")]
    pub zone: String,

    /// What people call this peer; without it, the machine's name.
    #[arg(long, value_name = "NAME", env = "SHOAL_PEER_LABEL")]
    pub label: Option<String>,

    /// How much it may store, like 500GB; without it, as much as the file system has.
    #[arg(long, value_name = "SIZE", env = "SHOAL_PEER_CAPACITY")]
    pub capacity: Option<ByteSize>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  shoal-peer serve --data /srv/shoal
  shoal-peer serve --data /srv/shoal --listen 0.0.0.0:7401 --log-format json

Prints one line, `listening on ADDR`, on stdout when it is ready.
Logs go to stderr; SHOAL_LOG=debug makes them longer.")]
pub(super) struct ServeArgs {
    /// The data folder that `join` has made.
    #[arg(long, value_name = "DIR", env = "SHOAL_PEER_DATA")]
    pub data: PathBuf,

    /// Listen here, and not where `join` was told to.
    #[arg(long, value_name = "HOST:PORT", env = "SHOAL_PEER_LISTEN")]
    pub listen: Option<String>,

    /// Where others can reach this peer, and not what `join` was told; up to 4 times.
    #[arg(long, value_name = "HOST:PORT", env = "SHOAL_PEER_ADVERTISE", value_delimiter = ',')]
    pub advertise: Vec<String>,

    /// What to leave free on the file system; without it, 1 GiB, or 5 % where that is less.
    #[arg(long, value_name = "SIZE", env = "SHOAL_PEER_RESERVE")]
    pub reserve: Option<ByteSize>,

    /// Look for the directory here first, should it have moved while this peer was away; up to 4 times.
    #[arg(long, value_name = "HOST:PORT", env = "SHOAL_PEER_DIRECTORY", value_delimiter = ',')]
    pub directory: Vec<String>,

    /// How to log: text or json.
    #[arg(long, value_name = "FORMAT", env = "SHOAL_LOG_FORMAT", default_value_t)]
    pub log_format: LogFormat,
}

#[derive(Args)]
#[command(after_help = "Example:\n  shoal-peer status --data /srv/shoal --json")]
pub(super) struct StatusArgs {
    /// The data folder that `join` has made.
    #[arg(long, value_name = "DIR", env = "SHOAL_PEER_DATA")]
    pub data: PathBuf,

    /// Answer with one JSON object.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_option_has_a_help_text_and_the_definition_is_consistent() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            for argument in sub.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", sub.get_name(), argument.get_id());
            }
        }
    }
}
