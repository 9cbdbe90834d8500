//! Address: what a shard is called. The only file that names SHA-1.
//!
//! A shard is ciphertext and is addressed by the SHA-1 of its bytes. No security property rests on SHA-1's collision
//! resistance (invariant 6): a collision can be made only by whoever makes the ciphertext, that is, against their own data.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};
use sha1::block_api::compress;
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

    /// The addresses of all of these, in order; quickest where they are about equally long.
    #[must_use]
    pub fn of_all<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> Vec<Self> {
        let all: Vec<&[u8]> = all.into_iter().collect();
        let mut addressers = vec![Addresser::new(); all.len()];
        Addresser::update_together(addressers.iter_mut().zip(all).collect());
        addressers.into_iter().map(Addresser::finish).collect()
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
#[derive(Clone)]
pub struct Addresser {
    state: lanes::State,
    /// How many bytes there were.
    len: u64,
    /// Those behind the last whole block.
    rest: [u8; BLOCK],
}

const BLOCK: usize = 64;
/// What SHA-1 begins with (FIPS 180-4, 5.3.1).
const BEGIN: lanes::State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

impl Default for Addresser {
    fn default() -> Self {
        Self { state: BEGIN, len: 0, rest: [0; BLOCK] }
    }
}

impl Addresser {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        let bytes = self.fill(bytes);
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        compress(&mut self.state, blocks);
        self.len += (bytes.len() - rest.len()) as u64;
        self.keep(rest);
    }

    /// Takes in the next bytes of several, which takes hardly longer than those of one while as many as there are lanes have some
    /// left: the longest begin, and the next takes the lane of one that ends. Each is what [`update`](Self::update) alone makes of it.
    pub fn update_together(parts: Vec<(&mut Self, &[u8])>) {
        let mut waiting: Vec<_> = parts.into_iter().map(|(one, bytes)| (one.fill(bytes), one)).collect();
        waiting.sort_by_key(|(bytes, _)| bytes.len());
        let mut together = Vec::with_capacity(lanes::LANES);
        loop {
            together.extend(waiting.drain(waiting.len().saturating_sub(lanes::LANES - together.len())..).rev());
            let count = together.iter().map(|(bytes, _)| bytes.len() / BLOCK).min().unwrap_or(0);
            let (mut states, mut blocks) = (Vec::with_capacity(lanes::LANES), Vec::with_capacity(lanes::LANES));
            for (bytes, one) in &mut together {
                blocks.push(bytes.as_chunks::<BLOCK>().0.get(..count).unwrap_or_default());
                states.push(&mut one.state);
            }
            if !lanes::compress_together(&mut states, &blocks) {
                break;
            }
            for (bytes, one) in &mut together {
                one.len += (count * BLOCK) as u64;
                *bytes = bytes.get(count * BLOCK..).unwrap_or_default();
            }
            for (bytes, one) in together.extract_if(.., |(bytes, _)| bytes.len() < BLOCK) {
                one.update(bytes);
            }
        }
        for (bytes, one) in together.into_iter().chain(waiting) {
            one.update(bytes);
        }
    }

    #[must_use]
    pub fn finish(mut self) -> ShardAddress {
        let bits = self.len * 8;
        let used = self.used();
        // A one, zeros, and the length in bits at the end of a block.
        let zeros = (2 * BLOCK - 1 - 8 - used) % BLOCK;
        let mut end = [0; 2 * BLOCK];
        end[0] = 0x80;
        if let Some(length) = end.get_mut(1 + zeros..1 + zeros + 8) {
            length.copy_from_slice(&bits.to_be_bytes());
        }
        self.update(end.get(..1 + zeros + 8).unwrap_or_default());
        let mut address = [0; 20];
        for (to, word) in address.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *to = word.to_be_bytes();
        }
        ShardAddress(address)
    }

    /// Bytes that wait for the rest of their block.
    fn used(&self) -> usize {
        usize::from(u8::try_from(self.len % BLOCK as u64).unwrap_or_default())
    }

    /// Takes in as much as the begun block needs, if one is begun; the rest of the bytes.
    fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let used = self.used();
        if used == 0 {
            return bytes;
        }
        let (now, later) = bytes.split_at(bytes.len().min(BLOCK - used));
        self.keep(now);
        if used + now.len() == BLOCK {
            compress(&mut self.state, &[self.rest]);
        }
        later
    }

    /// Keeps bytes that end before or with their block.
    fn keep(&mut self, bytes: &[u8]) {
        let used = self.used();
        if let Some(to) = self.rest.get_mut(used..used + bytes.len()) {
            to.copy_from_slice(bytes);
        }
        self.len += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn together_and_in_pieces_each_is_what_the_library_makes_of_it(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 1..7),
            cuts in prop::collection::vec(0_usize..300, 0..6),
        ) {
            let expected: Vec<_> = messages.iter().map(|bytes| ShardAddress::of(bytes)).collect();
            prop_assert_eq!(&ShardAddress::of_all(messages.iter().map(Vec::as_slice)), &expected);
            let mut addressers = vec![Addresser::new(); messages.len()];
            let mut left: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            for (number, cut) in cuts.iter().enumerate() {
                let mut parts = Vec::new();
                for (which, (one, left)) in addressers.iter_mut().zip(&mut left).enumerate() {
                    let (now, later) = left.split_at(left.len().min(cut + which * number));
                    *left = later;
                    parts.push((one, now));
                }
                Addresser::update_together(parts);
            }
            for (one, left) in addressers.iter_mut().zip(left) {
                one.update(left);
            }
            let found: Vec<_> = addressers.into_iter().map(Addresser::finish).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
