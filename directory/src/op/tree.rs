//! Tree: what the operations on names have in common: finding a folder alive, and putting entries and nodes in place with their history.

use common::id::{AccountId, NameToken, NodeId};
use common::proto::Refusal;
use common::proto::parts::NodeKind;
use common::proto::refusal::What;
use common::time::Timestamp;

use crate::schema::{Entry, Mark, Node, key};
use crate::transact::{Found, Stop, Txn};

/// How deep a folder may lie; what is deeper was made by moving folders into each other, and takes no more entries.
const DEEPEST: usize = 1_024;

/// Goes up from a folder to the root, and checks that it is part of the tree. With `avoid`: that this is not on the way.
///
/// Every node on the way becomes a check of the commit: a move or removal of any of them meanwhile makes it decide anew.
///
/// # Errors
/// [`Refusal::NotFound`] when the folder, or one above it, was removed; [`Refusal::NotAFolder`] for a file; [`Refusal::Cycle`].
pub async fn climb(txn: &mut Txn, account: AccountId, folder: NodeId, avoid: Option<NodeId>) -> Result<(), Stop> {
    let mut at = folder;
    for _ in 0..DEEPEST {
        if avoid == Some(at) {
            return Err(Refusal::Cycle.into());
        }
        match txn.read(&key::node(account, at)).await?.map(|found| found.record) {
            None => return Err(Refusal::NotFound(What::Folder).into()),
            Some(Node::File { .. }) => return Err(Refusal::NotAFolder.into()),
            Some(Node::Folder { parent: None }) => return Ok(()),
            Some(Node::Folder { parent: Some(parent) }) => at = parent,
        }
    }
    Err(Refusal::TooLarge(What::Folder).into())
}

/// Notes that the account's tree changes now, so that the past can be found by time.
///
/// # Errors
/// Never: a mark is short.
pub fn note_change(txn: &mut Txn, account: AccountId, now: Timestamp) -> Result<(), Stop> {
    txn.put(&key::change(account, now), &Mark {})
}

/// Puts an entry under a name; what was there goes into history. The folder's guard moves when a name appears.
///
/// # Errors
/// When the record is too long.
pub fn put_entry(
    txn: &mut Txn,
    account: AccountId,
    place: (NodeId, NameToken),
    entry: &Entry,
    before: Option<&Found<Entry>>,
) -> Result<(), Stop> {
    let (folder, token) = place;
    match before {
        Some(before) => keep_entry(txn, account, place, before)?,
        None => txn.put(&key::guard(account, folder), &Mark {})?,
    }
    txn.put(&key::entry(account, folder, token), entry)
}

/// Takes an entry away; history keeps it.
///
/// # Errors
/// As [`put_entry`].
pub fn take_entry(
    txn: &mut Txn,
    account: AccountId,
    place: (NodeId, NameToken),
    before: &Found<Entry>,
) -> Result<(), Stop> {
    keep_entry(txn, account, place, before)?;
    txn.put(&key::guard(account, place.0), &Mark {})?;
    txn.delete(&key::entry(account, place.0, place.1));
    Ok(())
}

fn keep_entry(
    txn: &mut Txn,
    account: AccountId,
    (folder, token): (NodeId, NameToken),
    before: &Found<Entry>,
) -> Result<(), Stop> {
    txn.put(&key::entry_history(account, folder, token, before.version), &before.record)
}

/// Changes a node; what it was goes into history.
///
/// # Errors
/// As [`put_entry`].
pub fn put_node(
    txn: &mut Txn,
    account: AccountId,
    node: NodeId,
    value: Node,
    before: Option<&Found<Node>>,
) -> Result<(), Stop> {
    if let Some(before) = before {
        txn.put(&key::node_history(account, node, before.version), &before.record)?;
    }
    txn.put(&key::node(account, node), &value)
}

/// Takes a node out of the current tree; history keeps it.
///
/// # Errors
/// As [`put_entry`].
pub fn take_node(txn: &mut Txn, account: AccountId, node: NodeId, before: &Found<Node>) -> Result<(), Stop> {
    txn.put(&key::node_history(account, node, before.version), &before.record)?;
    txn.delete(&key::node(account, node));
    Ok(())
}

/// The node that an entry leads to. It exists whenever the entry does.
///
/// # Errors
/// [`Stop::Torn`] when the entry was read before and the node after a change.
pub async fn node_of(txn: &mut Txn, account: AccountId, entry: &Entry) -> Result<Found<Node>, Stop> {
    let found = txn.read(&key::node(account, entry.node)).await?.ok_or(Stop::Torn)?;
    match (entry.kind, found.record) {
        (NodeKind::File, Node::File { .. }) | (NodeKind::Folder, Node::Folder { .. }) => Ok(found),
        _ => Err(Stop::Torn),
    }
}
