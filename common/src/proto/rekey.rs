//! Another master key for an account: what is sealed for the account alone is sealed anew, and what lies on peers stays as it is.
//!
//! [`RotateKey`] makes the new key the account's: from then on the directory takes nothing that is sealed under another. The device that asked
//! for it then goes through all that the directory still has under the old one ([`ListStale`], [`Reseal`]), and at the end takes the old key
//! out of the account's ring ([`SettleKey`]). All of it may be broken off at any point and begun again.

use serde::{Deserialize, Serialize};

use crate::bounded::{BoundedBytes, BoundedVec};
use crate::id::{ChunkId, ContentId, NameToken, NodeId, RequestId, ShareId, VersionId};
use crate::limits;

/// What of an account's first key stays in use, and the key before this one until all is sealed anew; sealed under the master key.
pub type SealedRing = BoundedBytes<{ limits::SEALED_RING_BYTES }>;
/// Any sealed value; the longest is a version's metadata.
pub type AnySealed = BoundedBytes<{ limits::SEALED_META_BYTES }>;

/// An account's keys, as far as the directory knows: nothing but their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// How often the key was rotated, at least 1: the number of the key that counts.
    pub key: u32,
    /// Whether nothing is left that is sealed under the key before.
    pub settled: bool,
    pub sealed: SealedRing,
}

/// Puts another master key in the place of the account's. Shares that lead to a folder or follow a file end with it: their links hold
/// keys of before. Asked again with the same new key, it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateKey {
    pub request: RequestId,
    /// Tag of the key that the account has.
    pub was: [u8; 32],
    /// Tag of the key that it gets.
    pub key_check: [u8; 32],
    /// Its number: one more than that of before.
    pub key: u32,
    pub ring: SealedRing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRotated {
    /// Shares that ended.
    pub ended: u32,
}

/// Where a sealed value is kept. Order is that in which they are listed, and the format: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealedAt {
    Entry {
        folder: NodeId,
        token: NameToken,
    },
    /// What an entry was from this sequence on.
    FormerEntry {
        folder: NodeId,
        token: NameToken,
        since: u64,
    },
    Version {
        version: VersionId,
    },
    Chunk {
        chunk: ChunkId,
    },
    /// What a chunk was from this sequence on.
    FormerChunk {
        chunk: ChunkId,
        since: u64,
    },
    Snapshot {
        token: NameToken,
    },
    Share {
        share: ShareId,
    },
    Content {
        content: ContentId,
    },
}

/// A page of what is sealed under a key before the account's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListStale {
    /// Behind this one; `None` from the beginning.
    pub after: Option<SealedAt>,
}

/// A page may be empty and not the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleListed {
    pub values: BoundedVec<StaleValue, { limits::RESEAL_VALUES }>,
    /// Where to go on; `None`: that was all.
    pub next: Option<SealedAt>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleValue {
    pub at: SealedAt,
    /// The node that an entry leads to, or that a version is of.
    pub node: Option<NodeId>,
    /// The pack that a small content lies in.
    pub pack: Option<ChunkId>,
    pub sealed: AnySealed,
}

/// Puts values in the place of what the caller saw; one that has changed meanwhile is left, and listed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reseal {
    pub request: RequestId,
    pub values: BoundedVec<ResealedValue, { limits::RESEAL_VALUES }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResealedValue {
    pub at: SealedAt,
    /// BLAKE3 of the sealed value that the caller saw.
    pub was: [u8; 32],
    pub sealed: AnySealed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealed {
    pub replaced: u32,
}

/// Says that nothing is left under the key before, and puts a ring without that in the place of the account's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleKey {
    pub request: RequestId,
    pub key: u32,
    pub ring: SealedRing,
}
