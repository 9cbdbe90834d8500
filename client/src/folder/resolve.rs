//! Resolve: from a path to the entries on its way, now or as they were, in one request.

use common::boxed::Boxed;
use std::sync::Arc;

use common::bounded::BoundedVec;
use common::id::NodeId;
use common::proto::directory::LookUp;
use common::redundancy::Redundancy;

use super::destination::Stands;
use super::{Entry, FolderError, What};
use crate::names::RemotePath;
use crate::session::Session;

/// As much of a path as exists.
#[derive(Debug)]
pub struct Resolved {
    root: NodeId,
    path: RemotePath,
    entries: Vec<Entry>,
}

/// Looks a path up, from the account's root.
///
/// # Errors
/// When the directory cannot be asked, or what it says does not belong there. A missing name is no error here.
pub async fn resolve(session: &Session, path: &RemotePath) -> Result<Resolved, FolderError> {
    look_up(session, path, None, false).await
}

/// Looks a path up as it was at a sequence.
///
/// # Errors
/// As [`resolve`].
pub async fn resolve_at(session: &Session, path: &RemotePath, at: Option<u64>) -> Result<Resolved, FolderError> {
    look_up(session, path, at, false).await
}

/// The same for who is going to read what is there: where it is a file its manifest comes along, and saves a request.
///
/// # Errors
/// As [`resolve`].
pub async fn resolve_to_read(session: &Session, path: &RemotePath, at: Option<u64>) -> Result<Resolved, FolderError> {
    look_up(session, path, at, true).await
}

fn look_up<'a>(
    session: &'a Session,
    path: &'a RemotePath,
    at: Option<u64>,
    manifest: bool,
) -> Boxed<'a, Result<Resolved, FolderError>> {
    Box::pin(async move {
        let root = session.root();
        let mut resolved = Resolved { root, path: path.clone(), entries: Vec::new() };
        if path.is_root() {
            return Ok(resolved);
        }
        let tokens: Vec<_> = path.names().iter().map(|name| name.token(session.keys())).collect();
        let too_deep = |_| FolderError::Misbehaved { what: "a path of too many parts" };
        let asked = BoundedVec::try_from(tokens.clone()).map_err(too_deep)?;
        let found = session.call_directory(&LookUp { start: root, path: asked, manifest, at }).await?;
        if found.entries.len() > tokens.len() {
            return Err(FolderError::Misbehaved { what: "more entries than names were asked for" });
        }
        let mut folder = root;
        for (view, token) in found.entries.into_iter().zip(tokens) {
            if view.folder != folder || view.token != token {
                return Err(FolderError::Misbehaved { what: "an entry of another folder or name" });
            }
            if resolved.entries.last().is_some_and(|last| !last.is_folder()) {
                return Err(FolderError::Misbehaved { what: "an entry below a file" });
            }
            let entry = Entry::open(session, view)?;
            folder = entry.node;
            resolved.entries.push(entry);
        }
        if let Some(What::File(file)) = resolved.entries.last_mut().map(|entry| &mut entry.what)
            && !found.manifest.pages.is_empty()
        {
            file.manifest = Some(Arc::new(found.manifest));
        }
        Ok(resolved)
    })
}

impl Resolved {
    /// How many names at the end of the path lead nowhere.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.path.names().len().saturating_sub(self.entries.len())
    }

    /// What the nearest folder on the way asks for that asks for anything.
    #[must_use]
    pub fn redundancy(&self) -> Option<Redundancy> {
        self.entries.iter().rev().find_map(|entry| match &entry.what {
            What::Folder(attributes) => attributes.redundancy,
            What::File(_) => None,
        })
    }

    /// What exists of the path, from the root down.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The sequence from which the path has led to what it leads to.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.entries.iter().map(|entry| entry.since).max().unwrap_or(0)
    }

    /// What the path leads to; `None` for the root.
    ///
    /// # Errors
    /// When it leads nowhere, or to a file though it was written with a slash at its end.
    pub fn target(&self, path: &RemotePath) -> Result<Option<&Entry>, FolderError> {
        if self.missing() > 0 {
            return Err(self.not_found());
        }
        let entry = self.entries.last();
        if path.must_be_folder() && entry.is_some_and(|entry| !entry.is_folder()) {
            return Err(FolderError::NotAFolder { path: path.to_string() });
        }
        Ok(entry)
    }

    /// The folder that the path leads to.
    ///
    /// # Errors
    /// When it leads nowhere or to a file.
    pub fn folder(&self) -> Result<NodeId, FolderError> {
        match self.target(&self.path)? {
            None => Ok(self.root),
            Some(entry) if entry.is_folder() => Ok(entry.node),
            Some(_) => Err(FolderError::NotAFolder { path: self.path.to_string() }),
        }
    }

    /// The entry at the path's very end, if there is one.
    #[must_use]
    pub fn last(&self) -> Option<&Entry> {
        if self.missing() == 0 { self.entries.last() } else { None }
    }

    /// The deepest folder that exists on the way.
    #[must_use]
    pub fn deepest_folder(&self) -> NodeId {
        self.entries.iter().rev().find(|entry| entry.is_folder()).map_or(self.root, |entry| entry.node)
    }

    /// The folder that holds the path's last name, if that folder exists.
    #[must_use]
    pub fn parent(&self) -> Option<NodeId> {
        let above = self.path.names().len().checked_sub(1)?;
        match above.checked_sub(1) {
            None => Some(self.root),
            Some(at) => self.entries.get(at).filter(|entry| entry.is_folder()).map(|entry| entry.node),
        }
    }

    /// What stands at the path, for whoever wants to write there.
    #[must_use]
    pub fn stands(&self) -> Stands {
        let file = self.entries.last().is_some_and(|entry| !entry.is_folder());
        match (self.missing(), file) {
            (0, false) => Stands::Folder,
            (0, true) => Stands::File,
            (_, true) => Stands::FileInTheWay,
            (1, false) => Stands::Nothing,
            (_, false) => Stands::NoParent,
        }
    }

    fn not_found(&self) -> FolderError {
        let mut nearest = RemotePath::root();
        for entry in &self.entries {
            nearest = nearest.join(&entry.name).unwrap_or(nearest);
        }
        let file = self.entries.last().is_some_and(|entry| !entry.is_folder());
        let nearest = if file { format!("only the file {nearest}") } else { format!("the folder {nearest}") };
        FolderError::NotFound { path: self.path.to_string(), nearest }
    }
}
