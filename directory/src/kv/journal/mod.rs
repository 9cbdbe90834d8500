//! Journal: every commit, in order, hash-chained, in append-only segment files; the truth of the embedded engine.
//!
//! - [`record`] and [`segment`]: the layout, which docs/FORMATS.md describes;
//! - [`disk`]: the file operations, behind a trait; [`replay`]: reads and verifies; [`append`]: writes, and syncs in batches.
//!
//! Guarantees: what was appended and synced survives a power cut. Only the unsynced end of the last segment is ever cut
//! away; damage anywhere else is an error that names the file and the offset. The chain hash of a record commits to every
//! record before it.
//!
//! Non-goals: knowing what keys and values mean; protection against somebody who rewrites the whole journal.
//!
//! Sketch: a batch costs one write and one fdatasync (about 1 ms); CRC32C and BLAKE3 cost 0.2 ns a byte and vanish beside it.

pub(crate) mod append;
pub(crate) mod disk;
pub mod record;
pub(crate) mod replay;
pub(crate) mod segment;

use std::fmt;
use std::io;
use std::path::Path;

use common::id::ClusterId;
use common::limits::TRANSACTION_BYTES;

pub use record::Record;

/// Commits under one sync.
pub(crate) const BATCH_COMMITS: usize = 256;
/// A batch takes no further commit when it has so many bytes of records.
pub(crate) const BATCH_BYTES: usize = TRANSACTION_BYTES;
/// So many bytes at most are written between two syncs; more than this of garbage is no torn write.
const BATCH_BYTES_MAX: usize = BATCH_BYTES + record::FRAME_BYTES + record::BODY_BYTES;

/// The chain hash: BLAKE3 over the chain hash before and the record's body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Chain(pub [u8; 32]);

impl Chain {
    /// Where the chain of a cluster begins.
    #[must_use]
    pub fn genesis(cluster: &ClusterId) -> Self {
        Self(blake3::derive_key("shoal 2026 journal genesis", cluster.as_bytes()))
    }

    fn next(&self, body: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(body);
        Self(*hasher.finalize().as_bytes())
    }

    /// From the form that `Display` prints.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(*hash.as_bytes()))
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({self})")
    }
}

/// A point in the journal: behind this record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub sequence: u64,
    pub chain: Chain,
}

impl Position {
    /// Before the first record.
    #[must_use]
    pub fn start(cluster: &ClusterId) -> Self {
        Self { sequence: 0, chain: Chain::genesis(cluster) }
    }
}

/// What a journal has, for people and monitoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    pub segments: u64,
    pub bytes: u64,
    pub records: u64,
    pub last: Position,
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("journal file {file} cannot be used")]
    Io {
        file: String,
        #[source]
        source: io::Error,
    },
    #[error("journal file {file} is damaged at offset {offset}: {what}")]
    Damaged { file: String, offset: u64, what: &'static str },
    #[error("journal file {file} has format {found}, and this program knows formats up to {known}")]
    Newer { file: String, found: u16, known: u16 },
    #[error("journal file {file} belongs to cluster {found}, not to {expected}")]
    Foreign { file: String, found: ClusterId, expected: ClusterId },
    #[error("journal lacks commit {sequence}: the next file is {file}")]
    Gap { sequence: u64, file: String },
}

/// Reads a whole journal and verifies every checksum and the chain; changes nothing. For a data folder that is not in use.
///
/// An unfinished record at the very end is not an error: a crash leaves one, and the next start cuts it away.
///
/// # Errors
/// The first fault that there is.
pub fn verify(folder: &Path, cluster: ClusterId) -> Result<Statistics, JournalError> {
    let disk = disk::Folder { path: folder.to_owned() };
    let mut bytes = 0;
    let segments = replay::segments(&disk)?;
    for first in &segments {
        bytes += replay::length(&disk, *first)?;
    }
    let end = replay::replay(&disk, cluster, &segments, |_| Ok::<(), JournalError>(()))?;
    Ok(Statistics { segments: segments.len() as u64, bytes, records: end.last.sequence, last: end.last })
}
