//! Governing: how a cluster is, and what an operator does about it. Asked of the directory, see [`super::directory`].

use serde::{Deserialize, Serialize};

use crate::bounded::{BoundedText, BoundedVec};
use crate::id::{ClusterId, PeerId, RequestId};
use crate::limits;
use crate::map::PeerState;
use crate::proto::parts::{Addresses, Label};
use crate::redundancy::Redundancy;
use crate::time::Timestamp;

/// Asks how the cluster is. A client gets its own account's figures, an admin the cluster's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetStatus {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    pub cluster: ClusterId,
    pub generation: u64,
    /// Sequence number of the last commit.
    pub sequence: u64,
    pub now: Timestamp,
    pub redundancy: Redundancy,
    pub peers: BoundedVec<PeerStatus, { limits::PEERS }>,
    /// Chunks registered: the account's, or all for an admin.
    pub chunks: u64,
    pub sealed_bytes: u64,
    /// Chunks with fewer than n shards on peers that are not dead.
    pub degraded: u64,
    /// Of these, chunks with fewer than k left: unreadable until a peer returns.
    pub unreadable: u64,
    /// Uploads under way.
    pub pending: u64,
    pub accounts: u64,
    pub devices: u64,
    /// What is being done about it; `None` for a client.
    pub upkeep: Option<Upkeep>,
}

/// What the directory does by itself: repair, moves, collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Upkeep {
    /// Chunks that are known to wait for a shard to be made.
    pub waiting: u64,
    /// Orders to make a shard that are under way.
    pub under_way: u32,
    /// Shards made, and their bytes, since the directory started.
    pub made: u64,
    pub made_bytes: u64,
    /// Orders that failed, since the directory started; each is tried again.
    pub failed: u64,
    /// Bytes a second, over the last minute.
    pub rate: u64,
    /// Seconds to go at that rate; `None` when nothing waits or nothing is known.
    pub to_go_s: Option<u64>,
    /// Chunks that were collected, and shards that were dropped, since the directory started.
    pub collected: u64,
    pub dropped: u64,
    /// Whether all peers' inventories were compared since the directory started, and all that was found is repaired.
    pub verified: bool,
    /// This store is older than what peers have seen: nothing is deleted until it is reconciled.
    pub fenced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    pub peer: PeerId,
    pub label: Label,
    pub zone: Label,
    pub state: PeerState,
    pub addresses: Addresses,
    /// Bytes that it may use.
    pub capacity: u64,
    pub used: u64,
    /// Bytes that it could still take.
    pub free: u64,
    pub shards: u64,
    pub trash: u64,
    pub quarantined: u64,
    pub last_seen: Option<Timestamp>,
    /// It is being emptied.
    pub draining: bool,
    /// Shards that are registered with it; `None` where that was not counted.
    pub registered: Option<u64>,
    /// When its inventory was last compared, and how many shards were missing or damaged and how many unknown then.
    pub compared: Option<Timestamp>,
    pub missing: u64,
    pub unknown: u64,
    /// When a shard of it was last fetched and checked by the directory, and how many were and failed since the directory started.
    pub audited: Option<Timestamp>,
    pub audits: u64,
    pub audits_failed: u64,
    /// When its scrubber last ended a whole pass.
    pub scrubbed: Option<Timestamp>,
}

/// Begins or ends the emptying of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainPeer {
    pub request: RequestId,
    pub peer: PeerId,
    pub drain: bool,
}

/// Takes a peer out of the cluster for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovePeer {
    pub request: RequestId,
    pub peer: PeerId,
    /// Although shards are registered with it: it will not come back, and they are made anew at once.
    pub lost: bool,
}

/// Accepts this store's history in place of the one that the peers have seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconcile {
    /// Says what would become of it, and changes nothing.
    pub dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reconciled {
    /// Peers whose inventories were compared, and those that could not be asked.
    pub peers: u32,
    pub absent: u32,
    /// Shards of chunks that are known, which the store had not placed there: taken back.
    pub adopted: u64,
    /// Shards that belong to nothing that the store knows of, and their bytes: they go to the trash once this was accepted.
    pub unknown: u64,
    pub unknown_bytes: u64,
    /// Shards that the store has placed and no peer holds.
    pub missing: u64,
}

/// Holds every record of the store against every other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckStore {
    /// Mends what can be mended without losing anything.
    pub repair: bool,
    /// Compares all peers' inventories as well.
    pub deep: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreChecked {
    /// Records that were looked at.
    pub records: u64,
    /// What was found to be wrong, and how much of it was mended.
    pub found: u64,
    pub repaired: u64,
    /// Chunks that files need and that have fewer than k shards on living peers.
    pub unreadable: u64,
    /// Peers whose inventories were compared, and those that could not be.
    pub peers: u32,
    pub absent: u32,
    pub missing: u64,
    pub unknown: u64,
    /// The first of what was found, a line each.
    pub lines: BoundedVec<BoundedText<{ limits::FINDING_BYTES }>, { limits::FINDINGS }>,
}
