//! Who may ask what: strangers, roles, and accounts that must not touch each other. Asked with raw requests, as an attacker would.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use client::keystore::Home;
use common::address::ShardAddress;
use common::bounded::BoundedVec;
use common::grant::Grant;
use common::id::{ChunkId, DeviceId, NameToken, NodeId, PeerId, RequestId, VersionId};
use common::identity::role::{directory_name, peer_name};
use common::identity::{
    Authority, Credentials, Identity, PrivateKey, StatementKey, StatementPublic, Subject, Trust, certificate,
};
use common::proto::Request;
use common::proto::directory::*;
use common::proto::parts::PlacedChunk;
use common::proto::peer::{
    ChainOutcome, CondemnShards, Digest, DropShards, GetShard, ListShards, Onward, PutChain, PutShard, Stored,
};
use common::proto::refusal::{GrantFault, Refusal, What};
use common::redundancy::Redundancy;
use common::signed::Signed;
use common::time::Clock;
use common::transport::{CallError, Dialler, Endpoint, EndpointOptions, call};
use tests::harness::process::{eventually, run};
use tests::harness::{Cluster, ClusterOptions};

use crate::support::{cluster, file, text};

const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody with credentials who asks whatever it likes.
struct Asker {
    endpoint: Endpoint,
    dialler: Dialler,
}

impl Asker {
    fn new(authority: Vec<u8>, certificate: Vec<u8>, key: &PrivateKey) -> Self {
        let own = Credentials::new(vec![certificate.into()], key).unwrap();
        let endpoint = Endpoint::bind_any(EndpointOptions::client()).unwrap();
        let trust = Trust::new(authority.into(), Clock::System).unwrap();
        let dialler = endpoint.dialler(trust.client(&own).unwrap()).unwrap();
        Self { endpoint, dialler }
    }

    fn device(home: &Home) -> Self {
        let key = PrivateKey::from_pkcs8(&home.credentials.private_key).unwrap();
        Self::new(home.credentials.authority.clone(), home.credentials.certificate.clone(), &key)
    }

    fn peer(cluster: &Cluster, number: usize) -> Self {
        let data = cluster.peer_data(number);
        let load = |name: &str| certificate::load_certificate(&data.join(name)).unwrap().to_vec();
        Self::new(load("ca.pem"), load("peer.pem"), &PrivateKey::load(&data.join("peer.key")).unwrap())
    }

    async fn ask<R: Request>(
        &self,
        address: &str,
        name: &str,
        request: &R,
        body: &[u8],
    ) -> Result<R::Response, CallError> {
        let address: SocketAddr = address.parse().unwrap();
        let connection = self.endpoint.dial(&self.dialler, address, name).await?;
        let body = if body.is_empty() { Vec::new() } else { vec![Bytes::copy_from_slice(body)] };
        let answer = call(&connection, request, body, PATIENCE).await.map(|(answer, _)| answer);
        connection.close();
        answer
    }

    async fn refused<R: Request>(&self, address: &str, name: &str, request: &R) -> Refusal {
        match self.ask(address, name, request, &[]).await {
            Err(CallError::Refused(refusal)) => refusal,
            Err(other) => panic!("{}: {other:?}", R::NAME),
            Ok(_) => panic!("{} was granted", R::NAME),
        }
    }
}

/// Where the servers of a cluster are, and what they are called.
struct Places {
    directory: (String, String),
    peer: (String, String),
}

fn places(cluster: &Cluster, home: &Home, status: &serde_json::Value) -> Places {
    let peer = status["peers"]
        .as_array()
        .unwrap()
        .iter()
        .find(|peer| peer["addresses"][0] == cluster.peers[0].as_ref().unwrap().address)
        .unwrap();
    let id = peer["peer"].as_str().unwrap().parse().unwrap();
    Places {
        directory: (cluster.directory.as_ref().unwrap().address.clone(), directory_name(home.device.cluster)),
        peer: (cluster.peers[0].as_ref().unwrap().address.clone(), peer_name(home.device.cluster, id)),
    }
}

/// Two accounts, `home` with a file, and one peer.
fn two_accounts() -> (Cluster, Home, Home, Places) {
    let options = ClusterOptions { peers: 1, redundancy: "1/1".to_owned(), ..ClusterOptions::default() };
    let (cluster, work) = cluster(options);
    cluster.join_device("other", "other").unwrap();
    let source = file(&work, "source", 1, 2_500_000);
    cluster.shoal(["put", text(&source), "/file"]).unwrap().expect(0).unwrap();
    let home = Home::open(&cluster.home("device")).unwrap();
    let other = Home::open(&cluster.home("other")).unwrap();
    let places = places(&cluster, &home, &cluster.status().unwrap());
    (cluster, home, other, places)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn hello() -> Hello {
    Hello { program: "test".try_into().unwrap(), generation: 0, conflicts: 0 }
}

fn name_of(program: u8) -> NameToken {
    NameToken([program; 16])
}

#[test]
fn strangers_get_past_no_handshake() {
    let (_cluster, home, _, places) = two_accounts();
    runtime().block_on(async {
        let now = Clock::System.now();
        // A certificate of an authority of their own, with the very names of a device of ours.
        let authority = Authority::create(home.device.cluster, now).unwrap();
        let key = PrivateKey::generate().unwrap();
        let subject = Subject::Client { device: home.device.device, account: home.device.account };
        let identity = Identity { cluster: home.device.cluster, subject };
        let forged = authority.issue_for(&key, &identity, now, certificate::VALIDITY).unwrap();
        let stranger = Asker::new(home.credentials.authority.clone(), forged.to_vec(), &key);
        for (address, name) in [&places.directory, &places.peer] {
            let refused = stranger.ask(address, name, &hello(), &[]).await.unwrap_err();
            assert!(!matches!(refused, CallError::Refused(_)), "its request was read: {refused:?}");
        }
        // Somebody who asks for the wrong server is not talked to either.
        let device = Asker::device(&home);
        let wrong = device.ask(&places.peer.0, &places.directory.1, &hello(), &[]).await.unwrap_err();
        assert!(wrong.handshake().is_some(), "{wrong:?}");
    });
}

#[test]
fn each_role_may_ask_only_what_is_its_own() {
    let (cluster, home, _, places) = two_accounts();
    runtime().block_on(async {
        let (directory, named) = (&places.directory.0, &places.directory.1);
        let device = Asker::device(&home);
        let ticket = NewTicket { role: TicketRole::Client, account: None, uses: 1, ttl_ms: 1_000 };
        let revoke = Revoke { request: RequestId::random(), id: Revoked::Device(DeviceId([1; 16])) };
        assert_eq!(device.refused(directory, named, &ticket).await, Refusal::WrongRole);
        assert_eq!(device.refused(directory, named, &revoke).await, Refusal::WrongRole);
        assert_eq!(device.refused(directory, named, &heartbeat()).await, Refusal::WrongRole);
        let drop = DropShards { generation: 99, shards: BoundedVec::empty() };
        assert_eq!(device.refused(&places.peer.0, &places.peer.1, &drop).await, Refusal::WrongRole);

        let condemn = CondemnShards { generation: 99, shards: BoundedVec::empty() };
        let list = ListShards { part: 0, after: None };
        let request = RequestId::random();
        let (drain, remove) = (
            DrainPeer { request, peer: PeerId([1; 16]), drain: true },
            RemovePeer { request, peer: PeerId([1; 16]), lost: true },
        );
        let (reconcile, check) = (Reconcile { dry_run: false }, CheckStore { repair: true, deep: true });
        for asker in [&device, &Asker::peer(&cluster, 0)] {
            let (peer, name) = (&places.peer.0, &places.peer.1);
            assert_eq!(asker.refused(peer, name, &condemn).await, Refusal::WrongRole);
            assert_eq!(asker.refused(peer, name, &Digest {}).await, Refusal::WrongRole);
            assert_eq!(asker.refused(peer, name, &list).await, Refusal::WrongRole);
            assert_eq!(asker.refused(directory, named, &drain).await, Refusal::WrongRole);
            assert_eq!(asker.refused(directory, named, &remove).await, Refusal::WrongRole);
            assert_eq!(asker.refused(directory, named, &reconcile).await, Refusal::WrongRole);
            assert_eq!(asker.refused(directory, named, &check).await, Refusal::WrongRole);
        }

        let peer = Asker::peer(&cluster, 0);
        let root = home.device.root;
        assert_eq!(
            peer.refused(directory, named, &List { folder: root, after: None, at: None }).await,
            Refusal::WrongRole
        );
        let look = LookUp { start: root, path: BoundedVec::empty(), manifest: false, at: None };
        assert_eq!(peer.refused(directory, named, &look).await, Refusal::WrongRole);
        assert_eq!(peer.refused(directory, named, &begin()).await, Refusal::WrongRole);
        assert_eq!(
            peer.refused(directory, named, &ReadManifests { wants: BoundedVec::empty() }).await,
            Refusal::WrongRole
        );
        assert_eq!(peer.refused(directory, named, &ticket).await, Refusal::WrongRole);
        assert_eq!(peer.refused(&places.peer.0, &places.peer.1, &drop).await, Refusal::WrongRole);
        let get = GetShard { account: Some(home.device.account), address: ShardAddress([0; 20]), offset: 0, len: 1 };
        assert_eq!(peer.refused(&places.peer.0, &places.peer.1, &get).await, Refusal::WrongRole);
    });
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        advertise: BoundedVec::empty(),
        label: "test".try_into().unwrap(),
        zone: "".try_into().unwrap(),
        capacity: 1,
        used: 0,
        free: 1,
        shards: 0,
        writable: true,
        trash: 0,
        quarantined: 0,
        scrub_since: None,
        scrubbed: None,
        seen: common::history::HistoryPoint::NONE,
        map: 0,
        leaving: false,
    }
}

fn begin() -> Begin {
    let version = VersionId::random();
    Begin { request: RequestId::random(), version, redundancy: Redundancy::new(1, 1).unwrap(), bytes: 1 << 20 }
}

/// What the owner can see of the only file: its entry and its chunks.
async fn seen_by_owner(owner: &Asker, home: &Home, places: &Places) -> (EntryId, Vec<PlacedChunk>) {
    let (directory, named) = (&places.directory.0, &places.directory.1);
    let list =
        owner.ask(directory, named, &List { folder: home.device.root, after: None, at: None }, &[]).await.unwrap();
    let entry = list.entries.first().unwrap().clone();
    let version = entry.version.unwrap().version;
    let wants = vec![ManifestWant { version, from: 0 }].try_into().unwrap();
    let manifests = owner.ask(directory, named, &ReadManifests { wants }, &[]).await.unwrap();
    let id = EntryId { token: entry.token, node: entry.node, version };
    (id, manifests.placements.into_inner())
}

struct EntryId {
    token: NameToken,
    node: NodeId,
    version: VersionId,
}

#[test]
fn one_account_cannot_see_guess_pin_or_change_what_is_anothers() {
    let (cluster, home, other, places) = two_accounts();
    runtime().block_on(async {
        let (directory, named) = (&places.directory.0, &places.directory.1);
        let (owner, thief) = (Asker::device(&home), Asker::device(&other));
        let (entry, chunks) = seen_by_owner(&owner, &home, &places).await;
        let chunk = chunks.first().unwrap();
        let root = home.device.root;

        // See.
        let list = thief.ask(directory, named, &List { folder: root, after: None, at: None }, &[]).await;
        assert!(!matches!(&list, Ok(listing) if !listing.entries.is_empty()), "{list:?}");
        let look = LookUp { start: root, path: vec![entry.token].try_into().unwrap(), manifest: true, at: None };
        let found = thief.ask(directory, named, &look, &[]).await;
        assert!(!matches!(&found, Ok(found) if !found.entries.is_empty()), "{found:?}");
        let wants = vec![ManifestWant { version: entry.version, from: 0 }].try_into().unwrap();
        let manifests = thief.ask(directory, named, &ReadManifests { wants }, &[]).await.unwrap();
        assert!(manifests.pages.is_empty() && manifests.placements.is_empty());

        // Guess and pin: a chunk of another account is as unknown as one that does not exist.
        let begun = begin();
        thief.ask(directory, named, &begun, &[]).await.unwrap();
        let ids = vec![chunk.chunk, ChunkId([7; 20])].try_into().unwrap();
        let ask = Ask { version: begun.version, redundancy: begun.redundancy, chunks: ids };
        let answered = thief.ask(directory, named, &ask, &[]).await.unwrap();
        assert!(answered.known.iter().all(Option::is_none));
        let file = NewFile {
            folder: other.device.root,
            token: name_of(1),
            node: NodeId::random(),
            version: VersionId::random(),
            sealed: vec![1; 40].try_into().unwrap(),
            meta: vec![1; 40].try_into().unwrap(),
            redundancy: begun.redundancy,
            pages: 1,
            sealed_bytes: 1,
            inline: Some(InlinePage {
                chunks: vec![chunk.chunk].try_into().unwrap(),
                sealed: vec![1; 40].try_into().unwrap(),
            }),
            expect: Expect::Nothing,
            content: None,
        };
        let publish = Publish {
            request: RequestId::random(),
            upload: begun.version,
            files: vec![file].try_into().unwrap(),
            done: false,
        };
        let published = thief.ask(directory, named, &publish, &[]).await.unwrap();
        assert!(matches!(published.results.first(), Some(FilePublished::Refused(Refusal::NotHeld))), "{published:?}");

        // Change.
        let remove = Remove {
            request: RequestId::random(),
            folder: root,
            token: entry.token,
            node: entry.node,
            recursive: true,
        };
        assert!(matches!(thief.refused(directory, named, &remove).await, Refusal::NotFound(_) | Refusal::Forbidden));
        let rename = Rename {
            request: RequestId::random(),
            from_folder: root,
            from_token: entry.token,
            node: entry.node,
            to_folder: other.device.root,
            to_token: name_of(2),
            sealed: vec![1; 40].try_into().unwrap(),
            replace: None,
        };
        assert!(matches!(thief.refused(directory, named, &rename).await, Refusal::NotFound(_) | Refusal::Forbidden));
        let folder = NewFolder {
            folder: root,
            token: name_of(3),
            node: NodeId::random(),
            sealed: vec![1; 40].try_into().unwrap(),
        };
        let make = MakeFolders { request: RequestId::random(), folders: vec![folder].try_into().unwrap() };
        let made = thief.ask(directory, named, &make, &[]).await.unwrap();
        assert!(matches!(made.results.first(), Some(FolderMade::Refused(_))), "{made:?}");

        // Read from the peer, with the address in hand.
        let shard = chunk.placement.shards.first().unwrap();
        for account in [None, Some(home.device.account)] {
            let get = GetShard { account, address: shard.address, offset: 0, len: 10 };
            let refused = thief.refused(&places.peer.0, &places.peer.1, &get).await;
            assert!(matches!(refused, Refusal::NotFound(What::Shard) | Refusal::Forbidden), "{refused:?}");
        }
        let get = GetShard { account: None, address: shard.address, offset: 0, len: 10 };
        owner.ask(&places.peer.0, &places.peer.1, &get, &[]).await.unwrap();
    });
    // Nothing of it had an effect.
    let listed = cluster.shoal(["ls", "/"]).unwrap().expect(0).unwrap();
    assert_eq!(listed.text().trim(), "file");
}

#[test]
fn a_put_needs_a_grant_of_its_own() {
    let (_cluster, home, other, places) = two_accounts();
    runtime().block_on(async {
        let (directory, named) = (&places.directory.0, &places.directory.1);
        let (owner, thief) = (Asker::device(&home), Asker::device(&other));
        let begun = owner.ask(directory, named, &begin(), &[]).await.unwrap();
        let body = [7; 5_000];
        let put = |grant| PutShard {
            grant,
            chunk: ChunkId([5; 20]),
            index: 0,
            redundancy: Redundancy::new(1, 1).unwrap(),
            sealed_len: 5_000,
            len: 5_000,
            address: ShardAddress::of(&body),
        };
        let (peer, called) = (&places.peer.0, &places.peer.1);
        let refusal = |answer: Result<_, CallError>| match answer {
            Err(CallError::Refused(refusal)) => refusal,
            Err(other) => panic!("{other:?}"),
            Ok(common::proto::peer::Stored { .. }) => panic!("it was stored"),
        };
        let stolen = refusal(thief.ask(peer, called, &put(begun.grant.clone()), &body).await);
        assert_eq!(stolen, Refusal::Grant(GrantFault::NotYours));

        let key = StatementKey::generate().unwrap();
        let forged = Grant {
            cluster: home.device.cluster,
            generation: 1,
            account: home.device.account,
            device: home.device.device,
            upload: VersionId::random(),
            bytes: u64::MAX,
            expires: common::time::Timestamp(u64::MAX),
        };
        let forged = refusal(owner.ask(peer, called, &put(Signed::sign(&forged, &key).unwrap()), &body).await);
        assert_eq!(forged, Refusal::Grant(GrantFault::Signature));

        let mut wrong = put(begun.grant.clone());
        wrong.address = ShardAddress([9; 20]);
        assert_eq!(refusal(owner.ask(peer, called, &wrong, &body).await), Refusal::AddressMismatch);
        owner.ask(peer, called, &put(begun.grant), &body).await.unwrap();
    });
}

#[test]
fn a_peer_stores_for_a_device_under_that_devices_grant_and_reads_nothing_by_it() {
    let (cluster, home, other, places) = two_accounts();
    let runtime = runtime();
    let _inside = runtime.enter(); // endpoints are made outside of futures as well
    let (directory, peer) = (&places.directory, &places.peer);
    let (owner, passes_on) = (Asker::device(&home), Asker::peer(&cluster, 0));
    let body = [8; 5_000];
    let put = |grant| PutShard {
        grant,
        chunk: ChunkId([6; 20]),
        index: 0,
        redundancy: Redundancy::new(1, 3).unwrap(),
        sealed_len: 5_000,
        len: 5_000,
        address: ShardAddress::of(&body),
    };
    let own: PeerId = cluster.status().unwrap()["peers"][0]["peer"].as_str().unwrap().parse().unwrap();
    runtime.block_on(async {
        let begun = owner.ask(&directory.0, &directory.1, &begin(), &[]).await.unwrap();
        let chain = |peers: &[PeerId]| {
            let onward: Vec<_> = (1..).zip(peers).map(|(index, peer)| Onward { index, peer: *peer }).collect();
            PutChain { put: put(begun.grant.clone()), onward: onward.try_into().unwrap() }
        };
        let another = PeerId([9; 16]);
        for onward in [&[own][..], &[another, another], &[another, own]] {
            assert_eq!(passes_on.refused(&peer.0, &peer.1, &chain(onward)).await, Refusal::Malformed);
            assert_eq!(owner.refused(&peer.0, &peer.1, &chain(onward)).await, Refusal::Malformed);
        }
        let key = StatementKey::generate().unwrap();
        let forged = Signed::sign(&begun.grant.verify(&statement_key(&home)).unwrap(), &key).unwrap();
        let refused = passes_on.refused(&peer.0, &peer.1, &put(forged)).await;
        assert_eq!(refused, Refusal::Grant(GrantFault::Signature));

        let stored = passes_on.ask(&peer.0, &peer.1, &chain(&[another]), &body).await.unwrap();
        let expected = [ChainOutcome::Stored(Stored { existed: false }), ChainOutcome::Unreachable];
        assert_eq!(stored.outcomes.into_inner(), expected);
        let get = |account| GetShard { account, address: ShardAddress::of(&body), offset: 0, len: 10 };
        owner.ask(&peer.0, &peer.1, &get(None), &[]).await.unwrap();
        assert_eq!(passes_on.refused(&peer.0, &peer.1, &get(Some(home.device.account))).await, Refusal::WrongRole);
    });

    // A device that is revoked stores through nobody: as soon as the peer has heard of it.
    let thief = Asker::device(&other);
    let begun = runtime.block_on(thief.ask(&directory.0, &directory.1, &begin(), &[])).unwrap();
    let mut revoke = cluster.directory_command("revoke").unwrap();
    revoke.arg(other.device.device.to_string());
    run(revoke, None).unwrap().expect(0).unwrap();
    eventually("the peer knows of it", Duration::from_secs(10), || {
        let answer = runtime.block_on(passes_on.ask(&peer.0, &peer.1, &put(begun.grant.clone()), &body));
        match answer {
            Ok(_) => false,
            Err(CallError::Refused(refusal)) => refusal == Refusal::Revoked,
            Err(other) => panic!("{other:?}"),
        }
    })
    .unwrap();
}

fn statement_key(home: &Home) -> StatementPublic {
    StatementPublic(home.device.statement_key)
}
