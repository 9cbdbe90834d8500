//! Quotas: what is over them is refused with the figures, what was there stays, and the count is exact.

use super::*;
use crate::authorize::Itself;
use crate::op::collect::{Collect, Fate};
use crate::op::expire::Release;
use crate::op::place::Recoded;
use crate::op::usage;
use crate::transact::Txn;
use common::proto::refusal::Measure;

fn shards(bytes: u8) -> Vec<ShardAt> {
    (0..3).map(|index| shard(index, index + 1, bytes)).collect()
}

async fn set(world: &World, bytes: Option<u64>, files: Option<u64>) {
    let account = "account 1".try_into().unwrap();
    let request = SetQuota { request: RequestId::random(), account, quota: Quota { bytes, files } };
    world.run(&request, OfAdmin::local()).await.unwrap();
}

async fn used(world: &World, who: OfAccount) -> (u64, u64) {
    usage::used(&Txn::new(world.store.clone()), who.account()).await.unwrap()
}

#[tokio::test]
async fn bytes_are_counted_with_redundancy_and_what_is_over_the_quota_is_refused() {
    let world = World::new();
    let a = world.account(1).await;
    set(&world, Some(6_500), None).await;
    let upload = version(100);
    let begin =
        Begin { request: RequestId::random(), version: upload, redundancy: Redundancy::DEFAULT, bytes: 1 << 30 };
    assert_eq!(world.run(&begin, a).await.unwrap().0.bytes, 6_500, "a grant is no larger than what is left");
    // 1,000 bytes in three copies each.
    world.register(a, upload, new_chunk(chunk(1), "1/3", 1, shards(1))).await.unwrap();
    world.register(a, upload, new_chunk(chunk(1), "1/3", 1, shards(1))).await.unwrap();
    world.register(a, upload, new_chunk(chunk(2), "1/3", 1, shards(2))).await.unwrap();
    assert_eq!(used(&world, a).await, (6_000, 0), "what is registered again counts once");
    let over = Refusal::OverQuota { what: Measure::Bytes, used: 6_000, allowed: 6_500 };
    let refused = world.register(a, upload, new_chunk(chunk(3), "1/3", 1, shards(3))).await;
    assert_eq!(refused, Err(over));
    let extend = Extend { version: upload, bytes: 1 << 40 };
    let little = Refusal::OverQuota { what: Measure::Bytes, used: 6_000, allowed: 6_500 };
    assert_eq!(world.run(&extend, a).await, Err(little), "less than a shard is of no use");
    set(&world, Some(20_006_000), None).await;
    assert_eq!(world.run(&extend, a).await.unwrap().0.bytes, 20_006_500, "it grows by what is left");
    set(&world, Some(5_000), None).await;
    let over = Refusal::OverQuota { what: Measure::Bytes, used: 6_000, allowed: 5_000 };
    let begin = Begin { request: RequestId::random(), version: version(101), ..begin };
    assert_eq!(world.run(&begin, a).await, Err(over));
    // Another redundancy counts for what it takes; what is collected counts no more.
    let recoded = Recoded {
        account: a.account(),
        chunk: chunk(1),
        mark: 0,
        from: "1/3".parse().unwrap(),
        to: "1/2".parse().unwrap(),
        shards: vec![],
        addresses: vec![],
    };
    world.run(&recoded, Itself).await.unwrap();
    assert_eq!(used(&world, a).await, (5_000, 0));
    world.run(&Abandon { version: upload }, a).await.unwrap();
    while world.run(&Release { account: a.account(), upload }, Itself).await.unwrap().more {}
    for id in [chunk(1), chunk(2)] {
        let collect = Collect { account: a.account(), chunk: id };
        while world.run(&collect, Itself).await.unwrap() != Fate::Collected {}
    }
    assert_eq!(used(&world, a).await, (0, 0));
}

#[tokio::test]
async fn files_are_versions_and_no_bound_is_none() {
    let world = World::new();
    let (a, b) = (world.account(1).await, world.account(2).await);
    set(&world, None, Some(2)).await;
    for name in 1..=2 {
        assert!(matches!(world.file(a, node(1), name, 20 + name).await, FilePublished::Visible(_)));
    }
    assert_eq!(used(&world, a).await, (0, 2));
    let upload = version(100);
    let begin = Begin { request: RequestId::random(), version: upload, redundancy: Redundancy::DEFAULT, bytes: 0 };
    let over = Refusal::OverQuota { what: Measure::Files, used: 2, allowed: 2 };
    assert_eq!(world.run(&begin, a).await, Err(over), "with nothing left nothing is begun");
    set(&world, None, None).await;
    world.file(a, node(1), 3, 23).await;
    world.file(b, node(2), 3, 24).await;
    assert_eq!((used(&world, a).await, used(&world, b).await), ((0, 3), (0, 1)));
    let accounts = world.run(&ListAccounts { after: None }, OfAdmin::local()).await.unwrap().accounts;
    assert_eq!(accounts.iter().map(|line| line.usage.files).collect::<Vec<_>>(), [3, 1]);
}
