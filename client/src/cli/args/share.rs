//! What is typed for `shoal share`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand};
use common::id::VersionId;

/// Hand on a file or folder, to read and nothing else
///
/// Prints a link: one line that reads exactly this, with `shoal get LINK`, `shoal cat LINK` and `shoal ls LINK`, on any device that has joined
/// the cluster, or with --guest on any device at all. A folder is shared as it is when it is read. Of a file it is the version that
/// is current now, or another with --version, or with --follow whichever is current when it is read. Whoever has the link can read
/// and hand it on, until it expires or is revoked; the directory learns no name and no key.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  shoal share /photos --expires 7d
  shoal share /report.pdf --follow --guest     # also for a device that has not joined
  shoal share ls
  shoal share revoke 4f2a91c0
  shoal get shoallink1... downloads/"
)]
pub struct Share {
    #[command(subcommand)]
    pub command: Option<ShareCommand>,

    /// Remote path
    #[arg(value_name = "PATH", required = true)]
    pub path: Option<OsString>,

    /// How long the link is good for, like 12h or 7d [default: until it is revoked]
    #[arg(long, value_name = "T", value_parser = duration)]
    pub expires: Option<Duration>,

    /// This version of the file, for ever [default: the current one]
    #[arg(long, value_name = "V", conflicts_with = "follow")]
    pub version: Option<VersionId>,

    /// Whichever version of the file is current when it is read
    #[arg(long)]
    pub follow: bool,

    /// Let devices that have not joined read it, too: at most so many, 100 where no number is given
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub guest: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub enum ShareCommand {
    /// List what is shared, with when it ends
    Ls(ShareLs),
    /// End a share: whoever reads through its link is refused from then on
    Revoke(ShareRevoke),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  shoal share ls --json | jq .share")]
pub struct ShareLs {
    /// Also what has expired or was revoked lately
    #[arg(long, short)]
    pub all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  shoal share revoke 4f2a91c0")]
pub struct ShareRevoke {
    /// What `shoal share ls` calls it, or the beginning of that
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 30min, 12h or 7d"))?;
    if parsed.is_zero() {
        Err("a link that expires at once is of no use; write it like 12h or 7d".to_owned())
    } else {
        Ok(parsed)
    }
}
