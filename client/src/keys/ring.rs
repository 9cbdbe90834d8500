//! Ring: the keys of an account whose master key was rotated.
//!
//! What names things (cut, id, convergence and name keys) stays what it was: with other ones all content would be stored a second time under
//! other ids. What seals things is derived from each master key anew. So a ring holds the naming keys, and the sealing keys of before for
//! as long as something is still sealed under them; it is sealed under the master key, and the directory keeps it.
//!
//! Guarantees: it opens for its account, its number and its master key alone. Layout: docs/FORMATS.md.

use common::id::AccountId;
use common::proto::directory::{Ring, SealedRing};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{KEY_BYTES, Keys, Layer, MasterKey};
use crate::seal::IntegrityError;
use crate::seal::aead::{self, Place, SealError};

const FORMAT: u8 = 1;
const WHAT: &str = "the account's key ring";
const RING: &str = "shoal v1 key ring";

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Content {
    cut: [u8; KEY_BYTES],
    id: [u8; KEY_BYTES],
    convergence: [u8; KEY_BYTES],
    name: [u8; KEY_BYTES],
    before: Option<Former>,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Former {
    number: u32,
    metadata: [u8; KEY_BYTES],
    nodes: [u8; KEY_BYTES],
}

fn place(account: AccountId, number: u32) -> Place {
    Place::new(WHAT, RING).with(account.as_bytes()).with(&number.to_le_bytes())
}

impl Keys {
    /// The keys behind a rotation to another master key, with these as the ones before.
    ///
    /// # Errors
    /// `None` after 2^32 rotations.
    #[must_use]
    pub fn rotated(&self, to: &MasterKey) -> Option<Self> {
        Some(Self {
            cut: self.cut,
            id: self.id,
            convergence: self.convergence,
            name: self.name,
            layer: Layer::of(to, self.layer.number.checked_add(1)?),
            before: Some(self.layer.clone()),
        })
    }

    /// What the directory keeps, under the master key that these are of; with or without what was before.
    ///
    /// # Errors
    /// Never in practice: a ring always fits.
    pub fn seal_ring(&self, master: &MasterKey, account: AccountId, settled: bool) -> Result<SealedRing, SealError> {
        let former = |layer: &Layer| Former { number: layer.number, metadata: layer.metadata, nodes: layer.nodes };
        let content = Content {
            cut: self.cut,
            id: self.id,
            convergence: self.convergence,
            name: self.name,
            before: self.before.as_ref().filter(|_| !settled).map(former),
        };
        aead::seal_bounded(&*master.ring_key(), &place(account, self.layer.number), FORMAT, &content)
    }

    /// The keys of an account as its master key and the directory's ring give them.
    ///
    /// # Errors
    /// When the ring was not sealed under this key for this account.
    pub fn open_ring(master: &MasterKey, account: AccountId, ring: &Ring) -> Result<Self, IntegrityError> {
        let content: Content = aead::open(&master.ring_key(), &place(account, ring.key), FORMAT, &ring.sealed)?;
        let former = |former: &Former| Layer { number: former.number, metadata: former.metadata, nodes: former.nodes };
        Ok(Self {
            cut: content.cut,
            id: content.id,
            convergence: content.convergence,
            name: content.name,
            layer: Layer::of(master, ring.key),
            before: content.before.as_ref().map(former),
        })
    }
}

impl MasterKey {
    fn ring_key(&self) -> zeroize::Zeroizing<[u8; KEY_BYTES]> {
        zeroize::Zeroizing::new(blake3::derive_key(RING, &self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::NodeId;

    const ACCOUNT: AccountId = AccountId([1; 16]);

    fn ring(keys: &Keys, master: &MasterKey, settled: bool) -> Ring {
        Ring { key: keys.number(), settled, sealed: keys.seal_ring(master, ACCOUNT, settled).unwrap() }
    }

    #[test]
    fn names_stay_and_seals_change_and_what_was_before_is_known_until_it_is_settled() {
        let (old, new) = (MasterKey([7; 32]), MasterKey([8; 32]));
        let before = old.derive();
        let rotated = before.rotated(&new).unwrap();
        let opened = Keys::open_ring(&new, ACCOUNT, &ring(&rotated, &new, false)).unwrap();
        assert_eq!(
            (opened.cut, opened.id, opened.convergence, opened.name),
            (before.cut, before.id, before.convergence, before.name)
        );
        let node = NodeId([3; 16]);
        assert_ne!(opened.node_key(node), before.node_key(node));
        assert!(opened.is_node_key(node, &before.node_key(node)) && opened.is_node_key(node, &opened.node_key(node)));
        let settled = Keys::open_ring(&new, ACCOUNT, &ring(&rotated, &new, true)).unwrap();
        assert!(!settled.is_node_key(node, &before.node_key(node)));
        assert_eq!((opened.number(), settled.number()), (1, 1));
        let third = settled.rotated(&MasterKey([9; 32])).unwrap();
        assert_eq!((third.number(), third.id), (2, before.id));
    }

    #[test]
    fn a_ring_opens_for_its_account_number_and_key_alone() {
        let (old, new) = (MasterKey([7; 32]), MasterKey([8; 32]));
        let keys = old.derive().rotated(&new).unwrap();
        let good = ring(&keys, &new, false);
        assert!(Keys::open_ring(&new, ACCOUNT, &good).is_ok());
        assert!(Keys::open_ring(&old, ACCOUNT, &good).is_err());
        assert!(Keys::open_ring(&new, AccountId([2; 16]), &good).is_err());
        assert!(Keys::open_ring(&new, ACCOUNT, &Ring { key: 2, ..good }).is_err());
    }

    #[test]
    fn golden_bytes_of_a_ring() {
        let content = Content {
            cut: [1; 32],
            id: [2; 32],
            convergence: [3; 32],
            name: [4; 32],
            before: Some(Former { number: 300, metadata: [5; 32], nodes: [6; 32] }),
        };
        let key = MasterKey([7; 32]).ring_key();
        let sealed = aead::tests::seal_fixed(&key, &place(ACCOUNT, 301), FORMAT, &content);
        assert_eq!(sealed.len(), 226);
        assert_eq!(blake3::hash(&sealed).to_hex()[..16], *"a1103b33a8394f78");
    }
}
