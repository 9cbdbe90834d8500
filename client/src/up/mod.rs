//! Up: from local files to visible versions. `read -> cut -> name -> ask -> seal -> place -> send -> register -> publish`.
//!
//! In reading order: [`put_files`] (sorts jobs by size), `file` (a file cut into chunks of its own), `pack` (small files that
//! share chunks: a `group` of them is read, `claims` what it stores), `together` (addresses), `send` (one chunk to its peers), `chain` (or one copy, which they pass on), [`pace`](crate::pace) (who of them is slow),
//! `upload` (what the directory holds for it), `publish` (making it visible).
//!
//! Guarantees: nothing is visible before every chunk of it has enough shards durable on different peers and is registered; a
//! file that changed while it was read is not published; a failed or cancelled put abandons what it had begun. At most
//! [`CHUNKS_IN_FLIGHT`] chunks, or [`CHUNKS_IN_FLIGHT_FAR`], are in memory, whatever the size and number of the files.
//!
//! Sketch, `1/3`: 1.4 CPU s a GiB for cutting, naming and sealing, then 0.5 a copy for sending. Hashing and sealing run on
//! blocking threads, one a core; the reader runs ahead of them by what the budget lets it.

mod chain;
mod chunk;
mod claims;
mod error;
mod file;
mod group;
mod pack;
mod publish;
mod repack;
mod send;
mod tally;
mod together;
mod upload;

use common::boxed::Boxed;
use std::collections::HashSet;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use common::id::VersionId;
use common::proto::directory::Abandon;
use common::redundancy::Redundancy;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::cut::Gear;
use crate::keys::Keys;
use crate::local::read::SourceFile;
use crate::pace::Pace;
use crate::pack::PACK_FILE_MAX;
use crate::seal::Pool;
use crate::session::Session;
use crate::transfer::{Progress, PutJob, PutOptions, PutReport, Source};

use claims::Claims;
pub use error::UpError;
use file::Reading;
pub(crate) use repack::Packer;
use tally::Tally;
use together::Together;
use upload::Upload;

/// Chunks between the reader and their last durable shard: up to 8 MiB each, 3 on average. Twice as many only touch more memory.
pub const CHUNKS_IN_FLIGHT: usize = 8;
/// The same where round trips are long. A chunk is asked for, sent and answered, which takes three of them at worst: this is what 1 Gbit/s brings
/// in that time over 50 ms, twice.
pub const CHUNKS_IN_FLIGHT_FAR: usize = 20;
/// Files of chunks of their own that are read at once.
const FILES_AT_ONCE: usize = 4;
/// Up to this size a file's manifest surely fits into the request that publishes it: chunks have at least 1 MiB.
const INLINE_FILE_BYTES: u64 = 12 << 20;

/// How long the last word about an upload may take for somebody who has interrupted it, and otherwise: a directory whose disk is busy is slow to
/// write it down, and without it the chunks of an upload keep their room until it expires.
const LAST_WORD: Duration = Duration::from_secs(2);
const UNHURRIED: Duration = Duration::from_secs(30);

/// What all rooms of one put share.
struct Up {
    session: Session,
    keys: Arc<Keys>,
    redundancy: Redundancy,
    options: PutOptions,
    gear: Gear,
    pool: Pool,
    /// Chunks that may be in memory, and a permit for each.
    chunks: usize,
    in_flight: Arc<Semaphore>,
    /// A permit for each core that seals.
    cores: Arc<Semaphore>,
    /// Sealed chunks that have no addresses yet.
    together: Arc<Together>,
    /// The upload that small and middling files share, begun when first needed.
    shared: Mutex<Option<Arc<Upload>>>,
    /// Small contents that are being stored.
    claims: Arc<Claims>,
    tally: Tally,
    /// How fast peers take shards.
    pace: std::sync::Mutex<Pace>,
    /// Uploads that were begun and not ended: what an interrupted put has to abandon.
    open: std::sync::Mutex<HashSet<VersionId>>,
}

impl Up {
    fn new(session: &Session, options: &PutOptions) -> Arc<Self> {
        let cores = Arc::new(Semaphore::new(available_parallelism().map_or(2, usize::from)));
        let chunks = if session.is_far() { CHUNKS_IN_FLIGHT_FAR } else { CHUNKS_IN_FLIGHT };
        Arc::new(Self {
            session: session.clone(),
            keys: Arc::clone(session.keys()),
            redundancy: options.redundancy,
            options: options.clone(),
            gear: Gear::new(session.keys()),
            pool: Pool::new(chunks),
            chunks,
            in_flight: Arc::new(Semaphore::new(chunks)),
            // Half of them keep the network busy while the others wait for company.
            together: Together::new(Arc::clone(&cores), chunks / 2),
            cores,
            shared: Mutex::new(None),
            claims: Arc::default(),
            tally: Tally::new(),
            pace: std::sync::Mutex::default(),
            open: std::sync::Mutex::default(),
        })
    }

    fn progress(&self) -> &dyn Progress {
        &*self.options.progress
    }

    fn open_uploads(&self) -> std::sync::MutexGuard<'_, HashSet<VersionId>> {
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn pace(&self) -> std::sync::MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets go of what only the uploads of this put still hold. After a success this is tidiness: what is published holds its
    /// chunks itself; else it saves the directory from waiting for them to expire. So it tries briefly and tells nobody.
    async fn abandon_open(&self) {
        let open: Vec<_> = self.open_uploads().drain().collect();
        for version in open {
            let limit = if self.options.cancel.is_cancelled() { LAST_WORD } else { UNHURRIED };
            if let Err(error) = self.session.call_directory_within(&Abandon { version }, limit).await {
                tracing::debug!(%error, "upload left to expire");
            }
        }
    }

    /// The upload that holds what small and middling files are made of.
    async fn shared(self: &Arc<Self>) -> Result<Arc<Upload>, UpError> {
        let mut shared = self.shared.lock().await;
        if let Some(upload) = &*shared {
            return Ok(Arc::clone(upload));
        }
        let upload = Arc::new(Upload::begin(self, None).await?);
        *shared = Some(Arc::clone(&upload));
        Ok(upload)
    }
}

/// Stores files and links as they come through the channel, until it closes. What becomes of each is told to the progress.
///
/// Durable when it returns. Dropping it, or raising the cancel flag, leaves nothing visible of files that were not told as put.
///
/// # Errors
/// Only what makes going on senseless: interrupted, directory gone, too few peers. A failed file is counted in the report.
pub fn put_files<'a>(
    session: &'a Session,
    mut jobs: mpsc::Receiver<PutJob>,
    options: &'a PutOptions,
) -> Boxed<'a, Result<PutReport, UpError>> {
    Box::pin(async move {
        let up = Up::new(session, options);
        let result = options.cancel.guard(sort(&up, &mut jobs)).await.unwrap_or(Err(UpError::Interrupted));
        jobs.close();
        // The shared upload holds its room, and its room it.
        drop(up.shared.lock().await.take());
        up.abandon_open().await;
        result
    })
}

/// Gives each job to whom its size belongs, and waits for all; or for the first failure that makes going on senseless.
async fn sort(up: &Arc<Up>, jobs: &mut mpsc::Receiver<PutJob>) -> Result<PutReport, UpError> {
    tokio::select! {
        biased;
        error = up.tally.fatal() => Err(error),
        done = feed(up, jobs) => done.map(|()| up.tally.report()),
    }
}

async fn feed(up: &Arc<Up>, jobs: &mut mpsc::Receiver<PutJob>) -> Result<(), UpError> {
    let mut tasks: JoinSet<()> = JoinSet::new();
    let (small, packed) = mpsc::channel(64);
    tasks.spawn(pack::run(Arc::clone(up), packed));
    let files = Arc::new(Semaphore::new(FILES_AT_ONCE));
    while let Some(job) = jobs.recv().await {
        up.tally.take();
        let size = size_of(&job.source);
        if size.is_some_and(|size| size < PACK_FILE_MAX as u64) {
            // A packer that is gone has told why.
            small.send(job).await.ok();
            continue;
        }
        let Ok(permit) = Arc::clone(&files).acquire_owned().await else { break };
        let up = Arc::clone(up);
        tasks.spawn(async move {
            let _permit = permit;
            let shown = job.shown.clone();
            let result = file::put(&up, job, size).await;
            up.tally.count(up.progress(), &shown, result);
        });
        while let Some(done) = tasks.try_join_next() {
            done.map_err(|panic| UpError::Bug(panic.to_string()))?;
        }
    }
    up.tally.close();
    drop(small);
    while let Some(done) = tasks.join_next().await {
        done.map_err(|panic| UpError::Bug(panic.to_string()))?;
    }
    Ok(())
}

/// Bytes of a source, as far as they are known before it is read. A file that can't be looked at fails when it is opened.
fn size_of(source: &Source) -> Option<u64> {
    match source {
        Source::Path(path) => Some(std::fs::metadata(path).map_or(0, |meta| meta.len())),
        Source::None => Some(0),
        Source::Stdin | Source::Reader(_) => None,
    }
}

/// Opens what a job reads from. Blocking.
fn open(source: Source) -> Result<Reading, UpError> {
    match source {
        Source::Path(path) => Ok(Reading::File(SourceFile::open(&path)?)),
        Source::Stdin => Ok(Reading::Stream(Box::new(std::io::stdin()))),
        Source::Reader(reader) => Ok(Reading::Stream(reader)),
        Source::None => Ok(Reading::Stream(Box::new(std::io::empty()))),
    }
}
