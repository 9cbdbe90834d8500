//! Scrub: reads every live shard over and over, slowly, so that what a disk has lost is known while there are others to make it anew from.
//!
//! Goes over the shards in the order of their keys, one after the other, at a low rate, and stands back while readers fill their memory.
//! What is not what its address says, or cannot be read, goes into quarantine: the directory hears how many there are, and asks which.
//! Where it was is durable in the file `scrub` (docs/FORMATS.md), written at most once a minute, at the end of a pass and at a clean end.
//! A file that is lost or damaged costs a pass begun anew, and nothing else.
//!
//! Sketch: at 8 MiB/s a terabyte takes 1.5 days and 0.5 % of a core for SHA-1.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::address::ShardAddress;
use common::disk::{self, DiskError};
use common::id::AccountId;
use common::size::ByteSize;
use common::telemetry::chain;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::config::{SCRUB_LEAST_PAUSE, SCRUB_SAVE, SCRUB_STAND_BACK};
use crate::headed::{self, Unreadable};
use crate::known::Known;
use crate::store::{Found, ShardKey, ShardState, Store};

const MAGIC: &[u8; 8] = b"SHOALSCR";
const VERSION: u16 = 1;
/// Keys that are looked up at once.
const PAGE: usize = 64;

/// Where the scrubber is. In the directory's time, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// When the newest pass began.
    pub since: Option<Timestamp>,
    /// When the last whole pass ended.
    pub ended: Option<Timestamp>,
    /// A pass is under way.
    pub under_way: bool,
    /// The last shard that the newest pass has looked at.
    pub cursor: Option<(AccountId, ShardAddress)>,
    /// What the newest pass has looked at, and what it found damaged.
    pub shards: u64,
    pub bytes: u64,
    pub damaged: u64,
}

impl Progress {
    /// What the file says; from the beginning where it says nothing. Blocking.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let read = match disk::read_small(path) {
            Ok(bytes) => headed::decode(MAGIC, VERSION, &bytes),
            Err(error) if error.is_missing() => return Self::default(),
            Err(_) => Err(Unreadable::Damaged(None)),
        };
        read.unwrap_or_else(|error| {
            tracing::warn!(%error, "where the scrubber was cannot be read; it begins anew");
            Self::default()
        })
    }

    fn save(&self, path: &Path) -> Result<(), DiskError> {
        headed::encode(MAGIC, VERSION, self).map_or(Ok(()), |bytes| disk::replace_durably(path, &bytes))
    }
}

/// How fast, and how often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bytes a second.
    pub rate: ByteSize,
    /// From the beginning of a pass to that of the next, at the least.
    pub every: Duration,
}

pub(crate) struct Scrub {
    pub store: Store,
    pub known: Known,
    pub path: PathBuf,
    pub pace: Pace,
    pub progress: watch::Sender<Progress>,
}

impl Scrub {
    /// Until told to stop; then writes down where it is.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.passes() => {}
        }
        self.save().await;
    }

    async fn passes(&self) {
        loop {
            let Progress { since, under_way, .. } = *self.progress.borrow();
            if !under_way {
                // A beginning that lies ahead is of a clock that was wrong.
                let now = self.known.directory_time();
                let waited = since.filter(|since| *since <= now).map(|since| now.since(since));
                let left = waited.and_then(|waited| self.pace.every.checked_sub(waited));
                if let Some(left) = left.filter(|left| !left.is_zero()) {
                    sleep(left.clamp(SCRUB_LEAST_PAUSE, Duration::from_secs(3600))).await;
                    continue;
                }
                self.progress.send_modify(|progress| {
                    *progress =
                        Progress { since: Some(now), under_way: true, ended: progress.ended, ..Progress::default() };
                });
            }
            self.pass().await;
            self.save().await;
            sleep(SCRUB_LEAST_PAUSE).await;
        }
    }

    /// From the cursor to the end.
    async fn pass(&self) {
        let mut saved = Instant::now();
        loop {
            let cursor = self.progress.borrow().cursor;
            let after = cursor.map(|(account, address)| ShardKey { account, address });
            let page = self.store.list(after, PAGE);
            if page.is_empty() {
                break;
            }
            for shard in page {
                let key = ShardKey { account: shard.account, address: shard.address };
                let live = shard.state == ShardState::Live;
                let damaged = live && self.look(key).await;
                self.progress.send_modify(|progress| {
                    progress.cursor = Some((key.account, key.address));
                    progress.shards += u64::from(live);
                    progress.bytes += if live { u64::from(shard.len) } else { 0 };
                    progress.damaged += u64::from(damaged);
                });
                if live {
                    sleep(Duration::from_secs(1).mul_f64(f64::from(shard.len) / self.per_second())).await;
                }
                if saved.elapsed() >= SCRUB_SAVE {
                    self.save().await;
                    saved = Instant::now();
                }
            }
        }
        let now = self.known.directory_time();
        self.progress.send_modify(|progress| {
            (progress.ended, progress.under_way, progress.cursor) = (Some(now), false, None);
        });
        let Progress { shards, bytes, damaged, .. } = *self.progress.borrow();
        tracing::info!(shards, bytes, damaged, "all shards were checked");
    }

    fn per_second(&self) -> f64 {
        let rate = self.pace.rate.0.max(1);
        f64::from(u32::try_from(rate / 1024).unwrap_or(u32::MAX).max(1)) * 1024.0
    }

    /// Whether it is damaged, after it was put aside. Waits for a while in which others read, and not for ever.
    async fn look(&self, key: ShardKey) -> bool {
        for _ in 0..SCRUB_STAND_BACK.1 {
            if !self.store.is_read_heavily() {
                break;
            }
            sleep(SCRUB_STAND_BACK.0).await;
        }
        match self.store.scrub(key).await {
            Ok(found) => found == Found::Damaged,
            Err(error) => {
                tracing::error!(shard = key.address.short(), error = %chain(&error), "a shard could not be checked");
                false
            }
        }
    }

    async fn save(&self) {
        let (progress, path) = (*self.progress.borrow(), self.path.clone());
        match tokio::task::spawn_blocking(move || progress.save(&path)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(error = %chain(&error), "where the scrubber is was not written down"),
            Err(_) => {} // the program is ending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::{ChunkId, ClusterId, PeerId};
    use common::identity::StatementKey;
    use common::redundancy::Redundancy;
    use common::time::Clock;

    use crate::known::Durable;
    use crate::store::{ShardMeta, StoreOptions};

    const ACCOUNT: AccountId = AccountId([1; 16]);

    #[test]
    fn the_file_is_golden_and_damage_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scrub");
        let progress = Progress {
            since: Some(Timestamp(7)),
            ended: None,
            under_way: true,
            cursor: Some((AccountId([1; 16]), ShardAddress([2; 20]))),
            shards: 3,
            bytes: 300,
            damaged: 1,
        };
        assert_eq!(Progress::load(&path), Progress::default());
        progress.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let content = [&[1, 7, 0, 1, 1][..], &[1; 16], &[2; 20], &[3, 0xfb, 0x2c, 1, 1]].concat();
        let mut golden = b"SHOALSCR\x01\0".to_vec();
        golden.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        golden.extend_from_slice(&content);
        assert_eq!(bytes, golden);
        assert_eq!(Progress::load(&path), progress);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(Progress::load(&path), Progress::default(), "byte {at}");
            std::fs::write(&path, &bytes[..at]).unwrap();
            assert_eq!(Progress::load(&path), Progress::default(), "cut at {at}");
        }
    }

    struct Bench {
        folder: tempfile::TempDir,
        store: Store,
        shards: Vec<Vec<u8>>,
    }

    /// Shards of 4 KB, in the order in which they are looked at.
    async fn bench(count: u8) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(ClusterId([1; 16]), PeerId([2; 16]));
        let store = Store::open(folder.path().join("store"), options).await.unwrap();
        let mut shards: Vec<_> = (0..count).map(|seed| vec![seed; 4_000]).collect();
        shards.sort_by_key(|shard| ShardAddress::of(shard));
        for shard in &shards {
            let mut room = store.reserve(shard.len()).await.unwrap();
            room.extend_from_slice(shard).unwrap();
            let meta = ShardMeta {
                account: ACCOUNT,
                chunk: ChunkId([3; 20]),
                index: 0,
                redundancy: Redundancy::DEFAULT,
                sealed_len: 4_000,
                generation: 1,
            };
            store.write(room.finish(ShardAddress::of(shard)).unwrap(), meta).await.unwrap();
        }
        Durable::default().save(&folder.path().join("known")).unwrap();
        Bench { folder, store, shards }
    }

    impl Bench {
        fn scrub(&self, rate: u64, every: Duration) -> Scrub {
            let public = StatementKey::generate().unwrap().public();
            let known = self.folder.path().join("known");
            let path = self.folder.path().join("scrub");
            Scrub {
                store: self.store.clone(),
                known: Known::load(known, ClusterId([1; 16]), public, Clock::System).unwrap(),
                pace: Pace { rate: ByteSize(rate), every },
                progress: watch::channel(Progress::load(&path)).0,
                path,
            }
        }

        /// Changes a byte of a shard where it lies.
        fn flip(&self, shard: usize) {
            let path = self.folder.path().join("store/segments/00000001.seg");
            let mut bytes = std::fs::read(&path).unwrap();
            let at = bytes.windows(4_000).position(|run| *run == self.shards[shard]).unwrap();
            bytes[at + 1_234] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }

        fn quarantined(&self) -> u64 {
            self.store.usage().unwrap().tallies.quarantined.shards
        }

        /// Runs until the progress is as wanted, and ends in good order.
        async fn until(&self, scrub: Scrub, wanted: impl Fn(&Progress) -> bool) -> Progress {
            let mut seen = scrub.progress.subscribe();
            let (stop, stopped) = watch::channel(false);
            let task = tokio::spawn(scrub.run(stopped));
            seen.wait_for(|progress| wanted(progress)).await.unwrap();
            stop.send_replace(true);
            task.await.unwrap();
            Progress::load(&self.folder.path().join("scrub"))
        }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn a_pass_finds_what_has_changed_on_the_disk_and_the_next_waits_for_its_time() {
        let bench = bench(5).await;
        bench.flip(3);
        let done = bench.until(bench.scrub(1 << 30, DAY), |progress| progress.ended.is_some()).await;
        assert_eq!((done.shards, done.bytes, done.damaged, done.under_way), (5, 20_000, 1, false));
        assert_eq!(bench.quarantined(), 1);
        // Not due: it stays as it is. Due: there are four left.
        let scrub = bench.scrub(1 << 30, DAY);
        let (stop, stopped) = watch::channel(true);
        scrub.run(stopped).await;
        drop(stop);
        let next = bench.until(bench.scrub(1 << 30, Duration::ZERO), |now| now.ended > done.ended).await;
        assert_eq!((next.shards, next.damaged), (4, 0));
    }

    #[tokio::test]
    async fn after_a_restart_it_goes_on_where_it_was() {
        let bench = bench(5).await;
        let slow = bench.until(bench.scrub(1, DAY), |progress| progress.shards == 1).await;
        assert_eq!(slow.cursor, Some((ACCOUNT, ShardAddress::of(&bench.shards[0]))));
        bench.flip(0); // behind it
        bench.flip(4);
        let done = bench.until(bench.scrub(1 << 30, DAY), |progress| progress.ended.is_some()).await;
        assert_eq!((done.since, done.shards, done.damaged), (slow.since, 5, 1));
        assert_eq!(bench.quarantined(), 1);
    }
}
