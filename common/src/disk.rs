//! Disk: small files that must survive a power cut, secrets that nobody else reads, and data folders with one owner.
//!
//! Guarantees: what [`replace_durably`] and [`create_private`] returned `Ok` for is on the disk under its final name, whole; a
//! kill in the middle leaves the old file or none. Everything made here is mode 0600 (folders 0700). A held [`DataFolder`] is
//! held by no other process, and is free again when its process ends, however it ends.
//!
//! Non-goals: bulk data (peers' segments and the journal have writers of their own). All of it blocks.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use zeroize::Zeroizing;

/// What a private or format file may be long: keys, certificates and settings are far below.
pub const SMALL_FILE_BYTES: u64 = 1 << 20;

const LOCK_FILE: &str = "lock";
const FORMAT_FILE: &str = "format";

/// Our disk, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} exists already and is not overwritten", path.display())]
    Exists { path: PathBuf },
    #[error("{} can be read by others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("{} is longer than the {SMALL_FILE_BYTES} bytes that such a file may have", path.display())]
    TooLong { path: PathBuf },
    #[error("data folder {} is in use by {}; end that one first, or name another folder", path.display(), holder(*pid))]
    InUse { path: PathBuf, pid: Option<u32> },
    #[error("{} has version {found} of the {name} format, and this program knows up to {known}: use a newer program", path.display())]
    Newer { path: PathBuf, name: &'static str, found: u32, known: u32 },
    #[error("{} is not a {name} folder", path.display())]
    OtherFormat { path: PathBuf, name: &'static str },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl DiskError {
    /// Whether the file or folder asked for is simply not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == ErrorKind::NotFound)
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DiskError {
    move |source| DiskError::Io { action, path: path.to_owned(), source }
}

/// Makes a folder (and those above it) that only its owner enters. One that exists keeps its mode.
///
/// # Errors
/// When the file system refuses.
pub fn create_folder(path: &Path) -> Result<(), DiskError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create folder", path))?;
    sync_folder(folder_of(path))
}

/// Makes a file of mode 0600 that was not there before, durable when this returns.
///
/// # Errors
/// [`DiskError::Exists`] when there is one; it stays as it is.
pub fn create_private(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    if path.symlink_metadata().is_ok() {
        return Err(DiskError::Exists { path: path.to_owned() });
    }
    let temporary = write_temporary(path, bytes)?;
    let renamed = match rustix::fs::renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE) {
        // Some file systems cannot rename without replacing: what is left is the look from above.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => fs::rename(&temporary, path),
        other => other.map_err(std::io::Error::from),
    };
    finish_rename(renamed, &temporary, path)
}

/// Puts these bytes in the place of whatever the file held, durable and whole when this returns.
///
/// # Errors
/// When the file system refuses; the old content is then still there.
pub fn replace_durably(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let temporary = write_temporary(path, bytes)?;
    finish_rename(fs::rename(&temporary, path), &temporary, path)
}

fn finish_rename(renamed: std::io::Result<()>, temporary: &Path, path: &Path) -> Result<(), DiskError> {
    if let Err(source) = renamed {
        fs::remove_file(temporary).ok(); // best effort: the rename's error is the one to tell
        if source.kind() == ErrorKind::AlreadyExists {
            return Err(DiskError::Exists { path: path.to_owned() });
        }
        return Err(io("rename into", path)(source));
    }
    sync_folder(folder_of(path))
}

/// A synced file beside `path`, named after this process, so that two processes do not write one.
fn write_temporary(path: &Path, bytes: &[u8]) -> Result<PathBuf, DiskError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.{:?}.new", std::process::id(), std::thread::current().id()));
    let temporary = path.with_file_name(name);
    fs::remove_file(&temporary).ok(); // left by a killed process of the same number
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io("create", &temporary))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(source) = written {
        fs::remove_file(&temporary).ok();
        return Err(io("write", path)(source));
    }
    Ok(temporary)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// When the folder cannot be opened or synced.
pub fn sync_folder(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io("sync folder", path))
}

/// Reads a small file.
///
/// # Errors
/// When it is missing, unreadable or over [`SMALL_FILE_BYTES`].
pub fn read_small(path: &Path) -> Result<Vec<u8>, DiskError> {
    let file = File::open(path).map_err(io("open", path))?;
    let mut bytes = Vec::new();
    let read = file.take(SMALL_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io("read", path))?;
    if read as u64 > SMALL_FILE_BYTES {
        return Err(DiskError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Reads a secret, and refuses one that others could have read.
///
/// # Errors
/// [`DiskError::TooOpen`] when group or others may read it.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, DiskError> {
    let mode = fs::metadata(path).map_err(io("open", path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(DiskError::TooOpen { path: path.to_owned(), mode });
    }
    read_small(path).map(Zeroizing::new)
}

/// A data folder that this process holds alone, until dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Takes an existing folder.
    ///
    /// # Errors
    /// [`DiskError::InUse`] when another process holds it.
    pub fn lock(path: &Path) -> Result<Self, DiskError> {
        let lock_path = path.join(LOCK_FILE);
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                let read = (&lock).take(16).read_to_string(&mut text);
                let pid = read.ok().and_then(|_| text.trim().parse().ok());
                return Err(DiskError::InUse { path: path.to_owned(), pid });
            }
            Err(fs::TryLockError::Error(source)) => return Err(io("lock", &lock_path)(source)),
        }
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .map_err(io("write", &lock_path))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Marks a folder as being of this format: `init` and `join` do it last.
///
/// # Errors
/// [`DiskError::Exists`] when it has a mark already.
pub fn mark_format(folder: &Path, name: &'static str, version: u32) -> Result<(), DiskError> {
    create_private(&folder.join(FORMAT_FILE), format!("shoal {name} {version}\n").as_bytes())
}

/// Reads the mark: the version of the format, at most `known`.
///
/// # Errors
/// [`DiskError::Newer`] for a version that this program does not know, [`DiskError::OtherFormat`] for a foreign mark, and
/// [`DiskError::Io`] with [`is_missing`](DiskError::is_missing) for a folder without one.
pub fn check_format(folder: &Path, name: &'static str, known: u32) -> Result<u32, DiskError> {
    let path = folder.join(FORMAT_FILE);
    let bytes = read_small(&path)?;
    let other = || DiskError::OtherFormat { path: folder.to_owned(), name };
    let text = std::str::from_utf8(&bytes).map_err(|_| other())?;
    let mut words = text.split_whitespace();
    let (Some("shoal"), Some(found_name), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(other());
    };
    if found_name != name {
        return Err(other());
    }
    let found = version.parse().map_err(|_| other())?;
    if found > known {
        return Err(DiskError::Newer { path: folder.to_owned(), name, found, known });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_files_are_made_once_with_mode_0600_and_leave_nothing_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_private(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(create_private(&path, b"two"), Err(DiskError::Exists { .. })));
        assert_eq!(read_private(&path).unwrap().as_slice(), b"one");
        replace_durably(&path, b"three").unwrap();
        assert_eq!(read_private(&path).unwrap().as_slice(), b"three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        create_private(&path, b"secret").unwrap();
        for mode in [0o640, 0o604, 0o644] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_private(&path).unwrap_err();
            assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
    }

    #[test]
    fn a_folder_has_one_owner_and_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::lock(folder.path()).unwrap();
        let error = DataFolder::lock(folder.path()).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        DataFolder::lock(folder.path()).unwrap();
    }

    #[test]
    fn a_newer_or_foreign_format_is_refused_and_a_missing_one_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_format(folder.path(), "peer", 1).unwrap_err().is_missing());
        mark_format(folder.path(), "peer", 2).unwrap();
        assert_eq!(check_format(folder.path(), "peer", 2).unwrap(), 2);
        assert!(matches!(check_format(folder.path(), "peer", 1), Err(DiskError::Newer { found: 2, known: 1, .. })));
        assert!(matches!(check_format(folder.path(), "directory", 2), Err(DiskError::OtherFormat { .. })));
        for text in ["", "shoal peer", "shoal peer x", "shoal peer 1 2", "\u{1F41F}"] {
            replace_durably(&folder.path().join(FORMAT_FILE), text.as_bytes()).unwrap();
            assert!(matches!(check_format(folder.path(), "peer", 1), Err(DiskError::OtherFormat { .. })), "{text:?}");
        }
    }

    #[test]
    fn an_endless_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("long");
        File::create(&path).unwrap().set_len(SMALL_FILE_BYTES + 1).unwrap();
        assert!(matches!(read_small(&path), Err(DiskError::TooLong { .. })));
    }
}
