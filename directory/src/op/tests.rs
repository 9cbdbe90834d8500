//! Decisions over the store in memory: no socket, no disk, no clock.

mod chunks;
mod conflicts;
mod contents;
mod isolation;
mod members;
mod names;
mod past;
mod places;
mod prune;
mod quotas;
mod rekey;
mod shares;
mod snapshots;
mod tree;
mod uploads;

use std::sync::Arc;

use common::address::ShardAddress;
use common::boxed::Boxed;
use common::id::{AccountId, ChunkId, ClusterId, DeviceId, NameToken, NodeId, PeerId, RequestId, TicketId, VersionId};
use common::map::PeerState;
use common::proto::Refusal;
use common::proto::directory::*;
use common::proto::parts::{EntryView, SealedKey, ShardAt};
use common::redundancy::Redundancy;
use common::time::Timestamp;

use super::Context;
use super::ticket::MakeTicket;
use crate::authorize::{OfAccount, OfAdmin};
use crate::kv::Store;
use crate::kv::memory::Memory;
use crate::members::Roster;
use crate::transact::{self, Operation};

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) context: Context,
}

pub(crate) fn node(number: u8) -> NodeId {
    NodeId([number; 16])
}

pub(crate) fn token(number: u8) -> NameToken {
    NameToken([number; 16])
}

pub(crate) fn version(number: u8) -> VersionId {
    VersionId([number; 16])
}

pub(crate) fn chunk(number: u8) -> ChunkId {
    ChunkId([number; 20])
}

pub(crate) fn peer(number: u8) -> PeerId {
    PeerId([number; 16])
}

/// A shard on a peer, with an address that tells sealed bytes apart by `bytes`.
pub(crate) fn shard(index: u8, on: u8, bytes: u8) -> ShardAt {
    ShardAt { index, peer: peer(on), address: ShardAddress([bytes; 20]) }
}

pub(crate) fn sealed_key(number: u8) -> SealedKey {
    vec![number; 60].try_into().unwrap()
}

pub(crate) fn new_chunk(id: ChunkId, redundancy: &str, key: u8, shards: Vec<ShardAt>) -> NewChunk {
    let redundancy: Redundancy = redundancy.parse().unwrap();
    // What nobody has is called something all the same.
    let named = if redundancy.k() == 1 { 1 } else { redundancy.n() };
    let mut addresses = vec![shards.first().map_or(ShardAddress([0; 20]), |shard| shard.address); named];
    for shard in shards.iter().filter(|_| redundancy.k() > 1) {
        if let Some(address) = addresses.get_mut(usize::from(shard.index)) {
            *address = shard.address;
        }
    }
    NewChunk {
        chunk: id,
        sealed_len: 1_000,
        redundancy,
        key: sealed_key(key),
        addresses: addresses.try_into().unwrap(),
        shards: shards.try_into().unwrap(),
    }
}

pub(crate) fn new_file(folder: NodeId, name: u8, at: u8, content: VersionId, expect: Expect) -> NewFile {
    NewFile {
        folder,
        token: token(name),
        node: node(at),
        version: content,
        sealed: vec![name].try_into().unwrap(),
        meta: vec![1].try_into().unwrap(),
        redundancy: Redundancy::DEFAULT,
        pages: 0,
        sealed_bytes: 0,
        inline: None,
        expect,
        content: None,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let states: Vec<_> = (1..=8).map(|number| (peer(number), PeerState::Online)).collect();
        Self::with(&states)
    }

    pub(crate) fn with(states: &[(PeerId, PeerState)]) -> Self {
        let context = Context {
            now: Timestamp(1_000_000_000),
            cluster: ClusterId([9; 16]),
            generation: 1,
            redundancy: Redundancy::DEFAULT,
            roster: Arc::new(Roster::test(states)),
        };
        Self { store: Arc::new(Memory::new()), context }
    }

    pub(crate) fn peers_are(&mut self, states: &[(u8, PeerState)]) {
        let states: Vec<_> = states.iter().map(|(number, state)| (peer(*number), *state)).collect();
        self.context.roster = Arc::new(Roster::test(&states));
    }

    pub(crate) async fn run<O: Operation>(&self, operation: &O, who: O::Who) -> Result<O::Answer, Refusal> {
        // Boxed, so that no test has the whole of it in its own code: that takes minutes to compile.
        let run: Boxed<'_, _> = Box::pin(transact::run(&self.store, operation, who, &self.context));
        run.await
    }

    /// An account with its root at `node(number)`.
    pub(crate) async fn account(&self, number: u8) -> OfAccount {
        let ticket = MakeTicket {
            ticket: TicketId([number; 16]),
            verifier: [number; 32],
            role: TicketRole::Client,
            account: Some(format!("account {number}").try_into().unwrap()),
            uses: 2,
            ttl_ms: 1_000,
            new_account: AccountId([number; 16]),
            new_root: node(number),
        };
        self.run(&ticket, OfAdmin::local()).await.unwrap();
        OfAccount::test(AccountId([number; 16]), DeviceId([number; 16]))
    }

    pub(crate) async fn folder(&self, who: OfAccount, inside: NodeId, name: u8, made: u8) -> FolderMade {
        let new =
            NewFolder { folder: inside, token: token(name), node: node(made), sealed: vec![name].try_into().unwrap() };
        let request = MakeFolders { request: RequestId::random(), folders: vec![new].try_into().unwrap() };
        self.run(&request, who).await.unwrap().results[0].clone()
    }

    pub(crate) async fn begin(&self, who: OfAccount, upload: VersionId) {
        let begin =
            Begin { request: RequestId::random(), version: upload, redundancy: Redundancy::DEFAULT, bytes: 1 << 20 };
        self.run(&begin, who).await.unwrap();
    }

    pub(crate) async fn register(
        &self,
        who: OfAccount,
        upload: VersionId,
        new: NewChunk,
    ) -> Result<Option<SealedKey>, Refusal> {
        let request = Register { version: upload, chunks: vec![new].try_into().unwrap() };
        self.run(&request, who).await.map(|answer| answer.winners[0].clone())
    }

    pub(crate) async fn ask(&self, who: OfAccount, upload: VersionId, id: ChunkId, wanted: &str) -> Option<SealedKey> {
        let redundancy = wanted.parse().unwrap();
        let request = Ask { version: upload, redundancy, chunks: vec![id].try_into().unwrap() };
        self.run(&request, who).await.unwrap().known[0].clone()
    }

    pub(crate) async fn publish(
        &self,
        who: OfAccount,
        upload: VersionId,
        files: Vec<NewFile>,
        done: bool,
    ) -> Result<Vec<FilePublished>, Refusal> {
        let request = Publish { request: RequestId::random(), upload, files: files.try_into().unwrap(), done };
        Ok(self.run(&request, who).await?.results.into_inner())
    }

    /// Makes an empty file in an upload of its own.
    pub(crate) async fn file(&self, who: OfAccount, folder: NodeId, name: u8, at: u8) -> FilePublished {
        let upload = VersionId::random();
        self.begin(who, upload).await;
        let file = new_file(folder, name, at, VersionId::random(), Expect::Nothing);
        self.publish(who, upload, vec![file], true).await.unwrap().remove(0)
    }

    pub(crate) async fn look(&self, who: OfAccount, start: NodeId, path: &[u8]) -> Vec<EntryView> {
        let path: Vec<_> = path.iter().map(|name| token(*name)).collect();
        let request = LookUp { start, path: path.try_into().unwrap(), manifest: false, at: None };
        self.run(&request, who).await.unwrap().entries.into_inner()
    }

    pub(crate) async fn list(&self, who: OfAccount, folder: NodeId) -> Result<Vec<(NameToken, NodeId)>, Refusal> {
        let listing = self.run(&List { folder, after: None, at: None }, who).await?;
        Ok(listing.entries.iter().map(|entry| (entry.token, entry.node)).collect())
    }

    pub(crate) async fn remove(
        &self,
        who: OfAccount,
        folder: NodeId,
        name: u8,
        at: u8,
        recursive: bool,
    ) -> Result<Done, Refusal> {
        let request = Remove { request: RequestId::random(), folder, token: token(name), node: node(at), recursive };
        self.run(&request, who).await
    }

    pub(crate) async fn rename(
        &self,
        who: OfAccount,
        from: (NodeId, u8),
        at: u8,
        to: (NodeId, u8),
        replace: Option<NodeId>,
    ) -> Result<Done, Refusal> {
        let request = Rename {
            request: RequestId::random(),
            from_folder: from.0,
            from_token: token(from.1),
            node: node(at),
            to_folder: to.0,
            to_token: token(to.1),
            sealed: vec![to.1].try_into().unwrap(),
            replace,
        };
        self.run(&request, who).await
    }

    /// How many records there are in a range.
    pub(crate) async fn count<R>(&self, range: &crate::schema::key::Range<R>) -> usize {
        self.store.scan(&range.from, &range.to, usize::MAX).await.unwrap().entries.len()
    }
}
