//! Conflict: that a version was put over another which its writer had not seen; kept so that the account's other devices are told.

use common::id::DeviceId;
use common::proto::parts::SealedEntry;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    pub at: Timestamp,
    /// Who wrote the version, and knows.
    pub by: DeviceId,
    /// The path, sealed for the account.
    pub sealed: SealedEntry,
}

impl Record for Conflict {
    const NAME: &'static str = "conflict";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        let record = Conflict { at: Timestamp(5), by: DeviceId([1; 16]), sealed: vec![7; 3].try_into().unwrap() };
        golden(&record, &format!("0105{}03070707", "01".repeat(16)));
    }
}
