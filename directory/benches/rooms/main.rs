//! What the directory's rooms cost by themselves: `cargo bench -p directory`.
//!
//! The embedded store works on the disk of the temporary folder, and what it commits is durable. Decisions run on the store in memory.
#![allow(clippy::unwrap_used, reason = "a bench that cannot use its store has failed")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::id::ClusterId;
use directory::kv::embedded::{Embedded, Options};
use directory::kv::memory::Memory;
use directory::kv::{Meta, Store, Write};
use directory::transact::Operation;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use world::World;

/// Records in one commit.
const RECORDS: u64 = 100;
/// Commits in one go.
const COMMITS: u64 = 64;

fn main() {
    divan::main();
}

mod kv {
    use super::*;

    struct OnDisk {
        runtime: Runtime,
        store: Arc<Embedded>,
        made: AtomicU64,
        _dir: tempfile::TempDir,
    }

    fn key(number: u64) -> Vec<u8> {
        // Spread over the index, as ids are.
        [&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[..], &[0; 16]].concat()
    }

    impl OnDisk {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Embedded::open(dir.path(), ClusterId([1; 16]), &Options::default()).unwrap();
            let (runtime, made) = (Runtime::new().unwrap(), AtomicU64::new(0));
            Self { runtime, store: Arc::new(store), made, _dir: dir }
        }

        fn batch(&self) -> Vec<Write> {
            let first = self.made.fetch_add(RECORDS, Ordering::Relaxed);
            (first..first + RECORDS).map(|number| Write::Put { key: key(number), value: vec![1; 100] }).collect()
        }

        fn batches(&self) -> Vec<Vec<Write>> {
            (0..COMMITS).map(|_| self.batch()).collect()
        }

        fn commit_all(&self, mut batches: Vec<Vec<Write>>, tasks: usize) {
            self.runtime.block_on(async {
                let mut running = JoinSet::new();
                let each = batches.len().div_ceil(tasks);
                while !batches.is_empty() {
                    let mine = batches.split_off(batches.len().saturating_sub(each));
                    let store = Arc::clone(&self.store);
                    running.spawn(async move {
                        for batch in mine {
                            store.commit(vec![], batch, Meta::default()).await.unwrap();
                        }
                    });
                }
                running.join_all().await;
            });
        }
    }

    /// Items are records; each commit has 100.
    #[divan::bench(args = [1, 16], sample_count = 12, sample_size = 1)]
    fn commit_64_times_100(bencher: Bencher, tasks: usize) {
        let disk = OnDisk::new();
        bencher
            .counter(ItemsCount::new(COMMITS * RECORDS))
            .with_inputs(|| disk.batches())
            .bench_values(|batches| disk.commit_all(batches, tasks));
    }

    /// Items are records, among 6,400.
    #[divan::bench]
    fn get_100(bencher: Bencher) {
        let disk = OnDisk::new();
        disk.commit_all(disk.batches(), 16);
        let keys: Vec<_> = (0..RECORDS).map(|number| key(number * COMMITS)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        bencher
            .counter(ItemsCount::new(RECORDS))
            .bench(|| disk.runtime.block_on(disk.store.get(black_box(&keys))).unwrap());
    }

    #[divan::bench]
    fn scan_100(bencher: Bencher) {
        let disk = OnDisk::new();
        disk.commit_all(disk.batches(), 16);
        bencher
            .counter(ItemsCount::new(RECORDS))
            .bench(|| disk.runtime.block_on(disk.store.scan(black_box(&[0x40]), &[0x80], 100)).unwrap());
    }
}

mod decide {
    use super::*;

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    fn read_only<O: Operation<Who = directory::authorize::OfAccount>>(bencher: Bencher, items: usize, operation: O) {
        let runtime = runtime();
        let world = runtime.block_on(World::new(Arc::new(Memory::new())));
        bencher.counter(ItemsCount::new(items)).bench(|| runtime.block_on(world.run(black_box(&operation), world.who)));
    }

    fn changing<O: Operation<Who = directory::authorize::OfAccount>>(bencher: Bencher, items: usize, operation: O) {
        let runtime = runtime();
        bencher
            .counter(ItemsCount::new(items))
            .with_inputs(|| runtime.block_on(World::new(Arc::new(Memory::new()))))
            .bench_values(|world| {
                let answer = runtime.block_on(world.run(black_box(&operation), world.who));
                (world, answer)
            });
    }

    /// Items are names.
    #[divan::bench]
    fn look_up_a_path_of_7(bencher: Bencher) {
        read_only(bencher, usize::from(world::DEPTH) + 1, world::path());
    }

    /// Items are chunks, of which one in 16 is there.
    #[divan::bench]
    fn ask_for_1024(bencher: Bencher) {
        read_only(bencher, common::limits::ASK_CHUNKS, world::question());
    }

    /// Items are chunks.
    #[divan::bench]
    fn read_a_manifest_of_64(bencher: Bencher) {
        read_only(bencher, world::CHUNKS, world::manifest());
    }

    /// Items are chunks.
    #[divan::bench(sample_count = 50, sample_size = 4)]
    fn register_64(bencher: Bencher) {
        changing(bencher, world::CHUNKS, world::registration(10_000));
    }

    /// Items are files.
    #[divan::bench(sample_count = 50, sample_size = 4)]
    fn publish_128_small_files(bencher: Bencher) {
        changing(bencher, 128, world::publication(128));
    }
}
