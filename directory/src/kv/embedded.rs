//! Embedded engine: one machine's store, a journal with an index over it. The data folder has
//!
//! ```text
//! lock      held while open          format   version and cluster        state   clean or running
//! journal/  the truth                index/   derived, can be deleted    index.broken-N/   the last one that was no use
//! ```
//!
//! Reads are answered at once, from sled's cache or the page cache. Commits go through one thread and return when durable.
//! Memory: [`QUEUE_BYTES`] of waiting commits, one batch, and sled's cache.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use common::id::ClusterId;
use common::size::ByteSize;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::folder::{self, Lock};
use super::journal::disk::Folder;
use super::journal::{Position, Statistics};
use super::open::{self, OpenError, World};
use super::recent::Recent;
use super::sled::Index;
use super::writer::{Job, Pending, Writer};
use super::{Answer, Check, CommitError, Entry, Meta, Page, Store, StoreError, Write, check_commit, check_get};

/// Commits that wait for the writer.
const QUEUE_COMMITS: usize = 1_024;
/// Keys and values of all commits that wait, together; who comes later waits for room.
pub const QUEUE_BYTES: usize = 32 << 20;
/// One permit of the queue's room.
const ROOM_UNIT: usize = 1 << 10;

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Commits are refused while less than this is free on the disk: sled cannot even be opened on a full one.
    pub reserve: ByteSize,
    /// A segment that has so much takes no further batch: small enough to read one at every start.
    pub segment_bytes: ByteSize,
    /// sled's cache.
    pub index_cache: ByteSize,
}

impl Default for Options {
    fn default() -> Self {
        Self { reserve: ByteSize::mib(64), segment_bytes: ByteSize::mib(64), index_cache: ByteSize::mib(64) }
    }
}

/// What readers and the writer share. The lock goes last: nobody may open the folder while the index is in use.
pub(crate) struct Shared {
    pub(crate) index: Index,
    pub(crate) last: AtomicU64,
    pub(crate) counts: Mutex<Counts>,
    _lock: Lock,
}

#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) segments: u64,
    pub(crate) older_bytes: u64,
    pub(crate) last_bytes: u64,
    pub(crate) last: Position,
    pub(crate) syncs: u64,
}

/// See the module.
pub struct Embedded {
    shared: Arc<Shared>,
    pub(super) room: Arc<Semaphore>,
    queue: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens a data folder, or makes a new one; brings the index up to the journal. Blocks: seconds when the index is rebuilt.
    ///
    /// # Errors
    /// When the folder is in use, of a newer format or of another cluster, or when its journal is damaged.
    pub fn open(dir: &Path, cluster: ClusterId, options: &Options) -> Result<Self, OpenError> {
        let world = World { disk: Arc::new(Folder { path: open::journal_path(dir) }), boot: folder::boot_id() };
        Self::open_in(dir, cluster, options, &world)
    }

    pub(crate) fn open_in(dir: &Path, cluster: ClusterId, options: &Options, world: &World) -> Result<Self, OpenError> {
        let opened = open::open(dir, cluster, options, world)?;
        let last = opened.appender.last();
        let counts = Counts {
            segments: opened.segments,
            older_bytes: opened.older_bytes,
            last_bytes: opened.appender.offset(),
            last,
            syncs: 0,
        };
        let shared = Arc::new(Shared {
            index: opened.index,
            last: AtomicU64::new(last.sequence),
            counts: Mutex::new(counts),
            _lock: opened.lock,
        });
        let (queue, jobs) = mpsc::channel(QUEUE_COMMITS);
        let writer = Writer {
            dir: dir.to_owned(),
            queue: jobs,
            shared: shared.clone(),
            appender: opened.appender,
            reached: opened.reached,
            disk: world.disk.clone(),
            reserve: options.reserve,
            space: None,
            stopped: None,
            recent: Recent::new(last.sequence),
        };
        let thread =
            thread::Builder::new().name("kv-writer".into()).spawn(|| writer.run()).map_err(folder::io_at(dir))?;
        let room = Arc::new(Semaphore::new(QUEUE_BYTES / ROOM_UNIT));
        Ok(Self { shared, room, queue: Some(queue), thread: Some(thread) })
    }

    /// Finishes what waits, syncs the index and marks the folder as cleanly closed. Every later use is refused; the folder's
    /// lock is let go when the store is dropped.
    ///
    /// # Errors
    /// When the store had stopped or was closed before, or the index cannot be synced: the next start then looks closer.
    pub async fn close(&self) -> Result<(), StoreError> {
        let stopped = || StoreError::Stopped { reason: "it was closed".into() };
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        let (reply, answer) = oneshot::channel();
        queue.send(Job::Close(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// What the journal has.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let counts = self.counts();
        let bytes = counts.older_bytes + counts.last_bytes;
        Statistics { segments: counts.segments, bytes, records: counts.last.sequence, last: counts.last }
    }

    /// Syncs of the journal since it was opened: fewer than commits when commits came together.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.counts().syncs
    }

    fn counts(&self) -> Counts {
        *self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn enqueue(&self, checks: Vec<Check>, writes: Vec<Write>, meta: Meta) -> Result<u64, CommitError> {
        let stopped = || CommitError::Stopped { reason: "it was closed, or its writer failed".into() };
        let bytes = check_commit(&checks, &writes)?;
        // Checks and the overhead of many small writes take room, too.
        let keys: usize = checks.iter().map(|check| check.key.len() + 64).sum::<usize>() + writes.len() * 64;
        let permits = u32::try_from((bytes + keys).div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX);
        let room = self.room.clone().acquire_many_owned(permits).await.map_err(|_| stopped())?;
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        let (reply, answer) = oneshot::channel();
        let pending = Pending { checks, writes, meta, bytes, reply, _room: room };
        queue.send(Job::Commit(pending)).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|gone| Err(CommitError::Unknown(Arc::new(gone))))
    }
}

impl Drop for Embedded {
    /// Ends the writer without a clean mark: the next start looks closer. Waits for the batch under way.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Store for Embedded {
    fn get<'a>(&'a self, keys: &'a [&'a [u8]]) -> Answer<'a, Result<Vec<Option<Entry>>, StoreError>> {
        Box::pin(async move {
            check_get(keys)?;
            self.shared.index.get(keys)
        })
    }

    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Answer<'a, Result<Page, StoreError>> {
        Box::pin(async move { self.shared.index.scan(from, to, limit, false) })
    }

    fn scan_back<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Answer<'a, Result<Page, StoreError>> {
        Box::pin(async move { self.shared.index.scan(from, to, limit, true) })
    }

    fn commit(&self, checks: Vec<Check>, writes: Vec<Write>, meta: Meta) -> Answer<'_, Result<u64, CommitError>> {
        Box::pin(self.enqueue(checks, writes, meta))
    }

    fn last_sequence(&self) -> u64 {
        self.shared.last.load(Ordering::Acquire)
    }
}
