//! Shares: what may be asked through one, by whom, until when.

use std::time::Duration;

use common::id::{AccountId, DeviceId, ShareId};
use common::proto::refusal::{ShareFault, What};
use common::share;

use super::*;
use crate::authorize::{GuestToBe, OfReader};
use crate::op::share::AdmitGuest;
use crate::schema::key;

const READER: DeviceId = DeviceId([0x77; 16]);

struct Shared {
    id: ShareId,
    verifier: [u8; 32],
}

impl Shared {
    fn of(secret: u8) -> Self {
        Self { id: share::share_id(&[secret; 32]), verifier: *share::verifier(&[secret; 32]) }
    }

    fn proof(&self, reader: DeviceId) -> [u8; 32] {
        share::proof(&self.verifier, ClusterId([9; 16]), reader)
    }

    fn made(&self, target: ShareTarget) -> NewShare {
        NewShare {
            request: RequestId::random(),
            share: self.id,
            verifier: self.verifier,
            target,
            ttl_ms: None,
            guests: None,
            sealed: vec![1].try_into().unwrap(),
        }
    }

    fn guest(&self) -> AdmitGuest {
        let proof = share::guest_proof(&self.verifier, &[5; 32], b"request");
        AdmitGuest { share: self.id, proof, exporter: [5; 32], signing_request: b"request".to_vec() }
    }
}

fn reader() -> OfReader {
    OfReader::test(READER, None)
}

impl World {
    async fn open(&self, shared: &Shared) -> Result<ShareOpened, Refusal> {
        self.run(&OpenShare { share: shared.id, proof: shared.proof(READER) }, reader()).await
    }

    async fn listed(&self, shared: &Shared, folder: NodeId) -> Result<usize, Refusal> {
        let request = ListShared { share: shared.id, proof: shared.proof(READER), folder, after: None };
        self.run(&request, reader()).await.map(|listing| listing.entries.len())
    }

    /// Whether a version can be read at this place.
    async fn readable(&self, shared: &Shared, version: VersionId, at: Option<(NodeId, NameToken)>) -> bool {
        let wants = vec![SharedWant { version, from: 0, at }].try_into().unwrap();
        let request = ReadShared { share: shared.id, proof: shared.proof(READER), wants };
        self.run(&request, reader()).await.unwrap().1.missing.is_empty()
    }
}

/// Account 1 with /2/3 (folders), the file 10 in 2, the file 11 in 3, and the file 12 beside them.
async fn world() -> (World, OfAccount) {
    let world = World::new();
    let who = world.account(1).await;
    world.account(6).await;
    assert_eq!(world.folder(who, node(1), 2, 2).await, FolderMade::Made);
    assert_eq!(world.folder(who, node(2), 3, 3).await, FolderMade::Made);
    for (folder, at) in [(2, 10), (3, 11), (1, 12)] {
        assert!(matches!(world.file(who, node(folder), at, at).await, FilePublished::Visible(_)));
    }
    (world, who)
}

async fn version_of(world: &World, who: OfAccount, start: NodeId, path: &[u8]) -> VersionId {
    world.look(who, start, path).await.last().unwrap().version.as_ref().unwrap().version
}

#[tokio::test]
async fn a_folder_is_read_with_what_is_below_it_and_nothing_else() {
    let (world, who) = world().await;
    let shared = Shared::of(1);
    world.run(&shared.made(ShareTarget::Folder(node(2))), who).await.unwrap();
    let opened = world.open(&shared).await.unwrap();
    assert_eq!((opened.account, opened.target, opened.version), (who.account(), ShareTarget::Folder(node(2)), None));
    assert_eq!(world.listed(&shared, node(2)).await, Ok(2));
    assert_eq!(world.listed(&shared, node(3)).await, Ok(1));
    for outside in [1, 10, 11, 12, 6, 99] {
        assert_eq!(world.listed(&shared, node(outside)).await, Err(Refusal::NotFound(What::Folder)), "{outside}");
    }
    let deep = version_of(&world, who, node(1), &[2, 3, 11]).await;
    let beside = version_of(&world, who, node(1), &[12]).await;
    assert!(world.readable(&shared, deep, Some((node(3), token(11)))).await);
    // At another file's place, at none, outside of it, and what is outside at a place inside.
    assert!(!world.readable(&shared, deep, Some((node(2), token(10)))).await);
    assert!(!world.readable(&shared, deep, None).await);
    assert!(!world.readable(&shared, beside, Some((node(1), token(12)))).await);
    assert!(!world.readable(&shared, beside, Some((node(2), token(10)))).await);

    world.rename(who, (node(2), 3), 3, (node(1), 3), None).await.unwrap();
    assert_eq!(world.listed(&shared, node(3)).await, Err(Refusal::NotFound(What::Folder)));
    assert!(!world.readable(&shared, deep, Some((node(3), token(11)))).await);
    world.remove(who, node(1), 2, 2, true).await.unwrap();
    assert_eq!(world.open(&shared).await, Err(Refusal::NotFound(What::Folder)));
    assert_eq!(world.listed(&shared, node(2)).await, Err(Refusal::NotFound(What::Folder)));
}

#[tokio::test]
async fn what_lies_in_a_folder_that_was_removed_is_shared_no_more() {
    let (world, who) = world().await;
    let (folder, file, fixed) = (Shared::of(1), Shared::of(2), Shared::of(3));
    let deep = version_of(&world, who, node(1), &[2, 3, 11]).await;
    world.run(&folder.made(ShareTarget::Folder(node(3))), who).await.unwrap();
    world.run(&file.made(ShareTarget::File(node(11))), who).await.unwrap();
    world.run(&fixed.made(ShareTarget::Version(node(11), deep)), who).await.unwrap();
    let at = Some((node(3), token(11)));
    assert!(world.readable(&folder, deep, at).await && world.readable(&file, deep, None).await);
    // The folder above both: their own records stay as they are.
    world.remove(who, node(1), 2, 2, true).await.unwrap();
    assert_eq!(world.open(&folder).await, Err(Refusal::NotFound(What::Folder)));
    assert_eq!(world.listed(&folder, node(3)).await, Err(Refusal::NotFound(What::Folder)));
    assert_eq!(world.open(&file).await, Err(Refusal::NotFound(What::Node)));
    assert!(!world.readable(&folder, deep, at).await && !world.readable(&file, deep, None).await);
    assert!(world.readable(&fixed, deep, None).await, "one version stays what it is");
}

#[tokio::test]
async fn a_file_is_read_in_all_its_versions_or_in_one() {
    let (world, who) = world().await;
    let (follow, fixed) = (Shared::of(1), Shared::of(2));
    let first = version_of(&world, who, node(1), &[12]).await;
    world.run(&follow.made(ShareTarget::File(node(12))), who).await.unwrap();
    world.run(&fixed.made(ShareTarget::Version(node(12), first)), who).await.unwrap();
    let upload = version(70);
    world.begin(who, upload).await;
    let file = new_file(node(1), 12, 12, version(71), Expect::File(node(12), first));
    world.publish(who, upload, vec![file], true).await.unwrap();

    let opened = world.open(&follow).await.unwrap();
    assert_eq!(opened.version.unwrap().version, version(71));
    assert_eq!(world.open(&fixed).await.unwrap().version.unwrap().version, first);
    assert!(world.readable(&follow, first, None).await && world.readable(&follow, version(71), None).await);
    assert!(world.readable(&fixed, first, None).await && !world.readable(&fixed, version(71), None).await);
    let other = version_of(&world, who, node(1), &[2, 10]).await;
    for shared in [&follow, &fixed] {
        assert!(!world.readable(shared, other, None).await);
        assert!(!world.readable(shared, other, Some((node(2), token(10)))).await);
        assert_eq!(world.listed(shared, node(1)).await, Err(Refusal::Forbidden));
    }
    world.remove(who, node(1), 12, 12, false).await.unwrap();
    assert_eq!(world.open(&follow).await, Err(Refusal::NotFound(What::Node)));
    assert!(world.open(&fixed).await.is_ok(), "history keeps it");
}

#[tokio::test]
async fn only_what_is_there_and_ones_own_is_shared() {
    let (world, who) = world().await;
    let other = OfAccount::test(AccountId([6; 16]), DeviceId([6; 16]));
    let check = async |who, target, expected: Refusal| {
        assert_eq!(world.run(&Shared::of(9).made(target), who).await, Err(expected), "{target:?}");
    };
    check(who, ShareTarget::Folder(node(10)), Refusal::NotAFolder).await;
    check(who, ShareTarget::File(node(2)), Refusal::IsAFolder).await;
    check(who, ShareTarget::File(node(99)), Refusal::NotFound(What::Node)).await;
    check(who, ShareTarget::Version(node(12), version(99)), Refusal::NotFound(What::Version)).await;
    check(other, ShareTarget::Folder(node(2)), Refusal::NotFound(What::Node)).await;
    let ten = version_of(&world, who, node(1), &[2, 10]).await;
    check(who, ShareTarget::Version(node(12), ten), Refusal::NotFound(What::Version)).await;

    let shared = Shared::of(1);
    world.run(&shared.made(ShareTarget::Folder(node(2))), who).await.unwrap();
    let again = world.run(&shared.made(ShareTarget::Folder(node(2))), who).await;
    assert_eq!(again, Err(Refusal::Exists(What::Request)));
    let view = ShowVersion { node: node(12), version: ten };
    assert_eq!(world.run(&view, who).await, Err(Refusal::NotFound(What::Version)));

    let revoke = RevokeShare { request: RequestId::random(), share: shared.id };
    assert_eq!(world.run(&revoke, other).await, Err(Refusal::Share(ShareFault::Unknown)));
    assert!(world.run(&ListShares { after: None }, other).await.unwrap().shares.is_empty());
    let listed = world.run(&ListShares { after: None }, who).await.unwrap();
    assert_eq!((listed.shares.len(), listed.shares[0].share, listed.more), (1, shared.id, false));
}

#[tokio::test]
async fn without_the_proof_for_its_reader_or_after_its_end_nothing_is_answered() {
    let (mut world, who) = world().await;
    let (shared, other) = (Shared::of(1), Shared::of(2));
    let new = NewShare { ttl_ms: Some(1_000), ..shared.made(ShareTarget::Folder(node(2))) };
    world.run(&new, who).await.unwrap();
    let unknown = || Err(Refusal::Share(ShareFault::Unknown));
    assert_eq!(world.open(&other).await, unknown());
    for proof in [other.proof(READER), shared.proof(DeviceId([1; 16])), [0; 32]] {
        assert_eq!(world.run(&OpenShare { share: shared.id, proof }, reader()).await, unknown());
    }
    // A guest of another share.
    let guest = OfReader::test(READER, Some(other.id));
    assert_eq!(world.run(&OpenShare { share: shared.id, proof: shared.proof(READER) }, guest).await, unknown());
    let guest = OfReader::test(READER, Some(shared.id));
    assert!(world.run(&OpenShare { share: shared.id, proof: shared.proof(READER) }, guest).await.is_ok());

    let end = world.context.now.plus(Duration::from_secs(1));
    world.context.now = end;
    assert_eq!(world.open(&shared).await, Err(Refusal::Share(ShareFault::Expired(end))));
    assert_eq!(world.listed(&shared, node(2)).await, Err(Refusal::Share(ShareFault::Expired(end))));
    let revoke = RevokeShare { request: RequestId::random(), share: shared.id };
    world.run(&revoke, who).await.unwrap();
    assert_eq!(world.open(&shared).await, Err(Refusal::Share(ShareFault::Revoked(end))));
    // The wrong proof is told nothing of that.
    assert_eq!(world.run(&OpenShare { share: shared.id, proof: [0; 32] }, reader()).await, unknown());

    // Ended long ago: forgotten when another one is made.
    world.context.now = end.plus(Duration::from_secs(31 * 24 * 3600));
    world.run(&other.made(ShareTarget::Folder(node(2))), who).await.unwrap();
    assert_eq!(world.open(&shared).await, unknown());
    assert_eq!(world.count(&key::all_shares()).await, 1);
    assert_eq!(world.count(&key::all_shares_of()).await, 1);
}

#[tokio::test]
async fn guests_are_as_many_as_the_share_says_and_change_nothing_else() {
    let (mut world, who) = world().await;
    let (shared, members) = (Shared::of(1), Shared::of(2));
    let new = NewShare { guests: Some(2), ttl_ms: Some(1_000), ..shared.made(ShareTarget::Folder(node(2))) };
    world.run(&new, who).await.unwrap();
    world.run(&members.made(ShareTarget::Folder(node(2))), who).await.unwrap();
    let admit =
        async |world: &World, of: &Shared, request: AdmitGuest| world.run(&request, GuestToBe(of.id)).await.map(|_| ());
    let fault = |fault| Err(Refusal::Share(fault));
    let wrong = AdmitGuest { proof: [0; 32], ..shared.guest() };
    assert_eq!(admit(&world, &shared, wrong).await, fault(ShareFault::Unknown));
    let elsewhere = AdmitGuest { exporter: [6; 32], ..shared.guest() };
    assert_eq!(admit(&world, &shared, elsewhere).await, fault(ShareFault::Unknown));
    assert_eq!(admit(&world, &members, members.guest()).await, fault(ShareFault::NoGuests));
    let devices = world.count(&key::devices()).await;
    for _ in 0..2 {
        assert_eq!(admit(&world, &shared, shared.guest()).await, Ok(()));
    }
    assert_eq!(admit(&world, &shared, shared.guest()).await, fault(ShareFault::GuestsUsed));
    assert_eq!(world.count(&key::devices()).await, devices);
    let listed = world.run(&ListShares { after: None }, who).await.unwrap();
    assert!(listed.shares.iter().any(|view| view.share == shared.id && view.guests == Some(0)));
    world.context.now = world.context.now.plus(Duration::from_secs(2));
    let expired = admit(&world, &shared, shared.guest()).await;
    assert!(matches!(expired, Err(Refusal::Share(ShareFault::Expired(_)))));
}
