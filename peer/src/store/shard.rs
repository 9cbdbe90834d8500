//! Shard: bytes on their way in. Arriving bytes become a [`VerifiedShard`] only when their SHA-1 is the expected address,
//! and the store writes nothing else.

use std::sync::{Arc, Mutex};

use common::address::ShardAddress;
use common::id::{AccountId, ChunkId};
use common::redundancy::Redundancy;

use super::buffer::Buffer;
use super::company::{Arrival, Company, Shared, lock};
use super::error::StoreError;
use super::record::{HEADER, PAGE, pages_of};

/// What a record says about a shard beside its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardMeta {
    pub account: AccountId,
    pub chunk: ChunkId,
    /// Which of the n shards it is.
    pub index: u8,
    pub redundancy: Redundancy,
    /// Length of the whole sealed chunk.
    pub sealed_len: u32,
    /// The directory's generation when it was placed.
    pub generation: u64,
}

/// Collects a shard's bytes while they arrive, and their SHA-1 with those of others (once; 0.2 to 0.5 ns a byte).
pub struct ShardBuffer {
    arrival: Shared,
    company: Arc<Company>,
    announced: usize,
    filled: usize,
}

impl ShardBuffer {
    pub(crate) fn new(buffer: Buffer, announced: usize, company: Arc<Company>) -> Self {
        let arrival = Arc::new(Mutex::new(Arrival::new(buffer)));
        company.join(&arrival);
        Self { arrival, company, announced, filled: 0 }
    }

    /// How many bytes are still to come.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.announced - self.filled
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] when more come than were announced; nothing of them is taken.
    pub fn extend_from_slice(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        let end = self.filled.saturating_add(piece.len());
        if end > self.announced {
            return Err(StoreError::TooLong { wanted: end, limit: self.announced });
        }
        lock(&self.arrival).put(piece);
        self.filled = end;
        self.company.address(&self.arrival, end == self.announced);
        Ok(())
    }

    /// The only way to something that can be written.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] or [`StoreError::AddressMismatch`].
    pub fn finish(self, expected: ShardAddress) -> Result<VerifiedShard, StoreError> {
        if self.filled < self.announced {
            return Err(StoreError::Incomplete { announced: self.announced, got: self.filled });
        }
        let (buffer, found) = lock(&self.arrival).finish().ok_or(StoreError::Stopped)?;
        if found != expected {
            return Err(StoreError::AddressMismatch { expected, found });
        }
        Ok(VerifiedShard { buffer, address: expected, len: self.filled })
    }
}

impl Drop for ShardBuffer {
    fn drop(&mut self) {
        self.company.leave(&self.arrival);
    }
}

/// Bytes that have the address they are said to have, in memory that can go to disk as it is.
#[derive(Debug)]
pub struct VerifiedShard {
    buffer: Buffer,
    address: ShardAddress,
    len: usize,
}

impl VerifiedShard {
    #[must_use]
    pub fn address(&self) -> ShardAddress {
        self.address
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole pages of its record, in runs: room for the header, the body, zeros.
    pub(crate) fn pages(&mut self) -> Vec<&mut [u8]> {
        let used = HEADER + self.len;
        let whole = pages_of(self.len) as usize * PAGE;
        let zeros = [0; PAGE];
        self.buffer.put(used, zeros.get(..whole.saturating_sub(used)).unwrap_or_default());
        self.buffer.runs(whole)
    }
}
