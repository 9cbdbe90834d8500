//! Odds: how likely it is to lose anything within a year, for redundancies, numbers of peers and failure rates side by side.
//!
//! `tests::odds` says what the model is and what it leaves out; docs/DURABILITY.md has the table of the defaults.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use common::redundancy::Redundancy;
use common::size::ByteSize;
use tests::odds::{Cluster, Zones};

/// The probability that a cluster loses at least one chunk within a year.
#[derive(Parser)]
#[command(
    name = "odds",
    after_help = "Examples:\n  odds\n  odds --redundancy 4/6 --peers 8 --afr 2 --stored 8TB --repair-rate 500MB\n  odds --redundancy 1/3 --peers 9 --zones 3 --zone-afr 0.1"
)]
struct Options {
    /// k/n; several with commas between them
    #[arg(long, value_delimiter = ',', default_value = "1/1,1/2,1/3,2/3,4/6,10/14")]
    redundancy: Vec<Redundancy>,
    /// How many peers; several with commas between them
    #[arg(long, value_delimiter = ',', default_value = "3,6,20")]
    peers: Vec<u32>,
    /// Percent of peers that are lost with all they hold within a year; several with commas between them
    #[arg(long, value_delimiter = ',', default_value = "2,5,20")]
    afr: Vec<f64>,
    /// From a peer's end until it counts as lost
    #[arg(long, value_parser = humantime::parse_duration, default_value = "1m")]
    detection: Duration,
    /// How much longer repair waits while more than k shards are left
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10m")]
    grace: Duration,
    /// From a peer's end until another stands in its place, for clusters with no peer to spare
    #[arg(long, value_parser = humantime::parse_duration, default_value = "3days")]
    replacement: Duration,
    /// Bytes that each peer holds
    #[arg(long, default_value = "1TB")]
    stored: ByteSize,
    /// Bytes a second that repair may read and write, all together, as the directory's --repair-rate; 0 for no bound
    #[arg(long, default_value = "64MiB")]
    repair_rate: ByteSize,
    /// Bytes a second that one peer can read and write
    #[arg(long, default_value = "100MB")]
    bandwidth: ByteSize,
    /// The size of a chunk
    #[arg(long, default_value = "3MiB")]
    chunk: ByteSize,
    /// Shards that become unreadable unnoticed, a peer and year
    #[arg(long, default_value_t = 0.013)]
    latent: f64,
    /// Every shard is looked at once in this time
    #[arg(long, value_parser = humantime::parse_duration, default_value = "14days")]
    scrub: Duration,
    /// Zones that peers are spread over evenly; they count with --zone-afr alone
    #[arg(long, default_value_t = 1)]
    zones: u32,
    /// Percent of zones that are lost with all their peers within a year
    #[arg(long, default_value_t = 0.0)]
    zone_afr: f64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    for share in options.afr.iter().chain([&options.zone_afr]) {
        ensure!((0.0..100.0).contains(share), "{share} % is no rate: from 0 to below 100");
    }
    ensure!(options.bandwidth.0 > 0 && options.chunk.0 > 0, "bandwidth and chunks are above zero");
    let mut out = std::io::stdout().lock();
    write!(out, "{}", options.table())?;
    Ok(out.flush()?)
}

impl Options {
    fn cluster(&self, peers: u32, percent: f64) -> Cluster {
        let hours = |time: Duration| time.as_secs_f64() / 3_600.0;
        let zones =
            (self.zone_afr > 0.0).then(|| Zones { count: self.zones, annual_failure_rate: self.zone_afr / 100.0 });
        Cluster {
            peers,
            annual_failure_rate: percent / 100.0,
            detection: hours(self.detection),
            grace: hours(self.grace),
            replacement: hours(self.replacement),
            stored: float(self.stored.0),
            rate: (self.repair_rate.0 > 0).then(|| float(self.repair_rate.0)),
            bandwidth: float(self.bandwidth.0),
            chunk: float(self.chunk.0),
            latent: self.latent,
            scrub: hours(self.scrub),
            zones,
        }
    }

    fn table(&self) -> String {
        let mut text = format!("{:<10} {:>6} {:>6} {:>9}", "redundancy", "peers", "space", "repair");
        for percent in &self.afr {
            let _ = write!(text, " {:>9}", format!("AFR {percent}%"));
        }
        text.push('\n');
        for redundancy in &self.redundancy {
            for peers in &self.peers {
                let _ = writeln!(text, "{}", self.row(*redundancy, *peers));
            }
        }
        text
    }

    fn row(&self, redundancy: Redundancy, peers: u32) -> String {
        let space = float(redundancy.n() as u64) / float(redundancy.k() as u64);
        let mut text = format!("{:<10} {peers:>6} {:>6}", redundancy.to_string(), format!("{space:.2}x"));
        let time = self.cluster(peers, 1.0).repair_time(redundancy, 1).filter(|_| redundancy.losses() > 0);
        let time = time.filter(|_| peers as usize >= redundancy.n());
        let _ = write!(text, " {:>9}", time.map_or("-".to_owned(), |hours| format!("{hours:.1} h")));
        for percent in &self.afr {
            let odds = self.cluster(peers, *percent).loss(redundancy, 1.0);
            let _ = write!(text, " {:>9}", odds.map_or("-".to_owned(), |odds| format!("{odds:.1e}")));
        }
        text
    }
}

/// Sizes are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}
