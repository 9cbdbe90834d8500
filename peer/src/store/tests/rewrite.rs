//! Segments that are mostly empty: what lives in them is found elsewhere afterwards, unchanged, and they go.

use common::time::Timestamp;

use super::*;

const EVER: Timestamp = Timestamp(u64::MAX);
/// Fifteen of them fill a segment; holes give nothing of them back.
const LEN: usize = 3_000;

/// A store with this many segments, each full of small shards, of which all but the first are dropped, and purged if so wished.
async fn mostly_empty(disk: &MemoryDisk, segments: u64, purge: bool) -> (Store, Vec<Vec<u8>>) {
    let store = open(disk);
    let mut kept = Vec::new();
    for seed in 0..segments * 15 {
        put(&store, ALICE, &body(seed, LEN)).await.unwrap();
    }
    for seed in 0..segments * 15 {
        if seed % 15 == 0 {
            kept.push(body(seed, LEN));
        } else {
            store.delete(key(ALICE, &body(seed, LEN))).await.unwrap();
        }
    }
    if purge {
        store.purge(EVER, usize::MAX).await.unwrap();
    }
    (store, kept)
}

fn segments(disk: &MemoryDisk) -> usize {
    disk.names("segments/").len()
}

#[tokio::test]
async fn what_lives_in_a_mostly_empty_segment_is_copied_and_the_segment_goes() {
    for hints in [true, false] {
        let disk = MemoryDisk::new();
        let (store, kept) = mostly_empty(&disk, 3, true).await;
        store.reclaim().await.unwrap();
        let (before, many) = (store.list(None, 100), segments(&disk));
        assert_eq!((before.len(), many >= 8), (3, true), "{many}: they still name what is gone");
        assert_eq!(store.rewrite(1).await.unwrap(), 4096, "a little at a time");
        assert_eq!(store.rewrite(u64::MAX).await.unwrap(), 2 * 4096);
        assert_eq!(store.rewrite(u64::MAX).await.unwrap(), 0);
        store.reclaim().await.unwrap();
        assert!(segments(&disk) <= 2, "{:?}", disk.names("segments/"));
        assert!(store.usage().unwrap().used <= 2 * 16 * 4096);
        assert_eq!(store.list(None, 100), before, "nothing else is known of them than before");
        drop(store);
        if !hints {
            disk.names("hints/").iter().for_each(|name| disk.set(name, None));
        }
        let store = open(&disk);
        assert_eq!(store.list(None, 100), before);
        for body in &kept {
            assert_eq!(get(&store, ALICE, body).await.unwrap(), *body);
        }
    }
}

#[tokio::test]
async fn a_copy_counts_and_is_dropped_like_any_other_shard() {
    let disk = MemoryDisk::new();
    let (store, kept) = mostly_empty(&disk, 2, true).await;
    assert_eq!(store.rewrite(u64::MAX).await.unwrap(), 2 * 4096);
    drop(store); // before the segments could go
    let store = open(&disk);
    for body in &kept {
        assert_eq!(state(&store, ALICE, body), "live");
        store.delete(key(ALICE, body)).await.unwrap();
    }
    store.purge(EVER, 100).await.unwrap();
    store.reclaim().await.unwrap();
    drop(store);
    assert_eq!(open(&disk).list(None, 100), []);
}

#[tokio::test]
async fn what_is_in_the_trash_is_waited_for() {
    let disk = MemoryDisk::new();
    let (store, _) = mostly_empty(&disk, 2, false).await;
    assert_eq!(store.rewrite(u64::MAX).await.unwrap(), 0);
}

#[tokio::test]
async fn a_shard_that_is_damaged_is_put_aside_and_not_copied() {
    let disk = MemoryDisk::new();
    let (store, kept) = mostly_empty(&disk, 2, true).await;
    let name = disk.names("segments/").first().cloned().unwrap();
    let mut bytes = disk.bytes(&name);
    bytes[4096 + 256 + 7] ^= 1;
    disk.set(&name, Some(bytes));
    assert_eq!(store.rewrite(u64::MAX).await.unwrap(), 4096);
    let states: Vec<_> = kept.iter().map(|body| state(&store, ALICE, body)).collect();
    assert_eq!(states, ["quarantined", "live"]);
}
