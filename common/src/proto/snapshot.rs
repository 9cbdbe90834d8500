//! Snapshots: pinned points of an account's history, by name. Asked of the directory, see [`super::directory`].
//!
//! A snapshot is one small record, whatever the size of the tree: its sequence is that of the commit that made it. The directory learns no
//! name: a token is keyed, and the name is sealed.

use serde::{Deserialize, Serialize};

use crate::bounded::{BoundedBytes, BoundedVec};
use crate::id::{NameToken, RequestId};
use crate::limits;
use crate::time::Timestamp;

/// A snapshot's name, sealed for its account.
pub type SealedSnapshot = BoundedBytes<{ limits::SEALED_ENTRY_BYTES }>;

/// Pins the tree as it is when this is committed. Refused when there is a snapshot of this name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateSnapshot {
    pub request: RequestId,
    pub token: NameToken,
    pub sealed: SealedSnapshot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMade {
    /// What is pinned: the tree with all commits up to this one.
    pub sequence: u64,
    pub made: Timestamp,
}

/// The account's snapshots in the order of their tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSnapshots {
    pub after: Option<NameToken>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshots {
    pub snapshots: BoundedVec<SnapshotView, { limits::LIST_ENTRIES }>,
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotView {
    pub token: NameToken,
    pub sealed: SealedSnapshot,
    pub sequence: u64,
    pub made: Timestamp,
}

/// Looks for one snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetSnapshot {
    pub token: NameToken,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFound {
    pub snapshot: Option<SnapshotView>,
}

/// Lets a snapshot go; what it alone held goes with the next prune.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveSnapshot {
    pub request: RequestId,
    pub token: NameToken,
}
