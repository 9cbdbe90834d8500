//! Redundancy: how safely what is below a path is kept, and asking for another. The work is the directory's and the peers'.

use std::collections::BTreeMap;

use common::bounded::BoundedVec;
use common::id::{NodeId, RequestId, VersionId};
use common::limits::RECODE_VERSIONS;
use common::proto::directory::{Rename, SetRedundancy};
use common::redundancy::Redundancy;

use super::{Entry, FolderError, Listing, What, resolve};
use crate::meta::{self, EntryPlace};
use crate::names::RemotePath;
use crate::session::Session;

/// Files below a path, by the redundancy that they are kept at, or are to be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Kept {
    pub files: BTreeMap<Redundancy, u64>,
    /// What the folder itself asks for, or one above it.
    pub asked: Option<Redundancy>,
}

/// Looks at all files below a path.
///
/// # Errors
/// When there is no such path, or the directory cannot be asked.
pub async fn look(session: &Session, path: &RemotePath) -> Result<Kept, FolderError> {
    let resolved = resolve(session, path).await?;
    let mut kept = Kept { asked: resolved.redundancy(), ..Kept::default() };
    each_file(session, resolved.target(path)?, async |file: &Entry| {
        if let Some(version) = file.file().filter(|version| version.sealed_bytes > 0) {
            *kept.files.entry(version.redundancy).or_default() += 1;
        }
        Ok(())
    })
    .await?;
    Ok(kept)
}

/// Asks for another redundancy of all files below a path; a folder remembers it. How many files it was asked for.
///
/// # Errors
/// As [`look`]; what was asked for by then stays so.
pub async fn set(session: &Session, path: &RemotePath, redundancy: Redundancy) -> Result<u64, FolderError> {
    let resolved = resolve(session, path).await?;
    let target = resolved.target(path)?;
    // The folder first: what is put there meanwhile is right from the start.
    if let Some(folder) = target.filter(|entry| entry.is_folder()) {
        remember(session, path, folder, redundancy).await?;
    }
    let (mut batch, mut files) = (Vec::new(), 0);
    each_file(session, target, async |file: &Entry| {
        if let Some(version) = file.file().filter(|version| version.sealed_bytes > 0) {
            batch.push(version.version);
            files += 1;
        }
        if batch.len() >= RECODE_VERSIONS { ask(session, &mut batch, redundancy).await } else { Ok(()) }
    })
    .await?;
    ask(session, &mut batch, redundancy).await?;
    Ok(files)
}

async fn ask(session: &Session, batch: &mut Vec<VersionId>, redundancy: Redundancy) -> Result<(), FolderError> {
    if batch.is_empty() {
        return Ok(());
    }
    let too_many = |_| FolderError::Misbehaved { what: "a batch too long" };
    let versions = BoundedVec::try_from(std::mem::take(batch)).map_err(too_many)?;
    session.call_directory(&SetRedundancy { request: RequestId::random(), versions, redundancy }).await?;
    Ok(())
}

/// Seals a folder's entry anew, in its place.
async fn remember(
    session: &Session,
    path: &RemotePath,
    folder: &Entry,
    redundancy: Redundancy,
) -> Result<(), FolderError> {
    let What::Folder(attributes) = &folder.what else { return Ok(()) };
    let attributes = meta::FolderAttributes { redundancy: Some(redundancy), ..*attributes };
    let place = EntryPlace::of(session.keys(), session.account(), folder.folder, &folder.name, folder.node);
    let entry = meta::Entry { name: folder.name.clone(), folder: Some(attributes) };
    let request = Rename {
        request: RequestId::random(),
        from_folder: folder.folder,
        from_token: folder.token,
        node: folder.node,
        to_folder: folder.folder,
        to_token: folder.token,
        sealed: entry.seal(session.keys(), &place)?,
        replace: None,
    };
    session.call_directory(&request).await.map_err(FolderError::about(path))?;
    Ok(())
}

/// Visits the file, or every file below the folder; the root where there is no entry. Memory for one page and the folders still to visit.
async fn each_file(
    session: &Session,
    start: Option<&Entry>,
    mut visit: impl AsyncFnMut(&Entry) -> Result<(), FolderError>,
) -> Result<(), FolderError> {
    let mut folders: Vec<NodeId> = match start {
        None => vec![session.root()],
        Some(entry) if entry.is_folder() => vec![entry.node],
        Some(entry) => return visit(entry).await,
    };
    while let Some(folder) = folders.pop() {
        let mut listing = Listing::new(session, folder);
        while let Some(page) = listing.next_page().await? {
            for entry in page {
                if entry.is_folder() {
                    folders.push(entry.node);
                } else {
                    visit(&entry).await?;
                }
            }
        }
    }
    Ok(())
}
