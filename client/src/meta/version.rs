//! Version: size, times, mode and the manifest key of one content of a file's node.

use common::bounded::BoundedBytes;
use common::id::{AccountId, NodeId, VersionId};
use common::limits::LINK_TARGET_BYTES;
use common::proto::parts::SealedMeta;
use serde::{Deserialize, Serialize};

use super::Mtime;
use crate::keys::{Keys, NodeKey};
use crate::manifest::{ManifestKey, Totals};
use crate::seal::IntegrityError;
use crate::seal::aead::{self, Place, SealError, Under};

pub(super) const FORMAT: u8 = 1;
const WHAT: &str = "a version's metadata";

/// Which version of which node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VersionPlace {
    pub account: AccountId,
    pub node: NodeId,
    pub version: VersionId,
}

/// What the version is. Order is the format: append only.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Content {
    File,
    /// A symbolic link, with its target exactly as it was.
    Link(BoundedBytes<LINK_TARGET_BYTES>),
}

/// Opened metadata of a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionMeta {
    pub content: Content,
    pub size: u64,
    pub mtime: Mtime,
    pub mode: u32,
    pub pages: u32,
    pub extents: u64,
    /// Fresh for each version: seals its manifest.
    pub manifest_key: ManifestKey,
}

impl VersionPlace {
    pub(super) fn place(&self) -> Place {
        Place::new(WHAT, "shoal v1 version metadata")
            .with(self.account.as_bytes())
            .with(self.node.as_bytes())
            .with(self.version.as_bytes())
    }
}

impl VersionMeta {
    /// What its manifest has to add up to.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals { size: self.size, extents: self.extents, pages: self.pages }
    }

    /// Seals it for this account's own file.
    ///
    /// # Errors
    /// Never for values of these types; see [`SealError`].
    pub fn seal(&self, keys: &Keys, place: &VersionPlace) -> Result<SealedMeta, SealError> {
        let key = keys.node_key(place.node);
        aead::seal_bounded(Under { number: keys.number(), key: &key.0 }, &place.place(), FORMAT, self)
    }

    /// Opens the metadata of this account's own file.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub fn open(keys: &Keys, place: &VersionPlace, sealed: &SealedMeta) -> Result<Self, IntegrityError> {
        Self::open_with(&keys.node_key_of(WHAT, place.node, sealed)?, place, sealed)
    }

    /// Seals it anew, under the account's key of now.
    ///
    /// # Errors
    /// When it was not sealed by this account for this version.
    pub(crate) fn reseal(keys: &Keys, place: &VersionPlace, sealed: &[u8]) -> Result<Vec<u8>, IntegrityError> {
        let (old, new) = (keys.node_key_of(WHAT, place.node, sealed)?, keys.node_key(place.node));
        aead::reseal(&old.0, Under { number: keys.number(), key: &new.0 }, &place.place(), sealed)
    }

    /// Opens it with its file's key.
    ///
    /// # Errors
    /// When it was not sealed for this version of this node, or contradicts itself.
    pub fn open_with(file: &NodeKey, place: &VersionPlace, sealed: &SealedMeta) -> Result<Self, IntegrityError> {
        let meta: Self = aead::open(&file.0, &place.place(), FORMAT, sealed)?;
        meta.check()?;
        Ok(meta)
    }

    /// Whether it can be at all.
    ///
    /// # Errors
    /// When it contradicts itself.
    pub fn check(&self) -> Result<(), IntegrityError> {
        let meta = self;
        let inconsistent = |field| Err(IntegrityError::Inconsistent { what: WHAT, field });
        if !meta.mtime.is_possible() {
            return inconsistent("its time is impossible");
        }
        let empty = meta.size == 0;
        if empty != (meta.pages == 0) || empty != (meta.extents == 0) {
            return inconsistent("its size and its manifest");
        }
        if !empty && matches!(meta.content, Content::Link(_)) {
            return inconsistent("a symbolic link has no manifest");
        }
        Ok(())
    }
}
