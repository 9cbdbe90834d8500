//! Entry: a name in a folder, the key of what it leads to and, for a folder, its mode and time. A file's own are in its version.

use common::id::{AccountId, NameToken, NodeId};
use common::proto::parts::{EntryView, NodeKind, SealedEntry};
use common::redundancy::Redundancy;
use serde::{Deserialize, Serialize};

use super::Mtime;
use crate::keys::{Keys, NodeKey};
use crate::names::Name;
use crate::seal::IntegrityError;
use crate::seal::aead::{self, Place, SealError, Under};

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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub name: Name,
    pub folder: Option<FolderAttributes>,
}

/// What is sealed: the entry, and what reads on from it.
#[derive(Serialize)]
pub(super) struct Sealing<'a> {
    pub(super) name: &'a Name,
    pub(super) folder: &'a Option<FolderAttributes>,
    pub(super) key: &'a NodeKey,
}

#[derive(Deserialize)]
pub(super) struct Sealed {
    name: Name,
    folder: Option<FolderAttributes>,
    key: NodeKey,
}

impl EntryPlace {
    /// The place of this name in a folder, for this node.
    #[must_use]
    pub fn of(keys: &Keys, account: AccountId, folder: NodeId, name: &Name, node: NodeId) -> Self {
        Self { account, folder, token: name.token(keys), node }
    }

    /// Where the directory says that an entry is.
    #[must_use]
    pub fn of_view(account: AccountId, view: &EntryView) -> Self {
        Self { account, folder: view.folder, token: view.token, node: view.node }
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

    /// Seals it for this account's own tree, with the key of what it leads to.
    ///
    /// # Errors
    /// Never for a name that fits; see [`SealError`].
    pub fn seal(&self, keys: &Keys, place: &EntryPlace) -> Result<SealedEntry, SealError> {
        let key = keys.node_key(place.node);
        let sealing = Sealing { name: &self.name, folder: &self.folder, key: &key };
        let folder = keys.node_key(place.folder);
        aead::seal_bounded(Under { number: keys.number(), key: &folder.0 }, &place.place(), FORMAT, &sealing)
    }

    /// Opens an entry of this account's own tree.
    ///
    /// # Errors
    /// When it was not sealed for this place, or its name is not the one of the place's token, or it carries another key than its node's.
    pub fn open(keys: &Keys, place: &EntryPlace, sealed: &SealedEntry) -> Result<Self, IntegrityError> {
        let (entry, key) = Self::open_with(&keys.node_key_of(WHAT, place.folder, sealed)?, place, sealed)?;
        entry.check_own(keys, place, &key)?;
        Ok(entry)
    }

    /// Seals an entry anew, under the account's key of now, with the key of now of what it leads to.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn reseal(keys: &Keys, place: &EntryPlace, sealed: &SealedEntry) -> Result<SealedEntry, IntegrityError> {
        let too_long = |_| IntegrityError::Inconsistent { what: WHAT, field: "it is too long to be sealed again" };
        Self::open(keys, place, sealed)?.seal(keys, place).map_err(too_long)
    }

    /// Opens an entry with its folder's key; gives what reads on, too. Whoever has only that cannot tell whether the token is the
    /// name's: the account's device that sealed it has vouched for both.
    ///
    /// # Errors
    /// When it was not sealed for this place in this folder.
    pub fn open_with(
        folder: &NodeKey,
        place: &EntryPlace,
        sealed: &SealedEntry,
    ) -> Result<(Self, NodeKey), IntegrityError> {
        let Sealed { name, folder, key } = aead::open(&folder.0, &place.place(), FORMAT, sealed)?;
        if folder.is_some_and(|folder| !folder.mtime.is_possible()) {
            return Err(IntegrityError::Inconsistent { what: WHAT, field: "its time is impossible" });
        }
        Ok((Self { name, folder }, key))
    }

    /// What the account itself can hold an opened entry to.
    ///
    /// # Errors
    /// When its name is not the one of the place's token, or its key not the node's.
    pub fn check_own(&self, keys: &Keys, place: &EntryPlace, key: &NodeKey) -> Result<(), IntegrityError> {
        let inconsistent = |field| Err(IntegrityError::Inconsistent { what: WHAT, field });
        if self.name.token(keys) != place.token {
            return inconsistent("its name is another one");
        }
        if !keys.is_node_key(place.node, key) {
            return inconsistent("it carries the key of another node");
        }
        Ok(())
    }

    /// Opens an entry as the directory shows it, and checks that it is of the kind that the directory says.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_view(keys: &Keys, account: AccountId, view: &EntryView) -> Result<Self, IntegrityError> {
        let (entry, key) = Self::open_view_with(&keys.node_key_of(WHAT, view.folder, &view.sealed)?, account, view)?;
        entry.check_own(keys, &EntryPlace::of_view(account, view), &key)?;
        Ok(entry)
    }

    /// The same with the folder's key.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open_view_with(
        folder: &NodeKey,
        account: AccountId,
        view: &EntryView,
    ) -> Result<(Self, NodeKey), IntegrityError> {
        let (entry, key) = Self::open_with(folder, &EntryPlace::of_view(account, view), &view.sealed)?;
        if entry.kind() != view.kind {
            return Err(IntegrityError::Inconsistent { what: WHAT, field: "the directory says it is of another kind" });
        }
        Ok((entry, key))
    }
}
