//! Read: the content of a local file, which must hold still while it is read.
//!
//! What is stored is what the file held at one time, or it is an error: [`SourceFile::finish`] compares length, time and inode
//! with what they were when it was opened, and the bytes that were read with the length.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::LocalError;
use super::walk::mtime_of;
use crate::meta::Mtime;

/// A regular file that is being read.
#[derive(Debug)]
pub struct SourceFile {
    file: File,
    path: PathBuf,
    before: Stamp,
    read: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Mtime,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: mtime_of(metadata) }
    }
}

impl SourceFile {
    /// Opens a regular file. Never blocks on a pipe that took the file's place.
    ///
    /// # Errors
    /// When it cannot be opened, or is no regular file.
    pub fn open(path: &Path) -> Result<Self, LocalError> {
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let file =
            OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(LocalError::io("open", path))?;
        let metadata = file.metadata().map_err(LocalError::io("look at", path))?;
        if metadata.is_dir() {
            return Err(LocalError::IsAFolder { path: path.to_owned() });
        }
        if !metadata.is_file() {
            return Err(LocalError::Special { path: path.to_owned(), kind: "special file" });
        }
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential).ok(); // a hint, nothing depends on it
        Ok(Self { file, path: path.to_owned(), before: Stamp::of(&metadata), read: 0 })
    }

    /// How long it was when it was opened.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.before.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.before.len == 0
    }

    #[must_use]
    pub fn modified(&self) -> Mtime {
        self.before.modified
    }

    /// Permission bits now.
    #[must_use]
    pub fn mode(&self) -> Option<u32> {
        self.file.metadata().ok().map(|metadata| metadata.mode() & 0o7777)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says whether all that was read is the file as it was when it was opened, and still is. To be called at its end.
    ///
    /// # Errors
    /// [`LocalError::Changed`] when it grew, shrank or was written to.
    pub fn finish(&self) -> Result<(), LocalError> {
        let changed = |what| Err(LocalError::Changed { path: self.path.clone(), what });
        let after = Stamp::of(&self.file.metadata().map_err(LocalError::io("look at", &self.path))?);
        if self.read < self.before.len || after.len < self.before.len {
            return changed("it is shorter now");
        }
        if self.read > self.before.len || after.len > self.before.len {
            return changed("it is longer now");
        }
        if after.modified != self.before.modified {
            return changed("it was written to");
        }
        Ok(())
    }
}

impl Read for SourceFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read = self.read.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(change: impl FnOnce(&Path), expected: Option<&str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 10_000]).unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
        File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        let mut source = SourceFile::open(&path).unwrap();
        let mut head = [0; 100];
        source.read_exact(&mut head).unwrap();
        change(&path);
        source.read_to_end(&mut Vec::new()).unwrap();
        let told = source.finish().err().map(|error| error.to_string());
        match expected {
            None => assert_eq!(told, None),
            Some(text) => assert!(told.as_ref().is_some_and(|told| told.contains(text)), "{told:?}"),
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_an_error_that_says_how() {
        let open = |path: &Path| File::options().write(true).open(path).unwrap();
        check(|_| {}, None);
        check(|path| open(path).set_len(500).unwrap(), Some("shorter"));
        check(|path| open(path).set_len(20_000).unwrap(), Some("longer"));
        check(|path| open(path).write_all(b"other").unwrap(), Some("written to"));
        check(|path| std::fs::remove_file(path).unwrap(), None); // its content is as it was
    }

    #[test]
    fn a_folder_or_device_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(SourceFile::open(folder.path()), Err(LocalError::IsAFolder { .. })));
        assert!(matches!(SourceFile::open(Path::new("/dev/null")), Err(LocalError::Special { .. })));
    }
}
