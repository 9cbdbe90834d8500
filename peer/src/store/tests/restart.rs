//! What is there after a restart: with hints, without, with broken ones; trash and revival; lock and formats.

use super::*;
use crate::store::disk::Disk as _;
use crate::store::record::FORMAT;

async fn filled(disk: &MemoryDisk) -> Vec<Vec<u8>> {
    let store = open(disk);
    let bodies: Vec<_> = (0..20).map(|seed| body(seed as u64, 3_000 + 500 * seed)).collect();
    for body in &bodies {
        put(&store, ALICE, body).await.unwrap();
    }
    store.close().await.unwrap();
    bodies
}

async fn check_all(store: &Store, bodies: &[Vec<u8>]) {
    for body in bodies {
        assert_eq!(get(store, ALICE, body).await.unwrap(), *body);
        store.verify(key(ALICE, body)).await.unwrap();
    }
    assert_eq!(store.usage().unwrap().tallies.live.shards, bodies.len() as u64);
}

#[tokio::test]
async fn everything_is_there_again_whatever_became_of_the_hints() {
    type Harm = fn(Vec<u8>) -> Option<Vec<u8>>;
    let harms: [(&str, Harm, bool); 5] = [
        ("kept", Some, false),
        ("removed", |_| None, true),
        ("emptied", |_| Some(Vec::new()), true),
        ("cut", |hint| Some(hint[..hint.len() / 2].to_vec()), true),
        (
            "flipped",
            |mut hint| {
                hint[60] ^= 1;
                Some(hint)
            },
            true,
        ),
    ];
    for (what, harm, scans) in harms {
        let disk = MemoryDisk::new();
        let bodies = filled(&disk).await;
        let before = open(&disk).list(None, 100);
        for name in disk.names("hints/") {
            disk.set(&name, harm(disk.bytes(&name)));
        }
        let store = open(&disk);
        let recovery = store.recovery();
        assert_eq!(recovery.scanned, if scans { recovery.segments } else { 0 }, "{what}");
        assert!(recovery.segments > 3);
        assert_eq!((recovery.void_records, recovery.damaged_pages), (0, 0), "{what}");
        assert_eq!(store.list(None, 100), before, "{what}: hints and headers say the same");
        check_all(&store, &bodies).await;
        drop(store);
        assert_eq!(open(&disk).recovery().scanned, 0, "{what}: the scan left hints");
    }
}

#[tokio::test]
async fn without_a_clean_end_everything_is_there_too() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let bodies: Vec<_> = (0..9).map(|seed| body(seed, 9_000)).collect();
    for body in &bodies {
        put(&store, ALICE, body).await.unwrap();
    }
    drop(store);
    let store = open(&disk);
    assert_eq!(store.recovery().scanned, 1, "only the segment that was written to");
    check_all(&store, &bodies).await;
}

#[tokio::test]
async fn the_order_of_records_decides_what_is_live() {
    let steps = ["put", "delete", "delete", "restore", "restore", "delete", "put", "put", "delete"];
    let after = ["live", "trash", "trash", "live", "live", "trash", "live", "live", "trash"];
    let body = body(5, 5_000);
    for reopened in [false, true] {
        let disk = MemoryDisk::new();
        let mut store = open(&disk);
        for (step, expected) in steps.into_iter().zip(after) {
            match step {
                "put" => drop(put(&store, ALICE, &body).await.unwrap()),
                "delete" => store.delete(key(ALICE, &body)).await.unwrap(),
                _ => store.restore(key(ALICE, &body)).await.unwrap(),
            }
            if reopened {
                drop(store);
                store = open(&disk);
            }
            assert_eq!(state(&store, ALICE, &body), expected, "{step}");
            assert_eq!(get(&store, ALICE, &body).await.unwrap(), body, "the trash is served too");
        }
        let tallies = store.usage().unwrap().tallies;
        assert_eq!((tallies.live.shards, tallies.trash.shards), (0, 1));
    }
}

#[tokio::test]
async fn a_data_folder_is_used_by_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().into(), options()).await.unwrap();
    let refused = Store::open(dir.path().into(), options()).await.unwrap_err();
    let StoreError::InUse { holder, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(*holder, std::process::id().to_string());
    put(&store, ALICE, b"abc").await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = Store::open(dir.path().into(), options()).await.unwrap();
    assert_eq!(store.recovery().scanned, 0);
    assert_eq!(get(&store, ALICE, b"abc").await.unwrap(), "abc".as_bytes());
}

#[tokio::test]
async fn what_is_newer_foreign_or_damaged_is_refused() {
    let check = |name: &str, change: fn(&mut Vec<u8>), expected: fn(&StoreError) -> bool| {
        let disk = MemoryDisk::new();
        Store::open_on(Arc::new(disk.clone()), options()).unwrap();
        let store = Store::open_on(Arc::new(disk.clone()), options()).unwrap();
        store.inner.appender.append(&note(), &mut [buffer::Aligned::new(4096).as_mut_slice()]).unwrap();
        let mut bytes = disk.read(name, 1 << 20).unwrap().unwrap();
        change(&mut bytes);
        disk.set(name, Some(bytes));
        let refused = Store::open_on(Arc::new(disk), options()).unwrap_err();
        assert!(expected(&refused), "{refused:?}");
    };
    let newer = |error: &StoreError| matches!(error, StoreError::NewerFormat { found: 2, known: FORMAT, .. });
    check("format", |bytes| bytes[8] = 2, newer);
    check("format", |bytes| bytes[20] ^= 1, |error| matches!(error, StoreError::Damaged { .. }));
    check("format", Vec::clear, |error| matches!(error, StoreError::Damaged { .. }));
    let first = "segments/00000001.seg";
    check(first, |bytes| (bytes[8], bytes[2056]) = (2, 2), newer);

    let disk = MemoryDisk::new();
    open(&disk);
    let other = StoreOptions { peer: PeerId([9; 16]), ..options() };
    let refused = Store::open_on(Arc::new(disk), other).unwrap_err();
    assert!(matches!(refused, StoreError::Foreign { .. }), "{refused:?}");
}

fn note() -> record::Record {
    record::Record {
        kind: record::Kind::Tombstone,
        index: 0,
        redundancy: Redundancy::DEFAULT,
        account: ALICE,
        chunk: ChunkId([0; 20]),
        address: ShardAddress([0; 20]),
        sealed_len: 0,
        body_len: 0,
        generation: 0,
        at: common::time::Timestamp(0),
        target: record::Place::default(),
    }
}
