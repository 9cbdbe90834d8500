//! References: small records whose keys say nearly everything: who needs a chunk, who holds a shard, what is to be repaired.

use common::id::ChunkId;
use common::redundancy::Redundancy;
use serde::{Deserialize, Serialize};

use super::Record;

/// A key that is there, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mark {}

impl Record for Mark {
    const NAME: &'static str = "mark";
}

/// That a pending version holds a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hold {
    /// A page of the pending version's own manifest names it: it stays referenced when that is published.
    pub named: bool,
}

impl Record for Hold {
    const NAME: &'static str = "hold";
}

/// That a peer holds a shard; the counterpart of a place in a chunk's record, in the order of peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub chunk: ChunkId,
    pub index: u8,
}

impl Record for Held {
    const NAME: &'static str = "held shard";
}

/// That a chunk is to be kept at another redundancy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recode {
    pub redundancy: Redundancy,
}

impl Record for Recode {
    const NAME: &'static str = "wanted redundancy";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        golden(&Mark {}, "01");
        golden(&Hold { named: true }, "0101");
        golden(&Held { chunk: ChunkId([3; 20]), index: 2 }, "01030303030303030303030303030303030303030302");
        golden(&Recode { redundancy: Redundancy::DEFAULT }, "010103");
    }
}
