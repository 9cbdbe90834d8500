//! The model test: histories of random commands, losses, restarts and clocks, on clusters in this process, each beside a reference in memory.
//!
//! - [`random`]: what a history is drawn from; [`operation`]: what can happen, and what happens next;
//! - [`tree`]: the reference;
//! - [`node`], [`cluster`], [`device`]: a directory, peers and users' devices, with their real network and their real folders;
//! - [`history`]: a cluster beside the reference, step by step; [`settle`]: what must be so at the end.
//!
//! What a seed draws is always the same; when it happens is not, since nodes run as they run. So a history that failed may have to be run
//! more than once to fail again.
//!
//! Non-goals: kills between any two instructions, power cuts, full and rotten disks, and bad networks: other tests have them.

pub mod cluster;
pub mod device;
pub mod history;
pub mod node;
pub mod operation;
pub mod random;
mod settle;
pub mod tree;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use tokio::runtime::Builder;

use history::{History, Tally};
use random::Random;

/// What became of one history.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub took: Duration,
    pub tally: Tally,
    /// What was wrong, and all that was done.
    pub failure: Option<String>,
}

/// Runs one history to its end.
#[must_use]
pub fn run(seed: u64, steps: u64) -> Outcome {
    let begun = Instant::now();
    let result = on_a_thread(seed, steps);
    let took = begun.elapsed();
    match result {
        Ok(tally) => Outcome { seed, took, tally, failure: None },
        Err(error) => {
            let failure = Some(format!("history {seed} failed: {error:#}"));
            Outcome { seed, took, tally: Tally::default(), failure }
        }
    }
}

fn on_a_thread(seed: u64, steps: u64) -> Result<Tally> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut history = History::begin(seed).await?;
        match history.run(steps).await {
            Ok(tally) => history.end().await.map(|()| tally),
            Err(error) => Err(anyhow!("{error:#}\n  {}", history.trace.join("\n  "))),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    result
}

/// Steps of a history, by its seed.
#[must_use]
pub fn steps_of(seed: u64) -> u64 {
    8 + Random::new(seed ^ 0xdead_beef).below(17)
}

/// Runs many, some at once, and tells of each.
pub fn run_many(seeds: impl Iterator<Item = u64> + Send, at_once: usize, tell: impl Fn(&Outcome) + Sync) -> u64 {
    let (seeds, failed) = (Mutex::new(seeds), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = seeds.lock().ok().and_then(|mut seeds| seeds.next());
                    let Some(seed) = next else { break };
                    let outcome = run(seed, steps_of(seed));
                    failed.fetch_add(u64::from(outcome.failure.is_some()), Ordering::Relaxed);
                    tell(&outcome);
                }
            });
        }
    });
    failed.into_inner()
}
