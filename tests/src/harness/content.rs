//! Files to store, and trees to compare.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Pseudo-random bytes from a seed (splitmix64): nothing compresses or deduplicates them.
#[must_use]
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15;
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Writes a file of pseudo-random bytes.
///
/// # Errors
/// When the disk does.
pub fn make_file(path: &Path, seed: u64, len: u64) -> Result<()> {
    const PIECE: u64 = 4 << 20;
    let mut file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut left = len;
    while left > 0 {
        let now = left.min(PIECE);
        file.write_all(&bytes(seed ^ left, usize::try_from(now)?))?;
        left -= now;
    }
    Ok(())
}

/// Whether two files have the same bytes.
///
/// # Errors
/// When one cannot be read, or where they differ.
pub fn compare(a: &Path, b: &Path) -> Result<()> {
    let (mut left, mut right) = (BufReader::new(File::open(a)?), BufReader::new(File::open(b)?));
    let (mut x, mut y) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut at = 0_u64;
    loop {
        let got = read_full(&mut left, &mut x)?;
        let other = read_full(&mut right, &mut y)?;
        if x.get(..got) != y.get(..other) {
            bail!("{} and {} differ behind byte {at}", a.display(), b.display());
        }
        if got == 0 {
            return Ok(());
        }
        at += u64::try_from(got)?;
    }
}

fn read_full(file: &mut impl Read, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// What a tree holds: relative path -> what is there, with modes, modification times in seconds, contents and targets.
///
/// # Errors
/// When it cannot be read.
pub fn describe(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut seen = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(at) = left.pop() {
        let path = root.join(&at);
        let meta = fs::symlink_metadata(&path)?;
        let (mode, mtime) = (meta.permissions().mode() & 0o7777, meta.mtime());
        let what = if meta.is_symlink() {
            format!("-> {}", fs::read_link(&path)?.display())
        } else if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(at.join(entry?.file_name()));
            }
            format!("folder {mode:o} {mtime}")
        } else {
            let content = fs::read(&path)?;
            format!("file {mode:o} {mtime} {} {}", content.len(), fnv(&content))
        };
        seen.insert(at, what);
    }
    Ok(seen)
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Every file below a folder with its bytes.
///
/// # Errors
/// When it cannot be read.
pub fn all_bytes(root: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        } else if meta.is_file() {
            let content = fs::read(&path)?;
            found.push((path, content));
        }
    }
    Ok(found)
}
