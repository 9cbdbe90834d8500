//! Send: one chunk's shards to their peers, in parallel; whoever fails is replaced by the next in rendezvous order.
//!
//! A shard that is overdue by what other peers do meanwhile ([`Pace`](super::pace::Pace)) is offered to the next peer as well. The
//! first of the two that is durable counts, and the other is broken off; if it becomes durable all the same, it is not registered,
//! and left to the directory's collector like every shard that nobody registers. So exactly n placements of n different shards on n
//! different peers are registered, however many were tried. The slow peer gets no new shards for a while.

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
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::chain::send_along;
use super::upload::Upload;
use super::{Up, UpError};
use crate::ahead::patience;
use crate::seal::Sealed;
use crate::transfer::Fanout;

/// How often it is looked who is overdue, while there are peers to go to.
const LOOK: Duration = Duration::from_millis(50);
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

impl Prepared {
    /// What the shards are called, as the directory is told: all of a code, or the one of all copies.
    pub(super) fn addresses(&self) -> Vec<ShardAddress> {
        let named = if self.redundancy.k() == 1 { 1 } else { self.shards.len() };
        self.shards.iter().take(named).map(|(address, _)| *address).collect()
    }
}

/// Splits and addresses all of these. CPU-bound: each distinct shard is hashed once, and four at a time.
pub(super) fn prepare(all: Vec<(Sealed, Redundancy)>) -> Vec<Result<Prepared, UpError>> {
    let split: Vec<_> = all.iter().map(|(sealed, wanted)| Split::new(sealed, *wanted)).collect();
    let distinct = split.iter().flatten().flat_map(|split| split.distinct().iter().map(|shard| &**shard));
    let mut addresses = ShardAddress::of_all(distinct).into_iter();
    let mut name = |split: Split| {
        let addresses: Vec<_> = addresses.by_ref().take(split.distinct().len()).collect();
        let each = addresses.into_iter().cycle();
        Prepared {
            chunk: split.chunk,
            sealed_len: split.sealed_len,
            redundancy: split.redundancy,
            shards: each.zip(split.shards).collect(),
        }
    };
    split.into_iter().map(|split| split.map(&mut name)).collect()
}

/// A sealed chunk as its shards, which have no addresses yet.
struct Split {
    chunk: ChunkId,
    sealed_len: u32,
    redundancy: Redundancy,
    shards: Vec<Bytes>,
}

impl Split {
    fn new(sealed: &Sealed, wanted: Redundancy) -> Result<Self, UpError> {
        let bytes = sealed.bytes();
        let redundancy = erasure::effective(wanted, bytes.len());
        let sealed_len = u32::try_from(bytes.len()).map_err(|_| UpError::Bug("a chunk over 4 GiB".to_owned()))?;
        Ok(Self { chunk: sealed.chunk(), sealed_len, redundancy, shards: erasure::split(bytes, redundancy)? })
    }

    /// All shards of a code, or the one that all copies are.
    fn distinct(&self) -> &[Bytes] {
        let count = if self.redundancy.k() == 1 { 1 } else { self.shards.len() };
        self.shards.get(..count).unwrap_or_default()
    }
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
    if up.options.fanout == Fanout::Chain {
        sending.chain().await;
    }
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

/// One shard on its way to one peer.
struct Attempt {
    index: u8,
    peer: PeerId,
    since: Instant,
    /// Offered to another peer as well, or the other offer itself.
    hedged: bool,
    task: AbortHandle,
}

/// What is on its way in one round, and who could still be asked.
struct Round {
    tasks: JoinSet<(ShardAt, Result<u64, CallError>)>,
    under_way: Vec<Attempt>,
    missing: VecDeque<u8>,
    peers: VecDeque<PeerId>,
}

impl Round {
    /// Forgets an attempt that has ended.
    fn take(&mut self, shard: &ShardAt) -> Option<Attempt> {
        let found = |attempt: &Attempt| attempt.index == shard.index && attempt.peer == shard.peer;
        let place = self.under_way.iter().position(found)?;
        Some(self.under_way.swap_remove(place))
    }

    /// Breaks off what is still trying to place a shard that is durable now. Who was slow with it may still have another: with few
    /// peers there is nobody else for the shard of one that died.
    fn break_off(&mut self, index: u8) {
        for attempt in self.under_way.extract_if(.., |attempt| attempt.index == index) {
            attempt.task.abort();
            self.peers.push_back(attempt.peer);
        }
    }

    /// A shard that could not be placed is missing again, unless somebody else still has it; who may then be replaced in turn.
    fn put_back(&mut self, index: u8) {
        match self.under_way.iter_mut().find(|attempt| attempt.index == index) {
            Some(other) => other.hedged = false,
            None => self.missing.push_back(index),
        }
    }

    /// The next attempt that ended; `None` when nothing is under way. Looks up now and then while somebody could be replaced.
    async fn next(&mut self) -> Option<Result<(ShardAt, Result<u64, CallError>), Event>> {
        loop {
            let ended = if self.peers.is_empty() {
                self.tasks.join_next().await
            } else {
                match timeout(LOOK, self.tasks.join_next()).await {
                    Ok(ended) => ended,
                    Err(_) => return Some(Err(Event::Look)),
                }
            };
            match ended? {
                Ok(done) => return Some(Ok(done)),
                Err(error) if error.is_cancelled() => {}
                Err(panic) => return Some(Err(Event::Panic(panic.to_string()))),
            }
        }
    }
}

enum Event {
    /// Time to look who is overdue.
    Look,
    Panic(String),
}

impl Sending<'_> {
    /// Copies go along a chain of peers first. What does not arrive like this is offered by us, in rounds.
    async fn chain(&mut self) {
        let (k, n) = (self.chunk.redundancy.k(), self.chunk.redundancy.n());
        let Some((put, bytes)) = self.request(0).filter(|_| k == 1 && n > 1) else { return };
        let along = send_along(self.up, &put, &bytes, self.candidates()).await;
        self.shards.extend(along.placed);
        self.bytes += along.bytes;
        self.why.extend(along.why);
    }

    /// Offers every shard that is not durable yet to the peers that hold none, until all are placed or nobody is left.
    async fn round(&mut self) -> Result<(), UpError> {
        let missing = (0..).take(self.chunk.shards.len());
        let missing = missing.filter(|index| self.shards.iter().all(|shard| shard.index != *index)).collect();
        let mut round = Round { tasks: JoinSet::new(), under_way: Vec::new(), missing, peers: self.candidates() };
        loop {
            while !round.missing.is_empty() && !round.peers.is_empty() {
                let (Some(index), Some(peer)) = (round.missing.pop_front(), round.peers.pop_front()) else { break };
                self.start(&mut round, index, peer, false);
            }
            let (shard, outcome) = match round.next().await {
                None => return Ok(()),
                Some(Err(Event::Look)) => {
                    self.hedge(&mut round);
                    continue;
                }
                Some(Err(Event::Panic(panic))) => return Err(UpError::Bug(panic)),
                Some(Ok(ended)) => ended,
            };
            // Both of two may end before one could be broken off: then the first counts.
            let Some(attempt) = round.take(&shard) else { continue };
            match outcome {
                Ok(sent) => {
                    let len = self.len(shard.index);
                    self.up.pace().done(shard.peer, len, attempt.since, Instant::now());
                    self.bytes += sent;
                    self.shards.push(shard);
                    round.break_off(shard.index);
                }
                Err(CallError::Refused(Refusal::Grant(GrantFault::Expired(_) | GrantFault::Spent))) => {
                    self.grant = self.upload.renew(&self.grant).await?;
                    round.put_back(shard.index);
                    round.peers.push_back(shard.peer);
                }
                Err(error) => {
                    tracing::debug!(peer = %shard.peer.short(), %error, "shard goes elsewhere");
                    self.why.push(format!("peer {}: {}", shard.peer.short(), reason(&error)));
                    round.put_back(shard.index);
                }
            }
        }
    }

    fn len(&self, index: u8) -> u64 {
        self.chunk.shards.get(usize::from(index)).map_or(0, |(_, bytes)| bytes.len() as u64)
    }

    fn start(&self, round: &mut Round, index: u8, peer: PeerId, hedged: bool) {
        let Some(attempt) = self.attempt(index, peer) else { return };
        let task = round.tasks.spawn(attempt);
        round.under_way.push(Attempt { index, peer, since: Instant::now(), hedged, task });
    }

    /// Offers what is overdue to the next peers as well.
    fn hedge(&self, round: &mut Round) {
        let now = Instant::now();
        for place in 0..round.under_way.len() {
            let mut pace = self.up.pace();
            let Some(attempt) = round.under_way.get_mut(place) else { return };
            let (index, slow, since) = (attempt.index, attempt.peer, attempt.since);
            let overdue = pace.is_overdue(slow, self.len(index), since, now);
            if attempt.hedged || !overdue {
                continue;
            }
            pace.avoid(slow, now);
            // To a peer that is slow itself nothing is gained by turning, unless it has come further meanwhile.
            let next = round.peers.iter().position(|peer| !pace.is_avoided(*peer, now));
            let next = next.or_else(|| round.peers.iter().position(|peer| pace.has_done_since(*peer, since)));
            let Some(next) = next else { continue };
            if !pace.may_hedge() {
                return;
            }
            drop(pace);
            attempt.hedged = true;
            tracing::debug!(peer = %slow.short(), "a slow peer's shard is offered to the next as well");
            if let Some(peer) = round.peers.remove(next) {
                self.start(round, index, peer, true);
            }
        }
    }

    /// Peers that hold no shard of the chunk yet, in rendezvous order; behind them who was slow just now, and suspect ones last.
    fn candidates(&self) -> VecDeque<PeerId> {
        let map = self.up.session.map();
        let mut order = place::order(&self.chunk.chunk, &map);
        {
            let (pace, now) = (self.up.pace(), Instant::now());
            order.sort_by_key(|peer| pace.is_avoided(*peer, now)); // a stable sort
        }
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

    /// What goes out for one shard. `None` when it does not exist, which can't be.
    fn request(&self, index: u8) -> Option<(PutShard, Bytes)> {
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
        Some((request, bytes))
    }

    /// One shard to one peer. `None` when the shard does not exist, which can't be.
    fn attempt(
        &self,
        index: u8,
        peer: PeerId,
    ) -> Option<impl Future<Output = (ShardAt, Result<u64, CallError>)> + Send + 'static> {
        let (request, bytes) = self.request(index)?;
        let address = request.address;
        let link = self.up.session.peer(peer);
        let len = bytes.len() as u64;
        Some(async move {
            let shard = ShardAt { index, peer, address };
            let Ok(link) = link else { return (shard, Err(unknown_peer(peer))) };
            for _ in 0..BUSY_TRIES {
                match link.call_once(&request, vec![bytes.clone()], patience(len)).await {
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
pub(super) fn reason(error: &CallError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_was_slow_with_a_shard_that_is_durable_elsewhere_may_be_offered_another() {
        let mut round =
            Round { tasks: JoinSet::new(), under_way: Vec::new(), missing: VecDeque::new(), peers: VecDeque::new() };
        for (index, peer) in [(1, 1), (2, 2), (2, 3)] {
            let task = round.tasks.spawn(std::future::pending());
            let peer = PeerId([peer; 16]);
            round.under_way.push(Attempt { index, peer, since: Instant::now(), hedged: index == 2, task });
        }
        let durable = ShardAt { index: 2, peer: PeerId([3; 16]), address: ShardAddress([0; 20]) };
        round.take(&durable).unwrap();
        round.break_off(2);
        assert_eq!(round.peers, [PeerId([2; 16])]);
        assert_eq!(round.under_way.iter().map(|attempt| attempt.index).collect::<Vec<_>>(), [1]);
    }
}
