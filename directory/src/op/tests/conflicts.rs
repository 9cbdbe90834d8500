//! Conflicts: who is told of them, how many are kept, and when they are forgotten.

use common::limits::CONFLICTS;
use common::proto::parts::Label;
use common::proto::refusal::What;

use super::*;
use crate::kv::{Meta, Write};
use crate::op::conflict::news;
use crate::schema::{Device, key, record};
use crate::transact::Txn;

fn note(content: VersionId, what: u8) -> NoteConflict {
    NoteConflict { request: RequestId::random(), version: content, sealed: vec![what].try_into().unwrap() }
}

impl World {
    /// What a device of this number of the account would be told.
    async fn told(&self, who: OfAccount, device: u8, after: u64) -> Vec<(u64, u8)> {
        let mut txn = Txn::new(self.store.clone());
        let news = news(&mut txn, who.account(), DeviceId([device; 16]), after).await.unwrap();
        news.iter().map(|view| (view.sequence, view.sealed[0])).collect()
    }

    /// So many files, each of which can be written over.
    async fn versions(&self, who: OfAccount, count: u8) -> Vec<VersionId> {
        self.begin(who, version(100)).await;
        let files = (1..=count).map(|name| new_file(node(1), name, 100 + name, version(name), Expect::Nothing));
        self.publish(who, version(100), files.collect(), true).await.unwrap();
        (1..=count).map(version).collect()
    }
}

#[tokio::test]
async fn every_other_device_of_the_account_is_told_once() {
    let world = World::new();
    let (a, b) = (world.account(1).await, world.account(2).await);
    world.versions(a, 2).await;
    assert_eq!(world.run(&note(version(9), 1), a).await, Err(Refusal::NotFound(What::Version)));
    assert_eq!(world.run(&note(version(1), 1), b).await, Err(Refusal::NotFound(What::Version)), "of another account");
    let request = note(version(1), 7);
    world.run(&request, a).await.unwrap();
    world.run(&request, a).await.unwrap();
    let first = world.store.last_sequence();
    world.run(&note(version(2), 8), a).await.unwrap();
    let second = world.store.last_sequence();
    assert_eq!(world.told(a, 3, 0).await, [(first, 7), (second, 8)]);
    assert_eq!(world.told(a, 3, first).await, [(second, 8)]);
    assert_eq!(world.told(a, 3, second).await, []);
    assert_eq!(world.told(a, 1, 0).await, [], "the one that noted it knows");
    assert_eq!(world.told(b, 3, 0).await, []);
}

#[tokio::test]
async fn a_device_is_told_of_nothing_from_before_it_joined() {
    let world = World::new();
    let a = world.account(1).await;
    world.versions(a, 2).await;
    world.run(&note(version(1), 7), a).await.unwrap();
    let (label, enrolled) = (Label::default(), world.context.now);
    let device = Device { account: a.account(), label, enrolled, revoked: None };
    let at = key::device(DeviceId([3; 16])).into_bytes();
    let put = Write::Put { key: at, value: record::encode(&device).unwrap() };
    world.store.commit(vec![], vec![put], Meta::default()).await.unwrap();
    assert_eq!(world.told(a, 3, 0).await, []);
    world.run(&note(version(2), 8), a).await.unwrap();
    assert_eq!(world.told(a, 3, 0).await, [(world.store.last_sequence(), 8)]);
}

#[tokio::test]
async fn the_last_few_are_kept_and_another_key_ends_them() {
    let world = World::new();
    let a = world.account(1).await;
    let count = u8::try_from(CONFLICTS).unwrap() + 3;
    for content in world.versions(a, count).await {
        world.run(&note(content, content.0[0]), a).await.unwrap();
    }
    let told: Vec<u8> = world.told(a, 3, 0).await.iter().map(|(_, what)| *what).collect();
    assert_eq!(told, (4..=count).collect::<Vec<_>>());
    assert_eq!(world.count(&key::conflicts(a.account())).await, CONFLICTS);
    rekey::rekey_all(&world, a).await;
    assert_eq!(world.told(a, 3, 0).await, []);
    let old = note(version(1), 1);
    assert_eq!(world.run(&old, a).await, Err(Refusal::OtherKey), "sealed under the key before");
}
