//! Step: what is done for one file once it is known what it is; and what is left for the end.

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::deletion::{Leftover, Removing};
use super::super::moves::{Likeness, TRIES, likeness_of_entry, likeness_of_item};
use super::{
    Action, Below, Doomed, Entry, Folder, Fresh, Gone, Item, ItemKind, Links, LocalError, Pull, SyncError, blocking,
    place,
};
use crate::down::compare::Asked;
use crate::local::write::Planned;
use crate::meta::Mtime;
use crate::transfer::{GetJob, Target};

/// Removes a file, a link, or a folder with all that is in it. What is gone already is fine. Blocking.
pub(super) fn remove(item: &Item) -> Result<(), LocalError> {
    let done = match item.kind {
        ItemKind::Folder => fs::remove_dir_all(&item.path),
        ItemKind::File { .. } | ItemKind::Link { .. } => fs::remove_file(&item.path),
        ItemKind::Special(_) => Ok(()),
    };
    match done {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(LocalError::io("remove", &item.path)),
    }
}

/// Gives a file its mode and time; never set-id bits. Blocking.
fn set(path: &Path, mode: u32, modified: Mtime) -> Result<(), LocalError> {
    // The time first: a file that may not be written to may have its time set by its owner all the same.
    let file = File::open(path).map_err(LocalError::io("open", path))?;
    if let Some(time) = modified.to_system() {
        file.set_times(FileTimes::new().set_modified(time)).map_err(LocalError::io("set the time of", path))?;
    }
    file.set_permissions(Permissions::from_mode(mode & 0o777)).map_err(LocalError::io("set the mode of", path))
}

impl Pull {
    /// Hands a file on; a link is placed at once.
    pub(super) async fn get(&mut self, fresh: Fresh) -> Result<(), SyncError> {
        let Fresh { entry, below, local, within } = fresh;
        let Some(file) = entry.file() else { return Ok(()) };
        let shown = below.to_string();
        if let Some(target) = file.link() {
            self.tools.act(&Action::Link(below.clone()));
            if self.dry() {
                return Ok(());
            }
            let (target, modified) = (target.to_vec(), file.meta.mtime);
            let placed = blocking(move || place::place_link(&target, &local, modified)).await?;
            drop(within);
            match placed {
                Ok(()) => self.tools.told.placed(&shown),
                Err(error) => self.fail(&below, &error),
            }
            return Ok(());
        }
        self.tools.act(&Action::File(below));
        let Some(jobs) = &self.jobs else { return Ok(()) };
        self.tools.told.expect(file.meta.size);
        let planned = Planned::new(local, Links::Keep, within, file);
        // When nobody takes it any more, the data path itself says why.
        jobs.send(GetJob::of(entry.node, file, Target::Planned(planned), shown)).await.ok();
        Ok(())
    }

    /// A new file that is like one that has gone: moves that, if it is the same.
    pub(super) async fn meet(&mut self, gone: Gone, fresh: Fresh) -> Result<(), SyncError> {
        let Some(likeness) = likeness_of_entry(&fresh.entry) else { return Ok(()) };
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
        self.keep_new(likeness, fresh).await
    }

    /// A file that has gone: it may be one of those that are new.
    pub(super) async fn turn_up(&mut self, gone: Gone) -> Result<(), SyncError> {
        let Some(likeness) = likeness_of_item(&gone.item) else { return Ok(()) };
        let mut others = Vec::new();
        while others.len() < TRIES {
            let Some(fresh) = self.moves.as_mut().and_then(|moves| moves.take_new(&likeness)) else { break };
            if self.is_the_same(&gone, &fresh).await? {
                for other in others {
                    self.keep_new(likeness, other).await?;
                }
                return self.rename(gone, fresh).await;
            }
            others.push(fresh);
        }
        for other in others {
            self.keep_new(likeness, other).await?;
        }
        self.keep_gone(likeness, vec![gone]);
        Ok(())
    }

    fn keep_gone(&mut self, likeness: Likeness, gone: Vec<Gone>) {
        let Some(moves) = &mut self.moves else { return };
        gone.into_iter().for_each(|gone| moves.keep_gone(likeness, gone));
    }

    /// Lets a new file wait for one that has gone, or fetches who waited longest.
    pub(super) async fn keep_new(&mut self, likeness: Likeness, fresh: Fresh) -> Result<(), SyncError> {
        let fresh = match &mut self.moves {
            Some(moves) => moves.keep_new(likeness, fresh),
            None => Some(fresh),
        };
        match fresh {
            Some(fresh) => self.get(fresh).await,
            None => Ok(()),
        }
    }

    /// By content; what cannot be read is not the same.
    async fn is_the_same(&self, gone: &Gone, fresh: &Fresh) -> Result<bool, SyncError> {
        let Some(file) = fresh.entry.file() else { return Ok(false) };
        let (path, version, meta) = (gone.item.path.clone(), file.version, file.meta.clone());
        let answer = self.tools.comparer.alike(vec![Asked { path, version, meta }]).await?.pop();
        Ok(matches!(answer, Some(Ok(true))))
    }

    async fn rename(&mut self, gone: Gone, fresh: Fresh) -> Result<(), SyncError> {
        self.tools.act(&Action::Move { from: gone.below, to: fresh.below.clone() });
        if !self.dry() {
            let Some(file) = fresh.entry.file() else { return Ok(()) };
            let (from, to) = (gone.item.path.clone(), fresh.local.clone());
            let (mode, modified, was) = (file.meta.mode, file.meta.mtime, gone.item.mode);
            let renamed = blocking(move || {
                fs::rename(&from, &to).map_err(LocalError::io("move", &from))?;
                if (was ^ mode) & 0o777 == 0 { Ok(()) } else { set(&to, mode, modified) }
            });
            match renamed.await? {
                Ok(()) => self.tools.told.placed(&fresh.below.to_string()),
                Err(error) => {
                    self.fail(&fresh.below, &error);
                    return Ok(());
                }
            }
        }
        if let Some(ticket) = gone.ticket {
            self.deletions.take_back(ticket);
        }
        drop(gone.within);
        Ok(())
    }

    /// A file gets the mode and time that it has in the tree; its content is not read.
    pub(super) async fn touch(&mut self, item: Item, entry: &Entry, below: Below) -> Result<(), SyncError> {
        self.tools.act(&Action::Attributes(below.clone()));
        if self.dry() {
            return Ok(());
        }
        let (mode, modified) = (entry.mode(), entry.modified());
        match blocking(move || set(&item.path, mode, modified)).await? {
            Ok(()) => self.tools.told.placed(&below.to_string()),
            Err(error) => self.fail(&below, &error),
        }
        Ok(())
    }

    /// Files of one size under one name: the content says what has to be brought.
    pub(super) async fn compare(&mut self, folder: &Folder, same: Vec<(Item, Entry, Below)>) -> Result<(), SyncError> {
        let asked = |(item, entry, _): &(Item, Entry, Below)| {
            let file = entry.file()?;
            Some(Asked { path: item.path.clone(), version: file.version, meta: file.meta.clone() })
        };
        let answers = self.tools.comparer.alike(same.iter().filter_map(asked).collect()).await?;
        for ((item, entry, below), answer) in same.into_iter().zip(answers) {
            let attributes = (entry.mode() ^ item.mode) & 0o777 == 0 && entry.modified() == item.modified;
            match answer {
                Ok(true) if attributes => self.tools.counts.alike(),
                Ok(true) => self.touch(item, &entry, below).await?,
                Ok(false) | Err(_) => {
                    let (local, within) = (item.path, folder.placed.clone());
                    self.get(Fresh { entry, below, local, within }).await?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn leftover(self) -> Leftover<Doomed> {
        Leftover { tools: self.tools, deletions: self.deletions, failed: self.failed }
    }
}

impl Leftover<Doomed> {
    /// Removes what SRC does not have; nothing when something of `failed` could not be brought. Whether another walk is needed to
    /// find the rest.
    ///
    /// # Errors
    /// What makes going on senseless; the rest is told.
    pub async fn remove(self, failed: u64) -> Result<bool, SyncError> {
        let Some(Removing { tools, all, mut again }) = self.removing(failed) else { return Ok(false) };
        for (below, doomed) in all.into_all() {
            tools.act(&Action::Delete(below.clone()));
            if tools.options.dry_run {
                continue;
            }
            if tools.cancel.is_cancelled() {
                return Err(SyncError::Interrupted);
            }
            match blocking(move || remove(&doomed.item)).await? {
                Ok(()) => tools.told.placed(&below.to_string()),
                Err(error) => {
                    again = false;
                    tools.fail(&below, &error);
                }
            }
        }
        Ok(again)
    }
}
