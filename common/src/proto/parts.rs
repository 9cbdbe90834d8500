//! Parts: what several messages have in common.

use serde::{Deserialize, Serialize};

use crate::address::ShardAddress;
use crate::bounded::{BoundedBytes, BoundedText, BoundedVec};
use crate::id::{ChunkId, NameToken, NodeId, PeerId, VersionId};
use crate::limits;
use crate::redundancy::Redundancy;
use crate::time::Timestamp;

/// `host:port`.
pub type Address = BoundedText<{ limits::ADDRESS_BYTES }>;
/// Where one process can be reached.
pub type Addresses = BoundedVec<Address, { limits::ADDRESSES }>;
/// A zone, a label, an account's name.
pub type Label = BoundedText<{ limits::LABEL_BYTES }>;
/// DER of a certificate or of a signing request.
pub type Der = BoundedBytes<{ limits::CERTIFICATE_BYTES }>;
/// A chunk's codec and key, sealed for its account.
pub type SealedKey = BoundedBytes<{ limits::SEALED_KEY_BYTES }>;
/// Where a small content lies in a pack, and what opens it, sealed for its account.
pub type SealedExtent = BoundedBytes<{ limits::SEALED_EXTENT_BYTES }>;
/// An entry's name, and a folder's mode and times, sealed.
pub type SealedEntry = BoundedBytes<{ limits::SEALED_ENTRY_BYTES }>;
/// A version's size, times, mode and manifest key, sealed.
pub type SealedMeta = BoundedBytes<{ limits::SEALED_META_BYTES }>;
/// One page of a manifest, sealed.
pub type SealedPage = BoundedBytes<{ limits::SEALED_PAGE_BYTES }>;

/// What a node is, as far as the directory is told: a symbolic link is a file to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind {
    Folder,
    File,
}

/// One shard of a chunk: its index, where it is and what it is called there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardAt {
    pub index: u8,
    pub peer: PeerId,
    pub address: ShardAddress,
}

/// Where a chunk's shards are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Length of the sealed chunk, in bytes.
    pub sealed_len: u32,
    pub redundancy: Redundancy,
    pub shards: BoundedVec<ShardAt, { limits::SHARDS_PER_CHUNK }>,
}

/// A chunk and where its shards are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedChunk {
    pub chunk: ChunkId,
    pub placement: Placement,
}

/// A committed version, as far as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    pub version: VersionId,
    pub meta: SealedMeta,
    /// Pages of its manifest; zero for an empty file or a symbolic link.
    pub pages: u32,
    /// Sealed bytes that it refers to, each chunk counted as often as it is listed.
    pub sealed_bytes: u64,
    pub redundancy: Redundancy,
    pub committed: Timestamp,
}

/// A name in a folder, with what it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    pub folder: NodeId,
    pub token: NameToken,
    pub node: NodeId,
    pub kind: NodeKind,
    pub sealed: SealedEntry,
    /// The journal sequence from which it is current, of a file in this version.
    pub since: u64,
    /// A file's current version.
    pub version: Option<VersionView>,
}
