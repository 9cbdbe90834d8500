//! Store: shards on disk, in append-only segment files, each record describing itself.
//!
//! Guarantees: an acknowledged write would survive a power cut; a shard is visible only once it is durable; shards of
//! accounts are wholly disjoint; only bytes with the right SHA-1 are ever written; bytes found wrong are never served again; any
//! crash, full disk or damaged page costs at most what it hit, and a restart needs no hand. Memory is bounded by options.
//! Not here: who may do what, when the trash is purged, shards are checked, and segments rewritten.
//!
//! Way of a shard: [`Store::reserve`] -> [`ShardBuffer`] -> `finish(address)` -> [`VerifiedShard`] -> [`Store::write`].
//!
//! Performance sketch, 2 MiB shards: SHA-1 1.0 ms and a copy 0.05 ms on arrival; then one O_DIRECT write of 2 MiB (no page
//! cache: about 0.15 ms of CPU) and 1/16 of a sync with 16 writers: 2 to 2.5 GB/s and 0.1 CPU s per GiB without the SHA-1.
//! Files that go through the page cache take 25 times the CPU. `examples/store_speed.rs` measures it:
//! 2.2 to 2.6 GB/s at 0.10 to 0.15 CPU s per GiB on 2 cores and ext4; shards of 16 KiB 0.13 GB/s at about 9.
//!
//! In reading order:
//!
//! - formats: `record`, `hint`; what they add up to: `index`, `usage`;
//! - memory: `buffer`, `shard`; disk: `disk`, `files`;
//! - appending: `segment`, `busy`, `write`; what may be dropped: `doomed`; reading: `read`; giving room back: `reclaim`, `rewrite`;
//! - starting: `scan`, `recover`; `error`.

mod buffer;
mod busy;
mod company;
mod disk;
mod doomed;
mod error;
mod files;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod hint;
mod index;
mod read;
mod reclaim;
mod record;
mod recover;
mod rewrite;
mod scan;
mod segment;
mod shard;
#[cfg(test)]
mod tests;
mod usage;
mod write;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::id::{ClusterId, PeerId};
use common::limits::SHARD_BYTES;
use common::size::ByteSize;
use common::time::Clock;
use tokio::sync::Semaphore;

use buffer::Pool;
use busy::Busy;
use company::Company;
use disk::{Disk, RealDisk};
use doomed::Doomed;
use files::Files;
use index::Index;
use reclaim::Reclaimer;
use recover::{Recovered, recover};
use rewrite::Rewriter;
use segment::{Appender, Current, lock};

pub use doomed::DOOMED;
pub use error::{Retry, StoreError};
pub use index::{ShardInfo, ShardKey, ShardState, Tallies, Tally};
pub use read::Found;
pub use recover::Recovery;
pub use shard::{ShardBuffer, ShardMeta, VerifiedShard};
pub use usage::{Reserve, Usage};
pub use write::Stored;

/// Whose store it is, and how much it may use.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub cluster: ClusterId,
    pub peer: PeerId,
    /// Bytes on disk; `None`: as much as the file system has.
    pub capacity: Option<ByteSize>,
    /// What is left free on the file system.
    pub reserve: Reserve,
    /// Where a segment ends. 256 MiB: few files for terabytes, and scanned in a quarter of a second.
    pub segment: ByteSize,
    /// Memory of shards that arrive, and as much again of those that are read.
    pub buffers: ByteSize,
    /// Writes at a time; each holds a blocking thread. Beyond 16 syncs are shared well enough; small shards like more.
    pub writers: usize,
    /// How long is waited between two looks for segments that are mostly empty.
    pub rewrite_pause: Duration,
    pub clock: Clock,
}

impl StoreOptions {
    #[must_use]
    pub fn new(cluster: ClusterId, peer: PeerId) -> Self {
        Self {
            cluster,
            peer,
            capacity: None,
            reserve: Reserve::default(),
            segment: ByteSize::mib(256),
            buffers: ByteSize::mib(64),
            writers: 64,
            rewrite_pause: Duration::from_secs(600), // a look reads the hints of older segments
            clock: Clock::System,
        }
    }
}

/// A peer's shards. Cheap to clone; the data folder stays locked until the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    disk: Arc<dyn Disk>,
    options: StoreOptions,
    index: Mutex<Index>,
    appender: Appender,
    files: Files,
    incoming: Arc<Pool>,
    company: Arc<Company>,
    outgoing: Arc<Pool>,
    writers: Arc<Semaphore>,
    busy: Busy,
    doomed: Doomed,
    reclaimer: Reclaimer,
    rewriter: Rewriter,
    recovery: Recovery,
}

impl Store {
    /// Opens a data folder, or makes it. Blocks a thread for a read of each segment's hint, or a scan where there is none.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::NewerFormat`], [`StoreError::Foreign`], [`StoreError::Damaged`],
    /// [`StoreError::Io`].
    pub async fn open(dir: PathBuf, options: StoreOptions) -> Result<Self, StoreError> {
        let job = tokio::task::spawn_blocking(move || Self::open_on(Arc::new(RealDisk::open(&dir)?), options));
        job.await.map_err(|_| StoreError::Stopped)?
    }

    fn open_on(disk: Arc<dyn Disk>, options: StoreOptions) -> Result<Self, StoreError> {
        let Recovered { mut index, used, next_segment, recovery } = recover(&disk, options.cluster, options.peer)?;
        let at_start = index.take_dead();
        let appender = Appender {
            disk: Arc::clone(&disk),
            cluster: options.cluster,
            peer: options.peer,
            clock: options.clock.clone(),
            segment_pages: u32::try_from(options.segment.0 / record::PAGE as u64).unwrap_or(u32::MAX),
            current: Current::starting_at(next_segment),
            used: AtomicU64::new(used),
            syncs: AtomicU64::new(0),
            voids: Mutex::default(),
            poisoned: OnceLock::new(),
        };
        // One shard of the greatest length must always fit.
        let buffers = usize::try_from(options.buffers.0).unwrap_or(usize::MAX).max(2 * SHARD_BYTES);
        let inner = Inner {
            files: Files::new(Arc::clone(&disk)),
            disk,
            index: Mutex::new(index),
            appender,
            incoming: Pool::new(buffers),
            company: Arc::default(),
            outgoing: Pool::new(buffers),
            writers: Arc::new(Semaphore::new(options.writers.clamp(1, 256))),
            busy: Busy::default(),
            doomed: Doomed::default(),
            reclaimer: Reclaimer::new(at_start),
            rewriter: Rewriter::default(),
            recovery,
            options,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the start found.
    #[must_use]
    pub fn recovery(&self) -> Recovery {
        self.inner.recovery
    }

    /// How full the store is. Cheap: counters, and one `statvfs`.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the file system does not say how full it is.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        Ok(Usage {
            used: self.inner.appender.used.load(Ordering::Relaxed),
            tallies: lock(&self.inner.index).tallies(),
            free: self.inner.free()?,
            capacity: self.inner.options.capacity.map(|capacity| capacity.0),
        })
    }

    /// Ends the current segment, so that the next start is fast. For a clean end; without it, nothing is lost.
    ///
    /// # Errors
    /// [`StoreError::Stopped`] when the runtime is ending.
    pub async fn close(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.inner);
        let job = tokio::task::spawn_blocking(move || inner.appender.retire_current());
        job.await.map_err(|_| StoreError::Stopped)
    }
}
