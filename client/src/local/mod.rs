//! Local: the side of a transfer that lies in this machine's file system.
//!
//! In reading order: [`walk`] (what lies there), [`read`] (content that must hold still while it is read), [`write`] (content that
//! appears whole or not at all), `unnamed` (how it does where that is possible), [`partial`] (what an interrupted one leaves), [`place`] (folders and links). Everything here blocks: call it off the async threads.

use std::path::{Path, PathBuf};

pub(crate) mod direct;
pub mod partial;
pub mod place;
pub mod read;
mod unnamed;
pub mod walk;
pub mod write;

/// What is wrong with a local file or folder.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("no space left for {}", path.display())]
    DiskFull {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} changed while it was read ({what})", path.display())]
    Changed { path: PathBuf, what: &'static str },
    #[error("{} is a folder", path.display())]
    IsAFolder { path: PathBuf },
    #[error("{} is not a folder", path.display())]
    NotAFolder { path: PathBuf },
    #[error("{} is a {kind}, which cannot be stored", path.display())]
    Special { path: PathBuf, kind: &'static str },
    #[error("folder {} does not exist", path.display())]
    NoFolder { path: PathBuf },
}

impl LocalError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path: path.to_owned(), source }
            }
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }

    /// Whether the thing asked for is simply not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}
