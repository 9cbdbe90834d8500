//! Bench: what a cluster gives its users, measured with the commands that they use, beside what the machine could give.
//!
//! In reading order: [`Plan`] (what is asked), [`run`] (all of it, in order), `target` (the cluster, started or joined), `files`
//! (large and small ones), [`latency`], [`wire`], [`devices`] (many at one directory), [`bars`] (what cores, loopback and disk can do
//! by themselves), [`measured`] (samples and medians), [`report`] (comparisons, and JSON). Below them: `cluster`, `process`, `usage`,
//! `content`, `scratch`, `leftovers`.
//!
//! Guarantees: content is random, new each time, and synced before anything is timed; what comes back is compared with what was
//! stored; everything that was started is ended and everything that was made is removed, also after a failure or an interrupt;
//! bars are measured in the same run as what they are compared with.
//!
//! Non-goals: saying what is good. It prints figures and ratios, and knows no target.

pub mod bars;
mod cluster;
mod content;
pub mod devices;
mod error;
mod files;
pub mod latency;
mod leftovers;
pub mod machine;
pub mod measured;
mod process;
pub mod report;
mod scratch;
mod target;
mod usage;
pub mod wire;

use std::collections::BTreeSet;
use std::path::PathBuf;

use common::redundancy::Redundancy;
use common::size::ByteSize;

use crate::cancel::{Cancel, Interrupted};
use bars::Bars;
use cluster::{Cluster, Programs, Wanted};
use devices::Devices;
use latency::Latency;
use measured::{Row, copies, float};
use report::Report;
use scratch::{Scratch, check_room};
use target::Target;
use usage::Servers;
use wire::WireCost;

pub use error::BenchError;
pub use leftovers::clean_up;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Put,
    Get,
    Again,
    Small,
    Latency,
    Wire,
    /// Only in a cluster that is started for it.
    Devices,
}

impl Part {
    pub const ALL: [Self; 7] =
        [Self::Put, Self::Get, Self::Again, Self::Small, Self::Latency, Self::Wire, Self::Devices];
}

/// A cluster that this device has joined.
#[derive(Debug, Clone)]
pub struct Joined {
    pub home: PathBuf,
    /// Where the directory is reached, when the user says so.
    pub directory: Vec<String>,
    /// The remote folder below which ours is made.
    pub at: String,
    /// Servers that run on this machine.
    pub server_ids: Vec<u32>,
}

/// Which cluster is measured.
#[derive(Debug, Clone)]
pub enum Place {
    /// Started for it; with as many peers as the redundancy has shards, or so many.
    Start {
        peers: Option<usize>,
    },
    Joined(Joined),
}

/// What is measured, and how.
#[derive(Debug, Clone)]
pub struct Plan {
    /// This very program.
    pub shoal: PathBuf,
    pub place: Place,
    /// The local folder in which everything is made.
    pub below: PathBuf,
    /// Where the servers that are started keep what they store; `None`: below the same folder.
    pub stores: Option<PathBuf>,
    pub only: BTreeSet<Part>,
    /// Of a large file.
    pub size: ByteSize,
    /// How many small files.
    pub small: usize,
    pub times: u32,
    /// Single gets for the latency.
    pub gets: usize,
    /// How many devices, and for how many seconds each of their two phases.
    pub devices: usize,
    pub seconds: u64,
    /// Empty: that of the cluster, or `1/1` and `1/3` in one that is started.
    pub redundancy: Vec<Redundancy>,
}

impl Plan {
    fn has(&self, part: Part) -> bool {
        self.only.contains(&part)
    }

    fn has_large(&self) -> bool {
        [Part::Put, Part::Get, Part::Again].iter().any(|part| self.has(*part))
    }

    /// What is measured at each redundancy, and what only at the last.
    fn at(&self, last: bool) -> &'static [Part] {
        match last {
            true => &[Part::Put, Part::Get, Part::Again, Part::Small, Part::Latency, Part::Wire],
            false => &[Part::Put, Part::Get],
        }
    }

    /// Local bytes, at most at one time.
    fn room(&self, redundancy: &[Redundancy]) -> u64 {
        let most = redundancy.iter().map(|redundancy| copies(*redundancy)).fold(1.0, f64::max);
        let stored = if matches!(self.place, Place::Start { .. }) { most } else { 0.0 };
        let times = f64::from(self.times);
        // Source, what came back, and a copy; and what the cluster keeps of each.
        let runs = if self.has_large() { times } else { 0.0 } + if self.has(Part::Wire) { 1.0 } else { 0.0 };
        let large = if runs > 0.0 { float(self.size.0) * (3.0 + stored * runs) } else { 0.0 };
        let small = (self.small * files::SMALL_BYTES) as u64;
        // Files and their inodes, twice.
        let small = if self.has(Part::Small) { float(small) * times * (2.5 + stored) } else { 0.0 };
        ByteSize::mib(64).0.saturating_add(whole(large + small))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a saturating estimate of room")]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

/// Told what is done, before it is done.
pub trait Say: Sync {
    fn step(&self, text: &str);
}

/// A benchmark under way.
struct Bench<'a> {
    plan: &'a Plan,
    cancel: &'a Cancel,
    say: &'a dyn Say,
    scratch: Scratch,
    bars: Bars,
    rows: Vec<Row>,
    latency: Option<Latency>,
    wire: Option<WireCost>,
    devices: Option<Devices>,
    /// Bytes of shards that went to peers.
    sent: u64,
}

/// Measures what the plan says. Blocking.
///
/// # Errors
/// See [`BenchError`]; whatever was started is ended, and whatever was made is removed.
pub fn run(plan: &Plan, cancel: &Cancel, say: &dyn Say) -> Result<Report, BenchError> {
    let scratch = Scratch::new(&plan.below)?;
    let bars = Bars::new(plan.size.0);
    let (rows, latency, wire, devices) = (Vec::new(), None, None, None);
    let mut bench = Bench { plan, cancel, say, scratch, bars, rows, latency, wire, devices, sent: 0 };
    match &plan.place {
        Place::Start { peers } => bench.on_started(*peers)?,
        Place::Joined(joined) => bench.on_joined(joined)?,
    }
    let Bench { bars, rows, latency, wire, devices, sent, .. } = bench;
    let left = if matches!(plan.place, Place::Joined(_)) { sent } else { 0 };
    Ok(Report { latency, wire, devices, left, ..Report::new(plan, bars, rows) })
}

impl Bench<'_> {
    fn on_started(&mut self, peers: Option<usize>) -> Result<(), BenchError> {
        let redundancy = match self.plan.redundancy.as_slice() {
            [] => vec![Redundancy::new(1, 1).map_err(BenchError::bug)?, Redundancy::DEFAULT],
            some => some.to_vec(),
        };
        let most = redundancy.iter().map(|redundancy| redundancy.n()).max().unwrap_or(1);
        if let Some(peers) = peers.filter(|peers| *peers < most) {
            let what =
                format!("{most} peers are needed for the redundancy that is asked for, and --peers says {peers}");
            return Err(BenchError::Nonsense { what });
        }
        let programs = Programs::find(&self.plan.shoal)?;
        check_room(&self.plan.below, self.plan.room(&redundancy), true)?;
        let stores = self.plan.stores.clone().unwrap_or_else(|| self.scratch.path().to_owned());
        check_room(&stores, self.plan.room(&redundancy), true)?;
        let last = redundancy.len().saturating_sub(1);
        for (number, redundancy) in redundancy.into_iter().enumerate() {
            if !self.plan.at(number == last).iter().any(|part| self.plan.has(*part)) {
                continue;
            }
            let peers = peers.unwrap_or(redundancy.n());
            let wanted = Wanted { programs: &programs, below: &stores, peers, redundancy };
            let cluster = Cluster::start(&wanted, self.cancel, self.say)?;
            let target = Target::started(programs.shoal.clone(), cluster, self.cancel)?;
            self.on(&target, redundancy, number == last)?;
        }
        if self.plan.has(Part::Devices) {
            self.devices(&programs)?;
        }
        Ok(())
    }

    fn on_joined(&mut self, joined: &Joined) -> Result<(), BenchError> {
        if self.plan.has(Part::Devices) {
            let what = "many devices are measured only in a cluster that is started for it: add --start".to_owned();
            return Err(BenchError::Nonsense { what });
        }
        check_room(&self.plan.below, self.plan.room(&self.plan.redundancy), false)?;
        let target = Target::joined(self.plan.shoal.clone(), joined, servers(&joined.server_ids)?, self.cancel)?;
        let redundancy = match self.plan.redundancy.as_slice() {
            [] => vec![target.redundancy(self.cancel)?],
            some => some.to_vec(),
        };
        let last = redundancy.len().saturating_sub(1);
        for (number, redundancy) in redundancy.into_iter().enumerate() {
            self.on(&target, redundancy, number == last)?;
        }
        Ok(())
    }

    fn on(&mut self, target: &Target, redundancy: Redundancy, last: bool) -> Result<(), BenchError> {
        let parts = self.plan.at(last);
        let has = |part| parts.contains(&part) && self.plan.has(part);
        let (small, latency, wire) = (has(Part::Small), has(Part::Latency), has(Part::Wire));
        if has(Part::Put) || has(Part::Get) || has(Part::Again) {
            self.large(target, redundancy, last)?;
        }
        if small {
            self.small(target, redundancy)?;
        }
        if latency {
            self.latency(target, redundancy)?;
        }
        if wire {
            self.wire(target)?;
        }
        go_on(self.cancel)
    }
}

/// Whether the user still wants it.
fn go_on(cancel: &Cancel) -> Result<(), BenchError> {
    if cancel.is_cancelled() { Err(Interrupted.into()) } else { Ok(()) }
}

/// Sorts process ids by what they call themselves.
fn servers(ids: &[u32]) -> Result<Servers, BenchError> {
    let mut servers = Servers::default();
    for id in ids {
        match usage::name(*id).as_deref() {
            Some("shoal-directory") => servers.directory.push(*id),
            Some("shoal-peer") => servers.peers.push(*id),
            found => {
                let found = found.map_or("there is no such process".to_owned(), |name| format!("it is {name}"));
                let what = format!("process {id} is neither shoal-directory nor shoal-peer: {found}");
                return Err(BenchError::Nonsense { what });
            }
        }
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_are_taken_for_servers() {
        let refused = servers(&[std::process::id()]).unwrap_err().to_string();
        assert!(refused.contains("is neither shoal-directory nor shoal-peer: it is "), "{refused}");
        assert!(servers(&[u32::MAX]).unwrap_err().to_string().contains("no such process"));
        assert!(servers(&[]).unwrap().peers.is_empty());
    }

    #[test]
    fn room_grows_with_what_is_measured_and_never_wraps() {
        let plan = |size, only: &[Part]| Plan {
            shoal: PathBuf::new(),
            place: Place::Start { peers: None },
            below: PathBuf::new(),
            stores: None,
            only: only.iter().copied().collect(),
            size: ByteSize(size),
            small: 10_000,
            times: 3,
            gets: 1,
            devices: 1,
            seconds: 1,
            redundancy: Vec::new(),
        };
        let room = |size, only: &[Part]| plan(size, only).room(&[Redundancy::DEFAULT]);
        assert_eq!(room(1 << 30, &[Part::Put]), (64 << 20) + (12 << 30));
        assert!(room(1 << 30, &[Part::Small]) < 1 << 30);
        assert_eq!(room(u64::MAX, &[Part::Put]), u64::MAX);
    }
}
