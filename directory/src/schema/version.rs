//! Version: one committed content of a file. Never changed after it was written.

use common::id::NodeId;
use common::proto::parts::SealedMeta;
use common::redundancy::Redundancy;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub node: NodeId,
    pub meta: SealedMeta,
    pub redundancy: Redundancy,
    /// Pages of its manifest.
    pub pages: u32,
    pub sealed_bytes: u64,
    pub committed: Timestamp,
}

impl Record for Version {
    const NAME: &'static str = "version";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        let record = Version {
            node: NodeId([1; 16]),
            meta: vec![9; 4].try_into().unwrap(),
            redundancy: Redundancy::DEFAULT,
            pages: 2,
            sealed_bytes: 70_000,
            committed: Timestamp(5),
        };
        golden(&record, "01010101010101010101010101010101010409090909010302fc7011010005");
    }
}
