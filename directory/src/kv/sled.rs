//! Index: the entries as the journal's commits left them, in sled. Derived from the journal, and rebuilt when in doubt.
//!
//! sled's own durability is not used: what it has not kept is replayed, and what it cannot be trusted with is thrown away. Commits are
//! written in the order of their keys, which is cheaper than sled's batches; before them goes the position that they lead to, and behind them
//! that the index is complete up to there. What a process that ends in between leaves is written again from the journal, and a journal that
//! has less than was begun is noticed. Readers and the one writer exclude each other by a lock, so that a read of several keys sees one
//! snapshot.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use ::sled::{Config, Db, IVec};
use common::size::ByteSize;

use super::journal::{Chain, Position};
use super::{Entry, Page, Pager, StoreError, Write};

/// The only empty key: where the index stands. No entry can have it.
pub(crate) const POSITION: &[u8] = b"";
const POSITION_FORMAT: u8 = 2;
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

/// Where an index stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Every commit up to here is in it.
    pub(crate) complete: Position,
    /// And of those up to here there may be parts.
    pub(crate) begun: Position,
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

    /// Where it stands; `None` when it is empty.
    pub(crate) fn standing(&self) -> Result<Option<Standing>, IndexError> {
        let guard = self.db.read().map_err(|_| IndexError::Closed)?;
        let db = guard.as_ref().ok_or(IndexError::Closed)?;
        guarded(|| {
            let Some(bytes) = db.get(POSITION).map_err(IndexError::Sled)? else {
                let empty = db.iter().next().is_none();
                return if empty { Ok(None) } else { Err(IndexError::NoPosition) };
            };
            decode_standing(&bytes).map(Some).ok_or(IndexError::NoPosition)
        })?
    }

    /// Applies commits, which follow each other, and says that it is complete up to the position behind them. What it has of them when this
    /// fails, or the process ends, is to be applied again.
    pub(crate) fn apply(
        &self,
        commits: impl IntoIterator<Item = (u64, Vec<Write>)>,
        behind: Position,
    ) -> Result<(), IndexError> {
        let mut changes: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        for (sequence, writes) in commits {
            for write in writes {
                let version = write.version_after(sequence).unwrap_or(sequence);
                changes.push(match write {
                    Write::Put { key, value } | Write::Amend { key, value, .. } => {
                        let mut stored = Vec::with_capacity(VERSION_BYTES + value.len());
                        stored.extend_from_slice(&version.to_le_bytes());
                        stored.extend_from_slice(&value);
                        (key, Some(stored))
                    }
                    Write::Delete { key } => (key, None),
                });
            }
        }
        changes.sort_by(|one, other| one.0.cmp(&other.0)); // stable: of several changes of a key the last one counts
        let guard = self.db.write().map_err(|_| IndexError::Closed)?;
        let db = guard.as_ref().ok_or(IndexError::Closed)?;
        apply(db, changes, behind).map_err(IndexError::Sled)
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

fn apply(db: &Db, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>, behind: Position) -> ::sled::Result<()> {
    // A new index has no position before its first commits are in it, and is made anew if that is all.
    if let Some(Standing { complete, .. }) = db.get(POSITION)?.and_then(|bytes| decode_standing(&bytes)) {
        db.insert(POSITION, encode_standing(Standing { complete, begun: behind }))?;
    }
    for (key, stored) in changes {
        match stored {
            Some(stored) => drop(db.insert(key, stored)?),
            None => drop(db.remove(key)?),
        }
    }
    db.insert(POSITION, encode_standing(Standing { complete: behind, begun: behind }))?;
    Ok(())
}

pub(crate) fn encode_standing(standing: Standing) -> Vec<u8> {
    let mut out = vec![POSITION_FORMAT];
    for position in [standing.complete, standing.begun] {
        out.extend_from_slice(&position.sequence.to_le_bytes());
        out.extend_from_slice(&position.chain.0);
    }
    out
}

fn decode_standing(bytes: &[u8]) -> Option<Standing> {
    let (format, rest) = bytes.split_first()?;
    let (complete, begun) = rest.split_at_checked(rest.len() / 2)?;
    let position = |bytes: &[u8]| {
        let (sequence, chain) = bytes.split_first_chunk::<8>()?;
        Some(Position { sequence: u64::from_le_bytes(*sequence), chain: Chain(chain.try_into().ok()?) })
    };
    (*format == POSITION_FORMAT).then_some(Standing { complete: position(complete)?, begun: position(begun)? })
}

/// sled panics on some kinds of damage; here that is one more error.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        IndexError::Panicked { message: text.unwrap_or_default() }
    })
}
