//! Open: from a session through a link to the entry that it is of, or one below it.

use common::id::NameToken;
use common::proto::directory::{OpenShare, ShareOpened, ShareTarget};
use common::share;

use super::{Link, Reads, ShareError};
use crate::folder::{Entry, FileVersion, FolderError, Listing, NodeId, What};
use crate::meta::{FolderAttributes, VersionMeta, VersionPlace};
use crate::names::RemotePath;
use crate::session::{Session, Through};

impl Link {
    /// What a session needs to read through it.
    #[must_use]
    pub fn through(&self) -> Through {
        let top = match &self.reads {
            Reads::Folder { node, key, .. } => Some((*node, key.clone())),
            Reads::File { .. } | Reads::Version { .. } => None,
        };
        Through::new(self.account, &self.secret, top)
    }
}

/// What the link is of, as it is now; with a path what lies there below it. `session` reads through the link.
///
/// # Errors
/// When the link does not hold any more, or there is nothing at the path.
pub async fn open(
    session: &Session,
    link: &Link,
    below: Option<&RemotePath>,
) -> Result<(RemotePath, Entry), ShareError> {
    let request = OpenShare { share: link.id(), proof: session.proof(&share::verifier(&link.secret)) };
    let opened = session.call_directory(&request).await?;
    let mut entry = top(link, opened)?;
    let mut path = RemotePath::root().join(&link.name).map_err(FolderError::from)?;
    for name in below.map(RemotePath::names).unwrap_or_default() {
        let wanted = path.join(name).map_err(FolderError::from)?;
        if !entry.is_folder() {
            return Err(FolderError::NotAFolder { path: path.to_string() }.into());
        }
        entry = find(session, &entry, name)
            .await?
            .ok_or_else(|| FolderError::NotFound { path: wanted.to_string(), nearest: format!("the folder {path}") })?;
        path = wanted;
    }
    if below.is_some_and(RemotePath::must_be_folder) && !entry.is_folder() {
        return Err(FolderError::NotAFolder { path: path.to_string() }.into());
    }
    Ok((path, entry))
}

fn top(link: &Link, opened: ShareOpened) -> Result<Entry, ShareError> {
    if opened.account != link.account {
        return Err(ShareError::Misbehaved);
    }
    let integrity = |source| FolderError::Integrity { what: "a version", source };
    let (node, what) = match (&link.reads, opened.target, opened.version) {
        (Reads::Folder { node, mode, mtime, .. }, ShareTarget::Folder(found), None) if *node == found => {
            (*node, What::Folder(FolderAttributes { mode: *mode, mtime: *mtime, redundancy: None }))
        }
        (Reads::File { node, key }, ShareTarget::File(found), Some(view)) if *node == found => {
            let place = VersionPlace { account: link.account, node: *node, version: view.version };
            let meta = VersionMeta::open_with(key, &place, &view.meta).map_err(integrity)?;
            (*node, What::File(Box::new(FileVersion::of(view, meta)?)))
        }
        (Reads::Version { node, version, meta }, ShareTarget::Version(found, of), Some(view))
            if *node == found && *version == of && *version == view.version =>
        {
            (*node, What::File(Box::new(FileVersion::of(view, meta.clone())?)))
        }
        _ => return Err(ShareError::Misbehaved),
    };
    // Where it lies in the tree of its account is none of the reader's business, and not known to him.
    let (folder, token) = (NodeId([0; 16]), NameToken([0; 16]));
    Ok(Entry { folder, token, node, name: link.name.clone(), since: 0, what })
}

/// Names are found by looking through the folder: their tokens are the account's.
async fn find(session: &Session, folder: &Entry, name: &crate::names::Name) -> Result<Option<Entry>, FolderError> {
    let mut listing = Listing::new(session, folder.node);
    while let Some(page) = listing.next_page().await? {
        if let Some(found) = page.into_iter().find(|entry| entry.name == *name) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
