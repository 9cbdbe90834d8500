//! Node key: reads one file with all its versions, or one folder and all below it, and nothing else.
//!
//! An entry is sealed under its folder's node key and carries, sealed, the node key of what it leads to; a version's metadata is
//! sealed under its file's. So whoever is handed one node key finds the keys of everything below it, and of nothing beside or above.
//! The account's own devices derive any of them from the node's id, and look nothing up.
//!
//! Non-goals: revoking. A key that was handed on is known for ever; what ends is that the directory answers.

use std::fmt;

use common::id::NodeId;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{KEY_BYTES, Keys, Layer};
use crate::seal::IntegrityError;

/// See the module.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct NodeKey(pub [u8; KEY_BYTES]);

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

impl Keys {
    /// The key of this node, in this account.
    #[must_use]
    pub fn node_key(&self, node: NodeId) -> NodeKey {
        self.layer.node_key(node)
    }

    /// The key of this node that a value of it is sealed under.
    ///
    /// # Errors
    /// When that was sealed under a master key of the account that this device does not have.
    pub fn node_key_of(&self, what: &'static str, node: NodeId, sealed: &[u8]) -> Result<NodeKey, IntegrityError> {
        self.layer_of(what, sealed).map(|layer| layer.node_key(node))
    }

    /// Whether this is a key of this node, of now or of before.
    #[must_use]
    pub fn is_node_key(&self, node: NodeId, key: &NodeKey) -> bool {
        std::iter::once(&self.layer).chain(&self.before).any(|layer| layer.node_key(node) == *key)
    }
}

impl Layer {
    fn node_key(&self, node: NodeId) -> NodeKey {
        NodeKey(blake3::keyed_hash(&self.nodes, node.as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;

    #[test]
    fn each_node_has_a_key_of_its_own_that_never_changes() {
        let keys = MasterKey([7; 32]).derive();
        let key = keys.node_key(NodeId([1; 16]));
        assert_ne!(key, keys.node_key(NodeId([2; 16])));
        assert_ne!(key, MasterKey([8; 32]).derive().node_key(NodeId([1; 16])));
        assert_eq!(blake3::Hash::from_bytes(key.0).to_hex()[..16], *"e47f0f51a1192ec6");
        assert_eq!(format!("{key:?}"), "NodeKey(..)");
    }
}
