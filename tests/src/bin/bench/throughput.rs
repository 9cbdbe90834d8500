//! Throughput: a file up and down, several times, the medians. `cp` with an fsync beside it, in the same run, is what the disk gives.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use common::redundancy::Redundancy;
use common::size::ByteSize;
use tests::harness::{Cluster, ClusterOptions, content};

use super::figures::{check_room, median, per_gib, rate, step};
use super::say;

#[derive(Args)]
pub(crate) struct Options {
    /// Size of the file; a new one each time, so that nothing is deduplicated
    #[arg(long, default_value = "1GiB")]
    size: ByteSize,
    /// k/n, several with commas between them
    #[arg(long, value_delimiter = ',', default_value = "1/1,1/3")]
    redundancy: Vec<Redundancy>,
    /// How often each is measured
    #[arg(long, default_value_t = 3)]
    times: u32,
    /// Where the clusters' folders are made
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    below: PathBuf,
}

/// Seconds, and CPU seconds of client, directory and all peers.
type Sample = (f64, [f64; 3]);

struct Row {
    what: String,
    samples: Vec<Sample>,
}

/// # Errors
/// When a command fails or a file comes back changed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let shards = options.redundancy.iter().map(|redundancy| redundancy.n()).max().unwrap_or(1);
    let stored = options.size.0 * u64::try_from(shards)? * u64::from(options.times);
    check_room(&options.below, 3 * options.size.0 + stored)?;
    let mut rows = vec![Row { what: "cp, then fsync".to_owned(), samples: Vec::new() }];
    for redundancy in &options.redundancy {
        say(&format!("{redundancy} ..."))?;
        let measured = measure(options, *redundancy, rows.first_mut())?;
        rows.extend(measured);
    }
    say(&table(&rows, options.size.0))
}

fn measure(options: &Options, redundancy: Redundancy, cp: Option<&mut Row>) -> Result<[Row; 2]> {
    let mut cluster = Cluster::start(ClusterOptions {
        peers: redundancy.n(),
        redundancy: redundancy.to_string(),
        below: Some(options.below.clone()),
        ..ClusterOptions::default()
    })?;
    let work = cluster.root().join("work");
    fs::create_dir(&work)?;
    let (source, back) = (work.join("made-up.bin"), work.join("back.bin"));
    let row = |verb| Row { what: format!("{verb} at {redundancy}"), samples: Vec::new() };
    let (mut up, mut down, mut copies) = (row("put"), row("get"), Vec::new());
    for time in 0..options.times {
        content::make_file(&source, u64::from(time) + 1, options.size.0)?;
        File::open(&source)?.sync_all()?;
        let remote = PathBuf::from(format!("/file{time}"));
        up.samples.push(sample(&cluster, &["put".as_ref(), &source, &remote])?);
        down.samples.push(sample(&cluster, &["get".as_ref(), &remote, &back])?);
        content::compare(&source, &back)?;
        fs::remove_file(&back)?;
        copies.push(copy(&source, &back)?);
        fs::remove_file(&back)?;
    }
    cluster.stop()?;
    if let Some(cp) = cp {
        cp.samples.append(&mut copies);
    }
    Ok([up, down])
}

fn sample(cluster: &Cluster, arguments: &[&Path]) -> Result<Sample> {
    let done = step(cluster, arguments)?;
    let directory = done.spent.first().map_or(0.0, |(_, seconds)| *seconds);
    let peers = done.spent.iter().skip(1).map(|(_, seconds)| seconds).sum();
    Ok((done.answer.seconds, [done.answer.cpu_seconds, directory, peers]))
}

fn copy(from: &Path, to: &Path) -> Result<Sample> {
    let since = Instant::now();
    fs::copy(from, to)?;
    File::open(to)?.sync_all()?;
    Ok((since.elapsed().as_secs_f64(), [0.0; 3]))
}

fn table(rows: &[Row], bytes: u64) -> String {
    let mut text = format!(
        "{:<16} {:>8} {:>9}  {:>27} {:>20}\n",
        "median", "seconds", "MB/s", "CPU s/GiB client+dir+peers", "MB/s of all times"
    );
    for row in rows {
        let of = |pick: fn(&Sample) -> f64| median(row.samples.iter().map(pick).collect());
        let seconds = of(|(seconds, _)| *seconds);
        let cpu =
            [of(|(_, [client, ..])| *client), of(|(_, [_, directory, _])| *directory), of(|(_, [.., peers])| *peers)];
        let [client, directory, peers] = cpu.map(|seconds| per_gib(seconds, bytes));
        let sum = client + directory + peers;
        let cpu =
            if sum > 0.0 { format!("{client:.2} + {directory:.2} + {peers:.2} = {sum:.2}") } else { String::new() };
        let all: Vec<String> = row.samples.iter().map(|(seconds, _)| format!("{:.0}", rate(bytes, *seconds))).collect();
        let (what, rate, all) = (&row.what, rate(bytes, seconds), all.join(" "));
        let _ = writeln!(text, "{what:<16} {seconds:>8.2} {rate:>9.0}  {cpu:>27} {all:>20}");
    }
    text
}
