//! Inventory: how a peer and the directory find out where they differ about what the peer holds, without listing all of it.
//!
//! Each side keeps 256 sums, one for each first byte of an address, over its live shards; a sum is that of 16-byte hashes, added
//! without carry (XOR), beside a count. So it can be kept up as shards come and go, and equal sums mean equal sets. Only parts whose sums
//! differ are listed. The hashes are BLAKE3: a peer can lie about what it has, but not by chance.

use serde::{Deserialize, Serialize};

use crate::address::ShardAddress;
use crate::id::{AccountId, ChunkId};
use crate::limits::INVENTORY_PARTS;

/// The sum over the shards of one part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartDigest {
    pub shards: u64,
    pub sum: [u8; 16],
}

impl PartDigest {
    fn mix(&mut self, account: AccountId, address: ShardAddress, chunk: ChunkId) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"shoal inventory v1").update(&account.0).update(&address.0).update(&chunk.0);
        let hash = hasher.finalize();
        for (to, from) in self.sum.iter_mut().zip(hash.as_bytes()) {
            *to ^= from;
        }
    }
}

/// The sums of all parts, 6 KiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums(Box<[PartDigest; INVENTORY_PARTS]>);

impl Default for Sums {
    fn default() -> Self {
        Self(Box::new([PartDigest::default(); INVENTORY_PARTS]))
    }
}

/// Which part a shard belongs to.
#[must_use]
pub fn part_of(address: &ShardAddress) -> u8 {
    let [first, ..] = address.0;
    first
}

impl Sums {
    pub fn add(&mut self, account: AccountId, address: ShardAddress, chunk: ChunkId) {
        if let Some(part) = self.0.get_mut(usize::from(part_of(&address))) {
            part.mix(account, address, chunk);
            part.shards = part.shards.wrapping_add(1);
        }
    }

    pub fn take(&mut self, account: AccountId, address: ShardAddress, chunk: ChunkId) {
        if let Some(part) = self.0.get_mut(usize::from(part_of(&address))) {
            part.mix(account, address, chunk);
            part.shards = part.shards.wrapping_sub(1);
        }
    }

    #[must_use]
    pub fn parts(&self) -> &[PartDigest] {
        self.0.as_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_of_sets_whatever_the_order_and_golden() {
        let shard = |i: u8| (AccountId([1; 16]), ShardAddress([i; 20]), ChunkId([i; 20]));
        let (mut a, mut b) = (Sums::default(), Sums::default());
        for i in [1, 2, 3] {
            let (account, address, chunk) = shard(i);
            a.add(account, address, chunk);
        }
        for i in [3, 4, 2, 1] {
            let (account, address, chunk) = shard(i);
            b.add(account, address, chunk);
        }
        assert_ne!(a, b);
        let (account, address, chunk) = shard(4);
        b.take(account, address, chunk);
        assert_eq!(a, b);
        assert_eq!(a.parts()[1].shards, 1);
        let hex: String = a.parts()[1].sum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        a.take(account, ShardAddress([1; 20]), ChunkId([9; 20]));
        assert_ne!(a.parts()[1].sum, [0; 16], "another chunk under the same address is another shard");
    }

    const GOLDEN: &str = "a34fae5706170e28cde50834da892d07";
}
