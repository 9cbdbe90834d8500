//! What may be asked of a peer, by role.
//!
//! | who | requests |
//! |---|---|
//! | client | [`PutShard`] and [`PutChain`] with a grant of its own device, [`GetShard`] of its own account's shards |
//! | peer | [`PutShard`] and [`PutChain`] with any device's grant that holds: it passes on what that device has sent |
//! | directory | [`GetShard`] of any account, [`DropShards`] |
//! | admin | none |
//!
//! Orders of the directory ride on the connection that the peer has dialled to it.

use serde::{Deserialize, Serialize};

use crate::address::ShardAddress;
use crate::bounded::BoundedVec;
use crate::grant::SignedGrant;
use crate::id::{AccountId, ChunkId, PeerId};
use crate::limits;
use crate::proto::frame::requests;
use crate::proto::refusal::Refusal;
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

/// Stores one copy, and passes the same bytes on to further peers, one after the other, while they arrive. Only for k = 1, where all
/// shards of a chunk are the same bytes. The body is that of [`PutShard`].
///
/// What can be refused before a byte is read is refused as for [`PutShard`], and then nothing is passed on. Answered when every peer
/// has answered or was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutChain {
    pub put: PutShard,
    /// Who is next, in this order; each gets the rest of the list, so it ends. No index and no peer is named twice, nor whoever is asked.
    pub onward: BoundedVec<Onward, { limits::ONWARD }>,
}

/// A further copy: its index, and whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onward {
    pub index: u8,
    pub peer: PeerId,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chained {
    /// The asked peer's own, then those of `onward` in its order.
    pub outcomes: BoundedVec<ChainOutcome, { limits::SHARDS_PER_CHUNK }>,
}

/// What became of one copy. Variants are append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChainOutcome {
    /// 0
    Stored(Stored),
    /// 1
    Refused(Refusal),
    /// 2: nobody answered in time; it may have been stored all the same
    Unreachable,
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
        3 PutChain -> Chained;
        10 DropShards -> Dropped;
    }
}
