//! Txn: what one decision reads and writes. Reads see the decision's own writes, and become the checks of its commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Stop;
use crate::kv::{self, Check, Store, Write};
use crate::schema::key::Range;
use crate::schema::{Key, Record, record};

/// A record as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<R> {
    pub record: R,
    /// The sequence of the commit that wrote it: since when it is current. 0 when this very decision wrote it.
    pub version: u64,
}

/// What was read of one key.
struct Seen {
    value: Option<Vec<u8>>,
    version: Option<u64>,
    checked: bool,
}

/// Reads of, and changes to, the store that belong together.
pub struct Txn {
    store: Arc<dyn Store>,
    /// The last commit before anything was read.
    read_at: u64,
    seen: BTreeMap<Vec<u8>, Seen>,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Written keys whose version stays what it was.
    amended: BTreeMap<Vec<u8>, u64>,
}

impl Txn {
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        let read_at = store.last_sequence();
        Self { store, read_at, seen: BTreeMap::new(), writes: BTreeMap::new(), amended: BTreeMap::new() }
    }

    /// Whether there is anything to commit.
    #[must_use]
    pub fn changes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Everything was read at this sequence or later.
    #[must_use]
    pub fn read_at(&self) -> u64 {
        self.read_at
    }

    /// Sequence number of the last commit.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.store.last_sequence()
    }

    /// Reads a record; the commit holds only if it is still the same then.
    ///
    /// # Errors
    /// When the store cannot be read, or holds something else there; likewise for the other reads.
    pub async fn read<R: Record>(&mut self, key: &Key<R>) -> Result<Option<Found<R>>, Stop> {
        self.fetch(std::slice::from_ref(key)).await?;
        self.take(key, true)
    }

    /// Reads a record without resting the commit on it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn peek<R: Record>(&mut self, key: &Key<R>) -> Result<Option<Found<R>>, Stop> {
        self.fetch(std::slice::from_ref(key)).await?;
        self.take(key, false)
    }

    /// Reads many records in one go; see [`read`](Self::read).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_all<R: Record>(&mut self, keys: &[Key<R>]) -> Result<Vec<Option<Found<R>>>, Stop> {
        self.fetch(keys).await?;
        keys.iter().map(|key| self.take(key, true)).collect()
    }

    /// Looks at many records in one go; see [`peek`](Self::peek).
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn peek_all<R: Record>(&mut self, keys: &[Key<R>]) -> Result<Vec<Option<Found<R>>>, Stop> {
        self.fetch(keys).await?;
        keys.iter().map(|key| self.take(key, false)).collect()
    }

    /// Brings records near in one go, so that reading them one by one costs nothing.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn fetch<R>(&mut self, keys: &[Key<R>]) -> Result<(), Stop> {
        let missing: Vec<&[u8]> = keys.iter().map(Key::bytes).filter(|key| !self.seen.contains_key(*key)).collect();
        for part in missing.chunks(common::limits::TRANSACTION_WRITES) {
            let entries = self.store.get(part).await?;
            for (key, entry) in part.iter().zip(entries) {
                let (value, version) = entry.map_or((None, None), |entry| (Some(entry.value), Some(entry.version)));
                self.seen.insert(key.to_vec(), Seen { value, version, checked: false });
            }
        }
        Ok(())
    }

    fn take<R: Record>(&mut self, key: &Key<R>, checked: bool) -> Result<Option<Found<R>>, Stop> {
        if let Some(written) = self.writes.get(key.bytes()) {
            let Some(value) = written else { return Ok(None) };
            return Ok(Some(Found { record: record::decode(value)?, version: 0 }));
        }
        let Some(seen) = self.seen.get_mut(key.bytes()) else { return Ok(None) };
        seen.checked |= checked;
        let (Some(value), Some(version)) = (&seen.value, seen.version) else { return Ok(None) };
        Ok(Some(Found { record: record::decode(value)?, version }))
    }

    /// Scans a part of a range, without this decision's own writes and without resting the commit on it.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn scan<R: Record>(&self, range: &Range<R>, limit: usize) -> Result<kv::Page, Stop> {
        Ok(self.store.scan(&range.from, &range.to, limit).await?)
    }

    /// The same from the end of the range backwards.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn scan_back<R: Record>(&self, range: &Range<R>, limit: usize) -> Result<kv::Page, Stop> {
        Ok(self.store.scan_back(&range.from, &range.to, limit).await?)
    }

    /// # Errors
    /// When the record is too long.
    pub fn put<R: Record>(&mut self, key: &Key<R>, value: &R) -> Result<(), Stop> {
        self.writes.insert(key.bytes().to_vec(), Some(record::encode(value)?));
        Ok(())
    }

    /// Puts another form of a record in the place of the one of this version, which was [read](Self::read) in this decision and not written: it
    /// stays as old as it was.
    ///
    /// # Errors
    /// When the record is too long.
    pub fn amend<R: Record>(&mut self, key: &Key<R>, version: u64, value: &R) -> Result<(), Stop> {
        self.put(key, value)?;
        self.amended.insert(key.bytes().to_vec(), version);
        Ok(())
    }

    pub fn delete<R: Record>(&mut self, key: &Key<R>) {
        self.writes.insert(key.bytes().to_vec(), None);
    }

    /// What is to be committed.
    #[must_use]
    pub fn into_commit(self) -> (Vec<Check>, Vec<Write>) {
        let checks = self.seen.into_iter().filter(|(_, seen)| seen.checked);
        let checks = checks.map(|(key, seen)| Check { key, version: seen.version }).collect();
        let (writes, amended) = (self.writes.into_iter(), self.amended);
        let writes = writes.map(|(key, value)| match (value, amended.get(&key)) {
            (Some(value), Some(version)) => Write::Amend { key, value, version: *version },
            (Some(value), None) => Write::Put { key, value },
            (None, _) => Write::Delete { key },
        });
        (checks, writes.collect())
    }
}
