//! What may be asked of a peer, by role.
//!
//! | who | requests |
//! |---|---|
//! | client | [`PutShard`] with a grant of its own device, [`GetShard`] of its own account's shards |
//! | directory | [`GetShard`] of any account, [`DropShards`] |
//! | admin | none |
//!
//! Orders of the directory ride on the connection that the peer has dialled to it.

use serde::{Deserialize, Serialize};

use crate::address::ShardAddress;
use crate::bounded::BoundedVec;
use crate::grant::SignedGrant;
use crate::id::{AccountId, ChunkId};
use crate::limits;
use crate::proto::frame::requests;
use crate::redundancy::Redundancy;

/// Stores one shard; its bytes are the body. Answered when it would survive a power cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutShard {
    pub grant: SignedGrant,
    pub chunk: ChunkId,
    pub index: u8,
    pub redundancy: Redundancy,
    /// Length of the sealed chunk that the shard is of.
    pub sealed_len: u32,
    /// Length of the body.
    pub len: u32,
    pub address: ShardAddress,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// It was there already; the body was not needed.
    pub existed: bool,
}

/// Reads a part of a shard; the bytes are the answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetShard {
    /// Whose it is; a client may leave it out, and may name only its own.
    pub account: Option<AccountId>,
    pub address: ShardAddress,
    pub offset: u32,
    /// How many bytes; up to the shard's end when there are fewer.
    pub len: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRange {
    /// Length of the body that follows.
    pub len: u32,
    /// Length of the whole shard.
    pub total: u32,
}

/// The directory's order to let shards go. Anybody else's is refused, and so is one of an older generation than was ever seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropShards {
    pub generation: u64,
    pub account: AccountId,
    pub shards: BoundedVec<ShardAddress, { limits::DROP_SHARDS }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// How many of them were there.
    pub dropped: u32,
}

requests! {
    /// What may be asked of a peer on [`ALPN`](super::ALPN).
    PeerRequest {
        1 PutShard -> Stored;
        2 GetShard -> ShardRange;
        10 DropShards -> Dropped;
    }
}
