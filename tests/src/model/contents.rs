//! Contents: what files are made of in a history. A content's number says what it is, and its length is its own, so that a listing tells
//! which it is. Most are small and share packs, some are chunks of their own, and every sixteenth is one that is cut, mostly into two.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use super::tree::Content;
use crate::harness::content;
use crate::harness::dice::Dice;

/// Of so many contents one is cut, the one of this number first.
const EVERY: Content = 16;
const FIRST: Content = 7;

pub(super) struct Contents {
    seed: u64,
    folder: PathBuf,
    /// Their lengths.
    lens: Vec<u64>,
    by_len: HashMap<u64, Content>,
}

/// The first from here on that is cut.
pub(super) fn cut_from(number: Content) -> Content {
    number.saturating_sub(FIRST).next_multiple_of(EVERY) + FIRST
}

impl Contents {
    pub(super) fn new(seed: u64, folder: PathBuf) -> Self {
        Self { seed, folder, lens: Vec::new(), by_len: HashMap::new() }
    }

    /// How many there are.
    pub(super) fn count(&self) -> Content {
        Content::try_from(self.lens.len()).unwrap_or(Content::MAX)
    }

    /// Which has this length.
    pub(super) fn of_len(&self, len: u64) -> Option<Content> {
        self.by_len.get(&len).copied()
    }

    /// A file with this content, made when it is first needed.
    pub(super) fn file(&mut self, number: Content) -> Result<PathBuf> {
        while self.count() <= number {
            self.invent();
        }
        let path = self.folder.join(number.to_string());
        if !path.exists() {
            fs::write(&path, self.bytes(number)?)?;
        }
        Ok(path)
    }

    fn invent(&mut self) {
        let new = self.count();
        let mut random = Dice::new(self.seed ^ (u64::from(new) << 32) ^ 0x5bd1_e995);
        let small = [(15, (1, 3_000)), (48, (3_000, 80_000)), (20, (80_000, 255_000)), (17, (262_144, 330_000))];
        let (from, to) = match new % EVERY {
            FIRST => (2_500_000, 4_000_000),
            _ => random.weighted(&small).unwrap_or((1, 3_000)),
        };
        let mut len = from + random.below(to - from);
        while self.by_len.contains_key(&len) {
            len += 1;
        }
        self.by_len.insert(len, new);
        self.lens.push(len);
    }

    pub(super) fn bytes(&self, number: Content) -> Result<Vec<u8>> {
        let len = *self.lens.get(usize::try_from(number)?).context("no such content")?;
        Ok(content::bytes(self.seed.wrapping_mul(31).wrapping_add(number.into()), usize::try_from(len)?))
    }
}
