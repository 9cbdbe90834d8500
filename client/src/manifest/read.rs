//! Read: opened pages in, extents with their offsets out, in order or around one byte.

use common::limits::EXTENTS_PER_PAGE;

use super::{Extent, Page, Totals};
use crate::seal::IntegrityError;

/// An extent and where it lies in the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Located {
    pub offset: u64,
    pub extent: Extent,
}

/// Checks the pages of one version as they come, first to last.
#[derive(Debug)]
pub struct Reader {
    totals: Totals,
    seen: Totals,
}

impl Reader {
    /// `totals` are those of the version's sealed metadata.
    #[must_use]
    pub fn new(totals: Totals) -> Self {
        Self { totals, seen: Totals::default() }
    }

    /// The page that is wanted next; `None` when all were seen.
    #[must_use]
    pub fn wanted(&self) -> Option<u32> {
        (self.seen.pages < self.totals.pages).then_some(self.seen.pages)
    }

    /// Takes the next page.
    ///
    /// # Errors
    /// When it does not go on where the last one ended, or goes beyond what the version has.
    pub fn accept(&mut self, page: &Page) -> Result<Vec<Located>, IntegrityError> {
        if self.wanted() != Some(page.number()) {
            return Err(IntegrityError::WrongPage { wanted: self.seen.pages, found: page.number() });
        }
        if page.first() != self.seen.size {
            return Err(IntegrityError::Gap { page: page.number(), wanted: self.seen.size, found: page.first() });
        }
        let seen = Totals {
            size: page.end(),
            extents: self.seen.extents + page.extents().len() as u64,
            pages: self.seen.pages + 1,
        };
        check_page(page, &self.totals)?;
        if seen.pages == self.totals.pages || seen.extents > self.totals.extents {
            check_total("extents", self.totals.extents, seen.extents)?;
        }
        self.seen = seen;
        Ok(page.located().map(|(offset, extent)| Located { offset, extent: extent.clone() }).collect())
    }

    /// To be called after the last page: the file was whole.
    ///
    /// # Errors
    /// When pages, extents or bytes are missing.
    pub fn finish(self) -> Result<(), IntegrityError> {
        check_total("pages", self.totals.pages.into(), self.seen.pages.into())?;
        check_total("extents", self.totals.extents, self.seen.extents)?;
        check_total("bytes", self.totals.size, self.seen.size)
    }
}

fn check_total(what: &'static str, wanted: u64, found: u64) -> Result<(), IntegrityError> {
    if wanted == found { Ok(()) } else { Err(IntegrityError::Total { what, wanted, found }) }
}

/// What one page can be held to on its own: full unless the last, and ending with the file when the last.
fn check_page(page: &Page, totals: &Totals) -> Result<(), IntegrityError> {
    let last = page.number().checked_add(1) == Some(totals.pages);
    if !last && page.extents().len() != EXTENTS_PER_PAGE {
        return Err(IntegrityError::Inconsistent { what: "a manifest page", field: "it is not the last and not full" });
    }
    if last || page.end() > totals.size {
        check_total("bytes", totals.size, page.end())?;
    }
    Ok(())
}

/// Finds the page in which a byte lies, by halving: it names a page, the caller opens it.
#[derive(Debug)]
pub struct PageSearch {
    totals: Totals,
    offset: u64,
    low: u32,
    high: u32,
}

/// What a page told the search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Searched {
    /// The byte is in this page.
    Here,
    /// Look at this page next.
    Try(u32),
}

impl PageSearch {
    /// `None` when the file ends at or before the offset.
    #[must_use]
    pub fn new(totals: Totals, offset: u64) -> Option<Self> {
        (offset < totals.size && totals.pages > 0).then_some(Self { totals, offset, low: 0, high: totals.pages })
    }

    /// The page to look at: extents of one file are of like length, so the first guess is seldom far off.
    #[must_use]
    pub fn first(&self) -> u32 {
        let guess = u128::from(self.offset) * u128::from(self.totals.pages) / u128::from(self.totals.size.max(1));
        u32::try_from(guess).unwrap_or(0).min(self.totals.pages.saturating_sub(1))
    }

    /// Judges an opened page.
    ///
    /// # Errors
    /// When the pages contradict each other or the totals.
    pub fn judge(&mut self, page: &Page) -> Result<Searched, IntegrityError> {
        let number = page.number();
        if number < self.low || number >= self.high {
            return Err(IntegrityError::WrongPage { wanted: self.low, found: number });
        }
        check_page(page, &self.totals)?;
        if self.offset < page.first() {
            self.high = number;
        } else if self.offset >= page.end() {
            self.low = number + 1;
        } else {
            return Ok(Searched::Here);
        }
        if self.low >= self.high {
            return Err(IntegrityError::Inconsistent { what: "the manifest", field: "a byte lies between two pages" });
        }
        Ok(Searched::Try(self.low + (self.high - self.low) / 2))
    }
}
