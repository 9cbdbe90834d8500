//! Sync: what a folder of many files costs when nothing has changed, in both directions; what listing it costs, and another key.
//!
//! One folder of `--files` files of 1 KiB each, and the same files spread over folders of a hundred. Directory, peer and client share the
//! machine; CPU seconds are those of each. Beside it `rsync -a` from folder to folder on this machine, where it is installed.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::Value;
use tests::harness::process::run;
use tests::harness::{Answer, Cluster, ClusterOptions, Running, content};

/// Measures what a sync costs that has nothing to do.
#[derive(Parser)]
#[command(name = "sync", after_help = "Examples:\n  sync\n  sync --files 10000")]
struct Options {
    #[arg(long, default_value_t = 100_000)]
    files: usize,
    /// How often each is done; the fastest is shown
    #[arg(long, default_value_t = 3)]
    times: usize,
    /// Where the cluster's folder is made
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    below: PathBuf,
}

const LEN: usize = 1_024;
/// Files in one folder, where they are spread.
const SPREAD: usize = 100;

fn main() -> Result<()> {
    let options = Options::parse();
    let cluster = Cluster::start(ClusterOptions {
        peers: 1,
        redundancy: "1/1".to_owned(),
        below: Some(options.below.clone()),
        ..ClusterOptions::default()
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{:<34} {:>9} {:>12} {:>15} {:>12}", "", "seconds", "CPU s client", "CPU s directory", "memory MiB")?;
    for (name, spread) in [("flat", options.files), ("spread", SPREAD)] {
        let (here, back) = (cluster.root().join(name), cluster.root().join(format!("{name}-back")));
        fill(&here, options.files, spread)?;
        let (local, local_back) = (text(&here)?, text(&back)?);
        let remote = format!("shoal:/{name}");
        let measure = |what: &str, line: &[&str], times: usize, out: &mut dyn Write| {
            let (mut best, mut directory) = (None::<Answer>, 0.0);
            for _ in 0..times {
                let before = cluster.directory.as_ref().map_or(0.0, Running::cpu_seconds);
                let answer = cluster.shoal(line)?.expect(0)?;
                let after = cluster.directory.as_ref().map_or(0.0, Running::cpu_seconds);
                if best.as_ref().is_none_or(|best| answer.seconds < best.seconds) {
                    (best, directory) = (Some(answer), after - before);
                }
            }
            let best = best.context("it was done at least once")?;
            row(out, &format!("{name}: {what}"), &best, directory)?;
            Ok::<_, anyhow::Error>(best)
        };
        measure("up, all new", &["--quiet", "sync", local, &remote], 1, &mut out)?;
        let again = measure("up, nothing changed", &["--json", "sync", local, &remote], options.times, &mut out)?;
        expect_nothing(&again)?;
        let delete = ["--json", "sync", "--delete", local, &remote];
        expect_nothing(&measure("up, nothing changed, --delete", &delete, options.times, &mut out)?)?;
        measure("up, nothing changed, --checksum", &["--quiet", "sync", "--checksum", local, &remote], 1, &mut out)?;
        measure("down, all new", &["--quiet", "sync", &remote, local_back], 1, &mut out)?;
        let again =
            measure("down, nothing changed", &["--json", "sync", &remote, local_back], options.times, &mut out)?;
        expect_nothing(&again)?;
        measure("ls -r", &["ls", "-r", &format!("/{name}")], options.times, &mut out)?;
        measure("verify", &["--quiet", "verify", &format!("/{name}")], options.times, &mut out)?;
        measure("du, of all", &["--quiet", "du"], options.times, &mut out)?;
        measure("key rotate", &["--quiet", "key", "rotate", "--yes"], 1, &mut out)?;
        let mut rsync = Command::new("rsync");
        rsync.args(["-a", &format!("{local}/"), local_back]);
        if let Ok(answer) = run(rsync, None) {
            row(&mut out, &format!("{name}: rsync -a, local to local"), &answer, 0.0)?;
        }
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a folder with a name in UTF-8")
}

fn fill(root: &Path, files: usize, spread: usize) -> Result<()> {
    for number in 0..files {
        let folder = if spread >= files { root.to_owned() } else { root.join(format!("{:05}", number / spread)) };
        if number.is_multiple_of(spread) {
            fs::create_dir_all(&folder)?;
        }
        fs::write(folder.join(format!("file{number:06}")), content::bytes(u64::try_from(number)?, LEN))?;
    }
    Ok(())
}

fn row(out: &mut dyn Write, name: &str, answer: &Answer, directory: f64) -> Result<()> {
    let memory = answer.peak_memory >> 20;
    writeln!(out, "{name:<34} {:>9.2} {:>12.2} {directory:>15.2} {memory:>12}", answer.seconds, answer.cpu_seconds)?;
    Ok(out.flush()?)
}

/// No step was told.
fn expect_nothing(answer: &Answer) -> Result<()> {
    for line in answer.text().lines() {
        let event: Value = serde_json::from_str(line)?;
        if event.get("event").and_then(Value::as_str) == Some("step") {
            bail!("something was done: {line}");
        }
    }
    Ok(())
}
