//! Quotas: what accounts use and may use, and who holds it. Asked of the directory, see [`super::directory`].
//!
//! *Bytes* are those of all shards that an account's chunks should have: sealed bytes times redundancy, each chunk once. *Files* are versions
//! of files that are kept, current ones and history.

use serde::{Deserialize, Serialize};

use crate::bounded::BoundedVec;
use crate::id::{AccountId, RequestId};
use crate::keep::KeepPolicy;
use crate::limits;
use crate::proto::parts::Label;
use crate::proto::prune::PruneCursor;

/// What an account may use; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quota {
    pub bytes: Option<u64>,
    pub files: Option<u64>,
}

/// Asks what the caller's account uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetUsage {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountUsage {
    pub bytes: u64,
    pub files: u64,
    pub quota: Quota,
    /// What the directory prunes by itself; `None`: nothing.
    pub keep: Option<KeepPolicy>,
}

/// All accounts, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListAccounts {
    pub after: Option<AccountId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    pub accounts: BoundedVec<AccountLine, { limits::LIST_ENTRIES }>,
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLine {
    pub account: AccountId,
    pub name: Label,
    pub usage: AccountUsage,
}

/// Changes what an account may use. What is over it stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetQuota {
    pub request: RequestId,
    /// The account's name.
    pub account: Label,
    pub quota: Quota,
}

/// Measures who holds the account's space, a part of its chunks at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasureSpace {
    pub cursor: PruneCursor,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceMeasured {
    pub next: Option<PruneCursor>,
    pub space: Space,
}

/// Who holds how much. Each chunk counts once, for the first of these that needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Space {
    /// The tree as it is.
    pub current: Held,
    /// Uploads under way.
    pub uploads: Held,
    /// Snapshots, all together.
    pub snapshots: Held,
    /// The rest of history: what a prune may give back.
    pub history: Held,
    /// Nobody any more: it is being given back.
    pub nobody: Held,
}

/// Chunks, their sealed bytes, and these times redundancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Held {
    pub chunks: u64,
    pub sealed: u64,
    pub stored: u64,
}

impl Held {
    pub fn add(&mut self, more: &Self) {
        self.chunks = self.chunks.saturating_add(more.chunks);
        self.sealed = self.sealed.saturating_add(more.sealed);
        self.stored = self.stored.saturating_add(more.stored);
    }
}

impl Space {
    pub fn add(&mut self, more: &Self) {
        self.current.add(&more.current);
        self.uploads.add(&more.uploads);
        self.snapshots.add(&more.snapshots);
        self.history.add(&more.history);
        self.nobody.add(&more.nobody);
    }
}
