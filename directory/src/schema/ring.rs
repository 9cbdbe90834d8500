//! Ring: which of its keys an account is at, and what it keeps of the ones before, sealed for itself. There is none before the first rotation.

use common::proto::directory::SealedRing;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ring {
    /// The number of the key that counts, at least 1.
    pub key: u32,
    /// Whether nothing is left under the key before.
    pub settled: bool,
    pub sealed: SealedRing,
}

impl Record for Ring {
    const NAME: &'static str = "key ring";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        golden(&Ring { key: 300, settled: true, sealed: vec![7; 3].try_into().unwrap() }, "01fb2c010103070707");
    }
}
