//! Cluster map: the peers with address, zone, weight and state; signed by the directory and numbered by an epoch.

use serde::{Deserialize, Serialize};

use crate::bounded::BoundedVec;
use crate::id::{ClusterId, PeerId};
use crate::limits;
use crate::proto::parts::{Addresses, Label};
use crate::signed::{Signed, Statement};
use crate::time::Timestamp;

/// How the directory sees a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PeerState {
    /// Heartbeats arrive.
    Online,
    /// Some are missing: writes avoid it, reads try it last.
    Suspect,
    /// Missing for long: its shards count as lost until it returns.
    Dead,
}

impl std::fmt::Display for PeerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Online => "online",
            Self::Suspect => "suspect",
            Self::Dead => "dead",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerEntry {
    pub peer: PeerId,
    pub state: PeerState,
    /// Whether it takes new shards: it has room, and is not being emptied.
    pub writable: bool,
    /// Its share of new chunks relative to others': capacity in GiB, at least 1.
    pub weight: u32,
    /// Peers of one zone are expected to fail together.
    pub zone: Label,
    pub addresses: Addresses,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMap {
    pub cluster: ClusterId,
    /// Rises with every change, also across restarts of the directory.
    pub epoch: u64,
    /// The directory's generation: rises with each of its starts.
    pub generation: u64,
    pub made: Timestamp,
    /// Where the directory can be reached.
    pub directory: Addresses,
    pub peers: BoundedVec<PeerEntry, { limits::PEERS }>,
    /// Ids of devices and peers whose certificates are not accepted any more.
    pub revoked: BoundedVec<[u8; 16], { limits::REVOKED }>,
}

pub type SignedMap = Signed<ClusterMap>;

impl Statement for ClusterMap {
    const CONTEXT: &'static str = "shoal cluster map v1";
}

impl ClusterMap {
    #[must_use]
    pub fn peer(&self, id: PeerId) -> Option<&PeerEntry> {
        self.peers.iter().find(|entry| entry.peer == id)
    }

    #[must_use]
    pub fn is_revoked(&self, id: &[u8; 16]) -> bool {
        self.revoked.contains(id)
    }

    /// Whether this map is to replace `other`.
    #[must_use]
    pub fn newer_than(&self, other: &Self) -> bool {
        (self.generation, self.epoch) > (other.generation, other.epoch)
    }
}
