//! What `shoal prune` and `shoal du` take.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use common::keep::{KeepPolicy, MOST};

use super::AtTime;

/// End the history that is not to be kept, and give its space back
///
/// What is there now is never touched, nor what a snapshot pins. Kept is what any of the options names; without them the cluster's own policy
/// holds. Days, weeks, months and years are those on which you changed anything, in UTC, each as it was at its end. Packs of small files
/// that are mostly dead then are rewritten (shoal repack). The space comes back in the background, once the peers have emptied their trash.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal prune --keep-within 30d --keep-daily 30 --keep-monthly 12 --dry-run
  shoal prune --keep-last 5           # five versions of each file, and nothing that was removed
  shoal prune                         # by the cluster's policy")]
pub struct Prune {
    /// Versions of each file that still exists, the current one counted
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    pub keep_last: Option<u32>,

    /// The end of each of the last N days
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    pub keep_daily: Option<u32>,

    /// The end of each of the last N weeks
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    pub keep_weekly: Option<u32>,

    /// The end of each of the last N months
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    pub keep_monthly: Option<u32>,

    /// The end of each of the last N years
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    pub keep_yearly: Option<u32>,

    /// Everything that was there within this time, like 36h or 30d
    #[arg(long, value_name = "TIME", value_parser = within)]
    pub keep_within: Option<Duration>,

    /// Change nothing, and say what would go
    #[arg(long, short = 'n')]
    pub dry_run: bool,

    /// Leave packs of small files as they are, also where most of one is dead
    #[arg(long)]
    pub no_repack: bool,
}

impl Prune {
    /// `None` where nothing is said: then the cluster's own policy holds.
    #[must_use]
    pub fn policy(&self) -> Option<KeepPolicy> {
        let within = self.keep_within.map_or(0, |within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let policy = KeepPolicy {
            within_ms: within,
            last: self.keep_last.unwrap_or(0),
            daily: self.keep_daily.unwrap_or(0),
            weekly: self.keep_weekly.unwrap_or(0),
            monthly: self.keep_monthly.unwrap_or(0),
            yearly: self.keep_yearly.unwrap_or(0),
        };
        (!policy.is_empty()).then_some(policy)
    }
}

fn within(text: &str) -> Result<Duration, String> {
    let policy: Result<KeepPolicy, _> = format!("within={text}").parse();
    policy.map(|policy| policy.within()).map_err(|_| "write it like 36h or 30d".to_owned())
}

/// Show who holds the space
///
/// Without a path: what the whole account stores, by who needs it. What several need counts for the first in the list alone. With one: what is there
/// below it, or was there then, each file by itself, as if it shared nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal du
  shoal du /photos --json
  shoal du /photos --at 3d        # what was there three days ago")]
pub struct Du {
    /// Remote path
    #[arg(value_name = "PATH")]
    pub path: Option<OsString>,

    #[command(flatten)]
    pub time: AtTime,
}
