//! What a network leaves of Shoal: a file up and down at `1/1` over relays with a rate, a delay and loss, against the link itself.
//!
//! Client, directory and peer are real processes on this machine; the directory and the peer are each behind a relay that drops
//! packets above 1,500 bytes, as the internet does. What the relay alone carries is measured first, with plain UDP.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use common::redundancy::Redundancy;
use common::size::ByteSize;
use tests::harness::{Answer, Cluster, ClusterOptions, Conditions, Direction, Relay, content};

/// Measures put and get over a slow, long or lossy line, as a share of what the line carries.
#[derive(Parser)]
#[command(
    name = "network",
    after_help = "Examples:\n  network\n  network --rate 100 --loss 1,5 --congestion bbr,cubic\n  network --rate 20 --delay 100ms --redundancy 1/3"
)]
struct Options {
    /// Mbit/s of IP packets, each way and for each server; several with commas between them
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    rate: Vec<u64>,
    /// How long a packet is on the way, one way: 25ms are 50 there and back
    #[arg(long, value_parser = humantime::parse_duration, default_value = "25ms")]
    delay: Duration,
    /// Percent of packets that are lost, each way; several with commas between them
    #[arg(long, value_delimiter = ',', default_value = "0,1")]
    loss: Vec<f64>,
    /// bbr or cubic, several with commas between them
    #[arg(long, value_delimiter = ',', default_value = "bbr,cubic")]
    congestion: Vec<String>,
    /// Size of the file; without it, what the line carries in 8 seconds
    #[arg(long)]
    size: Option<ByteSize>,
    /// The largest IP packet that passes
    #[arg(long, default_value_t = 1_500)]
    mtu: usize,
    /// Bytes that may wait for the line; without it, what it carries in 100 ms
    #[arg(long)]
    queue: Option<ByteSize>,
    /// k/n, with n peers
    #[arg(long, default_value = "1/1")]
    redundancy: Redundancy,
    /// Gives up on a command after so long: a collapsed line takes for ever
    #[arg(long, value_parser = humantime::parse_duration, default_value = "60s")]
    patience: Duration,
    /// Where the cluster's folder is made
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    below: PathBuf,
}

fn main() -> Result<()> {
    let options = Options::parse();
    say(&format!(
        "{:>6} {:>5} {:>6} {:<8} {:>9} {:>8} {:>8}  {:>7} {:>7}\n",
        "Mbit/s", "loss", "", "", "seconds", "Mbit/s", "of link", "lost", "dropped"
    ))?;
    for rate in &options.rate {
        say(&raw(&options, *rate)?)?;
        for congestion in &options.congestion {
            for loss in &options.loss {
                let environment = vec![("SHOAL_CONGESTION".to_owned(), congestion.clone())];
                measure(&options, *rate, *loss, congestion, environment)?;
            }
        }
    }
    Ok(())
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")?;
    Ok(out.flush()?)
}

impl Options {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a million")]
    fn conditions(&self, rate: u64, loss: f64) -> Conditions {
        Conditions::both(Direction {
            delay: self.delay,
            lost_per_million: (loss.clamp(0.0, 100.0) * 10_000.0) as u32,
            rate: Some(rate * 1_000_000),
            queue: self.queue.map(|size| size.0),
            mtu: Some(self.mtu),
            ..Direction::default()
        })
    }

    fn size(&self, rate: u64) -> u64 {
        self.size.map_or(rate * 1_000_000, |size| size.0)
    }
}

/// What the relay carries by itself: full packets, a tenth faster than the line.
fn raw(options: &Options, rate: u64) -> Result<String> {
    const TIME: Duration = Duration::from_secs(2);
    let relay = Relay::start(options.conditions(rate, 0.0), 1)?;
    let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    relay.lead_to(receiver.local_addr()?);
    sender.connect(relay.address())?;
    let payload = options.mtu.saturating_sub(28);
    let pause = Duration::from_nanos(options.mtu as u64 * 8_000 / rate * 10 / 11);
    let counter = std::thread::spawn(move || -> Result<(u32, Duration)> {
        let mut buffer = vec![0; 65_536];
        receiver.set_read_timeout(Some(Duration::from_secs(1)))?;
        receiver.recv(&mut buffer)?;
        let (since, mut last, mut count) = (Instant::now(), Instant::now(), 0);
        while receiver.recv(&mut buffer).is_ok() {
            count += 1;
            last = Instant::now();
        }
        Ok((count, last - since))
    });
    let (since, packet) = (Instant::now(), vec![0; payload]);
    let mut sent = 0;
    while since.elapsed() < TIME {
        while since.elapsed() > pause * sent {
            sender.send(&packet)?;
            sent += 1;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let Ok(counted) = counter.join() else { bail!("the counter panicked") };
    let (count, time) = counted?;
    let mbit = f64::from(count) * float(options.mtu as u64) * 8.0 / 1e6 / time.as_secs_f64();
    Ok(row(rate, 0.0, "plain", "UDP", Some((time.as_secs_f64(), mbit)), relay.counts().lost, relay.counts().overflowed))
}

fn measure(
    options: &Options,
    rate: u64,
    loss: f64,
    congestion: &str,
    environment: Vec<(String, String)>,
) -> Result<()> {
    let mut cluster = Cluster::start(ClusterOptions {
        peers: options.redundancy.n(),
        redundancy: options.redundancy.to_string(),
        below: Some(options.below.clone()),
        relays: Some(Conditions::default()),
        environment,
        ..ClusterOptions::default()
    })?;
    let work = cluster.root().join("work");
    fs::create_dir(&work)?;
    let (source, back) = (work.join("source"), work.join("back"));
    let size = options.size(rate);
    content::make_file(&source, rate, size)?;
    for relay in &cluster.relays {
        relay.set(options.conditions(rate, loss));
    }
    let mut lines = String::new();
    for (verb, arguments) in [
        ("put", ["put".as_ref(), source.as_path(), "/file".as_ref()]),
        ("get", ["get".as_ref(), "/file".as_ref(), &back]),
    ] {
        let before = dropped(&cluster);
        let limit = format!("{}", options.patience.as_secs());
        let shoal = cluster.shoal_command("device", arguments)?;
        let mut limited = std::process::Command::new("timeout");
        limited.args(["--signal=KILL", &limit]).arg(shoal.get_program()).args(shoal.get_args());
        limited.envs(shoal.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let answer = tests::harness::process::run(limited, None)?;
        let after = dropped(&cluster);
        let figures = judge(&answer, size)?;
        let [lost, overflowed] = [after[0] - before[0], after[1] - before[1]];
        lines += &row(rate, loss, congestion, verb, figures, lost, overflowed);
        if figures.is_none() {
            break;
        }
    }
    if back.exists() {
        content::compare(&source, &back).context("what came back")?;
    }
    for relay in &cluster.relays {
        relay.set(Conditions::default());
    }
    cluster.stop()?;
    say(&lines)
}

/// Seconds and Mbit/s of payload; nothing when it took too long.
fn judge(answer: &Answer, size: u64) -> Result<Option<(f64, f64)>> {
    match answer.status {
        Some(0) => Ok(Some((answer.seconds, float(size) * 8.0 / 1e6 / answer.seconds))),
        None | Some(137) => Ok(None),
        Some(code) => bail!("exit code {code}: {}", answer.stderr),
    }
}

fn dropped(cluster: &Cluster) -> [u64; 2] {
    let counts = || cluster.relays.iter().map(Relay::counts);
    [counts().map(|counts| counts.lost).sum(), counts().map(|counts| counts.overflowed).sum()]
}

/// Shown, never computed with further.
#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn float(number: u64) -> f64 {
    number as f64
}

fn row(rate: u64, loss: f64, how: &str, what: &str, figures: Option<(f64, f64)>, lost: u64, overflowed: u64) -> String {
    let mut text = format!("{rate:>6} {loss:>4}% {how:>6} {what:<8} ");
    let _ = match figures {
        Some((seconds, mbit)) => {
            let share = 100.0 * mbit / float(rate);
            writeln!(text, "{seconds:>9.2} {mbit:>8.1} {share:>7.0}%  {lost:>7} {overflowed:>7}")
        }
        None => writeln!(text, "{:>9} {:>8} {:>8}  {lost:>7} {overflowed:>7}", "too long", "", ""),
    };
    text
}
