//! Usage: CPU seconds and memory of processes, as `/proc` tells them. What cannot be read counts as nothing.

use std::fs;

/// USER_HZ, which is 100 on every Linux that Rust runs on: `/proc` counts CPU time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// User and system seconds of a process so far.
pub(super) fn cpu_seconds(id: u32) -> f64 {
    seconds_of(&format!("/proc/{id}/stat"), 13)
}

/// The same of this process.
pub(super) fn own_cpu_seconds() -> f64 {
    seconds_of("/proc/self/stat", 13)
}

/// The same of all children of this process that have ended.
pub(super) fn childrens_cpu_seconds() -> f64 {
    seconds_of("/proc/self/stat", 15)
}

/// The sum of two neighbouring fields, counted from zero.
fn seconds_of(path: &str, field: usize) -> f64 {
    let Ok(stat) = fs::read_to_string(path) else { return 0.0 };
    // The name in parentheses may hold anything; the fields behind it are plain. The first of them is number 2.
    let Some((_, rest)) = stat.rsplit_once(')') else { return 0.0 };
    let ticks = rest.split_whitespace().skip(field - 2).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// The most memory that a process had resident since it began, or since [`forget_peak`].
pub(super) fn peak_memory(id: u32) -> u64 {
    status_bytes(id, "VmHWM:")
}

/// What it has resident now.
pub(super) fn memory(id: u32) -> u64 {
    status_bytes(id, "VmRSS:")
}

/// Begins a new peak. Where the kernel refuses, the old one goes on, which shows too much and not too little.
pub(super) fn forget_peak(id: u32) {
    fs::write(format!("/proc/{id}/clear_refs"), "5").ok();
}

fn status_bytes(id: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// What a process calls itself.
pub(super) fn name(id: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{id}/comm")).ok().map(|name| name.trim().to_owned())
}

/// The servers that run on this machine, by process id.
#[derive(Debug, Clone, Default)]
pub(super) struct Servers {
    pub(super) directory: Vec<u32>,
    pub(super) peers: Vec<u32>,
}

/// What servers have spent so far; `None` for a kind of which none is known.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Spent {
    pub(super) directory: Option<f64>,
    pub(super) peers: Option<f64>,
}

/// The most memory of one process of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Peaks {
    pub(super) directory: Option<u64>,
    pub(super) peer: Option<u64>,
}

impl Servers {
    pub(super) fn spent(&self) -> Spent {
        let sum = |ids: &[u32]| (!ids.is_empty()).then(|| ids.iter().map(|id| cpu_seconds(*id)).sum());
        Spent { directory: sum(&self.directory), peers: sum(&self.peers) }
    }

    pub(super) fn peaks(&self) -> Peaks {
        let most = |ids: &[u32]| ids.iter().map(|id| peak_memory(*id)).max();
        Peaks { directory: most(&self.directory), peer: most(&self.peers) }
    }

    pub(super) fn forget_peaks(&self) {
        self.directory.iter().chain(&self.peers).for_each(|id| forget_peak(*id));
    }
}

impl Spent {
    pub(super) fn since(self, before: Self) -> Self {
        let less = |now: Option<f64>, then: Option<f64>| now.zip(then).map(|(now, then)| (now - then).max(0.0));
        Self { directory: less(self.directory, before.directory), peers: less(self.peers, before.peers) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured_and_one_that_is_not_there_is_nothing() {
        let own = std::process::id();
        assert!(memory(own) > 1 << 20 && peak_memory(own) >= memory(own) / 2);
        assert!(name(own).is_some());
        assert!(own_cpu_seconds() >= 0.0 && cpu_seconds(own) >= 0.0 && childrens_cpu_seconds() >= 0.0);
        assert_eq!((memory(u32::MAX), cpu_seconds(u32::MAX)), (0, 0.0));
        let some = Servers { directory: vec![own], peers: Vec::new() };
        assert!(some.spent().directory.is_some() && some.spent().peers.is_none());
        assert_eq!(some.spent().since(some.spent()).peers, None);
        assert!(some.peaks().directory > Some(0));
    }
}
