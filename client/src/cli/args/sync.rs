//! `shoal sync` as it is typed.

use std::ffi::OsString;

use clap::Args;
use common::redundancy::Redundancy;

/// Make one folder like another, in either direction
///
/// What is in the cluster is written shoal:/path; exactly one of SRC and DEST is. DEST becomes what SRC is: what is in SRC goes into DEST
/// itself, with or without a slash at the end. Files that are alike in size, time and mode are left as they are and not read. Times,
/// modes, links and empty folders are carried. What changed in DEST since is replaced: in the cluster history keeps it, on this machine
/// nothing does.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal sync photos shoal:/photos                    # what is new or changed goes up
  shoal sync --delete --dry-run photos shoal:/photos # what would be done
  shoal sync --delete shoal:/photos /mnt/photos      # and down, without what is not there any more
  shoal sync --watch --exclude '*.tmp' --exclude /target/ . shoal:/work")]
pub struct Sync {
    /// The folder as it should be: local, or shoal:/path
    #[arg(value_name = "SRC")]
    pub src: OsString,

    /// The folder that becomes like it: local, or shoal:/path
    #[arg(value_name = "DEST")]
    pub dest: OsString,

    /// Remove from DEST what SRC does not have, and recognise what was only moved. In the cluster history keeps it; on this machine it is
    /// gone at once. Nothing is removed where SRC could not be read, when SRC is empty, nor when something could not be brought
    #[arg(long)]
    pub delete: bool,

    /// Only say what would be done
    #[arg(long, short = 'n')]
    pub dry_run: bool,

    /// Leave alone on both sides what this matches, as in a .gitignore: *.o at any depth, /target/ a folder in SRC itself; may be given
    /// several times
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Go on, and bring what changes: at once where SRC is local. Ctrl-C ends it
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,

    /// With --watch: look at everything again so often [default: 300 for a local SRC, 30 for one in the cluster]
    #[arg(long, value_name = "SECONDS", requires = "watch", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub every: Option<u64>,

    /// Compare files of one size by their content, whatever their times say: local files are read, and nothing is fetched for it
    #[arg(long)]
    pub checksum: bool,

    /// For what goes up: any k of n shards will do [default: the folder's, or the cluster's]
    #[arg(long, env = "SHOAL_REDUNDANCY", hide_env_values = true, value_name = "K/N")]
    pub redundancy: Option<Redundancy>,
}
