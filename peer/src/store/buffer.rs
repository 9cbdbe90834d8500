//! Buffer: page-aligned memory for O_DIRECT, reused, and never more of it than a budget.
//!
//! Fresh memory is dear (each first touch of a page is a fault and a page to be cleared), so it comes in pieces of one size, which
//! go back to a pool and fit whoever comes next. Whoever wants some waits until the budget has room; the permit lives in the
//! buffer and returns with it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::StoreError;
use super::record::PAGE;

/// What one piece holds at least, wherever in a page it begins.
pub(crate) const RUN: usize = 1 << 20;
/// Length of a piece.
const PIECE: usize = RUN + PAGE;

/// Zeroed memory that starts at a multiple of [`PAGE`].
#[derive(Debug)]
pub(crate) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(crate) fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE];
        // `align_offset` may decline to answer; the memory is then unaligned and the disk refuses it, nothing worse.
        let start = Some(bytes.as_ptr().align_offset(PAGE)).filter(|start| *start < PAGE).unwrap_or(0);
        Self { bytes, start, len }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.start..self.start + self.len).unwrap_or_default()
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.start..self.start + self.len).unwrap_or_default()
    }
}

/// Where buffers come from and go back to.
#[derive(Debug)]
pub(crate) struct Pool {
    budget: Arc<Semaphore>,
    pieces: usize,
    idle: Mutex<Vec<Aligned>>,
}

impl Pool {
    /// At most `budget` bytes are out at a time, and no more than were ever out are kept.
    pub(crate) fn new(budget: usize) -> Arc<Self> {
        let pieces = (budget / PIECE).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self { budget: Arc::new(Semaphore::new(pieces)), pieces, idle: Mutex::default() })
    }

    /// A buffer of at least `len` bytes, not cleared. Waits for the budget; cancel-safe.
    pub(crate) async fn take(self: &Arc<Self>, len: usize) -> Result<Buffer, StoreError> {
        let count = len.div_ceil(PIECE).max(1);
        let too_long = || StoreError::TooLong { wanted: len, limit: self.pieces * PIECE };
        let permits = u32::try_from(count).map_err(|_| too_long())?;
        if count > self.pieces {
            return Err(too_long());
        }
        let permit = Arc::clone(&self.budget).acquire_many_owned(permits).await.map_err(|_| StoreError::Stopped)?;
        let mut pieces = {
            let mut idle = self.idle();
            let kept = idle.len().saturating_sub(count);
            idle.split_off(kept)
        };
        pieces.resize_with(count, || Aligned::new(PIECE));
        Ok(Buffer { pieces, pool: Arc::clone(self), _permit: permit })
    }

    /// Whether more than half of it is on loan.
    pub(crate) fn is_half_out(&self) -> bool {
        self.budget.available_permits() < self.pieces / 2
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Aligned>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory on loan; returns to its pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    pieces: Vec<Aligned>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Buffer {
    /// The first piece: at least [`RUN`] and a page, in one run.
    pub(crate) fn first(&self) -> &[u8] {
        self.pieces.first().map(Aligned::as_slice).unwrap_or_default()
    }

    pub(crate) fn first_mut(&mut self) -> &mut [u8] {
        self.pieces.first_mut().map(Aligned::as_mut_slice).unwrap_or_default()
    }

    /// Copies bytes to an offset, across pieces. What does not fit is left out.
    pub(crate) fn put(&mut self, offset: usize, mut bytes: &[u8]) {
        let mut at = offset % PIECE;
        for piece in self.pieces.iter_mut().skip(offset / PIECE) {
            let room = piece.as_mut_slice().get_mut(at..).unwrap_or_default();
            let (now, later) = bytes.split_at(room.len().min(bytes.len()));
            if let Some(room) = room.get_mut(..now.len()) {
                room.copy_from_slice(now);
            }
            (bytes, at) = (later, 0);
            if bytes.is_empty() {
                break;
            }
        }
    }

    /// What lies behind an offset in one run.
    pub(crate) fn run(&self, offset: usize) -> &[u8] {
        let piece = self.pieces.get(offset / PIECE).map(Aligned::as_slice).unwrap_or_default();
        piece.get(offset % PIECE..).unwrap_or_default()
    }

    /// The first `len` bytes, a run for each piece.
    pub(crate) fn runs(&mut self, len: usize) -> Vec<&mut [u8]> {
        let mut left = len;
        let mut runs = Vec::with_capacity(self.pieces.len());
        for piece in &mut self.pieces {
            let now = left.min(PIECE);
            left -= now;
            runs.extend(piece.as_mut_slice().get_mut(..now).filter(|run| !run.is_empty()));
        }
        runs
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.idle().append(&mut self.pieces);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned() {
        for len in [1, PAGE, PIECE] {
            let memory = Aligned::new(len);
            assert_eq!((memory.as_slice().as_ptr() as usize % PAGE, memory.as_slice().len()), (0, len));
        }
    }

    #[tokio::test]
    async fn what_is_put_in_parts_comes_out_in_runs() {
        let pool = Pool::new(4 * PIECE);
        let content: Vec<u8> = (0..2 * PIECE + 99).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let mut buffer = pool.take(PAGE + content.len()).await.unwrap();
        for (number, part) in content.chunks(70_001).enumerate() {
            buffer.put(PAGE + number * 70_001, part);
        }
        let runs = buffer.runs(PAGE + content.len());
        assert_eq!(runs.iter().map(|run| run.len()).collect::<Vec<_>>(), [PIECE, PIECE, PAGE + 99]);
        assert!(runs.concat()[PAGE..] == content);
    }

    #[tokio::test]
    async fn the_budget_makes_wait_and_memory_is_reused() {
        let pool = Pool::new(4 * PIECE);
        let first = pool.take(3 * PIECE).await.unwrap();
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.take(PIECE + 1).await.unwrap() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.unwrap());
        assert_eq!(pool.idle().len(), 3);
        let all = pool.take(4 * PIECE).await.unwrap();
        assert_eq!(pool.idle().len(), 0);
        drop(all);
        assert_eq!(pool.idle().len(), 4);
        assert!(matches!(pool.take(4 * PIECE + 1).await, Err(StoreError::TooLong { .. })));
    }
}
