//! Peer: a storage node, as far as it outlives a restart of the directory. Liveness and free space are in memory alone.

use common::proto::parts::{Addresses, Label};
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub label: Label,
    pub zone: Label,
    /// Bytes that it may use.
    pub capacity: u64,
    /// Where it was reached last; empty until its first heartbeat.
    pub addresses: Addresses,
    /// Whether it takes new shards.
    pub writable: bool,
    /// It is being emptied: it takes no new shards, and those that it has go elsewhere.
    pub draining: bool,
    pub enrolled: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl Record for Peer {
    const NAME: &'static str = "peer";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        let record = Peer {
            label: "attic".try_into().unwrap(),
            zone: "home".try_into().unwrap(),
            capacity: 1 << 30,
            addresses: vec!["h:1".try_into().unwrap()].try_into().unwrap(),
            writable: true,
            draining: false,
            enrolled: Timestamp(5),
            revoked: None,
        };
        golden(&record, "0105617474696304686f6d65fc000000400103683a3101000500");
    }
}
