//! Entry: one name in a folder, opened.

use std::sync::Arc;

use common::id::{NameToken, NodeId, VersionId};
use common::proto::directory::{Expect, Manifests};
use common::proto::parts::{EntryView, VersionView};
use common::redundancy::Redundancy;
use common::time::Timestamp;

use super::FolderError;
use crate::meta::{self, Content, EntryPlace, FolderAttributes, Mtime, VersionMeta, VersionPlace};
use crate::names::Name;
use crate::seal::IntegrityError;
use crate::session::Session;

/// A name in a folder and what it leads to; everything in it was checked to belong there.
#[derive(Debug, Clone)]
pub struct Entry {
    pub folder: NodeId,
    pub token: NameToken,
    pub node: NodeId,
    pub name: Name,
    /// The journal sequence from which it is current, of a file in this version.
    pub since: u64,
    pub what: What,
}

#[derive(Debug, Clone)]
pub enum What {
    Folder(FolderAttributes),
    File(Box<FileVersion>),
}

/// A file's (or symbolic link's) current version.
#[derive(Debug, Clone)]
pub struct FileVersion {
    pub version: VersionId,
    pub meta: VersionMeta,
    pub sealed_bytes: u64,
    pub redundancy: Redundancy,
    pub committed: Timestamp,
    /// As much of the manifest as came with the look-up, sealed as it is.
    pub manifest: Option<Arc<Manifests>>,
}

impl Entry {
    /// Opens what the directory shows.
    pub(crate) fn open(session: &Session, view: EntryView) -> Result<Self, FolderError> {
        let folder = session.folder_key(view.folder, &view.sealed)?;
        let account = session.account();
        let integrity = |source| FolderError::Integrity { what: "an entry", source };
        let (entry, key) = meta::Entry::open_view_with(&folder, account, &view).map_err(integrity)?;
        session.take_entry(&EntryPlace::of_view(account, &view), &entry, &key).map_err(integrity)?;
        let what = match (entry.folder, view.version) {
            (Some(attributes), None) => What::Folder(attributes),
            (None, Some(version)) => {
                let integrity = |source| FolderError::Integrity { what: "a version", source };
                let place = VersionPlace { account, node: view.node, version: version.version };
                // While the account's key is rotated the two may be sealed under different ones.
                let meta = match session.is_shared() {
                    true => VersionMeta::open_with(&key, &place, &version.meta),
                    false => VersionMeta::open(session.keys(), &place, &version.meta),
                };
                let meta = meta.map_err(integrity)?;
                What::File(Box::new(FileVersion::of(version, meta)?))
            }
            (Some(_), Some(_)) => return Err(FolderError::Misbehaved { what: "a folder has a version" }),
            (None, None) => return Err(FolderError::Misbehaved { what: "a file has no version" }),
        };
        Ok(Self { folder: view.folder, token: view.token, node: view.node, name: entry.name, since: view.since, what })
    }

    #[must_use]
    pub fn is_folder(&self) -> bool {
        matches!(self.what, What::Folder(_))
    }

    /// The version of a file or link.
    #[must_use]
    pub fn file(&self) -> Option<&FileVersion> {
        match &self.what {
            What::Folder(_) => None,
            What::File(file) => Some(file),
        }
    }

    #[must_use]
    pub fn mode(&self) -> u32 {
        match &self.what {
            What::Folder(folder) => folder.mode,
            What::File(file) => file.meta.mode,
        }
    }

    #[must_use]
    pub fn modified(&self) -> Mtime {
        match &self.what {
            What::Folder(folder) => folder.mtime,
            What::File(file) => file.meta.mtime,
        }
    }

    /// What a writer who saw this says that it saw; `None` for a folder, which no file replaces.
    #[must_use]
    pub fn expect(&self) -> Option<Expect> {
        self.file().map(|file| Expect::File(self.node, file.version))
    }
}

impl FileVersion {
    /// A version as the directory shows it, with its opened metadata.
    ///
    /// # Errors
    /// When the directory says that it has another number of pages.
    pub(crate) fn of(version: VersionView, meta: VersionMeta) -> Result<Self, FolderError> {
        if meta.pages != version.pages {
            let (wanted, found) = (meta.pages.into(), version.pages.into());
            let source = IntegrityError::Total { what: "pages", wanted, found };
            return Err(FolderError::Integrity { what: "a version", source });
        }
        Ok(Self {
            version: version.version,
            meta,
            sealed_bytes: version.sealed_bytes,
            redundancy: version.redundancy,
            committed: version.committed,
            manifest: None,
        })
    }

    /// What a symbolic link points to.
    #[must_use]
    pub fn link(&self) -> Option<&[u8]> {
        match &self.meta.content {
            Content::File => None,
            Content::Link(target) => Some(target),
        }
    }
}
