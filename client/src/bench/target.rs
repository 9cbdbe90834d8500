//! Target: the cluster that is measured, started for it or joined before, and a folder of our own in it.
//!
//! In a cluster that was joined, the folder is hidden, new, and taken out of the tree at the end, however the benchmark ends.

use std::path::PathBuf;
use std::process::Command;

use common::redundancy::Redundancy;
use serde_json::Value;

use super::cluster::Cluster;
use super::measured::{Sample, Wire};
use super::process::{Done, run};
use super::scratch::random_name;
use super::usage::Servers;
use super::{BenchError, Joined};
use crate::cancel::Cancel;

pub(super) struct Target {
    shoal: PathBuf,
    home: PathBuf,
    /// Where the directory is reached, when the user says so.
    directory: Vec<String>,
    /// Our folder in the tree, and whether it is there.
    folder: String,
    made: bool,
    servers: Servers,
    /// The cluster is ours, and ends with this value.
    started: Option<Cluster>,
}

impl Target {
    pub(super) fn started(shoal: PathBuf, cluster: Cluster, cancel: &Cancel) -> Result<Self, BenchError> {
        let (home, servers) = (cluster.home(), cluster.servers());
        let folder = "/bench".to_owned();
        Self { shoal, home, directory: Vec::new(), folder, made: false, servers, started: Some(cluster) }.make(cancel)
    }

    pub(super) fn joined(
        shoal: PathBuf,
        joined: &Joined,
        servers: Servers,
        cancel: &Cancel,
    ) -> Result<Self, BenchError> {
        let folder = format!("{}/.shoal-bench-{}", joined.at.trim_end_matches('/'), random_name());
        let (home, directory) = (joined.home.clone(), joined.directory.clone());
        Self { shoal, home, directory, folder, made: false, servers, started: None }.make(cancel)
    }

    fn make(mut self, cancel: &Cancel) -> Result<Self, BenchError> {
        self.ask(&["mkdir", &self.folder], cancel)?;
        self.made = true;
        Ok(self)
    }

    pub(super) fn home(&self) -> &PathBuf {
        &self.home
    }

    pub(super) fn directory(&self) -> &[String] {
        &self.directory
    }

    pub(super) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// A path in our folder.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// The redundancy of the cluster.
    pub(super) fn redundancy(&self, cancel: &Cancel) -> Result<Redundancy, BenchError> {
        let said = self.ask(&["--json", "status"], cancel)?.stdout;
        let status: Value = serde_json::from_str(&said).map_err(BenchError::bug)?;
        let text = status.get("redundancy").and_then(Value::as_str).unwrap_or_default();
        text.parse().map_err(BenchError::bug)
    }

    /// `shoal ARGUMENTS`, to be measured by whoever asks.
    fn ask(&self, arguments: &[&str], cancel: &Cancel) -> Result<Done, BenchError> {
        let verb = arguments.iter().find(|argument| !argument.starts_with('-')).copied().unwrap_or_default();
        let what = format!("shoal {verb}");
        run(&what, self.command(arguments), cancel)?.or_failed(&what)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.started {
            Some(cluster) => cluster.command(&self.shoal),
            None => Command::new(&self.shoal),
        };
        command.env("SHOAL_HOME", &self.home).env_remove("SHOAL_DIRECTORY").env_remove("SHOAL_REDUNDANCY");
        for address in &self.directory {
            command.arg("--directory").arg(address);
        }
        command.args(arguments);
        command
    }

    /// Runs a command as a process of its own, and what it cost everybody; and how many bytes of shards it sent.
    pub(super) fn measure(&self, arguments: &[&str], cancel: &Cancel) -> Result<(Sample, u64), BenchError> {
        self.measure_with(&[], arguments, cancel)
    }

    /// The same with something in its environment.
    pub(super) fn measure_with(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
        cancel: &Cancel,
    ) -> Result<(Sample, u64), BenchError> {
        self.servers.forget_peaks();
        let before = self.servers.spent();
        let mut command = self.command(&[&["--json"], arguments].concat());
        command.envs(environment.iter().copied());
        let what = format!("shoal {}", arguments.first().copied().unwrap_or_default());
        let done = run(&what, command, cancel)?.or_failed(&what)?;
        let (wire, sent) = told(&done.stdout);
        let sample = Sample {
            seconds: done.seconds,
            client_cpu: done.cpu_seconds,
            client_peak: done.peak_memory,
            spent: self.servers.spent().since(before),
            peaks: self.servers.peaks(),
            wire,
        };
        Ok((sample, sent))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.started.is_some() || !self.made {
            return;
        }
        // Also when the user has interrupted: nothing of ours stays visible.
        if let Err(error) = self.ask(&["rm", "-r", &self.folder], &Cancel::new()) {
            let folder = &self.folder;
            tracing::warn!(folder, %error, "the benchmark's folder was not removed; remove it with: shoal rm -r");
        }
    }
}

/// What a command's JSON lines say of its traffic, and of the bytes of shards that it sent.
fn told(lines: &str) -> (Option<Wire>, u64) {
    let (mut wire, mut sent) = (None, 0_u64);
    let number = |object: &Value, key: &str| object.get(key).and_then(Value::as_u64).unwrap_or(0);
    for line in lines.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        sent = sent.saturating_add(number(&event, "sent"));
        wire = event.get("wire").map(|wire| Wire {
            sent_bytes: number(wire, "sent_bytes"),
            received_bytes: number(wire, "received_bytes"),
            datagrams: number(wire, "sent_datagrams") + number(wire, "received_datagrams"),
        });
    }
    (wire, sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_read_from_the_last_line_and_what_was_sent_from_all() {
        let end =
            r#"{"event":"end","wire":{"sent_bytes":5,"received_bytes":6,"sent_datagrams":1,"received_datagrams":2}}"#;
        let lines = format!("{{\"event\":\"put\",\"sent\":7}}\n{{\"event\":\"put\",\"sent\":8}}\n{end}\n");
        assert_eq!(told(&lines), (Some(Wire { sent_bytes: 5, received_bytes: 6, datagrams: 3 }), 15));
        assert_eq!(told("no json\n"), (None, 0));
    }
}
