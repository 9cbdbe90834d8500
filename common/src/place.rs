//! Placement: which peers should hold a chunk's shards. A pure function of the chunk's id and the cluster map.
//!
//! Weighted rendezvous hashing (Thaler and Ravishankar 1998; weights after Schindelhauer and Schomaker 2005): each peer draws
//! `-ln(u) / weight` with `u` uniform from a hash of (chunk, peer), and the smallest draws win. So a peer's share is proportional to
//! its weight, a peer that joins takes about its share from all others, and one that leaves moves nothing between survivors.
//! Zones are spread over first: the order takes each zone's best peer before any zone's second.
//!
//! Client, repair, rebalance and rebuild all call [`order`].

use std::collections::HashMap;

use crate::id::{ChunkId, PeerId};
use crate::map::{ClusterMap, PeerEntry, PeerState};

/// A draw in (0, 1] from a hash of the pair. Two machines whose `ln` differs in the last bit may order a near-tie differently; that is
/// harmless, since where shards really are is registered, and the order is only where to try.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
fn uniform(chunk: &ChunkId, peer: &PeerId) -> f64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"shoal place v1");
    hasher.update(&chunk.0);
    hasher.update(&peer.0);
    let hash: [u8; 32] = hasher.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = hash;
    let bits = u64::from_le_bytes([a, b, c, d, e, f, g, h]) >> 11;
    (bits + 1) as f64 / (1_u64 << 53) as f64
}

fn draw(chunk: &ChunkId, entry: &PeerEntry) -> f64 {
    -uniform(chunk, &entry.peer).ln() / f64::from(entry.weight.max(1))
}

/// All peers in the order in which they should be asked to hold a shard of the chunk: shard 0 to the first, and so on; whoever
/// cannot take its shard is replaced by the next that has none. O(p log p) hashes and comparisons for p peers.
///
/// Peers that take no writes, or are not online, are left out.
#[must_use]
pub fn order(chunk: &ChunkId, map: &ClusterMap) -> Vec<PeerId> {
    order_of(chunk, map.peers.iter().filter(|entry| entry.writable && entry.state == PeerState::Online))
}

/// The same over a choice of peers.
pub fn order_of<'a>(chunk: &ChunkId, peers: impl Iterator<Item = &'a PeerEntry>) -> Vec<PeerId> {
    let mut drawn: Vec<(f64, &PeerEntry)> = peers.map(|entry| (draw(chunk, entry), entry)).collect();
    drawn.sort_by(|(a, x), (b, y)| a.total_cmp(b).then_with(|| x.peer.cmp(&y.peer)));
    let mut taken: HashMap<&str, usize> = HashMap::new();
    let mut ranked: Vec<(usize, usize, PeerId)> = Vec::with_capacity(drawn.len());
    for (position, (_, entry)) in drawn.into_iter().enumerate() {
        // A peer without a zone is a zone of its own.
        let round = if entry.zone.is_empty() {
            0
        } else {
            let count = taken.entry(&entry.zone).or_insert(0);
            let round = *count;
            *count += 1;
            round
        };
        ranked.push((round, position, entry.peer));
    }
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, peer)| peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::BoundedVec;
    use crate::id::ClusterId;
    use crate::time::Timestamp;
    use std::collections::HashSet;

    fn peer(number: u8, zone: &str, weight: u32) -> PeerEntry {
        PeerEntry {
            peer: PeerId([number; 16]),
            state: PeerState::Online,
            writable: true,
            weight,
            zone: zone.try_into().unwrap(),
            addresses: BoundedVec::empty(),
        }
    }

    fn map(peers: Vec<PeerEntry>) -> ClusterMap {
        ClusterMap {
            cluster: ClusterId([0; 16]),
            epoch: 1,
            generation: 1,
            made: Timestamp(0),
            directory: BoundedVec::empty(),
            peers: peers.try_into().unwrap(),
            revoked: BoundedVec::empty(),
        }
    }

    fn chunks(count: u32) -> impl Iterator<Item = ChunkId> {
        (0..count).map(|i| {
            let mut id = [0; 20];
            id[..4].copy_from_slice(&i.to_le_bytes());
            ChunkId(id)
        })
    }

    fn holders(chunk: &ChunkId, map: &ClusterMap, n: usize) -> HashSet<PeerId> {
        order(chunk, map).into_iter().take(n).collect()
    }

    #[test]
    fn a_peer_that_joins_takes_about_its_share_and_nothing_else_moves() {
        let before = map((0..9).map(|i| peer(i, "", 1)).collect());
        let after = map((0..10).map(|i| peer(i, "", 1)).collect());
        let newcomer = PeerId([9; 16]);
        let mut moved = 0;
        for chunk in chunks(4_000) {
            let (old, new) = (holders(&chunk, &before, 3), holders(&chunk, &after, 3));
            let gained: Vec<_> = new.difference(&old).collect();
            assert!(gained.iter().all(|peer| **peer == newcomer), "a shard moved between peers that were there before");
            moved += gained.len();
        }
        let share = f64::from(u32::try_from(moved).unwrap()) / (4_000.0 * 3.0);
        assert!((0.08..0.12).contains(&share), "one of ten peers took {share}");
    }

    #[test]
    fn a_peer_that_leaves_moves_nothing_between_survivors() {
        let before = map((0..10).map(|i| peer(i, "", 1 + u32::from(i % 3))).collect());
        let after = map((1..10).map(|i| peer(i, "", 1 + u32::from(i % 3))).collect());
        for chunk in chunks(2_000) {
            let mut kept = holders(&chunk, &before, 3);
            kept.remove(&PeerId([0; 16]));
            assert!(kept.is_subset(&holders(&chunk, &after, 3)));
        }
    }

    #[test]
    fn shares_follow_weights() {
        let map = map(vec![peer(1, "", 1), peer(2, "", 3)]);
        let first = chunks(4_000).filter(|chunk| order(chunk, &map)[0] == PeerId([2; 16])).count();
        assert!((2_850..3_150).contains(&first), "three quarters expected, {first} of 4000 found");
    }

    #[test]
    fn zones_are_spread_over_first() {
        let map = map(vec![peer(1, "a", 9), peer(2, "a", 9), peer(3, "a", 9), peer(4, "b", 1), peer(5, "c", 1)]);
        for chunk in chunks(200) {
            let zones: HashSet<_> =
                holders(&chunk, &map, 3).iter().map(|id| map.peer(*id).unwrap().zone.to_string()).collect();
            assert_eq!(zones.len(), 3);
        }
    }

    #[test]
    fn whoever_is_full_or_away_is_passed_over() {
        let mut peers: Vec<_> = (0..4).map(|i| peer(i, "", 1)).collect();
        peers[1].writable = false;
        peers[2].state = PeerState::Suspect;
        assert_eq!(order(&ChunkId([7; 20]), &map(peers)).len(), 2);
    }
}
