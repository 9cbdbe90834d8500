//! Moves: files that have gone and files that are new, of one size and one time of change. What meets here may be one file that was
//! moved; whether it is, its content says.
//!
//! Both sides are bounded: of those that are gone the oldest are forgotten, and new ones that waited longest are handed back to be brought
//! like any other.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use crate::folder::Entry;
use crate::local::walk::{Item, ItemKind};

/// What two files must have in common: bytes, and when they were changed.
pub type Likeness = (u64, crate::meta::Mtime);

/// Of files that are alike in size and time so many are compared by their content.
pub(super) const TRIES: usize = 16;

/// Of a remote file with content: what else may have moved is not looked for.
pub(super) fn likeness_of_entry(entry: &Entry) -> Option<Likeness> {
    let file = entry.file().filter(|file| file.link().is_none() && file.meta.size > 0)?;
    Some((file.meta.size, file.meta.mtime))
}

/// Of a local one.
pub(super) fn likeness_of_item(item: &Item) -> Option<Likeness> {
    match item.kind {
        ItemKind::File { len } if len > 0 => Some((len, item.modified)),
        _ => None,
    }
}

/// Things by likeness, the oldest first.
#[derive(Debug)]
struct Shelf<K, T> {
    by_key: HashMap<K, VecDeque<T>>,
    /// The keys in the order in which things came; a thing that was taken leaves its key behind.
    order: VecDeque<K>,
    count: usize,
}

impl<K: Hash + Eq + Copy, T> Shelf<K, T> {
    fn new() -> Self {
        Self { by_key: HashMap::new(), order: VecDeque::new(), count: 0 }
    }

    fn push(&mut self, key: K, thing: T) {
        self.by_key.entry(key).or_default().push_back(thing);
        self.order.push_back(key);
        self.count += 1;
        // Keys of what was taken must not pile up.
        if self.order.len() > 2 * self.count + 64 {
            let by_key = &self.by_key;
            self.order.retain(|key| by_key.contains_key(key));
        }
    }

    fn take(&mut self, key: &K) -> Option<T> {
        let things = self.by_key.get_mut(key)?;
        let thing = things.pop_front();
        if things.is_empty() {
            self.by_key.remove(key);
        }
        self.count -= usize::from(thing.is_some());
        thing
    }

    fn oldest(&mut self) -> Option<T> {
        while let Some(key) = self.order.pop_front() {
            if let Some(thing) = self.take(&key) {
                return Some(thing);
            }
        }
        None
    }
}

/// The table in which they meet.
#[derive(Debug)]
pub struct Moves<Gone, New> {
    gone: Shelf<Likeness, Gone>,
    new: Shelf<Likeness, New>,
    room: usize,
}

impl<Gone, New> Moves<Gone, New> {
    /// For so many of each.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { gone: Shelf::new(), new: Shelf::new(), room }
    }

    /// Takes something out that has gone and is like this.
    pub fn take_gone(&mut self, likeness: &Likeness) -> Option<Gone> {
        self.gone.take(likeness)
    }

    /// Takes something out that is new and like this.
    pub fn take_new(&mut self, likeness: &Likeness) -> Option<New> {
        self.new.take(likeness)
    }

    /// Keeps what has gone; what had to be forgotten for it is removed like any other, and recognised no more.
    pub fn keep_gone(&mut self, likeness: Likeness, gone: Gone) {
        self.gone.push(likeness, gone);
        if self.gone.count > self.room {
            self.gone.oldest();
        }
    }

    /// Keeps what is new; gives what has waited too long.
    pub fn keep_new(&mut self, likeness: Likeness, new: New) -> Option<New> {
        self.new.push(likeness, new);
        if self.new.count > self.room { self.new.oldest() } else { None }
    }

    /// What is new and like nothing that has gone, in the order in which it came.
    pub fn rest(&mut self) -> Option<New> {
        self.new.oldest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::Mtime;

    fn like(size: u64) -> Likeness {
        (size, Mtime::default())
    }

    #[test]
    fn what_is_alike_meets_once_and_the_rest_comes_out_in_order() {
        let mut moves = Moves::<&str, &str>::new(10);
        moves.keep_gone(like(1), "old");
        assert_eq!(moves.take_gone(&like(2)), None);
        assert_eq!(moves.take_gone(&like(1)), Some("old"));
        assert_eq!(moves.take_gone(&like(1)), None);
        for (size, name) in [(3, "a"), (4, "b"), (3, "c")] {
            assert_eq!(moves.keep_new(like(size), name), None);
        }
        assert_eq!(moves.take_new(&like(4)), Some("b"));
        assert_eq!((moves.rest(), moves.rest(), moves.rest()), (Some("a"), Some("c"), None));
    }

    #[test]
    fn both_sides_are_bounded() {
        let mut moves = Moves::<u64, u64>::new(3);
        let back: Vec<_> = (0..100).filter_map(|i| moves.keep_new(like(i), i)).collect();
        assert_eq!(back, (0..97).collect::<Vec<_>>());
        for i in 0..1_000 {
            moves.keep_gone(like(i), i);
        }
        assert_eq!((moves.take_gone(&like(996)), moves.take_gone(&like(999))), (None, Some(999)));
        for i in 0..1_000 {
            moves.keep_gone(like(i), i);
            moves.take_gone(&like(i));
        }
        assert!(moves.gone.order.len() < 200, "{}", moves.gone.order.len());
    }
}
