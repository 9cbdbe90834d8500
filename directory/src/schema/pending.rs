//! Pending: a version that is not visible yet: an upload under way, what it may store and when it expires.
//!
//! What it holds are [`Hold`](super::Hold)s, each with a reference. Whoever lets it go sets it to `ending` first: from then on nothing can be
//! added to it, and what it holds is released in steps.

use common::id::DeviceId;
use common::redundancy::Redundancy;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    pub device: DeviceId,
    pub redundancy: Redundancy,
    /// Bytes that its grant is for.
    pub bytes: u64,
    pub expires: Timestamp,
    /// The last commit before it: whatever was said to peers by then was said before any of its shards were stored.
    pub begun: u64,
    /// A version of its own id was committed: what its pages name stays referenced when the rest is released.
    pub published: bool,
    /// It takes nothing any more and is being released.
    pub ending: bool,
}

impl Record for Pending {
    const NAME: &'static str = "pending version";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        let record = Pending {
            device: DeviceId([1; 16]),
            redundancy: Redundancy::new(4, 6).unwrap(),
            bytes: 1 << 20,
            expires: Timestamp(5),
            begun: 9,
            published: false,
            ending: true,
        };
        golden(&record, "01010101010101010101010101010101010406fc0000100005090001");
    }
}
