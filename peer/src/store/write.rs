//! Write: a verified shard becomes a durable one; and the notes about shards: dropped, restored, in quarantine.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::buffer::Aligned;
use super::error::StoreError;
use super::index::{Entry, ShardKey, ShardState};
use super::record::{HEADER, Kind, PAGE, Place, Record, pages_of};
use super::segment::lock;
use super::shard::{ShardBuffer, ShardMeta, VerifiedShard};
use super::usage::check_room;
use super::{Inner, Store};

/// The shard is durable: it would survive a power cut from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// It was here before, and nothing was written.
    pub existed: bool,
}

impl Store {
    /// Memory for a shard of exactly `len` bytes. Waits until the buffers' budget has room; cancel-safe.
    ///
    /// # Errors
    /// [`StoreError::TooLong`], or [`StoreError::Full`] already now, before anything is sent.
    pub async fn reserve(&self, len: usize) -> Result<ShardBuffer, StoreError> {
        let limit = common::limits::SHARD_BYTES;
        if len > limit {
            return Err(StoreError::TooLong { wanted: len, limit });
        }
        check_room(self.inner.free()?, disk_bytes(len))?;
        let buffer = self.inner.incoming.take(HEADER + len).await?;
        Ok(ShardBuffer::new(buffer, len, Arc::clone(&self.inner.company)))
    }

    /// Writes a shard; returns when it is durable, and only then is it visible. A shard that is here already is not
    /// written again; one that is in the trash or in quarantine is, and lives again.
    ///
    /// Cancel-safe: a write that has begun goes on to its end.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::Io`]: nothing became visible, and the store goes on.
    /// [`StoreError::Poisoned`]: a sync failed, nothing is taken any more.
    pub async fn write(&self, shard: VerifiedShard, meta: ShardMeta) -> Result<Stored, StoreError> {
        if usize::from(meta.index) >= meta.redundancy.n() {
            return Err(StoreError::NoSuchIndex { index: meta.index, n: meta.redundancy.n() });
        }
        let key = ShardKey { account: meta.account, address: shard.address() };
        if self.inner.touch(&key) {
            return Ok(Stored { existed: true });
        }
        self.run_writer(move |inner| inner.write(key, shard, meta)).await
    }

    /// Moves a shard to the trash, durably. Only the directory may order this. What is in the trash already stays there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; or the disk's errors.
    pub async fn delete(&self, key: ShardKey) -> Result<(), StoreError> {
        self.run_writer(move |inner| {
            inner.note(key, Kind::Tombstone, |entry| !matches!(entry.state, ShardState::Trash { .. }))
        })
        .await
    }

    /// Takes a shard back out of the trash, durably. One that is live stays so.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Quarantined`]; or the disk's errors.
    pub async fn restore(&self, key: ShardKey) -> Result<(), StoreError> {
        self.run_writer(move |inner| {
            inner.note(key, Kind::Restored, |entry| matches!(entry.state, ShardState::Trash { .. }))?;
            if !inner.is_live(&key) {
                return Err(StoreError::Quarantined { address: key.address });
            }
            Ok(())
        })
        .await
    }

    /// Runs blocking work with one of the writer permits, which moves into the work.
    pub(super) async fn run_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.inner.writers).acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        let inner = Arc::clone(&self.inner);
        let job = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&inner)
        });
        job.await.map_err(|_| StoreError::Stopped)?
    }
}

pub(super) fn disk_bytes(len: usize) -> u64 {
    u64::from(pages_of(len)) * PAGE as u64
}

impl Inner {
    pub(crate) fn is_live(&self, key: &ShardKey) -> bool {
        lock(&self.index).get(key).is_some_and(|entry| entry.state == ShardState::Live)
    }

    pub(crate) fn free(&self) -> Result<u64, StoreError> {
        let space = self.disk.space().map_err(|source| StoreError::Io { path: self.disk.path(""), source })?;
        let used = self.appender.used.load(Ordering::Relaxed);
        Ok(super::usage::free(used, self.options.capacity, self.options.reserve, space))
    }

    fn write(&self, key: ShardKey, mut shard: VerifiedShard, meta: ShardMeta) -> Result<Stored, StoreError> {
        let _turn = self.busy.enter(key);
        if self.touch(&key) {
            return Ok(Stored { existed: true });
        }
        check_room(self.free()?, disk_bytes(shard.len()))?;
        let body_len = u32::try_from(shard.len())
            .map_err(|_| StoreError::TooLong { wanted: shard.len(), limit: common::limits::SHARD_BYTES })?;
        let record = Record {
            kind: Kind::Shard,
            index: meta.index,
            redundancy: meta.redundancy,
            account: meta.account,
            chunk: meta.chunk,
            address: key.address,
            sealed_len: meta.sealed_len,
            body_len,
            generation: meta.generation,
            at: self.options.clock.now(),
            target: Place::default(),
        };
        let place = self.appender.append(&record, &mut shard.pages())?;
        lock(&self.index).apply(place, &record);
        self.touch(&key); // condemned as one in quarantine, or between these two lines: it is somebody's again
        Ok(Stored { existed: false })
    }

    /// Appends a record about a shard that is here, when its state asks for it.
    pub(crate) fn note(
        &self,
        key: ShardKey,
        kind: Kind,
        wanted: impl FnOnce(&Entry) -> bool,
    ) -> Result<(), StoreError> {
        let _turn = self.busy.enter(key);
        self.note_in_turn(key, kind, wanted)
    }

    /// The same for who has the shard's turn.
    pub(super) fn note_in_turn(
        &self,
        key: ShardKey,
        kind: Kind,
        wanted: impl FnOnce(&Entry) -> bool,
    ) -> Result<(), StoreError> {
        let found = lock(&self.index).get(&key);
        let entry = found.ok_or(StoreError::NotFound { address: key.address })?;
        if !wanted(&entry) {
            return Ok(());
        }
        let record = entry.note(key, kind, self.options.clock.now());
        let place = self.appender.append(&record, &mut [Aligned::new(PAGE).as_mut_slice()])?;
        lock(&self.index).apply(place, &record);
        Ok(())
    }
}
