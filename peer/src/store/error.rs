//! Error: what can go wrong in the store, split by whose fault it is.

use std::io;
use std::path::PathBuf;

use common::address::ShardAddress;
use common::size::ByteSize;

/// Whether and where trying again makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// This peer may succeed later.
    Later,
    /// Another peer should be asked.
    Elsewhere,
}

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    // The caller's fault.
    #[error("no shard {address} of this account is here")]
    NotFound { address: ShardAddress },
    #[error("the shard's bytes have the address {found}, not {expected}")]
    AddressMismatch { expected: ShardAddress, found: ShardAddress },
    #[error("{wanted} bytes are more than the {limit} that fit here")]
    TooLong { wanted: usize, limit: usize },
    #[error("{announced} bytes were announced and {got} came")]
    Incomplete { announced: usize, got: usize },
    #[error("bytes {offset}..{offset}+{len} are outside of a shard of {shard} bytes")]
    OutOfRange { offset: u64, len: u64, shard: u64 },
    #[error("shard {index} is none of a redundancy of {n} shards")]
    NoSuchIndex { index: u8, n: usize },

    // This peer's disk.
    #[error("the store is full: {} free, {} wanted", ByteSize(*.free), ByteSize(*.wanted))]
    Full { free: u64, wanted: u64 },
    #[error("shard {address} is in quarantine: its bytes no longer have this address")]
    Quarantined { address: ShardAddress },
    #[error("{}: input or output failed", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the store takes no writes any more: a sync of {} failed; check the disk, then restart", path.display())]
    Poisoned { path: PathBuf },

    // The data folder.
    #[error("the data folder {} is in use by process {holder}", path.display())]
    InUse { path: PathBuf, holder: String },
    #[error("{} has format {found}; this program knows formats up to {known}: use a newer program", path.display())]
    NewerFormat { path: PathBuf, found: u16, known: u16 },
    #[error("the store in {} belongs to another cluster or peer", path.display())]
    Foreign { path: PathBuf },
    #[error("{} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: &'static str },

    // Ours.
    #[error("a thread of the store ended before its work was done")]
    Stopped,
}

impl StoreError {
    /// Whether and where to try again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::AddressMismatch { .. }
            | Self::TooLong { .. }
            | Self::Incomplete { .. }
            | Self::OutOfRange { .. }
            | Self::NoSuchIndex { .. }
            | Self::NewerFormat { .. }
            | Self::Foreign { .. } => Retry::Never,
            Self::InUse { .. } | Self::Stopped => Retry::Later,
            Self::NotFound { .. }
            | Self::Full { .. }
            | Self::Quarantined { .. }
            | Self::Io { .. }
            | Self::Poisoned { .. }
            | Self::Damaged { .. } => Retry::Elsewhere,
        }
    }
}
