//! Time: the command line of what was, and of making it current again.

use std::ffi::OsString;

use clap::Args;

use crate::past::When;

/// When something is looked at.
#[derive(Debug, Clone, Default, Args)]
pub struct AtTime {
    /// As it was then: a time like 2026-11-21T14:00:00Z, a day, an age like 2h or 3d, a sequence like @1234, or a snapshot's name
    #[arg(long, value_name = "TIME|SNAPSHOT")]
    pub at: Option<When>,
}

/// Show all that a path has led to, the newest first
///
/// Also of a path that was removed. The first column is the version's name: PATH@VERSION is what get, cat, stat, ls and restore take.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal versions /notes.txt
  shoal cat /notes.txt@1234
  shoal versions --json /notes.txt | jq -c '[.version, .at, .size]'")]
pub struct Versions {
    /// Remote path
    #[arg(value_name = "PATH")]
    pub path: OsString,

    /// At most so many
    #[arg(long, short = 'n', value_name = "N")]
    pub number: Option<u64>,
}

/// Make an old state current again, as a new version: no data is sent
///
/// What is current now stays in history. A folder is restored with all in it: files get their old content back, files that came since
/// stay. Folders above it that are gone are made again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal restore /notes.txt@1234
  shoal restore /photos --at 2h
  shoal restore /photos --at before-the-trip --to /photos-then")]
pub struct Restore {
    /// Remote path, with @VERSION unless --at says when
    #[arg(value_name = "PATH[@VERSION]")]
    pub path: OsString,

    #[command(flatten)]
    pub time: AtTime,

    /// Remote folder, or a new remote path, in place of where it was
    #[arg(long, value_name = "DEST")]
    pub to: Option<OsString>,
}

/// Bring back what was removed, as it was last
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal undelete /notes.txt
  shoal undelete /photos         # with all that was in it")]
pub struct Undelete {
    /// Remote path
    #[arg(value_name = "PATH")]
    pub path: OsString,
}

/// Show what is different between two times of a folder, or between two folders
///
/// A and B are times or snapshots (of PATH), or folders, with @VERSION where it is not the present. A folder that is on one side alone
/// is shown as one line.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal diff 2h now              # what changed in the last two hours
  shoal diff monday tuesday /photos
  shoal diff /photos /photos-copy
  shoal diff /photos@1234 /photos")]
pub struct Diff {
    /// A time, a snapshot or a folder
    #[arg(value_name = "A")]
    pub a: OsString,

    /// A time, a snapshot or a folder
    #[arg(value_name = "B")]
    pub b: OsString,

    /// The folder whose times are compared [default: the one that is named, or /]
    #[arg(value_name = "PATH")]
    pub path: Option<OsString>,
}
