//! Fanout: what a put costs when the device sends every copy (star) and when the peers pass one on (chain).
//!
//! On a line that limits what the device sends to all peers together, by `tc` between two network namespaces (needs root), and on
//! loopback without a limit. Peers reach each other without a limit.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use common::redundancy::Redundancy;
use common::size::ByteSize;
use tests::harness::cable::{Cable, SERVERS};
use tests::harness::{Cluster, ClusterOptions, Running, content};

/// Measures puts as a star and along a chain, on thin lines and on loopback.
#[derive(Parser)]
#[command(name = "fanout", after_help = "Examples:\n  fanout\n  fanout --rate 20,0 --size 32MiB --rounds 5")]
struct Options {
    /// Mbit/s that the device can send in all; 0 is loopback without a limit. Several with commas between them
    #[arg(long, value_delimiter = ',', default_value = "100,0")]
    rate: Vec<u64>,
    /// Size of each file
    #[arg(long, default_value = "64MiB")]
    size: ByteSize,
    /// 1/n, with n peers
    #[arg(long, default_value = "1/3")]
    redundancy: Redundancy,
    /// Puts of each kind, in turn; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Where the cluster's folder is made
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    below: PathBuf,
}

/// What one put took.
#[derive(Clone, Copy)]
struct Took {
    seconds: f64,
    /// How often the content left the device.
    copies: f64,
    client_cpu: f64,
    peers_cpu: f64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:>6} {:<6} {:>8} {:>8} {:>12} {:>13} {:>12}",
        "Mbit/s", "", "seconds", "MB/s", "copies sent", "client CPU s", "peers CPU s"
    )?;
    for rate in &options.rate {
        let cable = if *rate == 0 { None } else { Cable::lay(1_500)? };
        if *rate > 0 && cable.is_none() {
            continue;
        }
        let mut cluster = Cluster::start(cluster_options(&options, cable.as_ref()))?;
        if let Some(cable) = &cable {
            cable.limit_devices(*rate)?;
        }
        let mut took = [Vec::new(), Vec::new()];
        for round in 0..options.rounds.max(1) {
            for (number, (way, took)) in (0..).zip(["star", "chain"].iter().zip(&mut took)) {
                took.push(put(&cluster, &options, way, round * 2 + number)?);
            }
        }
        for (way, took) in ["star", "chain"].iter().zip(took) {
            let Took { seconds, copies, client_cpu, peers_cpu } = median(took)?;
            let speed = float(options.size.0) / 1e6 / seconds;
            writeln!(
                out,
                "{rate:>6} {way:<6} {seconds:>8.2} {speed:>8.1} {copies:>12.2} {client_cpu:>13.2} {peers_cpu:>12.2}"
            )?;
        }
        cluster.stop()?;
    }
    Ok(())
}

fn cluster_options(options: &Options, cable: Option<&Cable>) -> ClusterOptions {
    let plain = ClusterOptions {
        peers: options.redundancy.n(),
        redundancy: options.redundancy.to_string(),
        below: Some(options.below.clone()),
        ..ClusterOptions::default()
    };
    let Some(cable) = cable else { return plain };
    let namespaces = [Some(cable.servers.clone()), Some(cable.devices.clone())];
    ClusterOptions { host: SERVERS.to_owned(), namespaces, ..plain }
}

/// New content each time: what is stored already is not sent.
fn put(cluster: &Cluster, options: &Options, way: &str, seed: u64) -> Result<Took> {
    let source = cluster.root().join("source");
    content::make_file(&source, seed, options.size.0)?;
    let cpu = || cluster.peers.iter().flatten().map(Running::cpu_seconds).sum::<f64>();
    let before = cpu();
    let path = source.to_str().context("a folder with a name in UTF-8")?;
    let answer = cluster.shoal(["--json", "put", path, &format!("/file{seed}"), "--fanout", way])?.expect(0)?;
    let text = answer.text();
    let end: serde_json::Value = serde_json::from_str(text.lines().last().context("an answer")?)?;
    let sent = end.pointer("/wire/sent_bytes").and_then(serde_json::Value::as_f64).context("bytes on the wire")?;
    let copies = sent / float(options.size.0);
    Ok(Took { seconds: answer.seconds, copies, client_cpu: answer.cpu_seconds, peers_cpu: cpu() - before })
}

/// The put that took the middle time.
fn median(mut took: Vec<Took>) -> Result<Took> {
    took.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    took.get(took.len() / 2).copied().context("at least one round")
}

/// Shown, never computed with further.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn float(number: u64) -> f64 {
    number as f64
}
