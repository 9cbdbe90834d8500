//! Isolation: one account cannot see, guess, pin or change what is another's, even with all its ids.

use super::*;
use common::proto::refusal::What;

#[tokio::test]
async fn with_all_ids_of_another_account_nothing_of_it_is_reached() {
    let world = World::new();
    let (a, b) = (world.account(1).await, world.account(2).await);
    let upload = version(100);
    world.begin(a, upload).await;
    let shards = vec![shard(0, 1, 1), shard(1, 2, 1), shard(2, 3, 1)];
    world.register(a, upload, new_chunk(chunk(1), "1/3", 1, shards.clone())).await.unwrap();
    let file = new_file(node(1), 1, 21, version(101), Expect::Nothing);
    world.publish(a, upload, vec![file], false).await.unwrap();
    let before = world.list(a, node(1)).await.unwrap();

    assert!(world.look(b, node(1), &[1]).await.is_empty());
    assert_eq!(world.list(b, node(1)).await, Err(Refusal::NotFound(What::Folder)));
    let wants = vec![ManifestWant { version: version(101), from: 0 }];
    let read = world.run(&ReadManifests { wants: wants.try_into().unwrap() }, b).await.unwrap();
    assert_eq!(read.missing.to_vec(), [version(101)]);
    let made = world.folder(b, node(1), 9, 90).await;
    assert_eq!(made, FolderMade::Refused(Refusal::NotFound(What::Folder)));
    assert_eq!(world.remove(b, node(1), 1, 21, true).await, Err(Refusal::NotFound(What::Entry)));
    let moved = world.rename(b, (node(1), 1), 21, (node(2), 1), None).await;
    assert_eq!(moved, Err(Refusal::NotFound(What::Entry)));

    let theirs = |operation: &str| format!("{operation} of another's upload");
    let ask = Ask { version: upload, redundancy: Redundancy::DEFAULT, chunks: vec![chunk(1)].try_into().unwrap() };
    assert_eq!(world.run(&ask, b).await.unwrap_err(), Refusal::UploadGone, "{}", theirs("ask"));
    let extend = Extend { version: upload, bytes: 9 };
    assert_eq!(world.run(&extend, b).await.unwrap_err(), Refusal::UploadGone, "{}", theirs("extend"));
    let register = world.register(b, upload, new_chunk(chunk(1), "1/3", 2, shards.clone())).await;
    assert_eq!(register, Err(Refusal::UploadGone), "{}", theirs("register"));
    world.run(&Abandon { version: upload }, b).await.unwrap();
    let publish = world.publish(b, upload, Vec::new(), true).await;
    assert_eq!(publish, Err(Refusal::UploadGone), "{}", theirs("publish"));

    // The same ids in an upload of its own: another chunk, another version, another node.
    world.begin(b, upload).await;
    assert_eq!(world.ask(b, upload, chunk(1), "1/3").await, None, "whether another has a chunk is not told");
    let own = world.register(b, upload, new_chunk(chunk(1), "1/3", 2, shards)).await;
    assert_eq!(own, Ok(None));
    let file = new_file(node(2), 1, 21, version(101), Expect::Nothing);
    assert!(matches!(world.publish(b, upload, vec![file], true).await.unwrap()[0], FilePublished::Visible(_)));
    assert_eq!(world.list(a, node(1)).await.unwrap(), before);
    assert_eq!(world.ask(a, upload, chunk(1), "1/3").await, Some(sealed_key(1)));
}
