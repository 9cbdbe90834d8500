//! Dedup: what is stored of successive versions of the same thing, for several sizes of chunks, with and without compression.
//!
//! It runs the client's own rooms (cutter, seal, packs) over files on this machine and counts; no cluster is involved. docs/CHUNKS.md has
//! what it gave and what was made of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use client::cut::{Cutter, Gear, Sizes};
use client::keys::{Keys, MasterKey};
use client::pack::{PACK_FILE_MAX, PackBuilder};
use client::seal::{Compression, Digest, Pool, seal_as};
use common::limits::CHUNK_BYTES;
use common::size::ByteSize;

/// A chunk at the directory, at 1/3: its record, and each copy's place in the index of peers.
const CHUNK_RECORD_BYTES: u64 = 37 + 213 + 3 * (53 + 22);
/// A reference of one version to one chunk.
const REFERENCE_BYTES: u64 = 54;
/// An extent in a sealed page, and its chunk beside it.
const EXTENT_BYTES: u64 = 100 + 20;
/// A small content's note.
const CONTENT_BYTES: u64 = 37 + 101 + 20;
/// Bytes of others that are read along rather than asked for anew, as `get` does.
const GAP_BYTES: u64 = 16 << 10;
/// Files that are packed together, as `put` does.
const GROUP_FILES: usize = 512;

/// What is stored of successive versions.
#[derive(Parser)]
#[command(
    name = "dedup",
    after_help = "Examples:\n  dedup tars=v1.tar,v2.tar,v3.tar\n  dedup trees=v1/,v2/,v3/ --average 1MiB,2MiB,4MiB"
)]
struct Options {
    /// NAME=VERSION,VERSION,...: files or folders, oldest first
    #[arg(value_name = "HISTORY", required = true)]
    histories: Vec<String>,
    /// Average sizes of chunks to try; the least is half of it, the most four times it and no more than 8 MiB
    #[arg(long, value_delimiter = ',', default_value = "256KiB,512KiB,1MiB,2MiB,4MiB")]
    average: Vec<ByteSize>,
}

/// Where a run lies.
#[derive(Clone, Copy)]
struct Place {
    chunk: u64,
    offset: u64,
    len: u64,
}

/// What is stored so far, and what it cost.
struct Store {
    keys: Keys,
    gear: Gear,
    pool: Pool,
    compression: Compression,
    chunks: HashMap<Digest, Place>,
    contents: HashMap<Digest, Place>,
    numbered: u64,
    stored: u64,
    metadata: u64,
}

/// One version as it went in.
#[derive(Default)]
struct Version {
    files: u64,
    bytes: u64,
    added: u64,
    runs: Vec<Place>,
}

impl Version {
    /// Ranges that reading all of it takes: neighbours in a chunk are one.
    fn fragments(&self) -> usize {
        let mut chunks: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for run in &self.runs {
            chunks.entry(run.chunk).or_default().push((run.offset, run.offset + run.len));
        }
        let count = |mut runs: Vec<(u64, u64)>| {
            runs.sort_unstable();
            let (mut ranges, mut until) = (0, None);
            for (from, to) in runs {
                if until.is_none_or(|until| from > until + GAP_BYTES) {
                    ranges += 1;
                }
                until = until.max(Some(to));
            }
            ranges
        };
        chunks.into_values().map(count).sum()
    }
}

impl Store {
    fn new(average: usize, compression: Compression) -> Self {
        let keys = MasterKey([7; 32]).derive();
        let sizes = Sizes { min: average / 2, avg: average, max: CHUNK_BYTES.min(average * 4) };
        Self {
            gear: Gear::with_sizes(&keys, sizes),
            keys,
            pool: Pool::new(4),
            compression,
            chunks: HashMap::new(),
            contents: HashMap::new(),
            numbered: 0,
            stored: 0,
            metadata: 0,
        }
    }

    fn new_chunk(&mut self, len: u64) -> u64 {
        self.numbered += 1;
        self.stored += len;
        self.metadata += CHUNK_RECORD_BYTES;
        self.numbered
    }

    fn put(&mut self, paths: &[PathBuf]) -> Result<Version> {
        let before = self.stored;
        let mut version = Version::default();
        let mut small = Vec::new();
        let mut group = 0;
        for path in paths {
            let len = fs::metadata(path)?.len();
            version.files += 1;
            version.bytes += len;
            if len < PACK_FILE_MAX as u64 {
                small.push(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
                group += len;
                if small.len() == GROUP_FILES || group >= 2 << 20 {
                    self.pack(std::mem::take(&mut small), &mut version)?;
                    group = 0;
                }
            } else {
                self.cut(path, &mut version)?;
            }
        }
        self.pack(small, &mut version)?;
        version.added = self.stored - before;
        Ok(version)
    }

    fn cut(&mut self, path: &Path, version: &mut Version) -> Result<()> {
        let gear = self.gear.clone();
        let mut seen = HashSet::new();
        for plain in Cutter::new(File::open(path)?, &gear, self.pool.clone()) {
            let plain = plain?;
            let digest = plain.digest();
            let place = match self.chunks.get(&digest) {
                Some(place) => *place,
                None => {
                    let (sealed, _) = seal_as(plain, &self.keys, self.compression);
                    let len = sealed.bytes().len() as u64;
                    let place = Place { chunk: self.new_chunk(len), offset: 0, len };
                    self.chunks.insert(digest, place);
                    place
                }
            };
            self.metadata += EXTENT_BYTES;
            if seen.insert(place.chunk) {
                self.metadata += REFERENCE_BYTES;
            }
            version.runs.push(place);
        }
        Ok(())
    }

    /// Small files that are put together: what is not stored yet goes into a pack.
    fn pack(&mut self, files: Vec<Vec<u8>>, version: &mut Version) -> Result<()> {
        let mut builder = PackBuilder::new(&self.pool).with(self.compression);
        let (mut new, mut digests) = (Vec::new(), Vec::new());
        for content in files.iter().filter(|content| !content.is_empty()) {
            let digest = Digest::of(content);
            if !self.contents.contains_key(&digest) && !new.contains(&digest) {
                builder.push(content, &self.keys)?;
                new.push(digest);
            }
            digests.push(digest);
        }
        if let Some(pack) = builder.finish(&self.keys) {
            let chunk = self.new_chunk(pack.sealed.bytes().len() as u64);
            for (digest, extent) in new.into_iter().zip(&pack.extents) {
                let place = Place { chunk, offset: extent.offset.into(), len: extent.len.into() };
                self.contents.insert(digest, place);
                self.metadata += CONTENT_BYTES;
            }
        }
        for digest in digests {
            self.metadata += EXTENT_BYTES + REFERENCE_BYTES;
            version.runs.extend(self.contents.get(&digest));
        }
        Ok(())
    }
}

/// All files of a version, in the order in which `put` finds them.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    let meta = fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    if meta.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    if meta.is_dir() {
        let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            found.extend(files(&entry.path())?);
        }
    }
    Ok(found)
}

#[expect(clippy::print_stdout, reason = "it is a table for people")]
fn measure(history: &str, averages: &[ByteSize]) -> Result<()> {
    let Some((name, versions)) = history.split_once('=') else { bail!("{history} is not NAME=VERSION,VERSION,...") };
    let versions = versions.split(',').map(|path| files(Path::new(path))).collect::<Result<Vec<_>>>()?;
    println!("| {name} | stored | of all | a version adds | chunks | metadata a GiB | reads of the last |");
    println!("|---|---|---|---|---|---|---|");
    for average in averages {
        for compression in [Compression::Never, Compression::Auto] {
            let average_bytes = usize::try_from(average.0)?;
            ensure!(average_bytes.is_power_of_two(), "{average} is no power of two");
            let mut store = Store::new(average_bytes, compression);
            let puts = versions.iter().map(|version| store.put(version)).collect::<Result<Vec<_>>>()?;
            let bytes: u64 = puts.iter().map(|put| put.bytes).sum();
            let later: u64 = puts.iter().skip(1).map(|put| put.added).sum();
            let percent = |part: u64, of: u64| part as f64 * 100.0 / of.max(1) as f64;
            let later_bytes: u64 = puts.iter().skip(1).map(|put| put.bytes).sum();
            println!(
                "| {average}{} | {} | {:.1} % | {:.1} % | {} | {} | {} |",
                if compression == Compression::Auto { ", zstd" } else { "" },
                ByteSize(store.stored),
                percent(store.stored, bytes),
                percent(later, later_bytes),
                store.numbered,
                ByteSize((u128::from(store.metadata) << 30).checked_div(bytes.into()).unwrap_or(0).try_into()?),
                puts.last().map_or(0, Version::fragments),
            );
        }
    }
    let (first, last) = (versions.first().map_or(0, Vec::len), versions.len());
    println!("\n{name}: {last} versions, the first of {first} files\n");
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    options.histories.iter().try_for_each(|history| measure(history, &options.average))
}
