//! History: a point in the history of a directory's store, by which a store that was restored from an old copy is recognised.
//!
//! A history is the sequence of commits; each start of a directory on it has a random [`StartId`]. Peers remember the furthest point
//! that they were told of, durably. A directory of whose own history that point is no part was restored from a copy made before
//! it: what it does not know of may be somebody's only copy, so it may order no deletion until it was reconciled. No clock is asked.

use serde::{Deserialize, Serialize};

use crate::id::StartId;

/// The commit `sequence`, made or seen by the directory that had started as `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// Rises with each start.
    pub generation: u64,
    pub start: StartId,
    /// The last commit that was durable then.
    pub sequence: u64,
}

impl HistoryPoint {
    /// Of somebody who has heard of no directory yet: part of every history.
    pub const NONE: Self = Self { generation: 0, start: StartId([0; 16]), sequence: 0 };

    /// Whether it is to be remembered in place of `other`.
    #[must_use]
    pub fn is_beyond(&self, other: &Self) -> bool {
        (self.generation, self.sequence) > (other.generation, other.sequence)
    }
}

impl Default for HistoryPoint {
    fn default() -> Self {
        Self::NONE
    }
}
