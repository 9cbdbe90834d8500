//! Walk: what lies in the local file system, one folder at a time and in the order of names.
//!
//! Symbolic links are never followed here: a tree is stored as it is, and a loop of links is no loop. What one folder holds is
//! listed by name alone, each item is looked at when its turn comes: memory goes with the largest folder, not with the tree.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::LocalError;
use crate::meta::Mtime;

/// What an item is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    Folder,
    File {
        len: u64,
    },
    /// A symbolic link, with what it points to.
    Link {
        target: Vec<u8>,
    },
    /// A device, socket or pipe: named, so that the user can be told.
    Special(&'static str),
}

/// One item of the local file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub path: PathBuf,
    pub kind: ItemKind,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    pub modified: Mtime,
}

/// Whether a link itself or what it points to is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    Keep,
    Follow,
}

/// When a file was modified, as the file system keeps it.
#[must_use]
pub fn mtime_of(metadata: &Metadata) -> Mtime {
    Mtime { seconds: metadata.mtime(), nanos: u32::try_from(metadata.mtime_nsec()).unwrap_or(0) }
}

/// Looks at one item.
///
/// # Errors
/// When it is missing or may not be looked at.
pub fn look(path: &Path, links: Links) -> Result<Item, LocalError> {
    let metadata = match links {
        Links::Keep => path.symlink_metadata(),
        Links::Follow => path.metadata(),
    };
    let metadata = metadata.map_err(LocalError::io("find", path))?;
    let kind = metadata.file_type();
    let kind = if kind.is_dir() {
        ItemKind::Folder
    } else if kind.is_file() {
        ItemKind::File { len: metadata.len() }
    } else if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(LocalError::io("read link", path))?;
        ItemKind::Link { target: target.into_os_string().into_vec() }
    } else if kind.is_fifo() {
        ItemKind::Special("pipe")
    } else if kind.is_socket() {
        ItemKind::Special("socket")
    } else if kind.is_char_device() || kind.is_block_device() {
        ItemKind::Special("device")
    } else {
        ItemKind::Special("file of an unknown kind")
    };
    Ok(Item { path: path.to_owned(), kind, mode: metadata.mode() & 0o7777, modified: mtime_of(&metadata) })
}

/// The names in a folder, sorted by their bytes.
///
/// # Errors
/// When the folder cannot be read.
pub fn names(folder: &Path) -> Result<Vec<OsString>, LocalError> {
    let failed = || LocalError::io("list", folder);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        names.push(entry.map_err(failed())?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_is_listed_in_order_and_links_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b", "a", "c.txt"] {
            std::fs::write(root.path().join(name), name).unwrap();
        }
        std::fs::create_dir(root.path().join("empty")).unwrap();
        symlink("..", root.path().join("loop")).unwrap();
        let found: Vec<_> = names(root.path())
            .unwrap()
            .into_iter()
            .map(|name| (name.clone(), look(&root.path().join(name), Links::Keep).unwrap().kind))
            .collect();
        let expected = [
            ("a", ItemKind::File { len: 1 }),
            ("b", ItemKind::File { len: 1 }),
            ("c.txt", ItemKind::File { len: 5 }),
            ("empty", ItemKind::Folder),
            ("loop", ItemKind::Link { target: b"..".to_vec() }),
        ];
        assert_eq!(found, expected.map(|(name, kind)| (OsString::from(name), kind)));
        assert_eq!(look(&root.path().join("loop"), Links::Follow).unwrap().kind, ItemKind::Folder);
    }

    #[test]
    fn names_of_any_bytes_are_found_and_missing_ones_are_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let name = OsString::from_vec(vec![b'x', 0xff, b'\n']);
        std::fs::write(root.path().join(&name), b"").unwrap();
        assert_eq!(names(root.path()).unwrap(), [name]);
        assert!(look(&root.path().join("none"), Links::Keep).unwrap_err().is_missing());
    }

    #[test]
    fn a_socket_is_special() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("socket");
        let _held = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(look(&path, Links::Keep).unwrap().kind, ItemKind::Special("socket"));
    }
}
