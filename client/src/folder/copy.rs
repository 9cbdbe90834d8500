//! Copy: new versions of content that is there already. No data moves: the new version refers to the same chunks, held for it
//! before the old ones could go, and its manifest is sealed anew under a key of its own.
//!
//! Files go in batches, each one upload: manifests are read together, all chunks asked for (which holds them), then published
//! together. A manifest too long to be carried along is an upload of its own, page by page.

mod batch;
mod long;

use common::boxed::Boxed;
use std::collections::HashMap;
use std::time::Duration;

use common::id::RequestId;
use common::id::{NameToken, NodeId, VersionId};
use common::limits::PUBLISH_FILES;
use common::proto::directory::{Abandon, Begin, Expect};
use common::redundancy::Redundancy;

use super::change::{FolderWanted, land, moved};
use super::{Entry, FolderError, Listing, What, make_folders, resolve};
use crate::cancel::{Cancel, Interrupted};
use crate::names::{Name, RemotePath};
use crate::session::Session;

/// A directory whose disk is busy is slow to write it down; without it the upload expires by itself.
const GOODBYE: Duration = Duration::from_secs(30);

/// What became of a copy.
#[derive(Debug, Default)]
pub struct Copied {
    pub files: u64,
    pub folders: u64,
    /// Files that were so already, in this very version.
    pub unchanged: u64,
    /// What could not be copied; the rest was.
    pub failed: Vec<FolderError>,
    /// How many more failed than are listed.
    pub failed_unlisted: u64,
}

/// Failures that are kept to be told.
const LISTED: usize = 1_000;

/// One file to copy.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Entry,
    pub(crate) folder: NodeId,
    pub(crate) name: Name,
    pub(crate) expect: Expect,
    pub(crate) path: RemotePath,
}

/// A folder to copy into one that is there.
pub(crate) struct Pair {
    pub(crate) source: NodeId,
    /// The sequence at which the source is read; `None` for now.
    pub(crate) at: Option<u64>,
    pub(crate) target: NodeId,
    /// Whether something may be in the target already.
    pub(crate) occupied: bool,
    pub(crate) path: RemotePath,
}

/// Copies what is at `from` to `to`, or into the folder `to`; a folder only when `recursive`.
///
/// # Errors
/// When nothing can be copied at all; what fails within a folder is in the answer.
pub fn copy<'a>(
    session: &'a Session,
    from: &'a RemotePath,
    to: &'a RemotePath,
    recursive: bool,
    cancel: &'a Cancel,
) -> Boxed<'a, Result<Copied, FolderError>> {
    Box::pin(async move {
        let resolved = resolve(session, from).await?;
        let (entry, brings) = moved(&resolved, from, "copied")?;
        if entry.is_folder() && !recursive {
            return Err(FolderError::IsAFolder { path: from.to_string() });
        }
        let landing = land(session, to, &entry.name, brings).await?;
        if landing.there.as_ref().is_some_and(|there| there.node == entry.node) {
            return Err(FolderError::Same { from: from.to_string(), to: landing.path.to_string() });
        }
        let What::Folder(attributes) = &entry.what else {
            let expect = landing.there.as_ref().and_then(Entry::expect).unwrap_or(Expect::Nothing);
            let job =
                Job { source: entry.clone(), folder: landing.folder, name: landing.name, expect, path: landing.path };
            return copy_file(session, job, cancel).await;
        };
        if from.contains(&landing.path) {
            return Err(FolderError::IntoItself { from: from.to_string(), to: landing.path.to_string() });
        }
        let shown = landing.path.to_string();
        let wanted = FolderWanted { within: landing.folder, name: landing.name, attributes: *attributes, shown };
        let made = make_folders(session, vec![wanted]).await?.pop();
        let target = made.ok_or(FolderError::Misbehaved { what: "no answer for a folder" })??;
        let mut copied = Copied { folders: u64::from(target.fresh), ..Copied::default() };
        let (target, occupied) = (target.node, !target.fresh);
        let pair = Pair { source: entry.node, at: None, target, occupied, path: landing.path };
        copy_tree(session, pair, &mut copied, cancel).await?;
        Ok(copied)
    })
}

/// Copies one file; when it fails that is the failure of the whole.
pub(crate) async fn copy_file(session: &Session, job: Job, cancel: &Cancel) -> Result<Copied, FolderError> {
    let mut copied = Copied::default();
    batch::copy(session, vec![job], &mut copied, cancel).await?;
    if copied.files == 0 { copied.failed.pop().map_or(Ok(copied), Err) } else { Ok(copied) }
}

/// Copies what is in a folder, with all below.
pub(crate) async fn copy_tree(
    session: &Session,
    pair: Pair,
    copied: &mut Copied,
    cancel: &Cancel,
) -> Result<(), FolderError> {
    let mut pairs = vec![pair];
    while let Some(pair) = pairs.pop() {
        copy_folder(session, &pair, &mut pairs, copied, cancel).await?;
    }
    Ok(())
}

/// Copies the files of one folder, and makes the folders in it.
async fn copy_folder(
    session: &Session,
    pair: &Pair,
    pairs: &mut Vec<Pair>,
    copied: &mut Copied,
    cancel: &Cancel,
) -> Result<(), FolderError> {
    let there = if pair.occupied { existing(session, pair.target).await? } else { HashMap::new() };
    let mut listing = Listing::at(session, pair.source, pair.at);
    let mut jobs = Vec::new();
    while let Some(page) = listing.next_page().await? {
        if cancel.is_cancelled() {
            return Err(Interrupted.into());
        }
        let (folders, files): (Vec<_>, Vec<_>) = page.into_iter().partition(Entry::is_folder);
        copy_subfolders(session, pair, folders, pairs, copied).await?;
        for source in files {
            let path = pair.path.join(&source.name)?;
            let expect = match there.get(&source.token) {
                None => Expect::Nothing,
                Some(Some(Expect::File(_, version))) if source.file().is_some_and(|f| f.version == *version) => {
                    copied.unchanged += 1;
                    continue;
                }
                Some(Some(expect)) => *expect,
                Some(None) => {
                    copied.fail(FolderError::IsAFolder { path: path.to_string() });
                    continue;
                }
            };
            jobs.push(Job { name: source.name.clone(), source, folder: pair.target, expect, path });
            if jobs.len() == PUBLISH_FILES {
                batch::copy(session, std::mem::take(&mut jobs), copied, cancel).await?;
            }
        }
    }
    batch::copy(session, jobs, copied, cancel).await
}

async fn copy_subfolders(
    session: &Session,
    pair: &Pair,
    folders: Vec<Entry>,
    pairs: &mut Vec<Pair>,
    copied: &mut Copied,
) -> Result<(), FolderError> {
    let mut wanted = Vec::with_capacity(folders.len());
    let mut paths = Vec::with_capacity(folders.len());
    for folder in folders {
        let What::Folder(attributes) = folder.what else { continue };
        let path = pair.path.join(&folder.name)?;
        let shown = path.to_string();
        wanted.push(FolderWanted { within: pair.target, name: folder.name, attributes, shown });
        paths.push((folder.node, path));
    }
    for (made, (source, path)) in make_folders(session, wanted).await?.into_iter().zip(paths) {
        match made {
            Ok(target) => {
                copied.folders += u64::from(target.fresh);
                let (target, occupied) = (target.node, !target.fresh);
                pairs.push(Pair { source, at: pair.at, target, occupied, path });
            }
            Err(error) => copied.fail(error),
        }
    }
    Ok(())
}

/// What is in a folder, by token: what to expect there, or `None` for a folder.
pub async fn existing(session: &Session, folder: NodeId) -> Result<HashMap<NameToken, Option<Expect>>, FolderError> {
    let mut there = HashMap::new();
    let mut listing = Listing::new(session, folder);
    while let Some(page) = listing.next_page().await? {
        there.extend(page.into_iter().map(|entry| (entry.token, entry.expect())));
    }
    Ok(there)
}

impl Copied {
    fn fail(&mut self, error: FolderError) {
        if self.failed.len() < LISTED {
            self.failed.push(error);
        } else {
            self.failed_unlisted += 1;
        }
    }
}

/// A file that gets another mode and time.
#[derive(Debug)]
pub struct Touched {
    /// As it is to be.
    pub entry: Entry,
    pub path: RemotePath,
}

/// A copy of each file onto itself, with the metadata that the entry says now.
pub(super) async fn touch(
    session: &Session,
    files: Vec<Touched>,
    copied: &mut Copied,
    cancel: &Cancel,
) -> Result<(), FolderError> {
    let job = |Touched { entry, path }: Touched| {
        let expect = entry.expect().unwrap_or(Expect::Nothing);
        Job { folder: entry.folder, name: entry.name.clone(), expect, path, source: entry }
    };
    batch::copy(session, files.into_iter().map(job).collect(), copied, cancel).await
}

/// Opens an upload that stores nothing on peers.
async fn begin(session: &Session, version: VersionId, redundancy: Redundancy) -> Result<(), FolderError> {
    session.call_directory(&Begin { request: RequestId::random(), version, redundancy, bytes: 0 }).await?;
    Ok(())
}

/// Lets an upload go; when that fails, it expires by itself.
async fn abandon(session: &Session, version: VersionId) {
    session.call_directory_within(&Abandon { version }, GOODBYE).await.ok();
}
