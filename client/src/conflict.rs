//! Conflict: two devices of an account wrote one path at the same time. The one that is later finds out when it publishes, and has the others told;
//! these are told with their next command. Both versions are in history.

use std::path::Path;

use common::id::{AccountId, RequestId, VersionId};
use common::limits::CONFLICTS;
use common::proto::directory::{ConflictView, Conflicts, NoteConflict};
use common::time::Timestamp;

use crate::keys::Keys;
use crate::meta::path;
use crate::seal::aead::{Place, SealError};
use crate::session::{Seen, Session};
use crate::transfer::PutJob;

const WHAT: &str = "a conflict's path";
/// Conflicts of one upload that others are told of: there is no room for more.
pub(crate) const TOLD: usize = CONFLICTS;

/// A path that was written twice at the same time, as a device learns of it that was not the later one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub path: String,
    pub at: Timestamp,
}

fn place_of(account: AccountId, version: VersionId) -> Place {
    Place::new(WHAT, "shoal v1 conflict path").with(account.as_bytes()).with(version.as_bytes())
}

/// What the others are to be told of a file that was just published; `None` for one whose path is too deep to be.
///
/// # Errors
/// When the path cannot be sealed.
pub(crate) fn note(session: &Session, job: &PutJob, version: VersionId) -> Result<Option<NoteConflict>, SealError> {
    let Ok(path) = job.within.join(&job.name) else { return Ok(None) };
    let sealed = path::seal(session.keys(), &place_of(session.account(), version), &path)?;
    Ok(Some(NoteConflict { request: RequestId::random(), version, sealed }))
}

/// What this device has not been told yet, oldest first. What does not open says nothing, and is left out.
pub(crate) fn open(keys: &Keys, account: AccountId, news: &Conflicts) -> Vec<Conflict> {
    let open = |view: &ConflictView| {
        let path = path::open(keys, &place_of(account, view.version), &view.sealed).ok()?;
        Some(Conflict { path, at: view.at })
    };
    news.iter().filter_map(open).collect()
}

/// Remembers in the device's home that its user was told up to this one.
pub fn remember(home: &Path, sequence: u64) {
    Seen::CONFLICT.remember(home, sequence);
}
