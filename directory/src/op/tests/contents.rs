//! Small contents: found again in their account for as long as their pack is whole, and forgotten with it; and pages that are swapped.

use common::id::ContentId;
use common::map::PeerState::{Dead, Online};

use super::*;
use crate::authorize::Itself;
use crate::op::collect::{Collect, Fate};
use crate::op::expire::Release;
use crate::schema::key;

fn content(number: u8) -> ContentId {
    ContentId([number; 20])
}

fn inline(pack: u8) -> InlinePage {
    InlinePage { chunks: vec![chunk(pack)].try_into().unwrap(), sealed: vec![pack; 9].try_into().unwrap() }
}

fn noted(number: u8) -> Option<NewContent> {
    Some(NewContent { content: content(number), sealed: vec![number; 5].try_into().unwrap() })
}

/// File `name` at node `20 + name`, version `name`, in this pack.
fn packed_file(name: u8, pack: u8) -> NewFile {
    let file = new_file(node(1), name, 20 + name, version(name), Expect::Nothing);
    NewFile { pages: 1, inline: Some(inline(pack)), content: noted(name), ..file }
}

async fn with_pack(world: &World, who: OfAccount, upload: VersionId, pack: u8) {
    let shards = vec![shard(0, 1, pack), shard(1, 2, pack), shard(2, 3, pack)];
    world.register(who, upload, new_chunk(chunk(pack), "1/3", pack, shards)).await.unwrap();
}

/// Upload 100 has published files 1 and 2, whose contents are in pack 7.
async fn two_files() -> (World, OfAccount) {
    let world = World::new();
    let a = world.account(1).await;
    world.begin(a, version(100)).await;
    with_pack(&world, a, version(100), 7).await;
    let files = vec![packed_file(1, 7), packed_file(2, 7)];
    let published = world.publish(a, version(100), files, true).await.unwrap();
    assert!(published.iter().all(|result| matches!(result, FilePublished::Visible(_))));
    (world, a)
}

async fn ask(world: &World, who: OfAccount, upload: u8, wanted: &str, numbers: &[u8]) -> Vec<Option<ChunkId>> {
    let contents: Vec<_> = numbers.iter().map(|number| content(*number)).collect();
    let contents = contents.try_into().unwrap();
    let ask = AskContents { version: version(upload), redundancy: wanted.parse().unwrap(), contents };
    let known = world.run(&ask, who).await.unwrap().known.into_inner();
    known.into_iter().map(|known| known.map(|known| known.pack)).collect()
}

async fn release(world: &World, who: OfAccount, upload: u8) {
    let release = Release { account: who.account(), upload: version(upload) };
    while world.run(&release, Itself).await.unwrap().more {}
}

#[tokio::test]
async fn a_content_is_found_in_its_account_while_its_pack_is_as_safe_as_is_asked_for() {
    let (mut world, a) = two_files().await;
    let b = world.account(2).await;
    world.begin(a, version(101)).await;
    world.begin(b, version(102)).await;
    assert_eq!(ask(&world, a, 101, "1/3", &[1, 9, 2]).await, [Some(chunk(7)), None, Some(chunk(7))]);
    assert_eq!(world.count(&key::holds(a.account(), version(101))).await, 1, "one pack is held once");
    assert_eq!(ask(&world, a, 101, "1/4", &[1]).await, [None]);
    assert_eq!(ask(&world, b, 102, "1/3", &[1]).await, [None]);
    world.peers_are(&[(1, Online), (2, Dead), (3, Dead)]);
    assert_eq!(ask(&world, a, 101, "1/3", &[1]).await, [None]);
}

#[tokio::test]
async fn a_file_that_brings_a_note_names_one_chunk() {
    let (world, a) = two_files().await;
    world.begin(a, version(101)).await;
    let bare = NewFile { pages: 0, inline: None, ..packed_file(3, 7) };
    let refused = world.publish(a, version(101), vec![bare], false).await.unwrap();
    assert_eq!(refused, [FilePublished::Refused(Refusal::Malformed)]);
    assert_eq!(world.count(&key::all_contents()).await, 2);
}

#[tokio::test]
async fn contents_are_forgotten_with_their_pack_unless_they_are_noted_elsewhere_by_then() {
    let (world, a) = two_files().await;
    release(&world, a, 100).await;
    // Content 2 comes again in another pack.
    world.begin(a, version(101)).await;
    with_pack(&world, a, version(101), 8).await;
    world.publish(a, version(101), vec![NewFile { content: noted(2), ..packed_file(3, 8) }], false).await.unwrap();
    // Nothing refers to pack 7 any more.
    for number in [1, 2] {
        let mut request = swap(101, number, &[7; 9], 8);
        request.pages = request
            .pages
            .iter()
            .map(|page| SwappedPage { content: None, ..page.clone() })
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        assert!(world.run(&request, a).await.unwrap().swapped[0]);
    }
    let collect = Collect { account: a.account(), chunk: chunk(7) };
    assert_eq!(world.run(&collect, Itself).await.unwrap(), Fate::Condemned);
    assert_eq!(world.run(&collect, Itself).await.unwrap(), Fate::Collected);
    world.begin(a, version(102)).await;
    assert_eq!(ask(&world, a, 102, "1/3", &[1, 2]).await, [None, Some(chunk(8))]);
    assert_eq!((world.count(&key::all_contents()).await, world.count(&key::all_packed()).await), (1, 1));
}

fn swap(upload: u8, name: u8, was: &[u8], pack: u8) -> SwapPages {
    let page = SwappedPage {
        version: version(name),
        was: *blake3::hash(was).as_bytes(),
        page: inline(pack),
        sealed_bytes: 5,
        content: noted(name),
    };
    let pages = vec![page].try_into().unwrap();
    SwapPages { request: RequestId::random(), upload: version(upload), pages }
}

#[tokio::test]
async fn a_page_is_swapped_only_while_it_is_what_was_seen_and_its_references_move_with_it() {
    let (world, a) = two_files().await;
    release(&world, a, 100).await;
    world.begin(a, version(101)).await;
    let swapped = async |request: SwapPages| world.run(&request, a).await.map(|answer| answer.swapped[0]);
    assert_eq!(swapped(swap(101, 1, &[7; 9], 8)).await, Err(Refusal::NotHeld));
    with_pack(&world, a, version(101), 8).await;
    assert_eq!(swapped(swap(101, 1, &[6; 9], 8)).await, Ok(false), "it is another page");
    assert_eq!(swapped(swap(101, 9, &[7; 9], 8)).await, Ok(false), "there is no such version");
    assert_eq!(swapped(swap(101, 1, &[7; 9], 8)).await, Ok(true));
    assert_eq!(swapped(swap(101, 1, &[7; 9], 8)).await, Ok(false), "it was swapped already");
    world.run(&Abandon { version: version(101) }, a).await.unwrap();
    release(&world, a, 101).await;
    let references = async |pack| world.count(&key::references(a.account(), chunk(pack))).await;
    assert_eq!((references(7).await, references(8).await), (1, 1));
    let listed = world.run(&ListVersions { after: None }, a).await.unwrap();
    let sizes: Vec<_> = listed.versions.iter().map(|at| (at.version.version, at.version.sealed_bytes)).collect();
    assert_eq!((sizes, listed.more), (vec![(version(1), 5), (version(2), 0)], false));
    let after = world.run(&ListVersions { after: Some(version(1)) }, a).await.unwrap();
    assert_eq!(after.versions.len(), 1);
    world.begin(a, version(102)).await;
    assert_eq!(ask(&world, a, 102, "1/3", &[1, 2]).await, [Some(chunk(8)), Some(chunk(7))]);
}
