//! Partial: what an interrupted download leaves beside its destination, for the next one to go on from.
//!
//! `.NAME.shoal-VERSION.part`, mode 0600, VERSION in 32 hexadecimal digits. Whoever goes on believes nothing of it: every run is
//! compared with its digest in the manifest. A lock keeps two downloads off one file; a link, or a file of somebody else, is not taken.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::id::VersionId;
use rustix::fs::{FlockOperation, OFlags, flock};

/// Files of at least this length are gone on with: below, fetching anew costs about as much as looking.
pub const RESUMABLE_BYTES: u64 = 4 << 20;

const MIDDLE: &[u8] = b".shoal-";
const END: &[u8] = b".part";
/// Hexadecimal digits of a version.
const DIGITS: usize = 32;
/// What a local file system takes for a name, on all that are common.
const LOCAL_NAME_BYTES: usize = 255;

/// Where a download of this version into that file lies until it is whole.
#[must_use]
pub fn beside(destination: &Path, version: VersionId) -> PathBuf {
    let mut name = prefix(destination.file_name().unwrap_or(OsStr::new("file")));
    name.extend_from_slice(version.to_string().as_bytes());
    name.extend_from_slice(END);
    destination.with_file_name(OsString::from_vec(name))
}

/// What the names of all of them begin with that belong to one file; a long name is cut.
fn prefix(name: &OsStr) -> Vec<u8> {
    let room = LOCAL_NAME_BYTES - 1 - MIDDLE.len() - DIGITS - END.len();
    let mut prefix = vec![b'.'];
    prefix.extend(name.as_bytes().iter().take(room));
    prefix.extend_from_slice(MIDDLE);
    prefix
}

/// Whether a name is one of these.
#[must_use]
pub fn is_partial(name: &OsStr) -> bool {
    let inner = name.as_bytes().strip_prefix(b".").and_then(|name| name.strip_suffix(END));
    let Some((before, digits)) = inner.and_then(|inner| inner.split_at_checked(inner.len().checked_sub(DIGITS)?))
    else {
        return false;
    };
    before.len() > MIDDLE.len() && before.ends_with(MIDDLE) && digits.iter().all(u8::is_ascii_hexdigit)
}

/// Opens it, or makes it; nobody else has it then. `None` when it cannot be ours alone.
///
/// # Errors
/// What the file system says.
pub(super) fn claim(path: &Path) -> io::Result<Option<File>> {
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && path.symlink_metadata().is_ok() => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    Ok(is_ours(&file, path)?.then_some(file))
}

/// Whether this is a file of our own under that very name, and locked now.
fn is_ours(file: &File, path: &Path) -> io::Result<bool> {
    if flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    let metadata = file.metadata()?;
    // Who had it before may have given it its final name meanwhile.
    let same = path.symlink_metadata().is_ok_and(|now| now.ino() == metadata.ino() && now.dev() == metadata.dev());
    let own = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.nlink() == 1;
    Ok(same && own && metadata.is_file())
}

/// Those in a folder.
pub(crate) fn in_folder(folder: &Path) -> Vec<OsString> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.file_name()).filter(|name| is_partial(name)).collect()
}

/// Removes those of other versions of this file that nobody is working on.
pub(crate) fn sweep(destination: &Path, current: &Path, found: &[OsString]) {
    let prefix = prefix(destination.file_name().unwrap_or_default());
    for name in found.iter().filter(|name| name.as_bytes().starts_with(&prefix)) {
        let path = destination.with_file_name(name);
        if path != current && claim(&path).is_ok_and(|claimed| claimed.is_some()) {
            std::fs::remove_file(&path).ok(); // best effort: it is in nobody's way
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_again_also_those_of_the_longest_files() {
        let version = VersionId([0xab; 16]);
        for name in ["file", &"n".repeat(255)] {
            let path = beside(&Path::new("/x").join(name), version);
            assert!(is_partial(path.file_name().unwrap()), "{}", path.display());
            assert!(path.file_name().unwrap().len() <= LOCAL_NAME_BYTES);
        }
        for name in [".shoal-", ".x.part", ".x.shoal-12345678", "x.shoal-abababababababababababababababab.part"] {
            assert!(!is_partial(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn one_has_it_at_a_time_and_links_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let held = claim(&path).unwrap();
        assert!(held.is_some() && claim(&path).unwrap().is_none());
        drop(held);
        assert!(claim(&path).unwrap().is_some());
        std::fs::hard_link(&path, folder.path().join("other")).unwrap();
        assert!(claim(&path).unwrap().is_none());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("part", &link).unwrap();
        assert!(claim(&link).unwrap().is_none());
    }

    #[test]
    fn those_of_other_versions_are_swept_unless_somebody_works_on_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let paths: Vec<_> = (1..=3).map(|i| beside(&file, VersionId([i; 16]))).collect();
        let others = beside(&folder.path().join("other"), VersionId([1; 16]));
        paths.iter().chain([&others]).for_each(|path| std::fs::write(path, "x").unwrap());
        let busy = claim(&paths[1]).unwrap();
        sweep(&file, &paths[2], &in_folder(folder.path()));
        assert_eq!([0, 1, 2].map(|i| paths[i].exists()), [false, true, true]);
        assert!(others.exists() && busy.is_some());
    }
}
