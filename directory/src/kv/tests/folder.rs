//! The data folder: who may open it, and what happens to an index that is of no use.

use std::fs;
use std::sync::Arc;

use super::*;
use crate::kv::StoreError;
use crate::kv::folder::State;
use crate::kv::journal::disk::Folder;
use crate::kv::journal::{self, Position};
use crate::kv::open::{World, journal_path};

/// A store with some history over several segments, and what is in it.
fn filled(dir: &Path) -> Vec<Entry> {
    run(async {
        let store = open(dir).unwrap();
        for n in 0..60_u8 {
            let writes = vec![put(&[n % 7], &[n; 200]), put(&[100 + n], b"x"), delete(&[99 + n])];
            if n % 7 == 6 {
                let since = store.last_sequence();
                let writes = [writes, vec![amend(&[5], &[n; 90], since)]].concat();
                store.commit(vec![check(&[5], Some(since))], writes, Meta::default()).await.unwrap();
                continue;
            }
            commit(&store, writes).await.unwrap();
        }
        let entries = all(&store).await;
        store.close().await.unwrap();
        entries
    })
}

fn contents(dir: &Path) -> Vec<Entry> {
    run(async {
        let store = open(dir).unwrap();
        assert_eq!(store.last_sequence(), 60);
        all(&store).await
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.path().is_dir() {
            copy(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

#[test]
fn a_closed_store_opens_again_and_a_used_one_tells_by_whom() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    let held = open(dir.path()).unwrap();
    match open(dir.path()).err() {
        Some(OpenError::InUse { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
        other => panic!("{other:?}"),
    }
    drop(held);
    assert_eq!(contents(dir.path()), entries);
}

#[test]
fn a_closed_store_refuses_everything() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = open(dir.path()).unwrap();
        store.close().await.unwrap();
        assert!(matches!(store.get(&[b"a"]).await, Err(StoreError::Stopped { .. })));
        assert!(matches!(commit(&store, vec![]).await, Err(CommitError::Stopped { .. })));
        assert!(store.close().await.is_err());
    });
}

#[test]
fn a_newer_or_foreign_or_mangled_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let format = dir.path().join("format");
    let text = fs::read_to_string(&format).unwrap();
    fs::write(&format, text.replace("format 1", "format 9\nwhatever comes then")).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Newer { found: 9, known: 1, .. })));
    fs::write(&format, text.replace("07", "08")).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Foreign { .. })));
    for mangled in ["", "something", "shoal directory store\nformat x\n", "shoal directory store\nformat 0\ncluster a"]
    {
        fs::write(&format, mangled).unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Malformed { .. })), "{mangled:?}");
    }
    fs::write(&format, text).unwrap();
    assert_eq!(contents(dir.path()).len(), 8);
}

#[test]
fn an_index_that_is_gone_or_garbled_or_old_or_foreign_is_rebuilt_alike() {
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 8] = [
        ("with its end cut off", |index| {
            let db = index.join("db");
            let bytes = fs::read(&db).unwrap();
            let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
            fs::write(&db, &bytes[..used / 2]).unwrap();
        }),
        ("with wrong bits everywhere", |index| {
            let db = index.join("db");
            let mut bytes = fs::read(&db).unwrap();
            bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 4);
            fs::write(&db, bytes).unwrap();
        }),
        ("gone", |index| fs::remove_dir_all(index).unwrap()),
        ("garbage", |index| fs::write(index.join("db"), vec![0xa5; 300_000]).unwrap()),
        ("no configuration", |index| fs::write(index.join("conf"), b"nonsense").unwrap()),
        ("a file", |index| {
            fs::remove_dir_all(index).unwrap();
            fs::write(index, b"not a folder").unwrap();
        }),
        ("of another journal", |index| {
            let other = tempfile::tempdir().unwrap();
            run(async {
                let store = open(other.path()).unwrap();
                for n in 0..30_u8 {
                    commit(&store, vec![put(&[n], b"other")]).await.unwrap();
                }
                store.close().await.unwrap();
            });
            fs::remove_dir_all(index).unwrap();
            copy(&other.path().join("index"), index);
        }),
        ("empty", |index| {
            fs::remove_dir_all(index).unwrap();
            fs::create_dir(index).unwrap();
        }),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let entries = filled(dir.path());
        damage(&dir.path().join("index"));
        assert_eq!(contents(dir.path()), entries, "{name}");
        assert_eq!(contents(dir.path()), entries, "{name}, opened again");
    }
}

#[test]
fn an_older_index_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let store = open(dir.path()).unwrap();
        for n in 0..10_u8 {
            commit(&store, vec![put(&[n], b"early")]).await.unwrap();
        }
        store.close().await.unwrap();
    });
    let old = tempfile::tempdir().unwrap();
    copy(&dir.path().join("index"), old.path());
    run(async {
        let store = open(dir.path()).unwrap();
        for n in 0..50_u8 {
            commit(&store, vec![put(&[n], &[n; 100]), delete(&[n + 1])]).await.unwrap();
        }
        store.close().await.unwrap();
    });
    let entries = contents(dir.path());
    fs::remove_dir_all(dir.path().join("index")).unwrap();
    copy(old.path(), &dir.path().join("index"));
    assert_eq!(contents(dir.path()), entries);
    assert!(!dir.path().join("index.broken-1").exists());
}

#[test]
fn after_a_reboot_that_was_no_clean_end_the_index_is_rebuilt_and_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    let world =
        |boot: &str| World { disk: Arc::new(Folder { path: journal_path(dir.path()) }), boot: Some(boot.to_owned()) };
    // Each: the boot in which it is opened and then killed, and the index that is set aside by then.
    for (boot, aside) in [("one", None), ("one", None), ("two", Some(1)), ("two", Some(1)), ("three", Some(2))] {
        let store = Embedded::open_in(dir.path(), CLUSTER, &options(), &world(boot)).unwrap();
        assert_eq!(run(all(&store)), entries);
        drop(store);
        let kept: Vec<u32> = (0..9).filter(|n| dir.path().join(format!("index.broken-{n}")).exists()).collect();
        assert_eq!(kept, Vec::from_iter(aside), "{boot}");
    }
}

#[test]
fn a_journal_that_lost_files_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let mut files: Vec<_> = fs::read_dir(journal_path(dir.path())).unwrap().map(|item| item.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 3);
    let away = dir.path().join("away");
    for (place, expected) in [(files.len() - 1, "short"), (0, "gap"), (1, "gap")] {
        fs::rename(&files[place], &away).unwrap();
        fs::remove_dir_all(dir.path().join("index")).ok();
        match (open(dir.path()).err(), expected) {
            (Some(OpenError::JournalShort { recorded: 60, .. }), "short") => {}
            (Some(OpenError::Journal(_)), "gap") => {}
            (other, _) => panic!("{place}: {other:?}"),
        }
        fs::rename(&away, &files[place]).unwrap();
    }
    fs::rename(journal_path(dir.path()), &away).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::JournalShort { found: 0, .. })));
}

#[test]
fn an_index_ahead_of_its_journal_is_rebuilt_from_it() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let last = Position::start(&CLUSTER);
    let boot = crate::kv::folder::boot_id();
    crate::kv::reached::forget(dir.path()).unwrap();
    State { running: boot, last }.write(dir.path()).unwrap();
    let mut files: Vec<_> = fs::read_dir(journal_path(dir.path())).unwrap().map(|item| item.unwrap().path()).collect();
    files.sort();
    fs::remove_file(files.last().unwrap()).unwrap();
    let store = open(dir.path()).unwrap();
    assert!(store.last_sequence() < 60);
    assert!(dir.path().join("index.broken-1").exists());
}

#[test]
fn verify_walks_the_whole_journal_and_statistics_agree() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let report = journal::verify(&journal_path(dir.path()), CLUSTER).unwrap();
    assert_eq!((report.records, report.last.sequence), (60, 60));
    assert_eq!(open(dir.path()).unwrap().statistics(), report);
}

#[test]
fn below_the_reserve_commits_are_refused_and_reads_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    let full = Options { reserve: common::size::ByteSize(u64::MAX), ..options() };
    let store = Embedded::open(dir.path(), CLUSTER, &full).unwrap();
    run(async {
        assert!(matches!(commit(&store, vec![put(b"a", b"")]).await, Err(CommitError::StorageFull { .. })));
        assert_eq!(all(&store).await, entries);
        store.close().await.unwrap();
    });
    drop(store);
    assert_eq!(contents(dir.path()), entries);
}
