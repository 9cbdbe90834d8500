//! Push: what lies on this machine goes into the tree.
//!
//! Files become jobs for [`up`](crate::up); folders, moves and attributes are changed while the walk goes on; what SRC does not have is
//! handed back, to be removed when everything has been brought.

mod step;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use common::id::NodeId;
use common::proto::directory::Expect;
use tokio::sync::mpsc;

use super::changes::Changes;
use super::compare::{self, Verdict, Way};
use super::deletion::{Deletions, Leftover, Ticket};
use super::moves::{Moves, likeness_of_item};
use super::{Action, Below, REMEMBERED, SyncError, Tools, tree};
use crate::down::compare::Asked;
use crate::folder::apply;
use crate::folder::change::{FolderWanted, make_folders};
use crate::folder::copy::Touched;
use crate::folder::destination::Nowhere;
use crate::folder::{Entry, FolderError, resolve};
use crate::local::partial;
use crate::local::walk::{Item, ItemKind, Links, look};
use crate::meta::FolderAttributes;
use crate::names::{Name, RemotePath};
use crate::transfer::PutJob;

use step::only_mode;

/// Which folders are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    All,
    /// These alone, and what is new in them.
    Folders(BTreeSet<Below>),
}

/// A file in the tree that SRC does not have.
struct Gone {
    entry: Entry,
    below: Below,
    ticket: Option<Ticket>,
}

/// A file that is not in DEST.
struct Fresh {
    item: Item,
    below: Below,
    place: Place,
}

/// Where something goes: the folder's node is not known when it was not really made.
#[derive(Clone)]
struct Place {
    folder: Option<NodeId>,
    within: Arc<RemotePath>,
    name: Name,
    expect: Expect,
}

/// A folder on both sides.
struct Folder {
    local: PathBuf,
    below: Below,
    path: Arc<RemotePath>,
    node: Option<NodeId>,
    /// Whether something may be in it in DEST.
    occupied: bool,
    /// Whether folders in it that are there already are entered.
    deep: bool,
}

/// A walk under way.
pub struct Push {
    tools: Tools,
    /// `None` in a dry run.
    jobs: Option<mpsc::Sender<PutJob>>,
    moves: Option<Moves<Gone, Fresh>>,
    deletions: Deletions<Entry>,
    changes: Changes,
    touched: Vec<Touched>,
}

/// What one folder has that is not there yet, or not alike.
struct Found {
    below: Below,
    name: Name,
    item: Item,
}

/// Walks SRC and the folder at `dest`, and hands on what has to be brought.
///
/// # Errors
/// What makes going on senseless; the rest is told.
pub async fn walk(
    tools: &Tools,
    src: PathBuf,
    dest: RemotePath,
    scope: Scope,
    jobs: Option<mpsc::Sender<PutJob>>,
) -> Result<Leftover<Entry>, SyncError> {
    let mut push = Push {
        tools: tools.clone(),
        jobs,
        moves: tools.options.delete.then(|| Moves::new(REMEMBERED)),
        deletions: Deletions::new(),
        changes: Changes::new(Arc::clone(&tools.told)),
        touched: Vec::new(),
    };
    let mut folders = match scope {
        Scope::All => vec![push.top(src, dest).await?],
        Scope::Folders(scope) => push.some(&src, &dest, scope).await?,
    };
    while let Some(folder) = folders.pop() {
        if push.jobs.as_ref().is_some_and(mpsc::Sender::is_closed) {
            break; // the data path has given up, and says why
        }
        let below = push.folder(folder).await?;
        folders.extend(below.into_iter().rev());
    }
    while let Some(fresh) = push.moves.as_mut().and_then(Moves::rest) {
        push.put(fresh).await;
    }
    push.touch().await?;
    push.changes.finish().await?;
    Ok(push.leftover())
}

impl Push {
    fn dry(&self) -> bool {
        self.tools.options.dry_run
    }

    /// SRC and DEST themselves. DEST is made when its parent is there.
    async fn top(&mut self, src: PathBuf, dest: RemotePath) -> Result<Folder, SyncError> {
        let looked = src.clone();
        let item = super::blocking(move || look(&looked, Links::Follow)).await??;
        if item.kind != ItemKind::Folder {
            return Err(SyncError::NotAFolder { path: src.display().to_string() });
        }
        let (session, below) = (self.tools.session.clone(), Below::default());
        let resolved = resolve(&session, &dest).await?;
        let attributes = FolderAttributes { mode: item.mode, mtime: item.modified, redundancy: None };
        if resolved.missing() == 0 {
            let node = resolved.folder().map_err(|_| SyncError::NotAFolder { path: dest.to_string() })?;
            if let Some(entry) = resolved.last().cloned()
                && compare::judge(&item, &entry, Way::Up) == Verdict::OtherAttributes
            {
                self.set_attributes(below.clone(), entry, &item).await?;
            }
            let (node, occupied) = (Some(node), true);
            return Ok(Folder { local: src, below, path: Arc::new(dest), node, occupied, deep: true });
        }
        let nowhere = |why| FolderError::Destination { path: dest.to_string(), why };
        let within = resolved.parent().filter(|_| resolved.missing() == 1).ok_or_else(|| nowhere(Nowhere::NoParent))?;
        let (_, name) = dest.split().ok_or(FolderError::Root { what: "made" })?;
        self.tools.act(&Action::Folder(below.clone()));
        let mut node = None;
        if !self.dry() {
            let wanted = FolderWanted { within, name: name.clone(), attributes, shown: dest.to_string() };
            let made = make_folders(&session, vec![wanted]).await?.pop();
            node = Some(made.ok_or(FolderError::Misbehaved { what: "no answer for a folder" })??.node);
        }
        self.moves = None; // there is nothing that could have moved
        Ok(Folder { local: src, below, path: Arc::new(dest), node, occupied: false, deep: true })
    }

    /// The folders that changed; where one is missing on either side, the one above it.
    async fn some(
        &mut self,
        src: &std::path::Path,
        dest: &RemotePath,
        scope: BTreeSet<Below>,
    ) -> Result<Vec<Folder>, SyncError> {
        let mut folders: HashMap<Below, Folder> = HashMap::new();
        for below in scope {
            let mut names = below.names()?;
            loop {
                let below = names.iter().fold(Below::default(), |below, name| below.join(name.as_bytes()));
                if names.is_empty() {
                    let top = self.top(src.to_owned(), dest.clone()).await?;
                    folders.insert(below, Folder { deep: !top.occupied, ..top });
                    break;
                }
                let path = names.iter().try_fold(dest.clone(), |path, name| path.join(name))?;
                let local = src.join(below.path());
                let looked = local.clone();
                let there = super::blocking(move || look(&looked, Links::Keep)).await?;
                let resolved = resolve(&self.tools.session, &path).await?;
                let node = resolved.folder().ok();
                if there.is_ok_and(|item| item.kind == ItemKind::Folder) && node.is_some() {
                    folders.insert(
                        below.clone(),
                        Folder { local, below, path: Arc::new(path), node, occupied: true, deep: false },
                    );
                    break;
                }
                names.pop();
            }
        }
        let mut folders: Vec<_> = folders.into_values().collect();
        folders.sort_by(|a, b| b.below.cmp(&a.below));
        Ok(folders)
    }

    /// Merges one folder; gives the folders in it that have to be entered.
    async fn folder(&mut self, folder: Folder) -> Result<Vec<Folder>, SyncError> {
        let names = match tree::local(&folder.local).await? {
            Ok(names) => names,
            Err(error) if error.is_missing() => return Ok(Vec::new()), // gone since it was seen
            Err(error) => {
                self.tools.fail(&folder.below, &error);
                return Ok(Vec::new()); // nothing below it is removed
            }
        };
        let mut there = match folder.node.filter(|_| folder.occupied) {
            Some(node) => tree::remote(&self.tools.session, node).await?,
            None => HashMap::new(),
        };
        let mut enter = Vec::new();
        for names in names.chunks(tree::PART) {
            self.part(&folder, names, &mut there, &mut enter).await?;
        }
        if self.tools.options.delete && names.is_empty() && folder.below == Below::default() && !there.is_empty() {
            self.tools.fail(&folder.below, &SyncError::EmptySource);
        } else if self.tools.options.delete {
            let mut gone: Vec<_> = there.into_values().collect();
            gone.sort_by(|a, b| a.name.cmp(&b.name));
            for entry in gone {
                let below = folder.below.join(entry.name.as_bytes());
                self.gone(below, entry).await?;
            }
        }
        Ok(enter)
    }

    /// Some of a folder's names, in order.
    async fn part(
        &mut self,
        folder: &Folder,
        names: &[OsString],
        there: &mut HashMap<Name, Entry>,
        enter: &mut Vec<Folder>,
    ) -> Result<(), SyncError> {
        let items = tree::look_at(names.iter().map(|name| folder.local.join(name)).collect()).await?;
        let (mut made, mut same) = (Vec::new(), Vec::new());
        for (name, item) in names.iter().zip(items) {
            if partial::is_partial(name) {
                continue; // what a get has not finished is nobody's content
            }
            let below = folder.below.join(name.as_bytes());
            let name = match Name::from_os(name) {
                Ok(name) => name,
                Err(error) => {
                    self.tools.fail(&below, &error);
                    continue;
                }
            };
            let item = match item {
                Ok(item) => item,
                Err(error) if error.is_missing() => continue, // gone since it was listed
                Err(error) => {
                    there.remove(&name);
                    self.tools.fail(&below, &error);
                    continue;
                }
            };
            let entry = there.remove(&name);
            if self.tools.options.excludes.has(&below, item.kind == ItemKind::Folder) {
                continue;
            }
            let found = Found { below, name, item };
            match entry {
                None => self.fresh(folder, found, &mut made).await?,
                Some(entry) => self.both(folder, found, entry, &mut made, &mut same, enter).await?,
            }
        }
        self.compare(folder, same).await?;
        self.make(folder, made, enter).await
    }

    /// What is under that name on both sides.
    async fn both(
        &mut self,
        folder: &Folder,
        found: Found,
        entry: Entry,
        made: &mut Vec<Found>,
        same: &mut Vec<(Found, Entry)>,
        enter: &mut Vec<Folder>,
    ) -> Result<(), SyncError> {
        let verdict = compare::judge(&found.item, &entry, Way::Up);
        match verdict {
            Verdict::Alike | Verdict::OtherAttributes if entry.is_folder() => {
                if verdict == Verdict::OtherAttributes {
                    self.set_attributes(found.below.clone(), entry.clone(), &found.item).await?;
                }
                if folder.deep {
                    self.enter(folder, found, Some(entry.node), enter);
                }
            }
            // Of one size: the content says whether more than its attributes is to be brought.
            Verdict::Alike | Verdict::Differs
                if self.tools.options.checksum && compare::same_size(&found.item, &entry).is_some() =>
            {
                same.push((found, entry));
            }
            Verdict::Alike | Verdict::OtherAttributes => self.tools.counts.alike(),
            Verdict::Differs if only_mode(&found.item, &entry) => self.touch_one(folder, found, entry).await?,
            Verdict::Differs => {
                let Some(expect) = entry.expect() else { return Ok(()) };
                let place = Place { folder: folder.node, within: folder.path.clone(), name: found.name, expect };
                self.put(Fresh { item: found.item, below: found.below, place }).await;
            }
            Verdict::OtherKind => {
                let there = compare::word_of_entry(&entry);
                if !self.tools.options.delete || self.keeps_something(&found.below, &entry).await? {
                    let (path, wanted) = (found.below.to_string(), compare::word_of(&found.item.kind));
                    self.tools.fail(&found.below, &SyncError::InTheWay { path, there, wanted });
                    return Ok(());
                }
                self.tools.act(&Action::Delete(found.below.clone()));
                if !self.dry() {
                    apply::remove(&self.tools.session, &entry, &found.below.to_string()).await?;
                }
                self.fresh(folder, found, made).await?;
            }
            Verdict::Special(what) => self.left_out(&found.below, what),
        }
        Ok(())
    }

    fn left_out(&self, below: &Below, what: &str) {
        self.tools.told.note(&format!("{below} is a {what} and was left out"));
    }

    fn enter(&self, folder: &Folder, found: Found, node: Option<NodeId>, enter: &mut Vec<Folder>) {
        match folder.path.join(&found.name) {
            Ok(path) => {
                let (occupied, deep) = (node.is_some(), true);
                enter.push(Folder {
                    local: found.item.path,
                    below: found.below,
                    path: Arc::new(path),
                    node,
                    occupied,
                    deep,
                });
            }
            Err(error) => self.tools.fail(&found.below, &error),
        }
    }

    /// What DEST does not have under that name.
    async fn fresh(&mut self, folder: &Folder, found: Found, made: &mut Vec<Found>) -> Result<(), SyncError> {
        match found.item.kind {
            ItemKind::Folder => {
                made.push(found);
                return Ok(());
            }
            ItemKind::Special(what) => {
                self.left_out(&found.below, what);
                return Ok(());
            }
            ItemKind::File { .. } | ItemKind::Link { .. } => {}
        }
        let place =
            Place { folder: folder.node, within: folder.path.clone(), name: found.name, expect: Expect::Nothing };
        let fresh = Fresh { item: found.item, below: found.below, place };
        let Some(likeness) = likeness_of_item(&fresh.item) else {
            self.put(fresh).await;
            return Ok(());
        };
        let gone = self.moves.as_mut().and_then(|moves| moves.take_gone(&likeness));
        if let Some(gone) = gone {
            return self.meet(gone, fresh).await;
        }
        self.keep_new(likeness, fresh).await;
        Ok(())
    }

    /// Makes the new folders of a part.
    async fn make(&mut self, folder: &Folder, found: Vec<Found>, enter: &mut Vec<Folder>) -> Result<(), SyncError> {
        for found in &found {
            self.tools.act(&Action::Folder(found.below.clone()));
        }
        let Some(within) = folder.node.filter(|_| !self.dry()) else {
            found.into_iter().for_each(|found| self.enter(folder, found, None, enter));
            return Ok(());
        };
        let wanted = |found: &Found| {
            let attributes = FolderAttributes { mode: found.item.mode, mtime: found.item.modified, redundancy: None };
            FolderWanted { within, name: found.name.clone(), attributes, shown: found.below.to_string() }
        };
        let made = make_folders(&self.tools.session, found.iter().map(wanted).collect()).await?;
        for (found, made) in found.into_iter().zip(made) {
            match made {
                Ok(made) => self.enter(folder, found, Some(made.node), enter),
                Err(error) => self.tools.fail(&found.below, &error),
            }
        }
        Ok(())
    }

    /// Something that SRC does not have.
    async fn gone(&mut self, below: Below, entry: Entry) -> Result<bool, SyncError> {
        if self.tools.options.excludes.has(&below, entry.is_folder()) {
            return Ok(false);
        }
        let mark = self.deletions.mark();
        if !entry.is_folder() {
            let ticket = self.deletions.add(below.clone(), entry.clone());
            self.turn_up(Gone { entry, below, ticket }).await?;
            return Ok(true);
        }
        let mut whole = true;
        let mut inside: Vec<_> = tree::remote(&self.tools.session, entry.node).await?.into_values().collect();
        inside.sort_by(|a, b| a.name.cmp(&b.name));
        for inner in inside {
            let below = below.join(inner.name.as_bytes());
            whole &= Box::pin(self.gone(below, inner)).await?;
        }
        if whole {
            self.deletions.replace_since(mark, below, entry);
        }
        Ok(whole)
    }

    /// Whether something in there is excluded, and so keeps the folder.
    async fn keeps_something(&self, below: &Below, entry: &Entry) -> Result<bool, SyncError> {
        if self.tools.options.excludes.has(below, entry.is_folder()) {
            return Ok(true);
        }
        if !entry.is_folder() || self.tools.options.excludes.is_empty() {
            return Ok(false);
        }
        for inner in tree::remote(&self.tools.session, entry.node).await?.into_values() {
            let below = below.join(inner.name.as_bytes());
            if Box::pin(self.keeps_something(&below, &inner)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
