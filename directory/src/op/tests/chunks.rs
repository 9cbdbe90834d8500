//! Chunks: what counts as whole, and what becomes of one that is registered again.

use super::*;
use crate::schema::{Chunk, key, record};
use common::map::PeerState::{Dead, Online};
use common::proto::refusal::What;

async fn stored(world: &World, who: OfAccount) -> Chunk {
    let key = key::chunk(who.account(), chunk(1));
    let found = world.store.get(&[key.bytes()]).await.unwrap().remove(0).unwrap();
    record::decode(&found.value).unwrap()
}

#[tokio::test]
async fn a_registration_is_checked() {
    let world = World::new();
    let a = world.account(1).await;
    world.begin(a, version(100)).await;
    let check = |new: NewChunk, expected| {
        let world = &world;
        async move { assert_eq!(world.register(a, version(100), new).await, Err(expected)) }
    };
    let new = |shards| new_chunk(chunk(1), "1/3", 1, shards);
    check(new(vec![shard(0, 1, 1)]), Refusal::Malformed).await; // not enough
    check(new(vec![shard(0, 1, 1), shard(1, 1, 1)]), Refusal::Malformed).await; // one peer twice
    check(new(vec![shard(0, 1, 1), shard(0, 2, 1)]), Refusal::Malformed).await; // one index twice
    check(new(vec![shard(0, 1, 1), shard(3, 2, 1)]), Refusal::Malformed).await; // no such index
    check(new(vec![shard(0, 1, 1), shard(1, 99, 1)]), Refusal::NotFound(What::Peer)).await;
    let whole = new(vec![shard(0, 1, 1), shard(1, 2, 1)]);
    check(NewChunk { sealed_len: (8 << 20) + 1, ..whole.clone() }, Refusal::TooLarge(What::Chunk)).await;
    assert_eq!(world.register(a, version(99), whole).await, Err(Refusal::UploadGone));
}

#[tokio::test]
async fn a_chunk_is_whole_only_with_all_shards_on_peers_that_live_and_repair_is_marked_else() {
    let mut world = World::new();
    let a = world.account(1).await;
    world.begin(a, version(100)).await;
    let two = vec![shard(0, 1, 1), shard(1, 2, 1)];
    world.register(a, version(100), new_chunk(chunk(1), "1/3", 1, two)).await.unwrap();
    assert_eq!(world.ask(a, version(100), chunk(1), "1/3").await, None);
    assert!(world.ask(a, version(100), chunk(1), "1/2").await.is_some(), "as much as that it survives already");
    assert_eq!(world.count(&key::repairs()).await, 1);
    let more = vec![shard(0, 3, 1), shard(1, 4, 1)];
    world.register(a, version(100), new_chunk(chunk(1), "1/3", 1, more)).await.unwrap();
    let peers: Vec<_> = stored(&world, a).await.shards.iter().map(|shard| shard.peer).collect();
    assert_eq!(peers, [peer(3), peer(4), peer(1), peer(2)], "all locations, the new ones first");
    assert_eq!(world.count(&key::repairs()).await, 0);
    assert_eq!(world.count(&key::held_by(peer(1))).await, 1);
    assert!(world.ask(a, version(100), chunk(1), "1/3").await.is_some());
    assert!(world.ask(a, version(100), chunk(1), "4/6").await.is_some(), "it survives as many losses");
    assert!(world.ask(a, version(100), chunk(1), "1/4").await.is_none());
    world.peers_are(&[(1, Dead), (2, Dead), (3, Online), (4, Online)]);
    assert_eq!(world.ask(a, version(100), chunk(1), "1/3").await, None);
}

#[tokio::test]
async fn the_first_sealed_bytes_stay_while_they_can_be_read() {
    let mut world = World::new();
    let a = world.account(1).await;
    world.begin(a, version(100)).await;
    let shards = |bytes| vec![shard(0, 1, bytes), shard(1, 2, bytes), shard(2, 3, bytes)];
    world.register(a, version(100), new_chunk(chunk(1), "1/3", 1, shards(1))).await.unwrap();
    let other = || new_chunk(chunk(1), "1/3", 2, shards(2));
    assert_eq!(
        world.register(a, version(100), other()).await,
        Ok(Some(sealed_key(1))),
        "take over the first one's key"
    );
    assert_eq!(stored(&world, a).await.shards.to_vec(), shards(1));
    world.peers_are(&[(1, Dead), (2, Dead), (3, Dead), (4, Online), (5, Online), (6, Online)]);
    let elsewhere = vec![shard(0, 4, 2), shard(1, 5, 2), shard(2, 6, 2)];
    let given = new_chunk(chunk(1), "1/3", 2, elsewhere.clone());
    assert_eq!(world.register(a, version(100), given).await, Ok(None));
    assert_eq!(stored(&world, a).await.shards.to_vec(), elsewhere);
    let history = key::chunk_history(a.account(), chunk(1), 0).into_bytes();
    assert_eq!(
        world.store.scan(&history, &[0x2a], 9).await.unwrap().entries.len(),
        1,
        "and the first ones are not forgotten"
    );
}

#[tokio::test]
async fn another_code_takes_over_only_when_it_survives_more() {
    let mut world = World::new();
    let a = world.account(1).await;
    world.begin(a, version(100)).await;
    let copies = vec![shard(0, 1, 1), shard(1, 2, 1), shard(2, 3, 1)];
    world.register(a, version(100), new_chunk(chunk(1), "1/3", 1, copies)).await.unwrap();
    let shares = |on: u8| (0..3).map(|index| shard(index, on + index, 10 + index)).collect::<Vec<_>>();
    world.register(a, version(100), new_chunk(chunk(1), "2/3", 1, shares(4))).await.unwrap();
    assert_eq!(stored(&world, a).await.redundancy, Redundancy::DEFAULT);
    world.peers_are(&[(1, Online), (2, Dead), (3, Dead), (4, Online), (5, Online), (6, Online)]);
    world.register(a, version(100), new_chunk(chunk(1), "2/3", 1, shares(4))).await.unwrap();
    assert_eq!(stored(&world, a).await.redundancy.to_string(), "2/3");
    assert_eq!(world.count(&key::held_by(peer(1))).await, 0);
}
