//! What rooms are measured with: the same values every time. Also read by tests/instructions, so not all of it is used everywhere.

use bytes::Bytes;
use common::address::ShardAddress;
use common::bounded::BoundedVec;
use common::erasure::split;
use common::grant::Grant;
use common::id::{AccountId, ChunkId, ClusterId, DeviceId, PeerId, VersionId};
use common::map::{ClusterMap, PeerEntry, PeerState};
use common::proto::directory::{DirectoryRequest, Manifests, NewChunk, NewPage, PageView, PutPages, Register};
use common::proto::frame::FrameHead;
use common::proto::parts::{PlacedChunk, Placement, ShardAt};
use common::redundancy::Redundancy;
use common::time::Timestamp;

/// Bytes that no codec and no cutter can guess.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"rooms").finalize_xof().fill(&mut bytes);
    bytes
}

/// An id that differs from number to number.
pub(crate) fn id<const LEN: usize>(number: usize) -> [u8; LEN] {
    let mut id = [0; LEN];
    blake3::Hasher::new().update(&(number as u64).to_le_bytes()).finalize_xof().fill(&mut id);
    id
}

/// The shards of a chunk without the first `lost` of them, as many as rebuild it.
pub(crate) fn without(code: Redundancy, lost: usize, chunk: usize) -> Vec<(u8, Bytes)> {
    let shards = split(&noise(chunk).into(), code).unwrap();
    (0..).zip(shards).skip(lost).take(code.k()).collect()
}

fn shards() -> BoundedVec<ShardAt, { common::limits::SHARDS_PER_CHUNK }> {
    let at = |index: u8| ShardAt { index, peer: PeerId(id(index.into())), address: ShardAddress(id(7)) };
    (0..3).map(at).collect::<Vec<_>>().try_into().unwrap()
}

/// 64 chunks of three copies each.
pub(crate) fn register() -> Register {
    let chunk = |number| NewChunk {
        chunk: ChunkId(id(number)),
        sealed_len: 2_000_000,
        redundancy: Redundancy::DEFAULT,
        key: noise(61).try_into().unwrap(),
        addresses: shards().iter().take(1).map(|shard| shard.address).collect::<Vec<_>>().try_into().unwrap(),
        shards: shards(),
    };
    Register { version: VersionId(id(0)), chunks: (0..64).map(chunk).collect::<Vec<_>>().try_into().unwrap() }
}

/// One full page of a manifest, with where its 512 chunks are.
pub(crate) fn placements() -> Manifests {
    let placement = Placement { sealed_len: 2_000_000, redundancy: Redundancy::DEFAULT, shards: shards() };
    let placed = |number| PlacedChunk { chunk: ChunkId(id(number)), placement: placement.clone() };
    let page = PageView { version: VersionId(id(1)), page: 0, sealed: noise(48_000).try_into().unwrap() };
    Manifests {
        pages: vec![page].try_into().unwrap(),
        placements: (0..512).map(placed).collect::<Vec<_>>().try_into().unwrap(),
        missing: BoundedVec::empty(),
    }
}

/// One full page of a manifest on its way to the directory.
pub(crate) fn page() -> PutPages {
    let chunks: Vec<_> = (0..512).map(|number| ChunkId(id(number))).collect();
    let page = NewPage { page: 0, chunks: chunks.try_into().unwrap(), sealed: noise(48_000).try_into().unwrap() };
    PutPages { version: VersionId(id(1)), pages: vec![page].try_into().unwrap() }
}

/// What a directory does with the bytes of a request.
pub(crate) fn decode(bytes: &[u8]) -> DirectoryRequest {
    let (head, message) = bytes.split_first_chunk().unwrap();
    let head = FrameHead::parse(*head).unwrap();
    DirectoryRequest::decode(head.tag, message).unwrap()
}

/// A map of so many peers in five zones.
pub(crate) fn map(peers: usize) -> ClusterMap {
    let entry = |number: usize| PeerEntry {
        peer: PeerId(id(number)),
        state: PeerState::Online,
        writable: true,
        weight: 100,
        zone: format!("zone {}", number % 5).try_into().unwrap(),
        addresses: vec!["192.0.2.1:4567".to_owned().try_into().unwrap()].try_into().unwrap(),
    };
    ClusterMap {
        cluster: ClusterId([1; 16]),
        epoch: 1,
        generation: 1,
        made: Timestamp(0),
        directory: BoundedVec::empty(),
        peers: (0..peers).map(entry).collect::<Vec<_>>().try_into().unwrap(),
        revoked: BoundedVec::empty(),
    }
}

pub(crate) fn grant() -> Grant {
    Grant {
        cluster: ClusterId([1; 16]),
        generation: 1,
        account: AccountId([2; 16]),
        device: DeviceId([3; 16]),
        upload: VersionId([4; 16]),
        bytes: 1 << 40,
        expires: Timestamp(1_800_000_000_000),
    }
}
