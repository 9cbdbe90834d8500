//! Sources: the shards that another one is made from, read from their peers or from here, each checked against its address.
//!
//! Guarantees: nothing but bytes that have the address they were asked by is handed on; no more of them arrive than a shard has; every
//! wait has an end. Who sends other bytes is told apart from who does not answer. One of this peer's own that is wrong goes into
//! quarantine.

use std::collections::{BTreeMap, HashSet};

use bytes::{Bytes, BytesMut};
use common::address::Addresser;
use common::erasure::shard_len;
use common::id::PeerId;
use common::proto::Refusal;
use common::proto::parts::ShardAt;
use common::proto::peer::{FetchShard, MakeShard};
use common::telemetry::chain;
use common::transport::{BodyReader, CallError, Lost, call};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{FETCH_ANSWER, FETCH_DIAL, FETCH_TIME, MEMORY_WAIT, READ_PIECE_BYTES};
use crate::put::{Failure, arrive};
use crate::service::Service;
use crate::store::{ShardKey, StoreError, VerifiedShard};

/// Why a source is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("its bytes are not what its address says")]
    Damaged,
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("its bytes did not come: {0}")]
    Refused(Refusal),
    #[error("it cannot be read here")]
    Store(#[from] StoreError),
}

/// Reads what one order asks for.
#[derive(Clone)]
pub(crate) struct Sources {
    service: Service,
    request: std::sync::Arc<MakeShard>,
    /// Length of each shard.
    len: usize,
}

impl Sources {
    pub(crate) fn new(service: Service, request: std::sync::Arc<MakeShard>) -> Self {
        let len = shard_len(request.from, usize::try_from(request.sealed_len).unwrap_or(usize::MAX));
        Self { service, request, len }
    }

    fn is_here(&self, source: &ShardAt) -> bool {
        source.peer == self.service.neighbours().own()
    }

    fn key(&self, source: &ShardAt) -> ShardKey {
        ShardKey { account: self.request.account, address: source.address }
    }

    /// The answer of another peer, as far as its body.
    async fn ask(&self, source: &ShardAt) -> Result<BodyReader, SourceError> {
        let link = self.service.neighbours().link(source.peer)?;
        let connection = link.connection_within(FETCH_DIAL).await?;
        let request = FetchShard { pass: self.request.pass.clone(), address: source.address };
        let (range, body) = call(&connection, &request, Vec::new(), FETCH_ANSWER).await?;
        match usize::try_from(range.len) == Ok(self.len) && range.len == range.total {
            true => Ok(body),
            false => Err(SourceError::Damaged), // it has that address, says its peer, and cannot have
        }
    }

    /// The wanted shard itself from the first source that gives it, in memory that can go to disk as it is.
    pub(crate) async fn copy(&self, damaged: &mut Vec<PeerId>) -> Result<Option<VerifiedShard>, Refusal> {
        let Some(wanted) = self.request.address else { return Ok(None) };
        for source in self.request.sources.iter().filter(|source| source.address == wanted) {
            if self.is_here(source) {
                continue; // it was looked for before, and would not be made if it were any good
            }
            let memory = timeout(MEMORY_WAIT, self.service.store().reserve(self.len)).await;
            let mut room = memory.map_err(|_| Refusal::Busy)?.map_err(|error| self.service.refusal_of(&error))?;
            let copied = async {
                let body = self.ask(source).await?;
                let len = u32::try_from(self.len).unwrap_or(u32::MAX);
                let take = |piece: Bytes| room.extend_from_slice(&piece).map_err(|_| Refusal::Malformed);
                arrive(body, len, take).await.map_err(|failure| match failure {
                    Failure::Refused(refusal) => SourceError::Refused(refusal),
                    Failure::Body(error) => SourceError::Call(error),
                })?;
                room.finish(wanted).map_err(|_| SourceError::Damaged)
            };
            match timeout(FETCH_TIME, copied).await.unwrap_or_else(|_| Err(SourceError::Refused(Refusal::Busy))) {
                Ok(shard) => return Ok(Some(shard)),
                Err(error) => failed(source, &error, damaged),
            }
        }
        Ok(None)
    }

    /// Any `k` different shards, at once; where one fails the next takes its place.
    pub(crate) async fn gather(&self, damaged: &mut Vec<PeerId>) -> Result<Vec<(u8, Bytes)>, Refusal> {
        let k = self.request.from.k();
        let found_damaged = |source: &ShardAt| damaged.contains(&source.peer);
        let mut left: Vec<ShardAt> = self.request.sources.iter().copied().filter(|s| !found_damaged(s)).collect();
        let mut got: BTreeMap<u8, Bytes> = BTreeMap::new();
        let mut under_way: HashSet<u8> = HashSet::new();
        let mut jobs = JoinSet::new();
        loop {
            while got.len() + jobs.len() < k
                && let Some(next) =
                    left.iter().position(|s| !got.contains_key(&s.index) && !under_way.contains(&s.index))
            {
                let (source, sources) = (left.remove(next), self.clone());
                under_way.insert(source.index);
                jobs.spawn(async move {
                    let read = timeout(FETCH_TIME, sources.read(&source)).await;
                    (source, read.unwrap_or_else(|_| Err(SourceError::Refused(Refusal::Busy))))
                });
            }
            match jobs.join_next().await {
                None => break,
                Some(Ok((source, read))) => {
                    under_way.remove(&source.index);
                    match read {
                        Ok(bytes) => drop(got.insert(source.index, bytes)),
                        Err(error) => failed(&source, &error, damaged),
                    }
                }
                Some(Err(_)) => return Err(Refusal::Internal),
            }
        }
        if got.len() < k {
            let count = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
            return Err(Refusal::TooFewShards { have: count(got.len()), need: count(k) });
        }
        Ok(got.into_iter().collect())
    }

    async fn read(&self, source: &ShardAt) -> Result<Bytes, SourceError> {
        let mut bytes = BytesMut::with_capacity(self.len);
        let mut addresser = Addresser::new();
        let mut take = |piece: &[u8]| {
            addresser.update(piece);
            bytes.extend_from_slice(piece);
        };
        if self.is_here(source) {
            for offset in (0..self.len).step_by(READ_PIECE_BYTES) {
                let len = READ_PIECE_BYTES.min(self.len - offset);
                take(&self.service.store().read(self.key(source), offset as u64, len).await?);
                tokio::task::yield_now().await;
            }
        } else {
            let body = self.ask(source).await?;
            let whole = arrive(body, u32::try_from(self.len).unwrap_or(u32::MAX), |piece| {
                take(&piece);
                Ok(())
            });
            whole.await.map_err(|failure| match failure {
                Failure::Refused(Refusal::Malformed) => SourceError::Call(CallError::Disconnected(Lost::Truncated)),
                Failure::Refused(refusal) => SourceError::Refused(refusal),
                Failure::Body(error) => SourceError::Call(error),
            })?;
        }
        if addresser.finish() == source.address {
            return Ok(bytes.freeze());
        }
        if self.is_here(source) {
            self.service.store().verify(self.key(source)).await.ok(); // what it finds it says itself
        }
        Err(SourceError::Damaged)
    }
}

fn failed(source: &ShardAt, error: &SourceError, damaged: &mut Vec<PeerId>) {
    let (shard, peer) = (source.address.short(), source.peer.short());
    tracing::warn!(shard, peer = %peer, error = %chain(error), "a source of a shard to be made is of no use");
    if matches!(error, SourceError::Damaged) && !damaged.contains(&source.peer) {
        damaged.push(source.peer);
    }
}
