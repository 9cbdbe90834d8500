//! Entries: moving and removing them. One write each, whatever lies below.

use common::id::{AccountId, RequestId};
use common::proto::Refusal;
use common::proto::directory::{Done, Remove, Rename};
use common::proto::parts::NodeKind;
use common::proto::refusal::What;

use super::{Context, rekey, tree};
use crate::authorize::OfAccount;
use crate::schema::{Entry, Node, key};
use crate::transact::{Found, Operation, Stop, Txn};

impl Operation for Rename {
    const NAME: &'static str = "Rename";
    type Who = OfAccount;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Done, Stop> {
        let account = who.account();
        rekey::check(txn, account, [&*self.sealed]).await?;
        tree::note_change(txn, account, context.now)?;
        let from = (self.from_folder, self.from_token);
        let to = (self.to_folder, self.to_token);
        let there = txn.read(&key::entry(account, from.0, from.1)).await?;
        let there = there.ok_or(Refusal::NotFound(What::Entry))?;
        if there.record.node != self.node {
            return Err(Refusal::Conflict.into());
        }
        let entry = Entry { node: self.node, kind: there.record.kind, sealed: self.sealed.clone() };
        if from == to {
            tree::climb(txn, account, to.0, None).await?;
            tree::put_entry(txn, account, to, &entry, Some(&there))?;
            return Ok(Done {});
        }
        let avoid = (entry.kind == NodeKind::Folder).then_some(self.node);
        tree::climb(txn, account, to.0, avoid).await?;
        let replaced = txn.read(&key::entry(account, to.0, to.1)).await?;
        make_room(self, txn, account, entry.kind, replaced.as_ref()).await?;
        tree::take_entry(txn, account, from, &there)?;
        tree::put_entry(txn, account, to, &entry, replaced.as_ref())?;
        if from.0 != to.0 {
            let node = tree::node_of(txn, account, &entry).await?;
            let moved = match node.record {
                Node::Folder { .. } => Node::Folder { parent: Some(to.0) },
                Node::File { version, .. } => Node::File { version, parent: to.0 },
            };
            tree::put_node(txn, account, self.node, moved, Some(&node))?;
        }
        Ok(Done {})
    }
}

/// Sees to it that what is under the new name is what the caller saw there, and takes its node away.
async fn make_room(
    rename: &Rename,
    txn: &mut Txn,
    account: AccountId,
    kind: NodeKind,
    there: Option<&Found<Entry>>,
) -> Result<(), Stop> {
    let (there, expected) = match (there, rename.replace) {
        (None, None) => return Ok(()),
        (None, Some(_)) => return Err(Refusal::Conflict.into()),
        (Some(_), None) => return Err(Refusal::Exists(What::Entry).into()),
        (Some(there), Some(expected)) => (there, expected),
    };
    if there.record.node != expected {
        return Err(Refusal::Conflict.into());
    }
    match (kind, there.record.kind) {
        (_, NodeKind::Folder) => return Err(Refusal::IsAFolder.into()),
        (NodeKind::Folder, NodeKind::File) => return Err(Refusal::NotAFolder.into()),
        (NodeKind::File, NodeKind::File) => {}
    }
    let node = tree::node_of(txn, account, &there.record).await?;
    tree::take_node(txn, account, expected, &node)
}

impl Operation for Remove {
    const NAME: &'static str = "Remove";
    type Who = OfAccount;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Done, Stop> {
        let account = who.account();
        tree::note_change(txn, account, context.now)?;
        let there = txn.read(&key::entry(account, self.folder, self.token)).await?;
        let there = there.ok_or(Refusal::NotFound(What::Entry))?;
        if there.record.node != self.node {
            return Err(Refusal::Conflict.into());
        }
        let node = tree::node_of(txn, account, &there.record).await?;
        if there.record.kind == NodeKind::Folder && !self.recursive {
            // The guard is read first: whatever appears in the folder from here on changes it.
            txn.read(&key::guard(account, self.node)).await?;
            let inside = txn.scan(&key::entries(account, self.node), 1).await?;
            if !inside.entries.is_empty() {
                return Err(Refusal::NotEmpty.into());
            }
        }
        tree::take_entry(txn, account, (self.folder, self.token), &there)?;
        tree::take_node(txn, account, self.node, &node)?;
        Ok(Done {})
    }
}
