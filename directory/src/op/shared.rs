//! Shared: what whoever has a link may look at: what lies at or below what is shared, as it is now, and nothing else.
//!
//! Each request is held to the share as it is at that moment. That a folder lies below the shared one follows from the directory's
//! own records of what is inside what; no caller's word is taken for it.

use std::collections::HashMap;

use common::id::{AccountId, NameToken, NodeId, VersionId};
use common::proto::Refusal;
use common::proto::directory::{List, Listing, Manifests};
use common::proto::parts::VersionView;
use common::proto::refusal::What;
use common::proto::share::{ListShared, OpenShare, ReadShared, ShareOpened, ShareTarget, SharedWant};

use super::look::{Filling, list, version_of, version_view};
use super::share::held;
use super::{Context, tree};
use crate::authorize::OfReader;
use crate::schema::{Node, Share, key};
use crate::transact::{Operation, Stop, Txn};

impl Operation for OpenShare {
    const NAME: &'static str = "OpenShare";
    type Who = OfReader;
    type Answer = ShareOpened;

    async fn decide(&self, txn: &mut Txn, who: OfReader, context: &Context) -> Result<ShareOpened, Stop> {
        let Share { account, target, expires, .. } = held(txn, self.share, &self.proof, who, context).await?;
        let version: Option<VersionView> = match target {
            ShareTarget::Folder(node) => match lies_below(txn, account, node, node).await? {
                true => None,
                false => return Err(Refusal::NotFound(What::Folder).into()),
            },
            ShareTarget::File(node) => match file_in_tree(txn, account, node).await? {
                Some(file) => Some(version_of(txn, account, file).await?.ok_or(Stop::Torn)?),
                None => return Err(Refusal::NotFound(What::Node).into()),
            },
            ShareTarget::Version(node, version) => Some(version_view(txn, account, node, version).await?),
        };
        Ok(ShareOpened { account, target, expires, version })
    }
}

impl Operation for ListShared {
    const NAME: &'static str = "ListShared";
    type Who = OfReader;
    type Answer = Listing;

    async fn decide(&self, txn: &mut Txn, who: OfReader, context: &Context) -> Result<Listing, Stop> {
        let Share { account, target, .. } = held(txn, self.share, &self.proof, who, context).await?;
        let ShareTarget::Folder(top) = target else { return Err(Refusal::Forbidden.into()) };
        if !lies_below(txn, account, top, self.folder).await? {
            return Err(Refusal::NotFound(What::Folder).into());
        }
        list(txn, account, &List { folder: self.folder, after: self.after, at: None }).await
    }
}

/// Whether a folder is the shared one or lies below it, now, and both are in the account's tree: what lies in a folder that was
/// removed is not, though its own record is as it was.
async fn lies_below(txn: &mut Txn, account: AccountId, top: NodeId, folder: NodeId) -> Result<bool, Stop> {
    let on_the_way = climbed(tree::climb(txn, account, folder, Some(top)).await)? == Some(Refusal::Cycle);
    Ok(on_the_way && climbed(tree::climb(txn, account, top, None).await)?.is_none())
}

/// Why there is no way up; what is wrong with the store stays an error.
fn climbed(way: Result<(), Stop>) -> Result<Option<Refusal>, Stop> {
    match way {
        Ok(()) => Ok(None),
        Err(Stop::Refused(refusal)) => Ok(Some(refusal)),
        Err(error) => Err(error),
    }
}

/// A file's record, if it is in the account's tree.
async fn file_in_tree(txn: &mut Txn, account: AccountId, node: NodeId) -> Result<Option<Node>, Stop> {
    let found = txn.peek(&key::node(account, node)).await?.map(|found| found.record);
    let Some(file @ Node::File { parent, .. }) = found else { return Ok(None) };
    let there = climbed(tree::climb(txn, account, parent, None).await)?.is_none();
    Ok(there.then_some(file))
}

impl Operation for ReadShared {
    const NAME: &'static str = "ReadShared";
    type Who = OfReader;
    type Answer = (AccountId, Manifests);

    async fn decide(&self, txn: &mut Txn, who: OfReader, context: &Context) -> Result<Self::Answer, Stop> {
        let Share { account, target, .. } = held(txn, self.share, &self.proof, who, context).await?;
        let mut below = HashMap::new();
        let (mut filling, mut missing) = (Filling::default(), Vec::new());
        for want in &self.wants {
            if !may_read(txn, account, target, want, &mut below).await? {
                missing.push(want.version);
                continue;
            }
            let Some(version) = txn.peek(&key::version(account, want.version)).await? else {
                missing.push(want.version);
                continue;
            };
            if !filling.version(txn, account, want.version, want.from..version.record.pages).await? {
                break;
            }
        }
        Ok((account, filling.answer(missing)?))
    }
}

/// Whether a version is of what is shared. `below` remembers what was found out of folders and of a file.
async fn may_read(
    txn: &mut Txn,
    account: AccountId,
    target: ShareTarget,
    want: &SharedWant,
    below: &mut HashMap<NodeId, bool>,
) -> Result<bool, Stop> {
    match (target, want.at) {
        (ShareTarget::Version(node, version), None) => {
            Ok(version == want.version && is_of(txn, account, node, version).await?)
        }
        (ShareTarget::File(node), None) => {
            let inside = match below.get(&node) {
                Some(known) => *known,
                None => {
                    let found = file_in_tree(txn, account, node).await?.is_some();
                    below.insert(node, found);
                    found
                }
            };
            Ok(inside && is_of(txn, account, node, want.version).await?)
        }
        (ShareTarget::Folder(top), Some((folder, token))) => {
            let inside = match below.get(&folder) {
                Some(known) => *known,
                None => {
                    let found = lies_below(txn, account, top, folder).await?;
                    below.insert(folder, found);
                    found
                }
            };
            Ok(inside && is_in(txn, account, (folder, token), want.version).await?)
        }
        (ShareTarget::Version(..) | ShareTarget::File(_), Some(_)) | (ShareTarget::Folder(_), None) => Ok(false),
    }
}

async fn is_in(
    txn: &mut Txn,
    account: AccountId,
    (folder, token): (NodeId, NameToken),
    version: VersionId,
) -> Result<bool, Stop> {
    let Some(entry) = txn.peek(&key::entry(account, folder, token)).await? else { return Ok(false) };
    is_of(txn, account, entry.record.node, version).await
}

async fn is_of(txn: &mut Txn, account: AccountId, node: NodeId, version: VersionId) -> Result<bool, Stop> {
    Ok(txn.peek(&key::version(account, version)).await?.is_some_and(|found| found.record.node == node))
}
