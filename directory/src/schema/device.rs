//! Device: one enrolled client installation and whom it acts for.

use common::id::AccountId;
use common::proto::parts::Label;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub account: AccountId,
    pub label: Label,
    pub enrolled: Timestamp,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
}

impl Record for Device {
    const NAME: &'static str = "device";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        let record = Device {
            account: AccountId([1; 16]),
            label: "laptop".try_into().unwrap(),
            enrolled: Timestamp(5),
            revoked: Some(Timestamp(6)),
        };
        golden(&record, "0101010101010101010101010101010101066c6170746f70050106");
    }
}
