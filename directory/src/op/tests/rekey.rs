//! Another key: what is taken from when on, what is listed, and that nothing but the sealed values changes.

use common::limits::RESEAL_VALUES;
use common::proto::refusal::{ShareFault, What};
use common::sealed;

use super::*;
use crate::kv::{Meta, Write};
use crate::schema::{Account, key, record};

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

fn ring(byte: u8) -> SealedRing {
    vec![byte].try_into().unwrap()
}

fn rotation(was: [u8; 32], to: [u8; 32], key: u32) -> RotateKey {
    RotateKey { request: RequestId::random(), was, key_check: to, key, ring: ring(9) }
}

/// A value under a key, which says what it is.
fn under(key: u32, what: u8) -> Vec<u8> {
    [sealed::head(key), vec![what]].concat()
}

impl World {
    /// Gives an account the tag that its first device would have brought.
    async fn has_key(&self, who: OfAccount, tag: [u8; 32]) {
        let at = key::account(who.account());
        let found = self.store.get(&[at.bytes()]).await.unwrap().remove(0).unwrap();
        let account = record::decode::<Account>(&found.value).unwrap();
        let value = record::encode(&Account { key_check: Some(tag), ..account }).unwrap();
        self.store.commit(vec![], vec![Write::Put { key: at.into_bytes(), value }], Meta::default()).await.unwrap();
    }

    async fn stale(&self, who: OfAccount) -> Vec<StaleValue> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.run(&ListStale { after }, who).await.unwrap();
            found.extend(page.values);
            after = page.next;
            if after.is_none() {
                return found;
            }
        }
    }

    /// Seals all that is stale anew; how much that was.
    async fn reseal(&self, who: OfAccount, key: u32) -> u32 {
        let mut replaced = 0;
        for part in self.stale(who).await.chunks(RESEAL_VALUES) {
            let values = part.iter().map(|value| ResealedValue {
                at: value.at,
                was: *blake3::hash(&value.sealed).as_bytes(),
                sealed: under(key, *value.sealed.last().unwrap()).try_into().unwrap(),
            });
            let values = values.collect::<Vec<_>>().try_into().unwrap();
            replaced += self.run(&Reseal { request: RequestId::random(), values }, who).await.unwrap().replaced;
        }
        replaced
    }
}

/// For the model of the past: the whole account under another key.
pub(super) async fn rekey_all(world: &World, who: OfAccount) {
    world.has_key(who, OLD).await;
    world.run(&rotation(OLD, NEW, 1), who).await.unwrap();
    let count = world.stale(who).await.len();
    assert_eq!(world.reseal(who, 1).await as usize, count);
    assert!(world.stale(who).await.is_empty());
}

/// One of each thing that is sealed, current and former, twice where it can be.
async fn everything(world: &World, who: OfAccount) {
    world.folder(who, node(1), 2, 2).await;
    let upload = version(50);
    world.begin(who, upload).await;
    let shards = |bytes| vec![shard(0, 1, bytes), shard(1, 2, bytes), shard(2, 3, bytes)];
    world.register(who, upload, new_chunk(chunk(1), "1/3", 1, shards(1))).await.unwrap();
    let mut file = new_file(node(2), 3, 3, version(51), Expect::Nothing);
    let inline = InlinePage { chunks: vec![chunk(1)].try_into().unwrap(), sealed: vec![1].try_into().unwrap() };
    (file.pages, file.inline) = (1, Some(inline));
    let content = common::id::ContentId([7; 20]);
    file.content = Some(NewContent { content, sealed: vec![7].try_into().unwrap() });
    let done = world.publish(who, upload, vec![file], false).await.unwrap();
    assert!(matches!(done[0], FilePublished::Visible(_)), "{done:?}");
    world.rename(who, (node(2), 3), 3, (node(2), 4), None).await.unwrap();
    let snapshot =
        CreateSnapshot { request: RequestId::random(), token: token(9), sealed: vec![9].try_into().unwrap() };
    world.run(&snapshot, who).await.unwrap();
}

#[tokio::test]
async fn everything_sealed_is_listed_and_replaced_and_keeps_its_age() {
    let world = World::new();
    let (who, other) = (world.account(1).await, world.account(2).await);
    everything(&world, who).await;
    everything(&world, other).await;
    assert!(world.stale(who).await.is_empty(), "before any rotation nothing is");
    let snapshots = world.run(&ListSnapshots { after: None }, who).await.unwrap().snapshots;
    let before = world.look(who, node(1), &[2, 4]).await;
    world.has_key(who, OLD).await;
    world.run(&rotation(OLD, NEW, 1), who).await.unwrap();
    let listed = world.stale(who).await;
    let places: Vec<_> = listed.iter().map(|value| value.at).collect();
    let since = |place: &SealedAt| matches!(place, SealedAt::FormerEntry { token: t, .. } if *t == token(3));
    assert!(places.iter().any(since), "{places:?}");
    for at in [
        SealedAt::Entry { folder: node(1), token: token(2) },
        SealedAt::Entry { folder: node(2), token: token(4) },
        SealedAt::Version { version: version(51) },
        SealedAt::Chunk { chunk: chunk(1) },
        SealedAt::Snapshot { token: token(9) },
        SealedAt::Content { content: common::id::ContentId([7; 20]) },
    ] {
        assert!(places.contains(&at), "{at:?} in {places:?}");
    }
    assert_eq!(world.reseal(who, 1).await as usize, listed.len());
    assert!(world.stale(who).await.is_empty());
    let after = world.look(who, node(1), &[2, 4]).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.node, before.since), (after.node, after.since));
        assert_eq!(after.sealed.to_vec(), under(1, before.sealed[0]));
    }
    let now = world.run(&ListSnapshots { after: None }, who).await.unwrap().snapshots;
    assert_eq!(now[0].sequence, snapshots[0].sequence, "what it pins is its age");
    assert_eq!(now[0].sealed.to_vec(), under(1, 9));
    // Another account's are its own, whatever is named.
    let value = ResealedValue {
        at: SealedAt::Snapshot { token: token(9) },
        was: *blake3::hash(&[9]).as_bytes(),
        sealed: under(1, 66).try_into().unwrap(),
    };
    let request = Reseal { request: RequestId::random(), values: vec![value].try_into().unwrap() };
    assert_eq!(world.run(&request, who).await.unwrap().replaced, 0, "it changed since");
    let theirs = world.run(&ListSnapshots { after: None }, other).await.unwrap().snapshots;
    assert_eq!(theirs[0].sealed.to_vec(), [9]);
}

#[tokio::test]
async fn from_a_rotation_on_nothing_under_another_key_is_taken() {
    let world = World::new();
    let who = world.account(1).await;
    everything(&world, who).await;
    let upload = version(60);
    world.begin(who, upload).await;
    world.has_key(who, OLD).await;
    world.run(&rotation(OLD, NEW, 1), who).await.unwrap();

    let shards = vec![shard(0, 1, 2), shard(1, 2, 2), shard(2, 3, 2)];
    let register = |key: Vec<u8>| {
        let new = NewChunk { key: key.try_into().unwrap(), ..new_chunk(chunk(2), "1/3", 1, shards.clone()) };
        world.register(who, upload, new)
    };
    let folder = |sealed: Vec<u8>| {
        let new = NewFolder { folder: node(1), token: token(8), node: node(8), sealed: sealed.try_into().unwrap() };
        MakeFolders { request: RequestId::random(), folders: vec![new].try_into().unwrap() }
    };
    let file = |entry: u32, meta: u32| {
        let mut file = new_file(node(1), 6, 6, version(61), Expect::Nothing);
        file.sealed = under(entry, 6).try_into().unwrap();
        file.meta = under(meta, 6).try_into().unwrap();
        file
    };
    let snapshot = |key| CreateSnapshot {
        request: RequestId::random(),
        token: token(7),
        sealed: under(key, 7).try_into().unwrap(),
    };
    let rename = |key| Rename {
        request: RequestId::random(),
        from_folder: node(2),
        from_token: token(4),
        node: node(3),
        to_folder: node(2),
        to_token: token(5),
        sealed: under(key, 5).try_into().unwrap(),
        replace: None,
    };
    let refused = Err(Refusal::OtherKey);
    for old in [0, 2] {
        assert_eq!(register(under(old, 1)).await, Err(Refusal::OtherKey));
        assert_eq!(world.run(&folder(under(old, 8)), who).await.map(drop), refused.clone());
        assert_eq!(world.run(&snapshot(old), who).await.map(drop), refused.clone());
        assert_eq!(world.run(&rename(old), who).await.map(drop), refused.clone());
        for file in [file(old, 1), file(1, old)] {
            assert_eq!(world.publish(who, upload, vec![file], false).await.map(drop), refused.clone());
        }
    }
    assert_eq!(world.run(&folder(Vec::new()), who).await.map(drop), refused, "nor what has no number");
    assert_eq!(register(under(1, 1)).await, Ok(None));
    world.run(&folder(under(1, 8)), who).await.unwrap();
    world.run(&snapshot(1), who).await.unwrap();
    world.run(&rename(1), who).await.unwrap();
    let done = world.publish(who, upload, vec![file(1, 1)], true).await.unwrap();
    assert!(matches!(done[0], FilePublished::Visible(_)));
    // What was stored before is answered as it is, for as long as it is not sealed anew.
    world.begin(who, version(62)).await;
    assert_eq!(world.ask(who, version(62), chunk(1), "1/3").await, Some(sealed_key(1)));
}

#[tokio::test]
async fn a_rotation_is_of_the_key_that_is_and_one_after_another() {
    let world = World::new();
    let who = world.account(1).await;
    world.has_key(who, OLD).await;
    assert_eq!(world.run(&rotation(NEW, [3; 32], 1), who).await, Err(Refusal::OtherKey));
    assert_eq!(world.run(&rotation(OLD, NEW, 2), who).await, Err(Refusal::Conflict));
    let settle = |key| SettleKey { request: RequestId::random(), key, ring: ring(8) };
    assert_eq!(world.run(&settle(1), who).await, Err(Refusal::OtherKey));
    world.run(&rotation(OLD, NEW, 1), who).await.unwrap();
    world.run(&rotation(OLD, NEW, 1), who).await.expect("asked again, it is done");
    assert_eq!(world.run(&rotation(NEW, [3; 32], 2), who).await, Err(Refusal::Conflict), "the first is not settled");
    world.run(&settle(1), who).await.unwrap();
    world.run(&settle(1), who).await.unwrap();
    world.run(&rotation(NEW, [3; 32], 2), who).await.unwrap();
    assert_eq!(world.run(&settle(1), who).await, Err(Refusal::OtherKey));
}

#[tokio::test]
async fn shares_whose_links_hold_keys_of_before_end() {
    let world = World::new();
    let who = world.account(1).await;
    everything(&world, who).await;
    let make = |secret: u8, target| NewShare {
        request: RequestId::random(),
        share: common::share::share_id(&[secret; 32]),
        verifier: *common::share::verifier(&[secret; 32]),
        target,
        ttl_ms: None,
        guests: None,
        sealed: vec![secret].try_into().unwrap(),
    };
    let targets =
        [ShareTarget::Folder(node(2)), ShareTarget::File(node(3)), ShareTarget::Version(node(3), version(51))];
    for (secret, target) in (1..).zip(targets) {
        world.run(&make(secret, target), who).await.unwrap();
    }
    world.has_key(who, OLD).await;
    assert_eq!(world.run(&rotation(OLD, NEW, 1), who).await.unwrap().ended, 2);
    assert_eq!(world.run(&make(9, targets[0]), who).await, Err(Refusal::OtherKey));
    world.reseal(who, 1).await;
    let reader = crate::authorize::OfReader::test(DeviceId([0x77; 16]), None);
    for (secret, open) in [(1_u8, false), (2, false), (3, true)] {
        let (share, verifier) = (common::share::share_id(&[secret; 32]), common::share::verifier(&[secret; 32]));
        let proof = common::share::proof(&verifier, ClusterId([9; 16]), reader.reader());
        let opened = world.run(&OpenShare { share, proof }, reader).await;
        match open {
            true => assert!(opened.is_ok(), "{opened:?}"),
            false => assert!(matches!(opened, Err(Refusal::Share(ShareFault::Revoked(_))))),
        }
    }
    let listed = world.run(&ListShares { after: None }, who).await.unwrap().shares;
    assert!(listed.iter().all(|view| sealed::key_of(&view.sealed) == Some(1)), "paths of ended ones are told, too");
    assert_eq!(world.list(who, node(9)).await, Err(Refusal::NotFound(What::Folder)));
}
