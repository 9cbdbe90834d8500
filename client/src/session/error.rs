//! Error: why there is no session, or no answer.

use std::path::PathBuf;
use std::time::Duration;

use common::id::{ClusterId, NodeId, PeerId};
use common::identity::{CertificateError, TrustError};
use common::transport::{BindError, CallError};

use super::map::MapError;
use crate::keystore::HomeError;
use crate::seal::IntegrityError;

/// What can be wrong with the way to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("{} is damaged; restore it, or join again with another home and the recovery phrase", path.display())]
    Key {
        path: PathBuf,
        #[source]
        source: CertificateError,
    },
    #[error(
        "a certificate or key in this device's home is damaged (ca.der, device.crt, device.key); restore them, or join again with \
         another home and the recovery phrase"
    )]
    Trust(#[from] TrustError),
    #[error("no connection can be made from this machine")]
    Bind(#[from] BindError),
    #[error("the directory cannot be reached at {addresses}; tried for {after:?}")]
    Unreachable {
        addresses: String,
        after: Duration,
        #[source]
        source: CallError,
    },
    #[error("the directory did not answer {request}")]
    Directory {
        request: &'static str,
        #[source]
        source: CallError,
    },
    #[error("the directory is of cluster {found}, and this device of {expected}")]
    OtherCluster { expected: ClusterId, found: ClusterId },
    #[error("the directory knows this device under another account")]
    OtherAccount,
    #[error("this account is used with another master key than this device's")]
    OtherKey,
    #[error(
        "the directory is of generation {given}, and this device has seen {known}: it was restored from an old copy and has \
         forgotten what came after"
    )]
    OldGeneration { given: u64, known: u64 },
    #[error("the directory's cluster map cannot be believed")]
    Map(#[from] MapError),
    #[error("peer {} is not in the cluster map", peer.short())]
    UnknownPeer { peer: PeerId },
    #[error("what the directory keeps for this account cannot be opened")]
    Integrity(#[from] IntegrityError),
    #[error("folder {} is none that was found below what is shared", node.short())]
    NoKey { node: NodeId },
    /// A bug of ours.
    #[error("the program failed: {what}")]
    Misused { what: &'static str },
}

impl SessionError {
    /// The directory's own word, when it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<&common::proto::Refusal> {
        match self {
            Self::Directory { source: CallError::Refused(refusal), .. } => Some(refusal),
            _ => None,
        }
    }
}
