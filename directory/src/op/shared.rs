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

use super::Context;
use super::look::{Filling, list, version_of, version_view};
use super::share::held;
use crate::authorize::OfReader;
use crate::schema::{Node, Share, key};
use crate::transact::{Operation, Stop, Txn};

/// How deep below the shared folder one may lie.
const DEEPEST: usize = 1_024;

impl Operation for OpenShare {
    const NAME: &'static str = "OpenShare";
    type Who = OfReader;
    type Answer = ShareOpened;

    async fn decide(&self, txn: &mut Txn, who: OfReader, context: &Context) -> Result<ShareOpened, Stop> {
        let Share { account, target, expires, .. } = held(txn, self.share, &self.proof, who, context).await?;
        let version: Option<VersionView> = match target {
            ShareTarget::Folder(node) => match txn.peek(&key::node(account, node)).await?.map(|found| found.record) {
                Some(Node::Folder { .. }) => None,
                Some(Node::File { .. }) | None => return Err(Refusal::NotFound(What::Folder).into()),
            },
            ShareTarget::File(node) => match txn.peek(&key::node(account, node)).await?.map(|found| found.record) {
                Some(file @ Node::File { .. }) => Some(version_of(txn, account, file).await?.ok_or(Stop::Torn)?),
                Some(Node::Folder { .. }) | None => return Err(Refusal::NotFound(What::Node).into()),
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

/// Whether a folder is the shared one or lies below it, now.
async fn lies_below(txn: &mut Txn, account: AccountId, top: NodeId, folder: NodeId) -> Result<bool, Stop> {
    let mut at = folder;
    for _ in 0..DEEPEST {
        let found = txn.peek(&key::node(account, at)).await?.map(|found| found.record);
        match found {
            Some(Node::Folder { .. }) if at == top => return Ok(true),
            Some(Node::Folder { parent: Some(parent) }) => at = parent,
            Some(Node::Folder { parent: None } | Node::File { .. }) | None => return Ok(false),
        }
    }
    Ok(false)
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

/// Whether a version is of what is shared. `below` remembers what was found out of folders.
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
        (ShareTarget::File(node), None) => is_of(txn, account, node, want.version).await,
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
