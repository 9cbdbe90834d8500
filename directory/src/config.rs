//! Configuration: what `init` writes down and `serve` reads, and every default with its reason.

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::disk::{self, DiskError};
use common::id::ClusterId;
use common::redundancy::{Redundancy, RedundancyError};
use common::time::Clock;
use serde::{Deserialize, Serialize};

use crate::kv::embedded;
use crate::members::Times;
use crate::work;

/// Loopback, so that a first try exposes nothing.
pub const LISTEN: &str = "127.0.0.1:7400";
/// Ten a heartbeat's cost is nothing, and a dead peer is noticed within seconds.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// Four missing heartbeats: more than a hiccup.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(8);
/// Long enough for a reboot, short enough to begin repair soon.
pub const DEAD_AFTER: Duration = Duration::from_secs(60);

/// How long a dead peer is waited for before what it held is made anew, where a chunk can spare it: longer than a reboot with a check
/// of the file system, short against the time between two failures.
pub const REPAIR_AFTER: Duration = Duration::from_secs(600);

/// The file in the data folder.
pub const FILE: &str = "directory.toml";
/// Where a serving directory writes its address, for the commands beside it.
pub const LISTENING: &str = "listening";
/// The store's folder in the data folder.
pub const STORE: &str = "store";

/// A data folder's settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{} is no directory's data folder", path.display())]
    NotInitialised { path: PathBuf },
    #[error("{} cannot be understood", path.display())]
    Malformed {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("{} is of format {found}, and this program knows up to {FORMAT}: use a newer program", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("{} names no cluster", path.display())]
    Cluster { path: PathBuf },
    #[error("{} has no usable redundancy", path.display())]
    Redundancy {
        path: PathBuf,
        #[source]
        source: RedundancyError,
    },
    #[error("settings cannot be written")]
    Unwritable(#[from] toml::ser::Error),
    #[error(transparent)]
    Disk(#[from] DiskError),
}

const FORMAT: u32 = 1;

/// What the file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    cluster: String,
    listen: String,
    #[serde(default)]
    advertise: Vec<String>,
    redundancy: String,
}

/// What was decided at `init`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub cluster: ClusterId,
    pub listen: String,
    /// Where others reach it, if not where it listens.
    pub advertise: Vec<String>,
    /// What a put uses that names none.
    pub redundancy: Redundancy,
}

impl Settings {
    /// # Errors
    /// [`ConfigError::NotInitialised`] when there is no such file; else what is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(FILE);
        let bytes = match disk::read_small(&path) {
            Err(error) if error.is_missing() => {
                return Err(ConfigError::NotInitialised { path: folder.to_owned() });
            }
            bytes => bytes?,
        };
        let malformed = |source| ConfigError::Malformed { path: path.clone(), source: Box::new(source) };
        let file: File = toml::from_slice(&bytes).map_err(malformed)?;
        if file.format > FORMAT {
            return Err(ConfigError::Newer { path, found: file.format });
        }
        let cluster = file.cluster.parse().map_err(|_| ConfigError::Cluster { path: path.clone() })?;
        let redundancy = file.redundancy.parse().map_err(|source| ConfigError::Redundancy { path, source })?;
        Ok(Self { cluster, listen: file.listen, advertise: file.advertise, redundancy })
    }

    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, folder: &Path) -> Result<(), ConfigError> {
        let file = File {
            format: FORMAT,
            cluster: self.cluster.to_string(),
            listen: self.listen.clone(),
            advertise: self.advertise.clone(),
            redundancy: self.redundancy.to_string(),
        };
        Ok(disk::replace_durably(&folder.join(FILE), toml::to_string(&file)?.as_bytes())?)
    }
}

/// How a directory is to be run.
#[derive(Debug, Clone)]
pub struct Config {
    pub data: PathBuf,
    /// In place of the one in the settings.
    pub listen: Option<String>,
    pub times: Times,
    /// Repair, comparison, audits and collection.
    pub work: work::Settings,
    /// Expiry goes by it, and what people are shown.
    pub clock: Clock,
    /// What certificates are made and judged by.
    pub certificates: Clock,
    pub store: embedded::Options,
}

impl Config {
    /// With every default.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: None,
            times: Times {
                heartbeat: HEARTBEAT,
                suspect_after: SUSPECT_AFTER,
                dead_after: DEAD_AFTER,
                lost_after: DEAD_AFTER + REPAIR_AFTER,
            },
            work: work::Settings::default(),
            clock: Clock::System,
            certificates: Clock::System,
            store: embedded::Options::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_disk_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Settings::load(folder.path()), Err(ConfigError::NotInitialised { .. })));
        let settings = Settings {
            cluster: ClusterId([7; 16]),
            listen: LISTEN.into(),
            advertise: vec!["h:1".into()],
            redundancy: Redundancy::DEFAULT,
        };
        settings.save(folder.path()).unwrap();
        assert_eq!(Settings::load(folder.path()).unwrap(), settings);
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}\ntypo = 1\n")).unwrap();
        assert!(matches!(Settings::load(folder.path()), Err(ConfigError::Malformed { .. })));
        std::fs::write(&path, text.replace("format = 1", "format = 2")).unwrap();
        assert!(matches!(Settings::load(folder.path()), Err(ConfigError::Newer { found: 2, .. })));
    }
}
