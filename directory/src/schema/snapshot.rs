//! Snapshot: a pinned point of an account's history. What it pins is the sequence of the commit that wrote it, so it is never rewritten.

use common::proto::snapshot::SealedSnapshot;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub sealed: SealedSnapshot,
    pub made: Timestamp,
}

impl Record for Snapshot {
    const NAME: &'static str = "snapshot";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        golden(&Snapshot { sealed: vec![7; 3].try_into().unwrap(), made: Timestamp(5) }, "010307070705");
    }
}
