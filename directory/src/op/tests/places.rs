//! What the directory itself changes about where shards are, and how chunks go.

use common::history::HistoryPoint;
use common::id::StartId;
use common::map::PeerState::{Dead, Online};

use super::*;
use crate::authorize::Itself;
use crate::kv::{Meta, Write};
use crate::op::collect::{Collect, Fate};
use crate::op::expire::Release;
use crate::op::note::{AcceptHistory, CheckHistory, NextGeneration};
use crate::op::place::{Lost, Placed, Recoded, Settled, Trimmed};
use crate::schema::{Chunk, Mark, Recode, key, record};
use crate::transact::Txn;
use common::proto::directory::Abandon;

async fn stored(world: &World, who: OfAccount) -> Option<Chunk> {
    let id = key::chunk(who.account(), chunk(1));
    let found = world.store.get(&[id.bytes()]).await.unwrap().remove(0);
    found.map(|found| record::decode(&found.value).unwrap())
}

async fn peers_of(world: &World, who: OfAccount) -> Vec<PeerId> {
    stored(world, who).await.unwrap().shards.iter().map(|shard| shard.peer).collect()
}

/// Chunk 1 with copies on peers 1, 2 and 3, held by upload 100.
async fn three_copies() -> (World, OfAccount) {
    let world = World::new();
    let a = world.account(1).await;
    world.begin(a, version(100)).await;
    let shards = vec![shard(0, 1, 1), shard(1, 2, 1), shard(2, 3, 1)];
    world.register(a, version(100), new_chunk(chunk(1), "1/3", 1, shards)).await.unwrap();
    (world, a)
}

fn placed(who: OfAccount, at: ShardAt, instead_of: Option<PeerId>) -> Placed {
    Placed { account: who.account(), chunk: chunk(1), redundancy: Redundancy::DEFAULT, shard: at, instead_of }
}

#[tokio::test]
async fn what_is_lost_is_marked_and_what_is_made_takes_its_place_with_all_indexes() {
    let (mut world, a) = three_copies().await;
    let lost = Lost { account: a.account(), chunk: chunk(1), peer: peer(2), address: ShardAddress([1; 20]) };
    assert!(world.run(&lost, Itself).await.unwrap().changed);
    assert!(!world.run(&lost, Itself).await.unwrap().changed, "it is lost once");
    assert_eq!(peers_of(&world, a).await, [peer(1), peer(3)]);
    assert_eq!((world.count(&key::repairs()).await, world.count(&key::held_by(peer(2))).await), (1, 0));
    let foreign = placed(a, shard(1, 4, 9), None);
    assert!(!world.run(&foreign, Itself).await.unwrap().changed, "other bytes are no shard of this chunk");
    assert!(world.run(&placed(a, shard(1, 4, 1), None), Itself).await.unwrap().changed);
    assert_eq!(peers_of(&world, a).await, [peer(4), peer(1), peer(3)]);
    assert_eq!((world.count(&key::repairs()).await, world.count(&key::held_by(peer(4))).await), (0, 1));
    let moved = placed(a, shard(1, 5, 1), Some(peer(4)));
    assert!(world.run(&moved, Itself).await.unwrap().changed);
    assert_eq!(peers_of(&world, a).await, [peer(5), peer(1), peer(3)]);
    world.peers_are(&[(1, Dead), (3, Online), (5, Online)]);
    assert!(!world.run(&Settled { account: a.account(), chunk: chunk(1) }, Itself).await.unwrap().changed);
}

#[tokio::test]
async fn even_when_nobody_has_it_any_more_it_is_known_what_it_was_called() {
    let (world, a) = three_copies().await;
    for number in 1..=3 {
        let lost = Lost { account: a.account(), chunk: chunk(1), peer: peer(number), address: ShardAddress([1; 20]) };
        world.run(&lost, Itself).await.unwrap();
    }
    assert!(peers_of(&world, a).await.is_empty());
    assert!(!world.run(&placed(a, shard(0, 7, 8), None), Itself).await.unwrap().changed);
    assert!(world.run(&placed(a, shard(0, 7, 1), None), Itself).await.unwrap().changed, "one that comes back counts");
}

#[tokio::test]
async fn a_surplus_shard_goes_only_while_enough_others_are_online() {
    let (mut world, a) = three_copies().await;
    let trim = Trimmed { account: a.account(), chunk: chunk(1), shard: shard(0, 1, 1) };
    assert!(!world.run(&trim, Itself).await.unwrap().changed, "there is none too many");
    world.run(&placed(a, shard(0, 4, 1), None), Itself).await.unwrap();
    world.peers_are(&[(1, Online), (2, Online), (3, Dead), (4, Online)]);
    assert!(!world.run(&trim, Itself).await.unwrap().changed);
    world.peers_are(&[(1, Online), (2, Online), (3, Online), (4, Online)]);
    assert!(world.run(&trim, Itself).await.unwrap().changed);
    assert_eq!(peers_of(&world, a).await, [peer(4), peer(2), peer(3)]);
}

#[tokio::test]
async fn another_redundancy_counts_when_all_its_shards_are_there() {
    let (world, a) = three_copies().await;
    let to: Redundancy = "2/3".parse().unwrap();
    let shards: Vec<_> = (0..3).map(|index| shard(index, 4 + index, 20 + index)).collect();
    let addresses: Vec<_> = shards.iter().map(|shard| shard.address).collect();
    let recoded = |shards: &[ShardAt]| Recoded {
        account: a.account(),
        chunk: chunk(1),
        mark: 0,
        from: Redundancy::DEFAULT,
        to,
        shards: shards.to_vec(),
        addresses: addresses.clone(),
    };
    assert!(!world.run(&recoded(&shards[..2]), Itself).await.unwrap().changed);
    assert!(world.run(&recoded(&shards), Itself).await.unwrap().changed);
    let after = stored(&world, a).await.unwrap();
    assert_eq!((after.redundancy, after.addresses.to_vec()), (to, addresses.clone()));
    assert_eq!(world.count(&key::held_by(peer(1))).await, 0, "the copies are nobody's now");
    assert!(!world.run(&recoded(&shards), Itself).await.unwrap().changed, "it is not of that redundancy any more");
}

/// A device asks for something else while what it had asked for before is being done.
#[tokio::test]
async fn a_wish_that_came_meanwhile_is_not_taken_for_the_one_that_was_fulfilled() {
    let (world, a) = three_copies().await;
    let at = key::recode(a.account(), chunk(1));
    let ask = async |redundancy: &str| {
        let value = record::encode(&Recode { redundancy: redundancy.parse().unwrap() }).unwrap();
        let put = Write::Put { key: at.bytes().to_vec(), value };
        world.store.commit(vec![], vec![put], Meta::default()).await.unwrap();
        world.store.last_sequence()
    };
    let (from, to): (Redundancy, Redundancy) = (Redundancy::DEFAULT, "1/4".parse().unwrap());
    let (account, chunk) = (a.account(), chunk(1));
    let recoded = |mark, from| Recoded { account, chunk, mark, from, to, shards: Vec::new(), addresses: Vec::new() };
    let first = ask("1/4").await;
    let second = ask("2/4").await;
    assert!(world.run(&recoded(first, from), Itself).await.unwrap().changed);
    assert_eq!(world.count(&key::recodes()).await, 1);
    assert!(!world.run(&recoded(second, from), Itself).await.unwrap().changed, "it is not of that redundancy any more");
    assert_eq!(world.count(&key::recodes()).await, 1, "so it is looked at again");
    assert!(!world.run(&recoded(second, to), Itself).await.unwrap().changed, "nothing is left to do");
    assert_eq!(world.count(&key::recodes()).await, 0);
}

async fn release(world: &World, who: OfAccount, upload: VersionId) {
    world.run(&Abandon { version: upload }, who).await.unwrap();
    while world.run(&Release { account: who.account(), upload }, Itself).await.unwrap().more {}
}

#[tokio::test]
async fn a_chunk_is_collected_in_two_steps_once_nothing_holds_it() {
    let (world, a) = three_copies().await;
    let collect = Collect { account: a.account(), chunk: chunk(1) };
    assert_eq!(world.run(&collect, Itself).await, Ok(Fate::Kept), "an upload holds it");
    release(&world, a, version(100)).await;
    assert_eq!(world.count(&key::collects()).await, 1, "whoever lets go leaves a mark");
    assert_eq!(world.run(&collect, Itself).await, Ok(Fate::Condemned));
    assert_eq!(world.run(&collect, Itself).await, Ok(Fate::Collected));
    assert_eq!(stored(&world, a).await, None);
    for range in [key::held_by(peer(1)), key::held_by(peer(2)), key::held_by(peer(3))] {
        assert_eq!(world.count(&range).await, 0);
    }
    assert_eq!(world.count(&key::collects()).await, 0);
}

/// Taken away with the look of before, the mark would be missing: nothing would ever look at the chunk again.
#[tokio::test]
async fn a_mark_that_is_left_while_a_chunk_is_looked_at_stays() {
    let (world, a) = three_copies().await;
    let collect = Collect { account: a.account(), chunk: chunk(1) };
    let mut txn = Txn::new(world.store.clone());
    assert_eq!(collect.decide(&mut txn, Itself, &world.context).await.unwrap(), Fate::Kept);
    release(&world, a, version(100)).await;
    let (checks, writes) = txn.into_commit();
    assert!(world.store.commit(checks, writes, Meta::default()).await.is_err());
    assert_eq!(world.count(&key::collects()).await, 1);
}

/// Referencing checks that the record is as it was, and condemning that as well: so the one may come between the other's two looks.
#[tokio::test]
async fn a_chunk_that_was_referenced_while_it_was_condemned_is_condemned_no_more() {
    let (world, a) = three_copies().await;
    release(&world, a, version(100)).await;
    let collect = Collect { account: a.account(), chunk: chunk(1) };
    assert_eq!(world.run(&collect, Itself).await, Ok(Fate::Condemned));
    let at = key::reference(a.account(), chunk(1), version(101)).into_bytes();
    let put = Write::Put { key: at, value: record::encode(&Mark {}).unwrap() };
    world.store.commit(vec![], vec![put], Meta::default()).await.unwrap();
    assert_eq!(world.run(&collect, Itself).await, Ok(Fate::Kept));
    assert!(!stored(&world, a).await.unwrap().condemned);
    assert_eq!(world.count(&key::collects()).await, 0);
}

#[tokio::test]
async fn whoever_wants_a_condemned_chunk_in_time_has_it() {
    for by_asking in [true, false] {
        let (world, a) = three_copies().await;
        release(&world, a, version(100)).await;
        let collect = Collect { account: a.account(), chunk: chunk(1) };
        assert_eq!(world.run(&collect, Itself).await, Ok(Fate::Condemned));
        world.begin(a, version(101)).await;
        if by_asking {
            assert!(world.ask(a, version(101), chunk(1), "1/3").await.is_some());
        } else {
            let again = vec![shard(0, 4, 1), shard(1, 5, 1)];
            world.register(a, version(101), new_chunk(chunk(1), "1/3", 1, again)).await.unwrap();
        }
        assert_eq!(world.run(&collect, Itself).await, Ok(Fate::Kept));
        assert!(!stored(&world, a).await.unwrap().condemned);
    }
}

#[tokio::test]
async fn a_store_that_is_older_than_what_was_seen_is_fenced_until_that_is_accepted() {
    let mut world = World::new();
    let start = |number| StartId([number; 16]);
    let next = |world: &World, number: u8, least| {
        let operation = NextGeneration { start: start(number), least };
        let store = world.store.clone();
        let context = world.context.clone();
        async move { transact::run(&store, &operation, Itself, &context).await.unwrap().generation }
    };
    assert_eq!(next(&world, 1, 0).await, 1);
    world.account(1).await;
    assert_eq!(next(&world, 2, 0).await, 2);
    world.context.generation = 2;
    let end_of_first = world.store.last_sequence() - 1;
    let check = async |world: &World, generation, number, sequence| {
        let seen = HistoryPoint { generation, start: start(number), sequence };
        world.run(&CheckHistory { seen }, Itself).await.unwrap().fenced
    };
    assert!(!check(&world, 1, 1, end_of_first).await);
    assert!(!check(&world, 2, 2, world.store.last_sequence()).await);
    assert!(!world.run(&CheckHistory { seen: HistoryPoint::NONE }, Itself).await.unwrap().fenced);
    // A commit of the first generation that is not in this copy; another start of the same number; a later generation.
    for (generation, number, sequence) in [(1, 1, end_of_first + 1), (2, 9, 1), (7, 7, 1)] {
        assert!(check(&world, generation, number, sequence).await, "{generation} {number} {sequence}");
        assert!(check(&world, 2, 2, 1).await, "the fence stays, whatever the others have seen");
        world.run(&AcceptHistory {}, OfAdmin::local()).await.unwrap();
        assert!(!check(&world, generation, number, sequence).await, "what was accepted is no news");
        assert!(!check(&world, 2, 2, 1).await);
    }
    assert_eq!(next(&world, 3, 8).await, 8, "and the next generation is beyond all that was seen");
}
