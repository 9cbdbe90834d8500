//! What ends a rewriting of packs. Whatever it was, nothing is lost by it.

use std::sync::Arc;

use crate::cancel::Interrupted;
use crate::down::DownError;
use crate::manifest::WriteError;
use crate::seal::IntegrityError;
use crate::seal::aead::SealError;
use crate::session::SessionError;
use crate::up::UpError;

#[derive(Debug, thiserror::Error)]
pub enum RepackError {
    #[error("not all packs were looked at")]
    Interrupted(#[from] Interrupted),
    #[error("the directory cannot be asked")]
    Session(#[from] SessionError),
    #[error("what is still wanted of a pack cannot be read")]
    Read(#[from] DownError),
    #[error("a new pack cannot be stored")]
    Store(#[from] UpError),
    #[error("what the directory returned is not what was stored there")]
    Integrity(#[from] IntegrityError),
    #[error("a page cannot be written")]
    Page(#[from] WriteError),
    #[error("a page cannot be sealed")]
    Seal(#[from] SealError),
    #[error("the directory misbehaved: {what}")]
    Misbehaved { what: &'static str },
    #[error("a task panicked: {0}")]
    Bug(Arc<str>),
}
