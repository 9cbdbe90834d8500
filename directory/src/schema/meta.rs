//! Meta: what there is once in a store: which cluster it is, and how often a directory has started on it.

use common::id::ClusterId;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

/// What cluster this store is of. Its format byte is that of the schema as a whole: a store of a newer one is not opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    pub cluster: ClusterId,
    pub made: Timestamp,
}

impl Record for Cluster {
    const NAME: &'static str = "cluster";
}

/// Rises with each start of a directory. The epoch of a cluster map is `generation << 32` plus a count, and so rises over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    pub generation: u64,
}

impl Record for Generation {
    const NAME: &'static str = "generation";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        golden(&Cluster { cluster: ClusterId([1; 16]), made: Timestamp(5) }, "010101010101010101010101010101010105");
        golden(&Generation { generation: 300 }, "01fb2c01");
    }
}
