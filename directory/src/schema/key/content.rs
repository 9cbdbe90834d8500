//! Keys of small contents, and of what is rewritten with them.

use common::id::{AccountId, ChunkId, ContentId, VersionId};

use super::{Key, Range, RecordError, parts, table};
use crate::schema::{Content, Packed, Version};

/// All versions of an account.
#[must_use]
pub fn versions(account: AccountId) -> Range<Version> {
    Range::within(table::VERSION, &[&account.0])
}

/// Where a small content is.
#[must_use]
pub fn content(account: AccountId, content: ContentId) -> Key<Content> {
    Key::new(table::CONTENT, &[&account.0, &content.0])
}

#[must_use]
pub fn all_contents() -> Range<Content> {
    Range::within(table::CONTENT, &[])
}

/// Contents of a pack, by one of the versions that they were published with.
#[must_use]
pub fn packed(account: AccountId, pack: ChunkId, version: VersionId) -> Key<Packed> {
    Key::new(table::PACKED, &[&account.0, &pack.0, &version.0])
}

#[must_use]
pub fn packed_in(account: AccountId, pack: ChunkId) -> Range<Packed> {
    Range::within(table::PACKED, &[&account.0, &pack.0])
}

#[must_use]
pub fn all_packed() -> Range<Packed> {
    Range::within(table::PACKED, &[])
}

/// # Errors
/// Unless it is a key of the table.
pub fn ids_of_content(key: &[u8]) -> Result<(AccountId, ContentId), RecordError> {
    parts(key, "content").map(|(account, content)| (AccountId(account), ContentId(content)))
}

/// # Errors
/// As above.
pub fn ids_of_packed(key: &[u8]) -> Result<(AccountId, ChunkId, VersionId), RecordError> {
    super::ids_of_reference(key).map_err(|_| RecordError::Key { table: "packed contents" })
}
