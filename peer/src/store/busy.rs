//! Busy: one writing operation a shard at a time.
//!
//! Two writes of one shard would waste the disk; a write beside a deletion could be applied in another order than their
//! records stand in. Other shards are not held up. Blocking; waiters are bounded by the store's writer permits.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, PoisonError};

use super::index::ShardKey;
use super::segment::lock;

#[derive(Default, Debug)]
pub(crate) struct Busy {
    keys: Mutex<HashSet<ShardKey>>,
    freed: Condvar,
}

/// The shard is the holder's until this is dropped.
pub(crate) struct Turn<'a> {
    busy: &'a Busy,
    key: ShardKey,
}

impl Busy {
    pub(crate) fn enter(&self, key: ShardKey) -> Turn<'_> {
        let mut keys = lock(&self.keys);
        while !keys.insert(key) {
            keys = self.freed.wait(keys).unwrap_or_else(PoisonError::into_inner);
        }
        Turn { busy: self, key }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.busy.keys).remove(&self.key);
        self.busy.freed.notify_all();
    }
}
