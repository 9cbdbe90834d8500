//! Put tree: a local folder and all below it. Folder by folder: its files become jobs, its folders are made together, then each
//! is entered. What cannot be read is told, and the rest goes on.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::id::NodeId;
use common::limits::MAKE_FOLDERS;
use tokio::task::spawn_blocking;

use super::put::{Place, Work, expectation, show};
use crate::folder::FolderError;
use crate::folder::change::{FolderWanted, make_folders};
use crate::folder::copy::existing;
use crate::local::LocalError;
use crate::local::walk::{self, Item, ItemKind, Links};
use crate::meta::FolderAttributes;
use crate::names::{Name, RemotePath};
use crate::transfer::Progress;

/// A folder of the tree that is there.
pub(super) struct Tree {
    pub(super) node: NodeId,
    /// Whether something may be in it already.
    pub(super) occupied: bool,
    pub(super) path: Arc<RemotePath>,
}

/// Stores what is in a local folder into one that is there.
pub(super) async fn put(work: &Work, local: PathBuf, tree: Tree) -> anyhow::Result<()> {
    let mut folders = vec![(local, tree)];
    while let Some((local, tree)) = folders.pop() {
        if work.jobs.is_closed() {
            return Ok(()); // the data path has given up, and says why
        }
        let listed = local.clone();
        let names = match spawn_blocking(move || walk::names(&listed)).await? {
            Ok(names) => names,
            Err(error) => {
                work.reporter.fail(&show(&local), &error);
                continue;
            }
        };
        let below = put_folder(work, &local, &tree, names).await?;
        folders.extend(below.into_iter().rev());
    }
    Ok(())
}

/// Stores the files of one folder; gives the folders in it, which are made now.
async fn put_folder(
    work: &Work,
    local: &Path,
    tree: &Tree,
    names: Vec<OsString>,
) -> anyhow::Result<Vec<(PathBuf, Tree)>> {
    let there = if tree.occupied { existing(&work.session, tree.node).await? } else { HashMap::new() };
    let mut below = Vec::new();
    for part in names.chunks(MAKE_FOLDERS) {
        let mut wanted = Vec::new();
        let mut locals = Vec::new();
        for (name, item) in look_at(local, part).await? {
            let (name, item) = match (Name::from_os(&name), item) {
                (Ok(name), Ok(item)) => (name, item),
                (Err(error), _) => {
                    work.reporter.fail(&show(&local.join(name)), &error);
                    continue;
                }
                (_, Err(error)) => {
                    work.reporter.fail(&show(&local.join(name)), &error);
                    continue;
                }
            };
            match &item.kind {
                ItemKind::Folder => match tree.path.join(&name) {
                    Ok(path) => {
                        let attributes = FolderAttributes { mode: item.mode, mtime: item.modified, redundancy: None };
                        wanted.push(FolderWanted { within: tree.node, name, attributes, shown: path.to_string() });
                        locals.push((item.path, path));
                    }
                    Err(error) => work.reporter.fail(&show(&item.path), &error),
                },
                ItemKind::Special(kind) => {
                    work.reporter.note(&format!("{} is a {kind} and was left out", show(&item.path)));
                }
                ItemKind::File { .. } | ItemKind::Link { .. } => {
                    match expectation(there.get(&name.token(work.session.keys()))) {
                        Some(expect) => {
                            work.send(item, Place { folder: tree.node, within: tree.path.clone(), name, expect }).await
                        }
                        None => {
                            let path = tree.path.to_string();
                            work.reporter
                                .fail(&show(&item.path), &FolderError::IsAFolder { path: format!("{path}/{name}") });
                        }
                    }
                }
            }
        }
        for (made, (local, path)) in make_folders(&work.session, wanted).await?.into_iter().zip(locals) {
            match made {
                Ok(made) => below.push((local, Tree { node: made.node, occupied: !made.fresh, path: Arc::new(path) })),
                Err(error) => work.reporter.fail(&show(&local), &error),
            }
        }
    }
    Ok(below)
}

type Looked = (OsString, Result<Item, LocalError>);

async fn look_at(local: &Path, names: &[OsString]) -> anyhow::Result<Vec<Looked>> {
    let (local, names) = (local.to_owned(), names.to_vec());
    let looked = spawn_blocking(move || {
        let look = |name: OsString| {
            let item = walk::look(&local.join(&name), Links::Keep);
            (name, item)
        };
        names.into_iter().map(look).collect()
    });
    Ok(looked.await?)
}
