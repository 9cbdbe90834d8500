//! Disk: the few things that the store asks of a file system, and the seam where tests cut the power.
//!
//! Names are relative to the data folder. Files of segments are opened with O_DIRECT where the file system takes it; that is
//! tried once, at start, with a file of its own.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSliceMut, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, FlockOperation, OFlags, fadvise, flock};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::buffer::Aligned;
use super::error::StoreError;
use super::record::PAGE;

/// The folders inside a data folder.
pub(crate) const SEGMENTS: &str = "segments";
pub(crate) const HINTS: &str = "hints";

/// Room on the file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Space {
    pub free: u64,
    pub total: u64,
}

/// A file system, as far as the store needs one. Blocking.
pub(crate) trait Disk: Send + Sync + Debug {
    /// For messages.
    fn path(&self, name: &str) -> PathBuf;
    /// A new file for aligned reads and writes. Its name is durable after [`sync_folder`](Disk::sync_folder).
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// A small file as a whole; `None` when there is none.
    fn read(&self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>>;
    /// Puts a small file there as a whole, durably.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    fn space(&self) -> io::Result<Space>;
}

/// An open segment. Memory, offsets and lengths are multiples of [`PAGE`].
pub(crate) trait DiskFile: Send + Sync + Debug {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// The same through the machine's page cache, from where it is had again without the disk. For short ranges.
    fn read_cached_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_at(bytes, offset)
    }
    /// The same if it is all in the page cache; otherwise `false`, at once.
    fn read_at_once(&self, _bytes: &mut [u8], _offset: u64) -> bool {
        false
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Everything written so far survives a power cut afterwards.
    fn sync(&self) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// How much of the disk it takes.
    fn allocated(&self) -> io::Result<u64>;
    /// Gives these bytes back: they read as zeros from then on. `false`: this file system does not do it.
    fn punch(&self, offset: u64, len: u64) -> io::Result<bool>;
}

/// A real data folder, locked while this exists.
#[derive(Debug)]
pub(crate) struct RealDisk {
    dir: PathBuf,
    direct: bool,
    _lock: File,
}

impl RealDisk {
    /// Makes the folders where they are missing, takes the lock and finds out about O_DIRECT.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let io_at = |path: PathBuf| move |source| StoreError::Io { path, source };
        for folder in [dir.to_path_buf(), dir.join(SEGMENTS), dir.join(HINTS)] {
            std::fs::create_dir_all(&folder).map_err(io_at(folder.clone()))?;
        }
        let lock = take_lock(dir)?;
        for folder in dir.parent().filter(|parent| !parent.as_os_str().is_empty()).into_iter().chain([dir]) {
            File::open(folder).and_then(|open| open.sync_all()).map_err(io_at(folder.to_path_buf()))?;
        }
        let direct = takes_direct(&dir.join("probe"));
        let mode = if direct { "O_DIRECT" } else { "buffered: the file system does not take O_DIRECT" };
        tracing::info!(mode, "segments are written");
        Ok(Self { dir: dir.to_path_buf(), direct, _lock: lock })
    }

    /// Opens a segment twice: past the page cache, and for short reads through it.
    fn open_segment(&self, name: &str, new: bool) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(name);
        let direct = segment_options(self.direct).create_new(new).open(&path)?;
        let cached = File::open(&path)?;
        fadvise(&cached, 0, None, Advice::Random)?; // a cached page beside what was asked for is of no use
        Ok(Arc::new(Segment { direct, cached }))
    }
}

/// Both descriptors are of one file, and the kernel drops from the page cache what is written past it.
#[derive(Debug)]
struct Segment {
    direct: File,
    cached: File,
}

fn segment_options(direct: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if direct {
        options.custom_flags(i32::try_from(OFlags::DIRECT.bits()).unwrap_or(0));
    }
    options
}

fn takes_direct(probe: &Path) -> bool {
    let attempt = || {
        let file = segment_options(true).create(true).truncate(true).open(probe)?;
        let mut page = Aligned::new(PAGE);
        file.write_all_at(page.as_slice(), 0)?;
        file.read_exact_at(page.as_mut_slice(), 0)
    };
    let outcome: io::Result<()> = attempt();
    let _ = std::fs::remove_file(probe); // left over at worst: an empty page, overwritten at the next start
    outcome.is_ok()
}

fn take_lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("lock");
    let io_at = |source| StoreError::Io { path: path.clone(), source };
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io_at)?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(io_at(error.into()));
        }
        let mut holder = String::new();
        let _ = Read::take(&mut file, 32).read_to_string(&mut holder); // only for the message
        return Err(StoreError::InUse { path: dir.to_path_buf(), holder: holder.trim().to_owned() });
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io_at)?;
    Ok(file)
}

impl Disk for RealDisk {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_segment(name, true)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_segment(name, false)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(self.path(folder))?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.path(folder))?.sync_all()
    }

    fn read(&self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(limit as u64).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Ok(Space { free: bytes(stat.f_bavail), total: bytes(stat.f_blocks) })
    }
}

impl DiskFile for Segment {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.direct.read_exact_at(bytes, offset)
    }

    fn read_cached_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.cached.read_exact_at(bytes, offset)
    }

    fn read_at_once(&self, bytes: &mut [u8], offset: u64) -> bool {
        let wanted = bytes.len();
        let read = preadv2(&self.cached, &mut [IoSliceMut::new(bytes)], offset, ReadWriteFlags::NOWAIT);
        read == Ok(wanted) // what else it says, also that the file system knows no such reads, the other way to read says better
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.direct.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.direct.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.direct.metadata()?.len())
    }

    fn allocated(&self) -> io::Result<u64> {
        let about = self.direct.metadata()?;
        Ok(about.blocks().saturating_mul(512).min(about.len())) // some file systems set more aside for what may be appended
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        match rustix::fs::fallocate(&self.direct, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) => Ok(true),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_written_with_and_without_o_direct() {
        for direct in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let mut disk = RealDisk::open(dir.path()).unwrap();
            disk.direct &= direct; // where the file system does not take it, it is buffered twice
            let file = disk.create("segments/1").unwrap();
            let mut page = Aligned::new(2 * PAGE);
            page.as_mut_slice().fill(7);
            file.write_at(page.as_slice(), PAGE as u64).unwrap();
            file.sync().unwrap();
            assert_eq!(file.len().unwrap(), 3 * PAGE as u64);
            page.as_mut_slice().fill(0);
            disk.open("segments/1").unwrap().read_at(page.as_mut_slice(), PAGE as u64).unwrap();
            assert!(page.as_slice().iter().all(|byte| *byte == 7));
            // What is in the page cache is never older than what was written past it.
            for content in [8, 9] {
                page.as_mut_slice().fill(content);
                file.write_at(page.as_slice(), PAGE as u64).unwrap();
                let mut read = [0; 100];
                if file.read_at_once(&mut read, PAGE as u64 + 50) {
                    assert_eq!(read, [content; 100]);
                }
                file.read_cached_at(&mut read, PAGE as u64 + 50).unwrap();
                assert_eq!(read, [content; 100]);
                if file.read_at_once(&mut read, PAGE as u64 + 20) {
                    assert_eq!(read, [content; 100]);
                }
            }
            assert_eq!(file.allocated().unwrap(), 2 * PAGE as u64, "the first page was never written");
            if file.punch(PAGE as u64, PAGE as u64).unwrap() {
                assert_eq!(file.len().unwrap(), 3 * PAGE as u64);
                assert_eq!(file.allocated().unwrap(), PAGE as u64);
                file.read_at(page.as_mut_slice(), PAGE as u64).unwrap();
                assert!(page.as_slice()[..PAGE].iter().all(|byte| *byte == 0));
                assert!(page.as_slice()[PAGE..].iter().all(|byte| *byte == 9));
            }
            assert_eq!(disk.list(SEGMENTS).unwrap(), ["1"]);
            assert!(disk.create("segments/1").is_err(), "never over one that is there");
            assert!(disk.read("probe", 1).unwrap().is_none(), "the probe is gone");
        }
    }
}
