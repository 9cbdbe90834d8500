//! Usage: how full the store is, and when it is too full to take more.
//!
//! A store that runs into a full disk cannot even note that a shard was dropped. So writes of shards stop while there is a
//! reserve left; notes go on until the disk itself refuses.

use common::size::ByteSize;

use super::disk::Space;
use super::error::StoreError;
use super::index::Tallies;

/// How much the store holds, and how much it would still take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Usage {
    /// Disk bytes of all segments, dead records among them.
    pub used: u64,
    /// Live shards, those in the trash, those in quarantine.
    pub tallies: Tallies,
    /// What may still be written: within the capacity, and above the reserve.
    pub free: u64,
    /// The configured capacity; `None`: as much as the file system has.
    pub capacity: Option<u64>,
}

/// How much of the file system is not the store's to fill.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reserve {
    /// 1 GiB, or 5 % of the file system where that is less.
    #[default]
    Usual,
    Bytes(ByteSize),
}

impl Reserve {
    fn of(self, total: u64) -> u64 {
        match self {
            Self::Usual => ByteSize::gib(1).0.min(total / 20),
            Self::Bytes(size) => size.0,
        }
    }
}

/// What may still be written.
pub(crate) fn free(used: u64, capacity: Option<ByteSize>, reserve: Reserve, space: Space) -> u64 {
    let on_disk = space.free.saturating_sub(reserve.of(space.total));
    capacity.map_or(on_disk, |capacity| on_disk.min(capacity.0.saturating_sub(used)))
}

/// Refuses what would not fit.
pub(crate) fn check_room(free: u64, wanted: u64) -> Result<(), StoreError> {
    if wanted > free {
        return Err(StoreError::Full { free, wanted });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_and_reserve_both_bound_what_is_free() {
        let space = |free, total| Space { free, total };
        let gib = 1 << 30;
        let check = |used, capacity: Option<u64>, reserve, space, expected| {
            assert_eq!(free(used, capacity.map(ByteSize), reserve, space), expected);
        };
        check(0, None, Reserve::Usual, space(10 * gib, 100 * gib), 9 * gib);
        check(0, None, Reserve::Usual, space(100, 1000), 50);
        check(0, None, Reserve::Usual, space(40, 1000), 0);
        check(70, Some(100), Reserve::Bytes(ByteSize(0)), space(1000, 1000), 30);
        check(170, Some(100), Reserve::Bytes(ByteSize(0)), space(1000, 1000), 0);
        check(0, Some(100), Reserve::Bytes(ByteSize(980)), space(1000, 1000), 20);
    }
}
