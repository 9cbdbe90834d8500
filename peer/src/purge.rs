//! Purge: empties the trash in time, gives room back to the file system, and has mostly empty segments rewritten.
//!
//! What has been in the trash for long enough goes; where room runs short the oldest goes first, as much as is needed. A shard counts as that
//! old only when this machine's clock and the directory's both say so: one clock that is wrong purges nothing early.

use std::time::Duration;

use common::telemetry::chain;
use common::time::{Clock, Timestamp};
use tokio::time::sleep;

use crate::config::{PURGE_AT_ONCE, PURGE_BELOW, PURGE_PAUSE, REWRITE_AT_ONCE};
use crate::known::Known;
use crate::store::{Store, StoreError};

pub(crate) struct Purge {
    pub store: Store,
    pub known: Known,
    pub clock: Clock,
    /// How long a dropped shard is kept.
    pub keep: Duration,
}

impl Purge {
    /// Looks every second; ends only by being dropped, at any point.
    pub(crate) async fn run(self) {
        let mut failing = false;
        loop {
            sleep(PURGE_PAUSE).await;
            match self.look_all().await {
                Ok(()) => failing = false,
                Err(error) if std::mem::replace(&mut failing, true) => {
                    tracing::debug!(error = %chain(&error), "no room is given back");
                }
                Err(error) => tracing::error!(error = %chain(&error), "no room is given back; it is tried again"),
            }
        }
    }

    async fn look_all(&self) -> Result<(), StoreError> {
        self.look().await?;
        if !self.store.is_read_heavily() {
            self.store.rewrite(REWRITE_AT_ONCE.0).await?; // the next look gives back what is free by it
        }
        Ok(())
    }

    async fn look(&self) -> Result<(), StoreError> {
        let (mut shards, mut bytes) = (0, 0_u64);
        loop {
            let purged = self.step().await?;
            bytes += self.store.reclaim().await?;
            shards += purged;
            if purged == 0 {
                break;
            }
        }
        if shards > 0 {
            tracing::info!(shards, bytes, "shards of the trash were purged");
        }
        Ok(())
    }

    /// What is old enough; and a few beyond where room is short, if that gives any back.
    async fn step(&self) -> Result<usize, StoreError> {
        let now = self.clock.now().min(self.known.directory_time());
        let old = u64::try_from(self.keep.as_millis()).ok().and_then(|keep| now.0.checked_sub(keep));
        let purged = match old {
            Some(old) => self.store.purge(Timestamp(old), PURGE_AT_ONCE).await?,
            None => 0,
        };
        let missing = PURGE_BELOW.saturating_sub(self.store.usage()?.free);
        if purged > 0 || missing == 0 || !self.store.makes_holes() {
            return Ok(purged);
        }
        self.store.purge_for(missing).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::address::ShardAddress;
    use common::id::{AccountId, ChunkId, ClusterId, PeerId};
    use common::identity::StatementKey;
    use common::redundancy::Redundancy;
    use common::size::ByteSize;

    use crate::known::Durable;
    use crate::store::{ShardKey, ShardMeta, ShardState, StoreOptions};

    const HOUR: Duration = Duration::from_secs(3600);
    const START: Timestamp = Timestamp(100_000_000);

    struct Bench {
        folder: tempfile::TempDir,
        clock: Clock,
        purge: Purge,
    }

    fn known(folder: &std::path::Path, clock: &Clock, directory_time: Timestamp) -> Known {
        let path = folder.join("known");
        Durable { directory_time, ..Durable::default() }.save(&path).unwrap();
        let public = StatementKey::generate().unwrap().public();
        Known::load(path, ClusterId([1; 16]), public, clock.clone()).unwrap()
    }

    async fn bench(capacity: u64) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(START);
        let options = StoreOptions {
            clock: clock.clone(),
            capacity: Some(ByteSize::mib(capacity)),
            ..StoreOptions::new(ClusterId([1; 16]), PeerId([2; 16]))
        };
        let store = Store::open(folder.path().join("store"), options).await.unwrap();
        let known = known(folder.path(), &clock, START);
        let purge = Purge { store, known, clock: clock.clone(), keep: HOUR };
        Bench { folder, clock, purge }
    }

    impl Bench {
        /// A shard of these many bytes.
        async fn put(&self, seed: u8, len: usize) -> ShardKey {
            let bytes = vec![seed; len];
            let address = ShardAddress::of(&bytes);
            let mut room = self.purge.store.reserve(len).await.unwrap();
            room.extend_from_slice(&bytes).unwrap();
            let account = AccountId([1; 16]);
            let meta = ShardMeta {
                account,
                chunk: ChunkId([3; 20]),
                index: 0,
                redundancy: Redundancy::DEFAULT,
                sealed_len: u32::try_from(len).unwrap(),
                generation: 1,
            };
            self.purge.store.write(room.finish(address).unwrap(), meta).await.unwrap();
            ShardKey { account, address }
        }

        fn is_here(&self, key: ShardKey) -> bool {
            self.purge.store.get(key).is_some()
        }
    }

    #[tokio::test]
    async fn what_is_dropped_goes_after_its_time_by_both_clocks() {
        let mut bench = bench(100).await;
        let (live, old) = (bench.put(1, 10_000).await, bench.put(2, 10_000).await);
        bench.purge.store.delete(old).await.unwrap();
        bench.purge.look().await.unwrap();
        bench.clock.advance(HOUR);
        bench.purge.look().await.unwrap();
        assert!(bench.is_here(old), "this clock alone may be wrong");
        bench.purge.known = known(bench.folder.path(), &bench.clock, START.plus(HOUR));
        let young = bench.put(3, 10_000).await;
        bench.purge.store.delete(young).await.unwrap();
        bench.purge.look().await.unwrap();
        assert_eq!([live, old, young].map(|key| bench.is_here(key)), [true, false, true]);
        bench.purge.keep = Duration::ZERO;
        bench.purge.look().await.unwrap();
        assert_eq!([live, old, young].map(|key| bench.is_here(key)), [true, false, false]);
    }

    #[tokio::test]
    async fn where_room_runs_short_the_oldest_goes_before_its_time_and_no_more_than_is_needed() {
        let bench = bench(40).await;
        let mut keys = Vec::new();
        for seed in 0..4 {
            keys.push(bench.put(seed, 6 << 20).await);
        }
        for key in [keys[2], keys[0]] {
            bench.purge.store.delete(key).await.unwrap();
            bench.clock.advance(Duration::from_secs(1));
        }
        assert!(bench.purge.store.usage().unwrap().free < PURGE_BELOW);
        bench.purge.look().await.unwrap();
        if !bench.purge.store.makes_holes() {
            return eprintln!("skipped: this file system makes no holes");
        }
        assert_eq!([0, 1, 2, 3].map(|at| bench.is_here(keys[at])), [true, true, false, true]);
        assert!(matches!(bench.purge.store.get(keys[0]).unwrap().state, ShardState::Trash { .. }));
        assert!(bench.purge.store.usage().unwrap().free >= PURGE_BELOW);
    }
}
