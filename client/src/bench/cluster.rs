//! Cluster: a directory and peers on this machine for the time of a benchmark, with a device that has joined.
//!
//! Everything lies in one [`Scratch`] folder. Dropping the cluster ends all its processes and deletes the folder.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::redundancy::Redundancy;

use super::process::{Running, run};
use super::scratch::Scratch;
use super::usage::Servers;
use super::{BenchError, Say};
use crate::cancel::Cancel;

/// How long the peers may take until the directory knows them.
const ONLINE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(50);
/// What our own environment may say to the programs that are started; the rest of what we read from there is not for them.
const PASSED_ON: [&str; 3] = ["SHOAL_MTU", "SHOAL_CONGESTION", "SHOAL_LOG"];

/// The three programs.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    pub(super) shoal: PathBuf,
    directory: PathBuf,
    peer: PathBuf,
}

impl Programs {
    /// `shoal` is this very program; the others are looked for beside it, then in `PATH`.
    ///
    /// # Errors
    /// With the name of the one that is missing.
    pub(super) fn find(shoal: &Path) -> Result<Self, BenchError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let beside = shoal.parent().unwrap_or(Path::new("/"));
        let find = |name: &'static str| {
            let folders = std::iter::once(beside.to_owned()).chain(env::split_paths(&path));
            let found = folders.map(|folder| folder.join(name)).find(|file| is_program(file));
            found.ok_or_else(|| BenchError::NoProgram { name, beside: beside.to_owned() })
        };
        Ok(Self { shoal: shoal.to_owned(), directory: find("shoal-directory")?, peer: find("shoal-peer")? })
    }
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What is started.
pub(super) struct Wanted<'a> {
    pub(super) programs: &'a Programs,
    /// The cluster's folder is made below this one.
    pub(super) below: &'a Path,
    pub(super) peers: usize,
    pub(super) redundancy: Redundancy,
}

pub(super) struct Cluster {
    programs: Programs,
    // In this order: what uses the folder ends before the folder goes.
    peers: Vec<Running>,
    directory: Option<Running>,
    scratch: Scratch,
}

impl Cluster {
    pub(super) fn start(wanted: &Wanted<'_>, cancel: &Cancel, say: &dyn Say) -> Result<Self, BenchError> {
        say.step(&format!("starting a directory and {} at {}", peers(wanted.peers), wanted.redundancy));
        let mut cluster = Self {
            programs: wanted.programs.clone(),
            peers: Vec::new(),
            directory: None,
            scratch: Scratch::new(wanted.below)?,
        };
        let mut init = cluster.of_directory("init");
        init.args(["--listen", "127.0.0.1:0", "--redundancy", &wanted.redundancy.to_string()]);
        run("shoal-directory init", init, cancel)?.or_failed("shoal-directory init")?;
        let log = cluster.at("directory.log");
        cluster.directory = Some(Running::start("shoal-directory serve", cluster.of_directory("serve"), log, cancel)?);
        for number in 0..wanted.peers {
            cluster.add_peer(number, cancel)?;
        }
        let ticket = cluster.ticket(&["--role", "client", "--account", "bench"], cancel)?;
        let mut join = cluster.command(&cluster.programs.shoal);
        join.arg("join").arg(&ticket).env("SHOAL_HOME", cluster.home());
        run("shoal join", join, cancel)?.or_failed("shoal join")?;
        cluster.wait_online(wanted.peers, cancel)?;
        Ok(cluster)
    }

    fn add_peer(&mut self, number: usize, cancel: &Cancel) -> Result<(), BenchError> {
        let ticket = self.ticket(&["--role", "peer"], cancel)?;
        let of_peer = |verb: &[&str]| {
            let mut command = self.command(&self.programs.peer);
            command.args(verb).arg("--data").arg(self.at(&format!("peer{number}")));
            command
        };
        run("shoal-peer join", of_peer(&["join", &ticket]), cancel)?.or_failed("shoal-peer join")?;
        let log = self.at(&format!("peer{number}.log"));
        let running = Running::start("shoal-peer serve", of_peer(&["serve"]), log, cancel)?;
        self.peers.push(running);
        Ok(())
    }

    fn wait_online(&self, count: usize, cancel: &Cancel) -> Result<(), BenchError> {
        let since = Instant::now();
        loop {
            let mut status = self.of_directory("status");
            status.arg("--json");
            let said = run("shoal-directory status", status, cancel)?.or_failed("shoal-directory status")?.stdout;
            let status: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
            let all = status.get("peers").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
            let online = all.iter().filter(|peer| peer.get("state").is_some_and(|state| state == "online")).count();
            if online >= count {
                return Ok(());
            }
            if since.elapsed() > ONLINE {
                let said = format!("{online} of {count} peers are online");
                return Err(BenchError::NotReady { name: "the cluster".to_owned(), seconds: ONLINE.as_secs(), said });
            }
            thread::sleep(LOOK);
        }
    }

    /// A ticket's line.
    pub(super) fn ticket(&self, of: &[&str], cancel: &Cancel) -> Result<String, BenchError> {
        let mut ticket = self.of_directory("ticket");
        ticket.args(of);
        let done = run("shoal-directory ticket", ticket, cancel)?.or_failed("shoal-directory ticket")?;
        Ok(done.stdout.trim().to_owned())
    }

    fn of_directory(&self, verb: &str) -> Command {
        let mut command = self.command(&self.programs.directory);
        command.arg(verb).arg("--data").arg(self.at("directory"));
        command
    }

    /// A program that hears nothing from our environment that is not meant for it.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("SHOAL_") && !PASSED_ON.iter().any(|passed| name == *passed) {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", OsStr::new("1"));
        command
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The device's home.
    pub(super) fn home(&self) -> PathBuf {
        self.at("device")
    }

    /// Where the directory serves.
    pub(super) fn address(&self) -> &str {
        self.directory.as_ref().map_or("", |directory| &directory.address)
    }

    pub(super) fn servers(&self) -> Servers {
        let ids = |running: &[Running]| running.iter().map(Running::id).collect();
        Servers { directory: self.directory.iter().map(Running::id).collect(), peers: ids(&self.peers) }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.peers.iter().chain(&self.directory).for_each(Running::ask_to_end);
    }
}

fn peers(count: usize) -> String {
    match count {
        0 => "no peers".to_owned(),
        1 => "1 peer".to_owned(),
        _ => format!("{count} peers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_beside_this_one_and_a_missing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let missing = Programs::find(&at("shoal"));
        if let Err(error) = missing {
            assert!(error.to_string().starts_with("shoal-directory is neither in "), "{error}");
        }
        for name in ["shoal-directory", "shoal-peer"] {
            std::fs::write(at(name), "").unwrap();
            std::fs::set_permissions(at(name), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let found = Programs::find(&at("shoal")).unwrap();
        assert_eq!((found.directory, found.peer), (at("shoal-directory"), at("shoal-peer")));
    }
}
