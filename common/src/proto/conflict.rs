//! Conflicts: of two devices that wrote one path at the same time the later one finds out, and tells the others of its account.
//!
//! The later one asks [`NoteConflict`]; every other device gets the note with its next [`Welcome`](super::directory::Welcome), which has those
//! behind the sequence that it names in its [`Hello`](super::directory::Hello). Both versions are in history; a note is nothing but news.

use serde::{Deserialize, Serialize};

use super::parts::SealedEntry;
use crate::bounded::BoundedVec;
use crate::id::{DeviceId, RequestId, VersionId};
use crate::limits;
use crate::time::Timestamp;

/// Has the account's other devices told that this version was put over another that its writer had not seen. Of an account the last
/// [`CONFLICTS`](limits::CONFLICTS) are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteConflict {
    pub request: RequestId,
    pub version: VersionId,
    /// The path, sealed for the account.
    pub sealed: SealedEntry,
}

/// Those that are news to the caller, oldest first.
pub type Conflicts = BoundedVec<ConflictView, { limits::CONFLICTS }>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictView {
    /// That of the commit which noted it.
    pub sequence: u64,
    pub at: Timestamp,
    /// Who wrote the later version.
    pub by: DeviceId,
    pub version: VersionId,
    pub sealed: SealedEntry,
}
