//! Changes: what a batch of commits leaves, in the order of its keys.

/// Keys with what is stored under them from now on; `None` for those that are gone.
#[derive(Debug, Default)]
pub(crate) struct Changes(Vec<(Vec<u8>, Option<Vec<u8>>)>);

impl Changes {
    /// Of several changes of a key the last one counts.
    pub(crate) fn new(mut changes: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Self {
        changes.reverse();
        changes.sort_by(|one, other| one.0.cmp(&other.0)); // stable: of one key the last comes first now
        changes.dedup_by(|later, kept| later.0 == kept.0);
        Self(changes)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.0.iter().map(|(key, stored)| (&**key, stored.as_deref()))
    }

    /// `None`: it is not changed; `Some(None)`: it is gone.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let place = self.0.binary_search_by(|(changed, _)| (**changed).cmp(key)).ok()?;
        self.0.get(place).map(|(_, stored)| stored.as_deref())
    }

    /// What is there from one key (inclusive) to another (exclusive), which is not before it.
    pub(crate) fn between(&self, from: &[u8], to: &[u8]) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        let before = |end: &[u8]| self.0.partition_point(|(key, _)| &**key < end);
        let there = self.0.get(before(from)..before(to)).unwrap_or_default();
        there.iter().filter_map(|(key, stored)| Some((&**key, stored.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_of_a_key_counts_and_what_is_gone_is_in_no_range() {
        let put = |key: &[u8], value: &[u8]| (key.to_vec(), Some(value.to_vec()));
        let gone = |key: &[u8]| (key.to_vec(), None);
        let changes = Changes::new(vec![
            put(b"b", b"1"),
            gone(b"c"),
            put(b"a", b"1"),
            put(b"b", b"2"),
            put(b"d", b"1"),
            gone(b"d"),
        ]);
        let (one, two) = (&b"1"[..], &b"2"[..]);
        let all: Vec<_> = changes.all().collect();
        assert_eq!(all, [(&b"a"[..], Some(one)), (b"b", Some(two)), (b"c", None), (b"d", None)]);
        assert_eq!((changes.get(b"b"), changes.get(b"c"), changes.get(b"bb")), (Some(Some(two)), Some(None), None));
        assert_eq!(changes.between(b"a", b"e").collect::<Vec<_>>(), [(&b"a"[..], one), (b"b", two)]);
        assert_eq!(changes.between(b"aa", b"e").rev().collect::<Vec<_>>(), [(&b"b"[..], two)]);
        assert_eq!(changes.between(b"b", b"b").count(), 0);
    }
}
