//! Account: its name, where its tree begins, and a tag of the master key that its devices share.

use common::id::{AccountId, NodeId};
use common::proto::parts::Label;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: Label,
    pub root: NodeId,
    /// Set by the first device that enrols.
    pub key_check: Option<[u8; 32]>,
    pub made: Timestamp,
}

impl Record for Account {
    const NAME: &'static str = "account";
}

/// Which account has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub account: AccountId,
}

impl Record for Named {
    const NAME: &'static str = "account name";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        let record = Account {
            name: "ann".try_into().unwrap(),
            root: NodeId([1; 16]),
            key_check: Some([2; 32]),
            made: Timestamp(5),
        };
        golden(
            &record,
            "0103616e6e0101010101010101010101010101010101020202020202020202020202020202020202020202020202020202020202020205",
        );
        golden(&Named { account: AccountId([3; 16]) }, "0103030303030303030303030303030303");
    }
}
