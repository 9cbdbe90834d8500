//! What `shoal snapshot` takes.

use std::ffi::OsString;

use clap::{Args, Subcommand};

/// Pin the tree as it is now, under a name
///
/// A snapshot costs next to nothing, whatever the size of the tree, and can be made while files are put. As long as it is there, `shoal prune` keeps
/// everything that the tree had then.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal snapshot create before-the-move
  shoal snapshot list
  shoal snapshot rm before-the-move")]
pub struct Snapshot {
    #[command(subcommand)]
    pub what: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Pin the tree as it is now
    #[command(after_help = "Example:
  shoal snapshot create before-the-move")]
    Create {
        /// What to call it; any text without a slash
        #[arg(value_name = "NAME")]
        name: OsString,
    },
    /// Show all snapshots, the oldest first
    #[command(after_help = "Example:
  shoal snapshot list --json")]
    List,
    /// Let a snapshot go; what it alone kept goes with the next prune
    #[command(after_help = "Example:
  shoal snapshot rm before-the-move")]
    Rm {
        /// What it is called
        #[arg(value_name = "NAME")]
        name: OsString,
    },
}
