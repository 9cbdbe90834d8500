//! Restore: makes an old state current again, as new versions. No data moves: see [`crate::folder::copy`].
//!
//! What is current now goes into history like with any overwrite. A folder is merged into what is there: its files get their old
//! content back, and what came since stays.

use common::proto::directory::{Expect, HowEnded};

use super::versions::Versions;
use super::{Moment, PastError, Spot, spot::spot};
use crate::cancel::Cancel;
use crate::folder::change::{FolderWanted, land, make_folders};
use crate::folder::copy::{Copied, Job, Pair, copy_file, copy_tree};
use crate::folder::destination::{Brings, Nowhere, Stands};
use crate::folder::{self, Entry, FolderError, NodeId, What, resolve};
use crate::meta::FolderAttributes;
use crate::names::{Name, RemotePath};
use crate::session::Session;

/// What was done.
#[derive(Debug)]
pub struct Restored {
    /// Where it is now.
    pub path: RemotePath,
    /// The sequence whose state it is.
    pub sequence: u64,
    pub copied: Copied,
}

/// Where something is restored to.
struct Landing {
    folder: NodeId,
    name: Name,
    path: RemotePath,
    there: Option<Entry>,
    /// Folders above it that were made for it.
    made: u64,
}

/// Makes what is at a spot current again, at its own path or at `to`.
///
/// # Errors
/// When there was nothing, something of another kind is in the way, or somebody else was faster; what fails within a folder is in the answer.
pub async fn restore(
    session: &Session,
    spot: &Spot,
    to: Option<&RemotePath>,
    cancel: &Cancel,
) -> Result<Restored, PastError> {
    let sequence = spot.at.ok_or_else(|| PastError::WhichState { path: spot.path.to_string() })?;
    let Some(entry) = spot.target()? else { return restore_root(session, sequence, to, cancel).await };
    let landing = match to {
        None => own_place(session, spot).await?,
        Some(to) => {
            let brings = if entry.is_folder() { Brings::Folder } else { Brings::File };
            let folder::change::Landing { folder, name, path, there } = land(session, to, &entry.name, brings).await?;
            Landing { folder, name, path, there, made: 0 }
        }
    };
    let (path, made) = (landing.path.clone(), landing.made);
    let mut copied = match &entry.what {
        What::File(_) => restore_file(session, entry, landing, cancel).await?,
        What::Folder(attributes) => {
            restore_folder(session, (entry.node, sequence), *attributes, landing, cancel).await?
        }
    };
    copied.folders += made;
    Ok(Restored { path, sequence, copied })
}

async fn restore_file(
    session: &Session,
    entry: &Entry,
    landing: Landing,
    cancel: &Cancel,
) -> Result<Copied, PastError> {
    let Landing { folder, name, path, there, .. } = landing;
    let expect = match &there {
        None => Expect::Nothing,
        Some(there) => there.expect().ok_or_else(|| PastError::FolderInTheWay { path: path.to_string() })?,
    };
    let is_so = |there: &Entry| there.file().map(|file| file.version) == entry.file().map(|file| file.version);
    if there.as_ref().is_some_and(is_so) {
        return Ok(Copied { unchanged: 1, ..Copied::default() });
    }
    let job = Job { source: entry.clone(), folder, name, expect, path };
    Ok(copy_file(session, job, cancel).await?)
}

async fn restore_folder(
    session: &Session,
    (source, at): (NodeId, u64),
    attributes: FolderAttributes,
    landing: Landing,
    cancel: &Cancel,
) -> Result<Copied, PastError> {
    let Landing { folder, name, path, there, .. } = landing;
    if there.is_some_and(|there| !there.is_folder()) {
        return Err(FolderError::NotAFolder { path: path.to_string() }.into());
    }
    let wanted = FolderWanted { within: folder, name, attributes, shown: path.to_string() };
    let made = make_folders(session, vec![wanted]).await?.pop();
    let target = made.ok_or(FolderError::Misbehaved { what: "no answer for a folder" })??;
    let mut copied = Copied { folders: u64::from(target.fresh), ..Copied::default() };
    let pair = Pair { source, at: Some(at), target: target.node, occupied: !target.fresh, path };
    copy_tree(session, pair, &mut copied, cancel).await?;
    Ok(copied)
}

/// The whole tree, into itself or into a folder.
async fn restore_root(
    session: &Session,
    sequence: u64,
    to: Option<&RemotePath>,
    cancel: &Cancel,
) -> Result<Restored, PastError> {
    let path = to.cloned().unwrap_or_else(RemotePath::root);
    if !path.is_root() {
        folder::make(session, &path, true).await?;
    }
    let target = resolve(session, &path).await?.folder()?;
    let pair = Pair { source: session.root(), at: Some(sequence), target, occupied: true, path: path.clone() };
    let mut copied = Copied::default();
    copy_tree(session, pair, &mut copied, cancel).await?;
    Ok(Restored { path, sequence, copied })
}

/// The place at its own path; folders above it that are gone are made again, as they were.
async fn own_place(session: &Session, spot: &Spot) -> Result<Landing, PastError> {
    let (_, name) = spot.path.split().ok_or(FolderError::Root { what: "restored like this" })?;
    let (name, path) = (name.clone(), spot.path.clone());
    let now = resolve(session, &path).await?;
    if now.stands() == Stands::FileInTheWay {
        return Err(FolderError::Destination { path: path.to_string(), why: Nowhere::FileInTheWay }.into());
    }
    if let Some(folder) = now.parent() {
        return Ok(Landing { folder, name, there: now.last().cloned(), path, made: 0 });
    }
    let (mut within, mut folders) = (now.deepest_folder(), 0);
    let above = spot.resolved.entries().iter().take(path.names().len().saturating_sub(1));
    for then in above.skip(now.entries().len()) {
        let What::Folder(attributes) = &then.what else { continue };
        let shown = format!("a folder above {path}");
        let wanted = FolderWanted { within, name: then.name.clone(), attributes: *attributes, shown };
        let made = make_folders(session, vec![wanted]).await?.pop();
        let made = made.ok_or(FolderError::Misbehaved { what: "no answer for a folder" })??;
        within = made.node;
        folders += u64::from(made.fresh);
    }
    Ok(Landing { folder: within, name, path, there: None, made: folders })
}

/// Brings back what was last at a path before it was removed.
///
/// # Errors
/// When it is there, was moved, or never was; then as [`restore`].
pub async fn undelete(session: &Session, path: &RemotePath, cancel: &Cancel) -> Result<Restored, PastError> {
    let mut versions = Versions::new(session, path);
    let Some(last) = versions.next().await? else { return Err(PastError::NeverWas { path: path.to_string() }) };
    let Some(ended) = last.until else { return Err(PastError::NotRemoved { path: path.to_string() }) };
    if ended.how == HowEnded::Moved {
        return Err(PastError::Moved { path: path.to_string(), version: last.since });
    }
    let sequence = ended.moment.sequence.saturating_sub(1);
    let spot = spot(session, path, Some(Moment { sequence, at: ended.moment.at }), false).await?;
    restore(session, &spot, None, cancel).await
}
