//! Folder: the account's tree as the client sees it: opened names over sealed entries.
//!
//! In reading order: [`entry`] (one opened entry), [`resolve`] (from a path to entries, in one request), [`list`] (page by page),
//! [`destination`] (what DEST means), [`change`] (make, move, remove), [`apply`] (the same for entries at hand), [`copy`] (new versions of
//! content that is there already), [`redundancy`] (how safely it is kept), [`snapshot`] (pinned points of history), [`prune`] (ends of it).
//!
//! Guarantees: what the directory shows is opened and checked to belong exactly where it was asked for, so entries that were
//! swapped, renamed or moved by a hostile directory are an error and never an answer.

pub mod apply;
pub mod change;
pub mod copy;
pub mod destination;
pub mod entry;
pub mod list;
pub mod prune;
pub mod redundancy;
pub mod resolve;
pub mod snapshot;

use common::proto::Refusal;

use crate::names::PathError;
use crate::seal::IntegrityError;
use crate::seal::aead::SealError;
use crate::session::SessionError;

pub use common::id::NodeId;

pub use change::{make, make_folders, remove, rename};
pub use copy::copy;
pub use entry::{Entry, FileVersion, What};
pub use list::Listing;
pub use resolve::{Resolved, resolve, resolve_at, resolve_to_read};

use destination::Nowhere;

/// What can be wrong with a path in the tree.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("no such file or folder: {path}; there is {nearest}")]
    NotFound { path: String, nearest: String },
    #[error("{path} is a file, not a folder")]
    NotAFolder { path: String },
    #[error("{path} is a folder")]
    IsAFolder { path: String },
    #[error("{path} is a folder, not a file")]
    NotAFile { path: String },
    #[error("{path} is a symbolic link")]
    IsALink { path: String },
    #[error("{path} exists already")]
    Exists { path: String },
    #[error("the root folder cannot be {what}")]
    Root { what: &'static str },
    #[error("{from} and {to} are the same")]
    Same { from: String, to: String },
    #[error("{from} cannot go into itself, to {to}")]
    IntoItself { from: String, to: String },
    #[error("cannot write to {path}: {why}")]
    Destination { path: String, why: Nowhere },
    #[error("{path} was changed by somebody else in the meantime")]
    Changed { path: String },
    #[error("{path} was refused")]
    Refused {
        path: String,
        #[source]
        source: Refusal,
    },
    #[error("the content of {path} is not held by the directory any more")]
    ContentGone { path: String },
    #[error("what the directory says of {what} cannot be believed")]
    Integrity {
        what: &'static str,
        #[source]
        source: IntegrityError,
    },
    #[error("the directory's answer contradicts itself: {what}")]
    Misbehaved { what: &'static str },
    #[error("cannot seal a name or metadata")]
    Seal(#[from] SealError),
    #[error("cannot write a manifest")]
    Manifest(#[from] crate::manifest::WriteError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Interrupted(#[from] crate::cancel::Interrupted),
}

impl FolderError {
    /// Makes a refusal that is about `path` say so.
    fn about(path: &impl ToString) -> impl FnOnce(SessionError) -> Self {
        let path = path.to_string();
        move |error| match error.refusal() {
            Some(Refusal::Conflict) => Self::Changed { path },
            Some(Refusal::Exists(_)) => Self::Exists { path },
            Some(Refusal::NotAFolder) => Self::NotAFolder { path },
            Some(Refusal::IsAFolder) => Self::IsAFolder { path },
            Some(Refusal::NotFound(_)) => Self::Changed { path },
            _ => Self::Session(error),
        }
    }
}
