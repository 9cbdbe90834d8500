//! Draft: a data folder that is not in its place yet. An interrupted join leaves nothing that looks like a peer.
//!
//! It is written beside its place under a hidden name, and renamed when it is whole. Where that cannot be (the place is the root of
//! a disk, or the folder above is not ours), it is written inside its place, also hidden, and its files are moved up, the one that
//! makes it a peer's folder last. What a killed join left hidden is cleared by the next.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::disk::{self, DataFolder, DiskError};

const INSIDE: &str = ".joining";
const LOCK: &str = "lock";
const LAST: &str = "format";

/// A data folder that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    #[error("{} is not empty; name another folder, or remove it if the peer in it is not needed any more", path.display())]
    NotEmpty { path: PathBuf },
    #[error("{} is no name for a data folder", path.display())]
    Name { path: PathBuf },
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the data folder cannot be made")]
    Disk(#[from] DiskError),
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DraftError {
    move |source| DraftError::Io { action, path: path.to_owned(), source }
}

/// Taken away when dropped, unless it was published.
pub(crate) struct Draft {
    place: PathBuf,
    path: PathBuf,
    /// `None` when it is published.
    held: Option<DataFolder>,
}

impl Draft {
    /// Begins one for an empty or missing place.
    pub(crate) fn begin(place: &Path) -> Result<Self, DraftError> {
        check_empty(place)?;
        let name = place.file_name().ok_or_else(|| DraftError::Name { path: place.to_owned() })?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(INSIDE);
        let beside = place.with_file_name(hidden);
        let (path, made) = if is_root_of_disk(place) {
            let inside = place.join(INSIDE);
            let made = disk::create_folder(&inside);
            (inside, made)
        } else {
            match disk::create_folder(&beside) {
                Err(_) if place.is_dir() => (place.join(INSIDE), disk::create_folder(&place.join(INSIDE))),
                made => (beside, made),
            }
        };
        made?;
        let held = DataFolder::lock(&path)?;
        let draft = Self { place: place.to_owned(), path, held: Some(held) };
        draft.clear()?;
        Ok(draft)
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whatever a killed join left, but for the lock that is held.
    fn clear(&self) -> Result<(), DraftError> {
        for name in names(&self.path)? {
            if name != LOCK {
                fs::remove_file(self.path.join(name)).map_err(io("clear", &self.path))?;
            }
        }
        Ok(())
    }

    /// Puts it in its place, durably.
    pub(crate) fn publish(mut self) -> Result<(), DraftError> {
        check_empty(&self.place)?;
        disk::sync_folder(&self.path)?;
        if self.path.parent() == Some(&self.place) {
            self.move_up()?;
        } else {
            fs::rename(&self.path, &self.place).map_err(io("put the data folder at", &self.place))?;
        }
        self.held = None;
        let above = self.place.parent().filter(|above| !above.as_os_str().is_empty());
        Ok(disk::sync_folder(above.unwrap_or(Path::new(".")))?)
    }

    fn move_up(&self) -> Result<(), DraftError> {
        let move_one = |name: &OsString| {
            fs::rename(self.path.join(name), self.place.join(name)).map_err(io("move a file up into", &self.place))
        };
        let names = names(&self.path)?;
        names.iter().filter(|name| *name != LAST && *name != LOCK).try_for_each(move_one)?;
        disk::sync_folder(&self.place)?;
        move_one(&OsString::from(LAST))?;
        disk::sync_folder(&self.place)?;
        fs::remove_dir_all(&self.path).map_err(io("remove", &self.path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.held.is_some() {
            fs::remove_dir_all(&self.path).ok(); // best effort: the next join clears it
        }
    }
}

fn names(path: &Path) -> Result<Vec<OsString>, DraftError> {
    let entries = fs::read_dir(path).map_err(io("look into", path))?;
    entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>().map_err(io("look into", path))
}

/// Whether something is mounted there, so that it cannot be renamed over.
fn is_root_of_disk(place: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev()).ok();
    let above = place.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    device(place).is_some_and(|own| device(above) != Some(own))
}

/// Empty but for what a new file system brings along, and a draft.
fn check_empty(place: &Path) -> Result<(), DraftError> {
    match fs::metadata(place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(io("look into", place)(source)),
        Ok(found) if !found.is_dir() => return Err(DraftError::NotEmpty { path: place.to_owned() }),
        Ok(_) => {}
    }
    if names(place)?.iter().all(|name| name == INSIDE || name == "lost+found") {
        return Ok(());
    }
    Err(DraftError::NotEmpty { path: place.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(path: &Path) -> Vec<OsString> {
        let mut names = names(path).unwrap();
        names.sort();
        names
    }

    fn write(draft: &Draft) {
        for name in ["peer.key", LAST] {
            fs::write(draft.path().join(name), name).unwrap();
        }
    }

    #[test]
    fn it_appears_whole_or_not_at_all_beside_its_place_or_within() {
        for within in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let place = folder.path().join("peer");
            let begin = || {
                let draft = Draft::begin(&place).unwrap();
                if !within {
                    return draft;
                }
                // As on the root of a disk.
                disk::create_folder(&place.join(INSIDE)).unwrap();
                let path = place.join(INSIDE);
                let held = Some(DataFolder::lock(&path).unwrap());
                Draft { place: place.clone(), path, held }
            };
            let dropped = begin();
            write(&dropped);
            drop(dropped);
            assert!(files(folder.path()).is_empty() || files(&place).is_empty());
            let draft = begin();
            write(&draft);
            assert!(!place.join(LAST).exists());
            draft.publish().unwrap();
            assert!(files(&place).iter().filter(|name| *name != LOCK).eq([LAST, "peer.key"]), "{:?}", files(&place));
            assert_eq!(files(folder.path()), ["peer"]);
            assert!(matches!(Draft::begin(&place), Err(DraftError::NotEmpty { .. })));
        }
    }

    #[test]
    fn a_file_or_a_root_is_no_place_and_two_joins_do_not_mix() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(Draft::begin(&file), Err(DraftError::NotEmpty { .. })));
        assert!(Draft::begin(Path::new("/")).is_err());
        let place = folder.path().join("peer");
        let _first = Draft::begin(&place).unwrap();
        assert!(matches!(Draft::begin(&place), Err(DraftError::Disk(DiskError::InUse { .. }))));
    }
}
