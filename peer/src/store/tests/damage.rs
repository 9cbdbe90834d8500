//! Damage on the disk: nothing wrong is believed, and the neighbours of what is hit stay.

use super::*;
use crate::store::record::{HEADER, PAGE};

const FIRST: &str = "segments/00000001.seg";

/// Four shards of three pages each in the first segment, at the pages 1, 4, 7 and 10.
async fn four(disk: &MemoryDisk, clean: bool) -> Vec<Vec<u8>> {
    let store = open(disk);
    let bodies: Vec<_> = (0..4).map(|seed| body(seed, 3 * PAGE - HEADER)).collect();
    for body in &bodies {
        put(&store, ALICE, body).await.unwrap();
    }
    if clean {
        store.close().await.unwrap();
    }
    bodies
}

fn flip(disk: &MemoryDisk, name: &str, at: usize) {
    let mut bytes = disk.bytes(name);
    bytes[at] ^= 4;
    disk.set(name, Some(bytes));
}

#[tokio::test]
async fn a_body_that_changed_goes_into_quarantine_for_good_and_a_new_write_heals_it() {
    let disk = MemoryDisk::new();
    let bodies = four(&disk, true).await;
    flip(&disk, FIRST, 5 * PAGE + 77);
    let mut store = open(&disk);
    for _ in 0..2 {
        let found = store.verify(key(ALICE, &bodies[1])).await;
        assert!(matches!(found, Err(StoreError::Quarantined { .. })), "{found:?}");
        assert!(matches!(get(&store, ALICE, &bodies[1]).await, Err(StoreError::Quarantined { .. })));
        let restored = store.restore(key(ALICE, &bodies[1])).await;
        assert!(matches!(restored, Err(StoreError::Quarantined { .. })), "{restored:?}");
        assert_eq!(store.usage().unwrap().tallies.quarantined.shards, 1);
        store.verify(key(ALICE, &bodies[2])).await.unwrap();
        drop(store);
        store = open(&disk);
    }
    assert_eq!(put(&store, ALICE, &bodies[1]).await.unwrap(), Stored { existed: false });
    drop(store);
    let store = open(&disk);
    for body in &bodies {
        store.verify(key(ALICE, body)).await.unwrap();
    }
    store.delete(key(ALICE, &bodies[1])).await.unwrap();
}

#[tokio::test]
async fn a_damaged_header_costs_one_shard_and_with_a_hint_none() {
    for hinted in [true, false] {
        let disk = MemoryDisk::new();
        let bodies = four(&disk, true).await;
        flip(&disk, FIRST, 4 * PAGE + 60);
        flip(&disk, FIRST, 10); // one of the two headers of the segment
        if !hinted {
            flip(&disk, "hints/00000001.hint", 50);
        }
        let store = open(&disk);
        for (at, body) in bodies.iter().enumerate() {
            let expected = if at == 1 && !hinted { "none" } else { "live" };
            assert_eq!(state(&store, ALICE, body), expected, "shard {at}, hinted {hinted}");
        }
        assert_eq!(store.recovery().damaged_pages, if hinted { 0 } else { 3 });
    }
}

#[tokio::test]
async fn a_body_that_looks_like_a_record_is_never_adopted() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    // Whoever makes bodies knows the format, the cluster and their account, but not the salt.
    put(&store, ALICE, b"the victim").await.unwrap();
    let mut real = disk.bytes(FIRST)[PAGE..2 * PAGE].to_vec();
    real[16..32].fill(0);
    let crc = crc32c::crc32c(&real[..252]);
    real[252..256].copy_from_slice(&crc.to_le_bytes());
    let mut forged = vec![0; PAGE - HEADER];
    for _ in 0..3 {
        forged.extend_from_slice(&real);
    }
    put(&store, BOB, &forged).await.unwrap();
    drop(store);
    flip(&disk, FIRST, 2 * PAGE); // the header before the forged ones is gone, so the scan walks over the body
    flip(&disk, FIRST, PAGE); // and the victim's own
    let store = open(&disk);
    assert_eq!(store.recovery().damaged_pages, 5);
    assert_eq!(store.list(None, 10), []);
}

#[tokio::test]
async fn a_segment_cut_anywhere_keeps_every_whole_shard_before() {
    for hinted in [true, false] {
        let whole = MemoryDisk::new();
        let bodies = four(&whole, hinted).await;
        let bytes = whole.bytes(FIRST);
        assert_eq!(bytes.len(), 13 * PAGE);
        for cut in (0..bytes.len()).step_by(509).chain((0..=13).map(|page| page * PAGE)) {
            let disk = whole.after_power_cut(memory::Unsynced::Kept);
            disk.set(FIRST, Some(bytes[..cut].to_vec()));
            let store = open(&disk);
            for (at, body) in bodies.iter().enumerate() {
                let expected = if cut >= (4 + 3 * at) * PAGE { "live" } else { "none" };
                assert_eq!(state(&store, ALICE, body), expected, "cut at {cut}, shard {at}, hinted {hinted}");
            }
            put(&store, ALICE, b"and it goes on").await.unwrap();
            drop(store);
            let store = open(&disk);
            assert_eq!(get(&store, ALICE, b"and it goes on").await.unwrap(), "and it goes on".as_bytes());
        }
    }
}

#[tokio::test]
async fn a_broken_body_in_an_unclosed_segment_is_made_void_and_stays_so() {
    let disk = MemoryDisk::new();
    let bodies = four(&disk, false).await;
    flip(&disk, FIRST, 5 * PAGE);
    assert_eq!(open(&disk).recovery().void_records, 1);
    flip(&disk, "hints/00000001.hint", 50); // the headers alone must tell it from now on
    let store = open(&disk);
    assert_eq!((store.recovery().scanned, store.recovery().void_records), (1, 0));
    let states: Vec<_> = bodies.iter().map(|body| state(&store, ALICE, body)).collect();
    assert_eq!(states, ["live", "none", "live", "live"]);
}

#[tokio::test]
async fn a_segment_without_any_readable_header_does_not_stop_the_others() {
    let disk = MemoryDisk::new();
    let first = four(&disk, true).await;
    let store = open(&disk);
    put(&store, ALICE, b"in the second segment").await.unwrap();
    drop(store);
    flip(&disk, FIRST, 10);
    flip(&disk, FIRST, 2058);
    let store = open(&disk);
    assert_eq!(store.recovery().unreadable_segments, 1);
    assert_eq!(state(&store, ALICE, &first[0]), "none");
    assert_eq!(state(&store, ALICE, b"in the second segment"), "live");
    assert_eq!(disk.bytes(FIRST).len(), 13 * PAGE, "it stays for whoever can read it");
}
