//! Keys of what looks back and what adds up: history by its tables, snapshots, versions on their way out, usage and quotas.

use common::id::{AccountId, NameToken, NodeId, VersionId};

use super::{Key, Range, parts, table};
use crate::schema::record::RecordError;
use crate::schema::{Chunk, Conflict, Entry, Going, Node, Quota, Snapshot, Usage};

/// A pinned sequence: that of the commit that wrote it.
#[must_use]
pub fn snapshot(account: AccountId, token: NameToken) -> Key<Snapshot> {
    Key::new(table::SNAPSHOT, &[&account.0, &token.0])
}

#[must_use]
pub fn snapshots(account: AccountId) -> Range<Snapshot> {
    Range::within(table::SNAPSHOT, &[&account.0])
}

/// That a version's pages and references are being released.
#[must_use]
pub fn going(account: AccountId, version: VersionId) -> Key<Going> {
    Key::new(table::GOING, &[&account.0, &version.0])
}

#[must_use]
pub fn going_of(account: AccountId) -> Range<Going> {
    Range::within(table::GOING, &[&account.0])
}

#[must_use]
pub fn all_going() -> Range<Going> {
    Range::within(table::GOING, &[])
}

/// A part of what an account uses.
#[must_use]
pub fn usage(account: AccountId, part: u8) -> Key<Usage> {
    Key::new(table::USAGE, &[&account.0, &[part]])
}

#[must_use]
pub fn usages(account: AccountId) -> Range<Usage> {
    Range::within(table::USAGE, &[&account.0])
}

#[must_use]
pub fn all_usages() -> Range<Usage> {
    Range::within(table::USAGE, &[])
}

/// That a version was put over one that its writer had not seen.
#[must_use]
pub fn conflict(account: AccountId, version: VersionId) -> Key<Conflict> {
    Key::new(table::CONFLICT, &[&account.0, &version.0])
}

#[must_use]
pub fn conflicts(account: AccountId) -> Range<Conflict> {
    Range::within(table::CONFLICT, &[&account.0])
}

/// What an account may use.
#[must_use]
pub fn quota(account: AccountId) -> Key<Quota> {
    Key::new(table::QUOTA, &[&account.0])
}

/// All that entries of an account were.
#[must_use]
pub fn entry_histories(account: AccountId) -> Range<Entry> {
    Range::within(table::ENTRY_HISTORY, &[&account.0])
}

/// All that nodes of an account were.
#[must_use]
pub fn node_histories(account: AccountId) -> Range<Node> {
    Range::within(table::NODE_HISTORY, &[&account.0])
}

/// All that one node was.
#[must_use]
pub fn node_history_of(account: AccountId, node: NodeId) -> Range<Node> {
    Range::within(table::NODE_HISTORY, &[&account.0, &node.0])
}

/// All names of an account, folder by folder.
#[must_use]
pub fn entries_of(account: AccountId) -> Range<Entry> {
    Range::within(table::ENTRY, &[&account.0])
}

#[must_use]
pub fn chunks_of(account: AccountId) -> Range<Chunk> {
    Range::within(table::CHUNK, &[&account.0])
}

/// The folder and the token of an entry's key.
///
/// # Errors
/// Unless it is a key of the table; likewise for those that follow.
pub fn place_of_entry(key: &[u8]) -> Result<(NodeId, NameToken), RecordError> {
    let rest = key.get(16..).unwrap_or_default();
    parts(rest, "entry").map(|(folder, token)| (NodeId(folder), NameToken(token)))
}

/// The folder, the token and the beginning of an entry's history key.
///
/// # Errors
/// As above.
pub fn ids_of_entry_history(key: &[u8]) -> Result<(NodeId, NameToken, u64), RecordError> {
    let refuse = || RecordError::Key { table: "entry history" };
    let (rest, since) = key.split_last_chunk().ok_or_else(refuse)?;
    let (folder, token) = place_of_entry(rest)?;
    Ok((folder, token, u64::from_be_bytes(*since)))
}

/// The node and the beginning of a node's history key.
///
/// # Errors
/// As above.
pub fn ids_of_node_history(key: &[u8]) -> Result<(NodeId, u64), RecordError> {
    let rest = key.get(16..).unwrap_or_default();
    parts(rest, "node history").map(|(node, since)| (NodeId(node), u64::from_be_bytes(since)))
}
