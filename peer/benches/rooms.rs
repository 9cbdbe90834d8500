//! What the peer's store costs by itself, on the disk of the temporary folder: `cargo bench -p peer`.
//!
//! Sketches to compare with stand in the doc of `peer::store`. What is written is durable when a write returns. For CPU seconds per
//! GiB as well: `examples/store_speed.rs`.
#![allow(clippy::unwrap_used, reason = "a bench that cannot use its store has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::address::ShardAddress;
use common::id::{AccountId, ChunkId, ClusterId, PeerId};
use common::redundancy::Redundancy;
use common::size::ByteSize;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use peer::store::{ShardKey, ShardMeta, Store, StoreOptions, VerifiedShard};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const ACCOUNT: AccountId = AccountId([7; 16]);
const LEN: usize = 1 << 20;
/// Shards written in one go.
const SHARDS: usize = 64;

fn main() {
    divan::main();
}

/// A store in a folder that goes away with it.
struct World {
    runtime: Runtime,
    store: Store,
    random: Vec<u8>,
    made: AtomicU64,
    _dir: TempDir,
}

impl World {
    fn new(len: usize) -> Arc<Self> {
        let runtime = Runtime::new().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let options =
            StoreOptions { buffers: ByteSize::mib(512), ..StoreOptions::new(ClusterId([1; 16]), PeerId([2; 16])) };
        let store = runtime.block_on(Store::open(dir.path().join("store"), options)).unwrap();
        let mut random = vec![0; len];
        blake3::Hasher::new().update(b"rooms").finalize_xof().fill(&mut random);
        Arc::new(Self { runtime, store, random, made: AtomicU64::new(0), _dir: dir })
    }

    /// The same random bytes each time, but for a number in front.
    fn body(&self) -> Vec<u8> {
        let mut body = self.random.clone();
        let number = self.made.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        body.iter_mut().zip(number).for_each(|(place, byte)| *place = byte);
        body
    }

    async fn take_in(&self, body: &[u8], address: ShardAddress) -> VerifiedShard {
        let mut buffer = self.store.reserve(body.len()).await.unwrap();
        for piece in body.chunks(64 << 10) {
            buffer.extend_from_slice(piece).unwrap();
        }
        buffer.finish(address).unwrap()
    }

    fn verified(&self) -> VerifiedShard {
        let body = self.body();
        self.runtime.block_on(self.take_in(&body, ShardAddress::of(&body)))
    }

    async fn write(&self, shard: VerifiedShard) {
        let sealed_len = u32::try_from(shard.len()).unwrap();
        let (chunk, redundancy) = (ChunkId([1; 20]), Redundancy::DEFAULT);
        let meta = ShardMeta { account: ACCOUNT, chunk, index: 0, redundancy, sealed_len, generation: 1 };
        self.store.write(shard, meta).await.unwrap();
    }

    /// Writes all of them, dealt out to so many tasks.
    fn write_all(self: &Arc<Self>, mut shards: Vec<VerifiedShard>, writers: usize) {
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let each = shards.len().div_ceil(writers);
            while !shards.is_empty() {
                let (world, mine) = (Arc::clone(self), shards.split_off(shards.len().saturating_sub(each)));
                tasks.spawn(async move {
                    for shard in mine {
                        world.write(shard).await;
                    }
                });
            }
            tasks.join_all().await;
        });
    }
}

/// From the socket's pieces into the memory that goes to disk, with the address checked.
#[divan::bench(args = [16 << 10, LEN])]
fn take_in(bencher: Bencher, len: usize) {
    let world = World::new(len);
    let body = world.body();
    let address = ShardAddress::of(&body);
    bencher.counter(BytesCount::new(len)).bench(|| world.runtime.block_on(world.take_in(black_box(&body), address)));
}

/// Shards of 1 MiB that were taken in already.
#[divan::bench(args = [1, 16], sample_count = 12, sample_size = 1)]
fn write_64_shards(bencher: Bencher, writers: usize) {
    let world = World::new(LEN);
    bencher
        .counter(BytesCount::new(SHARDS * LEN))
        .with_inputs(|| (0..SHARDS).map(|_| world.verified()).collect::<Vec<_>>())
        .bench_values(|shards| world.write_all(shards, writers));
}

/// The dear ones: a record and a share of a sync for 16 KiB.
#[divan::bench(args = [1, 16, 64], sample_count = 12, sample_size = 1)]
fn write_64_small_shards(bencher: Bencher, writers: usize) {
    let world = World::new(16 << 10);
    bencher
        .counter(BytesCount::new(SHARDS * (16 << 10)))
        .with_inputs(|| (0..SHARDS).map(|_| world.verified()).collect::<Vec<_>>())
        .bench_values(|shards| world.write_all(shards, writers));
}

/// Whole shards of 1 MiB, dealt out to so many tasks.
#[divan::bench(args = [1, 4], sample_count = 12)]
fn read_64_shards(bencher: Bencher, readers: usize) {
    let world = World::new(LEN);
    world.write_all((0..SHARDS).map(|_| world.verified()).collect(), 16);
    let keys: Vec<ShardKey> = world.store.list(None, SHARDS).iter().map(|info| key(info.address)).collect();
    bencher.counter(BytesCount::new(SHARDS * LEN)).bench(|| {
        world.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for mine in keys.chunks(SHARDS / readers) {
                let (store, mine) = (world.store.clone(), mine.to_vec());
                tasks.spawn(async move {
                    for key in mine {
                        black_box(store.read(key, 0, LEN).await.unwrap());
                    }
                });
            }
            tasks.join_all().await;
        });
    });
}

fn key(address: ShardAddress) -> ShardKey {
    ShardKey { account: ACCOUNT, address }
}
