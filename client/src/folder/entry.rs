//! Entry: one name in a folder, opened.

use std::sync::Arc;

use common::id::{NameToken, NodeId, VersionId};
use common::proto::directory::{Expect, Manifests};
use common::proto::parts::EntryView;
use common::redundancy::Redundancy;
use common::time::Timestamp;

use super::FolderError;
use crate::meta::{self, Content, FolderAttributes, Mtime, VersionMeta, VersionPlace};
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
        let (keys, account) = (session.keys(), session.account());
        let entry = meta::Entry::open_view(keys, account, &view)
            .map_err(|source| FolderError::Integrity { what: "an entry", source })?;
        let what = match (entry.folder, view.version) {
            (Some(attributes), None) => What::Folder(attributes),
            (None, Some(version)) => {
                let integrity = |source| FolderError::Integrity { what: "a version", source };
                let place = VersionPlace { account, node: view.node, version: version.version };
                let meta = VersionMeta::open(keys, &place, &version.meta).map_err(integrity)?;
                if meta.pages != version.pages {
                    return Err(integrity(IntegrityError::Total {
                        what: "pages",
                        wanted: meta.pages.into(),
                        found: version.pages.into(),
                    }));
                }
                What::File(Box::new(FileVersion {
                    version: version.version,
                    meta,
                    sealed_bytes: version.sealed_bytes,
                    redundancy: version.redundancy,
                    committed: version.committed,
                    manifest: None,
                }))
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
    /// What a symbolic link points to.
    #[must_use]
    pub fn link(&self) -> Option<&[u8]> {
        match &self.meta.content {
            Content::File => None,
            Content::Link(target) => Some(target),
        }
    }
}
