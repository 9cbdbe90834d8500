//! Reached: up to where the journal is known to have been synced, in a file of its own that is not synced itself.
//!
//! It survives the end of the process, however that comes, and after a power cut says at most too little. So a journal that ends before it was
//! damaged, whatever the index has seen.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The sequence and a CRC-32C over it, both little-endian.
const BYTES: usize = 12;

fn path(dir: &Path) -> PathBuf {
    dir.join("reached")
}

/// The note of an open store.
#[derive(Debug)]
pub(crate) struct Reached(File);

impl Reached {
    pub(crate) fn open(dir: &Path, sequence: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path(dir))?;
        let reached = Self(file);
        reached.note(sequence)?;
        Ok(reached)
    }

    pub(crate) fn note(&self, sequence: u64) -> io::Result<()> {
        self.0.write_all_at(&encode(sequence), 0)
    }
}

/// What the last run noted; 0 when there is nothing, or nothing that makes sense.
pub(crate) fn read(dir: &Path) -> io::Result<u64> {
    match fs::read(path(dir)) {
        Ok(bytes) => Ok(decode(&bytes).unwrap_or(0)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// For a store that is to go on with what there is.
pub(crate) fn forget(dir: &Path) -> io::Result<()> {
    match fs::remove_file(path(dir)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn encode(sequence: u64) -> [u8; BYTES] {
    let number = sequence.to_le_bytes();
    let mut bytes = [0; BYTES];
    for (to, from) in bytes.iter_mut().zip(number.into_iter().chain(crc32c::crc32c(&number).to_le_bytes())) {
        *to = from;
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let sequence = u64::from_le_bytes(*bytes.first_chunk()?);
    (bytes == encode(sequence)).then_some(sequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_damage_is_as_good_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), 0);
        let reached = Reached::open(dir.path(), 7).unwrap();
        assert_eq!(read(dir.path()).unwrap(), 7);
        reached.note(1 << 40).unwrap();
        assert_eq!(read(dir.path()).unwrap(), 1 << 40);
        let whole = fs::read(path(dir.path())).unwrap();
        for byte in 0..BYTES {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1;
            assert_eq!((decode(&damaged), decode(&whole[..byte])), (None, None));
        }
        forget(dir.path()).unwrap();
        forget(dir.path()).unwrap();
        assert_eq!(read(dir.path()).unwrap(), 0);
    }
}
