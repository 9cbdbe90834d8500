//! Crash: kills servers of a cluster under load at random moments, and checks that nothing that was acknowledged is lost.
//!
//! `tests::crash` says what is done and what may be seen; `real::crash` is a short run of it, docs/DURABILITY.md has a long one.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use tests::crash::{self, Options};

/// Kills servers of a cluster under load with SIGKILL, starts them again, and compares every file with what was acknowledged.
#[derive(Parser)]
#[command(
    name = "crash",
    after_help = "Examples:\n  crash --kills 1000 --seed 1\n  crash --kills 100 --workers 8 --peers 6\n  crash --power --kills 100"
)]
struct Arguments {
    /// How many servers are killed, the directory and peers together
    #[arg(long, default_value_t = 200)]
    kills: u64,
    /// Repeats what is done, and when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many peers; two of them may be down at the same time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(4..))]
    peers: u16,
    /// Folders in which files are put, replaced, moved and removed all the time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
    /// Kills between two verifications of everything
    #[arg(long, default_value_t = 50)]
    round: u64,
    /// The longest pause between two kills
    #[arg(long, value_parser = humantime::parse_duration, default_value = "600ms")]
    pause: Duration,
    /// What puts ask for, at random; several with commas between them
    #[arg(long, value_delimiter = ',', default_value = "1/3,2/4")]
    redundancy: Vec<String>,
    /// Fails unless every chunk has all its shards so long after the last kill
    #[arg(long, value_parser = humantime::parse_duration, default_value = "2m")]
    heal: Duration,
    /// Where the cluster's folder is made [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    below: Option<PathBuf>,
    /// Cuts the power of all servers at the same moment, as often as `--kills` says, in place of killing some
    #[arg(long)]
    power: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    ensure!(!arguments.redundancy.is_empty(), "a redundancy is needed");
    let options = Options {
        kills: arguments.kills,
        seed: arguments.seed,
        peers: arguments.peers.into(),
        workers: arguments.workers.into(),
        round: arguments.round,
        pause: arguments.pause,
        redundancies: arguments.redundancy,
        heal: arguments.heal,
        below: arguments.below,
        power: arguments.power,
    };
    let since = Instant::now();
    let report = crash::run(&options, &mut |line| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{:>6.0?} {line}", since.elapsed()).and_then(|()| out.flush());
    })?;
    let crash::Report { kills, done, files, bytes, healed } = report;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{kills}")?;
    writeln!(out, "{done}")?;
    writeln!(out, "{files} files of {bytes} bytes at the end, all of them as they may be")?;
    writeln!(
        out,
        "every chunk had all its shards {healed:.1?} after the last verification; fsck --deep finds nothing"
    )?;
    Ok(())
}
