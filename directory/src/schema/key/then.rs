//! Keys of the past: when an account's tree was changed, and ranges over what was, in the order of the sequences since when it was so.

use common::id::{AccountId, NameToken, NodeId};
use common::time::Timestamp;

use super::{Key, Range, entry_history, last, node_history, table};
use crate::schema::{Entry, Mark, Node, RecordError};

/// That an account's tree was changed at a time: by the commit that wrote this, whose sequence is the state it left.
#[must_use]
pub fn change(account: AccountId, at: Timestamp) -> Key<Mark> {
    Key::new(table::CHANGE, &[&account.0, &at.0.to_be_bytes()])
}

#[must_use]
pub fn changes(account: AccountId) -> Range<Mark> {
    Range::within(table::CHANGE, &[&account.0])
}

#[must_use]
pub fn all_changes() -> Range<Mark> {
    Range::within(table::CHANGE, &[])
}

/// The changes up to a time, and at it.
#[must_use]
pub fn changes_until(account: AccountId, at: Timestamp) -> Range<Mark> {
    changes(account).up_to(change(account, at))
}

/// What all names in a folder were, in the order of their tokens.
#[must_use]
pub fn entry_pasts(account: AccountId, folder: NodeId) -> Range<Entry> {
    Range::within(table::ENTRY_HISTORY, &[&account.0, &folder.0])
}

/// What a name was, of that what began up to a sequence, and at it.
#[must_use]
pub fn entry_past(account: AccountId, folder: NodeId, token: NameToken, since: u64) -> Range<Entry> {
    Range::within(table::ENTRY_HISTORY, &[&account.0, &folder.0, &token.0])
        .up_to(entry_history(account, folder, token, since))
}

/// What a node was, of that what began up to a sequence, and at it.
#[must_use]
pub fn node_past(account: AccountId, node: NodeId, since: u64) -> Range<Node> {
    Range::within(table::NODE_HISTORY, &[&account.0, &node.0]).up_to(node_history(account, node, since))
}

/// What a name was, of that what began at a sequence or later.
#[must_use]
pub fn entry_later(account: AccountId, folder: NodeId, token: NameToken, since: u64) -> Range<Entry> {
    let mut range = Range::within(table::ENTRY_HISTORY, &[&account.0, &folder.0, &token.0]);
    range.from = entry_history(account, folder, token, since).into_bytes();
    range
}

/// What a node was, of that what began at a sequence or later.
#[must_use]
pub fn node_later(account: AccountId, node: NodeId, since: u64) -> Range<Node> {
    let mut range = Range::within(table::NODE_HISTORY, &[&account.0, &node.0]);
    range.from = node_history(account, node, since).into_bytes();
    range
}

impl<R> Range<R> {
    /// The part of it up to a key, and with that.
    fn up_to(mut self, key: Key<R>) -> Self {
        self.to = key.into_bytes();
        self.to.push(0);
        self
    }

    /// The part of it in front of a key, and with that.
    #[must_use]
    pub fn through(self, key: Key<R>) -> Self {
        self.up_to(key)
    }
}

/// Since when a record of the past was so.
///
/// # Errors
/// Unless it is a key of such a table; likewise for those that follow.
pub fn since_of_past(key: &[u8]) -> Result<u64, RecordError> {
    last(key, "history").map(u64::from_be_bytes)
}

/// # Errors
/// As above.
pub fn token_of_past(key: &[u8]) -> Result<NameToken, RecordError> {
    let refuse = || RecordError::Key { table: "entry history" };
    let (token, _) = key.get(33..).and_then(<[u8]>::split_first_chunk).ok_or_else(refuse)?;
    if key.len() == 57 { Ok(NameToken(*token)) } else { Err(refuse()) }
}

/// # Errors
/// As above.
pub fn time_of_change(key: &[u8]) -> Result<Timestamp, RecordError> {
    let at = if key.len() == 25 { last(key, "change") } else { Err(RecordError::Key { table: "change" }) };
    at.map(|at| Timestamp(u64::from_be_bytes(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: AccountId = AccountId([0xaa; 16]);

    #[test]
    fn keys_are_golden_and_their_parts_come_out_again() {
        let at = Timestamp(0x0102);
        let expected = [&[0x30][..], &[0xaa; 16], &[0, 0, 0, 0, 0, 0, 1, 2]].concat();
        assert_eq!(change(A, at).bytes(), expected);
        assert_eq!(time_of_change(&expected).unwrap(), at);
        let (folder, token) = (NodeId([0xff; 16]), NameToken([7; 16]));
        let key = entry_history(A, folder, token, 9).into_bytes();
        assert_eq!((token_of_past(&key).unwrap(), since_of_past(&key).unwrap()), (token, 9));
        assert!(token_of_past(&key[..56]).is_err());
    }

    #[test]
    fn ranges_end_with_their_sequence() {
        let (folder, token) = (NodeId([0xff; 16]), NameToken([0xff; 16]));
        let holds = |range: &Range<Entry>, since| {
            let key = entry_history(A, folder, token, since).into_bytes();
            range.from <= key && key < range.to
        };
        let range = entry_past(A, folder, token, 9);
        assert!(holds(&range, 0) && holds(&range, 9) && !holds(&range, 10));
        assert!(holds(&entry_past(A, folder, token, u64::MAX), u64::MAX));
        let other = entry_history(A, folder, NameToken([0xfe; 16]), 3).into_bytes();
        assert!(other < range.from);
    }
}
