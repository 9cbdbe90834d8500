//! Recent: which keys the last commits changed. A check of what was read after that needs no look at the index.
//!
//! Two generations of bounded size: when the younger one is full it becomes the older one, which is forgotten.

use std::collections::HashMap;

/// Bytes of a generation. A decision takes milliseconds, and this is a hundred of them at the fastest.
const GENERATION_BYTES: usize = 4 << 20;
/// What a key takes beside its bytes.
const KEY_OVERHEAD: usize = 64;

/// Versions of keys behind a commit: `None` for those that were deleted.
pub(crate) type Versions = HashMap<Vec<u8>, Option<u64>>;

/// What the last commits changed.
#[derive(Debug)]
pub(crate) struct Recent {
    young: Versions,
    young_bytes: usize,
    /// The commit before the first one of `young`.
    young_from: u64,
    old: Versions,
    /// The commit before the first one of `old`: all that later ones changed is known.
    from: u64,
}

impl Recent {
    /// Behind this commit nothing has happened yet.
    pub(crate) fn new(last: u64) -> Self {
        Self { young: Versions::new(), young_bytes: 0, young_from: last, old: Versions::new(), from: last }
    }

    /// The version of a key now: `Some(None)` when it is absent; `None` when it has to be looked up. `read` is the version that it had at
    /// the commit `read_at` or later.
    pub(crate) fn version(&self, key: &[u8], read: Option<u64>, read_at: Option<u64>) -> Option<Option<u64>> {
        let changed = self.young.get(key).or_else(|| self.old.get(key));
        changed.copied().or_else(|| read_at.filter(|at| *at >= self.from).map(|_| read))
    }

    /// Adds what commits up to `last` have changed.
    pub(crate) fn add(&mut self, changed: Versions, last: u64) {
        self.young_bytes += changed.keys().map(|key| key.len() + KEY_OVERHEAD).sum::<usize>();
        if self.young.is_empty() {
            self.young = changed;
        } else {
            self.young.extend(changed);
        }
        if self.young_bytes >= GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.from = self.young_from;
            (self.young_bytes, self.young_from) = (0, last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_what_is_known_is_looked_up() {
        let mut recent = Recent::new(10);
        assert_eq!(recent.version(b"a", Some(3), Some(9)), None);
        assert_eq!(recent.version(b"a", Some(3), Some(10)), Some(Some(3)));
        recent.add(Versions::from([(b"a".to_vec(), Some(11)), (b"b".to_vec(), None)]), 11);
        assert_eq!(recent.version(b"a", Some(3), Some(10)), Some(Some(11)));
        assert_eq!(recent.version(b"b", Some(4), None), Some(None));
        assert_eq!(recent.version(b"c", None, Some(10)), Some(None));
    }

    #[test]
    fn it_forgets_the_older_half() {
        let mut recent = Recent::new(0);
        let full = |first: u64| {
            let keys = (0..1 << 16).map(|n: u64| ((first + n).to_be_bytes().to_vec(), Some(first)));
            keys.collect::<Versions>()
        };
        let key = |n: u64| n.to_be_bytes();
        recent.add(full(0), 1);
        assert_eq!((recent.from, recent.version(&key(7), None, Some(0))), (0, Some(Some(0))));
        recent.add(full(1 << 20), 2);
        assert_eq!(recent.version(&key(7), None, Some(0)), None); // committed before 1, and read before that
        assert_eq!(recent.version(&key(7), Some(1), Some(1)), Some(Some(1)));
        assert_eq!(recent.version(&key(1 << 20), None, None), Some(Some(1 << 20)));
    }
}
