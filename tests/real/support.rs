//! What the tests share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::harness::{Answer, Cluster, ClusterOptions, content};

/// A cluster with the options that tests have, and a folder to work in.
pub(crate) fn cluster(options: ClusterOptions) -> (Cluster, PathBuf) {
    let cluster = Cluster::start(options).unwrap();
    let work = cluster.root().join("work");
    fs::create_dir(&work).unwrap();
    (cluster, work)
}

pub(crate) fn three_peers() -> (Cluster, PathBuf) {
    cluster(ClusterOptions::default())
}

/// Runs `shoal` with a line of arguments, expecting an exit code.
pub(crate) fn shoal(cluster: &Cluster, code: i32, line: &[&str]) -> Answer {
    let answer = cluster.shoal(line).unwrap();
    assert_eq!(answer.status, Some(code), "shoal {line:?}\nstdout: {}\nstderr: {}", answer.text(), answer.stderr);
    answer
}

/// The one JSON object that a command answers.
pub(crate) fn json(cluster: &Cluster, line: &[&str]) -> serde_json::Value {
    let answer = shoal(cluster, 0, &[&["--json"], line].concat());
    serde_json::from_slice(&answer.stdout).unwrap_or_else(|e| panic!("{e}: {}", answer.text()))
}

/// What `ls` says of a folder, a name a line.
pub(crate) fn names(cluster: &Cluster, path: &str) -> Vec<String> {
    shoal(cluster, 0, &["ls", path]).text().lines().map(str::to_owned).collect()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A file of pseudo-random bytes.
pub(crate) fn file(folder: &Path, name: &str, seed: u64, len: usize) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content::bytes(seed, len)).unwrap();
    path
}

/// A small file system of its own, unmounted when dropped. `None`, with a word about it, where mounting is not permitted.
pub(crate) struct Mounted(pub(crate) PathBuf);

impl Mounted {
    pub(crate) fn tmpfs(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let option = format!("size={size}");
        Self::mount(at, &["-t", "tmpfs", "-o", &option, "tmpfs"])
    }

    /// A file system on a file, through a loop device.
    pub(crate) fn image(image: &Path, at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        Self::mount(at, &["-o", "loop", text(image)])
    }

    fn mount(at: &Path, arguments: &[&str]) -> Option<Self> {
        let output = Command::new("mount").args(arguments).arg(at).output();
        if output.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("skipped: this machine does not let the test mount a file system");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for _ in 0..50 {
            if Command::new("umount").arg(&self.0).status().is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
