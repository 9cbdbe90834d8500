//! Keys: the account's master key, and one sub-key for each purpose, derived from it.
//!
//! Guarantees: every sub-key comes from the master key by BLAKE3 `derive_key` with a context of its own, so none of them says
//! anything about another; all are wiped when dropped; none is ever printed. Layout and contexts: docs/FORMATS.md.
//!
//! Non-goals: where keys are kept ([`keystore`](crate::keystore)) and how people write them down ([`phrase`](crate::phrase)).

mod node;
mod ring;

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::seal::IntegrityError;
use crate::seal::aead::Under;

pub use node::NodeKey;

/// Bytes of a symmetric key.
pub const KEY_BYTES: usize = 32;

const CUT: &str = "shoal v1 cut key";
const ID: &str = "shoal v1 id key";
const CONVERGENCE: &str = "shoal v1 convergence key";
const NAME: &str = "shoal v1 name key";
const METADATA: &str = "shoal v1 metadata key";
const NODES: &str = "shoal v1 node keys";
const CHECK: &str = "shoal v1 key check";

/// The one secret of an account: whoever has it reads everything, and without it everything is noise.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey(pub [u8; KEY_BYTES]);

impl MasterKey {
    /// A fresh one from the system's randomness.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn random() -> Self {
        Self(random())
    }

    /// A tag that tells which master key an account uses. It says nothing about the key, so the directory may keep it: it is
    /// what stops a second device from joining with another key.
    #[must_use]
    pub fn key_check(&self) -> [u8; 32] {
        blake3::derive_key(CHECK, &self.0)
    }

    /// The keys of an account whose first master key this is, and the only one so far; else see [`Keys::open_ring`].
    #[must_use]
    pub fn derive(&self) -> Keys {
        Keys {
            cut: blake3::derive_key(CUT, &self.0),
            id: blake3::derive_key(ID, &self.0),
            convergence: blake3::derive_key(CONVERGENCE, &self.0),
            name: blake3::derive_key(NAME, &self.0),
            layer: Layer::of(self, 0),
            before: None,
        }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// What seals: derived from one master key.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Layer {
    /// Which of the account's master keys that is, counted from 0.
    pub(crate) number: u32,
    /// Seals the keys of chunks, and what else belongs to no node.
    pub(crate) metadata: [u8; KEY_BYTES],
    /// What the keys of nodes are derived from.
    pub(crate) nodes: [u8; KEY_BYTES],
}

impl Layer {
    fn of(master: &MasterKey, number: u32) -> Self {
        let (metadata, nodes) = (blake3::derive_key(METADATA, &master.0), blake3::derive_key(NODES, &master.0));
        Self { number, metadata, nodes }
    }
}

/// The sub-keys of an account. Shared by reference or `Arc`, not copied.
#[derive(ZeroizeOnDrop)]
pub struct Keys {
    cut: [u8; KEY_BYTES],
    pub(crate) id: [u8; KEY_BYTES],
    pub(crate) convergence: [u8; KEY_BYTES],
    pub(crate) name: [u8; KEY_BYTES],
    /// What is sealed with from now on.
    pub(crate) layer: Layer,
    /// What a part of the account may still be sealed under, while its key is rotated.
    before: Option<Layer>,
}

impl Keys {
    /// How often the account's master key was rotated before it became this one.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.layer.number
    }

    /// What something belonging to no node is sealed under.
    pub(crate) fn metadata(&self) -> Under<'_> {
        Under { number: self.layer.number, key: &self.layer.metadata }
    }

    /// What a sealed value opens with, by the number that it says itself.
    pub(crate) fn layer_of(&self, what: &'static str, sealed: &[u8]) -> Result<&Layer, IntegrityError> {
        let Some(number) = common::sealed::key_of(sealed).filter(|number| *number != self.layer.number) else {
            return Ok(&self.layer); // whatever it is, it does not open
        };
        let before = self.before.as_ref().filter(|before| before.number == number);
        before.ok_or(IntegrityError::OtherKey { what, number })
    }

    /// The key that such a value opens with.
    pub(crate) fn metadata_of(&self, what: &'static str, sealed: &[u8]) -> Result<&[u8; KEY_BYTES], IntegrityError> {
        self.layer_of(what, sealed).map(|layer| &layer.metadata)
    }

    /// What the gear table of the cutter is altered with.
    pub(crate) fn cut_seed(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.cut;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Fresh bytes from the system's randomness.
#[expect(clippy::expect_used, reason = "without randomness no key and no nonce can be made")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives no randomness");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivation_never_changes_and_no_two_purposes_share_a_key() {
        let master = MasterKey([7; 32]);
        let keys = master.derive();
        let all = [
            keys.cut,
            keys.id,
            keys.convergence,
            keys.name,
            keys.layer.metadata,
            keys.layer.nodes,
            master.key_check(),
            master.0,
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one));
        }
        let golden: Vec<String> =
            all.iter().map(|key| blake3::Hash::from_bytes(*key).to_hex()[..16].to_owned()).collect();
        assert_eq!(
            golden[..7],
            [
                "0487aba826374317",
                "9d718e54d8a6216d",
                "342fba91cd9ca949",
                "c6e85dc1c8aaffd4",
                "703d4b99d3ceb43b",
                "b5de257009033fcc",
                "fdb643c641b9e2a7"
            ],
            "a changed derivation loses everybody's data"
        );
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(format!("{:?} {:?}", MasterKey([65; 32]), MasterKey([65; 32]).derive()), "MasterKey(..) Keys(..)");
    }
}
