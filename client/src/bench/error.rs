//! Error: why a benchmark ended without its figures.

use std::io;
use std::path::{Path, PathBuf};

use common::size::ByteSize;
use common::transport::raw::RawError;

use crate::cancel::Interrupted;
use crate::down::DownError;
use crate::folder::FolderError;
use crate::names::PathError;
use crate::session::SessionError;
use crate::session::enroll::EnrollError;

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The command line asks for what cannot be.
    #[error("{what}")]
    Nonsense { what: String },
    #[error("{name} is neither in {} nor in a folder of PATH", beside.display())]
    NoProgram { name: &'static str, beside: PathBuf },
    #[error("{} has {free} free, and this takes about {needed}", folder.display())]
    NoRoom { folder: PathBuf, free: ByteSize, needed: ByteSize },
    #[error("cannot {action} {}", path.display())]
    Disk {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot run {name}")]
    Run {
        name: String,
        #[source]
        source: io::Error,
    },
    /// A server that does not serve, or a command that fails; with what it said.
    #[error("{what} failed{}: {said}", code.map(|code| format!(" with code {code}")).unwrap_or_default())]
    Failed { what: String, code: Option<i32>, said: String },
    #[error("{name} is not ready after {seconds} seconds; it said: {said}")]
    NotReady { name: String, seconds: u64, said: String },
    #[error("{what} is not what was stored")]
    Differs { what: String },
    #[error("the way to compare with, raw QUIC on loopback, failed")]
    Raw(#[from] RawError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Down(#[from] DownError),
    #[error("a device could not join")]
    Enroll(#[from] EnrollError),
    #[error("a device's request failed: {said}")]
    Request { said: String },
    #[error("this is a bug in the benchmark: {what}")]
    Bug { what: String },
}

impl BenchError {
    /// Makes the error of a disk operation.
    pub(super) fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { action, path: path.to_owned(), source }
    }

    pub(super) fn bug(what: impl ToString) -> Self {
        Self::Bug { what: what.to_string() }
    }

    pub(super) fn request(error: impl std::error::Error + 'static) -> Self {
        Self::Request { said: common::telemetry::chain(&error) }
    }
}
