//! Usage and quota: what an account uses, in parts that are added up, and what it may use.
//!
//! There are several parts, so that commits of one account seldom meet on one. A part may be negative: what one counted another may have
//! taken away. The sum is exact.

use common::proto::quota;
use serde::{Deserialize, Serialize};

use super::Record;

/// Parts of an account's usage.
pub const PARTS: u8 = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Of all shards that the account's chunks should have.
    pub bytes: i64,
    /// Versions of files.
    pub files: i64,
}

impl Record for Usage {
    const NAME: &'static str = "usage";
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Quota {
    pub allowed: quota::Quota,
}

impl Record for Quota {
    const NAME: &'static str = "quota";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        golden(&Usage { bytes: -3, files: 300 }, "0105fb5802");
        golden(&Quota { allowed: quota::Quota { bytes: Some(7), files: None } }, "01010700");
    }
}
