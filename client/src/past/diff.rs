//! Diff: what is different between two folders, or one folder at two times.
//!
//! Both sides are listed in the order of their tokens, which are the same for the same name in every folder, and merged: memory for a page
//! of each side and the folders still to visit. A folder that is on one side alone is told as one, without what is in it. What is
//! gone here and new there under one node was moved; for that up to [`MOVES`] entries are kept in mind, and told at the end.
//!
//! Files are compared by their version, and where that is another one by the digests of their manifests: no content is read. The
//! directory keeps no note of changes below a folder, so both sides are walked, unless they are the same folder at the same time.

use std::collections::{HashMap, VecDeque};

use super::PastError;
use super::same::{read_ahead, same_content};
use crate::cancel::{Cancel, Interrupted};
use crate::folder::{Entry, FolderError, Listing, NodeId};
use crate::names::RemotePath;
use crate::session::Session;

/// Entries of one side alone that wait for their counterpart.
const MOVES: usize = 65_536;
/// Pairs of files that are compared together.
const COMPARED_AT_ONCE: usize = 100;

/// One folder at one time.
#[derive(Debug, Clone)]
pub struct Side {
    pub folder: NodeId,
    /// The sequence at which it is read.
    pub at: u64,
    pub path: RemotePath,
}

/// One thing that is different.
#[derive(Debug)]
pub enum Difference {
    Added {
        path: RemotePath,
        entry: Entry,
    },
    Removed {
        path: RemotePath,
        entry: Entry,
    },
    /// Another content, or only another mode or time.
    Changed {
        path: RemotePath,
        entry: Entry,
        content: bool,
    },
    Moved {
        from: RemotePath,
        to: RemotePath,
        entry: Entry,
        changed: bool,
    },
}

/// How much is different.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub added: u64,
    pub removed: u64,
    pub changed: u64,
    pub moved: u64,
    /// There was too much to tell what was moved: some of it was told as removed and added.
    pub moves_untold: bool,
}

/// Takes what is found; an error ends the walk.
pub trait Tell {
    /// # Errors
    /// When nobody listens any more.
    fn tell(&mut self, difference: Difference) -> std::io::Result<()>;
}

/// Two folders to compare.
struct Pair {
    a: Side,
    b: Side,
}

/// A file on both sides, in different versions.
struct Suspect {
    path: RemotePath,
    a: Entry,
    b: Entry,
}

/// A walk under way.
struct Walk<'a, T> {
    session: &'a Session,
    tell: &'a mut T,
    pairs: Vec<Pair>,
    suspects: Vec<Suspect>,
    gone: HashMap<NodeId, (RemotePath, Entry)>,
    new: HashMap<NodeId, (RemotePath, Entry)>,
    summary: Summary,
}

/// Compares two sides, and tells what is different as it is found.
///
/// # Errors
/// When the directory cannot be asked, or nobody listens.
pub async fn diff<T: Tell>(
    session: &Session,
    a: Side,
    b: Side,
    tell: &mut T,
    cancel: &Cancel,
) -> Result<Summary, DiffError> {
    let mut walk = Walk {
        session,
        tell,
        pairs: vec![Pair { a, b }],
        suspects: Vec::new(),
        gone: HashMap::new(),
        new: HashMap::new(),
        summary: Summary::default(),
    };
    while let Some(pair) = walk.pairs.pop() {
        walk.folder(&pair, cancel).await?;
    }
    walk.compare().await?;
    walk.finish()?;
    Ok(walk.summary)
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    #[error(transparent)]
    Past(#[from] PastError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Output(#[from] std::io::Error),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// One side's entries, in order.
struct Cursor<'a> {
    listing: Listing<'a>,
    page: VecDeque<Entry>,
}

impl<'a> Cursor<'a> {
    fn new(session: &'a Session, side: &Side) -> Self {
        Self { listing: Listing::at(session, side.folder, Some(side.at)), page: VecDeque::new() }
    }

    async fn fill(&mut self) -> Result<(), FolderError> {
        while self.page.is_empty() {
            match self.listing.next_page().await? {
                Some(page) => self.page = page.into(),
                None => break,
            }
        }
        Ok(())
    }
}

impl<T: Tell> Walk<'_, T> {
    async fn folder(&mut self, pair: &Pair, cancel: &Cancel) -> Result<(), DiffError> {
        if pair.a.folder == pair.b.folder && pair.a.at == pair.b.at {
            return Ok(());
        }
        let (mut a, mut b) = (Cursor::new(self.session, &pair.a), Cursor::new(self.session, &pair.b));
        loop {
            if cancel.is_cancelled() {
                return Err(Interrupted.into());
            }
            a.fill().await?;
            b.fill().await?;
            let order = match (a.page.front(), b.page.front()) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(left), Some(right)) => left.token.cmp(&right.token),
            };
            let left = if order.is_le() { a.page.pop_front() } else { None };
            let right = if order.is_ge() { b.page.pop_front() } else { None };
            self.entry(pair, left, right)?;
            if self.suspects.len() >= COMPARED_AT_ONCE {
                self.compare().await?;
            }
        }
    }

    /// One name, on one side or both.
    fn entry(&mut self, pair: &Pair, left: Option<Entry>, right: Option<Entry>) -> Result<(), DiffError> {
        match (left, right) {
            (Some(a), Some(b)) if a.is_folder() && b.is_folder() => {
                let (left, right) = (pair.a.path.join(&a.name), pair.b.path.join(&b.name));
                let below = |side: &Side, folder, path| Side { folder, at: side.at, path };
                let (a, b) = (
                    below(&pair.a, a.node, left.map_err(FolderError::from)?),
                    below(&pair.b, b.node, right.map_err(FolderError::from)?),
                );
                self.pairs.push(Pair { a, b });
            }
            (Some(a), Some(b)) if !a.is_folder() && !b.is_folder() => {
                let same = a.file().map(|file| file.version) == b.file().map(|file| file.version);
                if !same {
                    let path = pair.b.path.join(&b.name).map_err(FolderError::from)?;
                    self.suspects.push(Suspect { path, a, b });
                }
            }
            (left, right) => {
                if let Some(a) = left {
                    let path = pair.a.path.join(&a.name).map_err(FolderError::from)?;
                    self.gone(path, a, pair)?;
                }
                if let Some(b) = right {
                    let path = pair.b.path.join(&b.name).map_err(FolderError::from)?;
                    self.appeared(path, b, pair)?;
                }
            }
        }
        Ok(())
    }

    fn gone(&mut self, path: RemotePath, entry: Entry, pair: &Pair) -> Result<(), DiffError> {
        if let Some((to, now)) = self.new.remove(&entry.node) {
            return self.moved((path, entry), (to, now), pair);
        }
        if self.gone.len() + self.new.len() < MOVES {
            self.gone.insert(entry.node, (path, entry));
            return Ok(());
        }
        self.summary.moves_untold = true;
        self.summary.removed += 1;
        Ok(self.tell.tell(Difference::Removed { path, entry })?)
    }

    fn appeared(&mut self, path: RemotePath, entry: Entry, pair: &Pair) -> Result<(), DiffError> {
        if let Some((from, then)) = self.gone.remove(&entry.node) {
            return self.moved((from, then), (path, entry), pair);
        }
        if self.gone.len() + self.new.len() < MOVES {
            self.new.insert(entry.node, (path, entry));
            return Ok(());
        }
        self.summary.moves_untold = true;
        self.summary.added += 1;
        Ok(self.tell.tell(Difference::Added { path, entry })?)
    }

    /// A folder that was moved is compared with itself as well.
    fn moved(
        &mut self,
        (from, then): (RemotePath, Entry),
        (to, entry): (RemotePath, Entry),
        pair: &Pair,
    ) -> Result<(), DiffError> {
        if entry.is_folder() {
            let a = Side { folder: then.node, at: pair.a.at, path: from.clone() };
            let b = Side { folder: entry.node, at: pair.b.at, path: to.clone() };
            self.pairs.push(Pair { a, b });
        }
        let changed = then.file().map(|file| file.version) != entry.file().map(|file| file.version);
        self.summary.moved += 1;
        Ok(self.tell.tell(Difference::Moved { from, to, entry, changed })?)
    }

    /// Tells which of the files that wait are different indeed.
    async fn compare(&mut self) -> Result<(), DiffError> {
        let suspects = std::mem::take(&mut self.suspects);
        let like = |suspect: &&Suspect| {
            let size = |entry: &Entry| entry.file().map(|file| file.meta.size);
            size(&suspect.a) == size(&suspect.b)
        };
        let files = suspects.iter().filter(like).flat_map(|suspect| [suspect.a.file(), suspect.b.file()]);
        let files: Vec<_> = files.flatten().collect();
        let mut ahead = read_ahead(self.session, &files).await?;
        for Suspect { path, a, b } in suspects {
            let (Some(left), Some(right)) = (a.file(), b.file()) else { continue };
            let content = !same_content(self.session, left, right, &mut ahead).await?;
            if content || a.mode() != b.mode() || a.modified() != b.modified() {
                self.summary.changed += 1;
                self.tell.tell(Difference::Changed { path, entry: b, content })?;
            }
        }
        Ok(())
    }

    /// What found no counterpart, in the order of the paths.
    fn finish(&mut self) -> Result<(), DiffError> {
        let (gone, new) = (std::mem::take(&mut self.gone), std::mem::take(&mut self.new));
        self.summary.removed += u64::try_from(gone.len()).unwrap_or(u64::MAX);
        self.summary.added += u64::try_from(new.len()).unwrap_or(u64::MAX);
        let gone = gone.into_values().map(|(path, entry)| Difference::Removed { path, entry });
        let new = new.into_values().map(|(path, entry)| Difference::Added { path, entry });
        let mut all: Vec<_> = gone.chain(new).collect();
        all.sort_by(|a, b| a.path().names().cmp(b.path().names()));
        for difference in all {
            self.tell.tell(difference)?;
        }
        Ok(())
    }
}

impl Difference {
    /// Where it is, or was.
    #[must_use]
    pub fn path(&self) -> &RemotePath {
        match self {
            Self::Added { path, .. } | Self::Removed { path, .. } | Self::Changed { path, .. } => path,
            Self::Moved { to, .. } => to,
        }
    }
}
