//! Sharing: what an account asks to hand on a file or folder, and what whoever has the link may ask.
//!
//! A reader is a device of any account, or a guest. Each of its requests names the share and carries the proof that it has the link;
//! the directory looks each time whether the share still holds, and answers only for what lies below what is shared. Names and keys
//! travel in the link alone: the directory gets a verifier and an id.

use serde::{Deserialize, Serialize};

use crate::bounded::BoundedVec;
use crate::id::{AccountId, ClusterId, DeviceId, NameToken, NodeId, RequestId, ShareId, VersionId};
use crate::limits;
use crate::pass::SignedPass;
use crate::proto::directory::Manifests;
use crate::proto::parts::{Addresses, Der, SealedEntry, VersionView};
use crate::time::Timestamp;

/// What is shared. Variants are append-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShareTarget {
    /// 0: a folder and all below it, as it is at any time
    Folder(NodeId),
    /// 1: a file, in whatever version is current
    File(NodeId),
    /// 2: one version of a file
    Version(NodeId, VersionId),
}

/// Makes a share. Its id and verifier follow from a secret that only the link has.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewShare {
    pub request: RequestId,
    pub share: ShareId,
    pub verifier: [u8; 32],
    pub target: ShareTarget,
    /// For how long; `None`: until it is revoked.
    pub ttl_ms: Option<u64>,
    /// How many guests it may enrol; `None`: it is for enrolled devices alone.
    pub guests: Option<u32>,
    /// What the account calls it, sealed for the account itself: shown again in the list.
    pub sealed: SealedEntry,
}

impl std::fmt::Debug for NewShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewShare({}, {:?})", self.share, self.target)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareMade {
    pub expires: Option<Timestamp>,
}

/// One page of the account's shares, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListShares {
    pub after: Option<ShareId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    pub shares: BoundedVec<ShareView, { limits::LIST_SHARES }>,
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareView {
    pub share: ShareId,
    pub target: ShareTarget,
    /// The device that made it.
    pub device: DeviceId,
    pub made: Timestamp,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
    /// How many more guests it may enrol.
    pub guests: Option<u32>,
    pub sealed: SealedEntry,
}

/// Ends a share: whoever reads through it is refused from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeShare {
    pub request: RequestId,
    pub share: ShareId,
}

/// Asks for one committed version of a file of the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowVersion {
    pub node: NodeId,
    pub version: VersionId,
}

/// The first thing that a reader asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenShare {
    pub share: ShareId,
    /// See [`crate::share::proof`]; likewise below.
    pub proof: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareOpened {
    /// Whose it is; the link says so, too.
    pub account: AccountId,
    pub target: ShareTarget,
    pub expires: Option<Timestamp>,
    /// Of a file that is followed its current version; of a version itself. Nothing for a folder.
    pub version: Option<VersionView>,
}

/// One page of a folder at or below the one that is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListShared {
    pub share: ShareId,
    pub proof: [u8; 32],
    pub folder: NodeId,
    pub after: Option<NameToken>,
}

/// Reads manifests of versions of what is shared, with passes for their chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadShared {
    pub share: ShareId,
    pub proof: [u8; 32],
    pub wants: BoundedVec<SharedWant, { limits::READ_MANIFESTS }>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedWant {
    pub version: VersionId,
    /// The first page wanted.
    pub from: u32,
    /// Where the file is: a folder at or below the shared one, and its name there. `None` for what is shared itself.
    pub at: Option<(NodeId, NameToken)>,
}

/// As [`Manifests`]; a version that is not of what is shared is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedManifests {
    pub manifests: Manifests,
    /// The first is for the first [`PASS_CHUNKS`](limits::PASS_CHUNKS) of the placements, the second for the next, and so on.
    pub passes: BoundedVec<SignedPass, { limits::SHARED_PASSES }>,
    /// How long they hold from now on, in milliseconds.
    pub hold_ms: u32,
}

/// Asks for a guest's certificate: on [`ALPN_ENROLL`](super::ALPN_ENROLL), by somebody with a link. Only the share's count of guests changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollGuest {
    pub share: ShareId,
    /// See [`crate::share::guest_proof`].
    pub proof: [u8; 32],
    /// A certificate signing request, DER; only its public key is taken.
    pub request: Der,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestEnrolled {
    pub cluster: ClusterId,
    pub guest: DeviceId,
    /// Valid for hours, and for this share alone.
    pub certificate: Der,
    /// The public key that maps are signed with (Ed25519).
    pub statement_key: [u8; 32],
    pub directory: Addresses,
}
