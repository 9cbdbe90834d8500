//! Pruning: ending the history that nobody is to read again, in many small steps. Asked of the directory, see [`super::directory`].
//!
//! [`PlanPrune`] turns a policy into points of history; each [`Prune`] then looks at a part of the account's records, and says where to go
//! on. Nothing is remembered between the steps but what the asker brings along, so any of them may be repeated or left out.

use serde::{Deserialize, Serialize};

use crate::bounded::{BoundedBytes, BoundedVec};
use crate::id::RequestId;
use crate::keep::KeepPolicy;
use crate::limits;

/// Asks what a policy comes to now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanPrune {
    /// The cluster's own where there is none; refused when that has none either.
    pub policy: Option<KeepPolicy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunePlan {
    pub policy: KeepPolicy,
    pub retention: Retention,
}

/// What stays readable beside snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Everything from this sequence on. It is not beyond the last commit, so what is there now is always kept.
    pub from: u64,
    /// The tree as it was after these commits.
    pub points: BoundedVec<u64, { limits::KEPT_POINTS }>,
    /// So many versions of each file that is there now, the current one counted.
    pub last: u32,
}

/// One step of pruning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    pub request: RequestId,
    pub retention: Retention,
    /// Changes nothing, and says what would go.
    pub dry_run: bool,
    pub cursor: PruneCursor,
}

/// How far it is: the beginning is all zeros.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PruneCursor {
    pub phase: u8,
    pub key: BoundedBytes<{ limits::KEY_BYTES }>,
}

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// Where to go on; `None` at the end.
    pub next: Option<PruneCursor>,
    pub counts: PruneCounts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PruneCounts {
    /// Records of history that were looked at.
    pub looked_at: u64,
    /// Records of names and folders that go.
    pub entries: u64,
    /// Versions of files that go, and the sealed bytes that they refer to. What others refer to as well stays stored.
    pub versions: u64,
    pub sealed_bytes: u64,
}

impl PruneCounts {
    pub fn add(&mut self, more: &Self) {
        self.looked_at = self.looked_at.saturating_add(more.looked_at);
        self.entries = self.entries.saturating_add(more.entries);
        self.versions = self.versions.saturating_add(more.versions);
        self.sealed_bytes = self.sealed_bytes.saturating_add(more.sealed_bytes);
    }
}
