//! A journal whose end is torn, or whose middle is damaged.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::kv::folder::State;
use crate::kv::journal::{JournalError, Position};
use crate::kv::open::journal_path;
use crate::kv::reached;

const COMMITS: u8 = 12;

/// The only segment of a store that was killed, and where each of its records ends.
fn killed(dir: &Path) -> (PathBuf, Vec<usize>) {
    let wide = Options { segment_bytes: common::size::ByteSize::mib(1), ..options() };
    let store = Embedded::open(dir, CLUSTER, &wide).unwrap();
    let mut ends = vec![];
    run(async {
        for n in 0..COMMITS {
            commit(&store, vec![put(&[n], &[n; 30])]).await.unwrap();
            ends.push(usize::try_from(store.statistics().bytes).unwrap());
        }
    });
    drop(store);
    (fs::read_dir(journal_path(dir)).unwrap().next().unwrap().unwrap().path(), ends)
}

/// As it is after a power cut: no word about an end or about how far it had come, and no index.
fn forget_index(dir: &Path) {
    reached::forget(dir).unwrap();
    let last = Position::start(&CLUSTER);
    State { running: Some("other".into()), last }.write(dir).unwrap();
    fs::remove_dir_all(dir.join("index")).ok();
}

#[test]
fn a_torn_last_record_is_cut_away_at_every_offset_and_the_store_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (file, ends) = killed(dir.path());
    let bytes = fs::read(&file).unwrap();
    let [.., before, end] = ends[..] else { panic!() };
    assert_eq!(end, bytes.len());
    for cut in before..end {
        // What did not reach the disk is missing, or zeros.
        for zeros in [0, end - cut] {
            let torn = [&bytes[..cut], &vec![0; zeros]].concat();
            if torn == bytes {
                continue;
            }
            fs::write(&file, torn).unwrap();
            forget_index(dir.path());
            let store = open(dir.path()).unwrap();
            assert_eq!(store.last_sequence(), u64::from(COMMITS) - 1, "cut at {cut}, {zeros} zeros");
            assert_eq!(store.statistics().bytes, before as u64);
            if cut % 16 == 0 {
                assert_eq!(run(all(&store)).len(), usize::from(COMMITS) - 1);
                assert_eq!(run(commit(&store, vec![put(b"on", b"")])).unwrap(), u64::from(COMMITS));
                drop(store);
                assert_eq!(open(dir.path()).unwrap().last_sequence(), u64::from(COMMITS));
            }
        }
    }
}

#[test]
fn a_bit_that_flips_before_the_last_record_is_damage_and_nothing_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (file, ends) = killed(dir.path());
    let bytes = fs::read(&file).unwrap();
    let last = ends[ends.len() - 2];
    for place in (0..last).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        fs::write(&file, &damaged).unwrap();
        forget_index(dir.path());
        match open(dir.path()).err() {
            Some(OpenError::Journal(JournalError::Damaged { offset, .. })) => assert!(offset <= place as u64),
            Some(OpenError::Journal(JournalError::Newer { .. })) => assert!((8..10).contains(&place)),
            other => panic!("byte {place}: {other:?}"),
        }
        assert_eq!(fs::read(&file).unwrap(), damaged);
    }
}

#[test]
fn a_damaged_last_record_that_the_index_has_seen_is_no_torn_write() {
    let dir = tempfile::tempdir().unwrap();
    let (file, _) = killed(dir.path());
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Journal(JournalError::Damaged { .. }))));
}

#[test]
fn a_journal_that_ends_before_what_was_synced_is_refused_whatever_the_index_has_seen() {
    for index in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (file, ends) = killed(dir.path());
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..ends[ends.len() - 3]]).unwrap();
        if !index {
            fs::remove_dir_all(dir.path().join("index")).unwrap();
        }
        let short = |error: Option<OpenError>| {
            let (recorded, found) = (u64::from(COMMITS), u64::from(COMMITS) - 2);
            assert!(
                matches!(error, Some(OpenError::JournalShort { recorded: r, found: f }) if (r, f) == (recorded, found))
            );
        };
        short(open(dir.path()).err());
        short(open(dir.path()).err()); // trying again does not help
        // Whoever wants to go on with what there is removes what says otherwise.
        fs::remove_file(dir.path().join("state")).unwrap();
        assert_eq!(run(all(&open(dir.path()).unwrap())).len(), usize::from(COMMITS) - 2);
    }
}
