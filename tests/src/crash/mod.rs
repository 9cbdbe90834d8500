//! Crash: a whole cluster under load, in which processes are killed with SIGKILL at random moments and started again at once.
//!
//! [`worlds`] says what may be seen after commands that were cut off, [`worker`] changes files of its own all the time, [`killer`] takes processes away. It runs in rounds: kills under load; then nobody is killed, everybody must be online by
//! themselves, and every folder is read and must be one of the possible worlds, bit for bit. At the end every chunk must get all of its
//! shards back by itself, and the directory's records must fit to each other and to what the peers have.
//!
//! SIGKILL takes what a process had in memory, and not what the kernel has: with `power` the disk of all servers loses that too.
//! The seed repeats what is done and when; how processes interleave is up to the machine.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::harness::process::{eventually, run as run_to_end};
use crate::harness::{Cluster, ClusterOptions, Dice, Fragile};

pub mod killer;
pub mod worker;
pub mod worlds;

use killer::{Killer, Kills};
use worker::{Done, Worker};

/// How long a killed process has until it serves again, and until the directory sees it.
const BACK: Duration = Duration::from_secs(30);

/// Repair, comparison and collection have no patience here: they are what is killed, too.
const SERVE: [&str; 14] = [
    "--heartbeat",
    "200ms",
    "--suspect-after",
    "800ms",
    "--dead-after",
    "2s",
    "--repair-after",
    "1s",
    "--repair-rate",
    "off",
    "--audit-every",
    "200ms",
    "--compare-every",
    "5s",
];

/// What is run.
#[derive(Debug, Clone)]
pub struct Options {
    pub kills: u64,
    pub seed: u64,
    pub peers: usize,
    /// Folders that are changed at the same time.
    pub workers: usize,
    /// Kills between two verifications.
    pub round: u64,
    /// The longest pause between two kills; the average is half of it.
    pub pause: Duration,
    /// What puts ask for, in turns.
    pub redundancies: Vec<String>,
    /// How long the cluster has, at the end, until every chunk has all its shards.
    pub heal: Duration,
    /// Where its folder is made; the system's folder for temporary files otherwise.
    pub below: Option<PathBuf>,
    /// In place of kills the power of all servers is cut.
    pub power: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kills: 200,
            seed: 1,
            peers: 4,
            workers: 4,
            round: 50,
            pause: Duration::from_millis(600),
            redundancies: ["1/3", "2/4"].map(str::to_owned).to_vec(),
            heal: Duration::from_secs(120),
            below: None,
            power: false,
        }
    }
}

/// Of the disk that servers share where their power is cut.
const DISK_BYTES: u64 = 24 << 30;

/// What happened.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub kills: Kills,
    pub done: Done,
    /// Files that were there at the end, and their bytes.
    pub files: u64,
    pub bytes: u64,
    /// From the end of the last round until every chunk had all its shards.
    pub healed: Duration,
}

/// Runs it; `say` gets a line a round.
///
/// # Errors
/// With the first thing that must not be; and the folder is kept then.
pub fn run(options: &Options, say: &mut dyn FnMut(&str)) -> Result<Report> {
    let disk = match options.power {
        true => Some(Fragile::new(DISK_BYTES)?.context("skipped: the power of no disk can be cut here")?),
        false => None,
    };
    let mut cluster = Cluster::start(ClusterOptions {
        servers: disk.as_ref().map(Fragile::at),
        peers: options.peers,
        below: options.below.clone(),
        serve: SERVE.map(str::to_owned).to_vec(),
        ..ClusterOptions::default()
    })?;
    let result = run_on(&mut cluster, options, disk.as_ref(), say);
    let root = cluster.root().to_owned();
    match result {
        Ok(report) => {
            cluster.stop()?;
            Ok(report)
        }
        Err(error) => {
            cluster.end_and_keep();
            Err(error.context(format!("seed {}; folders and logs are kept in {}", options.seed, root.display())))
        }
    }
}

fn run_on(
    cluster: &mut Cluster,
    options: &Options,
    disk: Option<&Fragile>,
    say: &mut dyn FnMut(&str),
) -> Result<Report> {
    let mut dice = Dice::new(options.seed);
    let mut workers = Vec::new();
    for number in 0..options.workers {
        workers.push(Worker::start(cluster, number, options, dice.throw())?);
    }
    let mut killer = Killer::new(dice.throw(), disk);
    while killer.kills.servers() < options.kills {
        let until = options.kills.min(killer.kills.servers() + options.round.max(1));
        round(cluster, &mut workers, &mut killer, until, options.pause)?;
        killer.bring_back(cluster)?;
        let (files, bytes) = verify(cluster, &mut workers, options.peers)?;
        let done: Done = workers.iter().map(|worker| &worker.done).sum();
        say(&format!("{}; {done}; {files} files of {} MiB are right", killer.kills, bytes >> 20));
    }
    let healed = heal(cluster, options.heal)?;
    let (files, bytes) = verify(cluster, &mut workers, options.peers)?;
    no_panics(cluster)?;
    let done = workers.iter().map(|worker| &worker.done).sum();
    Ok(Report { kills: killer.kills, done, files, bytes, healed })
}

/// Kills under load, until so many servers have been killed.
fn round(
    cluster: &mut Cluster,
    workers: &mut [Worker],
    killer: &mut Killer<'_>,
    until: u64,
    pause: Duration,
) -> Result<()> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let running: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                let stop = &stop;
                scope.spawn(move || worker.work(stop))
            })
            .collect();
        let mut killed = Ok(());
        while killed.is_ok() && killer.kills.servers() < until && !running.iter().any(|worker| worker.is_finished()) {
            killed = killer.kill(cluster, pause);
        }
        stop.store(true, Ordering::Relaxed);
        for worker in running {
            match worker.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a worker panicked"),
            }
        }
        killed
    })
}

/// Everybody is back by themselves, and every folder is what it may be; how many files there are, and their bytes.
fn verify(cluster: &Cluster, workers: &mut [Worker], peers: usize) -> Result<(u64, u64)> {
    eventually("all peers are online again", BACK, || cluster.count_peers("online") == peers)?;
    let (mut files, mut bytes) = (0, 0);
    for worker in workers {
        let seen = worker.look().context("with nobody killed")?;
        files += seen.len() as u64;
        bytes += seen.values().map(|content| content.len() as u64).sum::<u64>();
    }
    Ok((files, bytes))
}

/// Waits until every chunk has all its shards, every peer was looked at, and then checks all records against each other and against
/// the peers; how long it took.
fn heal(cluster: &Cluster, within: Duration) -> Result<Duration> {
    let since = Instant::now();
    let mut last = Value::Null;
    let healed = eventually("every chunk has all its shards", within, || {
        // Each look counts every chunk, and the cluster has better things to do.
        thread::sleep(Duration::from_millis(500));
        last = cluster.status().unwrap_or_default();
        let field = |name| last.get("upkeep").and_then(|upkeep| upkeep.get(name)).cloned().unwrap_or_default();
        last.get("degraded") == Some(&Value::from(0)) && field("verified") == true && field("fenced") == false
    });
    healed.with_context(|| format!("{last:#}"))?;
    let took = since.elapsed();
    let data = cluster.directory_data();
    let fsck = cluster.directory_program(["fsck", "--deep", "--json", "--data", &data.to_string_lossy()])?;
    let said = run_to_end(fsck, None)?.expect(0).context("the records do not fit to each other")?;
    let said: Value = serde_json::from_slice(&said.stdout)?;
    for name in ["found", "missing"] {
        ensure!(said.get(name) == Some(&Value::from(0)), "fsck says {said:#}");
    }
    Ok(took)
}

fn no_panics(cluster: &Cluster) -> Result<()> {
    for log in cluster.server_side().into_iter().filter(|path| path.extension().is_some_and(|end| end == "log")) {
        let text = fs::read_to_string(&log)?;
        let panic = text.lines().find(|line| line.contains("panicked"));
        ensure!(panic.is_none(), "{}: {}", log.display(), panic.unwrap_or_default());
    }
    Ok(())
}
