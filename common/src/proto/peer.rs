//! What may be asked of a peer, by role.
//!
//! | who | requests |
//! |---|---|
//! | client, guest | [`ReadShard`] with a pass: of what was shared with it |
//! | client | [`PutShard`] and [`PutChain`] with a grant of its own device, [`GetShard`] of its own account's shards |
//! | peer | [`PutShard`] and [`PutChain`] with any device's grant that holds: it passes on what that device has sent; [`FetchShard`] with a pass |
//! | directory | [`GetShard`] of any account; the orders [`MakeShard`], [`CondemnShards`], [`DropShards`]; [`Digest`] and [`ListShards`] |
//! | admin | none |
//!
//! Orders of the directory ride on the connection that the peer has dialled to it.

use serde::{Deserialize, Serialize};

use crate::address::ShardAddress;
use crate::bounded::BoundedVec;
use crate::grant::SignedGrant;
use crate::id::{AccountId, ChunkId, PeerId};
use crate::inventory::PartDigest;
use crate::limits;
use crate::pass::SignedPass;
use crate::proto::frame::requests;
use crate::proto::parts::ShardAt;
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

/// Reads a whole shard, for a peer that makes one of the same chunk; the bytes are the answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchShard {
    pub pass: SignedPass,
    pub address: ShardAddress,
}

/// Reads a part of a shard of another account, for a reader of something shared; the bytes are the answer's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadShard {
    pub pass: SignedPass,
    pub address: ShardAddress,
    pub offset: u32,
    /// How many bytes; up to the shard's end when there are fewer.
    pub len: u32,
}

/// The directory's order to make one shard of a chunk from others of it, wherever they are.
///
/// Any `from.k()` of the sources are read, each checked against its address; then the chunk is put together, split by `to`, and shard
/// `index` is stored. Where a source is the wanted shard itself it is copied. Answered when the shard would survive a power cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MakeShard {
    pub generation: u64,
    /// Lets the maker read from the sources.
    pub pass: SignedPass,
    pub account: AccountId,
    pub chunk: ChunkId,
    pub sealed_len: u32,
    pub from: Redundancy,
    pub sources: BoundedVec<ShardAt, { limits::SHARDS_PER_CHUNK }>,
    pub to: Redundancy,
    pub index: u8,
    /// What it is called, where that is known: anything else is not stored.
    pub address: Option<ShardAddress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub address: ShardAddress,
    /// It was there already.
    pub existed: bool,
    /// Those of all shards of `to`, where they were computed: the directory compares what different makers say. Else empty.
    pub addresses: BoundedVec<ShardAddress, { limits::SHARDS_PER_CHUNK }>,
    /// Sources whose bytes were not what their address says.
    pub damaged: BoundedVec<PeerId, { limits::SHARDS_PER_CHUNK }>,
}

/// A shard as its peer calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardName {
    pub account: AccountId,
    pub address: ShardAddress,
}

/// The directory's announcement that these shards are nobody's, as far as it knows. The peer notes it, in memory alone. Whoever stores or
/// makes one of them from now on takes it out of that note, so that only what nobody has touched since can be dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CondemnShards {
    pub generation: u64,
    pub shards: BoundedVec<ShardName, { limits::ORDER_SHARDS }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condemned {
    /// How many of them are here and live.
    pub condemned: u32,
}

/// The directory's order to let shards go that are condemned and untouched since: they go to the trash. Anybody else's is refused, and so is
/// one of an older generation than was ever seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropShards {
    pub generation: u64,
    pub shards: BoundedVec<ShardName, { limits::ORDER_SHARDS }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// How many went to the trash.
    pub dropped: u32,
}

/// Asks for the digests of a peer's live shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// For each first byte of an address the sum of its shards, see [`crate::inventory`].
    pub parts: BoundedVec<PartDigest, { limits::INVENTORY_PARTS }>,
}

/// One page of one part of a peer's inventory, in the order of account and address: shards in whatever state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListShards {
    /// The first byte of the addresses.
    pub part: u8,
    pub after: Option<ShardName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardList {
    pub shards: BoundedVec<ShardView, { limits::INVENTORY_SHARDS }>,
    pub more: bool,
}

/// A shard as its own record describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardView {
    pub name: ShardName,
    pub chunk: ChunkId,
    pub index: u8,
    pub redundancy: Redundancy,
    pub sealed_len: u32,
    /// The directory's generation when it was placed.
    pub generation: u64,
    pub condition: Condition,
}

/// What may be done with a shard. Variants are append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// 0
    Live,
    /// 1: dropped, and kept for some days
    Trash,
    /// 2: its bytes are not what its address says
    Quarantined,
}

requests! {
    /// What may be asked of a peer on [`ALPN`](super::ALPN).
    PeerRequest {
        1 PutShard -> Stored;
        2 GetShard -> ShardRange;
        3 PutChain -> Chained;
        4 FetchShard -> ShardRange;
        10 DropShards -> Dropped;
        11 CondemnShards -> Condemned;
        12 MakeShard -> Made;
        13 Digest -> Digests;
        14 ListShards -> ShardList;
        80 ReadShard -> ShardRange;
    }
}
