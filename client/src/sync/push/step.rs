//! Step: what is done for one file once it is known what it is; and what is left for the end.

use std::sync::Arc;

use common::limits::PUBLISH_FILES;

use super::super::deletion::{Leftover, Removing};
use super::super::moves::{Likeness, TRIES, likeness_of_entry, likeness_of_item};
use super::{
    Action, Asked, Below, Changes, Entry, Folder, FolderAttributes, Found, Fresh, Gone, Item, ItemKind, Place, Push,
    PutJob, SyncError, Touched, apply, compare,
};
use crate::folder::What;
use crate::meta::Mtime;
use crate::transfer::{LocalKind, LocalMeta, Source};

/// Whether two files differ in nothing that is seen but their mode.
pub(super) fn only_mode(item: &Item, entry: &Entry) -> bool {
    compare::same_size(item, entry).is_some_and(|file| file.meta.mtime == item.modified)
}

/// An entry as it is to be.
fn with_attributes(mut entry: Entry, mode: u32, modified: Mtime) -> Entry {
    if let What::File(file) = &mut entry.what {
        (file.meta.mode, file.meta.mtime) = (mode, modified);
    }
    entry
}

impl Push {
    /// Hands a file or link on.
    pub(super) async fn put(&mut self, fresh: Fresh) {
        let Fresh { item, below, place: Place { folder, within, name, expect } } = fresh;
        let (source, kind, len) = match item.kind {
            ItemKind::File { len } => (Source::Path(item.path), LocalKind::File, len),
            ItemKind::Link { target } => (Source::None, LocalKind::Link(target), 0),
            ItemKind::Folder | ItemKind::Special(_) => return,
        };
        let action = if kind == LocalKind::File { Action::File } else { Action::Link };
        self.tools.act(&action(below.clone()));
        let (Some(jobs), Some(folder)) = (&self.jobs, folder) else { return };
        self.tools.told.expect(len);
        let meta = LocalMeta { mode: item.mode, modified: item.modified, kind };
        // When nobody takes it any more, the data path itself says why.
        jobs.send(PutJob { source, folder, within, name, meta, expect, shown: below.to_string() }).await.ok();
    }

    /// A new file that is like one that has gone: moves that, if it is the same.
    pub(super) async fn meet(&mut self, gone: Gone, fresh: Fresh) -> Result<(), SyncError> {
        let Some(likeness) = likeness_of_item(&fresh.item) else { return Ok(()) };
        let (mut gone, mut others) = (Some(gone), Vec::new());
        while let Some(one) = gone.take() {
            if self.is_the_same(&one, &fresh).await? {
                self.keep_gone(likeness, others);
                return self.rename(one, fresh).await;
            }
            others.push(one);
            if others.len() < TRIES {
                gone = self.moves.as_mut().and_then(|moves| moves.take_gone(&likeness));
            }
        }
        self.keep_gone(likeness, others);
        self.keep_new(likeness, fresh).await;
        Ok(())
    }

    /// A file that has gone: it may be one of those that are new.
    pub(super) async fn turn_up(&mut self, gone: Gone) -> Result<(), SyncError> {
        let Some(likeness) = likeness_of_entry(&gone.entry) else { return Ok(()) };
        let mut others = Vec::new();
        while others.len() < TRIES {
            let Some(fresh) = self.moves.as_mut().and_then(|moves| moves.take_new(&likeness)) else { break };
            if self.is_the_same(&gone, &fresh).await? {
                for other in others {
                    self.keep_new(likeness, other).await;
                }
                return self.rename(gone, fresh).await;
            }
            others.push(fresh);
        }
        for other in others {
            self.keep_new(likeness, other).await;
        }
        self.keep_gone(likeness, vec![gone]);
        Ok(())
    }

    fn keep_gone(&mut self, likeness: Likeness, gone: Vec<Gone>) {
        let Some(moves) = &mut self.moves else { return };
        gone.into_iter().for_each(|gone| moves.keep_gone(likeness, gone));
    }

    /// Lets a new file wait for one that has gone, or sends who waited longest.
    pub(super) async fn keep_new(&mut self, likeness: Likeness, fresh: Fresh) {
        let fresh = match &mut self.moves {
            Some(moves) => moves.keep_new(likeness, fresh),
            None => Some(fresh),
        };
        if let Some(fresh) = fresh {
            self.put(fresh).await;
        }
    }

    /// By content; what cannot be read is told by whoever has to read it.
    async fn is_the_same(&self, gone: &Gone, fresh: &Fresh) -> Result<bool, SyncError> {
        let Some(file) = gone.entry.file().filter(|file| file.meta.mode == fresh.item.mode) else { return Ok(false) };
        let (path, version, meta) = (fresh.item.path.clone(), file.version, file.meta.clone());
        let answer = self.tools.comparer.alike(vec![Asked { path, version, meta }]).await?.pop();
        Ok(matches!(answer, Some(Ok(true))))
    }

    async fn rename(&mut self, gone: Gone, fresh: Fresh) -> Result<(), SyncError> {
        if let Some(ticket) = gone.ticket {
            self.deletions.take_back(ticket);
        }
        self.tools.act(&Action::Move { from: gone.below, to: fresh.below.clone() });
        let (Some(folder), false) = (fresh.place.folder, self.dry()) else { return Ok(()) };
        let (session, shown) = (self.tools.session.clone(), fresh.below.to_string());
        let (entry, name, path) = (gone.entry, fresh.place.name, shown.clone());
        let change = async move { apply::rename(&session, &entry, folder, &name, &path).await };
        self.changes.start(shown, true, change).await
    }

    /// A folder gets the mode and time that it has here.
    pub(super) async fn set_attributes(&mut self, below: Below, entry: Entry, item: &Item) -> Result<(), SyncError> {
        let What::Folder(attributes) = entry.what else { return Ok(()) };
        self.tools.act(&Action::Attributes(below.clone()));
        if self.dry() {
            return Ok(());
        }
        let attributes = FolderAttributes { mode: item.mode, mtime: item.modified, ..attributes };
        let (session, shown) = (self.tools.session.clone(), below.to_string());
        let path = shown.clone();
        let change = async move { apply::set_attributes(&session, &entry, attributes, &path).await };
        self.changes.start(shown, false, change).await
    }

    /// A file gets the mode and time that it has here; its content is not read.
    pub(super) async fn touch_one(&mut self, folder: &Folder, found: Found, entry: Entry) -> Result<(), SyncError> {
        self.tools.act(&Action::Attributes(found.below.clone()));
        if self.dry() {
            return Ok(());
        }
        let path = folder.path.join(&found.name)?;
        self.touched.push(Touched { entry: with_attributes(entry, found.item.mode, found.item.modified), path });
        if self.touched.len() >= PUBLISH_FILES { self.touch().await } else { Ok(()) }
    }

    pub(super) async fn touch(&mut self) -> Result<(), SyncError> {
        if self.touched.is_empty() {
            return Ok(());
        }
        let files = std::mem::take(&mut self.touched);
        let done = apply::touch(&self.tools.session, files, &self.tools.cancel).await?;
        self.changes.failed += done.failed.len() as u64 + done.failed_unlisted;
        for error in done.failed {
            self.tools.told.failed("", &error);
        }
        Ok(())
    }

    /// Files of one size under one name: the content says what has to be brought.
    pub(super) async fn compare(&mut self, folder: &Folder, same: Vec<(Found, Entry)>) -> Result<(), SyncError> {
        let asked = |(found, entry): &(Found, Entry)| {
            let file = entry.file()?;
            Some(Asked { path: found.item.path.clone(), version: file.version, meta: file.meta.clone() })
        };
        let answers = self.tools.comparer.alike(same.iter().filter_map(asked).collect()).await?;
        for ((found, entry), answer) in same.into_iter().zip(answers) {
            let file = entry.file().map(|file| (file.meta.mode, file.meta.mtime));
            match answer {
                Ok(true) if file == Some((found.item.mode, found.item.modified)) => self.tools.counts.alike(),
                Ok(true) => self.touch_one(folder, found, entry).await?,
                // What can't be compared is told by whoever has to read it.
                Ok(false) | Err(_) => {
                    let Some(expect) = entry.expect() else { continue };
                    let place = Place { folder: folder.node, within: folder.path.clone(), name: found.name, expect };
                    self.put(Fresh { item: found.item, below: found.below, place }).await;
                }
            }
        }
        Ok(())
    }

    pub(super) fn leftover(self) -> Leftover<Entry> {
        Leftover { tools: self.tools, deletions: self.deletions, failed: self.changes.failed }
    }
}

impl Leftover<Entry> {
    /// Removes what SRC does not have; nothing when something of `failed` could not be brought. Whether another walk is needed to
    /// find the rest.
    ///
    /// # Errors
    /// What makes going on senseless; the rest is told.
    pub async fn remove(self, failed: u64) -> Result<bool, SyncError> {
        let Some(Removing { tools, all, again }) = self.removing(failed) else { return Ok(false) };
        let mut changes = Changes::new(Arc::clone(&tools.told));
        for (below, entry) in all.into_all() {
            let action = Action::Delete(below);
            tools.act(&action);
            let Action::Delete(below) = action else { continue };
            if tools.options.dry_run {
                continue;
            }
            let (session, shown) = (tools.session.clone(), below.to_string());
            let path = shown.clone();
            changes.start(shown, true, async move { apply::remove(&session, &entry, &path).await }).await?;
        }
        changes.finish().await?;
        Ok(again && changes.failed == 0)
    }
}
