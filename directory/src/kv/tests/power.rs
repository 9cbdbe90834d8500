//! A disk in memory that knows what was synced: power cuts at every sync, failing writes, failing syncs.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::*;
use crate::kv::embedded::QUEUE_BYTES;
use crate::kv::journal::disk::{Disk, DiskFile};
use crate::kv::open::World;

type Bytes = Arc<Vec<u8>>;

/// What is on a disk after a power cut, and which commit had been acknowledged by then.
#[derive(Clone)]
struct Cut {
    files: BTreeMap<String, Bytes>,
    /// The file that was being synced, with everything that was written to it.
    pending: Option<(String, Bytes)>,
    acknowledged: u64,
}

#[derive(Default)]
struct State {
    live: BTreeMap<String, (Bytes, Bytes)>, // what the process sees, and what was synced
    names: BTreeMap<String, ()>,            // durable names
    cuts: Vec<Cut>,
    acknowledged: u64,
    free: u64,
    /// Bytes that the next writes can still place before the disk is full.
    room: Option<usize>,
    syncs_fail: bool,
}

#[derive(Clone, Default)]
struct Simulated(Arc<Mutex<State>>);

struct SimulatedFile(Simulated, String);

impl Simulated {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn restored(files: BTreeMap<String, Bytes>) -> Self {
        let disk = Self::default();
        {
            let mut state = disk.state();
            state.names = files.keys().map(|name| (name.clone(), ())).collect();
            state.live = files.into_iter().map(|(name, bytes)| (name, (bytes.clone(), bytes))).collect();
        }
        disk
    }

    fn open(&self, dir: &Path, segment_bytes: u64) -> Result<Embedded, OpenError> {
        let options = Options { segment_bytes: common::size::ByteSize(segment_bytes), ..options() };
        let world = World { disk: Arc::new(self.clone()), boot: Some("boot".into()) };
        Embedded::open_in(dir, CLUSTER, &options, &world)
    }
}

impl State {
    fn cut(&mut self, pending: Option<&str>) {
        let durable = |name: &String| Some((name.clone(), self.live.get(name)?.1.clone()));
        let files = self.names.keys().filter_map(durable).collect();
        let pending = pending.filter(|name| self.names.contains_key(*name));
        let pending = pending.map(|name| (name.to_owned(), self.live[name].0.clone()));
        self.cuts.push(Cut { files, pending, acknowledged: self.acknowledged });
    }
}

impl Disk for Simulated {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().live.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let old = self.state().live.insert(name.to_owned(), Default::default());
        assert!(old.is_none());
        Ok(Box::new(SimulatedFile(self.clone(), name.to_owned())))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        assert!(self.state().live.contains_key(name));
        Ok(Box::new(SimulatedFile(self.clone(), name.to_owned())))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().live.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state();
        state.cut(None);
        state.names = state.live.keys().map(|name| (name.clone(), ())).collect();
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.state().free)
    }
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.state().live[&self.1].0.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.0.state().live[&self.1].0.clone();
        let rest = &bytes[usize::try_from(offset).unwrap()..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.state();
        let len = state.room.unwrap_or(usize::MAX).min(bytes.len());
        state.room = state.room.map(|room| room - len);
        let file = Arc::make_mut(&mut state.live.get_mut(&self.1).unwrap().0);
        file.truncate(usize::try_from(offset).unwrap());
        file.extend_from_slice(&bytes[..len]);
        if len < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.0.state();
        let file = Arc::make_mut(&mut state.live.get_mut(&self.1).unwrap().0);
        file.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.state();
        state.cut(Some(&self.1));
        if state.syncs_fail {
            return Err(io::Error::other("the disk is gone"));
        }
        let file = state.live.get_mut(&self.1).unwrap();
        file.1 = file.0.clone();
        Ok(())
    }
}

#[test]
fn after_a_power_cut_at_any_sync_every_acknowledged_commit_is_there() {
    const COMMITS: u64 = 80;
    let disk = Simulated::default();
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = Arc::new(disk.open(dir.path(), 1_000).unwrap());
        for round in 0..COMMITS / 4 {
            let mut tasks = tokio::task::JoinSet::new();
            for n in 0..4 {
                let store = store.clone();
                tasks.spawn(async move {
                    commit(&*store, vec![put(&[u8::try_from(round * 4 + n).unwrap()], &[7; 50])]).await.unwrap()
                });
            }
            let last = tasks.join_all().await.into_iter().max().unwrap();
            disk.state().acknowledged = last;
        }
        drop(store);
    });
    let cuts = std::mem::take(&mut disk.state().cuts);
    assert!(cuts.len() >= 20, "{} syncs", cuts.len());
    for (n, cut) in cuts.iter().enumerate() {
        let mut images = vec![cut.files.clone()];
        if let Some((name, live)) = &cut.pending {
            // Of the write under way some part has landed: none, a half, all, or all but its beginning.
            let durable = cut.files[name].len();
            for kept in [durable + (live.len() - durable) / 2, live.len()] {
                let mut files = cut.files.clone();
                files.insert(name.clone(), Arc::new(live[..kept].to_vec()));
                images.push(files);
            }
            let mut holed = live.to_vec();
            holed.iter_mut().skip(durable).take(20).for_each(|byte| *byte = 0);
            images.push([cut.files.clone(), [(name.clone(), Arc::new(holed))].into()].into_iter().flatten().collect());
        }
        for (variant, files) in images.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let store = Simulated::restored(files).open(dir.path(), 1_000);
            let store = store.unwrap_or_else(|error| panic!("cut {n}.{variant}: {error}"));
            let last = store.last_sequence();
            assert!(last >= cut.acknowledged, "cut {n}.{variant}: {last} of {}", cut.acknowledged);
            let entries = run(all(&store));
            let mut versions: Vec<u64> = entries.iter().map(|entry| entry.version).collect();
            versions.sort_unstable();
            assert!(versions.into_iter().eq(1..=last), "cut {n}.{variant}");
            assert_eq!(run(commit(&store, vec![put(b"on", b"")])).unwrap(), last + 1);
        }
    }
}

#[test]
fn commits_that_come_together_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Simulated::default();
    run(async {
        let store = Arc::new(disk.open(dir.path(), 1 << 20).unwrap());
        let mut tasks = tokio::task::JoinSet::new();
        {
            // The writer waits in its first sync until all others have come.
            let held = disk.state();
            for n in 0..100_u8 {
                let store = store.clone();
                tasks.spawn(async move { commit(&*store, vec![put(&[n], b"")]).await.unwrap() });
            }
            while store.room.available_permits() > QUEUE_BYTES / 1_024 - 100 {
                std::thread::yield_now();
            }
            drop(held);
        }
        let mut sequences = tasks.join_all().await;
        sequences.sort_unstable();
        assert!(sequences.into_iter().eq(1..=100));
        assert!(store.syncs() < 50, "{} syncs", store.syncs());
    });
}

#[test]
fn a_batch_that_finds_the_disk_full_is_refused_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Simulated::default();
    run(async {
        let store = disk.open(dir.path(), 1 << 20).unwrap();
        commit(&store, vec![put(b"a", b"1")]).await.unwrap();
        let before = store.statistics();
        for room in [0, 1, 50, 100] {
            disk.state().room = Some(room);
            let outcome = commit(&store, vec![put(b"b", &[0; 500])]).await;
            assert!(matches!(outcome, Err(CommitError::StorageFull { .. })), "{outcome:?}");
            assert_eq!(store.statistics(), before);
        }
        disk.state().room = None;
        assert_eq!(commit(&store, vec![put(b"c", b"3")]).await.unwrap(), 2);
    });
    let store = disk.open(dir.path(), 1 << 20).unwrap();
    let keys: Vec<_> = run(all(&store)).into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, [b"a", b"c"]);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_until_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Simulated::default();
    run(async {
        let store = disk.open(dir.path(), 1 << 20).unwrap();
        commit(&store, vec![put(b"a", b"1")]).await.unwrap();
        disk.state().syncs_fail = true;
        assert!(matches!(commit(&store, vec![put(b"b", b"")]).await, Err(CommitError::Unknown(_))));
        disk.state().syncs_fail = false;
        assert!(matches!(commit(&store, vec![put(b"c", b"")]).await, Err(CommitError::Stopped { .. })));
        assert_eq!(all(&store).await.len(), 1);
        assert!(store.close().await.is_err());
    });
    let last = disk.open(dir.path(), 1 << 20).unwrap().last_sequence();
    assert!((1..=2).contains(&last));
}
