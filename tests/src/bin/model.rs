//! The long run of the model test: `cargo run --release -p tests --features long --bin model -- --histories 10000 --seed 1`.
//!
//! A history that fails is printed with its seed and its steps, and run again by `--history-seed`.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use common::telemetry::{self, LogFormat};
use tests::model;

#[derive(Parser)]
struct Args {
    /// How many histories to run.
    #[arg(long, default_value_t = 100)]
    histories: u64,
    /// The first one's seed; the others count up from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many run at the same time; they wait more than they work.
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// Makes heartbeats, and all that is counted in them, slower by this factor: for a machine that is busy with other things.
    #[arg(long, default_value_t = 1)]
    pace: u32,
    /// Begins no further history after so long a time.
    #[arg(long, value_parser = humantime::parse_duration)]
    time: Option<Duration>,
    /// Runs this history alone.
    #[arg(long)]
    history_seed: Option<u64>,
    /// Does so many steps in each, in place of 8 to 24.
    #[arg(long)]
    steps: Option<u64>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    telemetry::start(LogFormat::Text, "off")?;
    model::cluster::set_pace(args.pace);
    if let Some(seed) = args.history_seed {
        let outcome = model::run(seed, args.steps.unwrap_or_else(|| model::steps_of(seed)));
        writeln!(stdout(), "{outcome}")?;
        return Ok(if outcome.failure.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    let begun = Instant::now();
    let seeds = (args.seed..args.seed.saturating_add(args.histories))
        .take_while(|_| args.time.is_none_or(|time| begun.elapsed() < time));
    let (done, bad, sum) = (AtomicU64::new(0), AtomicU64::new(0), Mutex::new([0_u64; 8]));
    let failed = model::run_many(seeds, args.at_once, |outcome| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        let tally = outcome.tally;
        let parts = [
            tally.steps,
            tally.commands,
            tally.unknown,
            tally.reads,
            tally.events,
            tally.made,
            tally.collected,
            tally.dropped,
        ];
        if let Ok(mut sum) = sum.lock() {
            sum.iter_mut().zip(parts).for_each(|(sum, part)| *sum += part);
        }
        if outcome.failure.is_some() {
            bad.fetch_add(1, Ordering::Relaxed);
            writeln!(stdout(), "{outcome}\n").ok();
        }
        if done % 50 == 0 {
            let bad = bad.load(Ordering::Relaxed);
            writeln!(stderr(), "{done} histories in {:.0?}, {bad} failed", begun.elapsed()).ok();
        }
    });
    let (done, took) = (done.into_inner(), begun.elapsed());
    let rate = done as f64 / took.as_secs_f64();
    writeln!(stdout(), "{done} histories, {failed} failed, in {took:.0?}: {rate:.1} a second")?;
    let names = [
        "steps",
        "commands",
        "failed or broken off",
        "reads",
        "events",
        "shards made",
        "chunks collected",
        "shards dropped",
    ];
    let sum = sum.into_inner().unwrap_or_default();
    let text: Vec<_> = names.iter().zip(sum).map(|(name, sum)| format!("{sum} {name}")).collect();
    writeln!(stdout(), "{}", text.join(", "))?;
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
