//! Read: ranges of shards as `Bytes`, straight from the disk's pages without a copy; and reads that check.

use std::sync::Arc;

use bytes::Bytes;
use common::address::Addresser;
use common::inventory::Sums;

use super::buffer::{Buffer, RUN};
use super::error::StoreError;
use super::index::{Entry, ShardInfo, ShardKey, ShardState};
use super::record::{Kind, PAGE};
use super::segment::{lock, segment_name};
use super::shard::VerifiedShard;
use super::{Inner, Store};

/// Reads up to this length go through the page cache: files that are wanted again and again then cost no disk. Above it the copy
/// costs more, and what is read once would push out what is read often.
const CACHED: usize = 64 << 10;

/// How the bytes of a shard come from the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The disk's own bytes, whatever is in memory.
    Direct,
    /// Through the page cache.
    Cached,
}

/// Part of a buffer; the buffer returns to its pool, and its permit to the budget, when the last `Bytes` of it is dropped.
struct Range {
    buffer: Buffer,
    from: usize,
    to: usize,
}

impl AsRef<[u8]> for Range {
    fn as_ref(&self) -> &[u8] {
        self.buffer.first().get(self.from..self.to).unwrap_or_default()
    }
}

/// What a check of a shard found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    Whole,
    /// It is in quarantine now.
    Damaged,
    /// It is not here any more.
    Gone,
}

/// The disk has lost it, by its own word or because its file is too short; anything else may pass.
fn is_lost(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        || error.kind() == std::io::ErrorKind::UnexpectedEof
}

impl Store {
    /// What is known of a shard, in whatever state it is.
    #[must_use]
    pub fn get(&self, key: ShardKey) -> Option<ShardInfo> {
        lock(&self.inner.index).info(&key)
    }

    /// The next shards after a key, in whatever state, at most `limit`; for inventories.
    #[must_use]
    pub fn list(&self, after: Option<ShardKey>, limit: usize) -> Vec<ShardInfo> {
        lock(&self.inner.index).list(after, limit)
    }

    /// One page of one part of the inventory, in whatever state, and whether there is more.
    #[must_use]
    pub fn list_part(&self, part: u8, after: Option<ShardKey>, limit: usize) -> (Vec<ShardInfo>, bool) {
        let (mut found, mut behind) = (Vec::new(), after);
        loop {
            behind = lock(&self.inner.index).list_part(part, behind, limit.saturating_add(1), &mut found);
            if behind.is_none() || found.len() > limit {
                let more = found.len() > limit;
                found.truncate(limit);
                return (found, more);
            }
        }
    }

    /// The sums over all live shards, as of one instant.
    #[must_use]
    pub fn sums(&self) -> Sums {
        lock(&self.inner.index).sums().clone()
    }

    /// Bytes `offset..offset + len` of a shard that is live or in the trash, at most 1 MiB. Waits until the readers' budget
    /// has room. Cancel-safe.
    ///
    /// The bytes are as the disk has them: who needs to know asks [`verify`](Self::verify), and a client checks its own digest.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Quarantined`], [`StoreError::OutOfRange`], [`StoreError::TooLong`],
    /// [`StoreError::Io`].
    pub async fn read(&self, key: ShardKey, offset: u64, len: usize) -> Result<Bytes, StoreError> {
        let way = if len <= CACHED { Way::Cached } else { Way::Direct };
        loop {
            let entry = self.readable(key)?;
            match self.read_entry(key, entry, offset, len, way).await {
                Err(_) if self.is_elsewhere(key, entry) => {} // it was rewritten meanwhile
                read => return read,
            }
        }
    }

    fn is_elsewhere(&self, key: ShardKey, entry: Entry) -> bool {
        let now = lock(&self.inner.index).get(&key);
        now.is_some_and(|now| now.place != entry.place)
    }

    /// All of a shard, checked, in memory that can go to disk as it is.
    pub(super) async fn copy_of(&self, key: ShardKey, entry: Entry) -> Result<VerifiedShard, StoreError> {
        let len = entry.body_len as usize;
        let mut room = self.reserve(len).await?;
        for offset in (0..len).step_by(RUN) {
            let bytes = self.read_entry(key, entry, offset as u64, RUN.min(len - offset), Way::Direct).await?;
            let taken = tokio::task::spawn_blocking(move || room.extend_from_slice(&bytes).map(|()| room));
            room = taken.await.map_err(|_| StoreError::Stopped)??;
        }
        room.finish(key.address)
    }

    /// Reads all of a shard and checks its SHA-1. One that fails goes into quarantine, durably, and is never served again.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn verify(&self, key: ShardKey) -> Result<(), StoreError> {
        let entry = self.readable(key)?;
        let mut addresser = Addresser::new();
        for offset in (0..entry.body_len as usize).step_by(RUN) {
            let len = RUN.min(entry.body_len as usize - offset);
            let bytes = self.read_entry(key, entry, offset as u64, len, Way::Direct).await?;
            let hashed = tokio::task::spawn_blocking(move || {
                addresser.update(&bytes);
                addresser
            });
            addresser = hashed.await.map_err(|_| StoreError::Stopped)?;
        }
        if addresser.finish() == key.address {
            return Ok(());
        }
        tracing::error!(shard = key.address.short(), "a shard's bytes have changed; it goes into quarantine");
        self.run_writer(move |inner| inner.quarantine(key, entry)).await?;
        Err(StoreError::Quarantined { address: key.address })
    }

    /// Verifies a shard; one that cannot be read, twice in a row, is put aside as well.
    ///
    /// # Errors
    /// When it could not be checked, or not be put aside.
    pub async fn scrub(&self, key: ShardKey) -> Result<Found, StoreError> {
        let mut last = None;
        for _ in 0..2 {
            match self.verify(key).await {
                Ok(()) => return Ok(Found::Whole),
                Err(StoreError::NotFound { .. }) => return Ok(Found::Gone),
                Err(StoreError::Quarantined { .. }) => return Ok(Found::Damaged),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(StoreError::Io { path, source }) if is_lost(&source) => {
                let shard = key.address.short();
                tracing::error!(shard, path = %path.display(), error = %source, "a shard cannot be read; it goes into quarantine");
                let entry = self.readable(key)?;
                self.run_writer(move |inner| inner.quarantine(key, entry)).await?;
                Ok(Found::Damaged)
            }
            error => error.map_or(Ok(Found::Whole), Err),
        }
    }

    /// Whether readers have less than half of their memory left.
    #[must_use]
    pub fn is_read_heavily(&self) -> bool {
        self.inner.outgoing.is_half_out()
    }

    fn readable(&self, key: ShardKey) -> Result<Entry, StoreError> {
        let found = lock(&self.inner.index).get(&key);
        let entry = found.ok_or(StoreError::NotFound { address: key.address })?;
        match entry.state {
            ShardState::Live | ShardState::Trash { .. } => Ok(entry),
            ShardState::Quarantined { .. } => Err(StoreError::Quarantined { address: key.address }),
        }
    }

    async fn read_entry(
        &self,
        key: ShardKey,
        entry: Entry,
        offset: u64,
        len: usize,
        way: Way,
    ) -> Result<Bytes, StoreError> {
        let shard = u64::from(entry.body_len);
        if offset.checked_add(len as u64).is_none_or(|end| end > shard) {
            return Err(StoreError::OutOfRange { offset, len: len as u64, shard });
        }
        if len > RUN {
            return Err(StoreError::TooLong { wanted: len, limit: RUN });
        }
        if len == 0 {
            return Ok(Bytes::new());
        }
        let start = entry.body_offset(offset);
        let aligned = start / PAGE as u64 * PAGE as u64;
        let from = usize::try_from(start - aligned).unwrap_or(0);
        let to = from + len;
        let pages = to.next_multiple_of(PAGE);
        let mut buffer = self.inner.outgoing.take(pages).await?;
        if way == Way::Cached
            && let Some(file) = self.inner.files.opened(entry.place.segment)
            && file.read_at_once(buffer.first_mut().get_mut(..pages).unwrap_or_default(), aligned)
        {
            self.inner.is_still(key, entry)?;
            return Ok(Bytes::from_owner(Range { buffer, from, to }));
        }
        let inner = Arc::clone(&self.inner);
        let job = tokio::task::spawn_blocking(move || {
            let room = buffer.first_mut().get_mut(..pages).unwrap_or_default();
            inner.read_pages(entry.place.segment, room, aligned, way)?;
            inner.is_still(key, entry)?;
            Ok(Bytes::from_owner(Range { buffer, from, to }))
        });
        job.await.map_err(|_| StoreError::Stopped)?
    }
}

impl Inner {
    /// After a read: pages are given back only after the index has forgotten them, so what is still there now was there all the time.
    fn is_still(&self, key: ShardKey, entry: Entry) -> Result<(), StoreError> {
        let now = lock(&self.index).get(&key);
        if now.is_none_or(|now| now.place != entry.place) {
            return Err(StoreError::NotFound { address: key.address });
        }
        Ok(())
    }

    fn read_pages(&self, segment: u32, room: &mut [u8], offset: u64, way: Way) -> Result<(), StoreError> {
        let read = self.files.get(segment).and_then(|file| match way {
            Way::Direct => file.read_at(room, offset),
            Way::Cached => file.read_cached_at(room, offset),
        });
        read.map_err(|source| StoreError::Io { path: self.disk.path(&segment_name(segment)), source })
    }

    /// Notes that the body at this very place is broken; a newer one of the same shard is not concerned.
    fn quarantine(&self, key: ShardKey, broken: Entry) -> Result<(), StoreError> {
        self.note(key, Kind::Quarantined, |now| {
            now.place == broken.place && !matches!(now.state, ShardState::Quarantined { .. })
        })
    }
}
