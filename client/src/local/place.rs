//! Place: folders and symbolic links at the destination of a download.
//!
//! A folder's own mode and time are set when everything that goes into it is there: whoever is still writing in it holds it by an
//! [`Arc`], and the last one to let go sets them. So a folder that may not be written to can be filled, and memory goes with what
//! is under way, not with the tree.

use std::fs::{DirBuilder, File, FileTimes, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::LocalError;
use super::walk::mtime_of;
use super::write::{refuse_irreplaceable, temporary_beside};
use crate::meta::Mtime;

/// Told of an attribute that could not be set, when nobody waits for it any more.
pub type Complain = Arc<dyn Fn(LocalError) + Send + Sync>;

/// A folder that is being filled.
pub struct PlacedFolder {
    path: PathBuf,
    mode: u32,
    modified: Mtime,
    complain: Complain,
    _within: Option<Arc<Self>>,
}

impl std::fmt::Debug for PlacedFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PlacedFolder").field(&self.path).finish()
    }
}

impl PlacedFolder {
    /// Makes the folder, or takes one that is there. A link to a folder is not taken: what is downloaded stays below the
    /// destination.
    ///
    /// # Errors
    /// [`LocalError::NotAFolder`] when something else has the name, or what the file system says.
    pub fn make(
        path: &Path,
        mode: u32,
        modified: Mtime,
        within: Option<Arc<Self>>,
        complain: Complain,
    ) -> Result<Arc<Self>, LocalError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let metadata = path.symlink_metadata().map_err(LocalError::io("look at", path))?;
                if !metadata.is_dir() {
                    return Err(LocalError::NotAFolder { path: path.to_owned() });
                }
                // It has to be filled before it gets its own mode.
                let own = metadata.permissions().mode();
                if own & 0o700 != 0o700 {
                    let open = Permissions::from_mode(own | 0o700);
                    std::fs::set_permissions(path, open).map_err(LocalError::io("set the mode of", path))?;
                }
            }
            Err(error) => return Err(LocalError::io("create folder", path)(error)),
        }
        Ok(Arc::new(Self { path: path.to_owned(), mode, modified, complain, _within: within }))
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn settle(&self) -> Result<(), LocalError> {
        let failed = |action| LocalError::io(action, &self.path);
        let folder = File::open(&self.path).map_err(failed("open"))?;
        let now = folder.metadata().map_err(failed("look at"))?;
        if (now.permissions().mode() ^ self.mode) & 0o777 == 0 && mtime_of(&now) == self.modified {
            return Ok(()); // not even its time of change is altered
        }
        if let Some(time) = self.modified.to_system() {
            folder.set_times(FileTimes::new().set_modified(time)).map_err(failed("set the time of"))?;
        }
        folder.set_permissions(Permissions::from_mode(self.mode & 0o777)).map_err(failed("set the mode of"))
    }
}

impl Drop for PlacedFolder {
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            (self.complain)(error);
        }
    }
}

/// Puts a symbolic link at the destination in one step, in place of a file or link that is there.
///
/// # Errors
/// As for a file, see [`Download::create`](super::write::Download::create).
pub fn place_link(target: &[u8], destination: &Path, modified: Mtime) -> Result<(), LocalError> {
    refuse_irreplaceable(destination)?;
    let target = Path::new(std::ffi::OsStr::from_bytes(target));
    let failed = || LocalError::io("make link", destination);
    let temporary = loop {
        let temporary = temporary_beside(destination);
        match symlink(target, &temporary) {
            Ok(()) => break temporary,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed()(error)),
        }
    };
    let time = Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanos.min(999_999_999).into() };
    let times = Timestamps { last_access: time, last_modification: time };
    let done = rustix::fs::utimensat(CWD, &temporary, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(std::io::Error::from)
        .and_then(|()| std::fs::rename(&temporary, destination));
    if done.is_err() {
        std::fs::remove_file(&temporary).ok(); // best effort: the error at hand is the one to tell
    }
    done.map_err(failed())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::local::walk::{Links, mtime_of};
    use crate::local::write::{Download, Durability};

    const TIME: Mtime = Mtime { seconds: 1_000_000_000, nanos: 7 };

    fn silent() -> Complain {
        Arc::new(|error| panic!("{error}"))
    }

    #[test]
    fn a_folder_gets_its_mode_and_time_after_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let outer = PlacedFolder::make(&root.path().join("outer"), 0o555, TIME, None, silent()).unwrap();
        let path = outer.path().to_owned();
        let inner = PlacedFolder::make(&path.join("inner"), 0o755, TIME, Some(outer.clone()), silent()).unwrap();
        let download = Download::create(&path.join("file"), Links::Keep, Some(outer)).unwrap();
        drop(inner);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        download.finish(0o644, TIME, Durability::Relaxed).unwrap();
        let metadata = path.metadata().unwrap();
        assert_eq!((metadata.mode() & 0o777, mtime_of(&metadata)), (0o555, TIME));
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_link_is_placed_with_its_time_and_replaces_a_link_but_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("link");
        for target in ["one", "two\u{1F41F}"] {
            place_link(target.as_bytes(), &path, TIME).unwrap();
            assert_eq!(std::fs::read_link(&path).unwrap(), Path::new(target));
        }
        assert_eq!(mtime_of(&path.symlink_metadata().unwrap()), TIME);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
        assert!(matches!(place_link(b"x", root.path(), TIME), Err(LocalError::IsAFolder { .. })));
    }

    #[test]
    fn a_link_to_a_folder_is_not_entered() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("link");
        symlink("/tmp", &path).unwrap();
        let refused = PlacedFolder::make(&path, 0o755, TIME, None, silent());
        assert!(matches!(refused, Err(LocalError::NotAFolder { .. })));
    }
}
