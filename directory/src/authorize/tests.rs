//! Every request against every role.

use common::bounded::BoundedVec;
use common::history::HistoryPoint;
use common::id::{NameToken, NodeId, RequestId, VersionId};
use common::proto::directory::*;
use common::proto::parts::{Addresses, Der, Label};
use common::redundancy::Redundancy;

use super::*;

fn ring() -> SealedRing {
    SealedRing::default()
}

const REQUEST: RequestId = RequestId([0; 16]);
const NODE: NodeId = NodeId([0; 16]);
const TOKEN: NameToken = NameToken([0; 16]);
const VERSION: VersionId = VersionId([0; 16]);
const SHARE: ShareId = ShareId([0; 16]);

/// Each request with the roles that may make it: [directory, peer, client, admin]; and whether a guest may.
fn table() -> Vec<(DirectoryRequest, [bool; 5])> {
    let guests = ["Hello", "GetMap", "OpenShare", "ListShared", "ReadShared"];
    let with_guests = |(request, [a, b, c, d]): (DirectoryRequest, [bool; 4])| {
        let guest = guests.contains(&request.name());
        (request, [a, b, c, d, guest])
    };
    members().into_iter().map(with_guests).collect()
}

fn members() -> Vec<(DirectoryRequest, [bool; 4])> {
    type R = DirectoryRequest;
    let redundancy = Redundancy::DEFAULT;
    let everybody = [false, true, true, true];
    let client = [false, false, true, false];
    let admin = [false, false, false, true];
    let heartbeat = Heartbeat {
        advertise: Addresses::empty(),
        label: Label::default(),
        zone: Label::default(),
        capacity: 0,
        used: 0,
        free: 0,
        shards: 0,
        trash: 0,
        quarantined: 0,
        scrub_since: None,
        scrubbed: None,
        writable: false,
        seen: HistoryPoint::NONE,
        map: 0,
        leaving: false,
    };
    let rename = Rename {
        request: REQUEST,
        from_folder: NODE,
        from_token: TOKEN,
        node: NODE,
        to_folder: NODE,
        to_token: TOKEN,
        sealed: Default::default(),
        replace: None,
    };
    let revoke = Revoke { request: REQUEST, id: Revoked::Peer(PeerId([0; 16])) };
    let retention = Retention { from: 0, points: BoundedVec::empty(), last: 0 };
    let prune = Prune { request: REQUEST, retention, dry_run: true, cursor: PruneCursor::default() };
    let target = ShareTarget::Folder(NODE);
    let new_share = NewShare {
        request: REQUEST,
        share: SHARE,
        verifier: [0; 32],
        target,
        ttl_ms: None,
        guests: None,
        sealed: Default::default(),
    };
    let chunks = BoundedVec::empty;
    vec![
        (R::Hello(Hello { program: Label::default(), generation: 0, conflicts: 0 }), everybody),
        (R::GetMap(GetMap { have: 0 }), everybody),
        (R::Renew(Renew { request: Der::default() }), [false, true, true, false]),
        (R::GetStatus(GetStatus {}), [false, false, true, true]),
        (R::LookUp(LookUp { start: NODE, path: BoundedVec::empty(), manifest: false, at: None }), client),
        (R::List(List { folder: NODE, after: None, at: None }), client),
        (R::MakeFolders(MakeFolders { request: REQUEST, folders: BoundedVec::empty() }), client),
        (R::Rename(rename), client),
        (R::Remove(Remove { request: REQUEST, folder: NODE, token: TOKEN, node: NODE, recursive: true }), client),
        (R::ReadManifests(ReadManifests { wants: BoundedVec::empty() }), client),
        (R::Begin(Begin { request: REQUEST, version: VERSION, redundancy, bytes: 0 }), client),
        (R::Extend(Extend { version: VERSION, bytes: 0 }), client),
        (R::Ask(Ask { version: VERSION, redundancy, chunks: chunks() }), client),
        (R::Register(Register { version: VERSION, chunks: BoundedVec::empty() }), client),
        (R::PutPages(PutPages { version: VERSION, pages: BoundedVec::empty() }), client),
        (R::Publish(Publish { request: REQUEST, upload: VERSION, files: BoundedVec::empty(), done: true }), client),
        (R::Abandon(Abandon { version: VERSION }), client),
        (R::SetRedundancy(SetRedundancy { request: REQUEST, versions: BoundedVec::empty(), redundancy }), client),
        (R::Heartbeat(heartbeat), [false, true, false, false]),
        (R::NewTicket(NewTicket { role: TicketRole::Peer, account: None, uses: 1, ttl_ms: 1 }), admin),
        (R::Revoke(revoke), admin),
        (R::DrainPeer(DrainPeer { request: REQUEST, peer: PeerId([0; 16]), drain: true }), admin),
        (R::RemovePeer(RemovePeer { request: REQUEST, peer: PeerId([0; 16]), lost: true }), admin),
        (R::Reconcile(Reconcile { dry_run: false }), admin),
        (R::CheckStore(CheckStore { repair: true, deep: true }), admin),
        (R::FindMoment(FindMoment { when: When::Now }), client),
        (R::ReadHistory(ReadHistory { folder: NODE, token: TOKEN, before: None }), client),
        (R::CreateSnapshot(CreateSnapshot { request: REQUEST, token: TOKEN, sealed: Default::default() }), client),
        (R::ListSnapshots(ListSnapshots { after: None }), client),
        (R::GetSnapshot(GetSnapshot { token: TOKEN }), client),
        (R::RemoveSnapshot(RemoveSnapshot { request: REQUEST, token: TOKEN }), client),
        (R::PlanPrune(PlanPrune { policy: None }), client),
        (R::Prune(prune), client),
        (R::MeasureSpace(MeasureSpace { cursor: PruneCursor::default() }), client),
        (R::GetUsage(GetUsage {}), client),
        (R::ListAccounts(ListAccounts { after: None }), admin),
        (R::SetQuota(SetQuota { request: REQUEST, account: Label::default(), quota: Quota::default() }), admin),
        (R::NewShare(new_share), client),
        (R::ListShares(ListShares { after: None }), client),
        (R::RevokeShare(RevokeShare { request: REQUEST, share: SHARE }), client),
        (R::ShowVersion(ShowVersion { node: NODE, version: VERSION }), client),
        (R::OpenShare(OpenShare { share: SHARE, proof: [0; 32] }), client),
        (R::ListShared(ListShared { share: SHARE, proof: [0; 32], folder: NODE, after: None }), client),
        (R::ReadShared(ReadShared { share: SHARE, proof: [0; 32], wants: BoundedVec::empty() }), client),
        (R::AskContents(AskContents { version: VERSION, redundancy, contents: BoundedVec::empty() }), client),
        (R::ListVersions(ListVersions { after: None }), client),
        (R::SwapPages(SwapPages { request: REQUEST, upload: VERSION, pages: BoundedVec::empty() }), client),
        (R::RotateKey(RotateKey { request: REQUEST, was: [0; 32], key_check: [0; 32], key: 1, ring: ring() }), client),
        (R::ListStale(ListStale { after: None }), client),
        (R::Reseal(Reseal { request: REQUEST, values: BoundedVec::empty() }), client),
        (R::SettleKey(SettleKey { request: REQUEST, key: 1, ring: ring() }), client),
        (R::NoteConflict(NoteConflict { request: REQUEST, version: VERSION, sealed: Default::default() }), client),
    ]
}

fn subject(role: Role) -> Subject {
    match role {
        Role::Directory => Subject::Directory,
        Role::Peer => Subject::Peer(PeerId([1; 16])),
        Role::Client => Subject::Client { device: DeviceId([2; 16]), account: AccountId([3; 16]) },
        Role::Admin => Subject::Admin(DeviceId([4; 16])),
        Role::Guest => Subject::Guest { guest: DeviceId([5; 16]), share: SHARE },
    }
}

#[test]
fn every_request_is_for_exactly_the_roles_of_the_table() {
    let table = table();
    let names: Vec<_> = table.iter().map(|(request, _)| request.name()).collect();
    let all: Vec<_> = DirectoryRequest::TAGS.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, all, "a request is missing in the table");
    let roster = Roster::default();
    for (request, expected) in table {
        for (role, allowed) in Role::ALL.into_iter().zip(expected) {
            let verdict = check(&subject(role), role, &request, &roster);
            let expected = if allowed { Ok(()) } else { Err(Refusal::WrongRole) };
            assert_eq!(verdict, expected, "{} by {role}", request.name());
        }
    }
}

#[test]
fn who_was_revoked_may_nothing_whatever_the_role() {
    let roster = Roster::revoking(&[[1; 16], [2; 16]]);
    for (request, _) in table() {
        for role in [Role::Peer, Role::Client] {
            assert_eq!(check(&subject(role), role, &request, &roster), Err(Refusal::Revoked));
        }
    }
}

#[test]
fn nobody_acts_as_another_kind() {
    for role in Role::ALL {
        let subject = subject(role);
        assert_eq!(of_account(&subject).is_ok(), role == Role::Client);
        assert_eq!(of_peer(&subject).is_ok(), role == Role::Peer);
        assert_eq!(of_admin(&subject).is_ok(), role == Role::Admin);
        assert_eq!(of_reader(&subject).is_ok(), matches!(role, Role::Client | Role::Guest));
    }
}
