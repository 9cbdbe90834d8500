//! Chunk: its sealed key, and where its shards are. The serialisation point of a chunk's life.
//!
//! Referencing a chunk checks this record. Condemning it (`op/collect.rs`) takes two commits: one sets `condemned`, a later one
//! that has seen no reference after it deletes the record under a check. A reference of before the first is seen by the second; one
//! made after it must rewrite the record as not condemned, which fails the second. So many uploads can reference one chunk at once
//! without rewriting it.

use std::collections::{HashMap, HashSet};

use common::address::ShardAddress;
use common::bounded::BoundedVec;
use common::id::PeerId;
use common::limits::SHARDS_PER_CHUNK;
use common::proto::parts::{Placement, SealedKey, ShardAt};
use common::redundancy::Redundancy;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    pub sealed_len: u32,
    pub redundancy: Redundancy,
    pub key: SealedKey,
    /// What the shards are called, wherever they are and even where they are nowhere: by index, or one for all copies. Nothing else
    /// is ever taken for a shard of this chunk.
    pub addresses: BoundedVec<ShardAddress, SHARDS_PER_CHUNK>,
    /// Each peer and index at most once together; an index may be on several peers.
    pub shards: BoundedVec<ShardAt, SHARDS_PER_CHUNK>,
    /// On its way to deletion, unless somebody references it again.
    pub condemned: bool,
}

impl Record for Chunk {
    const NAME: &'static str = "chunk";
}

impl Chunk {
    #[must_use]
    pub fn placement(&self) -> Placement {
        Placement { sealed_len: self.sealed_len, redundancy: self.redundancy, shards: self.shards.clone() }
    }

    /// What the shard of an index is called.
    #[must_use]
    pub fn address(&self, index: u8) -> Option<ShardAddress> {
        let place = if self.redundancy.k() == 1 { 0 } else { usize::from(index) };
        self.addresses.get(place).copied().filter(|_| usize::from(index) < self.redundancy.n())
    }

    /// Bytes of all shards that it should have: what it counts for in its account's usage.
    #[must_use]
    pub fn stored_bytes(&self) -> i64 {
        let (k, n) = (self.redundancy.k(), self.redundancy.n());
        let len = usize::try_from(self.sealed_len).unwrap_or(usize::MAX);
        let shard = if k > 1 { len.div_ceil(k).next_multiple_of(2) } else { len };
        i64::try_from(shard.saturating_mul(n)).unwrap_or(i64::MAX)
    }

    /// Whether this is one of its shards.
    #[must_use]
    pub fn owns(&self, shard: &ShardAt) -> bool {
        self.address(shard.index) == Some(shard.address)
    }

    /// How many shards that count are on peers of which `alive` says so: copies on different peers, or different shares on different peers.
    #[must_use]
    pub fn alive(&self, alive: impl Fn(PeerId) -> bool) -> usize {
        alive_of(self.redundancy, &self.shards, alive)
    }
}

/// The same over a list of shards.
#[must_use]
pub fn alive_of(redundancy: Redundancy, shards: &[ShardAt], alive: impl Fn(PeerId) -> bool) -> usize {
    let living: Vec<_> = shards.iter().filter(|shard| alive(shard.peer)).copied().collect();
    apart(redundancy, &living).len()
}

/// As many shards as can be, one for each peer and of shares one for each index. Peers that come first among those given are served first:
/// each gets a share if those before it can have others.
#[must_use]
pub fn apart(redundancy: Redundancy, shards: &[ShardAt]) -> Vec<ShardAt> {
    let (mut peers, mut indices) = (HashSet::new(), HashSet::new());
    let firsts: Vec<_> = shards.iter().filter(|shard| peers.insert(shard.peer)).copied().collect();
    if redundancy.k() == 1 || firsts.iter().all(|shard| indices.insert(shard.index)) {
        return firsts;
    }
    let mut holders = HashMap::new();
    for first in firsts {
        give(first.peer, shards, &mut holders, &mut HashSet::new());
    }
    // In the order in which they were given.
    shards.iter().filter(|shard| holders.get(&shard.index) == Some(&shard.peer)).copied().collect()
}

/// Makes a peer the holder of one of its shares, if need be by giving its holder another one (a maximum matching by augmenting paths; there
/// are at most 32 indices, so it goes at most so deep).
fn give(peer: PeerId, shards: &[ShardAt], holders: &mut HashMap<u8, PeerId>, tried: &mut HashSet<u8>) -> bool {
    for shard in shards.iter().filter(|shard| shard.peer == peer) {
        let other = holders.get(&shard.index).copied();
        if tried.insert(shard.index) && other.is_none_or(|other| give(other, shards, holders, tried)) {
            holders.insert(shard.index, peer);
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;
    fn at(index: u8, peer: u8) -> ShardAt {
        ShardAt { index, peer: PeerId([peer; 16]), address: ShardAddress([index; 20]) }
    }

    #[test]
    fn is_golden() {
        let record = Chunk {
            sealed_len: 70_000,
            redundancy: Redundancy::DEFAULT,
            key: vec![9; 4].try_into().unwrap(),
            addresses: vec![ShardAddress([7; 20])].try_into().unwrap(),
            shards: vec![at(0, 1)].try_into().unwrap(),
            condemned: false,
        };
        golden(
            &record,
            "01fc7011010001030409090909010707070707070707070707070707070707070707010001010101010101010101010101010101000000000000000000000000000000000000000000",
        );
    }

    #[test]
    fn copies_count_by_peer_and_shares_by_index() {
        let all = |_| true;
        let check = |k, n, shards: &[ShardAt], expected| {
            assert_eq!(alive_of(Redundancy::new(k, n).unwrap(), shards, all), expected);
        };
        check(1, 3, &[at(0, 1), at(0, 2), at(1, 2)], 2);
        check(2, 3, &[at(0, 1), at(0, 2), at(1, 3)], 2);
        check(2, 3, &[at(0, 1), at(1, 1), at(2, 1)], 1);
        // Three peers and three shares, of which two of the peers have nothing but the first.
        check(2, 3, &[at(0, 1), at(1, 1), at(2, 1), at(0, 2), at(0, 3)], 2);
        check(2, 3, &[at(0, 1), at(1, 1), at(0, 2), at(1, 3), at(2, 3)], 3);
        let not_two = |peer| peer != PeerId([2; 16]);
        assert_eq!(alive_of(Redundancy::DEFAULT, &[at(0, 1), at(1, 2)], not_two), 1);
    }
}
