//! Down: from versions to local files. `look up -> fetch -> open -> write`.
//!
//! In reading order: [`get_files`] (sorts jobs), `manifest` (pages and placements), `fetch` (one run of a chunk from whoever has it),
//! `small` (files that share packs), `file` (one file, run by run), [`read_range`] (a part of a file, for whoever is not a file).
//!
//! Guarantees: not one byte is handed on before it was verified against the digest in its sealed manifest; a peer that is gone,
//! slow or lying is passed over as long as k shards of every chunk can be had, without a word to the user; a file appears
//! whole or not at all. At most [`RUNS_IN_FLIGHT_FAR`] runs are in memory, whatever the size and number of the files.
//!
//! Sketch: receiving 0.5, opening 0.47 CPU s a GiB, and writing the file. No SHA-1: the digest is stronger and cheaper.

pub mod check;
pub mod compare;
mod error;
mod extent;
mod fetch;
mod file;
mod manifest;
mod small;

use common::boxed::Boxed;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinSet, spawn_blocking};

use crate::ahead::Ahead;
use crate::local::write::{Download, Durability};
use crate::local::{LocalError, partial};
use crate::seal::Pool;
use crate::session::Session;
use crate::transfer::{FileError, GetDone, GetJob, GetOptions, GetReport, Target};

pub use error::DownError;
pub(crate) use extent::ExtentReader;
pub use file::read_range;

/// Runs between the first request for them and their last byte written, two for each core and at least so many: up to 8 MiB each, 3 on
/// average. Twice as many only touch more memory.
pub const RUNS_IN_FLIGHT: usize = 8;
/// The same where round trips are long: a run that lost packets comes late, and all behind it wait. More gain nothing (docs/PERFORMANCE.md).
pub const RUNS_IN_FLIGHT_FAR: usize = 20;
/// Files that are written at once.
const FILES_AT_ONCE: usize = 4;
/// Small files that make a group worth starting, when there is a place for it; and how many wait for a place at most. While groups are
/// under way the next one grows: the larger, the more of its files lie side by side in their packs, and the less is read that nobody
/// asked for.
const ENOUGH: usize = 1_024;
const GROUP: usize = 8_192;
/// Groups of small files under way.
const GROUPS_AT_ONCE: usize = 2;
/// How long a group of small files waits for more to come.
const GROUP_PATIENCE: Duration = Duration::from_millis(5);

/// What all rooms of one get share.
struct Down {
    session: Session,
    options: GetOptions,
    /// Runs that may be in memory at most, and a permit for each that is.
    runs: usize,
    ahead: Ahead,
    /// A permit for each core that opens.
    cores: Semaphore,
    load: fetch::Load,
    missed: fetch::Missed,
    /// Where runs are collected in.
    pool: Pool,
    report: Mutex<GetReport>,
    /// File systems with files that are synced at the end, by a folder on each; and the last folder looked at.
    unsynced: Mutex<(HashMap<u64, File>, PathBuf)>,
    /// The last folder that was looked through for what interrupted downloads have left, and what there was.
    swept: Mutex<(PathBuf, Vec<OsString>)>,
}

impl Down {
    fn new(session: &Session, options: &GetOptions) -> Arc<Self> {
        let cores = available_parallelism().map_or(2, usize::from);
        let near = (2 * cores).clamp(RUNS_IN_FLIGHT, RUNS_IN_FLIGHT_FAR);
        let runs = if session.is_far() { RUNS_IN_FLIGHT_FAR } else { near };
        Arc::new(Self {
            session: session.clone(),
            options: options.clone(),
            runs,
            ahead: Ahead::new(runs),
            cores: Semaphore::new(cores),
            load: fetch::Load::default(),
            missed: fetch::Missed::default(),
            pool: Pool::new(runs),
            report: Mutex::default(),
            unsynced: Mutex::default(),
            swept: Mutex::default(),
        })
    }

    /// Removes what interrupted downloads of other versions of this file have left. Each folder is looked through once. Blocking.
    fn sweep(&self, download: &Download) {
        if !download.is_kept() {
            return;
        }
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.0 != download.folder() {
            *swept = (download.folder().to_owned(), partial::in_folder(download.folder()));
        }
        if !swept.1.is_empty() {
            download.sweep(&swept.1);
        }
    }

    /// Remembers that the file system of this file has to be synced before the user is told of success. Blocking.
    fn sync_later(&self, download: &Download) -> Result<(), DownError> {
        if self.options.durability == Durability::Relaxed {
            return Ok(());
        }
        let folder = download.folder();
        let failed = || LocalError::io("look at", folder);
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        let (systems, last) = &mut *unsynced;
        if folder != last {
            let opened = File::open(folder).map_err(failed())?;
            systems.insert(opened.metadata().map_err(failed())?.dev(), opened);
            folder.clone_into(last);
        }
        Ok(())
    }

    /// Makes all small files durable: one sync a file system is far cheaper than one a file. Blocking.
    fn sync_now(&self) -> Result<(), DownError> {
        let unsynced = std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        for folder in unsynced.0.values() {
            let failed = |error: rustix::io::Errno| DownError::Write(Arc::new(error.into()));
            rustix::fs::syncfs(folder).map_err(failed)?;
        }
        Ok(())
    }

    /// Runs CPU work on a blocking thread, at most one a core.
    async fn on_a_core<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, DownError> {
        let _core = self.cores.acquire().await.map_err(|closed| DownError::Bug(closed.to_string()))?;
        spawn_blocking(work).await.map_err(|panic| DownError::Bug(panic.to_string()))
    }

    fn done(&self, done: GetDone) {
        {
            let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.files += 1;
            report.bytes += done.bytes;
        }
        self.options.progress.got(done);
    }

    /// Counts a failed file, or hands back what makes going on senseless.
    fn failed(&self, shown: &str, error: DownError) -> Result<(), DownError> {
        if !error.is_of_one_file() {
            return Err(error);
        }
        self.report.lock().unwrap_or_else(PoisonError::into_inner).failed += 1;
        let error: FileError = Box::new(error);
        self.options.progress.failed(shown, error);
        Ok(())
    }

    fn counted(&self, shown: &str, result: Result<GetDone, DownError>) -> Result<(), DownError> {
        match result {
            Ok(done) => {
                self.done(done);
                Ok(())
            }
            Err(error) => self.failed(shown, error),
        }
    }
}

/// Fetches files as they come through the channel, until it closes. What becomes of each is told to the progress.
///
/// Dropping it, or raising the cancel flag, leaves no file half written at its destination.
///
/// # Errors
/// Only what makes going on senseless: interrupted, directory gone. A failed file is counted in the report.
pub fn get_files<'a>(
    session: &'a Session,
    mut jobs: mpsc::Receiver<GetJob>,
    options: &'a GetOptions,
) -> Boxed<'a, Result<GetReport, DownError>> {
    Box::pin(async move {
        let down = Down::new(session, options);
        let result = options.cancel.guard(sort(&down, &mut jobs)).await.unwrap_or(Err(DownError::Interrupted));
        jobs.close();
        result?;
        let syncing = Arc::clone(&down);
        spawn_blocking(move || syncing.sync_now()).await.map_err(|panic| DownError::Bug(panic.to_string()))??;
        let report = *down.report.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(report)
    })
}

/// Gives each job to whom its size belongs, and waits for all; the first failure that makes going on senseless ends it.
async fn sort(down: &Arc<Down>, jobs: &mut mpsc::Receiver<GetJob>) -> Result<(), DownError> {
    let mut tasks: JoinSet<Result<(), DownError>> = JoinSet::new();
    let (files, groups) = (Arc::new(Semaphore::new(FILES_AT_ONCE)), Arc::new(Semaphore::new(GROUPS_AT_ONCE)));
    let (mut arrived, mut small, mut more) = (Vec::new(), Vec::new(), true);
    while more || !small.is_empty() {
        let room = GROUP - small.len();
        let pause = if more && small.len() < ENOUGH { GROUP_PATIENCE } else { Duration::ZERO };
        tokio::select! {
            biased;
            permit = place(&groups, pause), if !small.is_empty() => {
                let (down, group) = (Arc::clone(down), std::mem::take(&mut small));
                tasks.spawn(async move {
                    let _permit = permit?;
                    small::get(&down, group).await
                });
            }
            count = jobs.recv_many(&mut arrived, room), if more && room > 0 => more = count > 0,
        }
        for job in arrived.drain(..) {
            if small::is_small(&job) {
                small.push(job);
                continue;
            }
            let in_order = matches!(job.target, Target::Writer(_));
            let permit = Arc::clone(&files).acquire_owned().await;
            let down = Arc::clone(down);
            let work = async move {
                let _permit = permit;
                let shown = job.shown.clone();
                let result = file::get(&down, job).await;
                down.counted(&shown, result)
            };
            // Several files into one writer come one after another.
            if in_order {
                work.await?;
            } else {
                tasks.spawn(work);
            }
        }
        while let Some(done) = tasks.try_join_next() {
            done.map_err(|panic| DownError::Bug(panic.to_string()))??;
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|panic| DownError::Bug(panic.to_string()))??;
    }
    Ok(())
}

/// A place for one more group, after a pause in which more of its files may come.
async fn place(groups: &Arc<Semaphore>, pause: Duration) -> Result<OwnedSemaphorePermit, DownError> {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
    Arc::clone(groups).acquire_owned().await.map_err(|closed| DownError::Bug(closed.to_string()))
}
