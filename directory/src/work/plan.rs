//! Plan: what one chunk needs, as a pure function of its record and of how its peers are.
//!
//! Repair waits by margin. A chunk that has just k shards left is repaired as soon as a peer counts as dead; one that could lose more
//! waits for the peer to come back until it counts as lost. So a reboot moves nothing, and a peer that comes and goes starts no storm:
//! each plan is made anew from how things are when its turn comes.

use std::collections::{HashMap, HashSet};

use common::address::ShardAddress;
use common::id::{ChunkId, PeerId};
use common::map::{PeerEntry, PeerState};
use common::place;
use common::proto::parts::ShardAt;
use common::redundancy::Redundancy;

use crate::schema::Chunk;
use crate::schema::chunk::apart;

/// How the peers are, for one round of planning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// All that are in the cluster map.
    pub peers: HashMap<PeerId, PeerEntry>,
    /// Dead for so long, or taken out: not expected back.
    pub lost: HashSet<PeerId>,
    /// Being emptied.
    pub draining: HashSet<PeerId>,
    /// Online, and their inventories were compared since they came: what is registered with them is there.
    pub verified: HashSet<PeerId>,
}

/// One shard to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Make {
    pub index: u8,
    pub address: ShardAddress,
    pub target: PeerId,
    /// Whose it replaces, once it is there.
    pub instead_of: Option<PeerId>,
}

/// What to do about a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Whole,
    /// Something is missing, and may come back by itself.
    Wait,
    /// Something is missing, and no peer could take it.
    Nowhere,
    /// Too few shards are on living peers.
    Unreadable,
    Make {
        sources: Vec<ShardAt>,
        make: Vec<Make>,
    },
    /// There are more shards than needed; these may go.
    Trim(Vec<ShardAt>),
}

/// How near a chunk is to being unreadable: living shards beyond k.
#[must_use]
pub fn margin(record: &Chunk, view: &View) -> usize {
    living(record, view).len().saturating_sub(record.redundancy.k())
}

/// What a chunk needs now.
#[must_use]
pub fn plan(chunk: &ChunkId, record: &Chunk, view: &View) -> Plan {
    let (k, n) = (record.redundancy.k(), record.redundancy.n());
    let living = living(record, view);
    let sources = sources(record, view);
    if sources.len() < k {
        return Plan::Unreadable;
    }
    if living.len() >= n {
        let leaving: Vec<_> = living.iter().filter(|shard| view.draining.contains(&shard.peer)).copied().collect();
        // What is on a peer that is emptied and elsewhere as well need not be moved.
        return if leaving.is_empty() || living.len() - leaving.len() >= n {
            trim(chunk, record, view)
        } else {
            moves(chunk, view, &living, &leaving, sources)
        };
    }
    let returning = match living.len() <= k {
        true => 0, // one more loss, and it is gone: nobody is waited for
        false => returning(record, view, &living).len(),
    };
    if living.len() + returning >= n {
        return Plan::Wait;
    }
    let missing = n - living.len() - returning;
    let indices = missing_indices(record.redundancy, &living);
    let make: Vec<_> = indices
        .into_iter()
        .take(missing)
        .zip(targets(chunk, view, &living))
        .filter_map(|(index, target)| Some(Make { index, address: record.address(index)?, target, instead_of: None }))
        .collect();
    if make.is_empty() { Plan::Nowhere } else { Plan::Make { sources, make } }
}

/// Shards that count: on peers that are not dead, as many as [can be told apart](apart).
fn living(record: &Chunk, view: &View) -> Vec<ShardAt> {
    let mut shards = alive(record, view);
    // Who stays is counted before who leaves.
    shards.sort_by_key(|shard| view.draining.contains(&shard.peer)); // stable
    apart(record.redundancy, &shards)
}

fn alive(record: &Chunk, view: &View) -> Vec<ShardAt> {
    record.shards.iter().filter(|shard| is_alive(view, shard.peer)).copied().collect()
}

fn is_alive(view: &View, peer: PeerId) -> bool {
    view.peers.get(&peer).is_some_and(|entry| entry.state != PeerState::Dead)
}

/// Shards on dead peers that may come back, and would add to those that live.
fn returning(record: &Chunk, view: &View, living: &[ShardAt]) -> Vec<ShardAt> {
    let copies = record.redundancy.k() == 1;
    let mut seen: HashSet<u8> = living.iter().map(|shard| shard.index).collect();
    let back = |shard: &&ShardAt| view.peers.contains_key(&shard.peer) && !view.lost.contains(&shard.peer);
    let dead = record.shards.iter().filter(|shard| !is_alive(view, shard.peer)).filter(back);
    dead.filter(|shard| copies || seen.insert(shard.index)).copied().collect()
}

/// Indices that nobody who lives has. Those of copies are labels only.
fn missing_indices(redundancy: Redundancy, living: &[ShardAt]) -> Vec<u8> {
    let have: HashSet<u8> = living.iter().map(|shard| shard.index).collect();
    let free = (0..u8::try_from(redundancy.n()).unwrap_or(u8::MAX)).filter(|index| !have.contains(index));
    free.collect()
}

/// Who could take a shard, best first: in the chunk's own order, those in zones with fewer of its shards before others.
///
/// Who has only a share that somebody else has too may take another one: with as many peers as shards there is nobody else.
fn targets(chunk: &ChunkId, view: &View, living: &[ShardAt]) -> Vec<PeerId> {
    let holders: HashSet<PeerId> = living.iter().map(|shard| shard.peer).collect();
    let mut zones: HashMap<&str, usize> = HashMap::new();
    for shard in living {
        if let Some(entry) = view.peers.get(&shard.peer).filter(|entry| !entry.zone.is_empty()) {
            *zones.entry(&entry.zone).or_default() += 1;
        }
    }
    let takes =
        |entry: &&PeerEntry| entry.writable && entry.state == PeerState::Online && !holders.contains(&entry.peer);
    let mut order = place::order_of(chunk, view.peers.values().filter(takes));
    order.sort_by_key(|peer| {
        let zone = view.peers.get(peer).map(|entry| &*entry.zone).unwrap_or_default();
        zones.get(zone).copied().unwrap_or_default()
    }); // stable
    order
}

/// What can be read, from those that are online first: of shares one for each index, whoever has it.
fn sources(record: &Chunk, view: &View) -> Vec<ShardAt> {
    let mut sources = alive(record, view);
    sources.sort_by_key(|shard| view.peers.get(&shard.peer).is_none_or(|entry| entry.state != PeerState::Online));
    let (mut peers, mut indices) = (HashSet::new(), HashSet::new());
    let copies = record.redundancy.k() == 1;
    sources.retain(|shard| if copies { peers.insert(shard.peer) } else { indices.insert(shard.index) });
    sources
}

/// From peers that are emptied to others.
fn moves(chunk: &ChunkId, view: &View, living: &[ShardAt], leaving: &[ShardAt], sources: Vec<ShardAt>) -> Plan {
    let make: Vec<_> = leaving
        .iter()
        .zip(targets(chunk, view, living))
        .map(|(shard, target)| Make {
            index: shard.index,
            address: shard.address,
            target,
            instead_of: Some(shard.peer),
        })
        .collect();
    if make.is_empty() { Plan::Nowhere } else { Plan::Make { sources, make } }
}

/// What there is beyond n, counted only on peers that were verified to have what they should: on peers that are emptied, and then
/// the last in the chunk's order, goes first.
fn trim(chunk: &ChunkId, record: &Chunk, view: &View) -> Plan {
    let n = record.redundancy.n();
    if record.shards.len() <= n {
        return Plan::Whole;
    }
    // Who was taken out of the cluster never comes back with any.
    let removed = |shard: &&ShardAt| !view.peers.contains_key(&shard.peer);
    let of_removed: Vec<_> = record.shards.iter().filter(removed).copied().collect();
    if !of_removed.is_empty() {
        return Plan::Trim(of_removed);
    }
    let verified = |shard: &&ShardAt| view.verified.contains(&shard.peer);
    let entries = record.shards.iter().filter(verified).filter_map(|shard| view.peers.get(&shard.peer));
    let order = place::order_of(chunk, entries);
    let place = |peer| order.iter().position(|other| *other == peer).unwrap_or(usize::MAX);
    let mut good: Vec<_> = record.shards.iter().filter(verified).copied().collect();
    good.sort_by_key(|shard| (view.draining.contains(&shard.peer), place(shard.peer)));
    let mut kept = apart(record.redundancy, &good);
    if kept.len() < n || good.len() == n {
        return Plan::Whole;
    }
    kept.truncate(n);
    good.retain(|shard| !kept.contains(shard));
    Plan::Trim(good)
}

/// Where a chunk's shards should be by weight, when one of them is elsewhere: the shard to move, and where to.
#[must_use]
pub fn rebalance(chunk: &ChunkId, record: &Chunk, view: &View) -> Option<(ShardAt, PeerId)> {
    let n = record.redundancy.n();
    if record.shards.len() != n || !record.shards.iter().all(|shard| view.verified.contains(&shard.peer)) {
        return None;
    }
    let online = |entry: &&PeerEntry| entry.state == PeerState::Online && entry.writable;
    let ideal: Vec<PeerId> = place::order_of(chunk, view.peers.values().filter(online)).into_iter().take(n).collect();
    let to = ideal.iter().find(|peer| record.shards.iter().all(|shard| shard.peer != **peer))?;
    let from = record.shards.iter().find(|shard| !ideal.contains(&shard.peer))?;
    Some((*from, *to))
}

#[cfg(test)]
#[path = "tests/plan.rs"]
mod tests;
