//! Share: handing on one file or folder, to read and nothing else.
//!
//! In reading order: [`link`] (the one line with all that a reader needs), [`make`] (the account that shares), [`open`] (whoever has the
//! link). A link carries two things of different kinds: a secret by which the directory knows that its holder may ask, and the key
//! that reads. The directory gets a verifier of the first, and nothing of the second.
//!
//! Guarantees: a link of a file opens that file, of a version that version, of a folder what is in it and below, as it is when it is
//! read. What comes is opened and checked as the account's own devices would.
//!
//! Non-goals: taking back what was read; keeping a holder from handing the link on.

pub mod link;
pub mod make;
pub mod open;

pub use link::{Link, LinkError, Reads};
pub(crate) use make::reseal_path;
pub use make::{Shared, Wanted, list, revoke, share};
pub use open::open;

use common::proto::Refusal;

use crate::folder::FolderError;
use crate::session::SessionError;

/// What can be wrong with sharing, or with reading what is shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    #[error("a folder is shared as it is, and has no versions")]
    FolderVersion,
    #[error("no share {text}")]
    NoSuchShare { text: String },
    #[error("{text} is how {count} shares begin")]
    Ambiguous { text: String, count: usize },
    #[error("the link is for devices that have joined cluster {cluster}, and this one has not")]
    ForMembers { cluster: String },
    #[error("the directory says that the link is of something else")]
    Misbehaved,
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl ShareError {
    /// The directory's own word, when it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Session(error) | Self::Folder(FolderError::Session(error)) => error.refusal(),
            _ => None,
        }
    }
}
