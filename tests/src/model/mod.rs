//! The model test: histories of random commands, losses, restarts and clocks, on clusters in this process, each beside a reference in memory.
//!
//! - [`operation`]: what can happen, and what happens next;
//! - [`tree`]: the reference; `contents`: what files are made of;
//! - [`node`], [`cluster`], [`device`]: a directory, peers and users' devices, with their real network and their real folders;
//! - [`history`]: a cluster beside the reference, step by step; [`settle`]: what must be so at the end.
//!
//! What a seed draws is always the same; when it happens is not, since nodes run as they run. So a history that failed may have to be run
//! more than once to fail again.
//!
//! Non-goals: kills between any two instructions, power cuts, full and rotten disks, and bad networks: other tests have them.

pub mod cluster;
mod contents;
pub mod device;
pub mod history;
pub mod node;
pub mod operation;
mod settle;
mod stone;
pub mod tree;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::Builder;

use crate::harness::dice::Dice;
use history::{History, Tally};

/// What became of one history.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub took: Duration,
    pub tally: Tally,
    /// What was wrong.
    pub failure: Option<String>,
    /// All that was done.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, took, tally, failure, trace } = self;
        match failure {
            Some(failure) => write!(f, "history {seed} failed: {failure}\n  {}", trace.join("\n  ")),
            None => write!(f, "history {seed} is good, {took:.1?}: {tally:?}\n  {}", trace.join("\n  ")),
        }
    }
}

/// Runs one history to its end.
#[must_use]
pub fn run(seed: u64, steps: u64) -> Outcome {
    let begun = Instant::now();
    let mut trace = Vec::new();
    let result = on_a_thread(seed, steps, &mut trace);
    let tally = result.as_ref().copied().unwrap_or_default();
    let failure = result.err().map(|error| format!("{error:#}"));
    Outcome { seed, took: begun.elapsed(), tally, failure, trace }
}

fn on_a_thread(seed: u64, steps: u64, trace: &mut Vec<String>) -> Result<Tally> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let mut history = History::begin(seed).await?;
        let result = history.run(steps).await;
        history.say("over");
        *trace = std::mem::take(&mut history.trace);
        let tally = result?;
        history.end().await.map(|()| tally)
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    result
}

/// Steps of a history, by its seed.
#[must_use]
pub fn steps_of(seed: u64) -> u64 {
    8 + Dice::new(seed ^ 0xdead_beef).below(17)
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
