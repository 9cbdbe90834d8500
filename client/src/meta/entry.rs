//! Entry: a name in a folder and, for a folder, its mode and time. A file's own are in its version.

use common::id::{AccountId, NameToken, NodeId};
use common::proto::parts::{EntryView, NodeKind, SealedEntry};
use common::redundancy::Redundancy;
use serde::{Deserialize, Serialize};

use super::Mtime;
use crate::keys::Keys;
use crate::names::Name;
use crate::seal::IntegrityError;
use crate::seal::aead::{self, Place, SealError};

pub(super) const FORMAT: u8 = 1;
const WHAT: &str = "an entry";

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryPlace {
    pub account: AccountId,
    pub folder: NodeId,
    pub token: NameToken,
    pub node: NodeId,
}

/// What a folder has of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FolderAttributes {
    pub mode: u32,
    pub mtime: Mtime,
    /// What a put into it uses that names none, also into folders below that say nothing themselves.
    pub redundancy: Option<Redundancy>,
}

/// An opened entry; a folder where it has a folder's attributes. Variable parts are bounded by their types.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub name: Name,
    pub folder: Option<FolderAttributes>,
}

impl EntryPlace {
    /// The place of this name in a folder, for this node.
    #[must_use]
    pub fn of(keys: &Keys, account: AccountId, folder: NodeId, name: &Name, node: NodeId) -> Self {
        Self { account, folder, token: name.token(keys), node }
    }

    pub(super) fn place(&self) -> Place {
        Place::new(WHAT, "shoal v1 entry")
            .with(self.account.as_bytes())
            .with(self.folder.as_bytes())
            .with(self.token.as_bytes())
            .with(self.node.as_bytes())
    }
}

impl Entry {
    #[must_use]
    pub fn kind(&self) -> NodeKind {
        if self.folder.is_some() { NodeKind::Folder } else { NodeKind::File }
    }

    /// # Errors
    /// Never for a name that fits; see [`SealError`].
    pub fn seal(&self, keys: &Keys, place: &EntryPlace) -> Result<SealedEntry, SealError> {
        aead::seal_bounded(&keys.metadata, &place.place(), FORMAT, self)
    }

    /// # Errors
    /// When it was not sealed for this place, or its name is not the one of the place's token.
    pub fn open(keys: &Keys, place: &EntryPlace, sealed: &SealedEntry) -> Result<Self, IntegrityError> {
        let entry: Self = aead::open(&keys.metadata, &place.place(), FORMAT, sealed)?;
        let inconsistent = |field| IntegrityError::Inconsistent { what: WHAT, field };
        if entry.name.token(keys) != place.token {
            return Err(inconsistent("its name is another one"));
        }
        if entry.folder.is_some_and(|folder| !folder.mtime.is_possible()) {
            return Err(inconsistent("its time is impossible"));
        }
        Ok(entry)
    }

    /// Opens an entry as the directory shows it, and checks that it is of the kind that the directory says.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_view(keys: &Keys, account: AccountId, view: &EntryView) -> Result<Self, IntegrityError> {
        let place = EntryPlace { account, folder: view.folder, token: view.token, node: view.node };
        let entry = Self::open(keys, &place, &view.sealed)?;
        if entry.kind() != view.kind {
            return Err(IntegrityError::Inconsistent { what: WHAT, field: "the directory says it is of another kind" });
        }
        Ok(entry)
    }
}
