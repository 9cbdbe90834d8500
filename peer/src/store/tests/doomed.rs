//! What is condemned is dropped, unless somebody was told since that it is here.

use common::inventory::{Sums, part_of};

use super::*;

#[tokio::test]
async fn only_what_is_condemned_and_untouched_since_is_dropped() {
    let store = open(&MemoryDisk::new());
    let bodies: Vec<_> = (0..4).map(|seed| body(seed, 900)).collect();
    let keys: Vec<_> = bodies.iter().map(|body| key(ALICE, body)).collect();
    for body in &bodies {
        put(&store, ALICE, body).await.unwrap();
    }
    store.delete(keys[3]).await.unwrap();
    assert!(!store.drop_condemned(keys[0]).await.unwrap());
    let missing = key(BOB, &bodies[0]);
    assert_eq!(store.condemn(1, &[keys[0], keys[1], keys[2], keys[3], missing]), Some(3));
    assert!(store.touch(&keys[0]));
    assert!(put(&store, ALICE, &bodies[1]).await.unwrap().existed);
    assert!(!put(&store, ALICE, &bodies[3]).await.unwrap().existed);
    let mut dropped = Vec::new();
    for key in &keys {
        dropped.push(store.drop_condemned(*key).await.unwrap());
    }
    assert_eq!(dropped, [false, false, true, false]);
    assert!(!store.touch(&keys[2]), "it is in the trash");
    assert!(!store.drop_condemned(missing).await.unwrap());
}

#[tokio::test]
async fn the_note_is_bounded_and_another_start_of_the_directory_empties_it() {
    let store = open(&MemoryDisk::new());
    let body = body(1, 10);
    put(&store, ALICE, &body).await.unwrap();
    let known = key(ALICE, &body);
    assert_eq!(store.condemn(5, &[known]), Some(1));
    let other = |i: u32| {
        let mut address = [0; 20];
        address[..4].copy_from_slice(&i.to_le_bytes());
        ShardKey { account: ALICE, address: ShardAddress(address) }
    };
    let many: Vec<_> = (0..65_536).map(other).collect();
    assert_eq!(store.condemn(5, &many), None);
    assert_eq!(store.condemn(5, &many[1..]), Some(0));
    assert_eq!(store.condemn(4, &[]), Some(0));
    assert_eq!(store.condemn(6, &[]), Some(0));
    assert!(!store.drop_condemned(known).await.unwrap());
}

/// A drop is held in the middle, before its note is durable. Who asks meanwhile must not be told that the shard is here.
#[test]
fn while_a_drop_is_under_way_the_shard_is_stored_anew_behind_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let disk = MemoryDisk::new();
        let store = open(&disk);
        let body = body(1, 5_000);
        let key = key(ALICE, &body);
        put(&store, ALICE, &body).await.unwrap();
        assert_eq!(store.condemn(1, &[key]), Some(1));
        let (held, go) = disk.hold_next_sync();
        let dropping = tokio::spawn({
            let store = store.clone();
            async move { store.drop_condemned(key).await }
        });
        tokio::task::spawn_blocking(move || held.recv().unwrap()).await.unwrap();
        assert_eq!(state(&store, ALICE, &body), "live", "it is not in the trash yet");
        assert!(!store.touch(&key), "but nobody is promised that it stays");
        let again = tokio::spawn({
            let (store, body) = (store.clone(), body.clone());
            async move { put(&store, ALICE, &body).await }
        });
        go.send(()).unwrap();
        assert!(dropping.await.unwrap().unwrap());
        assert!(!again.await.unwrap().unwrap().existed);
        assert_eq!(state(&store, ALICE, &body), "live");
        assert!(!store.drop_condemned(key).await.unwrap());
        drop(store);
        assert_eq!(state(&open(&disk), ALICE, &body), "live");
    });
}

#[tokio::test]
async fn sums_and_lists_of_parts_follow_what_is_here() {
    let disk = MemoryDisk::new();
    let mut store = open(&disk);
    let bodies: Vec<_> = (0..60).map(|seed| body(seed, 10)).collect();
    for (at, body) in bodies.iter().enumerate() {
        for account in [ALICE, BOB] {
            put(&store, account, body).await.unwrap();
            if at % 3 == 0 && account == BOB {
                store.delete(key(account, body)).await.unwrap();
            }
        }
    }
    for reopened in [false, true] {
        if reopened {
            drop(store);
            store = open(&disk);
        }
        let mut expected = Sums::default();
        let all = store.list(None, 1_000);
        assert_eq!(all.len(), 120);
        for shard in all.iter().filter(|shard| shard.state == ShardState::Live) {
            expected.add(shard.account, shard.address, shard.chunk);
        }
        assert_eq!(store.sums(), expected);
        for limit in [1, 2, 1_000] {
            let mut listed = 0;
            for part in 0..=255 {
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let (page, more) = store.list_part(part, after, limit);
                    assert!(page.len() == limit || !more);
                    after = page.last().map(|last| ShardKey { account: last.account, address: last.address });
                    found.extend(page);
                    if !more {
                        break;
                    }
                }
                let of_part: Vec<_> = all.iter().filter(|shard| part_of(&shard.address) == part).copied().collect();
                assert_eq!(found, of_part, "part {part}, pages of {limit}");
                listed += found.len();
            }
            assert_eq!(listed, all.len());
        }
    }
}
