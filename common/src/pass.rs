//! Pass: the directory's signed word that a peer may read the shards of one chunk from other peers, to make one of its own.
//!
//! Peers read nothing of each other without it: whoever steals one peer's key can read what is being repaired to that peer, and no more.

use serde::{Deserialize, Serialize};

use crate::id::{AccountId, ChunkId, ClusterId, PeerId};
use crate::proto::refusal::GrantFault;
use crate::signed::{Signed, Statement};
use crate::time::Timestamp;

/// What the peer that reads shows to the one that it reads from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    pub cluster: ClusterId,
    /// Who may read.
    pub peer: PeerId,
    pub account: AccountId,
    pub chunk: ChunkId,
    /// In the directory's time.
    pub expires: Timestamp,
}

pub type SignedPass = Signed<Pass>;

impl Statement for Pass {
    const CONTEXT: &'static str = "shoal pass v1";
}

impl Pass {
    /// Whether `peer` may use it now.
    ///
    /// # Errors
    /// The first fault found.
    pub fn check(&self, cluster: ClusterId, peer: PeerId, now: Timestamp) -> Result<(), GrantFault> {
        if self.cluster != cluster {
            return Err(GrantFault::OtherCluster);
        }
        if self.peer != peer {
            return Err(GrantFault::NotYours);
        }
        if now > self.expires {
            return Err(GrantFault::Expired(self.expires));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_for_one_peer_of_one_cluster_until_its_time() {
        let pass = Pass {
            cluster: ClusterId([1; 16]),
            peer: PeerId([2; 16]),
            account: AccountId([3; 16]),
            chunk: ChunkId([4; 20]),
            expires: Timestamp(100),
        };
        let check = |cluster, peer, now| pass.check(ClusterId([cluster; 16]), PeerId([peer; 16]), Timestamp(now));
        assert_eq!(check(1, 2, 100), Ok(()));
        assert_eq!(check(9, 2, 100), Err(GrantFault::OtherCluster));
        assert_eq!(check(1, 9, 100), Err(GrantFault::NotYours));
        assert_eq!(check(1, 2, 101), Err(GrantFault::Expired(Timestamp(100))));
    }
}
