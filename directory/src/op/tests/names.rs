//! Names: folders, moves, removals and what they refuse.

use super::*;
use crate::schema::key;
use common::proto::parts::NodeKind;
use common::proto::refusal::What;

#[tokio::test]
async fn folders_are_made_in_order_and_one_refused_stops_no_other() {
    let world = World::new();
    let a = world.account(1).await;
    let new = |inside, name, at| NewFolder {
        folder: node(inside),
        token: token(name),
        node: node(at),
        sealed: vec![1].try_into().unwrap(),
    };
    let folders = vec![new(1, 1, 10), new(10, 2, 11), new(99, 1, 12), new(1, 1, 13), new(1, 3, 11), new(11, 1, 14)];
    let request = MakeFolders { request: RequestId::random(), folders: folders.try_into().unwrap() };
    let made = world.run(&request, a).await.unwrap().results.into_inner();
    let expected = [
        FolderMade::Made,
        FolderMade::Made,
        FolderMade::Refused(Refusal::NotFound(What::Folder)),
        FolderMade::Exists(node(10), NodeKind::Folder),
        FolderMade::Refused(Refusal::Exists(What::Node)),
        FolderMade::Made,
    ];
    assert_eq!(made, expected);
    let found = world.look(a, node(1), &[1, 2, 1, 9]).await;
    assert_eq!(found.iter().map(|entry| entry.node).collect::<Vec<_>>(), [node(10), node(11), node(14)]);
}

#[tokio::test]
async fn a_folder_cannot_be_moved_into_itself() {
    let world = World::new();
    let a = world.account(1).await;
    world.folder(a, node(1), 1, 10).await;
    world.folder(a, node(10), 1, 11).await;
    for inside in [10, 11] {
        assert_eq!(world.rename(a, (node(1), 1), 10, (node(inside), 7), None).await, Err(Refusal::Cycle));
    }
    world.rename(a, (node(10), 1), 11, (node(1), 2), None).await.unwrap();
    world.rename(a, (node(1), 1), 10, (node(11), 7), None).await.unwrap();
    assert_eq!(world.look(a, node(1), &[2, 7]).await.len(), 2, "and what is in it moved along");
}

#[tokio::test]
async fn a_move_replaces_only_the_file_that_was_seen() {
    let world = World::new();
    let a = world.account(1).await;
    world.file(a, node(1), 1, 21).await;
    world.file(a, node(1), 2, 22).await;
    world.folder(a, node(1), 3, 10).await;
    let check = |to, replace| world.rename(a, (node(1), 1), 21, (node(1), to), replace);
    assert_eq!(check(2, None).await, Err(Refusal::Exists(What::Entry)));
    assert_eq!(check(2, Some(node(99))).await, Err(Refusal::Conflict));
    assert_eq!(check(4, Some(node(22))).await, Err(Refusal::Conflict));
    assert_eq!(check(3, Some(node(10))).await, Err(Refusal::IsAFolder));
    let folder = world.rename(a, (node(1), 3), 10, (node(1), 2), Some(node(22))).await;
    assert_eq!(folder, Err(Refusal::NotAFolder));
    check(2, Some(node(22))).await.unwrap();
    assert_eq!(world.list(a, node(1)).await.unwrap(), [(token(2), node(21)), (token(3), node(10))]);
    let history = key::entry_history(a.account(), node(1), token(2), 0).into_bytes();
    let kept = world.store.scan(&history, &[0x12], 10).await.unwrap();
    assert_eq!(kept.entries.len(), 1, "what was replaced is in history");
    assert_eq!(world.rename(a, (node(1), 1), 21, (node(1), 5), None).await, Err(Refusal::NotFound(What::Entry)));
}

#[tokio::test]
async fn a_folder_with_entries_is_removed_only_with_all_below_and_takes_nothing_afterwards() {
    let world = World::new();
    let a = world.account(1).await;
    world.folder(a, node(1), 1, 10).await;
    world.folder(a, node(10), 1, 11).await;
    assert_eq!(world.remove(a, node(1), 1, 99, true).await, Err(Refusal::Conflict));
    assert_eq!(world.remove(a, node(1), 1, 10, false).await, Err(Refusal::NotEmpty));
    world.remove(a, node(1), 1, 10, true).await.unwrap();
    assert!(world.look(a, node(1), &[1]).await.is_empty());
    for inside in [10, 11] {
        let refused = FilePublished::Refused(Refusal::NotFound(What::Folder));
        assert_eq!(world.file(a, node(inside), 5, 50).await, refused, "it would be seen by nobody");
    }
    world.folder(a, node(1), 2, 12).await;
    world.remove(a, node(1), 2, 12, false).await.unwrap();
}

#[tokio::test]
async fn a_repeated_request_is_done_once_and_answered_alike() {
    let world = World::new();
    let a = world.account(1).await;
    world.file(a, node(1), 1, 21).await;
    let request =
        Remove { request: RequestId([7; 16]), folder: node(1), token: token(1), node: node(21), recursive: false };
    world.run(&request, a).await.unwrap();
    let sequence = world.store.last_sequence();
    world.run(&request, a).await.unwrap();
    assert_eq!(world.store.last_sequence(), sequence);
    let other = Remove { token: token(2), ..request };
    assert_eq!(world.run(&other, a).await, Err(Refusal::Exists(What::Request)));
}

#[tokio::test]
async fn a_long_folder_is_listed_page_by_page_each_entry_once() {
    let world = World::new();
    let a = world.account(1).await;
    let upload = version(100);
    world.begin(a, upload).await;
    let mut names = Vec::new();
    for batch in 0..3_u8 {
        let files = (0..200_u8).map(|i| {
            let mut file = new_file(node(1), 0, 0, VersionId::random(), Expect::Nothing);
            file.token = NameToken([[batch, i].as_slice(), &[0; 14]].concat().try_into().unwrap());
            file.node = NodeId::random();
            names.push(file.token);
            file
        });
        let results = world.publish(a, upload, files.collect(), false).await.unwrap();
        assert!(results.iter().all(|result| matches!(result, FilePublished::Visible(_))));
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = world.run(&List { folder: node(1), after, at: None }, a).await.unwrap();
        seen.extend(page.entries.iter().map(|entry| entry.token));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, names);
}
