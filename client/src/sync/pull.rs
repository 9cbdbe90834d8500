//! Pull: what lies in the tree comes to this machine.
//!
//! Files become jobs for [`down`](crate::down); folders, links, moves and attributes are seen to while the walk goes on; what SRC does not
//! have is handed back, to be removed when everything has been brought. A link on this machine is never followed, so nothing happens
//! outside DEST; DEST itself may be one.

mod step;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::compare::{self, Verdict, Way};
use super::deletion::{Deletions, Leftover, Ticket};
use super::moves::{Moves, likeness_of_entry};
use super::{Action, Below, REMEMBERED, SyncError, Tools, blocking, tree};
use crate::folder::{Entry, NodeId, What, resolve};
use crate::local::partial;
use crate::local::place::{Complain, PlacedFolder};
use crate::local::walk::{Item, ItemKind, Links, look};
use crate::local::{LocalError, place};
use crate::meta::FolderAttributes;
use crate::names::RemotePath;
use crate::transfer::GetJob;

/// A file on this machine that SRC does not have.
struct Gone {
    item: Item,
    below: Below,
    ticket: Option<Ticket>,
    within: Within,
}

/// A file that is not on this machine.
struct Fresh {
    entry: Entry,
    below: Below,
    local: PathBuf,
    within: Within,
}

/// Keeps a folder's own time from being set before all is in it, or out of it. None in a dry run, and for the account's root.
type Within = Option<Arc<PlacedFolder>>;

/// Something to be removed.
pub struct Doomed {
    item: Item,
    _within: Within,
}

/// A folder on both sides.
struct Folder {
    node: NodeId,
    below: Below,
    local: PathBuf,
    placed: Within,
    /// Whether it is there already.
    there: bool,
}

/// A walk under way.
pub struct Pull {
    tools: Tools,
    /// `None` in a dry run.
    jobs: Option<mpsc::Sender<GetJob>>,
    moves: Option<Moves<Gone, Fresh>>,
    deletions: Deletions<Doomed>,
    complain: Complain,
    failed: u64,
}

/// Walks the folder at `src` and DEST, and hands on what has to be fetched.
///
/// # Errors
/// What makes going on senseless; the rest is told.
pub async fn walk(
    tools: &Tools,
    src: RemotePath,
    dest: PathBuf,
    jobs: Option<mpsc::Sender<GetJob>>,
) -> Result<Leftover<Doomed>, SyncError> {
    let told = Arc::clone(&tools.told);
    let mut pull = Pull {
        tools: tools.clone(),
        jobs,
        moves: tools.options.delete.then(|| Moves::new(REMEMBERED)),
        deletions: Deletions::new(),
        complain: Arc::new(move |error: LocalError| told.failed("attributes", &error)),
        failed: 0,
    };
    let mut folders = vec![pull.top(src, dest).await?];
    while let Some(folder) = folders.pop() {
        if pull.jobs.as_ref().is_some_and(mpsc::Sender::is_closed) {
            break; // the data path has given up, and says why
        }
        let below = pull.folder(folder).await?;
        folders.extend(below.into_iter().rev());
    }
    while let Some(fresh) = pull.moves.as_mut().and_then(Moves::rest) {
        pull.get(fresh).await?;
    }
    Ok(pull.leftover())
}

impl Pull {
    fn dry(&self) -> bool {
        self.tools.options.dry_run
    }

    /// One thing on this machine failed.
    fn fail(&mut self, below: &Below, error: &(dyn std::error::Error + 'static)) {
        self.failed += 1;
        self.tools.fail(below, error);
    }

    async fn top(&mut self, src: RemotePath, dest: PathBuf) -> Result<Folder, SyncError> {
        let resolved = resolve(&self.tools.session, &src).await?;
        let node = resolved.folder()?;
        let attributes = match resolved.last().map(|entry| &entry.what) {
            Some(What::Folder(attributes)) => Some(*attributes),
            _ => None,
        };
        let looked = dest.clone();
        // DEST may be a link: the user named it.
        let local = blocking(move || std::fs::canonicalize(&looked).unwrap_or(looked)).await?;
        let looked = local.clone();
        let below = Below::default();
        let there = match blocking(move || look(&looked, Links::Keep)).await? {
            Ok(item) if item.kind != ItemKind::Folder => {
                return Err(SyncError::NotAFolder { path: dest.display().to_string() });
            }
            Ok(item) => {
                if attributes.is_some_and(|own| differ(&own, &item)) {
                    self.tools.act(&Action::Attributes(below.clone()));
                }
                true
            }
            Err(error) if error.is_missing() => {
                self.tools.act(&Action::Folder(below.clone()));
                self.moves = None; // there is nothing that could have moved
                false
            }
            Err(error) => return Err(error.into()),
        };
        let placed = match attributes {
            Some(own) => self.place(&local, own, None).await??,
            None if there || self.dry() => None,
            None => {
                let path = local.clone();
                blocking(move || std::fs::create_dir(&path).map_err(LocalError::io("create folder", &path))).await??;
                None
            }
        };
        Ok(Folder { node, below, local, placed, there })
    }

    /// Makes a folder, or takes the one that is there; it gets its own mode and time when nobody holds it any more.
    async fn place(
        &self,
        local: &Path,
        own: FolderAttributes,
        within: Within,
    ) -> Result<Result<Within, LocalError>, SyncError> {
        if self.dry() {
            return Ok(Ok(None));
        }
        let (local, complain) = (local.to_owned(), self.complain.clone());
        blocking(move || PlacedFolder::make(&local, own.mode, own.mtime, within, complain).map(Some)).await
    }

    /// Merges one folder; gives the folders in it that have to be entered.
    async fn folder(&mut self, folder: Folder) -> Result<Vec<Folder>, SyncError> {
        let mut entries: Vec<Entry> = match tree::remote(&self.tools.session, folder.node).await {
            Ok(entries) => entries.into_values().collect(),
            Err(error) => {
                let error = SyncError::from(error);
                if error.is_of_all() {
                    return Err(error);
                }
                self.tools.fail(&folder.below, &error);
                return Ok(Vec::new()); // nothing below it is removed
            }
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let names = if folder.there { tree::local(&folder.local).await? } else { Ok(Vec::new()) };
        let mut there: HashSet<OsString> = match names {
            Ok(names) => names.into_iter().filter(|name| !partial::is_partial(name)).collect(),
            Err(error) => {
                self.fail(&folder.below, &error);
                return Ok(Vec::new());
            }
        };
        let mut enter = Vec::new();
        let nothing = entries.is_empty() && folder.below == Below::default();
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let part: Vec<Entry> = entries.by_ref().take(tree::PART).collect();
            self.part(&folder, part, &mut there, &mut enter).await?;
        }
        if self.tools.options.delete && nothing && !there.is_empty() {
            self.fail(&folder.below, &SyncError::EmptySource);
        } else if self.tools.options.delete {
            let mut names: Vec<_> = there.into_iter().collect();
            names.sort_unstable();
            for names in names.chunks(tree::PART) {
                for (name, item) in names.iter().zip(look_at(&folder, names).await?) {
                    let below = folder.below.join(name.as_bytes());
                    self.gone(below, item, folder.placed.clone()).await?;
                }
            }
        }
        Ok(enter)
    }

    /// Some of a folder's entries, in order.
    async fn part(
        &mut self,
        folder: &Folder,
        part: Vec<Entry>,
        there: &mut HashSet<OsString>,
        enter: &mut Vec<Folder>,
    ) -> Result<(), SyncError> {
        let names: Vec<OsString> =
            part.iter().map(|entry| entry.name.as_os().to_owned()).filter(|name| there.contains(name)).collect();
        let mut items = names.iter().zip(look_at(folder, &names).await?).peekable();
        let mut same = Vec::new();
        for entry in part {
            let name = entry.name.as_os();
            let item = items.next_if(|(looked, _)| *looked == name).map(|(_, item)| item);
            there.remove(name);
            let below = folder.below.join(entry.name.as_bytes());
            if self.tools.options.excludes.has(&below, entry.is_folder()) {
                continue;
            }
            match item {
                Some(Ok(item)) => self.both(folder, item, entry, below, &mut same, enter).await?,
                Some(Err(error)) if !error.is_missing() => self.fail(&below, &error),
                Some(Err(_)) | None => self.fresh(folder, entry, below, enter).await?,
            }
        }
        self.compare(folder, same).await
    }

    /// What is under that name on both sides.
    async fn both(
        &mut self,
        folder: &Folder,
        item: Item,
        entry: Entry,
        below: Below,
        same: &mut Vec<(Item, Entry, Below)>,
        enter: &mut Vec<Folder>,
    ) -> Result<(), SyncError> {
        let verdict = compare::judge(&item, &entry, Way::Down);
        match verdict {
            Verdict::Alike | Verdict::OtherAttributes if entry.is_folder() => {
                if verdict == Verdict::OtherAttributes {
                    self.tools.act(&Action::Attributes(below.clone()));
                }
                self.enter(folder, &entry, below, true, enter).await?;
            }
            // Of one size: the content says whether more than its attributes is to be brought.
            Verdict::Alike | Verdict::Differs
                if self.tools.options.checksum && compare::same_size(&item, &entry).is_some() =>
            {
                same.push((item, entry, below));
            }
            Verdict::Alike | Verdict::OtherAttributes => self.tools.counts.alike(),
            Verdict::Differs if compare::same_size(&item, &entry).is_some() && entry.modified() == item.modified => {
                self.touch(item, &entry, below).await?;
            }
            Verdict::Differs => {
                let (local, within) = (item.path, folder.placed.clone());
                self.get(Fresh { entry, below, local, within }).await?;
            }
            Verdict::OtherKind | Verdict::Special(_) => {
                let (there, wanted) = (compare::word_of(&item.kind), compare::word_of_entry(&entry));
                let special = matches!(verdict, Verdict::Special(_));
                if special || !self.tools.options.delete || self.keeps_something(&below, &item).await? {
                    self.fail(&below, &SyncError::InTheWay { path: below.to_string(), there, wanted });
                    return Ok(());
                }
                self.tools.act(&Action::Delete(below.clone()));
                if !self.dry()
                    && let Err(error) = blocking(move || step::remove(&item)).await?
                {
                    self.fail(&below, &error);
                    return Ok(());
                }
                self.fresh(folder, entry, below, enter).await?;
            }
        }
        Ok(())
    }

    /// Enters a folder of SRC, which is made where it is not there.
    async fn enter(
        &mut self,
        folder: &Folder,
        entry: &Entry,
        below: Below,
        there: bool,
        enter: &mut Vec<Folder>,
    ) -> Result<(), SyncError> {
        let What::Folder(own) = entry.what else { return Ok(()) };
        let local = folder.local.join(entry.name.as_os());
        match self.place(&local, own, folder.placed.clone()).await? {
            Ok(placed) => enter.push(Folder { node: entry.node, below, local, placed, there }),
            Err(error) => self.fail(&below, &error),
        }
        Ok(())
    }

    /// What DEST does not have under that name.
    async fn fresh(
        &mut self,
        folder: &Folder,
        entry: Entry,
        below: Below,
        enter: &mut Vec<Folder>,
    ) -> Result<(), SyncError> {
        if entry.is_folder() {
            self.tools.act(&Action::Folder(below.clone()));
            return self.enter(folder, &entry, below, false, enter).await;
        }
        let local = folder.local.join(entry.name.as_os());
        let likeness = likeness_of_entry(&entry);
        let fresh = Fresh { entry, below, local, within: folder.placed.clone() };
        let Some(likeness) = likeness else { return self.get(fresh).await };
        match self.moves.as_mut().and_then(|moves| moves.take_gone(&likeness)) {
            Some(gone) => self.meet(gone, fresh).await,
            None => self.keep_new(likeness, fresh).await,
        }
    }

    /// Something on this machine that SRC does not have; whether all of it may go.
    async fn gone(&mut self, below: Below, item: Result<Item, LocalError>, within: Within) -> Result<bool, SyncError> {
        let item = match item {
            Ok(item) => item,
            Err(error) if error.is_missing() => return Ok(true),
            Err(error) => {
                self.fail(&below, &error);
                return Ok(false);
            }
        };
        if self.tools.options.excludes.has(&below, item.kind == ItemKind::Folder) {
            return Ok(false);
        }
        let mark = self.deletions.mark();
        let doomed = |item: &Item| Doomed { item: item.clone(), _within: within.clone() };
        match item.kind {
            ItemKind::Special(what) => {
                self.tools.told.note(&format!("{below} is a {what} and was left alone"));
                return Ok(false);
            }
            ItemKind::File { .. } | ItemKind::Link { .. } => {
                let ticket = self.deletions.add(below.clone(), doomed(&item));
                self.turn_up(Gone { item, below, ticket, within }).await?;
                return Ok(true);
            }
            ItemKind::Folder => {}
        }
        let names = match tree::local(&item.path).await? {
            Ok(names) => names,
            Err(error) => {
                self.fail(&below, &error);
                return Ok(false);
            }
        };
        let mut whole = true;
        for names in names.chunks(tree::PART) {
            let items = tree::look_at(names.iter().map(|name| item.path.join(name)).collect()).await?;
            for (name, inner) in names.iter().zip(items) {
                whole &= Box::pin(self.gone(below.join(name.as_bytes()), inner, None)).await?;
            }
        }
        if whole {
            self.deletions.replace_since(mark, below, doomed(&item));
        }
        Ok(whole)
    }

    /// Whether this, or something in it, is excluded, and so stays.
    async fn keeps_something(&self, below: &Below, item: &Item) -> Result<bool, SyncError> {
        let excludes = &self.tools.options.excludes;
        if excludes.has(below, item.kind == ItemKind::Folder) {
            return Ok(true);
        }
        if item.kind != ItemKind::Folder || excludes.is_empty() {
            return Ok(false);
        }
        let names = tree::local(&item.path).await??;
        let items = tree::look_at(names.iter().map(|name| item.path.join(name)).collect()).await?;
        for (name, inner) in names.iter().zip(items) {
            if Box::pin(self.keeps_something(&below.join(name.as_bytes()), &inner?)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a local folder has another mode or time than it should.
fn differ(own: &FolderAttributes, item: &Item) -> bool {
    (own.mode ^ item.mode) & 0o777 != 0 || own.mtime != item.modified
}

async fn look_at(folder: &Folder, names: &[OsString]) -> Result<Vec<Result<Item, LocalError>>, SyncError> {
    let path = |name: &OsString| folder.local.join::<&OsStr>(name);
    tree::look_at(names.iter().map(path).collect()).await
}
