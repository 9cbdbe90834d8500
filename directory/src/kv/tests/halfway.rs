//! An index whose process ended while commits were written into it.

use super::*;
use crate::kv::journal::{Chain, Position};
use crate::kv::sled::{POSITION, Standing, encode_standing};

/// A closed store with two commits, and their positions.
fn two_commits(dir: &Path) -> [Position; 2] {
    let store = open(dir).unwrap();
    let mut positions = Vec::new();
    for writes in [vec![put(b"a", b"1"), put(b"b", b"1")], vec![put(b"a", b"2"), delete(b"b"), put(b"c", b"2")]] {
        run(commit(&store, writes)).unwrap();
        positions.push(store.statistics().last);
    }
    run(store.close()).unwrap();
    positions.try_into().unwrap()
}

fn change_index(dir: &Path, standing: Standing, change: impl FnOnce(&::sled::Db)) {
    let db = ::sled::open(dir.join("index")).unwrap();
    db.insert(POSITION, encode_standing(standing)).unwrap();
    change(&db);
    db.flush().unwrap();
}

fn assert_whole(dir: &Path) {
    let entry = |key: &[u8]| Entry { key: key.to_vec(), value: b"2".to_vec(), version: 2 };
    assert_eq!(run(all(&open(dir).unwrap())), [entry(b"a"), entry(b"c")]);
}

#[test]
fn what_is_missing_of_a_commit_is_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = two_commits(dir.path());
    change_index(dir.path(), Standing { complete: first, begun: second }, |db| {
        db.insert(b"b", [&1_u64.to_le_bytes()[..], b"1"].concat()).unwrap(); // as the first commit left it
        db.remove(b"c").unwrap();
    });
    assert_whole(dir.path());
    assert!(!dir.path().join("index.broken-1").exists());
}

#[test]
fn parts_of_commits_that_the_journal_does_not_have_are_thrown_away() {
    let other = Chain([9; 32]);
    for begun in [Position { sequence: 3, chain: other }, Position { sequence: 2, chain: other }] {
        let dir = tempfile::tempdir().unwrap();
        let [first, _] = two_commits(dir.path());
        change_index(dir.path(), Standing { complete: first, begun }, |db| {
            db.insert(b"x", [&3_u64.to_le_bytes()[..], b"3"].concat()).unwrap();
        });
        assert_whole(dir.path());
        assert!(dir.path().join("index.broken-1").exists());
    }
}
