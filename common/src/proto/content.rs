//! What is said of small contents: which are stored already, and where in which pack.
//!
//! A small content has a name of its own, as a chunk has: keyed, so that it says nothing to whoever lacks the key. Under it the directory
//! keeps in which pack the content lies, and, sealed for the account, where in it and what opens it. It is written with the publication of
//! the file, and forgotten with the pack.

use serde::{Deserialize, Serialize};

use crate::bounded::BoundedVec;
use crate::id::{ChunkId, ContentId, VersionId};
use crate::limits;
use crate::proto::parts::SealedExtent;
use crate::redundancy::Redundancy;

/// "Of these small contents, which are stored already, at this redundancy or better?" The pending version holds their packs from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskContents {
    pub version: VersionId,
    pub redundancy: Redundancy,
    pub contents: BoundedVec<ContentId, { limits::ASK_CONTENTS }>,
}

/// For each where it is, or `None` when it has to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentsAnswered {
    pub known: BoundedVec<Option<KnownContent>, { limits::ASK_CONTENTS }>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownContent {
    pub pack: ChunkId,
    pub sealed: SealedExtent,
}

/// Where the only extent of a file that is published can be found again, by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewContent {
    pub content: ContentId,
    pub sealed: SealedExtent,
}
