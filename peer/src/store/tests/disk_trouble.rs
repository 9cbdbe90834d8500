//! A disk that is full, fails a write, or fails a sync.

use super::*;
use rustix::io::Errno;

#[tokio::test]
async fn what_does_not_fit_is_refused_before_it_is_sent() {
    let disk = MemoryDisk::new();
    let tiny = StoreOptions { capacity: Some(ByteSize(5 * 4096)), ..small_segments() };
    let store = Store::open_on(Arc::new(disk.clone()), tiny).unwrap();
    put(&store, ALICE, &body(1, 7_900)).await.unwrap();
    let usage = store.usage().unwrap();
    assert_eq!((usage.used, usage.free, usage.capacity), (3 * 4096, 2 * 4096, Some(5 * 4096)));
    let refused = store.reserve(7_900 + 4096).await.map(drop);
    assert!(matches!(refused, Err(StoreError::Full { free: 8192, wanted: 12_288 })), "{refused:?}");
    put(&store, ALICE, &body(2, 7_000)).await.unwrap();
    assert!(matches!(put(&store, ALICE, b"x").await, Err(StoreError::Full { free: 0, .. })));
    store.delete(key(ALICE, &body(1, 7_900))).await.unwrap();
    assert_eq!(state(&store, ALICE, &body(1, 7_900)), "trash", "notes are taken by a full store");
    drop(store);

    let store = open(&disk);
    disk.set_free(100);
    assert!(matches!(put(&store, ALICE, b"x").await, Err(StoreError::Full { free: 100, wanted: 4096 })));
}

#[tokio::test]
async fn a_failed_write_leaves_nothing_behind_and_the_store_goes_on() {
    for (errno, full) in [(Errno::NOSPC, true), (Errno::IO, false)] {
        let disk = MemoryDisk::new();
        let store = open(&disk);
        put(&store, ALICE, b"before").await.unwrap();
        disk.tear_next_write(errno.raw_os_error());
        let torn = body(1, 9_000);
        match put(&store, ALICE, &torn).await {
            Err(StoreError::Full { .. }) => assert!(full),
            Err(StoreError::Io { .. }) => assert!(!full),
            other => panic!("{other:?}"),
        }
        assert_eq!(state(&store, ALICE, &torn), "none");
        put(&store, ALICE, b"after").await.unwrap();
        store.close().await.unwrap();
        for hint in [true, false] {
            if !hint {
                disk.set("hints/00000001.hint", Some(vec![1]));
            }
            let again = open(&disk);
            assert_eq!(state(&again, ALICE, &torn), "none", "headers alone must tell, hint {hint}");
            assert_eq!((state(&again, ALICE, b"before"), state(&again, ALICE, b"after")), ("live", "live"));
        }
        put(&store, ALICE, &torn).await.unwrap();
        assert_eq!(get(&store, ALICE, &torn).await.unwrap(), torn);
    }
}

#[tokio::test]
async fn a_failed_sync_ends_writing_but_not_reading() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    put(&store, ALICE, b"before").await.unwrap();
    disk.cut_power_at_sync(0);
    for _ in 0..2 {
        assert!(matches!(put(&store, ALICE, b"not durable").await, Err(StoreError::Poisoned { .. })));
        assert!(matches!(store.delete(key(ALICE, b"before")).await, Err(StoreError::Poisoned { .. })));
    }
    assert_eq!(get(&store, ALICE, b"before").await.unwrap(), "before".as_bytes());
    assert_eq!(state(&store, ALICE, b"not durable"), "none");
}

#[tokio::test]
async fn what_cannot_be_read_any_more_is_put_aside_by_a_check() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let bodies = [body(1, 3_000), body(2, 9_000)];
    for body in &bodies {
        put(&store, ALICE, body).await.unwrap();
    }
    store.close().await.unwrap();
    let first = disk.bytes("segments/00000001.seg");
    disk.set("segments/00000001.seg", Some(first[..3 * 4096].to_vec()));
    let mut found = Vec::new();
    for body in [&bodies[0], &bodies[1], &body(3, 10)] {
        found.push(store.scrub(key(ALICE, body)).await.unwrap());
    }
    assert_eq!(found, [Found::Whole, Found::Damaged, Found::Gone]);
    assert_eq!(state(&store, ALICE, &bodies[1]), "quarantined");
    assert!(!put(&store, ALICE, &bodies[1]).await.unwrap().existed, "and it is healed by a new write");
    assert_eq!(store.scrub(key(ALICE, &bodies[1])).await.unwrap(), Found::Whole);
}
