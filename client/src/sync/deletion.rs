//! Deletion: what is to be removed from DEST, kept until everything else is done.

use std::collections::BTreeMap;

use super::{Below, REMEMBERED, SyncError, Tools};

/// Names one of them, to take it back.
pub type Ticket = u64;

/// Things to be removed, in the order in which they were found.
#[derive(Debug)]
pub struct Deletions<T> {
    things: BTreeMap<Ticket, (Below, T)>,
    next: Ticket,
    more: bool,
}

impl<T> Deletions<T> {
    #[must_use]
    pub fn new() -> Self {
        Self { things: BTreeMap::new(), next: 0, more: false }
    }

    /// Where the next one begins: for [`replace_since`](Self::replace_since).
    #[must_use]
    pub fn mark(&self) -> Ticket {
        self.next
    }

    /// Adds one, unless there are too many: then another walk has to find it again.
    pub fn add(&mut self, below: Below, thing: T) -> Option<Ticket> {
        if self.things.len() >= REMEMBERED {
            self.more = true;
            return None;
        }
        let ticket = self.next;
        self.next += 1;
        self.things.insert(ticket, (below, thing));
        Some(ticket)
    }

    /// Takes one back: it has turned up elsewhere.
    pub fn take_back(&mut self, ticket: Ticket) {
        self.things.remove(&ticket);
    }

    /// One in place of all since the mark: the folder that they are in.
    pub fn replace_since(&mut self, mark: Ticket, below: Below, thing: T) {
        self.things.split_off(&mark);
        self.add(below, thing);
    }

    /// Whether some did not fit.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.more
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }

    pub fn into_all(self) -> impl Iterator<Item = (Below, T)> {
        self.things.into_values()
    }
}

/// What is left to do when all has been brought.
pub struct Leftover<T> {
    pub(super) tools: Tools,
    pub(super) deletions: Deletions<T>,
    /// Of the changes that were made on the way.
    pub(super) failed: u64,
}

/// What is to be removed now.
pub(super) struct Removing<T> {
    pub(super) tools: Tools,
    pub(super) all: Deletions<T>,
    /// Whether another walk has to find the rest.
    pub(super) again: bool,
}

impl<T> Leftover<T> {
    /// `None` when there is nothing, and when something of `failed` or before could not be brought: then nothing is removed.
    pub(super) fn removing(self, failed: u64) -> Option<Removing<T>> {
        let Self { tools, deletions, failed: before } = self;
        let failed = failed + before;
        if deletions.is_empty() {
            return None;
        }
        if failed > 0 {
            tools.told.failed("", &SyncError::KeptAll { failed });
            return None;
        }
        let again = deletions.is_cut_short() && !tools.options.dry_run;
        Some(Removing { tools, all: deletions, again })
    }
}

impl<T> Default for Deletions<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_takes_the_place_of_what_is_in_it_and_what_turned_up_is_taken_back() {
        let mut deletions = Deletions::new();
        let below = |name: &str| Below::default().join(name.as_bytes());
        let a = deletions.add(below("a"), 1).unwrap();
        let mark = deletions.mark();
        let inside = deletions.add(below("b/x"), 2).unwrap();
        deletions.replace_since(mark, below("b"), 3);
        deletions.take_back(inside);
        deletions.add(below("c"), 4);
        deletions.take_back(a);
        assert!(!deletions.is_cut_short());
        let left: Vec<_> = deletions.into_all().collect();
        assert_eq!(left, [(below("b"), 3), (below("c"), 4)]);
    }

    #[test]
    fn there_are_never_more_than_are_remembered() {
        let mut deletions = Deletions::new();
        for _ in 0..=REMEMBERED {
            deletions.add(Below::default(), ());
        }
        assert!(deletions.is_cut_short());
        assert_eq!(deletions.into_all().count(), REMEMBERED);
    }
}
