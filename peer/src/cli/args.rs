//! Args: what can be said on the command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

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

    /// How many bytes a second to read to check what is stored, or off.
    #[arg(long, value_name = "SIZE", env = "SHOAL_PEER_SCRUB_RATE", default_value = "8MiB")]
    pub scrub_rate: ScrubRate,

    /// From the beginning of one check of all shards to that of the next, at the least.
    #[arg(long, value_name = "DURATION", env = "SHOAL_PEER_SCRUB_EVERY", default_value = "14d", value_parser = duration)]
    pub scrub_every: Duration,

    /// How long to keep dropped shards while there is room: days, or a duration like 12h.
    #[arg(long, value_name = "DAYS", env = "SHOAL_PEER_TRASH_DAYS", default_value = "7")]
    pub trash_days: Days,

    /// Look for the directory here first, should it have moved while this peer was away; up to 4 times.
    #[arg(long, value_name = "HOST:PORT", env = "SHOAL_PEER_DIRECTORY", value_delimiter = ',')]
    pub directory: Vec<String>,

    /// How to log: text or json.
    #[arg(long, value_name = "FORMAT", env = "SHOAL_LOG_FORMAT", default_value_t)]
    pub log_format: LogFormat,
}

/// Bytes a second, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScrubRate(pub Option<ByteSize>);

impl FromStr for ScrubRate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => match text.parse::<ByteSize>() {
                Ok(rate) if rate.0 > 0 => Ok(Self(Some(rate))),
                Ok(_) | Err(_) => Err("write a size a second, like 8MiB, or off".to_owned()),
            },
        }
    }
}

/// A number of days, or a duration with units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Days(pub Duration);

impl FromStr for Days {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<u32>() {
            Ok(days) => Ok(Self(Duration::from_secs(u64::from(days) * 24 * 3600))),
            Err(_) => duration(text).map(Self),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 30s, 1h or 14d"))
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

    #[test]
    fn a_scrub_rate_is_a_size_or_off_and_days_may_have_units() {
        for (text, expected) in [("off", Some(None)), ("1MiB", Some(Some(ByteSize::mib(1)))), ("0", None), ("x", None)]
        {
            assert_eq!(text.parse::<ScrubRate>().ok().map(|rate| rate.0), expected, "{text}");
        }
        for (text, seconds) in
            [("7", Some(604_800)), ("7d", Some(604_800)), ("1h", Some(3_600)), ("0s", Some(0)), ("x", None)]
        {
            assert_eq!(text.parse::<Days>().ok().map(|days| days.0.as_secs()), seconds, "{text}");
        }
    }
}
