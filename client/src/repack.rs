//! Repack: copies what is still wanted of packs that are mostly dead into new ones, so that the room of the rest comes back.
//!
//! Nothing tells the directory how much of a pack is alive: that is in sealed manifests. So the client walks over all versions of its account,
//! current ones and those in history, and counts the extents of each pack (`survey`). Those with less than half of their bytes alive are
//! rewritten (`moving`): the living extents are read and verified, packed anew, and each version's page is swapped for one that names the
//! new place, if it still is what was read.
//!
//! Guarantees: a version refers to the old pack or to the new one, wholly, at any time; whoever has read the old page can go on reading.
//! Interrupted at any point nothing is lost, and what was swapped stays so. Memory is bounded: extents are counted in passes, each over as
//! many packs as [`EXTENTS_AT_ONCE`] extents lie in.
//!
//! Non-goals: files of chunks of their own, in which there is nothing dead; and deciding when to run.

mod error;
mod moving;
mod survey;

use std::sync::Arc;

use crate::cancel::{Cancel, Interrupted};
use crate::session::Session;
use crate::transfer::{GetOptions, Progress};

pub use error::RepackError;
use survey::{Counted, Part, count};

/// Extents that are counted in one pass over all versions: about 100 bytes each, and once more what is known of where they went.
const EXTENTS_AT_ONCE: usize = 200_000;

/// How it is done.
pub struct RepackOptions {
    /// Only count.
    pub dry_run: bool,
    pub cancel: Cancel,
    /// What is rewritten is told as stored.
    pub progress: Arc<dyn Progress>,
}

/// What was found, and what was done. Bytes are sealed bytes of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RepackReport {
    pub versions: u64,
    pub packs: u64,
    pub bytes: u64,
    /// Of `bytes`, what no version refers to.
    pub dead_bytes: u64,
    /// Packs of which less than half is alive, and what is alive of them.
    pub wasteful: u64,
    pub wasteful_bytes: u64,
    pub wasteful_live_bytes: u64,
    /// Versions whose extent was moved.
    pub moved: u64,
    /// Versions that were changed or pruned meanwhile: next time.
    pub changed: u64,
    /// Bytes that went to peers, copies and all.
    pub sent: u64,
}

/// Counts, and unless it is a dry run rewrites.
///
/// # Errors
/// When it is interrupted, or directory or peers cannot be reached.
pub async fn repack(session: &Session, options: &RepackOptions) -> Result<RepackReport, RepackError> {
    let work = all(session, options);
    options.cancel.guard(work).await.unwrap_or(Err(RepackError::Interrupted(Interrupted)))
}

async fn all(session: &Session, options: &RepackOptions) -> Result<RepackReport, RepackError> {
    let mut report = RepackReport::default();
    let (mut part, mut expected) = (Some(Part::all()), 0);
    while let Some(wanted) = part {
        let Counted { part: done, packs, versions } = count(session, wanted, EXTENTS_AT_ONCE).await?;
        report.versions = versions;
        for pack in packs.values() {
            report.packs += 1;
            report.bytes += u64::from(pack.len);
            report.dead_bytes += pack.dead();
            if pack.is_wasteful() {
                report.wasteful += 1;
                report.wasteful_bytes += u64::from(pack.len);
                report.wasteful_live_bytes += pack.live();
            }
        }
        let wasteful = packs.into_iter().filter(|(_, pack)| pack.is_wasteful()).map(|(chunk, _)| chunk).collect();
        if !options.dry_run {
            options.progress.expect(report.wasteful_live_bytes.saturating_sub(expected));
            expected = report.wasteful_live_bytes;
            moving::run(session, options, &wasteful, &mut report).await?;
        }
        part = done.next();
    }
    Ok(report)
}

fn get_options(options: &RepackOptions) -> GetOptions {
    GetOptions {
        durability: crate::local::write::Durability::Relaxed,
        cancel: options.cancel.clone(),
        progress: Arc::clone(&options.progress),
    }
}
