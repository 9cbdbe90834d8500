//! Meta: what an entry and a version say of themselves, sealed so that the directory keeps it and reads nothing of it.
//!
//! Guarantees: an entry opens only in its folder, under its token and for its node, and a version's metadata only for its node
//! and version; so a directory that swaps, renames or re-parents them is noticed. Layout: docs/FORMATS.md.

mod entry;
pub(crate) mod path;
mod snapshot;
mod version;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use entry::{Entry, EntryPlace, FolderAttributes};
pub use snapshot::SnapshotName;
pub use version::{Content, VersionMeta, VersionPlace};

const NANOS: u32 = 1_000_000_000;

/// A time of modification as file systems have it: seconds since 1970, also before it, and nanoseconds after that second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Mtime {
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanos: u32,
}

impl Mtime {
    fn is_possible(self) -> bool {
        self.nanos < NANOS
    }

    #[must_use]
    pub fn from_system(time: SystemTime) -> Self {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self { seconds: seconds(after), nanos: after.subsec_nanos() },
            Err(error) => {
                let before = error.duration();
                match before.subsec_nanos() {
                    0 => Self { seconds: -seconds(before), nanos: 0 },
                    nanos => Self { seconds: -seconds(before) - 1, nanos: NANOS - nanos },
                }
            }
        }
    }

    /// `None` for a time that this platform cannot express.
    #[must_use]
    pub fn to_system(self) -> Option<SystemTime> {
        let seconds = Duration::from_secs(self.seconds.unsigned_abs());
        let whole = if self.seconds < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
        whole?.checked_add(Duration::from_nanos(self.nanos.into()))
    }
}

#[cfg(test)]
mod tests;
