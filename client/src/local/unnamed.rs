//! Unnamed: a file without a name until it is whole (`O_TMPFILE`). Whatever ends the process leaves nothing of it behind, and its folder is
//! written once instead of twice. Not every file system has this.

use std::fs::{File, FileTimes, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags, linkat};

use super::write::temporary_beside;

/// Copied at a time.
const PIECE_BYTES: usize = 64 << 10;

/// A new file of this folder's file system, mode 0600, and a path that leads to it as long as it is open. `None` where that is not to be had.
pub(super) fn open(folder: &Path) -> Option<(File, PathBuf)> {
    let flags = i32::try_from(OFlags::TMPFILE.bits()).ok()?;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).mode(0o600).open(folder).ok()?;
    let held = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Some((file, held))
}

/// Gives it this name, in the place of what has it.
pub(super) fn appear(file: &File, held: &Path, destination: &Path) -> io::Result<()> {
    if name(held, destination).is_ok() {
        return Ok(());
    }
    // Something is there, or names cannot be given here.
    let beside = temporary_beside(destination);
    let replaced =
        name(held, &beside).or_else(|_| copy(file, &beside)).and_then(|()| std::fs::rename(&beside, destination));
    if replaced.is_err() {
        std::fs::remove_file(&beside).ok(); // best effort: the failure itself is told
    }
    replaced
}

fn name(held: &Path, path: &Path) -> io::Result<()> {
    Ok(linkat(CWD, held, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// A copy with mode and time, where the file itself gets no name.
fn copy(file: &File, path: &Path) -> io::Result<()> {
    let copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
    loop {
        let read = match file.read_at(&mut piece, at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        copy.write_all_at(piece.get(..read).unwrap_or_default(), at)?;
        at += read as u64;
    }
    let metadata = file.metadata()?;
    copy.set_permissions(metadata.permissions())?;
    copy.set_times(FileTimes::new().set_modified(metadata.modified()?))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn it_takes_the_place_of_what_is_there_also_as_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let Some((file, held)) = open(folder.path()) else { return };
        let content = vec![7; PIECE_BYTES + 1];
        file.write_all_at(&content, 0).unwrap();
        file.set_permissions(Permissions::from_mode(0o640)).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(99);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
        let path = folder.path().join("file");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        let assert_there = || {
            let metadata = path.metadata().unwrap();
            assert_eq!((metadata.mode() & 0o777, metadata.modified().unwrap()), (0o640, time));
            assert_eq!(std::fs::read(&path).unwrap(), content);
            assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        };
        let put_another_there = || {
            std::fs::remove_file(&path).unwrap(); // not by writing into it, which would be the same file
            std::fs::write(&path, "another").unwrap();
        };
        appear(&file, &held, &path).unwrap();
        assert_there();
        put_another_there();
        appear(&file, &held, &path).unwrap();
        assert_there();
        put_another_there();
        appear(&file, Path::new("/nothing/leads/to/it"), &path).unwrap();
        assert_there();
        // What cannot be replaced stays, and nothing is left beside it.
        let taken = folder.path().join("folder");
        std::fs::create_dir(&taken).unwrap();
        appear(&file, &held, &taken).unwrap_err();
        assert_eq!(folder.path().read_dir().unwrap().count(), 2);
    }
}
