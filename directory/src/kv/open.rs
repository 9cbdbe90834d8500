//! Open: from a data folder to a store that can go on: lock, format, trust in the index, replay, a clean end of the journal.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::id::ClusterId;
use tracing::{info, warn};

use super::Write;
use super::embedded::Options;
use super::folder::{self, Lock, State};
use super::journal::append::Appender;
use super::journal::disk::Disk;
use super::journal::replay::{self, End, Torn};
use super::journal::segment;
use super::journal::{BATCH_BYTES, JournalError, Position, Record};
use super::reached::{self, Reached};
use super::sled::{Index, IndexError, Standing};

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{path} cannot be used")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("data folder {path} is in use by process {pid}")]
    InUse { path: PathBuf, pid: String },
    #[error("data folder {path} has format {found}, and this program knows formats up to {known}")]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("data folder {path} belongs to cluster {found}, not to {expected}")]
    Foreign { path: PathBuf, found: ClusterId, expected: ClusterId },
    #[error("{path} is not what this program writes there")]
    Malformed { path: PathBuf },
    /// Restore the journal; or, to go on with what there is, remove the file `state`.
    #[error("the journal ends at commit {found}, but had reached {recorded}: commits are missing")]
    JournalShort { recorded: u64, found: u64 },
    #[error("the journal cannot be read")]
    Journal(#[from] JournalError),
    #[error("the index can neither be opened nor rebuilt")]
    Index(#[source] IndexError),
}

pub(crate) struct Opened {
    pub(crate) lock: Lock,
    pub(crate) index: Index,
    pub(crate) appender: Appender,
    pub(crate) reached: Reached,
    pub(crate) segments: u64,
    /// Bytes of all segments but the last.
    pub(crate) older_bytes: u64,
}

/// What a test replaces.
pub(crate) struct World {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) boot: Option<String>,
}

pub(crate) fn index_path(dir: &Path) -> PathBuf {
    dir.join("index")
}

pub(crate) fn journal_path(dir: &Path) -> PathBuf {
    dir.join("journal")
}

pub(crate) fn open(dir: &Path, cluster: ClusterId, options: &Options, world: &World) -> Result<Opened, OpenError> {
    folder::make(dir)?;
    let lock = Lock::take(dir)?;
    folder::check_format(dir, cluster)?;
    folder::make(&journal_path(dir))?;
    let disk = world.disk.as_ref();
    let firsts = replay::segments(disk)?;
    let state = State::read(dir)?;
    let last = state.as_ref().map_or(Position::start(&cluster), |state| state.last);
    if state.is_none() {
        reached::forget(dir).map_err(folder::io_at(dir))?;
    }
    let recorded = last.sequence.max(reached::read(dir).map_err(folder::io_at(dir))?);
    if firsts.is_empty() && recorded > 0 {
        return Err(OpenError::JournalShort { recorded, found: 0 });
    }

    let index = index_path(dir);
    if index.exists() && !is_trusted(state.as_ref(), world.boot.as_deref()) {
        let aside = folder::set_aside(dir, &index)?;
        warn!(?aside, "the machine went down while the directory ran: the index is rebuilt from the journal");
    }
    // Before sled touches a file; and only after an index of an earlier boot is out of the way.
    let boot = world.boot.clone().unwrap_or_else(|| "unknown".into());
    State { running: Some(boot), last }.write(dir)?;

    let attempt = || catch_up(disk, cluster, &firsts, &index, options, recorded);
    let (index, end) = match attempt() {
        Err(Failure::Index(error)) if index.exists() && !error.is_full_disk() => {
            let aside = folder::set_aside(dir, &index)?;
            let error: &dyn std::error::Error = &error;
            warn!(error, ?aside, "the index is of no use: it is rebuilt from the journal");
            attempt()?
        }
        other => other?,
    };
    if let Some(torn) = end.torn {
        warn!(?torn, last = end.last.sequence, "an unfinished record at the journal's end is cut away");
    }
    let appender = Appender::open(world.disk.clone(), cluster, options.segment_bytes.0, &end)?;
    let reached = Reached::open(dir, end.last.sequence).map_err(folder::io_at(dir))?;
    let mut older_bytes = 0;
    let segments = replay::segments(disk)?;
    for first in segments.split_last().map_or(&[][..], |(_, older)| older) {
        older_bytes += replay::length(disk, *first)?;
    }
    info!(last = end.last.sequence, segments = segments.len(), "key-value store is open");
    Ok(Opened { lock, index, appender, reached, segments: segments.len() as u64, older_bytes })
}

fn is_trusted(state: Option<&State>, boot: Option<&str>) -> bool {
    match state {
        None => false,
        Some(State { running: None, .. }) => true,
        Some(State { running: Some(then), .. }) => boot == Some(then),
    }
}

enum Failure {
    /// Another index may do.
    Index(IndexError),
    Open(OpenError),
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self::Open(error.into())
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl From<Failure> for OpenError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Index(error) => Self::Index(error),
            Failure::Open(error) => error,
        }
    }
}

/// Opens the index and applies what the journal has beyond it. Reads the journal from the segment in which the index stands.
fn catch_up(
    disk: &dyn Disk,
    cluster: ClusterId,
    firsts: &[u64],
    path: &Path,
    options: &Options,
    recorded: u64,
) -> Result<(Index, End), Failure> {
    let index = Index::open(path, options.index_cache)?;
    let start = Position::start(&cluster);
    let Standing { complete: applied, begun } = index.standing()?.unwrap_or(Standing { complete: start, begun: start });
    let behind = firsts.partition_point(|first| *first <= applied.sequence).saturating_sub(1);
    let mut group = Group { index: &index, commits: Vec::new(), bytes: 0, last: applied };
    let end = replay::replay(disk, cluster, firsts.get(behind..).unwrap_or_default(), |record| {
        let foreign = |position: &Position| record.sequence == position.sequence && record.chain != position.chain;
        if [applied, begun].iter().any(foreign) {
            return Err(Failure::Index(IndexError::Foreign { sequence: record.sequence }));
        }
        if record.sequence > applied.sequence { group.push(record) } else { Ok(()) }
    })?;
    group.finish()?;
    let last = end.last.sequence;
    if last < begun.sequence.max(recorded) && end.torn == Some(Torn::Garbled) {
        // Whole once, since it was applied or recorded after its sync: damage, and not what a crash leaves behind.
        let (file, offset) = end.segment.map_or((String::new(), 0), |open| (segment::name(open.first), open.offset));
        let what = "its last records are wrong, and had been acknowledged";
        return Err(JournalError::Damaged { file, offset, what }.into());
    }
    if last < recorded {
        return Err(Failure::Open(OpenError::JournalShort { recorded, found: last }));
    }
    if last < begun.sequence {
        return Err(IndexError::Ahead { applied: begun.sequence, journal: last }.into());
    }
    Ok((index, end))
}

/// Applies replayed commits some at a time.
struct Group<'a> {
    index: &'a Index,
    commits: Vec<(u64, Vec<Write>)>,
    bytes: usize,
    last: Position,
}

impl Group<'_> {
    fn push(&mut self, record: Record) -> Result<(), Failure> {
        self.bytes += record.writes.iter().map(|write| write.key().len() + write.value_len() + 64).sum::<usize>();
        self.last = Position { sequence: record.sequence, chain: record.chain };
        self.commits.push((record.sequence, record.writes));
        if self.bytes >= BATCH_BYTES { self.finish() } else { Ok(()) }
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.bytes = 0;
        if self.commits.is_empty() {
            return Ok(());
        }
        Ok(self.index.apply(self.commits.drain(..), self.last)?)
    }
}
