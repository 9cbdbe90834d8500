//! Room given back: what is purged goes for good, what is not stays whole, and the store knows how much it takes.

use common::time::{Clock, Timestamp};

use super::*;

const EVER: Timestamp = Timestamp(u64::MAX);

/// Two bodies a segment, of six pages each.
const LEN: usize = 6 * 4096 - 256;

async fn filled(disk: &MemoryDisk, count: u64) -> (Store, Vec<Vec<u8>>) {
    let store = open(disk);
    let bodies: Vec<_> = (0..count).map(|seed| body(seed, LEN)).collect();
    for body in &bodies {
        put(&store, ALICE, body).await.unwrap();
    }
    (store, bodies)
}

fn used(store: &Store) -> u64 {
    store.usage().unwrap().used / 4096
}

/// The same store after a restart, that finds what is here by its hints, or by scanning.
fn reopened(store: Store, disk: &MemoryDisk, hints: bool) -> Store {
    drop(store);
    if !hints {
        disk.names("hints/").iter().for_each(|name| disk.set(name, Some(vec![1])));
    }
    open(disk)
}

#[tokio::test]
async fn what_is_purged_is_gone_for_good_and_its_pages_are_given_back() {
    for hints in [true, false] {
        let disk = MemoryDisk::new();
        let (store, bodies) = filled(&disk, 5).await;
        assert_eq!(used(&store), 3 + 5 * 6);
        for body in [&bodies[1], &bodies[4]] {
            store.delete(key(ALICE, body)).await.unwrap();
        }
        assert_eq!(store.reclaim().await.unwrap(), 0);
        assert_eq!(store.purge(EVER, 100).await.unwrap(), 2);
        let before = used(&store);
        assert_eq!(store.reclaim().await.unwrap(), 2 * 5 * 4096);
        assert_eq!(used(&store), before - 2 * 5);
        assert_eq!(store.reclaim().await.unwrap(), 0);
        let store = reopened(store, &disk, hints);
        assert_eq!(used(&store), before - 2 * 5, "hints {hints}");
        for (at, body) in bodies.iter().enumerate() {
            let gone = at == 1 || at == 4;
            assert_eq!(state(&store, ALICE, body), if gone { "none" } else { "live" }, "{at}");
            match store.verify(key(ALICE, body)).await {
                Err(StoreError::NotFound { .. }) => assert!(gone),
                other => assert!(!gone && other.is_ok()),
            }
        }
        assert_eq!((store.recovery().void_records, store.recovery().damaged_pages), (0, 0));
        assert!(!put(&store, ALICE, &bodies[1]).await.unwrap().existed);
        assert_eq!(get(&store, ALICE, &bodies[1]).await.unwrap(), bodies[1]);
    }
}

#[tokio::test]
async fn a_crash_between_the_note_and_the_holes_costs_nothing_and_the_next_start_makes_them() {
    let disk = MemoryDisk::new();
    let (store, bodies) = filled(&disk, 3).await;
    store.delete(key(ALICE, &bodies[0])).await.unwrap();
    store.purge(EVER, 100).await.unwrap();
    let before = used(&store);
    let store = reopened(store, &disk, true);
    assert_eq!((used(&store), state(&store, ALICE, &bodies[0])), (before, "none"));
    assert_eq!(store.reclaim().await.unwrap(), 5 * 4096);
    assert_eq!(used(&store), before - 5);
    let store = reopened(store, &disk, true);
    assert_eq!(store.reclaim().await.unwrap(), 0, "they are there already");
    assert_eq!(used(&store), before - 5);
}

#[tokio::test]
async fn the_oldest_goes_first_and_nothing_that_is_wanted_again() {
    let disk = MemoryDisk::new();
    let clock = Clock::manual(Timestamp(100));
    let store = Store::open_on(Arc::new(disk), StoreOptions { clock: clock.clone(), ..small_segments() }).unwrap();
    let bodies: Vec<_> = (0..4).map(|seed| body(seed, 5_000)).collect();
    for body in &bodies {
        put(&store, ALICE, body).await.unwrap();
        store.delete(key(ALICE, body)).await.unwrap();
        clock.advance(std::time::Duration::from_millis(10));
    }
    store.restore(key(ALICE, &bodies[0])).await.unwrap();
    assert_eq!(store.purge(Timestamp(109), 100).await.unwrap(), 0);
    assert_eq!(store.purge(Timestamp(125), 1).await.unwrap(), 1);
    let states: Vec<_> = bodies.iter().map(|body| state(&store, ALICE, body)).collect();
    assert_eq!(states, ["live", "none", "trash", "trash"]);
    assert_eq!(store.purge_for(1).await.unwrap(), 1, "as much as is needed");
    assert_eq!(store.purge_for(1 << 30).await.unwrap(), 1);
    assert_eq!(store.purge_for(1 << 30).await.unwrap(), 0);
    assert_eq!(state(&store, ALICE, &bodies[0]), "live");
}

#[tokio::test]
async fn bodies_that_were_stored_again_and_writes_that_failed_are_given_back_too() {
    let disk = MemoryDisk::new();
    let (store, bodies) = filled(&disk, 2).await;
    store.delete(key(ALICE, &bodies[0])).await.unwrap();
    put(&store, ALICE, &bodies[0]).await.unwrap();
    assert_eq!(store.reclaim().await.unwrap(), 5 * 4096);
    disk.tear_next_write(rustix::io::Errno::IO.raw_os_error());
    assert!(put(&store, ALICE, &body(9, LEN)).await.is_err());
    assert_eq!(store.reclaim().await.unwrap(), 5 * 4096);
    for body in &bodies {
        store.verify(key(ALICE, body)).await.unwrap();
    }
}

#[tokio::test]
async fn segments_that_hold_nothing_any_more_are_removed() {
    let disk = MemoryDisk::new();
    let (mut store, bodies) = filled(&disk, 10).await;
    for round in 0..3 {
        for body in &bodies {
            store.delete(key(ALICE, body)).await.unwrap();
        }
        assert_eq!(store.purge(EVER, 100).await.unwrap(), 10);
        store.close().await.unwrap(); // the next note begins another segment
        while store.reclaim().await.unwrap() > 0 {}
        store = reopened(store, &disk, true);
        while store.reclaim().await.unwrap() > 0 {}
        assert_eq!(disk.names("segments/"), Vec::<String>::new(), "{round}");
        assert_eq!(disk.names("hints/"), Vec::<String>::new(), "{round}");
        assert_eq!((used(&store), store.list(None, 10)), (0, vec![]));
        for body in &bodies {
            assert!(!put(&store, ALICE, body).await.unwrap().existed);
        }
    }
    let store = reopened(store, &disk, false);
    assert_eq!(store.usage().unwrap().tallies.live.shards, 10);
}

#[tokio::test]
async fn notes_outlive_the_shards_that_they_are_about() {
    let disk = MemoryDisk::new();
    let (store, bodies) = filled(&disk, 2).await; // both in the first segment
    store.close().await.unwrap();
    store.delete(key(ALICE, &bodies[0])).await.unwrap();
    store.purge(EVER, 100).await.unwrap();
    store.close().await.unwrap();
    store.reclaim().await.unwrap();
    assert_eq!(disk.names("segments/").len(), 2, "the second has nothing but a say over the first");
    for hints in [true, false] {
        assert_eq!(state(&reopened(open(&disk.after_kill()), &disk, hints), ALICE, &bodies[0]), "none");
    }
    let store = reopened(store, &disk, true);
    store.delete(key(ALICE, &bodies[1])).await.unwrap();
    store.purge(EVER, 100).await.unwrap();
    store.close().await.unwrap();
    while store.reclaim().await.unwrap() > 0 {}
    assert_eq!(disk.names("segments/").len(), 0);
}

#[tokio::test]
async fn without_holes_whole_segments_alone_are_given_back() {
    let disk = MemoryDisk::new();
    disk.make_no_holes();
    let (store, bodies) = filled(&disk, 3).await;
    for body in &bodies {
        store.delete(key(ALICE, body)).await.unwrap();
    }
    assert!(store.makes_holes(), "it is not known yet");
    store.purge(EVER, 100).await.unwrap();
    assert!(store.reclaim().await.unwrap() >= 13 * 4096, "the first segment");
    assert!(!store.makes_holes());
    let before = used(&store);
    assert_eq!(used(&reopened(store, &disk, true)), before);
}

#[tokio::test]
async fn a_real_disk_gets_its_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().into(), options()).await.unwrap();
    let bodies: Vec<_> = (0..3).map(|seed| body(seed, 1 << 20)).collect();
    for body in &bodies {
        put(&store, ALICE, body).await.unwrap();
    }
    store.delete(key(ALICE, &bodies[1])).await.unwrap();
    store.purge(EVER, 10).await.unwrap();
    let (before, given) = (store.usage().unwrap().used, store.reclaim().await.unwrap());
    assert_eq!(given, if store.makes_holes() { 1 << 20 } else { 0 });
    store.close().await.unwrap();
    drop(store);
    let store = Store::open(dir.path().into(), options()).await.unwrap();
    let used = store.usage().unwrap().used;
    assert!(used.abs_diff(before - given) <= 64 << 10, "{used}, {before} less {given}"); // the file system's own tables
    for body in [&bodies[0], &bodies[2]] {
        store.verify(key(ALICE, body)).await.unwrap();
    }
}

/// A read is held while its shard is purged. Zeros must not pass for the shard's bytes, nor for damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_while_a_shard_is_purged_gets_its_bytes_or_none() {
    let disk = MemoryDisk::new();
    let (store, bodies) = filled(&disk, 2).await;
    store.delete(key(ALICE, &bodies[0])).await.unwrap();
    let (held, go) = disk.hold_next_read();
    let reading = tokio::spawn({
        let (store, body) = (store.clone(), bodies[0].clone());
        async move { store.verify(key(ALICE, &body)).await }
    });
    tokio::task::spawn_blocking(move || held.recv().unwrap()).await.unwrap();
    assert_eq!(store.purge(EVER, 100).await.unwrap(), 1);
    assert_eq!(store.reclaim().await.unwrap(), 5 * 4096);
    go.send(()).unwrap();
    let read = reading.await.unwrap();
    assert!(matches!(read, Err(StoreError::NotFound { .. })), "{read:?}");
    assert_eq!(store.usage().unwrap().tallies.quarantined.shards, 0);
}
