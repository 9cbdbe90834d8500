//! Get tree: a remote folder and all below it, to this machine. One page of one folder at a time; folders get their own mode and
//! time when what is in them is there.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::get::Work;
use crate::folder::{Entry, Listing, NodeId, What};
use crate::local::LocalError;
use crate::local::place::{Complain, PlacedFolder, place_link};
use crate::local::walk::Links;
use crate::local::write::Planned;
use crate::meta::FolderAttributes;
use crate::names::RemotePath;
use crate::transfer::Target;

/// Entries that are placed together.
const PLACED_AT_ONCE: usize = 32;

/// A folder to fetch.
pub(super) struct Tree {
    pub(super) node: NodeId,
    /// The sequence at which it is read; `None` for now.
    pub(super) at: Option<u64>,
    pub(super) path: RemotePath,
    /// `None` for the account's root: then the local folder keeps its own.
    pub(super) attributes: Option<FolderAttributes>,
    pub(super) target: PathBuf,
}

/// A folder whose local place exists.
struct Open {
    node: NodeId,
    path: RemotePath,
    target: PathBuf,
    placed: Option<Arc<PlacedFolder>>,
}

/// What one entry of a page became on the disk.
enum Placed {
    Folder(Entry, Arc<PlacedFolder>),
    File(Entry, Planned),
    Link(Entry),
    Failed(Entry, LocalError),
}

pub(super) async fn get(work: &Work, tree: Tree) -> anyhow::Result<()> {
    let (complain, at) = (complain(work), tree.at);
    let Some(top) = open_top(work, tree, &complain).await? else { return Ok(()) };
    let mut folders = vec![top];
    while let Some(folder) = folders.pop() {
        let mut listing = Listing::at(&work.session, folder.node, at);
        while let Some(mut page) = listing.next_page().await? {
            while !page.is_empty() && !work.jobs.is_closed() {
                let part: Vec<Entry> = page.drain(..page.len().min(PLACED_AT_ONCE)).collect();
                let (target, within, complain) = (folder.target.clone(), folder.placed.clone(), complain.clone());
                let placed = spawn_blocking(move || place_part(part, &target, within.as_ref(), &complain));
                for placed in placed.await? {
                    hand_on(work, &folder, placed, &mut folders).await?;
                }
            }
        }
    }
    Ok(())
}

/// Attributes are set late, when nobody waits for them: what fails then is told here.
fn complain(work: &Work) -> Complain {
    let reporter = Arc::clone(&work.reporter);
    Arc::new(move |error: LocalError| reporter.fail("attributes", &error))
}

async fn open_top(work: &Work, tree: Tree, complain: &Complain) -> anyhow::Result<Option<Open>> {
    let Tree { node, path, attributes, target, .. } = tree;
    // The destination itself may be a link to a folder: the user named it.
    let (place, complain) = (target.clone(), complain.clone());
    let made = spawn_blocking(move || {
        let place = std::fs::canonicalize(&place).unwrap_or(place);
        match attributes {
            Some(own) => PlacedFolder::make(&place, own.mode, own.mtime, None, complain).map(Some),
            None if place.is_dir() => Ok(None),
            None => std::fs::create_dir(&place).map(|()| None).map_err(|source| LocalError::Io {
                action: "create folder",
                path: place,
                source,
            }),
        }
    });
    match made.await? {
        Ok(placed) => Ok(Some(Open { node, path, target, placed })),
        Err(error) => {
            work.reporter.fail(&path.to_string(), &error);
            Ok(None)
        }
    }
}

/// Makes folders and links, and plans the files.
fn place_part(
    part: Vec<Entry>,
    target: &std::path::Path,
    within: Option<&Arc<PlacedFolder>>,
    complain: &Complain,
) -> Vec<Placed> {
    let place = |entry: Entry| {
        let local = target.join(entry.name.as_os());
        let placed = match &entry.what {
            What::Folder(own) => {
                PlacedFolder::make(&local, own.mode, own.mtime, within.cloned(), complain.clone()).map(Ok)
            }
            What::File(file) => match file.link() {
                Some(link) => place_link(link, &local, file.meta.mtime).map(|()| Err(None)),
                None => Ok(Err(Some(Planned::new(local, Links::Keep, within.cloned(), file)))),
            },
        };
        match placed {
            Ok(Ok(folder)) => Placed::Folder(entry, folder),
            Ok(Err(Some(planned))) => Placed::File(entry, planned),
            Ok(Err(None)) => Placed::Link(entry),
            Err(error) => Placed::Failed(entry, error),
        }
    };
    part.into_iter().map(place).collect()
}

async fn hand_on(work: &Work, within: &Open, placed: Placed, folders: &mut Vec<Open>) -> anyhow::Result<()> {
    match placed {
        Placed::Folder(entry, placed) => {
            let path = within.path.join(&entry.name)?;
            let target = within.target.join(entry.name.as_os());
            folders.push(Open { node: entry.node, path, target, placed: Some(placed) });
        }
        Placed::File(entry, planned) => {
            let shown = within.path.join(&entry.name)?.to_string();
            work.send(&entry, Target::Planned(planned), shown).await;
        }
        Placed::Link(entry) => {
            let shown = within.path.join(&entry.name)?.to_string();
            work.settle(&shown, Ok(()), &entry);
        }
        Placed::Failed(entry, error) => {
            let shown = within.path.join(&entry.name)?.to_string();
            work.reporter.fail(&shown, &error);
        }
    }
    Ok(())
}
