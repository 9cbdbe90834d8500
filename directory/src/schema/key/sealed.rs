//! Keys of an account's ring, and of the tables that hold what is sealed under its keys.

use common::id::{AccountId, ChunkId};

use super::{Key, Range, RecordError, parts, table};
use crate::schema::{Chunk, Content, Ring};

/// What the directory knows of an account's keys.
#[must_use]
pub fn ring(account: AccountId) -> Key<Ring> {
    Key::new(table::RING, &[&account.0])
}

/// All that chunks of an account were.
#[must_use]
pub fn all_chunk_histories(account: AccountId) -> Range<Chunk> {
    Range::within(table::CHUNK_HISTORY, &[&account.0])
}

#[must_use]
pub fn contents_of(account: AccountId) -> Range<Content> {
    Range::within(table::CONTENT, &[&account.0])
}

/// The chunk and the beginning of a key of its history.
///
/// # Errors
/// Unless it is a key of the table.
pub fn ids_of_chunk_history(key: &[u8]) -> Result<(ChunkId, u64), RecordError> {
    let rest = key.get(16..).unwrap_or_default();
    parts(rest, "chunk history").map(|(chunk, since)| (ChunkId(chunk), u64::from_be_bytes(since)))
}
