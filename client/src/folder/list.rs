//! List: a folder's entries, now or as they were, page by page, in the order of their tokens.

use common::boxed::Boxed;
use common::id::{NameToken, NodeId};

use super::{Entry, FolderError};
use crate::session::Session;

/// A listing under way; memory for one page.
pub struct Listing<'a> {
    session: &'a Session,
    folder: NodeId,
    at: Option<u64>,
    after: Option<NameToken>,
    done: bool,
}

impl<'a> Listing<'a> {
    #[must_use]
    pub fn new(session: &'a Session, folder: NodeId) -> Self {
        Self::at(session, folder, None)
    }

    /// As it was at a sequence.
    #[must_use]
    pub fn at(session: &'a Session, folder: NodeId, at: Option<u64>) -> Self {
        Self { session, folder, at, after: None, done: false }
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    /// When the directory cannot be asked, or what it says does not belong there.
    pub fn next_page(&mut self) -> Boxed<'_, Result<Option<Vec<Entry>>, FolderError>> {
        Box::pin(async move {
            if self.done {
                return Ok(None);
            }
            let listing = self.session.list(self.folder, self.after, self.at).await?;
            self.done = listing.next.is_none();
            let mut page = Vec::with_capacity(listing.entries.len());
            for view in listing.entries {
                if view.folder != self.folder {
                    return Err(FolderError::Misbehaved { what: "an entry of another folder" });
                }
                if self.after.is_some_and(|after| view.token <= after) {
                    return Err(FolderError::Misbehaved { what: "a listing out of order" });
                }
                self.after = Some(view.token);
                page.push(Entry::open(self.session, view)?);
            }
            if let Some(next) = listing.next {
                if self.after.is_some_and(|after| next < after) || (page.is_empty() && self.after == Some(next)) {
                    return Err(FolderError::Misbehaved { what: "a listing that does not go on" });
                }
                self.after = Some(next);
            }
            Ok(Some(page))
        })
    }
}
