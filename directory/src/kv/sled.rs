//! Index: the entries as the journal's commits left them, in sled. Derived from the journal, and rebuilt when in doubt.
//!
//! sled's own durability is not used: what it has not kept is replayed, and what it cannot be trusted with is thrown away. The
//! entries and the journal's position up to which they are complete change in one atomic batch. Readers and the one writer
//! exclude each other by a lock, so that a read of several keys sees one snapshot.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use ::sled::{Batch, Config, Db, IVec};
use common::size::ByteSize;

use super::journal::{Chain, Position};
use super::{Entry, Page, Pager, StoreError, Write};

/// The only empty key: where the index stands. No entry can have it.
const POSITION: &[u8] = b"";
const POSITION_FORMAT: u8 = 1;
/// Bytes in front of a value: its version.
const VERSION_BYTES: usize = 8;
const FLUSH_EVERY_MS: u64 = 1_000;
/// A store that was just dropped lets go of sled's own lock a little later.
const LOCK_TRIES: usize = 250;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why the index is of no use.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("sled failed")]
    Sled(#[source] ::sled::Error),
    #[error("sled panicked: {message}")]
    Panicked { message: String },
    #[error("it does not say up to where it is complete")]
    NoPosition,
    #[error("it was made from another journal: commit {sequence} has another chain hash")]
    Foreign { sequence: u64 },
    #[error("it has commit {applied}, and the journal ends at {journal}")]
    Ahead { applied: u64, journal: u64 },
    #[error("it is closed")]
    Closed,
}

impl IndexError {
    /// A full disk is no reason to throw an index away.
    pub(crate) fn is_full_disk(&self) -> bool {
        matches!(self, Self::Sled(::sled::Error::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull)
    }
}

pub(crate) struct Index {
    db: RwLock<Option<Db>>,
}

impl Index {
    pub(crate) fn open(path: &Path, cache: ByteSize) -> Result<Self, IndexError> {
        let open = || Config::new().path(path).cache_capacity(cache.0).flush_every_ms(Some(FLUSH_EVERY_MS)).open();
        for _ in 0..LOCK_TRIES {
            match guarded(open)? {
                Err(::sled::Error::Io(error)) if error.to_string().contains("could not acquire lock") => {
                    thread::sleep(LOCK_PAUSE);
                }
                Err(error) => return Err(IndexError::Sled(error)),
                Ok(db) => return Ok(Self { db: RwLock::new(Some(db)) }),
            }
        }
        Err(IndexError::Panicked { message: "its lock is held".into() })
    }

    /// Up to where it is complete; `None` when it is empty.
    pub(crate) fn position(&self) -> Result<Option<Position>, IndexError> {
        let guard = self.db.read().map_err(|_| IndexError::Closed)?;
        let db = guard.as_ref().ok_or(IndexError::Closed)?;
        guarded(|| {
            let Some(bytes) = db.get(POSITION).map_err(IndexError::Sled)? else {
                let empty = db.iter().next().is_none();
                return if empty { Ok(None) } else { Err(IndexError::NoPosition) };
            };
            decode_position(&bytes).map(Some).ok_or(IndexError::NoPosition)
        })?
    }

    /// Applies commits in order, atomically with the position behind them.
    pub(crate) fn apply(
        &self,
        commits: impl IntoIterator<Item = (u64, Vec<Write>)>,
        position: Position,
    ) -> Result<(), IndexError> {
        let mut batch = Batch::default();
        for (sequence, writes) in commits {
            for write in writes {
                let version = write.version_after(sequence).unwrap_or(sequence);
                match write {
                    Write::Put { key, value } | Write::Amend { key, value, .. } => {
                        let mut stored = Vec::with_capacity(VERSION_BYTES + value.len());
                        stored.extend_from_slice(&version.to_le_bytes());
                        stored.extend_from_slice(&value);
                        batch.insert(key, stored);
                    }
                    Write::Delete { key } => batch.remove(key),
                }
            }
        }
        batch.insert(POSITION, encode_position(position));
        let guard = self.db.write().map_err(|_| IndexError::Closed)?;
        let db = guard.as_ref().ok_or(IndexError::Closed)?;
        db.apply_batch(batch).map_err(IndexError::Sled)
    }

    pub(crate) fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.read(|db| {
            let mut entries = Vec::with_capacity(keys.len());
            for key in keys {
                let found = if key.is_empty() { None } else { db.get(key).map_err(failed)? };
                entries.push(found.map(|stored| entry(key, &stored)).transpose()?);
            }
            Ok(entries)
        })
    }

    /// The version of a key, for the checks of a commit.
    pub(crate) fn version(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        self.read(|db| {
            let found = db.get(key).map_err(failed)?;
            found.map(|stored| Ok(split(key, &stored)?.0)).transpose()
        })
    }

    pub(crate) fn scan(&self, from: &[u8], to: &[u8], limit: usize, back: bool) -> Result<Page, StoreError> {
        let mut pager = Pager::new(limit);
        if from >= to {
            return Ok(pager.page);
        }
        let from = if from.is_empty() { Bound::Excluded(from) } else { Bound::Included(from) };
        self.read(|db| {
            let mut range = db.range::<&[u8], _>((from, Bound::Excluded(to)));
            while let Some(found) = if back { range.next_back() } else { range.next() } {
                let (key, stored) = found.map_err(failed)?;
                if !pager.takes((key.len() + stored.len()).saturating_sub(VERSION_BYTES)) {
                    break;
                }
                pager.page.entries.push(entry(&key, &stored)?);
            }
            Ok(pager.page)
        })
    }

    /// Lets sled write everything and let go of its files; every later use is refused.
    pub(crate) fn close(&self) -> Result<(), IndexError> {
        let db = self.db.write().map_err(|_| IndexError::Closed)?.take().ok_or(IndexError::Closed)?;
        db.flush().map_err(IndexError::Sled)?;
        drop(db);
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&Db) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // A poisoned lock: the writer panicked in the middle of a batch, and half of it might be seen.
        let stopped = |reason: &str| StoreError::Stopped { reason: reason.into() };
        let guard = self.db.read().map_err(|_| stopped("the index failed while it was written"))?;
        look(guard.as_ref().ok_or_else(|| stopped("it was closed"))?)
    }
}

fn failed(error: ::sled::Error) -> StoreError {
    StoreError::Index(Arc::new(error))
}

fn split<'a>(key: &[u8], stored: &'a IVec) -> Result<(u64, &'a [u8]), StoreError> {
    let (version, value) =
        stored.split_first_chunk::<VERSION_BYTES>().ok_or_else(|| StoreError::Malformed { key: key.to_vec() })?;
    Ok((u64::from_le_bytes(*version), value))
}

fn entry(key: &[u8], stored: &IVec) -> Result<Entry, StoreError> {
    let (version, value) = split(key, stored)?;
    Ok(Entry { key: key.to_vec(), value: value.to_vec(), version })
}

fn encode_position(position: Position) -> Vec<u8> {
    let mut out = vec![POSITION_FORMAT];
    out.extend_from_slice(&position.sequence.to_le_bytes());
    out.extend_from_slice(&position.chain.0);
    out
}

fn decode_position(bytes: &[u8]) -> Option<Position> {
    let (format, rest) = bytes.split_first()?;
    let (sequence, chain) = rest.split_first_chunk::<8>()?;
    let chain = Chain(chain.try_into().ok()?);
    (*format == POSITION_FORMAT).then_some(Position { sequence: u64::from_le_bytes(*sequence), chain })
}

/// sled panics on some kinds of damage; here that is one more error.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        IndexError::Panicked { message: text.unwrap_or_default() }
    })
}
