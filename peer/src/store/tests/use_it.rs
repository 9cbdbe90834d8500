//! What callers see: round trips, ranges, refusals, accounts, budgets.

use super::*;

#[tokio::test]
async fn shards_of_every_length_round_trip_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("new/peer"), options()).await.unwrap();
    for len in [0, 1, 3839, 3840, 3841, 4095, 4096, 2 << 20, SHARD_BYTES] {
        let body = body(len as u64, len);
        assert_eq!(put(&store, ALICE, &body).await.unwrap(), Stored { existed: false }, "{len}");
        assert_eq!(put(&store, ALICE, &body).await.unwrap(), Stored { existed: true }, "{len}");
        assert_eq!(get(&store, ALICE, &body).await.unwrap(), body, "{len}");
        store.verify(key(ALICE, &body)).await.unwrap();
    }
    let usage = store.usage().unwrap();
    assert_eq!(usage.tallies.live.shards, 9);
    assert_eq!(usage.used, usage.tallies.live.bytes + 4096);
}

#[tokio::test]
async fn any_range_inside_of_a_shard_is_read_and_none_outside() {
    let store = open(&MemoryDisk::new());
    let body = body(1, 10_000);
    put(&store, ALICE, &body).await.unwrap();
    let key = key(ALICE, &body);
    for (offset, len) in [(0, 1), (0, 10_000), (3839, 2), (3840, 4096), (9999, 1), (10_000, 0), (5, 0)] {
        let read = store.read(key, offset as u64, len).await.unwrap();
        assert_eq!(read, body[offset..offset + len], "{offset} {len}");
    }
    for (offset, len) in [(0, 10_001), (10_000, 1), (10_001, 0), (u64::MAX, 1), (1, usize::MAX)] {
        let refused = store.read(key, offset, len).await;
        assert!(matches!(refused, Err(StoreError::OutOfRange { .. })), "{offset} {len}: {refused:?}");
    }
}

#[tokio::test]
async fn only_bytes_of_the_expected_address_and_length_are_taken() {
    let store = open(&MemoryDisk::new());
    let mut wrong = store.reserve(3).await.unwrap();
    wrong.extend_from_slice(b"abd").unwrap();
    let refused = wrong.finish(ShardAddress::of(b"abc"));
    assert!(matches!(refused, Err(StoreError::AddressMismatch { .. })));

    let mut short = store.reserve(4).await.unwrap();
    short.extend_from_slice(b"abc").unwrap();
    assert_eq!(short.missing(), 1);
    let refused = short.finish(ShardAddress::of(b"abc"));
    assert!(matches!(refused, Err(StoreError::Incomplete { announced: 4, got: 3 })));

    let mut long = store.reserve(2).await.unwrap();
    assert!(matches!(long.extend_from_slice(b"abc"), Err(StoreError::TooLong { wanted: 3, limit: 2 })));
    assert!(matches!(store.reserve(SHARD_BYTES + 1).await, Err(StoreError::TooLong { .. })));

    let shard = verified(&store, b"abc").await.unwrap();
    let refused = store.write(shard, ShardMeta { index: 3, ..meta(ALICE, b"abc") }).await;
    assert!(matches!(refused, Err(StoreError::NoSuchIndex { index: 3, n: 3 })));
    assert_eq!(store.usage().unwrap().tallies, Tallies::default());
}

#[tokio::test]
async fn accounts_are_disjoint() {
    let store = open(&MemoryDisk::new());
    let body = body(1, 100);
    put(&store, ALICE, &body).await.unwrap();
    assert!(matches!(get(&store, BOB, &body).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.delete(key(BOB, &body)).await, Err(StoreError::NotFound { .. })));
    assert_eq!(put(&store, BOB, &body).await.unwrap(), Stored { existed: false }, "nothing is learned from a put");
    store.delete(key(ALICE, &body)).await.unwrap();
    assert_eq!((state(&store, ALICE, &body), state(&store, BOB, &body)), ("trash", "live"));
}

#[tokio::test]
async fn the_list_is_paged_and_complete() {
    let store = open(&MemoryDisk::new());
    let mut expected = Vec::new();
    for seed in 0..10 {
        let body = body(seed, 50);
        put(&store, if seed % 2 == 0 { ALICE } else { BOB }, &body).await.unwrap();
        expected.push(key(if seed % 2 == 0 { ALICE } else { BOB }, &body));
    }
    expected.sort_unstable();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(after, 3);
        let Some(last) = page.last() else { break };
        after = Some(ShardKey { account: last.account, address: last.address });
        listed.extend(page.iter().map(|info| ShardKey { account: info.account, address: info.address }));
    }
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn of_concurrent_writes_of_one_shard_one_is_written() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.spawn(async move { put(&store, ALICE, &body(1, 9_000)).await.unwrap() });
    }
    let written = tasks.join_all().await.iter().filter(|stored| !stored.existed).count();
    assert_eq!((written, disk.writes()), (1, 2), "one shard and the segment's header");
    assert_eq!(get(&store, ALICE, &body(1, 9_000)).await.unwrap(), body(1, 9_000));
}

#[tokio::test]
async fn buffers_and_readers_wait_for_their_budgets() {
    let disk = MemoryDisk::new();
    let options = StoreOptions { buffers: ByteSize(0), ..options() };
    let store = Store::open_on(Arc::new(disk), options).unwrap();
    let one = store.reserve(SHARD_BYTES).await.unwrap();
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.reserve(SHARD_BYTES).await.map(drop) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "two of the longest do not fit into the smallest budget with their headers");
    drop(one);
    waiting.await.unwrap().unwrap();
}
