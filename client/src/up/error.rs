//! What can go wrong on the way up.

use std::sync::Arc;

use common::erasure::ErasureError;
use common::id::ChunkId;
use common::proto::Refusal;
use common::redundancy::Redundancy;

use crate::local::LocalError;
use crate::manifest::WriteError;
use crate::pack::PackError;
use crate::seal::IntegrityError;
use crate::seal::aead::SealError;
use crate::session::SessionError;

#[derive(Debug, Clone, thiserror::Error)]
pub enum UpError {
    #[error("interrupted")]
    Interrupted,
    /// The source, or the disk that it is on.
    #[error(transparent)]
    Local(Arc<LocalError>),
    #[error("cannot read the source")]
    Read(#[source] Arc<std::io::Error>),
    #[error(transparent)]
    Session(Arc<SessionError>),
    #[error(
        "only {durable} of {} shards of a chunk could be stored, and {} are needed{}", redundancy.n(), redundancy.enough(),
        reasons(why)
    )]
    TooFewPeers {
        chunk: ChunkId,
        durable: usize,
        redundancy: Redundancy,
        /// For each peer that failed, its id in short and the reason.
        why: Vec<String>,
    },
    #[error("a folder is under that name now")]
    FolderThere,
    #[error("others keep changing it; try again")]
    Contended,
    #[error("the directory refused the file: {0}")]
    Refused(Refusal),
    #[error("what the directory returned is not what was stored there")]
    Integrity(#[source] Arc<IntegrityError>),
    #[error("its metadata cannot be sealed")]
    Seal(#[source] Arc<SealError>),
    #[error("its manifest cannot be written")]
    Manifest(#[source] Arc<WriteError>),
    #[error("it cannot be packed")]
    Pack(#[source] Arc<PackError>),
    #[error("a chunk cannot be split into shards")]
    Erasure(#[source] ErasureError),
    /// A task of ours panicked.
    #[error("the program failed: {0}")]
    Bug(String),
}

fn reasons(why: &[String]) -> String {
    if why.is_empty() { "; no other peer takes shards".to_owned() } else { format!(": {}", why.join("; ")) }
}

impl UpError {
    /// Whether other files may still succeed.
    #[must_use]
    pub fn is_of_one_file(&self) -> bool {
        match self {
            Self::Local(_)
            | Self::Read(_)
            | Self::FolderThere
            | Self::Contended
            | Self::Refused(_)
            | Self::Integrity(_)
            | Self::Seal(_)
            | Self::Manifest(_)
            | Self::Pack(_) => true,
            Self::Interrupted | Self::Session(_) | Self::TooFewPeers { .. } | Self::Erasure(_) | Self::Bug(_) => false,
        }
    }
}

macro_rules! shared {
    ($($source:ty => $variant:ident;)*) => {$(
        impl From<$source> for UpError {
            fn from(error: $source) -> Self {
                Self::$variant(Arc::new(error))
            }
        }
    )*};
}

shared! {
    LocalError => Local;
    SessionError => Session;
    IntegrityError => Integrity;
    SealError => Seal;
    WriteError => Manifest;
    PackError => Pack;
}

impl From<ErasureError> for UpError {
    fn from(error: ErasureError) -> Self {
        Self::Erasure(error)
    }
}
