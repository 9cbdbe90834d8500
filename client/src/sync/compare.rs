//! Compare: what differs between what lies on this machine and what is in the tree under the same name. Pure.

use crate::folder::{Entry, FileVersion, What};
use crate::local::walk::{Item, ItemKind};

/// The permission bits that a local file system is asked for: never set-id bits.
const LOCAL_MODE: u32 = 0o777;

/// Which way it goes; what can't be brought that way counts as no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

/// How two things of one name stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Alike,
    /// Both are folders, with another mode or time.
    OtherAttributes,
    /// Files or links, of which one has to take the other's place.
    Differs,
    /// One is a folder and the other is not.
    OtherKind,
    /// A device, pipe or socket on this machine.
    Special(&'static str),
}

/// What something is, in a word.
#[must_use]
pub fn word_of(kind: &ItemKind) -> &'static str {
    match kind {
        ItemKind::Folder => "folder",
        ItemKind::File { .. } => "file",
        ItemKind::Link { .. } => "link",
        ItemKind::Special(what) => what,
    }
}

/// The same for what is in the tree.
#[must_use]
pub fn word_of_entry(entry: &Entry) -> &'static str {
    match entry.file().map(FileVersion::link) {
        None => "folder",
        Some(None) => "file",
        Some(Some(_)) => "link",
    }
}

/// Compares by kind, size, time and mode; the content is not looked at.
#[must_use]
pub fn judge(item: &Item, entry: &Entry, way: Way) -> Verdict {
    let mode = match way {
        Way::Up => entry.mode() == item.mode,
        Way::Down => (entry.mode() ^ item.mode) & LOCAL_MODE == 0,
    };
    let alike = mode && entry.modified() == item.modified;
    match (&item.kind, &entry.what) {
        (ItemKind::Special(what), _) => Verdict::Special(what),
        (ItemKind::Folder, What::Folder(_)) if alike => Verdict::Alike,
        (ItemKind::Folder, What::Folder(_)) => Verdict::OtherAttributes,
        (ItemKind::Folder, What::File(_)) | (_, What::Folder(_)) => Verdict::OtherKind,
        (ItemKind::File { len }, What::File(file)) => {
            let same = alike && file.link().is_none() && file.meta.size == *len;
            if same { Verdict::Alike } else { Verdict::Differs }
        }
        (ItemKind::Link { target }, What::File(file)) => {
            // The mode of a link means nothing.
            let same = file.link() == Some(target) && file.meta.mtime == item.modified;
            if same { Verdict::Alike } else { Verdict::Differs }
        }
    }
}

/// Whether these are two files of one size, whose content may be the same.
#[must_use]
pub fn same_size<'a>(item: &Item, entry: &'a Entry) -> Option<&'a FileVersion> {
    let file = entry.file().filter(|file| file.link().is_none())?;
    (item.kind == ItemKind::File { len: file.meta.size }).then_some(file)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use common::id::{NameToken, NodeId, VersionId};
    use common::redundancy::Redundancy;
    use common::time::Timestamp;

    use super::*;
    use crate::manifest::ManifestKey;
    use crate::meta::{Content, FolderAttributes, Mtime, VersionMeta};
    use crate::names::Name;

    const TIME: Mtime = Mtime { seconds: 5, nanos: 6 };

    fn entry(what: What) -> Entry {
        let (folder, node) = (NodeId([1; 16]), NodeId([2; 16]));
        Entry { folder, token: NameToken([0; NameToken::LEN]), node, name: Name::new(b"x").unwrap(), since: 1, what }
    }

    fn file(size: u64, mode: u32, content: Content) -> Entry {
        let meta = VersionMeta {
            content,
            size,
            mtime: TIME,
            mode,
            pages: u32::from(size > 0),
            extents: size.min(1),
            manifest_key: ManifestKey([0; 32]),
        };
        entry(What::File(Box::new(FileVersion {
            version: VersionId([3; 16]),
            meta,
            sealed_bytes: size,
            redundancy: Redundancy::new(1, 1).unwrap(),
            committed: Timestamp(1),
            manifest: None,
        })))
    }

    fn item(kind: ItemKind, mode: u32, modified: Mtime) -> Item {
        Item { path: PathBuf::from("x"), kind, mode, modified }
    }

    #[test]
    fn what_differs_is_seen_and_nothing_else() {
        let later = Mtime { nanos: 7, ..TIME };
        let stored = file(9, 0o644, Content::File);
        let link = file(0, 0o777, Content::Link(b"to".to_vec().try_into().unwrap()));
        let folder = entry(What::Folder(FolderAttributes { mode: 0o2755, mtime: TIME, redundancy: None }));
        let to = |target: &[u8]| ItemKind::Link { target: target.to_vec() };
        for (kind, mode, time, entry, up, down) in [
            (ItemKind::File { len: 9 }, 0o644, TIME, &stored, Verdict::Alike, Verdict::Alike),
            (ItemKind::File { len: 9 }, 0o644, later, &stored, Verdict::Differs, Verdict::Differs),
            (ItemKind::File { len: 8 }, 0o644, TIME, &stored, Verdict::Differs, Verdict::Differs),
            (ItemKind::File { len: 9 }, 0o600, TIME, &stored, Verdict::Differs, Verdict::Differs),
            (ItemKind::File { len: 9 }, 0o4644, TIME, &stored, Verdict::Differs, Verdict::Alike),
            (ItemKind::File { len: 0 }, 0o777, TIME, &link, Verdict::Differs, Verdict::Differs),
            (to(b"to"), 0o700, TIME, &link, Verdict::Alike, Verdict::Alike),
            (to(b"from"), 0o777, TIME, &link, Verdict::Differs, Verdict::Differs),
            (ItemKind::Folder, 0o755, TIME, &folder, Verdict::OtherAttributes, Verdict::Alike),
            (ItemKind::Folder, 0o2755, later, &folder, Verdict::OtherAttributes, Verdict::OtherAttributes),
            (ItemKind::Folder, 0o755, TIME, &stored, Verdict::OtherKind, Verdict::OtherKind),
            (to(b"to"), 0o777, TIME, &folder, Verdict::OtherKind, Verdict::OtherKind),
            (ItemKind::Special("pipe"), 0o644, TIME, &stored, Verdict::Special("pipe"), Verdict::Special("pipe")),
        ] {
            let item = item(kind, mode, time);
            assert_eq!((judge(&item, entry, Way::Up), judge(&item, entry, Way::Down)), (up, down), "{item:?}");
        }
        assert!(same_size(&item(ItemKind::File { len: 9 }, 0, later), &stored).is_some());
        assert!(same_size(&item(ItemKind::File { len: 0 }, 0, later), &link).is_none());
    }
}
