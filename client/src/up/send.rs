//! Send: one chunk's shards to their peers, in parallel; whoever fails is replaced by the next in rendezvous order.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use common::address::ShardAddress;
use common::erasure;
use common::grant::SignedGrant;
use common::id::{ChunkId, PeerId};
use common::map::{PeerEntry, PeerState};
use common::place;
use common::proto::parts::ShardAt;
use common::proto::peer::PutShard;
use common::proto::refusal::{GrantFault, Refusal, Retry};
use common::redundancy::Redundancy;
use common::transport::CallError;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::upload::Upload;
use super::{Up, UpError};
use crate::seal::Sealed;

/// A shard that a living peer has not acknowledged by then goes elsewhere. A dead peer is noticed much sooner, by its silence.
const SHARD_PATIENCE: Duration = Duration::from_secs(120);
/// How often a peer that says it is busy is asked again.
const BUSY_TRIES: u32 = 20;
/// With too few peers: how long to wait for some to return, doubling.
const ROUNDS: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// A sealed chunk, split and addressed: ready to go.
pub(super) struct Prepared {
    pub(super) chunk: ChunkId,
    pub(super) sealed_len: u32,
    pub(super) redundancy: Redundancy,
    shards: Vec<(ShardAddress, Bytes)>,
}

/// Splits and addresses. CPU-bound: each distinct shard is hashed once.
pub(super) fn prepare(sealed: &Sealed, wanted: Redundancy) -> Result<Prepared, UpError> {
    let bytes = sealed.bytes();
    let redundancy = erasure::effective(wanted, bytes.len());
    let shards = erasure::split(bytes, redundancy)?;
    let shards = if redundancy.k() == 1 {
        let address = ShardAddress::of(bytes);
        shards.into_iter().map(|shard| (address, shard)).collect()
    } else {
        shards.into_iter().map(|shard| (ShardAddress::of(&shard), shard)).collect()
    };
    let sealed_len = u32::try_from(bytes.len()).map_err(|_| UpError::Bug("a chunk over 4 GiB".to_owned()))?;
    Ok(Prepared { chunk: sealed.chunk(), sealed_len, redundancy, shards })
}

/// Where a chunk's shards are now, and how many bytes that took.
pub(super) struct Sent {
    pub(super) shards: Vec<ShardAt>,
    pub(super) bytes: u64,
}

/// Sends all shards; returns when as many are durable as can be had, and at least enough.
pub(super) async fn send(up: &Up, upload: &Upload, chunk: &Prepared) -> Result<Sent, UpError> {
    let total: u64 = chunk.shards.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let grant = upload.grant(total).await?;
    let mut sending = Sending { up, upload, chunk, grant, shards: Vec::new(), bytes: 0, why: Vec::new() };
    sending.round().await?;
    for pause in ROUNDS {
        if sending.shards.len() >= chunk.redundancy.enough() {
            break;
        }
        up.session.look_for_map();
        sleep(pause).await;
        sending.why.clear();
        sending.round().await?;
    }
    let durable = sending.shards.len();
    if durable < chunk.redundancy.enough() {
        let passed_over = sending.passed_over();
        let Sending { mut why, .. } = sending;
        why.extend(passed_over);
        return Err(UpError::TooFewPeers { chunk: chunk.chunk, durable, redundancy: chunk.redundancy, why });
    }
    sending.shards.sort_by_key(|shard| shard.index);
    Ok(Sent { shards: sending.shards, bytes: sending.bytes })
}

struct Sending<'a> {
    up: &'a Up,
    upload: &'a Upload,
    chunk: &'a Prepared,
    grant: SignedGrant,
    shards: Vec<ShardAt>,
    bytes: u64,
    why: Vec<String>,
}

impl Sending<'_> {
    /// Offers every shard that is not durable yet to the peers that hold none, until all are placed or nobody is left.
    async fn round(&mut self) -> Result<(), UpError> {
        let mut peers = self.candidates();
        let mut missing: VecDeque<u8> = (0..)
            .take(self.chunk.shards.len())
            .filter(|index| self.shards.iter().all(|shard| shard.index != *index))
            .collect();
        let mut attempts = JoinSet::new();
        loop {
            while let (Some(_), Some(_)) = (missing.front(), peers.front()) {
                let (Some(index), Some(peer)) = (missing.pop_front(), peers.pop_front()) else { break };
                let Some(attempt) = self.attempt(index, peer) else { continue };
                attempts.spawn(attempt);
            }
            let Some(attempt) = attempts.join_next().await else { return Ok(()) };
            let (shard, outcome) = attempt.map_err(|panic| UpError::Bug(panic.to_string()))?;
            match outcome {
                Ok(sent) => {
                    self.bytes += sent;
                    self.shards.push(shard);
                }
                Err(CallError::Refused(Refusal::Grant(GrantFault::Expired(_) | GrantFault::Spent))) => {
                    self.grant = self.upload.renew(&self.grant).await?;
                    missing.push_back(shard.index);
                    peers.push_back(shard.peer);
                }
                Err(error) => {
                    tracing::debug!(peer = %shard.peer.short(), %error, "shard goes elsewhere");
                    self.why.push(format!("peer {}: {}", shard.peer.short(), reason(&error)));
                    missing.push_back(shard.index);
                }
            }
        }
    }

    /// Peers that hold no shard of the chunk yet, in rendezvous order; suspect ones last.
    fn candidates(&self) -> VecDeque<PeerId> {
        let map = self.up.session.map();
        let mut order = place::order(&self.chunk.chunk, &map);
        let suspect = map.peers.iter().filter(|peer| peer.writable && peer.state == PeerState::Suspect);
        order.extend(place::order_of(&self.chunk.chunk, suspect));
        order.retain(|peer| self.shards.iter().all(|shard| shard.peer != *peer));
        order.into()
    }

    /// Peers that were not asked at all, and why.
    fn passed_over(&self) -> Vec<String> {
        let map = self.up.session.map();
        let reason = |state, writable| match (state, writable) {
            (PeerState::Dead, _) => Some("does not answer the directory"),
            (_, false) => Some("has no space left"),
            (PeerState::Online | PeerState::Suspect, true) => None,
        };
        let told =
            |peer: &PeerEntry| Some(format!("peer {} {}", peer.peer.short(), reason(peer.state, peer.writable)?));
        map.peers.iter().filter_map(told).collect()
    }

    /// One shard to one peer. `None` when the shard does not exist, which can't be.
    fn attempt(
        &self,
        index: u8,
        peer: PeerId,
    ) -> Option<impl Future<Output = (ShardAt, Result<u64, CallError>)> + Send + 'static> {
        let (address, bytes) = self.chunk.shards.get(usize::from(index))?.clone();
        let request = PutShard {
            grant: self.grant.clone(),
            chunk: self.chunk.chunk,
            index,
            redundancy: self.chunk.redundancy,
            sealed_len: self.chunk.sealed_len,
            len: u32::try_from(bytes.len()).ok()?,
            address,
        };
        let link = self.up.session.peer(peer);
        let len = bytes.len() as u64;
        Some(async move {
            let shard = ShardAt { index, peer, address };
            let Ok(link) = link else { return (shard, Err(unknown_peer(peer))) };
            for _ in 0..BUSY_TRIES {
                match link.call_once(&request, vec![bytes.clone()], SHARD_PATIENCE).await {
                    Ok((stored, _)) => return (shard, Ok(if stored.existed { 0 } else { len })),
                    Err(CallError::Refused(refusal)) if refusal.retry() == Retry::Later => sleep(refusal.pause()).await,
                    Err(error) => return (shard, Err(error)),
                }
            }
            (shard, Err(CallError::Refused(Refusal::Busy)))
        })
    }
}

fn unknown_peer(peer: PeerId) -> CallError {
    CallError::Unreachable { addresses: format!("peer {}", peer.short()), source: None }
}

/// An error with its causes, in one line.
fn reason(error: &CallError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
