//! Page: up to 512 extents, sealed.

use common::bounded::{BoundedBytes, BoundedVec};
use common::id::{AccountId, VersionId};
use common::limits::{EXTENTS_PER_PAGE, SEALED_PAGE_BYTES};
use serde::{Deserialize, Serialize};

use super::{Extent, ManifestKey};
use crate::seal::IntegrityError;
use crate::seal::aead::{self, Place, SealError};

pub(super) const FORMAT: u8 = 1;
const WHAT: &str = "a manifest page";

/// Which page of what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageId {
    pub account: AccountId,
    pub version: VersionId,
    pub page: u32,
}

impl PageId {
    pub(super) fn place(&self) -> Place {
        Place::new(WHAT, "shoal v1 manifest page")
            .with(self.account.as_bytes())
            .with(self.version.as_bytes())
            .with(&self.page.to_le_bytes())
    }
}

/// An opened page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Page {
    page: u32,
    first: u64,
    extents: BoundedVec<Extent, EXTENTS_PER_PAGE>,
}

impl Page {
    pub(super) fn new(page: u32, first: u64, extents: BoundedVec<Extent, EXTENTS_PER_PAGE>) -> Self {
        Self { page, first, extents }
    }

    pub(super) fn seal(&self, key: &ManifestKey, id: &PageId) -> Result<BoundedBytes<SEALED_PAGE_BYTES>, SealError> {
        aead::seal_bounded(&key.0, &id.place(), FORMAT, self)
    }

    /// Opens a page and checks what it says of itself.
    ///
    /// # Errors
    /// When it is not this page of this version, or contradicts itself.
    pub fn open(key: &ManifestKey, id: &PageId, sealed: &[u8]) -> Result<Self, IntegrityError> {
        let page: Self = aead::open(&key.0, &id.place(), FORMAT, sealed)?;
        let inconsistent = |field| IntegrityError::Inconsistent { what: WHAT, field };
        if page.page != id.page {
            return Err(IntegrityError::WrongPage { wanted: id.page, found: page.page });
        }
        if page.extents.is_empty() {
            return Err(inconsistent("it has no extents"));
        }
        if !page.extents.iter().all(Extent::is_possible) {
            return Err(inconsistent("an extent is empty, longer than a chunk, or of two lengths"));
        }
        if (page.page == 0) != (page.first == 0) {
            return Err(inconsistent("only page 0 begins at byte 0"));
        }
        // 512 extents of 8 MiB cannot overflow what is left below this.
        if page.first > u64::MAX >> 1 {
            return Err(inconsistent("it begins beyond the end of any file"));
        }
        Ok(page)
    }

    #[must_use]
    pub fn number(&self) -> u32 {
        self.page
    }

    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Where its first extent lies in the file.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Where the file goes on behind it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.extents.iter().fold(self.first, |end, extent| end + u64::from(extent.size))
    }

    /// Its extents with their offsets in the file.
    pub fn located(&self) -> impl Iterator<Item = (u64, &Extent)> {
        self.extents.iter().scan(self.first, |next, extent| {
            let offset = *next;
            *next += u64::from(extent.size);
            Some((offset, extent))
        })
    }
}
