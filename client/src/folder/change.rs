//! Change: folders are made, entries moved and removed.

use common::bounded::BoundedVec;
use common::boxed::Boxed;
use common::id::{NodeId, RequestId};
use common::limits::MAKE_FOLDERS;
use common::proto::directory::{FolderMade, MakeFolders, NewFolder, Remove, Rename};
use common::proto::parts::NodeKind;

use super::destination::{Brings, Goes, decide};
use super::{Entry, FolderError, Resolved, resolve};
use crate::meta::{self, EntryPlace, FolderAttributes, Mtime};
use crate::names::{Name, RemotePath};
use crate::session::Session;

/// A folder to make.
#[derive(Debug, Clone)]
pub struct FolderWanted {
    pub within: NodeId,
    pub name: Name,
    pub attributes: FolderAttributes,
    /// What the user calls it.
    pub shown: String,
}

/// A folder that is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderThere {
    pub node: NodeId,
    /// Whether it was made just now: then nothing is in it yet.
    pub fresh: bool,
}

/// What a folder has that was made without a local one.
fn plain_attributes() -> FolderAttributes {
    FolderAttributes { mode: 0o755, mtime: Mtime::from_system(std::time::SystemTime::now()), redundancy: None }
}

/// Makes the folder at the path; with `parents` also those above it, and then one that exists is fine.
///
/// # Errors
/// When it exists, its parent does not, or a file is in the way.
pub fn make<'a>(session: &'a Session, path: &'a RemotePath, parents: bool) -> Boxed<'a, Result<(), FolderError>> {
    Box::pin(async move {
        let resolved = resolve(session, path).await?;
        if resolved.missing() == 0 {
            let folder = resolved.last().is_none_or(Entry::is_folder);
            if parents && folder {
                return Ok(());
            }
            return Err(FolderError::Exists { path: path.to_string() });
        }
        if resolved.missing() > 1 && !parents || resolved.stands() == super::destination::Stands::FileInTheWay {
            return Err(decide(resolved.stands(), false, Brings::Folder)
                .map_or_else(|why| FolderError::Destination { path: path.to_string(), why }, |_| resolved_wrongly()));
        }
        let mut within = resolved.deepest_folder();
        for name in path.names().iter().skip(path.names().len() - resolved.missing()) {
            let wanted =
                FolderWanted { within, name: name.clone(), attributes: plain_attributes(), shown: path.to_string() };
            let made = make_folders(session, vec![wanted]).await?;
            within = match made.into_iter().next() {
                Some(made) => made?.node,
                None => return Err(FolderError::Misbehaved { what: "no answer for a folder" }),
            };
        }
        Ok(())
    })
}

fn resolved_wrongly() -> FolderError {
    FolderError::Misbehaved { what: "a path that exists and does not" }
}

/// Makes folders, or takes those that are there, in as few requests as possible; one answer for each, in order.
///
/// # Errors
/// When the directory cannot be asked; what is wrong with one folder is its own answer.
pub fn make_folders<'a>(
    session: &'a Session,
    wanted: Vec<FolderWanted>,
) -> Boxed<'a, Result<Vec<Result<FolderThere, FolderError>>, FolderError>> {
    Box::pin(async move {
        let mut answers = Vec::with_capacity(wanted.len());
        for batch in wanted.chunks(MAKE_FOLDERS) {
            let folders = batch.iter().map(|folder| new_folder(session, folder)).collect::<Result<Vec<_>, _>>()?;
            let nodes: Vec<NodeId> = folders.iter().map(|folder| folder.node).collect();
            let folders =
                BoundedVec::try_from(folders).map_err(|_| FolderError::Misbehaved { what: "a batch too long" })?;
            let made = session.call_directory(&MakeFolders { request: RequestId::random(), folders }).await?;
            if made.results.len() != batch.len() {
                return Err(FolderError::Misbehaved { what: "another number of answers than of folders" });
            }
            for ((result, node), folder) in made.results.into_iter().zip(nodes).zip(batch) {
                let path = || folder.shown.clone();
                answers.push(match result {
                    FolderMade::Made => Ok(FolderThere { node, fresh: true }),
                    FolderMade::Exists(node, NodeKind::Folder) => Ok(FolderThere { node, fresh: false }),
                    FolderMade::Exists(_, NodeKind::File) => Err(FolderError::NotAFolder { path: path() }),
                    FolderMade::Refused(source) => Err(FolderError::Refused { path: path(), source }),
                });
            }
        }
        Ok(answers)
    })
}

fn new_folder(session: &Session, wanted: &FolderWanted) -> Result<NewFolder, FolderError> {
    let node = NodeId::random();
    let place = EntryPlace::of(session.keys(), session.account(), wanted.within, &wanted.name, node);
    let entry = meta::Entry { name: wanted.name.clone(), folder: Some(wanted.attributes) };
    Ok(NewFolder { folder: wanted.within, token: place.token, node, sealed: entry.seal(session.keys(), &place)? })
}

/// Where something goes in the tree.
#[derive(Debug)]
pub struct Landing {
    /// The folder, and the name in it.
    pub folder: NodeId,
    pub name: Name,
    pub path: RemotePath,
    /// What is there now.
    pub there: Option<Entry>,
}

/// Decides where a file or folder of this name goes when `to` is its destination.
///
/// # Errors
/// Where [`destination`](super::destination) says that it goes nowhere.
pub async fn land(session: &Session, to: &RemotePath, own_name: &Name, brings: Brings) -> Result<Landing, FolderError> {
    let resolved = resolve(session, to).await?;
    let slash = to.must_be_folder() && !to.is_root();
    let refuse = |why| FolderError::Destination { path: to.to_string(), why };
    match decide(resolved.stands(), slash, brings).map_err(refuse)? {
        Goes::Into | Goes::Merged => {
            let path = to.join(own_name)?;
            let inside = resolve(session, &path).await?;
            let folder = inside.parent().ok_or_else(|| FolderError::Changed { path: to.to_string() })?;
            let there = inside.last().cloned();
            // A folder of that name is what a folder may be merged with, and a file can never replace.
            if there.as_ref().is_some_and(|there| there.is_folder() != (brings == Brings::Folder)) {
                let folder = there.is_some_and(|there| there.is_folder());
                let path = path.to_string();
                return Err(if folder { FolderError::IsAFolder { path } } else { FolderError::NotAFolder { path } });
            }
            Ok(Landing { folder, name: own_name.clone(), path, there })
        }
        Goes::As => {
            let (_, name) = to.split().ok_or(FolderError::Root { what: "replaced" })?;
            let folder = resolved.parent().ok_or_else(|| FolderError::Changed { path: to.to_string() })?;
            Ok(Landing { folder, name: name.clone(), path: to.clone(), there: resolved.last().cloned() })
        }
    }
}

/// The entry at `from`, with what it brings; refuses the root.
pub(super) fn moved<'a>(
    resolved: &'a Resolved,
    from: &RemotePath,
    what: &'static str,
) -> Result<(&'a Entry, Brings), FolderError> {
    let entry = resolved.target(from)?.ok_or(FolderError::Root { what })?;
    Ok((entry, if entry.is_folder() { Brings::Folder } else { Brings::File }))
}

/// Moves what is at `from` to `to`, or into the folder `to`; gives the path where it is now.
///
/// # Errors
/// When there is nothing, a folder in the way, or somebody else was faster.
pub fn rename<'a>(
    session: &'a Session,
    from: &'a RemotePath,
    to: &'a RemotePath,
) -> Boxed<'a, Result<RemotePath, FolderError>> {
    Box::pin(async move {
        let resolved = resolve(session, from).await?;
        let (entry, brings) = moved(&resolved, from, "moved")?;
        let landing = land(session, to, &entry.name, brings).await?;
        let names = || (from.to_string(), landing.path.to_string());
        if landing.there.as_ref().is_some_and(|there| there.node == entry.node) {
            let (from, to) = names();
            return Err(FolderError::Same { from, to });
        }
        if entry.is_folder() && from.contains(&landing.path) {
            let (from, to) = names();
            return Err(FolderError::IntoItself { from, to });
        }
        if landing.there.as_ref().is_some_and(Entry::is_folder) {
            return Err(FolderError::Exists { path: landing.path.to_string() });
        }
        let place = EntryPlace::of(session.keys(), session.account(), landing.folder, &landing.name, entry.node);
        let attributes = match &entry.what {
            super::What::Folder(attributes) => Some(*attributes),
            super::What::File(_) => None,
        };
        let sealed = meta::Entry { name: landing.name.clone(), folder: attributes }.seal(session.keys(), &place)?;
        let request = Rename {
            request: RequestId::random(),
            from_folder: entry.folder,
            from_token: entry.token,
            node: entry.node,
            to_folder: landing.folder,
            to_token: place.token,
            sealed,
            replace: landing.there.as_ref().map(|there| there.node),
        };
        session.call_directory(&request).await.map_err(FolderError::about(&landing.path))?;
        Ok(landing.path)
    })
}

/// Takes what is at the path out of the tree.
///
/// # Errors
/// When there is nothing, or a folder and not `recursive`.
pub fn remove<'a>(session: &'a Session, path: &'a RemotePath, recursive: bool) -> Boxed<'a, Result<(), FolderError>> {
    Box::pin(async move {
        let resolved = resolve(session, path).await?;
        let (entry, _) = moved(&resolved, path, "removed")?;
        if entry.is_folder() && !recursive {
            return Err(FolderError::IsAFolder { path: path.to_string() });
        }
        let request = Remove {
            request: RequestId::random(),
            folder: entry.folder,
            token: entry.token,
            node: entry.node,
            recursive,
        };
        session.call_directory(&request).await.map_err(FolderError::about(path))?;
        Ok(())
    })
}
