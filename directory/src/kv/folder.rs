//! Folder: what lies beside the journal and the index in the data folder: the lock, the format, the state.
//!
//! The state says whether the index can be trusted: after a clean end it was synced; after a kill the kernel still has what
//! was written; but when the machine was booted in between, pages may be missing that nobody notices.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use common::id::ClusterId;
use rustix::fs::{FlockOperation, flock};

use super::journal::{Chain, Position};
use super::open::OpenError;

/// The version of the data folder that this program writes, and the newest that it opens.
pub const FORMAT: u32 = 1;
const FORMAT_TITLE: &str = "shoal directory store";
const TEXT_BYTES: u64 = 4_096;
const BROKEN: &str = "index.broken-";

pub(crate) fn io_at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path, source }
}

/// Held for as long as the store is open; the kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io_at(&path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = file.take(20).read_to_string(&mut pid);
            return Err(OpenError::InUse { path: dir.to_owned(), pid: pid.trim().to_owned() });
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io_at(&path))?;
        Ok(Self { _file: file })
    }
}

/// Refuses a folder of a newer format or of another cluster; marks a new one as ours.
pub(crate) fn check_format(dir: &Path, cluster: ClusterId) -> Result<(), OpenError> {
    let Some(text) = read_text(&dir.join("format"))? else {
        let text = format!("{FORMAT_TITLE}\nformat {FORMAT}\ncluster {cluster}\n");
        return write_durably(dir, "format", text.as_bytes());
    };
    let malformed = || OpenError::Malformed { path: dir.join("format") };
    let mut lines = text.lines();
    if lines.next() != Some(FORMAT_TITLE) {
        return Err(malformed());
    }
    let found = lines.next().and_then(|line| line.strip_prefix("format ")?.parse().ok()).ok_or_else(malformed)?;
    if found > FORMAT {
        return Err(OpenError::Newer { path: dir.to_owned(), found, known: FORMAT });
    }
    let owner = lines.next().and_then(|line| line.strip_prefix("cluster ")?.parse().ok()).ok_or_else(malformed)?;
    if owner != cluster {
        return Err(OpenError::Foreign { path: dir.to_owned(), found: owner, expected: cluster });
    }
    if found == FORMAT { Ok(()) } else { Err(malformed()) }
}

/// How the last run stands or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// `None`: ended cleanly, the index is synced. Else the boot of the machine in which it runs or was killed.
    pub(crate) running: Option<String>,
    /// At least so far the journal reached when this was written.
    pub(crate) last: Position,
}

impl State {
    /// `None` when there is none, or not a whole one.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>, OpenError> {
        Ok(read_text(&dir.join("state"))?.and_then(|text| Self::parse(&text)))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let running = match words.next()? {
            "clean" => None,
            "running" => Some(words.next()?.to_owned()),
            _ => return None,
        };
        let last = Position { sequence: words.next()?.parse().ok()?, chain: Chain::parse(words.next()?)? };
        words.next().is_none().then_some(Self { running, last })
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), OpenError> {
        let Position { sequence, chain } = self.last;
        let text = match &self.running {
            None => format!("clean {sequence} {chain}\n"),
            Some(boot) => format!("running {boot} {sequence} {chain}\n"),
        };
        write_durably(dir, "state", text.as_bytes())
    }
}

/// What the kernel calls this boot of the machine; without an answer no index of an unclean end is trusted.
pub(crate) fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty() && !id.contains(char::is_whitespace))
}

/// Moves a useless index out of the way, and removes the one that was set aside before.
pub(crate) fn set_aside(dir: &Path, index: &Path) -> Result<PathBuf, OpenError> {
    let mut number = 0_u64;
    for item in fs::read_dir(dir).map_err(io_at(dir))? {
        let item = item.map_err(io_at(dir))?;
        let name = item.file_name();
        let Some(given) = name.to_str().and_then(|name| name.strip_prefix(BROKEN)) else { continue };
        number = number.max(given.parse().unwrap_or(0));
        let old = item.path();
        let removed = if old.is_dir() { fs::remove_dir_all(&old) } else { fs::remove_file(&old) };
        removed.map_err(io_at(&old))?;
    }
    let aside = dir.join(format!("{BROKEN}{}", number.saturating_add(1)));
    fs::rename(index, &aside).map_err(io_at(index))?;
    sync_folder(dir)?;
    Ok(aside)
}

/// Makes a new folder and its name durable.
pub(crate) fn make(path: &Path) -> Result<(), OpenError> {
    fs::create_dir_all(path).map_err(io_at(path))?;
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder)
}

/// Makes every file in a folder durable, and the folders above them.
pub(crate) fn sync_all(path: &Path) -> Result<(), OpenError> {
    for item in fs::read_dir(path).map_err(io_at(path))? {
        let item = item.map_err(io_at(path))?.path();
        if item.is_dir() {
            sync_all(&item)?;
        } else {
            File::open(&item).and_then(|file| file.sync_all()).map_err(io_at(&item))?;
        }
    }
    sync_folder(path)
}

fn sync_folder(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_at(path))
}

fn read_text(path: &Path) -> Result<Option<String>, OpenError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES).read_to_end(&mut bytes).map_err(io_at(path))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The whole new content or the whole old one, whatever happens in between.
fn write_durably(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), OpenError> {
    let path = dir.join(name);
    let temporary = dir.join(format!("{name}.new"));
    File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(io_at(&path))?;
    sync_folder(dir)
}
