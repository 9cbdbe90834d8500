//! Repair: how fast lost shards are made anew, by the number of peers, and how long a peer with many chunks takes.
//!
//! Large: a file of `--size` at `--redundancy` on each number of peers; one peer is killed; from the moment at which it counts as lost until
//! the directory says that all is whole and verified. Many: `--chunks` chunks of 4 KiB, put with the client library's own requests, since
//! `shoal put` would pack them. Directory, peers and this program share the machine, so with more peers there is not more of anything but
//! of parallel orders: the figures show that none of it grows with their number.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Parser;
use client::session::{Session, SessionOptions};
use common::address::ShardAddress;
use common::grant::SignedGrant;
use common::id::{ChunkId, RequestId, VersionId};
use common::place;
use common::proto::directory::{Begin, NewChunk, Register};
use common::proto::parts::ShardAt;
use common::proto::peer::PutShard;
use common::redundancy::Redundancy;
use common::size::ByteSize;
use serde_json::Value;
use tests::harness::{Cluster, ClusterOptions, Running, content};
use tokio::task::JoinSet;

/// Measures how fast lost shards are made anew.
#[derive(Parser)]
#[command(
    name = "repair",
    after_help = "Examples:\n  repair\n  repair --peers 4,8 --size 1GiB --redundancy 4/6 --chunks 0"
)]
struct Options {
    /// Numbers of peers, with commas between them
    #[arg(long, value_delimiter = ',', default_value = "4,6,8")]
    peers: Vec<usize>,
    /// Size of the file
    #[arg(long, default_value = "512MiB")]
    size: ByteSize,
    #[arg(long, default_value = "1/3")]
    redundancy: Redundancy,
    /// Small chunks, on the first number of peers; 0 for none
    #[arg(long, default_value_t = 100_000)]
    chunks: usize,
    /// Where the clusters' folders are made
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    below: PathBuf,
}

const LEN: usize = 4_096;
/// Longer than any of this takes.
const PATIENCE: Duration = Duration::from_secs(1_800);

fn main() -> Result<()> {
    let options = Options::parse();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<8} {:>5} {:>8} {:>10} {:>9} {:>8} {:>14}",
        "", "peers", "shards", "made", "seconds", "MB/s", "CPU s per GiB"
    )?;
    for peers in &options.peers {
        let mut cluster = start(&options, *peers)?;
        let source = cluster.root().join("source");
        content::make_file(&source, 1, options.size.0)?;
        let path = source.to_str().context("a folder with a name in UTF-8")?;
        cluster.shoal(["put", "--quiet", path, "/file"])?.expect(0)?;
        lose_one(&mut cluster, "large", &mut out)?;
        cluster.stop()?;
    }
    if let (Some(peers), true) = (options.peers.first(), options.chunks > 0) {
        let mut cluster = start(&options, *peers)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let home = cluster.home("device");
        runtime.block_on(put_many(home, options.chunks, options.redundancy.n()))?;
        lose_one(&mut cluster, "many", &mut out)?;
        cluster.stop()?;
    }
    Ok(())
}

fn start(options: &Options, peers: usize) -> Result<Cluster> {
    let serve = [
        "--heartbeat",
        "200ms",
        "--suspect-after",
        "1s",
        "--dead-after",
        "2s",
        "--repair-after",
        "0s",
        "--repair-rate",
        "off",
    ];
    Cluster::start(ClusterOptions {
        peers,
        redundancy: options.redundancy.to_string(),
        serve: serve.map(str::to_owned).to_vec(),
        below: Some(options.below.clone()),
        ..ClusterOptions::default()
    })
}

fn number(status: &Value, field: &str) -> u64 {
    status.pointer(field).and_then(Value::as_u64).unwrap_or_default()
}

fn is_whole(status: &Value) -> bool {
    number(status, "/degraded") == 0 && status.pointer("/upkeep/verified").and_then(Value::as_bool) == Some(true)
}

fn wait_for(cluster: &Cluster, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let status = cluster.status()?;
        if is_so(&status) {
            return Ok(status);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("{what}: not within {PATIENCE:?}")
}

/// Kills the first peer and says how long it takes until nothing is missing.
fn lose_one(cluster: &mut Cluster, name: &str, out: &mut impl Write) -> Result<()> {
    wait_for(cluster, "all is there at first", is_whole)?;
    let cpu = |cluster: &Cluster| cluster.processes().map(Running::cpu_seconds).sum::<f64>();
    cluster.kill_peer(0)?;
    let before = cpu(cluster);
    wait_for(cluster, "its loss is noticed", |status| number(status, "/degraded") > 0)?;
    let begun = Instant::now();
    let status = wait_for(cluster, "all is made anew", is_whole)?;
    let (seconds, bytes) = (begun.elapsed().as_secs_f64(), number(&status, "/upkeep/made_bytes"));
    let (made, cpu) = (number(&status, "/upkeep/made"), cpu(cluster) - before);
    let peers = cluster.peers.len();
    writeln!(
        out,
        "{name:<8} {peers:>5} {made:>8} {:>10} {seconds:>9.1} {:>8.1} {:>14.1}",
        ByteSize(bytes),
        float(bytes) / 1e6 / seconds,
        cpu / (float(bytes) / float(1 << 30)),
    )?;
    Ok(())
}

/// Stores chunks one by one, as an upload that stays open.
async fn put_many(home: PathBuf, chunks: usize, copies: usize) -> Result<()> {
    let session = Session::open(home, SessionOptions { directory: Vec::new(), quiet: true }).await?;
    let (request, version) = (RequestId::random(), VersionId::random());
    let redundancy = Redundancy::new(1, u8::try_from(copies)?)?;
    let bytes = (chunks * copies * LEN) as u64;
    let begun = session.call_directory(&Begin { request, version, redundancy, bytes }).await?;
    let grant = Arc::new(begun.grant);
    let mut jobs = JoinSet::new();
    let mut stored = 0;
    while stored < chunks || !jobs.is_empty() {
        while jobs.len() < 8 && stored < chunks {
            let count = common::limits::REGISTER_CHUNKS.min(chunks - stored);
            jobs.spawn(put_batch(session.clone(), grant.clone(), version, redundancy, count));
            stored += count;
        }
        if let Some(done) = jobs.join_next().await {
            done??;
        }
    }
    session.close().await;
    Ok(())
}

async fn put_batch(
    session: Session,
    grant: Arc<SignedGrant>,
    version: VersionId,
    redundancy: Redundancy,
    count: usize,
) -> Result<()> {
    let mut registered = Vec::with_capacity(count);
    for _ in 0..count {
        let chunk = ChunkId::random();
        let body = Bytes::from(chunk.0.repeat(LEN / 20 + 1)).slice(..LEN);
        let address = ShardAddress::of(&body);
        let mut puts = JoinSet::new();
        let mut shards = Vec::new();
        for (index, peer) in (0..).zip(place::order(&chunk, &session.map()).into_iter().take(redundancy.n())) {
            let len = u32::try_from(LEN)?;
            let put = PutShard { grant: (*grant).clone(), chunk, index, redundancy, sealed_len: len, len, address };
            let (link, body) = (session.peer(peer)?, body.clone());
            puts.spawn(async move { link.call(&put, vec![body], Duration::from_secs(60)).await.map(drop) });
            shards.push(ShardAt { index, peer, address });
        }
        while let Some(done) = puts.join_next().await {
            done??;
        }
        registered.push(NewChunk {
            chunk,
            sealed_len: u32::try_from(LEN)?,
            redundancy,
            key: vec![0; 60].try_into()?,
            addresses: vec![address].try_into()?,
            shards: shards.try_into()?,
        });
    }
    session.call_directory(&Register { version, chunks: registered.try_into()? }).await?;
    Ok(())
}

/// Shown, never computed with further.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn float(number: u64) -> f64 {
    number as f64
}
