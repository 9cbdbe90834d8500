//! Leftovers: servers that run and folders that are there, for the one case in which nothing is dropped: the user asked a second
//! time to stop, and the process ends at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};

#[derive(Debug)]
struct Leftovers {
    servers: BTreeSet<u32>,
    folders: BTreeSet<PathBuf>,
}

static LEFT: Mutex<Leftovers> = Mutex::new(Leftovers { servers: BTreeSet::new(), folders: BTreeSet::new() });

fn left() -> MutexGuard<'static, Leftovers> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn server_runs(id: u32) {
    left().servers.insert(id);
}

/// To be called before its process id may be used again.
pub(super) fn server_ends(id: u32) {
    left().servers.remove(&id);
}

pub(super) fn folder_is_made(path: &Path) {
    left().folders.insert(path.to_owned());
}

pub(super) fn folder_is_gone(path: &Path) {
    left().folders.remove(path);
}

/// Kills and deletes all that a benchmark has not cleaned up yet. For whoever ends the process right afterwards.
pub fn clean_up() {
    let left = left();
    for id in &left.servers {
        signal(*id, Signal::KILL);
    }
    for folder in &left.folders {
        fs::remove_dir_all(folder).ok(); // nobody waits for us to say more
    }
}

/// Sends a signal to a child that has not been waited for.
pub(super) fn signal(id: u32, signal: Signal) {
    if let Some(id) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        kill_process(id, signal).ok(); // it has ended already
    }
}
