//! Keys of what looks back: snapshots.

use common::id::{AccountId, NameToken};

use super::{Key, Range, table};
use crate::schema::Snapshot;

/// A pinned sequence: that of the commit that wrote it.
#[must_use]
pub fn snapshot(account: AccountId, token: NameToken) -> Key<Snapshot> {
    Key::new(table::SNAPSHOT, &[&account.0, &token.0])
}

#[must_use]
pub fn snapshots(account: AccountId) -> Range<Snapshot> {
    Range::within(table::SNAPSHOT, &[&account.0])
}
