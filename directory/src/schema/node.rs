//! Node: a folder or a file by its id, for as long as an entry leads to it. A removed node is in history alone.

use common::id::{NodeId, VersionId};
use serde::{Deserialize, Serialize};

use super::Record;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// With the folder that it lies in; `None` for an account's root.
    Folder { parent: Option<NodeId> },
    /// With its current version, and the folder that it lies in: who prunes has to know when it could be reached.
    File { version: VersionId, parent: NodeId },
}

impl Record for Node {
    const NAME: &'static str = "node";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::record::golden;

    #[test]
    fn is_golden() {
        golden(&Node::Folder { parent: None }, "010000");
        golden(&Node::Folder { parent: Some(NodeId([1; 16])) }, "01000101010101010101010101010101010101");
        let file = Node::File { version: VersionId([2; 16]), parent: NodeId([1; 16]) };
        golden(&file, "01010202020202020202020202020202020201010101010101010101010101010101");
    }
}
