//! Write: extents in, sealed pages out, one page in memory.

use common::bounded::{BoundedBytes, BoundedVec};
use common::id::{AccountId, ChunkId, VersionId};
use common::limits::{EXTENTS_PER_PAGE, PAGES_PER_VERSION, SEALED_PAGE_BYTES};

use super::{Extent, ManifestKey, Page, PageId};
use crate::seal::aead::SealError;

/// A page to send.
#[derive(Clone, Debug)]
pub struct NewPage {
    pub page: u32,
    /// Every chunk that it refers to, once, in order.
    pub chunks: BoundedVec<ChunkId, EXTENTS_PER_PAGE>,
    pub sealed: BoundedBytes<SEALED_PAGE_BYTES>,
}

/// What a whole manifest adds up to; goes into the version's metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub size: u64,
    pub extents: u64,
    pub pages: u32,
}

/// An extent or a page that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("the file is too large: a manifest has at most {PAGES_PER_VERSION} pages")]
    TooLarge,
    #[error("an extent is empty, longer than a chunk, or of two lengths")]
    Impossible,
    #[error("cannot seal a manifest page")]
    Seal(#[from] SealError),
}

/// Collects the extents of one version in the order of the file.
#[derive(Debug)]
pub struct Writer {
    account: AccountId,
    version: VersionId,
    key: ManifestKey,
    extents: Vec<Extent>,
    first: u64,
    totals: Totals,
}

impl Writer {
    #[must_use]
    pub fn new(account: AccountId, version: VersionId, key: ManifestKey) -> Self {
        Self { account, version, key, extents: Vec::new(), first: 0, totals: Totals::default() }
    }

    /// Adds an extent, and gives the page that it does not fit in any more.
    ///
    /// # Errors
    /// When the manifest is full, or the extent impossible.
    pub fn push(&mut self, extent: Extent) -> Result<Option<NewPage>, WriteError> {
        if !extent.is_possible() {
            return Err(WriteError::Impossible);
        }
        let full = if self.extents.len() == EXTENTS_PER_PAGE { self.flush()? } else { None };
        if self.totals.pages >= PAGES_PER_VERSION {
            return Err(WriteError::TooLarge);
        }
        self.totals.size += u64::from(extent.size);
        self.totals.extents += 1;
        self.extents.push(extent);
        Ok(full)
    }

    /// The last page (none for an empty file), and the totals.
    ///
    /// # Errors
    /// When the page cannot be sealed.
    pub fn finish(mut self) -> Result<(Option<NewPage>, Totals), WriteError> {
        let last = self.flush()?;
        Ok((last, self.totals))
    }

    fn flush(&mut self) -> Result<Option<NewPage>, WriteError> {
        if self.extents.is_empty() {
            return Ok(None);
        }
        let mut chunks: Vec<ChunkId> = Vec::with_capacity(self.extents.len());
        let mut seen = std::collections::HashSet::with_capacity(self.extents.len());
        for extent in &self.extents {
            if seen.insert(extent.chunk) {
                chunks.push(extent.chunk);
            }
        }
        let number = self.totals.pages;
        let extents = std::mem::take(&mut self.extents);
        let extents = BoundedVec::try_from(extents).map_err(|_| WriteError::TooLarge)?;
        let chunks = BoundedVec::try_from(chunks).map_err(|_| WriteError::TooLarge)?;
        let page = Page::new(number, self.first, extents);
        let id = PageId { account: self.account, version: self.version, page: number };
        let sealed = page.seal(&self.key, &id)?;
        self.first = page.end();
        self.totals.pages += 1;
        Ok(Some(NewPage { page: number, chunks, sealed }))
    }
}
