//! Uploads: from the pending version to what is visible, and what is let go of.

use super::*;
use crate::authorize::Itself;
use crate::op::expire::{EndExpired, Release};
use crate::op::upload::LIFETIME;
use crate::schema::key;
use common::proto::refusal::What;
use std::time::Duration;

fn three(bytes: u8) -> Vec<ShardAt> {
    (0..3).map(|index| shard(index, index + 1, bytes)).collect()
}

fn with_page(mut file: NewFile, chunks: &[u8]) -> NewFile {
    let chunks: Vec<_> = chunks.iter().map(|number| chunk(*number)).collect();
    let inline = InlinePage { chunks: chunks.try_into().unwrap(), sealed: vec![5; 9].try_into().unwrap() };
    (file.pages, file.inline) = (1, Some(inline));
    file
}

fn page(number: u32, chunks: &[u8]) -> NewPage {
    let chunks: Vec<_> = chunks.iter().map(|number| chunk(*number)).collect();
    NewPage { page: number, chunks: chunks.try_into().unwrap(), sealed: vec![6; 9].try_into().unwrap() }
}

#[tokio::test]
async fn what_was_published_is_found_with_its_manifest_and_placements() {
    let world = World::new();
    let a = world.account(1).await;
    let upload = version(100);
    world.begin(a, upload).await;
    assert_eq!(world.ask(a, upload, chunk(1), "1/3").await, None);
    assert_eq!(world.register(a, upload, new_chunk(chunk(1), "1/3", 1, three(1))).await, Ok(None));
    assert_eq!(world.ask(a, upload, chunk(1), "1/3").await, Some(sealed_key(1)));
    let small = with_page(new_file(node(1), 1, 21, version(101), Expect::Nothing), &[1]);
    let put = PutPages { version: upload, pages: vec![page(0, &[1]), page(1, &[1])].try_into().unwrap() };
    world.run(&put, a).await.unwrap();
    let long = NewFile { pages: 2, ..new_file(node(1), 2, 22, upload, Expect::Nothing) };
    let results = world.publish(a, upload, vec![small, long], true).await.unwrap();
    let sequence = world.store.last_sequence();
    assert_eq!(results, [FilePublished::Visible(sequence), FilePublished::Visible(sequence)]);
    let found = world.look(a, node(1), &[1]).await;
    assert_eq!((found[0].since, found[0].version.as_ref().unwrap().version), (sequence, version(101)));
    let wants = [(101, 0), (100, 1), (77, 0)].map(|(id, from)| ManifestWant { version: version(id), from });
    let read = world.run(&ReadManifests { wants: wants.to_vec().try_into().unwrap() }, a).await.unwrap();
    let pages: Vec<_> = read.pages.iter().map(|page| (page.version, page.page)).collect();
    assert_eq!(pages, [(version(101), 0), (version(100), 1)]);
    assert_eq!((read.placements.len(), read.missing.to_vec()), (1, vec![version(77)]));
    assert_eq!(read.placements[0].placement.shards.to_vec(), three(1));

    // Who is about to read has it all with the look-up; what leads to no file, or not all the way, comes without.
    for (names, manifest, pages) in [
        (vec![1], true, vec![(version(101), 0)]),
        (vec![2], true, vec![(version(100), 0), (version(100), 1)]),
        (vec![2], false, vec![]),
        (vec![2, 1], true, vec![]),
        (vec![7], true, vec![]),
        (vec![], true, vec![]),
    ] {
        let path: Vec<_> = names.iter().map(|name| token(*name)).collect();
        let request = LookUp { start: node(1), path: path.try_into().unwrap(), manifest, at: None };
        let found = world.run(&request, a).await.unwrap().manifest;
        let came: Vec<_> = found.pages.iter().map(|page| (page.version, page.page)).collect();
        assert_eq!(came, pages, "{names:?} {manifest}");
        let placed: Vec<_> = found.placements.iter().map(|placed| placed.placement.shards.to_vec()).collect();
        assert_eq!(placed, if pages.is_empty() { vec![] } else { vec![three(1)] });
        assert!(found.missing.is_empty());
    }
}

#[tokio::test]
async fn two_who_write_one_name_are_both_told() {
    let world = World::new();
    let a = world.account(1).await;
    let upload = version(100);
    world.begin(a, upload).await;
    let publish =
        |at, content, expect| world.publish(a, upload, vec![new_file(node(1), 1, at, version(content), expect)], true);
    let changed = |content| {
        let there = (node(21), common::proto::parts::NodeKind::File, Some(version(content)));
        vec![FilePublished::Changed(Some(there))]
    };
    let file = |content| Expect::File(node(21), version(content));
    assert_eq!(publish(21, 101, file(50)).await.unwrap(), [FilePublished::Changed(None)]);
    let request = new_file(node(1), 1, 21, version(101), Expect::Nothing);
    world.publish(a, upload, vec![request], false).await.unwrap();
    assert_eq!(publish(22, 102, Expect::Nothing).await.unwrap(), changed(101));
    assert_eq!(publish(21, 102, file(50)).await.unwrap(), changed(101), "the upload goes on: it can be tried again");
    assert!(matches!(publish(21, 102, file(101)).await.unwrap()[0], FilePublished::Visible(_)));
    assert_eq!(publish(21, 103, file(102)).await, Err(Refusal::UploadGone), "it was done");
    let old = key::node_history(a.account(), node(21), 0).into_bytes();
    assert_eq!(world.store.scan(&old, &[0x14], 10).await.unwrap().entries.len(), 1, "the first version is kept");
}

#[tokio::test]
async fn a_version_refers_only_to_what_its_upload_holds() {
    let world = World::new();
    let a = world.account(1).await;
    world.begin(a, version(100)).await;
    world.begin(a, version(110)).await;
    world.register(a, version(100), new_chunk(chunk(1), "1/3", 1, three(1))).await.unwrap();
    let file = || with_page(new_file(node(1), 1, 21, version(101), Expect::Nothing), &[1]);
    let refused = world.publish(a, version(110), vec![file()], false).await.unwrap();
    assert_eq!(refused, [FilePublished::Refused(Refusal::NotHeld)]);
    let put = PutPages { version: version(110), pages: vec![page(0, &[1])].try_into().unwrap() };
    assert_eq!(world.run(&put, a).await, Err(Refusal::NotHeld));
    let missing = NewFile { pages: 1, ..new_file(node(1), 1, 21, version(110), Expect::Nothing) };
    let refused = world.publish(a, version(110), vec![missing], false).await.unwrap();
    assert_eq!(refused, [FilePublished::Refused(Refusal::NotFound(What::Page))]);
    world.ask(a, version(110), chunk(1), "1/3").await.unwrap();
    let done = world.publish(a, version(110), vec![file()], true).await.unwrap();
    assert!(matches!(done[0], FilePublished::Visible(_)));
}

#[tokio::test]
async fn an_upload_that_ended_lets_go_of_what_only_it_held() {
    let mut world = World::new();
    let a = world.account(1).await;
    let upload = version(100);
    world.begin(a, upload).await;
    for number in 1..=3 {
        let new = new_chunk(chunk(number), "1/3", number, three(number));
        world.register(a, upload, new).await.unwrap();
    }
    let put = PutPages { version: upload, pages: vec![page(0, &[2])].try_into().unwrap() };
    world.run(&put, a).await.unwrap();
    let small = with_page(new_file(node(1), 1, 21, version(101), Expect::Nothing), &[1]);
    let long = NewFile { pages: 1, ..new_file(node(1), 2, 22, upload, Expect::Nothing) };
    world.publish(a, upload, vec![small, long], true).await.unwrap();
    let release = Release { account: a.account(), upload };
    while world.run(&release, Itself).await.unwrap().more {}
    let references = |number| key::references(a.account(), chunk(number));
    assert_eq!(world.count(&key::holds(a.account(), upload)).await, 0);
    let left =
        [world.count(&references(1)).await, world.count(&references(2)).await, world.count(&references(3)).await];
    assert_eq!(left, [1, 1, 0], "each by the version that names it");

    let expired = version(110);
    world.begin(a, expired).await;
    world.ask(a, expired, chunk(1), "1/3").await.unwrap();
    let end = EndExpired { account: a.account(), upload: expired };
    world.context.now = world.context.now.plus(LIFETIME);
    world.run(&end, Itself).await.unwrap();
    world.ask(a, expired, chunk(1), "1/3").await.unwrap();
    world.context.now = world.context.now.plus(LIFETIME + Duration::from_secs(1));
    world.run(&end, Itself).await.unwrap();
    world.run(&Release { account: a.account(), upload: expired }, Itself).await.unwrap();
    assert_eq!((world.count(&references(1)).await, world.count(&key::all_pending()).await), (1, 0));
    let again = Extend { version: expired, bytes: 1 };
    assert_eq!(world.run(&again, a).await, Err(Refusal::UploadGone));
}

#[tokio::test]
async fn a_publication_repeated_tells_the_same_sequence() {
    let world = World::new();
    let a = world.account(1).await;
    world.begin(a, version(100)).await;
    let files = vec![new_file(node(1), 1, 21, version(101), Expect::Nothing)];
    let request =
        Publish { request: RequestId([3; 16]), upload: version(100), files: files.try_into().unwrap(), done: true };
    let first = world.run(&request, a).await.unwrap();
    world.file(a, node(1), 2, 22).await;
    assert_eq!(world.run(&request, a).await.unwrap(), first);
}

/// The most that one request can ask for: files, chunks of each, bytes.
fn largest(upload: VersionId) -> Publish {
    let chunks: Vec<_> = (1..=16).map(chunk).collect();
    let file = |_| {
        let inline =
            InlinePage { chunks: chunks.clone().try_into().unwrap(), sealed: vec![5; 2_048].try_into().unwrap() };
        let mut file = new_file(node(1), 0, 0, VersionId::random(), Expect::Nothing);
        (file.token, file.node) = (NameToken(NodeId::random().0), NodeId::random());
        file.sealed = vec![1; 1_536].try_into().unwrap();
        file.meta = vec![1; 3_000].try_into().unwrap();
        (file.pages, file.inline) = (1, Some(inline));
        file
    };
    let files: Vec<_> = (0..256).map(file).collect();
    Publish { request: RequestId::random(), upload, files: files.try_into().unwrap(), done: false }
}

#[tokio::test]
async fn the_largest_publication_is_one_commit() {
    let world = World::new();
    let a = world.account(1).await;
    let upload = version(100);
    world.begin(a, upload).await;
    for number in 1..=16 {
        world.register(a, upload, new_chunk(chunk(number), "1/3", number, three(number))).await.unwrap();
    }
    let before = world.store.last_sequence();
    let answer = world.run(&largest(upload), a).await.unwrap();
    assert!(answer.results.iter().all(|result| *result == FilePublished::Visible(before + 1)));
}

#[tokio::test]
async fn uploads_that_publish_into_one_folder_at_once_do_not_stand_in_each_others_way() {
    let world = Arc::new(World::new());
    let a = world.account(1).await;
    world.begin(a, version(100)).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let world = world.clone();
        tasks.spawn(async move {
            let files = (0..64).map(|_| {
                let mut file = new_file(node(1), 0, 0, VersionId::random(), Expect::Nothing);
                (file.token, file.node) = (NameToken(NodeId::random().0), NodeId::random());
                file
            });
            let results = world.publish(a, version(100), files.collect(), false).await.unwrap();
            assert!(results.iter().all(|result| matches!(result, FilePublished::Visible(_))));
        });
    }
    tasks.join_all().await;
    assert_eq!(world.count(&key::entries(a.account(), node(1))).await, 16 * 64);
}
