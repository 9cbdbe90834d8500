//! A directory without sockets: an account with folders, files and chunks in any store. Also read by tests/instructions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::address::ShardAddress;
use common::bounded::BoundedVec;
use common::id::{AccountId, ChunkId, ClusterId, DeviceId, NameToken, NodeId, PeerId, RequestId, TicketId, VersionId};
use common::identity::{StatementKey, Subject};
use common::proto::directory::*;
use common::proto::parts::ShardAt;
use common::redundancy::Redundancy;
use common::time::Timestamp;
use directory::authorize::{OfAccount, OfAdmin, of_account};
use directory::kv::Store;
use directory::members::{Cluster, Members, Times};
use directory::op::Context;
use directory::op::ticket::MakeTicket;
use directory::schema::Peer;
use directory::transact::{self, Operation};

/// Folders in each other, and as many names in a path with the file at its end.
pub(crate) const DEPTH: u8 = 6;
/// Chunks in one registration, and in one page of the file's manifest.
pub(crate) const CHUNKS: usize = 64;

const ACCOUNT: AccountId = AccountId([1; 16]);
const DEVICE: DeviceId = DeviceId([2; 16]);
const UPLOAD: VersionId = VersionId([3; 16]);
const NOW: Timestamp = Timestamp(1_700_000_000_000);

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) who: OfAccount,
    pub(crate) context: Context,
}

fn node(number: u8) -> NodeId {
    NodeId([number; 16])
}

fn peer(number: u8) -> (PeerId, Peer) {
    let record = Peer {
        draining: false,
        label: "peer".to_owned().try_into().unwrap(),
        zone: String::new().try_into().unwrap(),
        capacity: 1 << 40,
        addresses: vec!["192.0.2.1:4567".to_owned().try_into().unwrap()].try_into().unwrap(),
        writable: true,
        enrolled: NOW,
        revoked: None,
    };
    (PeerId([number; 16]), record)
}

/// The id of the n-th chunk.
pub(crate) fn chunk(number: usize) -> ChunkId {
    let mut id = [0; 20];
    blake3::Hasher::new().update(&(number as u64).to_le_bytes()).finalize_xof().fill(&mut id);
    ChunkId(id)
}

/// Chunks from `first` on, three copies each, as a client registers them.
pub(crate) fn registration(first: usize) -> Register {
    let chunk = |number| {
        let chunk = chunk(number);
        let address = ShardAddress(chunk.0);
        let shard = |index: u8| ShardAt { index, peer: PeerId([index; 16]), address };
        NewChunk {
            chunk,
            sealed_len: 2_000_000,
            redundancy: Redundancy::DEFAULT,
            key: vec![8; 61].try_into().unwrap(),
            addresses: vec![address].try_into().unwrap(),
            shards: (0..3).map(shard).collect::<Vec<_>>().try_into().unwrap(),
        }
    };
    let chunks: Vec<_> = (first..first + CHUNKS).map(chunk).collect();
    Register { version: UPLOAD, chunks: chunks.try_into().unwrap() }
}

/// "Which of these 1,024 are there?": the first [`CHUNKS`] are.
pub(crate) fn question() -> Ask {
    let chunks: Vec<_> = (0..common::limits::ASK_CHUNKS).map(chunk).collect();
    Ask { version: UPLOAD, redundancy: Redundancy::DEFAULT, chunks: chunks.try_into().unwrap() }
}

/// The way to the file at the end of the folders.
pub(crate) fn path() -> LookUp {
    let path: Vec<_> = (0..=DEPTH).map(|number| NameToken([number; 16])).collect();
    LookUp { start: node(0), path: path.try_into().unwrap(), manifest: false, at: None }
}

/// The only page of the file's manifest, with its placements.
pub(crate) fn manifest() -> ReadManifests {
    ReadManifests { wants: vec![ManifestWant { version: UPLOAD, from: 0 }].try_into().unwrap() }
}

/// So many small files that share the first chunk, as one put of a folder publishes them.
pub(crate) fn publication(files: u8) -> Publish {
    let page = InlinePage { chunks: vec![chunk(0)].try_into().unwrap(), sealed: vec![7; 180].try_into().unwrap() };
    let file = |number: u8| NewFile {
        folder: node(1),
        token: NameToken([100 + number; 16]),
        node: node(100 + number),
        version: VersionId([100 + number; 16]),
        sealed: vec![6; 70].try_into().unwrap(),
        meta: vec![5; 120].try_into().unwrap(),
        redundancy: Redundancy::DEFAULT,
        pages: 1,
        sealed_bytes: 4_096,
        inline: Some(page.clone()),
        expect: Expect::Nothing,
        content: None,
    };
    let files: Vec<_> = (0..files).map(file).collect();
    Publish { request: RequestId([4; 16]), upload: SMALL, files: files.try_into().unwrap(), done: false }
}

/// The upload of [`publication`].
const SMALL: VersionId = VersionId([30; 16]);

impl World {
    /// An account, folders in each other, and in the last one a file of one page of [`CHUNKS`] chunks; and an upload under way.
    pub(crate) async fn new(store: Arc<dyn Store>) -> Self {
        let times = Times {
            heartbeat: Duration::from_secs(2),
            suspect_after: Duration::from_secs(8),
            dead_after: Duration::from_secs(60),
            lost_after: Duration::from_secs(660),
        };
        let cluster = Cluster { cluster: ClusterId([9; 16]), generation: 1, directory: BoundedVec::empty(), times };
        let key = Arc::new(StatementKey::generate().unwrap());
        let peers = (0..6).map(peer).collect();
        let members = Members::new(cluster, key, peers, BTreeSet::new(), (Instant::now(), NOW)).unwrap();
        let context = Context {
            now: NOW,
            cluster: ClusterId([9; 16]),
            generation: 1,
            redundancy: Redundancy::DEFAULT,
            roster: members.roster(),
        };
        let who = of_account(&Subject::Client { device: DEVICE, account: ACCOUNT }).unwrap();
        let world = Self { store, who, context };
        world.fill().await;
        world
    }

    pub(crate) async fn run<O: Operation>(&self, operation: &O, who: O::Who) -> O::Answer {
        transact::run(&self.store, operation, who, &self.context).await.unwrap()
    }

    async fn begin(&self, number: u8, version: VersionId) {
        let request = RequestId([number; 16]);
        self.run(&Begin { request, version, redundancy: Redundancy::DEFAULT, bytes: 1 << 40 }, self.who).await;
    }

    async fn fill(&self) {
        let ticket = MakeTicket {
            ticket: TicketId([1; 16]),
            verifier: [1; 32],
            role: TicketRole::Client,
            account: Some("ada".to_owned().try_into().unwrap()),
            uses: 2,
            ttl_ms: 1_000,
            new_account: ACCOUNT,
            new_root: node(0),
        };
        self.run(&ticket, OfAdmin::local()).await;
        let folder = |number: u8| NewFolder {
            folder: node(number),
            token: NameToken([number; 16]),
            node: node(number + 1),
            sealed: vec![6; 90].try_into().unwrap(),
        };
        let folders: Vec<_> = (0..DEPTH).map(folder).collect();
        self.run(&MakeFolders { request: RequestId([1; 16]), folders: folders.try_into().unwrap() }, self.who).await;
        self.begin(2, UPLOAD).await;
        self.run(&registration(0), self.who).await;
        let chunks: Vec<_> = (0..CHUNKS).map(chunk).collect();
        let page = NewPage { page: 0, chunks: chunks.try_into().unwrap(), sealed: vec![7; 6_000].try_into().unwrap() };
        self.run(&PutPages { version: UPLOAD, pages: vec![page].try_into().unwrap() }, self.who).await;
        let file = NewFile {
            folder: node(DEPTH),
            token: NameToken([DEPTH; 16]),
            node: node(99),
            version: UPLOAD,
            sealed: vec![6; 70].try_into().unwrap(),
            meta: vec![5; 120].try_into().unwrap(),
            redundancy: Redundancy::DEFAULT,
            pages: 1,
            sealed_bytes: 128_000_000,
            inline: None,
            expect: Expect::Nothing,
            content: None,
        };
        let files = vec![file].try_into().unwrap();
        let answer =
            self.run(&Publish { request: RequestId([3; 16]), upload: UPLOAD, files, done: false }, self.who).await;
        assert!(matches!(answer.results.first(), Some(FilePublished::Visible(_))), "{answer:?}");
        self.begin(5, SMALL).await;
        let known = self.run(&Ask { version: SMALL, ..question() }, self.who).await.known;
        assert_eq!(known.iter().flatten().count(), CHUNKS, "the chunks that were registered are known");
    }
}
