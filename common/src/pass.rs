//! Pass: the directory's signed word that somebody may read the shards of some chunks from peers, for a while.
//!
//! A peer gets one for the chunk of which it is to make a shard; a reader of something shared gets one for the chunks that a version
//! names. Peers read nothing of each other without it, and a reader nothing of another account: whoever steals a peer's key can read
//! what is being repaired to that peer, whoever has a link what it leads to, and no more.
//!
//! Non-goals: parts of a chunk. The directory does not know which part of a pack is whose; that is in sealed manifests, and so
//! are the keys without which the rest of a pack is noise.

use serde::{Deserialize, Serialize};

use crate::bounded::BoundedVec;
use crate::id::{AccountId, ChunkId, ClusterId, DeviceId, PeerId};
use crate::limits::PASS_CHUNKS;
use crate::proto::refusal::GrantFault;
use crate::signed::{Signed, Statement};
use crate::time::Timestamp;

/// What whoever reads shows to the peer that it reads from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    pub cluster: ClusterId,
    /// Who may read.
    pub reader: Reader,
    /// Whose chunks they are.
    pub account: AccountId,
    pub chunks: BoundedVec<ChunkId, PASS_CHUNKS>,
    /// In the directory's time.
    pub expires: Timestamp,
}

/// Whom a pass is for. Variants are append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reader {
    /// 0
    Peer(PeerId),
    /// 1: a device of any account, or a guest
    Device(DeviceId),
}

pub type SignedPass = Signed<Pass>;

impl Statement for Pass {
    const CONTEXT: &'static str = "shoal pass v1";
}

impl Pass {
    /// Whether `reader` may use it now.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self, cluster: ClusterId, reader: Reader, now: Timestamp) -> Result<(), GrantFault> {
        if self.cluster != cluster {
            return Err(GrantFault::OtherCluster);
        }
        if self.reader != reader {
            return Err(GrantFault::NotYours);
        }
        if now > self.expires {
            return Err(GrantFault::Expired(self.expires));
        }
        Ok(())
    }

    /// Whether it is for shards of this chunk.
    #[must_use]
    pub fn covers(&self, chunk: &ChunkId) -> bool {
        self.chunks.contains(chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_for_one_reader_of_one_cluster_until_its_time() {
        let peer = Reader::Peer(PeerId([2; 16]));
        let pass = Pass {
            cluster: ClusterId([1; 16]),
            reader: peer,
            account: AccountId([3; 16]),
            chunks: vec![ChunkId([4; 20])].try_into().unwrap(),
            expires: Timestamp(100),
        };
        let check = |cluster, reader, now| pass.check(ClusterId([cluster; 16]), reader, Timestamp(now));
        assert_eq!(check(1, peer, 100), Ok(()));
        assert_eq!(check(9, peer, 100), Err(GrantFault::OtherCluster));
        assert_eq!(check(1, Reader::Peer(PeerId([9; 16])), 100), Err(GrantFault::NotYours));
        assert_eq!(check(1, Reader::Device(DeviceId([2; 16])), 100), Err(GrantFault::NotYours));
        assert_eq!(check(1, peer, 101), Err(GrantFault::Expired(Timestamp(100))));
        assert!(pass.covers(&ChunkId([4; 20])) && !pass.covers(&ChunkId([5; 20])));
    }
}
