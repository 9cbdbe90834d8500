//! Measures the shard store: MB/s and CPU seconds per GiB of writing, taking in, reading and starting.
//!
//! `cargo run --release -p peer --example store_speed -- DIR [WRITERS] [SHARD_BYTES] [MIB]`; DIR must not exist.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use common::address::ShardAddress;
use common::id::{AccountId, ChunkId, ClusterId, PeerId};
use common::redundancy::Redundancy;
use common::size::ByteSize;
use peer::store::{ShardBuffer, ShardKey, ShardMeta, Store, StoreOptions, VerifiedShard};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

const ACCOUNT: AccountId = AccountId([7; 16]);

/// User and system time of this process, in seconds; the clock ticks are hundredths on Linux.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("no fields")?.split_whitespace().collect();
    let ticks = |at: usize| -> Result<f64> { Ok(fields.get(at).context("too few fields")?.parse::<f64>()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

struct Measure {
    what: &'static str,
    wall: Instant,
    cpu: f64,
}

impl Measure {
    fn start(what: &'static str) -> Result<Self> {
        Ok(Self { what, wall: Instant::now(), cpu: cpu_seconds()? })
    }

    fn end(self, bytes: f64) -> Result<()> {
        let (wall, cpu) = (self.wall.elapsed().as_secs_f64(), cpu_seconds()? - self.cpu);
        let (rate, cost) = (bytes / wall / 1e6, cpu / (bytes / f64::from(1 << 30)));
        writeln!(std::io::stdout(), "{:28} {rate:7.0} MB/s  {cost:6.3} CPU s per GiB", self.what)?;
        Ok(())
    }
}

/// The same random bytes each time, but for a number in front.
fn body(random: &[u8], number: u64) -> Vec<u8> {
    let mut body = random.to_vec();
    for (place, byte) in body.iter_mut().zip(number.to_le_bytes()) {
        *place = byte;
    }
    body
}

async fn take_in(store: &Store, body: &[u8], address: ShardAddress) -> Result<VerifiedShard> {
    let mut buffer: ShardBuffer = store.reserve(body.len()).await?;
    for piece in body.chunks(64 << 10) {
        buffer.extend_from_slice(piece)?;
    }
    Ok(buffer.finish(address)?)
}

async fn write(store: &Store, shard: VerifiedShard) -> Result<()> {
    let chunk = ChunkId([1; 20]);
    let (sealed_len, generation) = (u32::try_from(shard.len())?, 1);
    let redundancy = Redundancy::DEFAULT;
    store.write(shard, ShardMeta { account: ACCOUNT, chunk, index: 0, redundancy, sealed_len, generation }).await?;
    Ok(())
}

/// Runs `workers` tasks over a common queue of work.
async fn spread<T, F, R>(workers: usize, work: Vec<T>, each: F) -> Result<()>
where
    T: Send + 'static,
    R: Future<Output = Result<()>> + Send + 'static,
    F: Fn(T) -> R + Clone + Send + Sync + 'static,
{
    let queue = Arc::new(Mutex::new(work));
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (queue, each) = (Arc::clone(&queue), each.clone());
        tasks.spawn(async move {
            loop {
                let Some(next) = queue.lock().await.pop() else { return Ok::<(), anyhow::Error>(()) };
                each(next).await?;
            }
        });
    }
    tasks.join_all().await.into_iter().collect()
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().context("which DIR?")?);
    let mut number = |usual: usize| arguments.next().map_or(Ok(usual), |text| text.parse());
    let (workers, len, mib) = (number(16)?, number(2 << 20)?, number(2048)?);
    anyhow::ensure!(!dir.exists(), "{} exists", dir.display());
    let options = StoreOptions::new(ClusterId([1; 16]), PeerId([2; 16]));
    let roomy = StoreOptions { buffers: ByteSize::mib(mib as u64 * 2), ..options.clone() };
    let shards_a_round = (mib << 20) / len;
    let (count, bytes) = (shards_a_round as u64, (shards_a_round * len) as f64);
    let mut random = vec![0; len];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("{error}"))?;

    for round in 0..3 {
        let store = Store::open(dir.clone(), roomy.clone()).await?;
        let mut shards = Vec::new();
        for at in 0..count {
            let body = body(&random, round * count + at);
            shards.push(take_in(&store, &body, ShardAddress::of(&body)).await?);
        }
        let measure = Measure::start("write, shards in memory")?;
        let writer = store.clone();
        spread(workers, shards, move |shard| {
            let store = writer.clone();
            async move { write(&store, shard).await }
        })
        .await?;
        measure.end(bytes)?;
        store.close().await?;
    }

    let store = Store::open(dir.clone(), options.clone()).await?;
    let bodies: Vec<_> = (0..64).map(|at| body(&random, u64::MAX - at)).collect();
    let bodies: Vec<_> = bodies.into_iter().map(|body| (ShardAddress::of(&body), body)).collect();
    let sum: usize = bodies.iter().map(|(_, body)| body.len()).sum();
    let measure = Measure::start("take in, SHA-1, and write")?;
    let writer = store.clone();
    spread(workers, bodies, move |(address, body)| {
        let store = writer.clone();
        async move { write(&store, take_in(&store, &body, address).await?).await }
    })
    .await?;
    measure.end(sum as f64)?;
    drop(store);

    let measure = Measure::start("start, last without a hint")?;
    let store = Store::open(dir.clone(), options).await?;
    measure.end(sum as f64)?;
    let keys: Vec<_> = store.list(None, shards_a_round).into_iter().map(|info| (info.account, info.address)).collect();
    let measure = Measure::start("read, pieces of 1 MiB")?;
    spread(4, keys, move |(account, address)| {
        let store = store.clone();
        async move {
            for at in (0..len).step_by(1 << 20) {
                store.read(ShardKey { account, address }, at as u64, (len - at).min(1 << 20)).await?;
            }
            Ok(())
        }
    })
    .await?;
    measure.end(bytes)?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
