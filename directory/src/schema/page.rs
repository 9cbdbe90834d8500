//! Page: a part of a version's manifest, sealed, with the chunks that it names in the open, so that they can be held and found.

use common::bounded::BoundedVec;
use common::id::ChunkId;
use common::limits::EXTENTS_PER_PAGE;
use common::proto::parts::SealedPage;
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Each once.
    pub chunks: BoundedVec<ChunkId, EXTENTS_PER_PAGE>,
    pub sealed: SealedPage,
}

impl Record for Page {
    const NAME: &'static str = "page";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        let record =
            Page { chunks: vec![ChunkId([1; 20])].try_into().unwrap(), sealed: vec![9; 4].try_into().unwrap() };
        golden(&record, "010101010101010101010101010101010101010101010409090909");
    }
}
