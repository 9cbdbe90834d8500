//! `shoal repack`, as it is typed.

use clap::Args;

/// Rewrite packs of small files that are mostly dead
///
/// Small files share packs, and a pack stays as long as one of its files is needed. This looks at every version of your account, also those
/// in history, and copies what is still needed of packs that are less than half alive into new ones. Interrupted, it goes on where it was.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  shoal repack --dry-run      # how much is wasted
  shoal repack")]
pub struct Repack {
    /// Say what is wasted, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
