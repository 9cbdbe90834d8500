//! Refusal: why a server did not do what it was asked. Facts, not sentences from the other side.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Whether asking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request will be refused again.
    Never,
    /// The same request to the same server may succeed after a pause.
    Later,
    /// Another peer may do it.
    Elsewhere,
}

/// A typed refusal. Variants are append-only: their order is their number on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// 0
    #[error("the request could not be understood; the two programs may be of different versions")]
    Malformed,
    /// 1
    #[error("an identity of this role may not make this request")]
    WrongRole,
    /// 2
    #[error("this identity has been revoked")]
    Revoked,
    /// 3
    #[error("not this account's")]
    Forbidden,
    /// 4
    #[error("no such {0}")]
    NotFound(What),
    /// 5
    #[error("the {0} exists already")]
    Exists(What),
    /// 6
    #[error("the folder is not empty")]
    NotEmpty,
    /// 7
    #[error("not a folder")]
    NotAFolder,
    /// 8
    #[error("is a folder")]
    IsAFolder,
    /// 9
    #[error("a folder cannot be moved into itself")]
    Cycle,
    /// 10: what the caller saw is not what is there any more
    #[error("it was changed by somebody else in the meantime")]
    Conflict,
    /// 11
    #[error("{0} is over its limit")]
    TooLarge(What),
    /// 12
    #[error("the grant is not valid here: {0}")]
    Grant(GrantFault),
    /// 13
    #[error("no space left: {free} bytes free")]
    Full { free: u64 },
    /// 14
    #[error("the store takes no writes until the program is restarted")]
    ReadOnly,
    /// 15
    #[error("{0}")]
    Ticket(TicketFault),
    /// 16
    #[error("too busy")]
    Busy,
    /// 17: a bug or a broken disk on the server, whose log says more
    #[error("the server failed; its log says why")]
    Internal,
    /// 18
    #[error("this account is used with another master key")]
    OtherKey,
    /// 19
    #[error("the upload expired or was abandoned")]
    UploadGone,
    /// 20
    #[error("a chunk is not held by this upload")]
    NotHeld,
    /// 21
    #[error("the bytes do not match their address")]
    AddressMismatch,
    /// 22
    #[error("the shard is damaged and has been put aside")]
    Quarantined,
    /// 23
    #[error("the directory's generation {given} is older than {known}, which was seen before")]
    OldGeneration { given: u64, known: u64 },
    /// 24
    #[error("of another cluster")]
    OtherCluster,
    /// 25
    #[error("{0} shards are still registered with this peer")]
    StillHolds(u64),
    /// 26: a restored copy of the directory's store may delete nothing
    #[error("this directory was restored from an old copy and is not reconciled yet")]
    Fenced,
    /// 27: too few of a chunk's shards could be read
    #[error("{have} shards could be read and {need} are needed")]
    TooFewShards { have: u8, need: u8 },
    /// 28: an account may not use more
    #[error("the account's quota of {what} is reached: {used} of {allowed} are used")]
    OverQuota { what: Measure, used: u64, allowed: u64 },
    /// 29
    #[error("this cluster has no policy of its own")]
    NoPolicy,
    /// 30
    #[error("{0}")]
    Share(ShareFault),
}

/// What a quota bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    Bytes,
    Files,
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Bytes => "bytes",
            Self::Files => "versions of files",
        })
    }
}

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    Account,
    Device,
    Peer,
    Folder,
    Entry,
    Node,
    Version,
    Chunk,
    Shard,
    Upload,
    Page,
    Request,
    Address,
    Body,
    Cluster,
    Snapshot,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Account => "account",
            Self::Device => "device",
            Self::Peer => "peer",
            Self::Folder => "folder",
            Self::Entry => "entry",
            Self::Node => "file or folder",
            Self::Version => "version",
            Self::Chunk => "chunk",
            Self::Shard => "shard",
            Self::Upload => "upload",
            Self::Page => "page",
            Self::Request => "request",
            Self::Address => "address",
            Self::Body => "body",
            Self::Cluster => "cluster",
            Self::Snapshot => "snapshot",
        })
    }
}

/// Why a grant is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum GrantFault {
    #[error("its signature is wrong")]
    Signature,
    #[error("it was given to somebody else")]
    NotYours,
    #[error("it expired at {0}")]
    Expired(Timestamp),
    #[error("it is used up")]
    Spent,
    #[error("it is of another cluster")]
    OtherCluster,
}

/// Why nothing is read through a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ShareFault {
    #[error("the directory does not know this link")]
    Unknown,
    #[error("the link expired at {0}")]
    Expired(Timestamp),
    #[error("the link was revoked at {0}")]
    Revoked(Timestamp),
    #[error("the link is for devices that have joined the cluster")]
    NoGuests,
    #[error("the link has been used by as many guests as it is for")]
    GuestsUsed,
}

/// Why a ticket does not enrol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TicketFault {
    #[error("the directory does not know this ticket")]
    Unknown,
    #[error("the ticket expired at {0}")]
    Expired(Timestamp),
    #[error("the ticket has been used already")]
    Used,
    #[error("the ticket is for another role")]
    OtherRole,
}

impl Refusal {
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Busy | Self::Conflict => Retry::Later,
            Self::TooFewShards { .. }
            | Self::Full { .. }
            | Self::ReadOnly
            | Self::Internal
            | Self::Quarantined
            | Self::NotFound(What::Shard) => Retry::Elsewhere,
            Self::Malformed
            | Self::WrongRole
            | Self::Revoked
            | Self::Forbidden
            | Self::NotFound(_)
            | Self::Exists(_)
            | Self::NotEmpty
            | Self::NotAFolder
            | Self::IsAFolder
            | Self::Cycle
            | Self::TooLarge(_)
            | Self::Grant(_)
            | Self::Ticket(_)
            | Self::Share(_)
            | Self::OtherKey
            | Self::UploadGone
            | Self::NotHeld
            | Self::AddressMismatch
            | Self::OldGeneration { .. }
            | Self::StillHolds(_)
            | Self::Fenced
            | Self::OverQuota { .. }
            | Self::NoPolicy
            | Self::OtherCluster => Retry::Never,
        }
    }

    /// How long to wait before a [`Retry::Later`].
    #[must_use]
    pub fn pause(&self) -> Duration {
        Duration::from_millis(50)
    }
}
