//! Buffer: owned bytes of one chunk, from a bounded pool, so that reading, sealing and sending share one allocation.
//!
//! A dropped buffer goes back to its pool, also after it was frozen into [`Bytes`] and the last clone of those is gone. Fresh
//! pages cost about as much as hashing them, so reuse pays. A buffer can begin where its content will begin within a block of a
//! file, so that whole blocks of it can be written directly.
//!
//! Non-goals: bounding how many buffers are out at once; that is for whoever passes them on (semaphores, bounded channels).

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use common::limits::CHUNK_BYTES;

/// What direct writes to a file are aligned to: the largest sector size in use.
pub(crate) const BLOCK: usize = 4_096;

/// Free buffers of [`CHUNK_BYTES`] each, at most `keep` of them.
#[derive(Clone)]
pub struct Pool(Arc<Free>);

struct Free {
    keep: usize,
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// A pool that keeps at most so many free buffers; with none, every buffer is a fresh one.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        Self(Arc::new(Free { keep, buffers: Mutex::default() }))
    }

    /// An empty buffer with room for a chunk.
    #[must_use]
    pub fn take(&self) -> Buffer {
        let free = self.0.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // Zeroed memory comes from the system untouched: only what is used becomes resident.
        let bytes = free.unwrap_or_else(|| vec![0; CHUNK_BYTES + 2 * BLOCK]);
        Buffer { bytes, start: 0, len: 0, home: Some(Arc::clone(&self.0)) }
    }

    /// An empty buffer with room for a chunk whose first byte belongs at this offset of a file: its address and the offset are
    /// equal modulo [`BLOCK`].
    pub(crate) fn take_for(&self, offset: u64) -> Buffer {
        let mut buffer = self.take();
        // `align_offset` may decline to answer; then the content is copied before it is written.
        let to_block = Some(buffer.bytes.as_ptr().align_offset(BLOCK)).filter(|to_block| *to_block < BLOCK);
        let within = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
        buffer.start = to_block.unwrap_or(0) + within;
        buffer
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool(keeps {})", self.0.keep)
    }
}

/// Owned bytes of at most one chunk.
pub struct Buffer {
    bytes: Vec<u8>,
    /// Where the content begins.
    start: usize,
    len: usize,
    home: Option<Arc<Free>>,
}

impl Buffer {
    /// An empty buffer of its own for so many bytes: for what is too small to be worth a whole one.
    pub(crate) fn with_room(len: usize) -> Self {
        Self { bytes: vec![0; len], start: 0, len: 0, home: None }
    }

    /// An empty buffer with room for as much as this one holds, from where this one came.
    pub(crate) fn sibling(&self) -> Self {
        match &self.home {
            Some(home) => Pool(Arc::clone(home)).take(),
            None => Self::with_room(self.len),
        }
    }

    /// The room behind what is filled. Its content is of no meaning.
    pub fn room(&mut self) -> &mut [u8] {
        let end = self.bytes.len().min(self.start + CHUNK_BYTES);
        self.bytes.get_mut(self.start + self.len..end).unwrap_or_default()
    }

    /// Counts `count` more bytes of the room as filled, as far as there is room.
    pub fn fill(&mut self, count: usize) {
        self.len += count.min(self.room().len());
    }

    /// Appends as much as there is room for, and tells how much.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let room = self.room();
        let count = room.len().min(bytes.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
        self.fill(count);
        count
    }

    /// Moves what lies behind `at` to the beginning of another, empty buffer.
    pub(crate) fn split_into(&mut self, at: usize, rest: &mut Self) {
        let Some(tail) = self.get(at..) else { return };
        rest.append(tail);
        self.len = at;
    }

    /// As shared bytes, without a copy.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        buffer.freeze()
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { start: 0, len: bytes.len(), bytes, home: None }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else { return };
        let mut buffers = home.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < home.keep {
            buffers.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_after_the_last_clone_and_no_more_are_kept_than_said() {
        let pool = Pool::new(1);
        let free = || pool.0.buffers.lock().unwrap().len();
        let (mut one, two) = (pool.take(), pool.take());
        assert_eq!(one.append(b"abc"), 3);
        let bytes = one.freeze();
        let tail = bytes.slice(1..);
        drop(bytes);
        assert_eq!((free(), &tail[..]), (0, &b"bc"[..]));
        drop(tail);
        drop(two);
        assert_eq!(free(), 1);
        assert!(pool.take().is_empty());
    }

    #[test]
    fn a_buffer_begins_where_its_content_does_within_a_block() {
        let pool = Pool::new(1);
        for offset in [0, 1, 4_095, 4_096, 1_000_001, u64::MAX] {
            let mut buffer = pool.take_for(offset);
            assert_eq!(buffer.append(&vec![7; CHUNK_BYTES + 9]), CHUNK_BYTES);
            assert_eq!(buffer.as_ptr() as u64 % BLOCK as u64, offset % BLOCK as u64);
            assert_eq!((buffer.len(), buffer.room().len()), (CHUNK_BYTES, 0));
        }
    }

    #[test]
    fn a_buffer_takes_no_more_than_a_chunk() {
        let mut buffer = Pool::new(0).take();
        assert_eq!(buffer.append(&vec![1; CHUNK_BYTES + 1]), CHUNK_BYTES);
        buffer.fill(usize::MAX);
        assert_eq!((buffer.len(), buffer.room().len()), (CHUNK_BYTES, 0));
    }
}
