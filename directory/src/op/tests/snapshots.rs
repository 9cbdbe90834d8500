//! Snapshots: a pinned sequence, under a name that nobody else has.

use super::*;
use common::proto::refusal::What;

fn create(name: u8) -> CreateSnapshot {
    CreateSnapshot { request: RequestId::random(), token: token(name), sealed: vec![name].try_into().unwrap() }
}

#[tokio::test]
async fn a_snapshot_pins_the_sequence_of_its_own_commit_and_is_one_write() {
    let world = World::new();
    let (a, b) = (world.account(1).await, world.account(2).await);
    for name in 1..50 {
        world.file(a, node(1), name, 100 + name).await;
    }
    let before = world.store.last_sequence();
    let request = create(7);
    let made = world.run(&request, a).await.unwrap();
    assert_eq!(made.sequence, before + 1);
    assert_eq!(world.run(&request, a).await.unwrap(), made, "asked again it is the same");
    assert_eq!(world.store.last_sequence(), before + 1);
    assert_eq!(world.run(&create(7), a).await, Err(Refusal::Exists(What::Snapshot)));
    let found = world.run(&GetSnapshot { token: token(7) }, a).await.unwrap().snapshot.unwrap();
    assert_eq!((found.sequence, found.sealed.to_vec()), (made.sequence, vec![7]));
    // Another account has names of its own, and sees none of these.
    assert_eq!(world.run(&GetSnapshot { token: token(7) }, b).await.unwrap().snapshot, None);
    world.run(&create(7), b).await.unwrap();
    world.run(&create(3), a).await.unwrap();
    let list = world.run(&ListSnapshots { after: None }, a).await.unwrap();
    assert_eq!(list.snapshots.iter().map(|one| one.token).collect::<Vec<_>>(), [token(3), token(7)]);
    let rest = world.run(&ListSnapshots { after: Some(token(3)) }, a).await.unwrap();
    assert_eq!((rest.snapshots.len(), rest.more), (1, false));
    let remove = RemoveSnapshot { request: RequestId::random(), token: token(7) };
    world.run(&remove, a).await.unwrap();
    assert_eq!(world.run(&remove, a).await, Ok(Done {}), "asked again it is the same");
    let again = RemoveSnapshot { request: RequestId::random(), token: token(7) };
    assert_eq!(world.run(&again, a).await, Err(Refusal::NotFound(What::Snapshot)));
    assert!(world.run(&GetSnapshot { token: token(7) }, b).await.unwrap().snapshot.is_some());
}
