//! Power cuts: at every sync, and with every kind of loss, what was acknowledged is there.

use super::memory::Unsynced;
use super::*;

/// What a run was told before the power went: shards acknowledged, and among them those acknowledged as dropped.
#[derive(Default)]
struct Acknowledged {
    live: Vec<Vec<u8>>,
    dropped: Vec<Vec<u8>>,
    /// Those acknowledged as purged, and those of which nobody heard whether they are: they are whole or not there.
    purged: Vec<Vec<u8>>,
    unsure: Vec<Vec<u8>>,
    /// Bytes copied out of segments that were mostly empty.
    rewritten: u64,
}

async fn run(disk: &MemoryDisk) -> Acknowledged {
    let mut acknowledged = Acknowledged::default();
    let Ok(store) = Store::open_on(Arc::new(disk.clone()), small_segments()) else { return acknowledged };
    for round in 0..4u64 {
        let mut tasks = tokio::task::JoinSet::new();
        for seed in 0..5 {
            let store = store.clone();
            let body = body(round * 10 + seed, 700 + 2_000 * usize::try_from(seed).unwrap());
            tasks.spawn(async move { put(&store, ALICE, &body).await.ok().map(|_| body) });
        }
        let mut written: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        // All that was dropped before goes for good, and in the first two rounds all that there is, so that segments become empty.
        let mut going = std::mem::take(&mut acknowledged.dropped);
        if round < 2 {
            for body in written.drain(..written.len().saturating_sub(1)) {
                let dropped = store.delete(key(ALICE, &body)).await.is_ok();
                if dropped { &mut going } else { &mut acknowledged.unsure }.push(body);
            }
        }
        let purged = store.purge(common::time::Timestamp(u64::MAX), 100).await.is_ok();
        if purged { &mut acknowledged.purged } else { &mut acknowledged.unsure }.append(&mut going);
        let _ = store.reclaim().await; // without power it fails, at any point
        acknowledged.rewritten += store.rewrite(u64::MAX).await.unwrap_or(0);
        let _ = store.reclaim().await;
        if let Some(body) = written.pop() {
            match store.delete(key(ALICE, &body)).await {
                Ok(()) => acknowledged.dropped.push(body),
                Err(_) => drop(body), // dropped or not: both are right
            }
        }
        acknowledged.live.append(&mut written);
    }
    let _ = store.close().await; // without power there is no hint, and none is needed
    acknowledged
}

async fn check(disk: &MemoryDisk, acknowledged: &Acknowledged, context: &str) {
    let store = open(disk);
    for body in &acknowledged.live {
        assert_eq!(state(&store, ALICE, body), "live", "{context}");
        store.verify(key(ALICE, body)).await.unwrap();
    }
    for body in &acknowledged.dropped {
        assert_eq!(state(&store, ALICE, body), "trash", "{context}");
        store.verify(key(ALICE, body)).await.unwrap();
    }
    for body in &acknowledged.purged {
        assert_eq!(state(&store, ALICE, body), "none", "{context}");
    }
    for info in store.list(None, 100) {
        let key = ShardKey { account: info.account, address: info.address };
        assert!(store.verify(key).await.is_ok(), "{context}: nothing is here that is not whole");
    }
}

#[tokio::test]
async fn at_every_sync_every_acknowledged_shard_survives() {
    let mut nth = 0;
    loop {
        let disk = MemoryDisk::new();
        disk.cut_power_at_sync(nth);
        let acknowledged = run(&disk).await;
        let Acknowledged { live, dropped, purged, .. } = &acknowledged;
        let whole = live.len() + dropped.len() + purged.len() == 20;
        let losses = [Unsynced::Lost, Unsynced::Kept].into_iter().chain((1..6).map(|seed| Unsynced::Torn(seed * 7919)));
        for unsynced in losses {
            let context = format!("power cut at sync {nth}, unsynced pages {unsynced:?}");
            let after = disk.after_power_cut(unsynced);
            check(&after, &acknowledged, &context).await;
            // What the recovery says it found is durable as well: cut again, losing all that it did not sync.
            check(&after.after_power_cut(Unsynced::Lost), &acknowledged, &context).await;
        }
        // A killed process leaves writes in the kernel alone; what the next one shows is durable nevertheless.
        let killed = disk.after_kill();
        check(&killed, &acknowledged, &format!("killed at sync {nth}")).await;
        let shown = open(&killed).list(None, 100);
        assert_eq!(open(&killed.after_power_cut(Unsynced::Lost)).list(None, 100), shown, "killed at sync {nth}");
        if whole && disk.syncs() < nth {
            assert!(acknowledged.rewritten > 0);
            break;
        }
        nth += 1;
    }
    assert!(nth > 20, "{nth} syncs");
}
