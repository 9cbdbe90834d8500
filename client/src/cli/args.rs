//! Args: the command line of `shoal`, as it is typed.

mod keys;
mod prune;
mod repack;
mod share;
mod snapshot;
mod sync;
mod time;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use common::redundancy::Redundancy;
use common::size::ByteSize;
use common::telemetry::LogFormat;

use super::exit;
use crate::seal::Compression;

pub use keys::{
    ExportPassphrase, Key, KeyCombine, KeyCommand, KeyExport, KeyImport, KeyPassphrase, KeyPhrase, KeyRotate, KeySplit,
    KeyVerify, Lock, Unlock,
};
pub use prune::{Du, Prune};
pub use repack::Repack;
pub use share::{Share, ShareCommand, ShareLs, ShareRevoke};
pub use snapshot::{Snapshot, SnapshotCommand};
pub use sync::Sync;
pub use time::{AtTime, Diff, Restore, Undelete, Versions};
pub use verify::Verify;

/// An end-to-end-encrypted file store on machines of your own.
#[derive(Debug, Parser)]
#[command(
    name = "shoal",
    version,
    max_term_width = 100,
    after_help = exit::help(),
    after_long_help = format!("Remote paths are written in full, /like/this; - is standard input or output.\n\n{}", exit::help()),
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads a command line. `shoal get LINK` alone means: into this folder.
    ///
    /// # Errors
    /// What clap has to say, also where help was asked for.
    pub fn read(words: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut words: Vec<OsString> = words.collect();
        let read = Self::try_parse_from(&words);
        let lacks = |error: &clap::Error| error.kind() == clap::error::ErrorKind::MissingRequiredArgument;
        let link = words.iter().rposition(|word| crate::share::link::is_link(word));
        if let Some(link) = link.filter(|_| read.as_ref().is_err_and(lacks)) {
            words.insert(link + 1, ".".into());
            let whole = Self::try_parse_from(&words).ok();
            return whole.filter(|cli| matches!(cli.command, Command::Get(_))).map_or(read, Ok);
        }
        read
    }
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Folder with this device's keys [default: the platform's config folder]
    #[arg(long, env = "SHOAL_HOME", hide_env_values = true, value_name = "DIR", global = true)]
    pub home: Option<PathBuf>,

    /// Where the directory is reached, if not where it was; may be given several times
    #[arg(
        long,
        env = "SHOAL_DIRECTORY",
        hide_env_values = true,
        value_name = "HOST:PORT",
        value_delimiter = ',',
        global = true
    )]
    pub directory: Vec<String>,

    /// File whose first line is the passphrase of this device's key, for scripts
    #[arg(long, env = "SHOAL_PASSPHRASE_FILE", hide_env_values = true, value_name = "FILE", global = true)]
    pub passphrase_file: Option<PathBuf>,

    /// Answer in JSON: one object, or one a line
    #[arg(long, global = true)]
    pub json: bool,

    /// Only answers and errors: no progress, no notes
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Say on stderr what is done; twice for every request
    #[arg(long, short, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,

    /// How log lines on stderr look: text or json
    #[arg(
        long,
        env = "SHOAL_LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT",
        default_value_t,
        global = true
    )]
    pub log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Join(Join),
    Put(Put),
    Get(Get),
    Cat(Cat),
    Ls(Ls),
    Stat(Stat),
    Mkdir(Mkdir),
    Mv(Mv),
    Cp(Cp),
    Rm(Rm),
    Redundancy(SetRedundancy),
    Versions(Versions),
    Restore(Restore),
    Undelete(Undelete),
    Diff(Diff),
    Snapshot(Snapshot),
    Prune(Prune),
    Du(Du),
    Sync(Sync),
    Verify(Verify),
    Share(Share),
    Status(Status),
    Key(Key),
    Unlock(Unlock),
    Lock(Lock),
    Repack(Repack),
    Bench(Bench),
}

/// Make this device part of a cluster
///
/// The first device of an account makes its master key and shows it once, as a recovery phrase of 24 words: without it and
/// without the device, nobody can read the files again. A further device takes the phrase with --recover, or an exported key with
/// --recover-from.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal join shoal1...                          # first device: prints the recovery phrase
  shoal join --recover shoal1... < phrase.txt   # another device of the same account
  shoal join --recover-from anna.key shoal1...  # the same, with what shoal key export wrote")]
pub struct Join {
    /// The line that `shoal-directory ticket --role client` printed; - to read it from standard input
    #[arg(value_name = "TICKET")]
    pub ticket: OsString,

    /// Read the account's recovery phrase from standard input
    #[arg(long)]
    pub recover: bool,

    /// Take the account's key from a file that `shoal key export` wrote; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "recover")]
    pub recover_from: Option<PathBuf>,

    #[command(flatten)]
    pub passphrase: ExportPassphrase,
}

/// Store files
///
/// Into DEST when it is a folder, ends with a slash, or there are several sources; else DEST is the new name. What has the
/// name already gets a new version.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal put notes.txt /notes.txt
  shoal put -r photos /             # to /photos, with times, modes, links and empty folders
  pg_dump db | shoal put - /db.sql
  shoal put film.mkv /films/ --redundancy 4/6
  shoal put film.mkv /films/ --fanout chain   # over a slow line: one copy goes out")]
pub struct Put {
    /// Local files and folders; - is standard input
    #[arg(value_name = "SRC", required = true, num_args = 1..)]
    pub sources: Vec<OsString>,

    /// Remote folder, or the new remote path
    #[arg(value_name = "DEST")]
    pub dest: OsString,

    /// Folders with all that is in them
    #[arg(long, short)]
    pub recursive: bool,

    /// Any k of n shards will do: 1/3 is three copies, 4/6 survives two losses at 1.5x [default: the cluster's]
    #[arg(long, env = "SHOAL_REDUNDANCY", hide_env_values = true, value_name = "K/N")]
    pub redundancy: Option<Redundancy>,

    /// Who sends the copies: star, this device each of them; chain, this device one, which peers pass on to each other. A chain is
    /// faster where this device's line is slower than the peers' network, and costs the peers more
    #[arg(long, env = "SHOAL_FANOUT", hide_env_values = true, value_name = "HOW", default_value = "star")]
    pub fanout: Fanout,

    /// Store content as long as it is. Otherwise what becomes shorter is compressed, and whoever sees how long something is stored
    /// learns how regular it is
    #[arg(long)]
    pub no_compress: bool,
}

impl Put {
    pub(super) fn compression(&self) -> Compression {
        if self.no_compress { Compression::Never } else { Compression::Auto }
    }
}

/// `star` or `chain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fanout {
    Star,
    Chain,
}

impl From<Fanout> for crate::transfer::Fanout {
    fn from(fanout: Fanout) -> Self {
        match fanout {
            Fanout::Star => Self::Star,
            Fanout::Chain => Self::Chain,
        }
    }
}

/// Fetch files
///
/// Into DEST when it is a folder, ends with a slash, or there are several sources; else DEST is the new name. A file appears
/// at its destination whole or not at all.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal get /notes.txt .
  shoal get -r /photos backup/
  shoal get /db.sql - | psql db
  shoal get /notes.txt@1234 .            # a version, as shoal versions shows it
  shoal get -r /photos then/ --at 3d     # as it was three days ago
  shoal get shoallink1...                # what somebody has shared, into this folder")]
pub struct Get {
    /// Remote files and folders; or one link, which goes into this folder where no DEST is named
    #[arg(value_name = "SRC", required = true, num_args = 1..)]
    pub sources: Vec<OsString>,

    /// Local folder, the new local path, or - for standard output
    #[arg(value_name = "DEST")]
    pub dest: OsString,

    /// Folders with all that is in them
    #[arg(long, short)]
    pub recursive: bool,

    /// Write to standard output even if it is a terminal
    #[arg(long)]
    pub force: bool,

    /// Wait until the files would survive a power cut here, too
    #[arg(long)]
    pub sync: bool,

    #[command(flatten)]
    pub time: AtTime,
}

/// Write a file's content to standard output
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal cat /notes.txt | less
  shoal cat /notes.txt --at 2h")]
pub struct Cat {
    /// Remote file, or a link to one
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<OsString>,

    /// Write binary content even to a terminal
    #[arg(long)]
    pub force: bool,

    #[command(flatten)]
    pub time: AtTime,
}

/// List a folder, or show a file
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal ls /photos
  shoal ls -lr --json / | jq .path
  shoal ls /photos --at 2026-11-21")]
pub struct Ls {
    /// Remote path, or a link
    #[arg(value_name = "PATH", default_value = "/")]
    pub path: OsString,

    /// With mode, size and time
    #[arg(long, short)]
    pub long: bool,

    /// With all that is below
    #[arg(long, short)]
    pub recursive: bool,

    #[command(flatten)]
    pub time: AtTime,
}

/// Show all that is known of a file or folder
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal stat /notes.txt
  shoal stat /notes.txt@1234")]
pub struct Stat {
    /// Remote path
    #[arg(value_name = "PATH")]
    pub path: OsString,

    #[command(flatten)]
    pub time: AtTime,
}

/// Make a folder
#[derive(Debug, Args)]
#[command(after_help = "Example:
  shoal mkdir -p /photos/2026/summer")]
pub struct Mkdir {
    /// Remote path
    #[arg(value_name = "PATH")]
    pub path: OsString,

    /// Those above it too, and no error when it is there
    #[arg(long, short)]
    pub parents: bool,
}

/// Move or rename a file or folder: one write, however much is in it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal mv /draft.txt /final.txt
  shoal mv /photos /archive      # into /archive when that is a folder")]
pub struct Mv {
    /// Remote path
    #[arg(value_name = "FROM")]
    pub from: OsString,

    /// Remote folder, or the new remote path
    #[arg(value_name = "TO")]
    pub to: OsString,
}

/// Copy a file or folder: no data is sent
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal cp /notes.txt /notes-2.txt
  shoal cp -r /photos /photos-before")]
pub struct Cp {
    /// Remote path
    #[arg(value_name = "FROM")]
    pub from: OsString,

    /// Remote folder, or the new remote path
    #[arg(value_name = "TO")]
    pub to: OsString,

    /// A folder with all that is in it
    #[arg(long, short)]
    pub recursive: bool,
}

/// Take a file or folder out of the tree; history keeps it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal rm /notes.txt
  shoal rm -r /photos")]
pub struct Rm {
    /// Remote path
    #[arg(value_name = "PATH")]
    pub path: OsString,

    /// A folder with all that is in it
    #[arg(long, short)]
    pub recursive: bool,
}

/// Show or change how safely a file, or all in a folder, is kept
///
/// Without K/N it says what is there. With it, what is stored already is made anew in the background, from peer to peer: see `shoal
/// status`. A folder remembers it for what is put there later. Content that other files share keeps the redundancy that survives most.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal redundancy /photos            # what is there
  shoal redundancy /photos 4/6        # any four of six pieces are enough from now on
  shoal redundancy /scratch 1/1")]
pub struct SetRedundancy {
    /// Remote path
    #[arg(value_name = "PATH")]
    pub path: OsString,

    /// Any k of n pieces rebuild it
    #[arg(value_name = "K/N")]
    pub redundancy: Option<Redundancy>,
}

/// Show peers, free space, redundancy and what is degraded
#[derive(Debug, Args)]
#[command(after_help = "Example:
  shoal status --json | jq .degraded")]
pub struct Status {}

/// Measure how fast a cluster is, beside what this machine could do
///
/// Stores and fetches random files with the commands that you use, compares every byte, and shows medians: MB/s, CPU time by
/// process, memory, bytes on the wire. In between it measures what the parts can do by themselves: the cores at sealing and
/// opening, raw QUIC on loopback, the disk. Files go into a new hidden folder, which is removed at the end; history keeps them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal bench --start                           # a cluster on this machine, for the time of it
  shoal bench --size 256MiB --times 1           # the cluster that you have joined
  shoal bench --start --only put,get --size 4GiB --redundancy 1/1,4/6
  shoal bench --start --json | jq -c 'select(.event == \"row\") | [.row, .mb_per_second]'")]
pub struct Bench {
    /// Start a cluster on this machine for it, and delete it at the end
    #[arg(long)]
    pub start: bool,

    /// How many peers to start [default: as many as the redundancy has shards]
    #[arg(long, value_name = "N", requires = "start", value_parser = RangedU64ValueParser::<usize>::new().range(1..=32))]
    pub peers: Option<usize>,

    /// Where local files, and the started cluster, are put [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub below: Option<PathBuf>,

    /// Where the started cluster keeps its data, if not with the files: /dev/shm, say, to leave the disk to the files
    #[arg(long, value_name = "DIR", requires = "start")]
    pub stores: Option<PathBuf>,

    /// Remote folder below which files are stored
    #[arg(long, value_name = "PATH", default_value = "/", conflicts_with = "start")]
    pub at: OsString,

    /// Only these, with commas between them [default: all; devices only with --start]
    #[arg(long, value_name = "WHAT", value_delimiter = ',')]
    pub only: Vec<BenchPart>,

    /// Size of the large file
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub size: ByteSize,

    /// How many small files, of 4 KiB each
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub small: u32,

    /// How often each is measured; medians are shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub times: u32,

    /// How often a single small file is fetched, for the latency
    #[arg(long, value_name = "N", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub gets: u32,

    /// How many devices connect to one directory
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=11_000))]
    pub devices: u32,

    /// How long the devices ask: once at their own pace, and once as fast as they can
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=600))]
    pub seconds: u32,

    /// k/n, several with commas between them [default: the cluster's; 1/1,1/3 with --start]
    #[arg(long, value_name = "K/N", value_delimiter = ',')]
    pub redundancy: Vec<Redundancy>,

    /// Process ids of shoal-directory and shoal-peer on this machine, to show their CPU time and memory
    #[arg(long, value_name = "PID", value_delimiter = ',', conflicts_with = "start")]
    pub server_pid: Vec<u32>,
}

/// What `shoal bench` can measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchPart {
    /// A large file up
    Put,
    /// A large file down
    Get,
    /// The same content up once more, under another name
    Again,
    /// Many files of 4 KiB, up and down
    Small,
    /// One file of 4 KiB at a time, with the connections up
    Latency,
    /// Bytes beyond the content, in packets for any network
    Wire,
    /// Many devices at one directory
    Devices,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("shoal").chain(line.split_whitespace()))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn several_sources_and_one_destination_are_told_apart() {
        let Command::Put(put) = parse("put -r a b - /dest --redundancy 4/6 --json").unwrap().command else {
            panic!("not a put");
        };
        assert_eq!(put.sources, ["a", "b", "-"]);
        assert_eq!((put.dest, put.recursive), ("/dest".into(), true));
        assert_eq!(put.redundancy.unwrap().to_string(), "4/6");
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>().into_iter();
        let Command::Get(get) = Cli::read(words("shoal get shoallink1abc --json")).unwrap().command else {
            panic!("not a get");
        };
        assert_eq!((get.sources, get.dest), (vec!["shoallink1abc".into()], ".".into()));
        assert!(Cli::read(words("shoal get /a")).is_err() && Cli::read(words("shoal mv shoallink1")).is_err());
        let Command::Get(get) = parse("get /a -").unwrap().command else { panic!("not a get") };
        assert_eq!((get.sources, get.dest), (vec!["/a".into()], "-".into()));
    }

    #[test]
    fn what_is_incomplete_or_unknown_is_a_usage_error() {
        for line in ["", "put", "put a", "get /a", "mv /a", "put a /b --redundancy 4/3", "ls --nonsense", "frobnicate"]
        {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn every_command_has_a_help_with_an_example_and_every_option_a_text() {
        fn check(command: &clap::Command, before: &str) {
            let name = format!("{before} {}", command.get_name());
            assert!(command.get_about().is_some(), "{name}");
            if command.get_name() != "help" {
                assert!(command.get_after_help().unwrap().to_string().contains(&name), "{name}");
            }
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name} {}", argument.get_id());
            }
            command.get_subcommands().for_each(|below| check(below, &name));
        }
        Cli::command().get_subcommands().for_each(|command| check(command, "shoal"));
        let help = Cli::command().render_help().to_string();
        for text in ["SHOAL_HOME", "SHOAL_DIRECTORY", "130  interrupted"] {
            assert!(help.contains(text), "{text} is missing in:\n{help}");
        }
    }
}
