//! Snapshot: pinned points of the account's history, by name.
//!
//! What the directory says of one is opened and checked to be the one that was asked for. It could lie about the sequence, as about any
//! other fact of its history; it cannot pass one snapshot off as another.

use common::id::RequestId;
use common::proto::Refusal;
use common::proto::directory::{
    CreateSnapshot, GetSnapshot, ListSnapshots, RemoveSnapshot, SnapshotMade, SnapshotView,
};
use common::time::Timestamp;

use super::FolderError;
use crate::meta::SnapshotName;
use crate::names::Name;
use crate::session::Session;

/// A snapshot, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub name: Name,
    /// The tree with all commits up to this one.
    pub sequence: u64,
    pub made: Timestamp,
}

/// Why there is no snapshot, or no more of them.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("there is a snapshot {name} already")]
    Exists { name: Name },
    #[error("there is no snapshot {name}")]
    NotFound { name: Name },
    #[error("this account has {} snapshots, and more are not kept", common::limits::SNAPSHOTS)]
    TooMany,
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Pins the tree as it is now.
///
/// # Errors
/// When there is one of this name, or there are too many.
pub async fn create(session: &Session, name: &Name) -> Result<SnapshotMade, SnapshotError> {
    let sealed = SnapshotName(name.clone());
    let request = CreateSnapshot {
        request: RequestId::random(),
        token: sealed.token(session.keys()),
        sealed: sealed.seal(session.keys(), session.account()).map_err(FolderError::Seal)?,
    };
    session.call_directory(&request).await.map_err(|error| match error.refusal() {
        Some(Refusal::Exists(_)) => SnapshotError::Exists { name: name.clone() },
        Some(Refusal::TooLarge(_)) => SnapshotError::TooMany,
        _ => SnapshotError::Folder(error.into()),
    })
}

/// The sequence that a snapshot pins; `None` when there is none of this name.
///
/// # Errors
/// When the directory cannot be asked, or what it says is of another snapshot.
pub async fn resolve(session: &Session, name: &Name) -> Result<Option<u64>, FolderError> {
    let token = SnapshotName(name.clone()).token(session.keys());
    let found = session.call_directory(&GetSnapshot { token }).await?.snapshot;
    let Some(view) = found else { return Ok(None) };
    if view.token != token {
        return Err(FolderError::Misbehaved { what: "another snapshot" });
    }
    Ok(Some(open(session, &view)?.sequence))
}

/// All snapshots, the oldest first. There are at most a thousand.
///
/// # Errors
/// As [`resolve`].
pub async fn list(session: &Session) -> Result<Vec<Snapshot>, FolderError> {
    let (mut snapshots, mut after) = (Vec::new(), None);
    loop {
        let page = session.call_directory(&ListSnapshots { after }).await?;
        for view in &page.snapshots {
            if after.is_some_and(|after| view.token <= after) {
                return Err(FolderError::Misbehaved { what: "a list of snapshots out of order" });
            }
            after = Some(view.token);
            snapshots.push(open(session, view)?);
        }
        if !page.more {
            break;
        }
        if page.snapshots.is_empty() {
            return Err(FolderError::Misbehaved { what: "an empty page of a list that goes on" });
        }
    }
    snapshots.sort_by_key(|snapshot| snapshot.sequence);
    Ok(snapshots)
}

/// Lets a snapshot go. What it alone held goes with the next prune.
///
/// # Errors
/// When there is none of this name.
pub async fn remove(session: &Session, name: &Name) -> Result<(), SnapshotError> {
    let token = SnapshotName(name.clone()).token(session.keys());
    let removed = session.call_directory(&RemoveSnapshot { request: RequestId::random(), token }).await;
    removed.map(|_| ()).map_err(|error| match error.refusal() {
        Some(Refusal::NotFound(_)) => SnapshotError::NotFound { name: name.clone() },
        _ => SnapshotError::Folder(error.into()),
    })
}

fn open(session: &Session, view: &SnapshotView) -> Result<Snapshot, FolderError> {
    let name = SnapshotName::open(session.keys(), session.account(), view.token, &view.sealed)
        .map_err(|source| FolderError::Integrity { what: "a snapshot", source })?;
    Ok(Snapshot { name: name.0, sequence: view.sequence, made: view.made })
}
