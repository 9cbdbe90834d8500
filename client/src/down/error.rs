//! What can go wrong on the way down.

use std::sync::Arc;

use common::id::{ChunkId, VersionId};

use crate::local::LocalError;
use crate::seal::IntegrityError;
use crate::session::SessionError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum DownError {
    #[error("interrupted")]
    Interrupted,
    /// The destination, or the disk that it is on.
    #[error(transparent)]
    Local(Arc<LocalError>),
    #[error("cannot write the output")]
    Write(#[source] Arc<std::io::Error>),
    #[error(transparent)]
    Session(Arc<SessionError>),
    #[error("the directory does not have this version any more")]
    Gone { version: VersionId },
    #[error("the directory does not know where chunk {} is", chunk.short())]
    Unplaced { chunk: ChunkId },
    #[error("of chunk {} only {have} good shards can be had, and {need} are needed: {}", chunk.short(), why.join("; "))]
    TooFewShards {
        chunk: ChunkId,
        have: usize,
        need: usize,
        /// For each peer that failed, its id in short and the reason.
        why: Vec<String>,
    },
    #[error("what arrived is not what was stored")]
    Integrity(#[source] Arc<IntegrityError>),
    /// A task of ours panicked.
    #[error("the program failed: {0}")]
    Bug(String),
}

impl DownError {
    /// Whether other files may still succeed.
    #[must_use]
    pub fn is_of_one_file(&self) -> bool {
        match self {
            Self::Local(_)
            | Self::Gone { .. }
            | Self::Unplaced { .. }
            | Self::TooFewShards { .. }
            | Self::Integrity(_) => true,
            Self::Interrupted | Self::Write(_) | Self::Session(_) | Self::Bug(_) => false,
        }
    }
}

impl From<LocalError> for DownError {
    fn from(error: LocalError) -> Self {
        Self::Local(Arc::new(error))
    }
}

impl From<SessionError> for DownError {
    fn from(error: SessionError) -> Self {
        Self::Session(Arc::new(error))
    }
}

impl From<IntegrityError> for DownError {
    fn from(error: IntegrityError) -> Self {
        Self::Integrity(Arc::new(error))
    }
}
