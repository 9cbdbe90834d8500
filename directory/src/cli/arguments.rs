//! Arguments: every command and option of `shoal-directory`, with its help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::keep::{KeepError, KeepPolicy};
use common::proto::directory::TicketRole;
use common::redundancy::Redundancy;
use common::size::ByteSize;
use common::telemetry::LogFormat;
use directory::config;
use directory::members::Times;
use directory::work;

const EXAMPLES: &str = "\
Examples:
  shoal-directory init --data /var/lib/shoal --listen 0.0.0.0:7400 --advertise directory.example.org:7400
  shoal-directory serve --data /var/lib/shoal
  shoal-directory ticket --data /var/lib/shoal --role peer --uses 3
  shoal-directory ticket --data /var/lib/shoal --role client --account ann
  shoal-directory status --data /var/lib/shoal
  shoal-directory peer drain --data /var/lib/shoal 5f0c6b1e9a5d4c3b8e7f60718293a4b5
  shoal-directory fsck --data /var/lib/shoal --deep

Exit codes: 0 ok, 1 failure, 2 usage, 10 not initialised, 11 exists or locked, 12 refused, 13 unreachable, 14 damaged data.";

/// The directory of a Shoal cluster: knows what exists, whose it is, and where its pieces are.
#[derive(Parser)]
#[command(name = "shoal-directory", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a new cluster: its keys and an empty store
    Init(Init),
    /// Serve the cluster until told to end
    Serve(Serve),
    /// Make a ticket, with which a peer or a device joins
    Ticket(Ticket),
    /// Show how the cluster is
    Status(Status),
    /// Take a peer's or device's right to connect away, for good
    Revoke(RevokeId),
    /// Empty a peer, or take it out of the cluster
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Hold every record of the store against every other
    Fsck(Fsck),
    /// Show accounts and what they use, or bound it
    #[command(subcommand)]
    Account(AccountCommand),
    /// Accept a store that was restored from an old copy, so that deletion goes on
    Reconcile(Reconcile),
}

#[derive(Subcommand)]
#[command(after_help = "Example: shoal-directory peer drain --data /var/lib/shoal 5f0c6b1e9a5d4c3b8e7f60718293a4b5")]
pub(crate) enum PeerCommand {
    /// Move all that a peer holds to others, while it goes on serving
    Drain(Drain),
    /// Let a peer take new pieces again; what was moved stays where it is
    Undrain(OnePeer),
    /// Take an empty peer, or a lost one, out of the cluster for good
    Remove(Remove),
}

#[derive(Subcommand)]
#[command(after_help = "Example: shoal-directory account quota --data /var/lib/shoal ann --bytes 100GiB --files none")]
pub(crate) enum AccountCommand {
    /// Show all accounts with what they use and may use
    List(AccountList),
    /// Say what an account may use; what is over it stays
    Quota(AccountQuota),
}

#[derive(Args)]
#[command(after_help = "Example: shoal-directory account list --data /var/lib/shoal --json")]
pub(crate) struct AccountList {
    /// Data folder that `init` made; the directory may be serving from it
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// Answer as one JSON object a line, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  shoal-directory account quota --data /var/lib/shoal ann --bytes 100GiB --files 1000000
  shoal-directory account quota --data /var/lib/shoal ann --bytes none --files none

Bytes are those on peers: content times redundancy, what is stored twice counted once, history included. Files are versions that are kept.")]
pub(crate) struct AccountQuota {
    /// Data folder that `init` made; the directory may be serving from it
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// The account's name, as `account list` shows it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Bytes on peers, or none for no bound
    #[arg(long, value_name = "SIZE", value_parser = most_bytes)]
    pub(crate) bytes: Most,
    /// Versions of files, or none for no bound
    #[arg(long, value_name = "N", value_parser = most_files)]
    pub(crate) files: Most,
}

/// A bound, or none.
#[derive(Clone, Copy)]
pub(crate) struct Most(pub(crate) Option<u64>);

fn most_bytes(text: &str) -> Result<Most, String> {
    if text == "none" {
        return Ok(Most(None));
    }
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| Most(Some(size.0))).map_err(|error| format!("{error}; write it like 100GiB, or none"))
}

fn most_files(text: &str) -> Result<Most, String> {
    if text == "none" {
        return Ok(Most(None));
    }
    text.parse().map(|count| Most(Some(count))).map_err(|_| "write it like 100000, or none".to_owned())
}

#[derive(Args)]
pub(crate) struct OnePeer {
    /// Data folder that `init` made; the directory may be serving from it
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// The peer's id: 32 hex digits, as `status` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

#[derive(Args)]
#[command(after_help = "\
Example: shoal-directory peer drain --data /var/lib/shoal 5f0c6b1e9a5d4c3b8e7f60718293a4b5

Ctrl-C ends the waiting and not the moving; `peer undrain` ends that.")]
pub(crate) struct Drain {
    #[command(flatten)]
    pub(crate) peer: OnePeer,
    /// Do not wait until it is empty
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Args)]
#[command(
    after_help = "Example: shoal-directory peer remove --data /var/lib/shoal 5f0c6b1e9a5d4c3b8e7f60718293a4b5 --lost"
)]
pub(crate) struct Remove {
    #[command(flatten)]
    pub(crate) peer: OnePeer,
    /// Although it holds pieces: it will not come back, and they are made anew at once
    #[arg(long)]
    pub(crate) lost: bool,
}

#[derive(Args)]
#[command(after_help = "\
Example: shoal-directory fsck --data /var/lib/shoal --deep --repair

Exit code 14 when something was found that was not mended.")]
pub(crate) struct Fsck {
    /// Data folder that `init` made; the directory may be serving from it
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// Mend what can be mended without losing anything: indexes, references and marks
    #[arg(long)]
    pub(crate) repair: bool,
    /// Compare what every peer holds as well; the directory must be serving
    #[arg(long)]
    pub(crate) deep: bool,
    /// Answer as one JSON object, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  shoal-directory reconcile --data /var/lib/shoal          says what would become of it
  shoal-directory reconcile --data /var/lib/shoal --yes    accepts it

Look for a newer copy first: what was stored after this one was made is not in its tree any more.")]
pub(crate) struct Reconcile {
    /// Data folder that `init` made; the directory must be serving from it, and the peers be online
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// Accept it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args)]
#[command(after_help = "Example: shoal-directory init --data /var/lib/shoal --redundancy 1/3")]
pub(crate) struct Init {
    /// Data folder; must not exist, or be empty
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// Address to listen on (UDP); port 0 takes any free one at every start
    #[arg(long, value_name = "ADDR", default_value = config::LISTEN, env = "SHOAL_DIRECTORY_LISTEN")]
    pub(crate) listen: String,
    /// Where others reach this directory, if not where it listens; up to four times
    #[arg(long, value_name = "HOST:PORT", env = "SHOAL_DIRECTORY_ADVERTISE", value_delimiter = ',', value_parser = host_port)]
    pub(crate) advertise: Vec<String>,
    /// What a put uses that names none: any k of n pieces are enough to read
    #[arg(long, value_name = "K/N", default_value_t = Redundancy::DEFAULT, env = "SHOAL_DIRECTORY_REDUNDANCY")]
    pub(crate) redundancy: Redundancy,
}

#[derive(Args)]
#[command(after_help = "Example: shoal-directory serve --data /var/lib/shoal --log-format json")]
pub(crate) struct Serve {
    /// Data folder that `init` made
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// Address to listen on, in place of the one given to `init`
    #[arg(long, value_name = "ADDR", env = "SHOAL_DIRECTORY_LISTEN")]
    pub(crate) listen: Option<String>,
    /// How often a peer says that it lives
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration, env = "SHOAL_DIRECTORY_HEARTBEAT")]
    heartbeat: Duration,
    /// How long a peer may be silent before writes avoid it
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = duration, env = "SHOAL_DIRECTORY_SUSPECT_AFTER")]
    suspect_after: Duration,
    /// How long a peer may be silent before its pieces count as lost
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, env = "SHOAL_DIRECTORY_DEAD_AFTER")]
    dead_after: Duration,
    /// How long a peer that counts as lost is waited for before its pieces are made anew, where a chunk can spare it
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration, env = "SHOAL_DIRECTORY_REPAIR_AFTER")]
    repair_after: Duration,
    /// What repair and moves may read and write in a second, all together; `off` for no bound
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = rate, env = "SHOAL_DIRECTORY_REPAIR_RATE")]
    repair_rate: Rate,
    /// How often what each peer holds is compared with what it should
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration, env = "SHOAL_DIRECTORY_COMPARE_EVERY")]
    compare_every: Duration,
    /// How often a piece is fetched from a peer and looked at
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, env = "SHOAL_DIRECTORY_AUDIT_EVERY")]
    audit_every: Duration,
    /// What of history is kept; the rest is given back in the background. `all`, or like within=30d,last=5,daily=7,weekly=4,monthly=12
    #[arg(long, value_name = "POLICY", default_value = "all", value_parser = keep, env = "SHOAL_DIRECTORY_KEEP")]
    keep: Keep,
    /// How often history is pruned, where --keep says what is kept
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration, env = "SHOAL_DIRECTORY_PRUNE_EVERY")]
    prune_every: Duration,
    /// How to write the log on stderr: text or json
    #[arg(long, value_name = "FORMAT", default_value_t, env = "SHOAL_DIRECTORY_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
}

impl Serve {
    pub(crate) fn times(&self) -> Times {
        let lost_after = self.dead_after.saturating_add(self.repair_after);
        Times { heartbeat: self.heartbeat, suspect_after: self.suspect_after, dead_after: self.dead_after, lost_after }
    }

    pub(crate) fn work(&self) -> work::Settings {
        let usual = work::Settings::default();
        work::Settings {
            rate: self.repair_rate.0,
            compare_every: self.compare_every,
            audit_every: self.audit_every,
            keep: self.keep.0,
            prune_every: self.prune_every,
            // Who wants to know of a dead peer within a second wants its shards looked for as often.
            round: usual.round.min(self.suspect_after / 4).max(Duration::from_millis(50)),
        }
    }
}

#[derive(Args)]
#[command(after_help = "Example: shoal-directory ticket --data /var/lib/shoal --role client --account ann --ttl 1h")]
pub(crate) struct Ticket {
    /// Data folder that `init` made; the directory may be serving from it
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// Who may join with it
    #[arg(long, value_enum)]
    pub(crate) role: Role,
    /// The account that a device will act for; made if there is none of that name [default: default]
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// How many may join with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) uses: u32,
    /// How long it is valid
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub(crate) ttl: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Role {
    /// A storage node
    Peer,
    /// A device that stores and reads files
    Client,
}

impl From<Role> for TicketRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Peer => Self::Peer,
            Role::Client => Self::Client,
        }
    }
}

#[derive(Args)]
#[command(after_help = "Example: shoal-directory status --data /var/lib/shoal --json")]
pub(crate) struct Status {
    /// Data folder that `init` made; the directory may be serving from it
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// Answer as one JSON object, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
#[command(after_help = "Example: shoal-directory revoke --data /var/lib/shoal 5f0c6b1e9a5d4c3b8e7f60718293a4b5")]
pub(crate) struct RevokeId {
    /// Data folder that `init` made; the directory may be serving from it
    #[arg(long, value_name = "DIR", env = "SHOAL_DIRECTORY_DATA")]
    pub(crate) data: PathBuf,
    /// The peer's or device's id: 32 hex digits, as `status` shows them
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// A policy, or everything.
#[derive(Clone, Copy)]
pub(crate) struct Keep(Option<KeepPolicy>);

fn keep(text: &str) -> Result<Keep, String> {
    if text == "all" {
        return Ok(Keep(None));
    }
    text.parse().map(|policy| Keep(Some(policy))).map_err(|error: KeepError| error.to_string())
}

/// Bytes a second, or no bound.
#[derive(Clone, Copy)]
pub(crate) struct Rate(Option<ByteSize>);

fn rate(text: &str) -> Result<Rate, String> {
    if text == "off" {
        return Ok(Rate(None));
    }
    let size: ByteSize = text.parse().map_err(|error| format!("{error}; write it like 64MiB, or off"))?;
    if size.0 == 0 {
        Err("nothing would ever be repaired; write it like 64MiB, or off".to_owned())
    } else {
        Ok(Rate(Some(size)))
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 500ms, 8s, 1h or 24h"))
}

fn host_port(text: &str) -> Result<String, String> {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    match port {
        Some(1..) => Ok(text.to_owned()),
        Some(0) | None => Err("write it like directory.example.org:7400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_sound_and_every_one_has_help() {
        let command = Arguments::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            for argument in sub.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", sub.get_name(), argument.get_id());
            }
        }
    }
}
