//! Address: what a shard is called. The only file that names SHA-1.
//!
//! A shard is ciphertext and is addressed by the SHA-1 of its bytes. No security property rests on SHA-1's collision
//! resistance (invariant 6): a collision can be made only by whoever makes the ciphertext, that is, against their own data.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use crate::id::IdError;

/// SHA-1 of a shard's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardAddress(pub [u8; 20]);

impl ShardAddress {
    pub const LEN: usize = 20;

    /// The address of these bytes. CPU-bound: 0.5 ns a byte.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha1::digest(bytes).into())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first eight hex digits, for logs.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for ShardAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for ShardAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShardAddress({self})")
    }
}

impl FromStr for ShardAddress {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let refuse = IdError { kind: "shard address", expected: 40 };
        let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| refuse.clone())?;
        bytes.try_into().map(Self).map_err(|_| refuse)
    }
}

/// Finds an address while the bytes are still arriving.
#[derive(Clone, Default)]
pub struct Addresser(Sha1);

impl Addresser {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    #[must_use]
    pub fn finish(self) -> ShardAddress {
        ShardAddress(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_vector_in_one_go_and_in_pieces() {
        let expected = "a9993e364706816aba3e25717850c26c9cd0d89d"; // FIPS 180-4, "abc"
        assert_eq!(ShardAddress::of(b"abc").to_string(), expected);
        let mut pieces = Addresser::new();
        pieces.update(b"a");
        pieces.update(b"bc");
        assert_eq!(pieces.finish().to_string(), expected);
        assert_eq!(expected.parse(), Ok(ShardAddress::of(b"abc")));
    }
}
