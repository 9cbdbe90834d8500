//! Measures durable commits a second of the embedded store: `cargo run --release -p directory --example kv_throughput`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use common::id::ClusterId;
use directory::kv::embedded::{Embedded, Options};
use directory::kv::{Meta, Store, Write};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = Arc::new(Embedded::open(dir.path(), ClusterId::random(), &Options::default())?);
    for (tasks, commits, writes) in [(1_u32, 500_u32, 1_u32), (64, 100, 1), (64, 100, 20), (1, 50, 1_000)] {
        let start = Instant::now();
        let before = store.syncs();
        let mut running = tokio::task::JoinSet::new();
        for task in 0..tasks {
            let store = store.clone();
            running.spawn(async move {
                for commit in 0..commits {
                    let key = |n: u32| [task, commit, n].map(u32::to_be_bytes).concat();
                    let batch = (0..writes).map(|n| Write::Put { key: key(n), value: vec![1; 100] }).collect();
                    store.commit(vec![], batch, Meta::default()).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = f64::from(tasks * commits) / seconds;
        let syncs = store.syncs() - before;
        writeln!(
            std::io::stdout(),
            "{tasks:>3} tasks, {writes:>5} writes of 100 B: {rate:>8.0} commits/s, {:>8.0} writes/s, {syncs} syncs",
            rate * f64::from(writes)
        )?;
    }
    store.close().await?;
    Ok(())
}
