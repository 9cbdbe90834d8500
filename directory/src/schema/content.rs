//! Content: in which pack a small content lies; and, for each pack, which contents say so.

use common::bounded::BoundedVec;
use common::id::{ChunkId, ContentId};
use common::limits::PUBLISH_FILES;
use common::proto::parts::SealedExtent;
use serde::{Deserialize, Serialize};

use super::Record;

/// Where a small content is. It holds nothing: it counts only as long as its pack is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub pack: ChunkId,
    pub sealed: SealedExtent,
}

impl Record for Content {
    const NAME: &'static str = "content";
}

/// Contents that were published together and lie in one pack: what is forgotten with it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Packed {
    pub contents: BoundedVec<ContentId, PUBLISH_FILES>,
}

impl Record for Packed {
    const NAME: &'static str = "packed contents";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        let content = Content { pack: ChunkId([1; 20]), sealed: vec![9; 4].try_into().unwrap() };
        golden(&content, "0101010101010101010101010101010101010101010409090909");
        let packed = Packed { contents: vec![ContentId([2; 20])].try_into().unwrap() };
        golden(&packed, "01010202020202020202020202020202020202020202");
    }
}
