//! Scratch: a folder of the benchmark's own, gone when it ends however it ends, and the room that it may take.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use common::size::ByteSize;

use super::{BenchError, leftovers};

/// Nobody but us knows the peers' reserve; they leave this much free, or a twentieth of a small disk.
const RESERVE: ByteSize = ByteSize::gib(1);

/// A new folder, deleted with all that is in it when dropped.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new(below: &Path) -> Result<Self, BenchError> {
        let path = below.join(format!("shoal-bench-{}", random_name()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(BenchError::disk("make the folder", &path))?;
        leftovers::folder_is_made(&path);
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.0);
        // It may be gone, when the user asked twice.
        if let Err(error) = removed
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(folder = %self.0.display(), %error, "the benchmark's folder could not be deleted; delete it yourself");
        }
        leftovers::folder_is_gone(&self.0);
    }
}

/// 16 hex digits that nobody else has.
pub(super) fn random_name() -> String {
    let mut random = [0; 8];
    getrandom::fill(&mut random).ok(); // without randomness the name may exist already, which is refused
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses to begin what would fill the disk.
pub(super) fn check_room(folder: &Path, bytes: u64, peers_too: bool) -> Result<(), BenchError> {
    let asked = rustix::fs::statvfs(folder).map_err(|error| error.into());
    let space = asked.map_err(BenchError::disk("ask for the room in", folder))?;
    let free = ByteSize(space.f_bavail.saturating_mul(space.f_frsize));
    let total = space.f_blocks.saturating_mul(space.f_frsize);
    let reserve = if peers_too { RESERVE.0.min(total / 20) } else { 0 };
    let needed = ByteSize(bytes.saturating_add(reserve));
    if free < needed {
        return Err(BenchError::NoRoom { folder: folder.to_owned(), free, needed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_folder_is_new_and_leaves_nothing() {
        let below = tempfile::tempdir().unwrap();
        let (one, two) = (Scratch::new(below.path()).unwrap(), Scratch::new(below.path()).unwrap());
        assert_ne!(one.path(), two.path());
        fs::write(one.path().join("file"), "x").unwrap();
        drop((one, two));
        assert_eq!(fs::read_dir(below.path()).unwrap().count(), 0);
        let nowhere = below.path().join("no");
        assert!(matches!(Scratch::new(&nowhere), Err(BenchError::Disk { .. })));
    }

    #[test]
    fn room_is_checked_before_it_is_taken() {
        let here = std::env::temp_dir();
        assert!(check_room(&here, 0, false).is_ok());
        let refused = check_room(&here, u64::MAX, true).unwrap_err();
        assert!(refused.to_string().contains("free, and this takes about"), "{refused}");
    }
}
