//! Memory: how much every process has resident while a file goes up and comes back that is much larger than what it may use.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use common::redundancy::Redundancy;
use common::size::ByteSize;
use tests::harness::{Cluster, ClusterOptions, content};

use super::figures::{Step, check_room, mib, per_gib, rate, step};
use super::say;

#[derive(Args)]
pub(crate) struct Options {
    /// Size of the file
    #[arg(long, default_value = "4GiB")]
    size: ByteSize,
    /// k/n: any k of n shards rebuild a chunk; there are as many peers as shards
    #[arg(long, default_value = "1/3")]
    redundancy: Redundancy,
    /// The most that any process may ever have resident
    #[arg(long, default_value = "256MiB")]
    limit: ByteSize,
    /// Where the cluster's folder is made
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    below: PathBuf,
}

/// A process: what it spent on each step, and its peak after each.
struct Line {
    name: String,
    cells: Vec<(f64, u64)>,
}

fn cells(cluster: &Cluster, done: &Step) -> Vec<(String, f64, u64)> {
    let client = ("client".to_owned(), done.answer.cpu_seconds, done.answer.peak_memory);
    let peaks = cluster.processes().map(tests::harness::Running::peak_memory);
    let served = done.spent.iter().zip(peaks).map(|((name, cpu), peak)| (name.clone(), *cpu, peak));
    std::iter::once(client).chain(served).collect()
}

/// # Errors
/// When a process was over the limit, or the file came back changed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let bytes = options.size.0;
    let shards = u64::try_from(options.redundancy.n())?;
    let stored = bytes / u64::try_from(options.redundancy.k())? * shards;
    check_room(&options.below, 2 * bytes + stored + bytes / 8)?;
    let mut cluster = Cluster::start(ClusterOptions {
        peers: options.redundancy.n(),
        redundancy: options.redundancy.to_string(),
        below: Some(options.below.clone()),
        ..ClusterOptions::default()
    })?;
    let work = cluster.root().join("work");
    fs::create_dir(&work)?;
    let (source, back) = (work.join("made-up.bin"), work.join("back.bin"));
    content::make_file(&source, 1, bytes)?;
    say(&format!("{} at {}, up and down, {} peers", options.size, options.redundancy, shards))?;
    let put = step(&cluster, &["put".as_ref(), &source, "/file".as_ref()])?;
    let up = cells(&cluster, &put);
    let get = step(&cluster, &["get".as_ref(), "/file".as_ref(), &back])?;
    let down = cells(&cluster, &get);
    content::compare(&source, &back)?;
    cluster.stop()?;

    let lines: Vec<Line> = up
        .into_iter()
        .zip(down)
        .map(|((name, up_cpu, up_peak), (_, cpu, peak))| Line { name, cells: vec![(up_cpu, up_peak), (cpu, peak)] })
        .collect();
    let seconds = [put.answer.seconds, get.answer.seconds];
    say(&table(&lines, bytes, seconds))?;
    let worst = lines.iter().flat_map(|line| &line.cells).map(|(_, peak)| *peak).max().unwrap_or(0);
    if worst > options.limit.0 {
        bail!("a process had {:.0} MiB resident, and may have {:.0}", mib(worst), mib(options.limit.0));
    }
    say(&format!("every process stayed below {:.0} MiB, and every byte came back", mib(options.limit.0)))
}

fn table(lines: &[Line], bytes: u64, seconds: [f64; 2]) -> String {
    let mut text = String::new();
    let [put, get] = seconds;
    let _ = writeln!(
        text,
        "put {:.0} MB/s in {put:.1} s, get {:.0} MB/s in {get:.1} s",
        rate(bytes, put),
        rate(bytes, get)
    );
    let _ = writeln!(text, "{:<12} {:>26} {:>26}", "", "put: CPU s/GiB, peak MiB", "get: CPU s/GiB, peak MiB");
    for line in lines {
        let _ = write!(text, "{:<12}", line.name);
        for (cpu, peak) in &line.cells {
            let _ = write!(text, " {:>16.2} {:>9.0}", per_gib(*cpu, bytes), mib(*peak));
        }
        text.push('\n');
    }
    text
}
