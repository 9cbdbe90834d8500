//! Index: the entries as the journal's commits left them, in sled. Derived from the journal, and rebuilt when in doubt.
//!
//! sled's own durability is not used: what it has not kept is replayed, and what it cannot be trusted with is thrown away. Commits are
//! written in the order of their keys, which is cheaper than sled's batches; before them goes the position that they lead to, and behind them
//! that the index is complete up to there. What a process that ends in between leaves is written again from the journal, and a journal that
//! has less than was begun is noticed. While they are written readers see them already, whole, in memory; so nobody waits for a batch, and a
//! read of several keys sees one snapshot.

use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use ::sled::{Config, Db};
use common::size::ByteSize;

use super::changes::Changes;
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
    state: RwLock<Option<State>>,
}

/// What readers see: `changes` before what sled has.
#[derive(Clone)]
struct State {
    db: Db,
    changes: Arc<Changes>,
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
                Ok(db) => return Ok(Self { state: RwLock::new(Some(State { db, changes: Arc::default() })) }),
            }
        }
        Err(IndexError::Panicked { message: "its lock is held".into() })
    }

    /// Where it stands; `None` when it is empty.
    pub(crate) fn standing(&self) -> Result<Option<Standing>, IndexError> {
        let State { db, .. } = self.state()?;
        guarded(|| {
            let Some(bytes) = db.get(POSITION).map_err(IndexError::Sled)? else {
                let empty = db.iter().next().is_none();
                return if empty { Ok(None) } else { Err(IndexError::NoPosition) };
            };
            decode_standing(&bytes).map(Some).ok_or(IndexError::NoPosition)
        })?
    }

    /// Applies commits, which follow each other, and says that it is complete up to the position behind them. Readers see all of them from the
    /// beginning on. What it has of them when this fails, or the process ends, is to be applied again. One at a time.
    pub(crate) fn apply(
        &self,
        commits: impl IntoIterator<Item = (u64, Vec<Write>)>,
        behind: Position,
    ) -> Result<(), IndexError> {
        let mut changes = Vec::new();
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
        let changes = Arc::new(Changes::new(changes));
        self.show(Arc::clone(&changes))?;
        apply(&self.state()?.db, &changes, behind).map_err(IndexError::Sled)?; // what failed stays to be seen
        self.show(Arc::default())
    }

    fn show(&self, changes: Arc<Changes>) -> Result<(), IndexError> {
        let mut guard = self.state.write().map_err(|_| IndexError::Closed)?;
        guard.as_mut().ok_or(IndexError::Closed)?.changes = changes;
        Ok(())
    }

    fn state(&self) -> Result<State, IndexError> {
        let guard = self.state.read().map_err(|_| IndexError::Closed)?;
        guard.clone().ok_or(IndexError::Closed)
    }

    pub(crate) fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Entry>>, StoreError> {
        self.read(|state| keys.iter().map(|key| state.with(key, |stored| entry(key, stored))).collect())
    }

    /// The version of a key, for the checks of a commit.
    pub(crate) fn version(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        self.read(|state| state.with(key, |stored| Ok(split(key, stored)?.0)))
    }

    pub(crate) fn scan(&self, from: &[u8], to: &[u8], limit: usize, back: bool) -> Result<Page, StoreError> {
        let mut pager = Pager::new(limit);
        if from >= to {
            return Ok(pager.page);
        }
        self.read(|state| {
            let behind = if from.is_empty() { Bound::Excluded(from) } else { Bound::Included(from) };
            let mut theirs = state.db.range::<&[u8], _>((behind, Bound::Excluded(to)));
            let mut ours = state.changes.between(from, to);
            let mut their_next = || loop {
                match if back { theirs.next_back() } else { theirs.next() } {
                    Some(Ok((key, _))) if state.changes.get(&key).is_some() => {} // not what it is now
                    other => return other.transpose().map_err(failed),
                }
            };
            let mut our_next = || if back { ours.next_back() } else { ours.next() };
            let (mut theirs, mut ours) = (their_next()?, our_next());
            loop {
                let ours_is_next = match (&theirs, &ours) {
                    (None, None) => return Ok(pager.page),
                    (Some((their_key, _)), Some((our_key, _))) => (our_key < &&**their_key) != back,
                    (_, ours) => ours.is_some(),
                };
                let (key, stored) = match (&theirs, &ours) {
                    (Some((key, stored)), _) if !ours_is_next => (&**key, &**stored),
                    (_, Some((key, stored))) => (*key, *stored),
                    _ => return Ok(pager.page),
                };
                if !pager.takes((key.len() + stored.len()).saturating_sub(VERSION_BYTES)) {
                    return Ok(pager.page);
                }
                pager.page.entries.push(entry(key, stored)?);
                if ours_is_next {
                    ours = our_next();
                } else {
                    theirs = their_next()?;
                }
            }
        })
    }

    /// Lets sled write everything and let go of its files; every later use is refused.
    pub(crate) fn close(&self) -> Result<(), IndexError> {
        let state = self.state.write().map_err(|_| IndexError::Closed)?.take();
        let State { db, .. } = state.ok_or(IndexError::Closed)?;
        db.flush().map_err(IndexError::Sled)?;
        drop(db);
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let stopped = |reason: &str| StoreError::Stopped { reason: reason.into() };
        let guard = self.state.read().map_err(|_| stopped("the index failed while it was written"))?;
        look(guard.as_ref().ok_or_else(|| stopped("it was closed"))?)
    }
}

impl State {
    /// What is made of the stored value of a key, if it has one.
    fn with<T>(&self, key: &[u8], make: impl FnOnce(&[u8]) -> Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        if let Some(changed) = self.changes.get(key) {
            return changed.map(make).transpose();
        }
        let found = if key.is_empty() { None } else { self.db.get(key).map_err(failed)? };
        found.map(|stored| make(&stored)).transpose()
    }
}

fn failed(error: ::sled::Error) -> StoreError {
    StoreError::Index(Arc::new(error))
}

fn split<'a>(key: &[u8], stored: &'a [u8]) -> Result<(u64, &'a [u8]), StoreError> {
    let (version, value) =
        stored.split_first_chunk::<VERSION_BYTES>().ok_or_else(|| StoreError::Malformed { key: key.to_vec() })?;
    Ok((u64::from_le_bytes(*version), value))
}

fn entry(key: &[u8], stored: &[u8]) -> Result<Entry, StoreError> {
    let (version, value) = split(key, stored)?;
    Ok(Entry { key: key.to_vec(), value: value.to_vec(), version })
}

fn apply(db: &Db, changes: &Changes, behind: Position) -> ::sled::Result<()> {
    // A new index has no position before its first commits are in it, and is made anew if that is all.
    if let Some(Standing { complete, .. }) = db.get(POSITION)?.and_then(|bytes| decode_standing(&bytes)) {
        db.insert(POSITION, encode_standing(Standing { complete, begun: behind }))?;
    }
    for (key, stored) in changes.all() {
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
