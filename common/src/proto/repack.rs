//! What it takes to rewrite packs that are mostly dead: all versions of an account, and changing where a small file's extent lies.

use serde::{Deserialize, Serialize};

use crate::bounded::BoundedVec;
use crate::id::{NodeId, RequestId, VersionId};
use crate::limits;
use crate::proto::content::NewContent;
use crate::proto::directory::InlinePage;
use crate::proto::parts::VersionView;

/// One page of an account's versions, current ones and those in history, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListVersions {
    pub after: Option<VersionId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionsListed {
    pub versions: BoundedVec<VersionOfNode, { limits::LIST_VERSIONS }>,
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionOfNode {
    pub node: NodeId,
    pub version: VersionView,
}

/// Replaces the only pages of versions, each if it still is what the caller saw. What the version refers to changes with its page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapPages {
    pub request: RequestId,
    /// Holds what the new pages name.
    pub upload: VersionId,
    pub pages: BoundedVec<SwappedPage, { limits::SWAP_PAGES }>,
}

/// The content is the same; where it lies is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwappedPage {
    pub version: VersionId,
    /// BLAKE3 of the sealed page that the caller saw.
    pub was: [u8; 32],
    /// Names one chunk, as the old one does.
    pub page: InlinePage,
    pub sealed_bytes: u64,
    /// How the content is found from now on.
    pub content: Option<NewContent>,
}

/// For each whether it was replaced; otherwise it, or its version, is not what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagesSwapped {
    pub swapped: BoundedVec<bool, { limits::SWAP_PAGES }>,
}
