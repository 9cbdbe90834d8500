//! `shoal repack`, as it is typed.

use std::time::Duration;

use clap::Args;

/// Rewrite packs of small files that are mostly dead
///
/// Small files share packs, and a pack stays as long as one of its files is needed. This looks at every version of your account, also those
/// in history, and copies what is still needed of packs that are less than half alive into new ones. Interrupted, it goes on where it was.
/// `shoal prune` does the same at its end.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal repack --dry-run      # how much is wasted
  shoal repack
  shoal repack --every 1d     # in the background of a machine that is always on")]
pub struct Repack {
    /// Say what is wasted, and change nothing
    #[arg(long, short = 'n')]
    pub dry_run: bool,

    /// Stay, and do it again after so long, until it is interrupted
    #[arg(long, value_name = "TIME", value_parser = every)]
    pub every: Option<Duration>,
}

/// More often than that nothing can have changed that is worth the look.
const LEAST: Duration = Duration::from_secs(1);

fn every(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 12h or 1d"))?;
    if span < LEAST { Err("at least 1s".to_owned()) } else { Ok(span) }
}
