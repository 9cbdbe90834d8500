//! Benchmarks against real processes. docs/PERFORMANCE.md has the commands, what they measured, and on what.

mod devices;
mod figures;
mod memory;
mod throughput;

use std::io::Write as _;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures Shoal: memory, throughput, and many devices at once. Starts its own clusters and leaves nothing behind.
#[derive(Parser)]
#[command(
    name = "bench",
    after_help = "Examples:\n  bench memory --size 4GiB\n  bench devices --devices 1000\n  bench throughput --size 1GiB"
)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Puts and gets a large file; fails when a process ever had more memory resident than it may
    Memory(memory::Options),
    /// Connects many devices to one directory and has them ask small things
    Devices(devices::Options),
    /// Puts and gets a file several times, and shows the medians
    Throughput(throughput::Options),
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}

fn main() -> Result<()> {
    match Options::parse().command {
        Command::Memory(options) => memory::run(&options),
        Command::Devices(options) => devices::run(&options),
        Command::Throughput(options) => throughput::run(&options),
    }
}
