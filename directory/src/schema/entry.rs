//! Entry: what a name in a folder leads to.
//!
//! It is current from the sequence of the commit that wrote it. When it is replaced or removed, the commit that does so copies it
//! into history under that sequence.

use common::id::NodeId;
use common::proto::parts::{NodeKind, SealedEntry};
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub node: NodeId,
    pub kind: NodeKind,
    pub sealed: SealedEntry,
}

impl Record for Entry {
    const NAME: &'static str = "entry";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        let record = Entry { node: NodeId([1; 16]), kind: NodeKind::File, sealed: vec![7; 3].try_into().unwrap() };
        golden(&record, "01010101010101010101010101010101010103070707");
    }
}
