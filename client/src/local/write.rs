//! Write: a file that appears at its destination whole, with its mode and time, or not at all.
//!
//! Content goes to a file without a name, which gets it when it is complete and (where asked) synced. Where the file system has no such
//! files it is called `.NAME.shoal-HHHHHHHH` (eight random hexadecimal digits) until then, beside the destination. Mode 0600 in both cases.
//! Dropped before that, by an error or by a cancelled command, it is gone; that of a large file is called by its version, and stays for the
//! next download to go on from ([`partial`](super::partial)).

use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::id::VersionId;

use super::direct::DirectWriter;
use super::partial::RESUMABLE_BYTES;
use super::place::PlacedFolder;
use super::walk::{Links, mtime_of};
use super::{LocalError, partial, unnamed};
use crate::folder::FileVersion;
use crate::meta::{Mtime, VersionMeta};

/// What a local file system takes for a name, on all that are common.
const LOCAL_NAME_BYTES: usize = 255;

/// What is shorter is not worth being kept.
const KEPT_BYTES: u64 = 1 << 20;

/// Whether a finished download must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    Synced,
    /// As soon as the system gets to it, like any copy.
    #[default]
    Relaxed,
}

/// A download that has not begun.
#[derive(Debug)]
pub struct Planned {
    destination: PathBuf,
    links: Links,
    within: Option<Arc<PlacedFolder>>,
    /// The version, if one that was interrupted is gone on with.
    resume: Option<VersionId>,
}

impl Planned {
    #[must_use]
    pub fn new(destination: PathBuf, links: Links, within: Option<Arc<PlacedFolder>>, file: &FileVersion) -> Self {
        let resume = (file.meta.size >= RESUMABLE_BYTES).then_some(file.version);
        Self { destination, links, within, resume }
    }

    #[must_use]
    pub fn destination(&self) -> &Path {
        &self.destination
    }

    /// # Errors
    /// As [`Download::create`].
    pub fn begin(self) -> Result<Download, LocalError> {
        match self.resume {
            None => Download::create(&self.destination, self.links, self.within),
            Some(version) => Download::resume(&self.destination, self.links, self.within, version),
        }
    }
}

/// Whether a file lies there that says of itself what this version does: its content may be the same. Blocking.
#[must_use]
pub fn looks_like(path: &Path, meta: &VersionMeta) -> bool {
    path.symlink_metadata()
        .is_ok_and(|there| there.is_file() && there.len() == meta.size && mtime_of(&there) == meta.mtime)
}

/// Gives a file that has its content its mode. Blocking.
///
/// # Errors
/// What the file system says.
pub fn settle_mode(path: &Path, meta: &VersionMeta) -> Result<(), LocalError> {
    let mode = path.metadata().map_err(LocalError::io("look at", path))?.permissions().mode();
    if (mode ^ meta.mode) & 0o777 == 0 {
        return Ok(());
    }
    let wanted = Permissions::from_mode(meta.mode & 0o777);
    std::fs::set_permissions(path, wanted).map_err(LocalError::io("set the mode of", path))
}

/// A file on its way to its destination.
#[derive(Debug)]
pub struct Download {
    file: File,
    /// Its name until it is finished, or a path that leads to it.
    temporary: PathBuf,
    named: bool,
    destination: PathBuf,
    finished: bool,
    /// Whether it stays when it is not finished.
    kept: bool,
    /// Bytes that an interrupted download has left, not yet compared with anything.
    left: u64,
    /// Keeps the folder's own attributes from being set before this file is in it.
    _within: Option<Arc<PlacedFolder>>,
}

impl Download {
    /// Opens a file for it. With [`Links::Follow`] a link at the destination stays, and what it points to is replaced.
    ///
    /// # Errors
    /// [`LocalError::IsAFolder`], [`LocalError::Special`] for a device or pipe at the destination (those are to be written to,
    /// never replaced), [`LocalError::NoFolder`], or what the file system says.
    pub fn create(destination: &Path, links: Links, within: Option<Arc<PlacedFolder>>) -> Result<Self, LocalError> {
        let destination = seen_through(destination, links);
        refuse_irreplaceable(&destination)?;
        let begun = |file, temporary, named, destination| {
            let (finished, kept, left) = (false, false, 0);
            Self { file, temporary, named, destination, finished, kept, left, _within: within }
        };
        if let Some((file, held)) = unnamed::open(folder_of(&destination)) {
            return Ok(begun(file, held, false, destination));
        }
        loop {
            let temporary = temporary_beside(&destination);
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary) {
                Ok(file) => return Ok(begun(file, temporary, true, destination)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(not_created(error, &destination)),
            }
        }
    }

    /// The same, going on with what an interrupted download of this version has left, and leaving it when interrupted again. Where
    /// that is not to be had, somebody else being at it, as [`create`](Self::create).
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn resume(
        destination: &Path,
        links: Links,
        within: Option<Arc<PlacedFolder>>,
        version: VersionId,
    ) -> Result<Self, LocalError> {
        let seen = seen_through(destination, links);
        refuse_irreplaceable(&seen)?;
        let temporary = partial::beside(&seen, version);
        let file = match partial::claim(&temporary) {
            Ok(Some(file)) => file,
            Ok(None) => return Self::create(destination, links, within),
            Err(error) => return Err(not_created(error, &seen)),
        };
        let left = file.metadata().map_err(LocalError::io("look at", &temporary))?.len();
        let (named, finished, kept) = (true, false, true);
        Ok(Self { file, temporary, named, destination: seen, finished, kept, left, _within: within })
    }

    /// How much an interrupted download has left: to be compared before it is believed.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Leaves nothing behind.
    pub fn discard(mut self) {
        self.kept = false;
    }

    /// Another handle, to read what is left.
    ///
    /// # Errors
    /// What the file system says.
    pub fn reader(&self) -> Result<File, LocalError> {
        self.file.try_clone().map_err(LocalError::io("open", &self.temporary))
    }

    /// Removes what interrupted downloads of other versions of this file have left; `found` are the partial files in its folder.
    pub(crate) fn sweep(&self, found: &[OsString]) {
        partial::sweep(&self.destination, &self.temporary, found);
    }

    /// Whether it would stay when it is interrupted.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Cuts it to this length, if it is longer.
    ///
    /// # Errors
    /// What the file system says.
    pub fn cut(&self, len: u64) -> Result<(), LocalError> {
        let now = self.file.metadata().map_err(LocalError::io("look at", &self.temporary))?.len();
        if now <= len { Ok(()) } else { self.file.set_len(len).map_err(LocalError::io("write", &self.destination)) }
    }

    /// Writes at an offset; different parts may be written in any order, also from several threads.
    ///
    /// # Errors
    /// [`LocalError::DiskFull`], or what the file system says.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), LocalError> {
        self.file.write_all_at(bytes, offset).map_err(LocalError::io("write", &self.destination))
    }

    /// Writes the content in order, past the page cache where that works: for large files. What is before `from` is there.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn in_order(&self, from: u64) -> Result<DirectWriter, LocalError> {
        DirectWriter::new(&self.temporary, &self.file, from).map_err(LocalError::io("open", &self.destination))
    }

    /// Claims the room before it is needed, so that a full disk is found at once. Where a file system cannot, nothing happens.
    ///
    /// # Errors
    /// [`LocalError::DiskFull`].
    pub fn reserve(&self, len: u64) -> Result<(), LocalError> {
        if len == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, len) {
            Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) => {
                Err(LocalError::io("reserve room for", &self.destination)(error.into()))
            }
            _ => Ok(()),
        }
    }

    /// The folder that it appears in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        folder_of(&self.destination)
    }

    #[must_use]
    pub fn destination(&self) -> &Path {
        &self.destination
    }

    /// Sets mode and time and gives the file its name. Only the permission bits of the mode are taken, never set-id bits.
    ///
    /// # Errors
    /// What the file system says; nothing of it is left then.
    pub fn finish(mut self, mode: u32, modified: Mtime, durability: Durability) -> Result<(), LocalError> {
        let failed = |action| LocalError::io(action, &self.destination);
        self.file.set_permissions(Permissions::from_mode(mode & 0o777)).map_err(failed("set the mode of"))?;
        if let Some(time) = modified.to_system() {
            self.file.set_times(FileTimes::new().set_modified(time)).map_err(failed("set the time of"))?;
        }
        if durability == Durability::Synced {
            self.file.sync_all().map_err(failed("sync"))?;
        }
        if self.named {
            std::fs::rename(&self.temporary, &self.destination).map_err(failed("rename into"))?;
        } else {
            unnamed::appear(&self.file, &self.temporary, &self.destination).map_err(failed("create"))?;
        }
        self.finished = true;
        if durability == Durability::Synced {
            // Once more, since having a name belongs to the file itself.
            File::open(&self.destination).and_then(|file| file.sync_all()).map_err(failed("sync"))?;
            File::open(folder_of(&self.destination))
                .and_then(|folder| folder.sync_all())
                .map_err(LocalError::io("sync the folder of", &self.destination))?;
        }
        Ok(())
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.finished || !self.named {
            return;
        }
        let len = self.file.metadata().map_or(0, |metadata| metadata.len());
        // Best effort in both cases: there is nobody left to tell. Cutting it where it ends gives back what was reserved.
        let kept = self.kept && len >= KEPT_BYTES && self.file.set_len(len).is_ok();
        if !kept {
            std::fs::remove_file(&self.temporary).ok();
        }
    }
}

/// With [`Links::Follow`] what a link at the destination leads to.
fn seen_through(destination: &Path, links: Links) -> PathBuf {
    match links {
        Links::Follow => std::fs::canonicalize(destination).unwrap_or_else(|_| destination.to_owned()),
        Links::Keep => destination.to_owned(),
    }
}

/// Refuses a destination that a rename must not replace.
pub(super) fn refuse_irreplaceable(destination: &Path) -> Result<(), LocalError> {
    let Ok(metadata) = destination.symlink_metadata() else { return Ok(()) };
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(LocalError::IsAFolder { path: destination.to_owned() });
    }
    if kind.is_block_device() || kind.is_char_device() || kind.is_fifo() || kind.is_socket() {
        return Err(LocalError::Special { path: destination.to_owned(), kind: "device, pipe or socket" });
    }
    Ok(())
}

/// `.NAME.shoal-HHHHHHHH` beside the destination; a long name is cut.
pub(super) fn temporary_beside(destination: &Path) -> PathBuf {
    let mut random = [0; 4];
    getrandom::fill(&mut random).unwrap_or_default(); // a name that is taken is tried again
    let suffix = format!(".shoal-{:08x}", u32::from_le_bytes(random));
    let name = destination.file_name().unwrap_or(OsStr::new("file")).as_bytes();
    let room = LOCAL_NAME_BYTES - 1 - suffix.len();
    let mut bytes = vec![b'.'];
    bytes.extend(name.iter().take(room));
    bytes.extend_from_slice(suffix.as_bytes());
    destination.with_file_name(OsString::from_vec(bytes))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Why no file could be made beside the destination. A folder may be there and take none, like those of the kernel.
fn not_created(error: std::io::Error, destination: &Path) -> LocalError {
    let folder = folder_of(destination);
    if error.kind() == ErrorKind::NotFound && !folder.is_dir() {
        return LocalError::NoFolder { path: folder.to_owned() };
    }
    LocalError::io("create", destination)(error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    const TIME: Mtime = Mtime { seconds: -86_400, nanos: 5 };

    fn left(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn it_appears_whole_with_mode_and_time_and_without_set_id_bits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "old").unwrap();
        let download = Download::create(&path, Links::Keep, None).unwrap();
        download.reserve(8).unwrap();
        download.write_at(b"tail", 4).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        download.write_at(b"head", 0).unwrap();
        download.finish(0o4751, TIME, Durability::Synced).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"headtail");
        let metadata = path.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o7777, mtime_of(&metadata)), (0o751, TIME));
        assert_eq!(left(folder.path()), 1);
    }

    #[test]
    fn dropped_before_its_end_it_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let download = Download::create(&folder.path().join("file"), Links::Keep, None).unwrap();
        download.write_at(b"half", 0).unwrap();
        assert!(left(folder.path()) <= 1, "a name of its own at most");
        drop(download);
        assert_eq!(left(folder.path()), 0);
    }

    #[test]
    fn a_large_one_goes_on_where_it_was_left_and_a_finished_one_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let resume = || Download::resume(&path, Links::Keep, None, VersionId([5; 16])).unwrap();
        let first = resume();
        assert_eq!(first.left(), 0);
        first.reserve(9 << 20).unwrap();
        first.write_at(&vec![7; 2 << 20], 0).unwrap();
        let other = resume(); // somebody else is at it: as if there were none
        assert!(other.left() == 0 && left(folder.path()) <= 2);
        drop((other, first));
        assert_eq!(left(folder.path()), 1);
        let second = resume();
        assert_eq!(second.left(), 2 << 20);
        second.cut(3).unwrap();
        second.finish(0o644, TIME, Durability::Relaxed).unwrap();
        assert_eq!((std::fs::read(&path).unwrap(), left(folder.path())), (vec![7; 3], 1));
        drop(resume()); // too short to be worth it
        assert_eq!(left(folder.path()), 1);
    }

    #[test]
    fn folders_devices_and_missing_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let create = |path: &Path| Download::create(path, Links::Follow, None).unwrap_err();
        assert!(matches!(create(folder.path()), LocalError::IsAFolder { .. }));
        assert!(matches!(create(Path::new("/dev/null")), LocalError::Special { .. }));
        assert!(matches!(create(&folder.path().join("no/file")), LocalError::NoFolder { .. }));
        assert!(matches!(create(Path::new("/proc/file")), LocalError::Io { action: "create", .. }));
    }

    #[test]
    fn a_link_is_followed_or_replaced_as_asked() {
        for (links, kept) in [(Links::Follow, true), (Links::Keep, false)] {
            let folder = tempfile::tempdir().unwrap();
            let (real, link) = (folder.path().join("real"), folder.path().join("link"));
            std::fs::write(&real, "old").unwrap();
            symlink("real", &link).unwrap();
            let download = Download::create(&link, links, None).unwrap();
            download.write_at(b"new", 0).unwrap();
            download.finish(0o600, TIME, Durability::Relaxed).unwrap();
            assert_eq!(std::fs::read(&link).unwrap(), b"new");
            assert_eq!(link.symlink_metadata().unwrap().is_symlink(), kept);
            assert_eq!(std::fs::read(&real).unwrap() == b"new", kept);
        }
    }

    #[test]
    fn the_longest_name_has_a_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(LOCAL_NAME_BYTES));
        let download = Download::create(&path, Links::Keep, None).unwrap();
        download.finish(0o644, TIME, Durability::Relaxed).unwrap();
        assert!(path.exists());
    }
}
