//! Cut: a stream into named chunks by content, so that an insertion changes the chunks around it and no others.
//!
//! FastCDC (v2020, normalisation level 1; Xia et al., 2020) with a gear table altered by the account's cut key, so that the
//! lengths of chunks do not tell a known file to whoever sees only ciphertext. The key alters the table by XOR, which hides
//! cut points from onlookers without plaintext, not from somebody who can choose much of it.
//!
//! Guarantees: the same content has the same cuts, however the reader hands it out; a chunk is 1 byte to 8 MiB and, but for the
//! last, at least 1 MiB; memory is one buffer and what the caller holds.
//!
//! Sketch: 0.3 ns a byte, and 0.16 for the digest. The scan resumes where the last read ended, so bytes are read straight into the
//! buffer that is sealed and sent, and are scanned and hashed while they are in the core's cache; what is copied is what was read
//! beyond a cut, below 256 KiB of about 2 MiB. It blocks: run it on a thread.

use std::io::{self, ErrorKind, Read};

use common::limits::CHUNK_BYTES;
use fastcdc::v2020::{Normalization, get_gear_with_seed, select_masks};

use crate::keys::Keys;
use crate::seal::{Buffer, HOT_BYTES, Plain, Pool};

/// Lengths of chunks. All are even: the scan goes by pairs of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    pub min: usize,
    pub avg: usize,
    pub max: usize,
}

/// What all clients use; another choice would cut, and so store, everything anew.
pub const SIZES: Sizes = Sizes { min: 1 << 20, avg: 2 << 20, max: CHUNK_BYTES };

/// What is asked of the reader at once.
const READ_BYTES: usize = 256 << 10;

/// Gear tables and masks of an account: made once, used for many files.
#[derive(Clone)]
pub struct Gear {
    sizes: Sizes,
    table: Box<[u64; 256]>,
    shifted: Box<[u64; 256]>,
    below: u64,
    above: u64,
}

impl Gear {
    #[must_use]
    pub fn new(keys: &Keys) -> Self {
        Self::with(keys.cut_seed(), SIZES)
    }

    /// For other sizes than [`SIZES`], to measure what they would come to.
    #[must_use]
    pub fn with_sizes(keys: &Keys, sizes: Sizes) -> Self {
        Self::with(keys.cut_seed(), sizes)
    }

    fn with(seed: u64, sizes: Sizes) -> Self {
        let (table, shifted) = get_gear_with_seed(seed);
        let (below, above) = select_masks(sizes.avg, Normalization::Level1);
        Self { sizes, table: boxed(&table), shifted: boxed(&shifted), below, above }
    }
}

impl std::fmt::Debug for Gear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gear({:?})", self.sizes)
    }
}

fn boxed(table: &[u64]) -> Box<[u64; 256]> {
    let mut array = Box::new([0; 256]);
    for (to, from) in array.iter_mut().zip(table) {
        *to = *from;
    }
    array
}

/// The chunks of a reader, in order. Ends after the first error.
#[derive(Debug)]
pub struct Cutter<'a, R> {
    reader: R,
    gear: &'a Gear,
    pool: Pool,
    current: Buffer,
    scan: Scan,
    /// The digest of the first bytes of the current buffer, and how many those are: none beyond a cut.
    hasher: blake3::Hasher,
    hashed: usize,
    ended: bool,
}

/// How far the current buffer was looked at, and the rolling hash there.
#[derive(Debug)]
struct Scan {
    at: usize,
    hash: u64,
}

impl<'a, R: Read> Cutter<'a, R> {
    #[must_use]
    pub fn new(reader: R, gear: &'a Gear, pool: Pool) -> Self {
        let current = pool.take();
        let (scan, hasher) = (Scan::new(gear), blake3::Hasher::new());
        Self { reader, gear, pool, current, scan, hasher, hashed: 0, ended: false }
    }

    /// Gives the reader back.
    pub fn into_reader(self) -> R {
        self.reader
    }

    fn read_more(&mut self) -> io::Result<()> {
        let room = self.gear.sizes.max.saturating_sub(self.current.len()).min(READ_BYTES);
        let space = self.current.room().get_mut(..room).unwrap_or_default();
        match self.reader.read(space) {
            Ok(0) => self.ended = true,
            Ok(count) => self.current.fill(count.min(room)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Brings the digest to the first `len` bytes.
    fn hash(&mut self, len: usize) {
        self.hasher.update(self.current.get(self.hashed..len).unwrap_or_default());
        self.hashed = self.hashed.max(len);
    }

    /// The first `len` bytes of the current buffer; what is behind them begins the next one.
    fn take(&mut self, len: usize) -> Plain {
        self.hash(len);
        let mut rest = self.pool.take();
        self.current.split_into(len, &mut rest);
        self.scan = Scan::new(self.gear);
        let plain = Plain::hashed(std::mem::replace(&mut self.current, rest), &self.hasher);
        self.hasher.reset();
        self.hashed = 0;
        plain
    }
}

impl<R: Read> Iterator for Cutter<'_, R> {
    type Item = io::Result<Plain>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(len) = self.scan.next_cut(self.gear, &self.current) {
                return Some(Ok(self.take(len)));
            }
            // There is no cut before the place where the scan stands, nor within the least length. In whole steps of a power of
            // two, since BLAKE3 hashes many blocks at a time only where they are whole branches of its tree.
            let certain = self.scan.at.min(self.current.len());
            self.hash(certain - certain % HOT_BYTES);
            if self.ended {
                let len = self.current.len();
                return (len > 0).then(|| Ok(self.take(len)));
            }
            if let Err(error) = self.read_more() {
                self.ended = true;
                self.current = Buffer::from(Vec::new());
                self.hashed = 0;
                return Some(Err(error));
            }
        }
    }
}

impl Scan {
    fn new(gear: &Gear) -> Self {
        Self { at: gear.sizes.min, hash: 0 }
    }

    /// Goes on to the end of what is filled; the length of the chunk when it ends there.
    #[expect(clippy::indexing_slicing, reason = "a byte indexes a table of 256")]
    fn next_cut(&mut self, gear: &Gear, filled: &[u8]) -> Option<usize> {
        let Sizes { avg, max, .. } = gear.sizes;
        for (end, mask) in [(avg, gear.below), (max, gear.above)] {
            let run = filled.get(self.at..filled.len().min(end)).unwrap_or_default();
            for pair in run.chunks_exact(2) {
                let [first, second] = pair else { break };
                self.hash = (self.hash << 2).wrapping_add(gear.shifted[usize::from(*first)]);
                if self.hash & (mask << 1) == 0 {
                    return Some(self.at);
                }
                self.hash = self.hash.wrapping_add(gear.table[usize::from(*second)]);
                if self.hash & mask == 0 {
                    return Some(self.at + 1);
                }
                self.at += 2;
            }
        }
        (filled.len() >= max).then_some(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MasterKey;
    use crate::seal::Digest;
    use fastcdc::v2020::FastCDC;
    use proptest::prelude::*;

    const SMALL: Sizes = Sizes { min: 256, avg: 512, max: 2048 };

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    /// Hands out as many bytes a read as the list says, over and over.
    struct Dribble<'a>(&'a [u8], Vec<usize>, usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            self.2 += 1;
            if self.2.is_multiple_of(5) {
                return Err(ErrorKind::Interrupted.into());
            }
            let count = self.1[self.2 % self.1.len()].min(to.len()).min(self.0.len());
            to[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn cuts(gear: &Gear, reader: impl Read) -> Vec<Vec<u8>> {
        let chunks = Cutter::new(reader, gear, Pool::new(2)).map(|chunk| {
            let chunk = chunk.unwrap();
            assert_eq!(chunk.digest(), Digest::of(chunk.content()));
            chunk.content().to_vec()
        });
        chunks.collect()
    }

    #[test]
    fn our_sizes_cut_as_the_library_does() {
        let gear = Gear::new(&MasterKey([7; 32]).derive());
        let seed = MasterKey([7; 32]).derive().cut_seed();
        for content in [noise(1, 40 << 20), vec![0; (17 << 20) + 3], Vec::new(), vec![1], noise(2, SIZES.min)] {
            let Sizes { min, avg, max } = SIZES;
            let library: Vec<usize> =
                FastCDC::with_level_and_seed(&content, min, avg, max, Normalization::Level1, seed)
                    .map(|chunk| chunk.length)
                    .collect();
            let ours = cuts(&gear, &content[..]);
            assert_eq!(ours.iter().map(Vec::len).collect::<Vec<_>>(), library);
            assert!(ours.concat() == content);
        }
    }

    #[test]
    fn an_insertion_changes_only_the_chunks_around_it() {
        let gear = Gear::with(11, SMALL);
        let before = noise(3, 200_000);
        let after = [&before[..100_000], &b"a few more bytes"[..], &before[100_000..]].concat();
        let (old, new) = (cuts(&gear, &before[..]), cuts(&gear, &after[..]));
        let changed = new.iter().filter(|chunk| !old.contains(chunk)).count();
        assert!(new.len() > 100 && changed <= 8, "{changed} of {} chunks changed", new.len());
    }

    #[test]
    fn another_account_cuts_elsewhere() {
        let content = noise(4, 50_000);
        let lengths = |seed| cuts(&Gear::with(seed, SMALL), &content[..]).iter().map(Vec::len).collect::<Vec<_>>();
        assert_ne!(lengths(1), lengths(2));
    }

    #[test]
    fn an_error_of_the_reader_ends_the_chunks() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(ErrorKind::PermissionDenied.into())
            }
        }
        let content = noise(5, 3_000);
        let gear = Gear::with(1, SMALL);
        let results: Vec<_> = Cutter::new(content.as_slice().chain(Broken), &gear, Pool::new(1)).take(99).collect();
        assert!(results.len() < 99 && results.last().unwrap().is_err());
        assert_eq!(results.iter().filter(|r| r.is_err()).count(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn cuts_do_not_depend_on_how_bytes_arrive(
            seed in any::<u64>(), len in 0_usize..20_000, reads in prop::collection::vec(1_usize..3_000, 1..8),
        ) {
            let content = noise(seed, len);
            let gear = Gear::with(seed | 1, SMALL);
            let whole = cuts(&gear, &content[..]);
            prop_assert!(cuts(&gear, Dribble(&content, reads, 0)) == whole);
            let library: Vec<usize> =
                FastCDC::with_level_and_seed(&content, SMALL.min, SMALL.avg, SMALL.max, Normalization::Level1, seed | 1)
                    .map(|chunk| chunk.length).collect();
            prop_assert_eq!(whole.iter().map(Vec::len).collect::<Vec<_>>(), library);
        }
    }
}
