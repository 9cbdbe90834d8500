//! Content: files that nobody has ever seen, so that nothing of them compresses or is stored already; and whether they came back.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::BenchError;

const PIECE_BYTES: usize = 1 << 20;

/// An endless stream of random bytes: BLAKE3's output of a random seed, several GB a second.
pub(super) struct Noise(blake3::OutputReader);

impl Noise {
    pub(super) fn new() -> Self {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).ok(); // without randomness the content is always the same, and its figures show it
        Self(blake3::Hasher::new_keyed(&seed).finalize_xof())
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }
}

/// What a file should hold.
pub(super) type Fingerprint = blake3::Hash;

/// Writes a file of random bytes and waits until it is on the disk.
pub(super) fn make_file(path: &Path, len: u64) -> Result<Fingerprint, BenchError> {
    let failed = || BenchError::disk("write", path);
    let mut file = File::create(path).map_err(failed())?;
    let (mut noise, mut hash) = (Noise::new(), blake3::Hasher::new());
    let (mut piece, mut left) = (vec![0; PIECE_BYTES], len);
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let bytes = piece.get_mut(..now).unwrap_or_default();
        noise.fill(bytes);
        hash.update(bytes);
        file.write_all(bytes).map_err(failed())?;
        left -= now as u64;
    }
    file.sync_all().map_err(failed())?;
    Ok(hash.finalize())
}

/// Reads a file and compares.
pub(super) fn check_file(path: &Path, expected: &Fingerprint) -> Result<(), BenchError> {
    let failed = || BenchError::disk("read", path);
    let mut file = File::open(path).map_err(failed())?;
    let (mut hash, mut piece) = (blake3::Hasher::new(), vec![0; PIECE_BYTES]);
    loop {
        let count = file.read(&mut piece).map_err(failed())?;
        if count == 0 {
            break;
        }
        hash.update(piece.get(..count).unwrap_or_default());
    }
    if hash.finalize() == *expected { Ok(()) } else { Err(BenchError::Differs { what: path.display().to_string() }) }
}

/// Makes a folder of so many random files, and waits until they are on the disk.
pub(super) fn make_files(folder: &Path, count: usize, len: usize) -> Result<(), BenchError> {
    fs::create_dir(folder).map_err(BenchError::disk("make the folder", folder))?;
    let mut noise = Noise::new();
    for number in 0..count {
        let path = small_file(folder, number);
        fs::write(&path, noise.bytes(len)).map_err(BenchError::disk("write", &path))?;
    }
    sync_all_of(folder)
}

/// The name of one of them.
pub(super) fn small_file(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number:06}"))
}

/// Whether a folder has the same files as the one it was made from.
pub(super) fn check_files(source: &Path, back: &Path, count: usize) -> Result<(), BenchError> {
    let there = fs::read_dir(back).map_err(BenchError::disk("list", back))?.count();
    if there != count {
        return Err(BenchError::Differs { what: format!("{} with {there} files, not {count},", back.display()) });
    }
    let read = |path: &Path| fs::read(path).map_err(BenchError::disk("read", path));
    for number in 0..count {
        let (from, to) = (small_file(source, number), small_file(back, number));
        if read(&from)? != read(&to)? {
            return Err(BenchError::Differs { what: to.display().to_string() });
        }
    }
    Ok(())
}

/// Waits until the file system has written what it owes, so that it does not do so while others are timed.
pub(super) fn sync_all_of(folder: &Path) -> Result<(), BenchError> {
    let failed = || BenchError::disk("sync", folder);
    let opened = File::open(folder).map_err(failed())?;
    rustix::fs::syncfs(opened).map_err(|error| error.into()).map_err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_new_each_time_and_every_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let one = make_file(&at("one"), (2 << 20) + 3).unwrap();
        let two = make_file(&at("two"), (2 << 20) + 3).unwrap();
        assert_ne!(one, two);
        assert!(check_file(&at("one"), &one).is_ok());
        assert!(matches!(check_file(&at("one"), &two), Err(BenchError::Differs { .. })));

        make_files(&at("a"), 3, 100).unwrap();
        make_files(&at("b"), 3, 100).unwrap();
        assert!(check_files(&at("a"), &at("a"), 3).is_ok());
        assert!(matches!(check_files(&at("a"), &at("b"), 3), Err(BenchError::Differs { .. })));
        assert!(matches!(check_files(&at("a"), &at("a"), 2), Err(BenchError::Differs { .. })));
    }
}
