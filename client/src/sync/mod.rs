//! Sync: one folder becomes like another, between this machine and the tree.
//!
//! In reading order: [`exclude`] (what is left alone), [`compare`] (what differs), [`moves`] (what has only moved), [`push`] (from
//! here into the tree), [`pull`] (from the tree to here), [`deletion`] (what goes at the end), [`watch`] (what has changed since).
//!
//! Both sides are walked together, folder by folder, and merged by name: memory goes with the largest folder and with
//! [`REMEMBERED`], not with the tree. What is alike in size, time and mode is not read, on neither side.
//!
//! Guarantees: nothing outside DEST is touched; what is excluded is neither brought nor removed; nothing is removed below a folder
//! of SRC that could not be read, nor when SRC is empty, nor before everything else was brought; a dry run goes the same way and does nothing, so it names the
//! very steps.
//!
//! Non-goals: merging what has changed on both sides. SRC is right; in the tree history keeps what was there, on this machine nothing does.

mod changes;
pub mod compare;
pub mod deletion;
pub mod exclude;
pub mod moves;
pub mod pull;
pub mod push;
mod tree;
pub mod watch;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cancel::Cancel;
use crate::down::DownError;
use crate::down::compare::Comparer;
use crate::folder::FolderError;
use crate::local::LocalError;
use crate::names::{Name, NameError, PathError, Shown};
use crate::session::Session;

pub use exclude::Excludes;

/// New files that wait to be recognised as moved, files that are gone and may turn up elsewhere, and things to be removed at the end: so
/// many of each are remembered. Beyond that new files are sent as new, and what is left to remove is found by walking once more.
pub const REMEMBERED: usize = 1 << 16;

/// How a sync is done.
#[derive(Debug, Clone, Default)]
pub struct SyncOptions {
    /// What SRC does not have is removed from DEST.
    pub delete: bool,
    /// Nothing is done, and everything told.
    pub dry_run: bool,
    /// Files of the same size are compared by their content, whatever their times say.
    pub checksum: bool,
    pub excludes: Excludes,
}

/// A path below SRC and DEST: names with slashes between them, none for the folders themselves.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Below(Vec<u8>);

impl Below {
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut path = self.0.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path)
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Its names.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn names(&self) -> Result<Vec<Name>, NameError> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(Name::new).collect()
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(".") } else { Shown(&self.0).fmt(f) }
    }
}

/// Paths are secrets towards everything but the user's own terminal.
impl fmt::Debug for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Below({} bytes)", self.0.len())
    }
}

/// One step of a sync, in DEST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A folder is made.
    Folder(Below),
    /// A file's content is brought, or at least its new time and mode.
    File(Below),
    Link(Below),
    /// A file that was elsewhere.
    Move {
        from: Below,
        to: Below,
    },
    /// A folder gets another mode or time.
    Attributes(Below),
    /// A file, or a folder with all that is in it.
    Delete(Below),
}

/// What became of a sync.
#[derive(Debug, Default)]
pub struct Counts {
    pub unchanged: AtomicU64,
    pub folders: AtomicU64,
    pub files: AtomicU64,
    pub moved: AtomicU64,
    pub deleted: AtomicU64,
    pub attributes: AtomicU64,
}

impl Counts {
    pub(crate) fn count(&self, action: &Action) {
        let counter = match action {
            Action::Folder(_) => &self.folders,
            Action::File(_) | Action::Link(_) => &self.files,
            Action::Move { .. } => &self.moved,
            Action::Attributes(_) => &self.attributes,
            Action::Delete(_) => &self.deleted,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn alike(&self) {
        self.unchanged.fetch_add(1, Ordering::Relaxed);
    }
}

/// Told how a sync goes. Calls must be quick.
pub trait Told: Send + Sync {
    /// A step that is about to be done, or would be.
    fn action(&self, action: &Action);
    /// One thing failed; the rest goes on.
    fn failed(&self, shown: &str, error: &(dyn std::error::Error + 'static));
    fn note(&self, text: &str);
    /// So many more bytes will be brought.
    fn expect(&self, bytes: u64);
    /// A link or a moved file is in its place.
    fn placed(&self, shown: &str);
}

/// What every walk needs.
#[derive(Clone)]
pub struct Tools {
    pub session: Session,
    pub options: Arc<SyncOptions>,
    pub told: Arc<dyn Told>,
    pub counts: Arc<Counts>,
    pub comparer: Comparer,
    pub cancel: Cancel,
}

/// What is wrong with a sync as a whole, or with one thing in it.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    #[error("interrupted")]
    Interrupted,
    #[error("{path} is a {there} in DEST and a {wanted} in SRC")]
    InTheWay { path: String, there: &'static str, wanted: &'static str },
    #[error("{path} is not a folder, and sync is about folders")]
    NotAFolder { path: String },
    #[error("{glob} cannot be left out: {why}")]
    Glob { glob: String, why: String },
    #[error("both sides are on this machine")]
    BothLocal,
    #[error("both sides are in the cluster")]
    BothRemote,
    #[error("{path} is no path in the cluster")]
    Side {
        path: String,
        #[source]
        source: PathError,
    },
    #[error("SRC is empty, so nothing was removed: a disk that is not mounted looks like that")]
    EmptySource,
    #[error("nothing was removed, since {failed} could not be brought")]
    KeptAll { failed: u64 },
    #[error("cannot watch {path}")]
    Watch {
        path: String,
        #[source]
        source: notify::Error,
    },
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Down(#[from] DownError),
    /// A task of ours panicked.
    #[error("the program failed: {0}")]
    Bug(String),
}

impl SyncError {
    /// Whether nothing else will succeed either.
    #[must_use]
    pub fn is_of_all(&self) -> bool {
        match self {
            Self::Interrupted | Self::Bug(_) | Self::Folder(FolderError::Session(_) | FolderError::Interrupted(_)) => {
                true
            }
            Self::Down(error) => !error.is_of_one_file(),
            _ => false,
        }
    }
}

impl Tools {
    fn act(&self, action: &Action) {
        self.counts.count(action);
        self.told.action(action);
    }

    fn fail(&self, below: &Below, error: &(dyn std::error::Error + 'static)) {
        self.told.failed(&below.to_string(), error);
    }
}

impl From<crate::session::SessionError> for SyncError {
    fn from(error: crate::session::SessionError) -> Self {
        Self::Folder(error.into())
    }
}

/// Runs what blocks on a thread of its own.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SyncError> {
    tokio::task::spawn_blocking(work).await.map_err(|panic| SyncError::Bug(panic.to_string()))
}
