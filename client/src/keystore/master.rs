//! Master: the file of a home that holds the account's master key: in the open, or under a passphrase.
//!
//! Guarantees: the file is replaced whole and durably, so that a kill in the middle leaves the old one or the new one; what a
//! killed process left beside it is removed by the next change; two processes do not change it at once. What is written under a
//! passphrase was opened with it before it replaced anything.
//!
//! Non-goals: wiping what the disk held before. File systems and flash keep old blocks for a while: a key that lay in the open
//! for long on a disk that may be stolen should be rotated, not only be given a passphrase.

use std::fs;
use std::path::{Path, PathBuf};

use common::disk::{self, DataFolder};
use zeroize::Zeroizing;

use super::HomeError;
use super::wrap::{Cost, Kind, Passphrase, WrapError, Wrapped};
use crate::keys::{KEY_BYTES, MasterKey};

pub(super) const FILE: &str = "master.key";
/// The key that is to be the account's, from before the directory is told until it has taken the other one's place.
const NEXT: &str = "master.next";
/// In front of the 32 bytes of a key in the open.
const PLAIN: &[u8; 8] = b"SHOALMK1";
const WRAPPED: Kind = Kind { magic: b"SHOALMK2", what: "the master key", context: "shoal v1 master key file" };
/// What every format of the file begins with; a digit follows.
const ANY: &[u8] = b"SHOALMK";

/// The file as it was read.
#[derive(Debug)]
pub enum MasterFile {
    Plain(MasterKey),
    Wrapped(Locked),
}

/// A key under a passphrase.
#[derive(Debug)]
pub struct Locked {
    path: PathBuf,
    wrapped: Wrapped,
}

impl Locked {
    /// Takes 64 MiB and some tenths of a second: not for an async thread.
    ///
    /// # Errors
    /// [`HomeError::Wrap`], with the wrong passphrase as its cause or that there is no memory.
    pub fn open(&self, passphrase: &Passphrase) -> Result<MasterKey, HomeError> {
        let opened: Result<[u8; KEY_BYTES], WrapError> = self.wrapped.open(WRAPPED, passphrase);
        opened.map(MasterKey).map_err(|source| HomeError::Wrap { path: self.path.clone(), source })
    }
}

impl MasterFile {
    /// # Errors
    /// When it is missing, damaged, of a newer format, or others could have read it.
    pub fn read(home: &Path) -> Result<Self, HomeError> {
        Self::read_at(home.join(FILE))
    }

    /// The key of a rotation that was begun on this device; `None` when there is none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_next(home: &Path) -> Result<Option<Self>, HomeError> {
        match Self::read_at(home.join(NEXT)) {
            Err(HomeError::NoKey { .. }) => Ok(None),
            read => read.map(Some),
        }
    }

    fn read_at(path: PathBuf) -> Result<Self, HomeError> {
        let bytes = disk::read_private(&path)
            .map_err(|error| if error.is_missing() { HomeError::NoKey { path: path.clone() } } else { error.into() })?;
        if let Some(wrapped) = Wrapped::from_bytes(WRAPPED, &bytes) {
            return match wrapped {
                Ok(wrapped) => Ok(Self::Wrapped(Locked { path, wrapped })),
                Err(WrapError::Damaged) => Err(HomeError::KeyDamaged { path }),
                Err(source) => Err(HomeError::Wrap { path, source }),
            };
        }
        if let Some(key) = bytes.strip_prefix(PLAIN).and_then(|key| key.try_into().ok()) {
            return Ok(Self::Plain(MasterKey(key)));
        }
        let digit = bytes.strip_prefix(ANY).and_then(<[u8]>::first).filter(|digit| (b'3'..=b'9').contains(digit));
        Err(match digit {
            Some(digit) => HomeError::Newer { path, found: u32::from(digit - b'0') },
            None => HomeError::KeyDamaged { path },
        })
    }
}

/// The bytes of a file in the open.
pub(super) fn plain(master: &MasterKey) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([PLAIN.as_slice(), &master.0].concat())
}

/// Puts a key in the place of whatever the file held: under a passphrase, or in the open.
///
/// # Errors
/// When another process does the same, or the file system refuses; the old file is then still there.
pub fn replace(home: &Path, master: &MasterKey, passphrase: Option<&Passphrase>) -> Result<(), HomeError> {
    replace_at(home, master, passphrase, Cost::DEFAULT)
}

/// Keeps a key that is to be the account's beside the one that is, under the same passphrase.
///
/// # Errors
/// As [`replace`].
pub fn keep_next(home: &Path, master: &MasterKey, passphrase: Option<&Passphrase>) -> Result<(), HomeError> {
    write(home, NEXT, master, passphrase, Cost::DEFAULT)
}

/// Puts the kept key in the place of the account's old one.
///
/// # Errors
/// When another process does the same, or the file system refuses; both files are then still there.
pub fn take_next(home: &Path) -> Result<(), HomeError> {
    let _alone = DataFolder::lock(home)?;
    let path = home.join(NEXT);
    fs::rename(&path, home.join(FILE)).map_err(|source| HomeError::Io { action: "rename", path, source })?;
    Ok(disk::sync_folder(home)?)
}

/// Forgets a kept key that the account never got.
///
/// # Errors
/// When the file system refuses.
pub fn drop_next(home: &Path) -> Result<(), HomeError> {
    let path = home.join(NEXT);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(HomeError::Io { action: "remove", path, source })
        }
        _ => Ok(()),
    }
}

pub(super) fn replace_at(
    home: &Path,
    master: &MasterKey,
    passphrase: Option<&Passphrase>,
    cost: Cost,
) -> Result<(), HomeError> {
    write(home, FILE, master, passphrase, cost)
}

fn write(
    home: &Path,
    file: &str,
    master: &MasterKey,
    passphrase: Option<&Passphrase>,
    cost: Cost,
) -> Result<(), HomeError> {
    let _alone = DataFolder::lock(home)?;
    remove_leftovers(home);
    let path = home.join(file);
    let bytes = match passphrase {
        None => plain(master),
        Some(passphrase) => {
            let refuse = |source| HomeError::Wrap { path: path.clone(), source };
            let bytes = Wrapped::seal(WRAPPED, passphrase, cost, &master.0).map_err(refuse)?.to_bytes(WRAPPED);
            let read = Wrapped::from_bytes(WRAPPED, &bytes).unwrap_or(Err(WrapError::Damaged)).map_err(refuse)?;
            let opened = read.open::<[u8; KEY_BYTES]>(WRAPPED, passphrase).map(MasterKey).map_err(refuse)?;
            if opened != *master {
                return Err(refuse(WrapError::Damaged)); // bad memory: better the old file than this one
            }
            Zeroizing::new(bytes)
        }
    };
    Ok(disk::replace_durably(&path, &bytes)?)
}

/// A process that was killed while it wrote leaves a file beside: perhaps a key in the open, which must not stay. Only the
/// holder of the home's lock writes such files.
fn remove_leftovers(home: &Path) {
    let Ok(entries) = fs::read_dir(home) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if (name.starts_with(".master.key.") || name.starts_with(".master.next.")) && name.ends_with(".new") {
            fs::remove_file(entry.path()).ok(); // the next change tries again
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::wrap::tests::{CHEAP, passphrase};

    fn home() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn open(home: &Path, text: &str) -> Result<MasterKey, HomeError> {
        match MasterFile::read(home)? {
            MasterFile::Plain(key) => Ok(key),
            MasterFile::Wrapped(locked) => locked.open(&passphrase(text)),
        }
    }

    #[test]
    fn a_key_goes_under_a_passphrase_to_another_and_back_into_the_open() {
        let home = home();
        let (path, key) = (home.path(), MasterKey([7; 32]));
        assert!(matches!(MasterFile::read(path), Err(HomeError::NoKey { .. })));
        for chosen in [None, Some("first one"), Some("second one"), None] {
            let chosen = chosen.map(passphrase);
            replace_at(path, &key, chosen.as_ref(), CHEAP).unwrap();
            assert_eq!(matches!(MasterFile::read(path).unwrap(), MasterFile::Wrapped(_)), chosen.is_some());
            let bytes = fs::read(path.join(FILE)).unwrap();
            assert_eq!(bytes.windows(32).any(|window| window == key.0), chosen.is_none());
        }
        replace_at(path, &key, Some(&passphrase("the last")), CHEAP).unwrap();
        assert_eq!(open(path, "the last").unwrap(), key);
        let wrong = open(path, "first one").unwrap_err();
        assert!(matches!(wrong, HomeError::Wrap { source: WrapError::WrongPassphrase, .. }));
    }

    #[test]
    fn what_a_killed_process_left_is_gone_after_the_next_change() {
        let home = home();
        let left = home.path().join(".master.key.4711.ThreadId(3).new");
        fs::write(&left, "a key in the open").unwrap();
        fs::write(home.path().join(".mine.new"), "").unwrap();
        replace_at(home.path(), &MasterKey([7; 32]), Some(&passphrase("12345678")), CHEAP).unwrap();
        assert!(!left.exists() && home.path().join(".mine.new").exists());
    }

    #[test]
    fn two_processes_do_not_change_it_at_once() {
        let home = home();
        let held = DataFolder::lock(home.path()).unwrap();
        let refused = replace_at(home.path(), &MasterKey([7; 32]), None, CHEAP);
        assert!(matches!(refused, Err(HomeError::Disk(disk::DiskError::InUse { .. }))));
        drop(held);
        replace_at(home.path(), &MasterKey([7; 32]), None, CHEAP).unwrap();
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let home = home();
        disk::create_private(&home.path().join(FILE), b"SHOALMK3whatever").unwrap();
        assert!(matches!(MasterFile::read(home.path()), Err(HomeError::Newer { found: 3, .. })));
        for bytes in [&b"SHOALMK2"[..], b"SHOALMK1short", b"SHOALMKx", b"", &[0; 40]] {
            disk::replace_durably(&home.path().join(FILE), bytes).unwrap();
            assert!(matches!(MasterFile::read(home.path()), Err(HomeError::KeyDamaged { .. })), "{bytes:?}");
        }
    }
}
