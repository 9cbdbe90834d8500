//! Meta: what there is once in a store: which cluster it is, and how often a directory has started on it.

use common::history::HistoryPoint;
use common::id::{ClusterId, StartId};
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

/// How a generation began: the beginning of its part of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub start: StartId,
    /// The last commit of the generations before.
    pub after: u64,
}

impl Record for Start {
    const NAME: &'static str = "start";
}

/// That a peer has seen a history of which this store is no part: nothing is deleted until it was reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The furthest that was seen.
    pub seen: HistoryPoint,
    /// False once it was reconciled: what was seen of generations up to `seen`'s is then no news.
    pub up: bool,
}

impl Record for Fence {
    const NAME: &'static str = "fence";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        golden(&Cluster { cluster: ClusterId([1; 16]), made: Timestamp(5) }, "010101010101010101010101010101010105");
        golden(&Generation { generation: 300 }, "01fb2c01");
        golden(&Start { start: StartId([2; 16]), after: 7 }, "010202020202020202020202020202020207");
        let seen = HistoryPoint { generation: 3, start: StartId([2; 16]), sequence: 7 };
        golden(&Fence { seen, up: true }, "0103020202020202020202020202020202020701");
    }
}
