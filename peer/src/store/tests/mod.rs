//! The store as a whole, on a disk in memory and on a real one.

mod damage;
mod disk_trouble;
mod doomed;
mod memory;
mod model;
mod power;
mod reclaim;
mod restart;
mod rewrite;
mod use_it;

use std::sync::Arc;

use bytes::Bytes;
use common::address::ShardAddress;
use common::id::{AccountId, ChunkId, ClusterId, PeerId};
use common::redundancy::Redundancy;
use common::size::ByteSize;

use super::*;
use memory::MemoryDisk;

const ALICE: AccountId = AccountId([0xa1; 16]);
const BOB: AccountId = AccountId([0xb0; 16]);

fn options() -> StoreOptions {
    let options = StoreOptions::new(ClusterId([1; 16]), PeerId([2; 16]));
    StoreOptions { reserve: Reserve::Bytes(ByteSize(0)), ..options }
}

/// Segments of 16 pages, so that a few shards fill one.
fn small_segments() -> StoreOptions {
    StoreOptions { segment: ByteSize(16 * 4096), rewrite_pause: std::time::Duration::ZERO, ..options() }
}

fn open(disk: &MemoryDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), small_segments()).unwrap()
}

/// Bytes of this length that no other seed has.
fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[4]
        })
        .collect()
}

fn key(account: AccountId, body: &[u8]) -> ShardKey {
    ShardKey { account, address: ShardAddress::of(body) }
}

fn meta(account: AccountId, body: &[u8]) -> ShardMeta {
    ShardMeta {
        account,
        chunk: ChunkId([7; 20]),
        index: 0,
        redundancy: Redundancy::DEFAULT,
        sealed_len: u32::try_from(body.len()).unwrap(),
        generation: 3,
    }
}

async fn verified(store: &Store, body: &[u8]) -> Result<VerifiedShard, StoreError> {
    let mut buffer = store.reserve(body.len()).await?;
    for piece in body.chunks(10_000) {
        buffer.extend_from_slice(piece)?;
    }
    buffer.finish(ShardAddress::of(body))
}

async fn put(store: &Store, account: AccountId, body: &[u8]) -> Result<Stored, StoreError> {
    let shard = verified(store, body).await?;
    store.write(shard, meta(account, body)).await
}

async fn get(store: &Store, account: AccountId, body: &[u8]) -> Result<Bytes, StoreError> {
    let mut read = Vec::with_capacity(body.len());
    for offset in (0..body.len().max(1)).step_by(1 << 20) {
        let len = (body.len() - offset).min(1 << 20);
        read.extend_from_slice(&store.read(key(account, body), offset as u64, len).await?);
    }
    Ok(read.into())
}

fn state(store: &Store, account: AccountId, body: &[u8]) -> &'static str {
    match store.get(key(account, body)).map(|info| info.state) {
        None => "none",
        Some(ShardState::Live) => "live",
        Some(ShardState::Trash { .. }) => "trash",
        Some(ShardState::Quarantined { .. }) => "quarantined",
    }
}
