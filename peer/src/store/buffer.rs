//! Buffer: page-aligned memory for O_DIRECT, reused, and never more of it than a budget.
//!
//! Fresh memory is dear (each first touch of a page is a fault), so buffers go back to a bounded pool. Whoever wants one
//! waits until the budget has room; the permit lives in the buffer and returns with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::StoreError;
use super::record::PAGE;

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

/// Lengths come in classes of at most 1/8 waste, so that buffers are found again.
fn class_of(len: usize) -> usize {
    let pages = len.div_ceil(PAGE).max(1);
    let step = (pages.next_power_of_two() / 16).max(1);
    pages.div_ceil(step) * step * PAGE
}

#[derive(Debug, Default)]
struct Idle {
    by_class: BTreeMap<usize, Vec<Aligned>>,
    bytes: usize,
}

/// Where buffers come from and go back to.
#[derive(Debug)]
pub(crate) struct Pool {
    budget: Arc<Semaphore>,
    budget_bytes: usize,
    idle: Mutex<Idle>,
}

impl Pool {
    /// At most `budget` bytes are out at a time, and at most as many lie idle.
    pub(crate) fn new(budget: usize) -> Arc<Self> {
        let pages = (budget / PAGE).clamp(1, Semaphore::MAX_PERMITS);
        let budget = Arc::new(Semaphore::new(pages));
        Arc::new(Self { budget, budget_bytes: pages * PAGE, idle: Mutex::default() })
    }

    /// A buffer of at least `len` bytes, not cleared. Waits for the budget; cancel-safe.
    pub(crate) async fn take(self: &Arc<Self>, len: usize) -> Result<Buffer, StoreError> {
        let class = class_of(len);
        let too_long = || StoreError::TooLong { wanted: len, limit: self.budget_bytes };
        let pages = u32::try_from(class / PAGE).map_err(|_| too_long())?;
        if class > self.budget_bytes {
            return Err(too_long());
        }
        let permit = Arc::clone(&self.budget).acquire_many_owned(pages).await.map_err(|_| StoreError::Stopped)?;
        let reused = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let found = idle.by_class.get_mut(&class).and_then(Vec::pop);
            idle.bytes -= found.as_ref().map_or(0, |memory| memory.len);
            found
        };
        let memory = reused.unwrap_or_else(|| Aligned::new(class));
        Ok(Buffer { memory: Some(memory), pool: Arc::clone(self), _permit: permit })
    }

    /// Idle buffers of other classes make room, so that a change of sizes does not leave the pool useless.
    fn give_back(&self, memory: Aligned) {
        let mut dropped = Vec::new(); // freed after the lock
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            while idle.bytes + memory.len > self.budget_bytes / 2 {
                let Some(mut entry) = idle.by_class.first_entry() else { break };
                match entry.get_mut().pop() {
                    Some(old) => {
                        idle.bytes -= old.len;
                        dropped.push(old);
                    }
                    None => {
                        entry.remove();
                    }
                }
            }
            if idle.bytes + memory.len <= self.budget_bytes / 2 {
                idle.bytes += memory.len;
                idle.by_class.entry(memory.len).or_default().push(memory);
            } else {
                dropped.push(memory);
            }
        }
        drop(dropped);
    }
}

/// Memory on loan; returns to its pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Option<Aligned>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Buffer {
    pub(crate) fn as_slice(&self) -> &[u8] {
        self.memory.as_ref().map(Aligned::as_slice).unwrap_or_default()
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.memory.as_mut().map(Aligned::as_mut_slice).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.pool.give_back(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_classes_waste_little() {
        for len in [1, PAGE, PAGE + 1, 2 << 20, 8 << 20] {
            let memory = Aligned::new(len);
            assert_eq!((memory.as_slice().as_ptr() as usize % PAGE, memory.as_slice().len()), (0, len));
            let class = class_of(len);
            assert!(class >= len && class <= len.div_ceil(PAGE) * PAGE * 9 / 8, "{len} -> {class}");
        }
    }

    #[tokio::test]
    async fn the_budget_makes_wait_and_buffers_are_reused() {
        let pool = Pool::new(4 * PAGE);
        let first = pool.take(3 * PAGE).await.unwrap();
        let place = first.as_slice().as_ptr() as usize;
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.take(2 * PAGE).await.unwrap() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.unwrap());
        let small = pool.take(PAGE).await.unwrap();
        drop(small);
        let again = pool.take(PAGE).await.unwrap();
        assert_ne!(again.as_slice().as_ptr() as usize, place);
        assert!(matches!(pool.take(5 * PAGE).await, Err(StoreError::TooLong { .. })));
        assert!(pool.idle.lock().unwrap().bytes <= 2 * PAGE);
    }
}
