//! Looking: walking down a path, listing a folder, now or as they were; reading manifests. Nothing is changed; every answer is bounded.

use std::collections::HashSet;

use common::id::{AccountId, ChunkId, NameToken, NodeId, VersionId};
use common::limits::{ANSWER_BYTES, LIST_ENTRIES, PLACEMENTS};
use common::proto::Refusal;
use common::proto::directory::{Found, List, Listing, LookUp, Manifests, PageView, ReadManifests};
use common::proto::parts::{EntryView, NodeKind, PlacedChunk, VersionView};
use common::proto::refusal::What;

use super::{Context, past};
use crate::authorize::OfAccount;
use crate::schema::{self, Node, key, record};
use crate::transact::{self, Operation, Stop, Txn};

/// Pages of one version that are read from the store at once: at most a mebibyte.
const PAGES_AT_ONCE: usize = 16;

impl Operation for LookUp {
    const NAME: &'static str = "LookUp";
    type Who = OfAccount;
    type Answer = Found;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Found, Stop> {
        let account = who.account();
        let at = known(txn, self.at);
        let mut entries = Vec::with_capacity(self.path.len());
        let mut folder = self.start;
        for token in &self.path {
            let Some(entry) = entry_at(txn, account, (folder, *token), at).await? else { break };
            let (node, kind) = (entry.record.node, entry.record.kind);
            let leads_to = if kind == NodeKind::File { node_at(txn, account, node, at).await? } else { None };
            entries.push(view(txn, account, (folder, *token), entry, leads_to).await?.ok_or(gone(at))?);
            if kind == NodeKind::File {
                break;
            }
            folder = node;
        }
        let mut filling = Filling::default();
        if self.manifest && entries.len() == self.path.len() {
            filling.bytes = entries.iter().map(entry_bytes).sum();
            if let Some(version) = entries.last().and_then(|file| file.version.as_ref()) {
                filling.version(txn, account, version.version, 0..version.pages).await?;
            }
        }
        let entries = entries.try_into().map_err(|_| Refusal::TooLarge(What::Entry))?;
        Ok(Found { entries, manifest: filling.answer(Vec::new())? })
    }
}

/// A sequence that was given out already: what it shows does not change any more.
fn known(txn: &Txn, at: Option<u64>) -> Option<u64> {
    at.map(|at| at.min(txn.last_sequence()))
}

/// An entry without what it leads to: now it is being changed, and in the past it was pruned.
fn gone(at: Option<u64>) -> Stop {
    if at.is_none() { Stop::Torn } else { Refusal::NotFound(What::Version).into() }
}

async fn entry_at(
    txn: &mut Txn,
    account: AccountId,
    place: (NodeId, NameToken),
    at: Option<u64>,
) -> Result<Option<transact::Found<schema::Entry>>, Stop> {
    let Some(at) = at else { return txn.peek(&key::entry(account, place.0, place.1)).await };
    let state = past::entry(txn, account, place, at).await?;
    Ok(state.map(|state| transact::Found { record: state.record, version: state.since }))
}

async fn node_at(
    txn: &mut Txn,
    account: AccountId,
    node: NodeId,
    at: Option<u64>,
) -> Result<Option<transact::Found<Node>>, Stop> {
    let Some(at) = at else { return txn.peek(&key::node(account, node)).await };
    let state = past::node(txn, account, node, at).await?;
    Ok(state.map(|state| transact::Found { record: state.record, version: state.since }))
}

/// What an entry takes in an answer, at most.
pub(super) fn entry_bytes(view: &EntryView) -> usize {
    view.sealed.len() + view.version.as_ref().map_or(0, |version| version.meta.len()) + 128
}

/// An entry with what it leads to; `None` for a file whose version is not there.
async fn view(
    txn: &mut Txn,
    account: AccountId,
    (folder, token): (NodeId, NameToken),
    entry: transact::Found<schema::Entry>,
    leads_to: Option<transact::Found<Node>>,
) -> Result<Option<EntryView>, Stop> {
    let schema::Entry { node, kind, sealed } = entry.record;
    let (version, since) = match (kind, leads_to) {
        (NodeKind::Folder, _) => (None, entry.version),
        (NodeKind::File, None) => return Ok(None),
        (NodeKind::File, Some(found)) => {
            let Some(version) = version_of(txn, account, found.record).await? else { return Ok(None) };
            (Some(version), entry.version.max(found.version))
        }
    };
    Ok(Some(EntryView { folder, token, node, kind, sealed, since, version }))
}

/// The version that a file's node leads to.
pub(super) async fn version_of(txn: &mut Txn, account: AccountId, node: Node) -> Result<Option<VersionView>, Stop> {
    let Node::File { version, .. } = node else { return Ok(None) };
    let Some(found) = txn.peek(&key::version(account, version)).await? else { return Ok(None) };
    Ok(Some(shown(version, found.record)))
}

/// One version of a file, current or not.
pub(super) async fn version_view(
    txn: &mut Txn,
    account: AccountId,
    node: NodeId,
    version: VersionId,
) -> Result<VersionView, Stop> {
    let found = txn.peek(&key::version(account, version)).await?.filter(|found| found.record.node == node);
    Ok(shown(version, found.ok_or(Refusal::NotFound(What::Version))?.record))
}

fn shown(version: VersionId, found: schema::Version) -> VersionView {
    let schema::Version { meta, pages, sealed_bytes, redundancy, committed, .. } = found;
    VersionView { version, meta, pages, sealed_bytes, redundancy, committed }
}

impl Operation for List {
    const NAME: &'static str = "List";
    type Who = OfAccount;
    type Answer = Listing;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Listing, Stop> {
        list(txn, who.account(), self).await
    }
}

/// One page of a folder of an account.
///
/// # Errors
/// When it is no folder.
pub(super) async fn list(txn: &mut Txn, account: AccountId, asked: &List) -> Result<Listing, Stop> {
    let at = known(txn, asked.at);
    match node_at(txn, account, asked.folder, at).await?.map(|found| found.record) {
        None => return Err(Refusal::NotFound(What::Folder).into()),
        Some(Node::File { .. }) => return Err(Refusal::NotAFolder.into()),
        Some(Node::Folder { .. }) => {}
    }
    let (found, mut next) = match at {
        None => current(txn, account, asked.folder, asked.after).await?,
        Some(at) => past::list(txn, account, asked.folder, asked.after, at, LIST_ENTRIES).await?,
    };
    let nodes = fetch_files(txn, account, &found, at).await?;
    let (mut entries, mut bytes) = (Vec::with_capacity(found.len()), 0);
    let mut passed = None;
    for ((token, entry), node) in found.into_iter().zip(nodes) {
        // Without its version: taken away while we read, or pruned.
        if let Some(view) = view(txn, account, (asked.folder, token), entry, node).await? {
            bytes += entry_bytes(&view);
            if bytes > ANSWER_BYTES && !entries.is_empty() {
                next = passed;
                break;
            }
            entries.push(view);
        }
        passed = Some(token);
    }
    let entries = entries.try_into().map_err(|_| Refusal::TooLarge(What::Entry))?;
    Ok(Listing { entries, next })
}

/// What is in a folder now, behind a token.
async fn current(txn: &Txn, account: AccountId, folder: NodeId, after: Option<NameToken>) -> Result<past::Part, Stop> {
    let mut range = key::entries(account, folder);
    if let Some(after) = after {
        range = range.behind(key::entry(account, folder, after).bytes());
    }
    let page = txn.scan(&range, LIST_ENTRIES).await?;
    let mut found = Vec::with_capacity(page.entries.len());
    for entry in page.entries {
        let token = key::token_of_entry(&entry.key)?;
        let record: schema::Entry = record::decode(&entry.value)?;
        found.push((token, transact::Found { record, version: entry.version }));
    }
    let next = found.last().map(|(token, _)| *token).filter(|_| page.more);
    Ok((found, next))
}

/// The nodes of a page's files, with their versions brought near, in as few goes as possible.
async fn fetch_files(
    txn: &mut Txn,
    account: AccountId,
    found: &[(NameToken, transact::Found<schema::Entry>)],
    at: Option<u64>,
) -> Result<Vec<Option<transact::Found<Node>>>, Stop> {
    let files = found.iter().filter(|(_, entry)| entry.record.kind == NodeKind::File);
    let keys: Vec<_> = files.map(|(_, entry)| key::node(account, entry.record.node)).collect();
    txn.fetch(&keys).await?;
    let mut nodes = Vec::with_capacity(found.len());
    for (_, entry) in found {
        let is_file = entry.record.kind == NodeKind::File;
        nodes.push(if is_file { node_at(txn, account, entry.record.node, at).await? } else { None });
    }
    let versions = nodes.iter().flatten().filter_map(|found| match found.record {
        Node::File { version, .. } => Some(key::version(account, version)),
        Node::Folder { .. } => None,
    });
    let versions: Vec<_> = versions.collect();
    txn.fetch(&versions).await?;
    Ok(nodes)
}

/// An answer that fills up.
#[derive(Default)]
pub(super) struct Filling {
    pages: Vec<PageView>,
    placements: Vec<PlacedChunk>,
    placed: HashSet<ChunkId>,
    bytes: usize,
}

impl Operation for ReadManifests {
    const NAME: &'static str = "ReadManifests";
    type Who = OfAccount;
    type Answer = Manifests;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Manifests, Stop> {
        let account = who.account();
        let versions: Vec<_> = self.wants.iter().map(|want| key::version(account, want.version)).collect();
        let versions = txn.peek_all(&versions).await?;
        let first: Vec<_> = self.wants.iter().map(|want| key::page(account, want.version, want.from)).collect();
        txn.fetch(&first).await?;
        let (mut filling, mut missing) = (Filling::default(), Vec::new());
        for (want, version) in self.wants.iter().zip(versions) {
            let Some(version) = version else {
                missing.push(want.version);
                continue;
            };
            let all = filling.version(txn, account, want.version, want.from..version.record.pages).await?;
            if !all {
                break;
            }
        }
        filling.answer(missing)
    }
}

impl Filling {
    pub(super) fn answer(self, missing: Vec<VersionId>) -> Result<Manifests, Stop> {
        Ok(Manifests {
            pages: self.pages.try_into().map_err(|_| Refusal::TooLarge(What::Page))?,
            placements: self.placements.try_into().map_err(|_| Refusal::TooLarge(What::Chunk))?,
            missing: missing.try_into().map_err(|_| Refusal::TooLarge(What::Version))?,
        })
    }

    /// Takes pages of a version as far as there is room; whether that was all of them.
    pub(super) async fn version(
        &mut self,
        txn: &mut Txn,
        account: AccountId,
        version: VersionId,
        pages: std::ops::Range<u32>,
    ) -> Result<bool, Stop> {
        let mut ahead = Vec::new();
        for number in pages.clone() {
            if number != pages.start && ahead.is_empty() {
                ahead = (number..pages.end).take(PAGES_AT_ONCE).map(|page| key::page(account, version, page)).collect();
                txn.fetch(&ahead).await?;
            }
            ahead.pop();
            let page = txn.peek(&key::page(account, version, number)).await?.ok_or(Refusal::NotFound(What::Page))?;
            if !self.page(txn, account, version, number, page.record).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn page(
        &mut self,
        txn: &mut Txn,
        account: AccountId,
        version: VersionId,
        page: u32,
        record: schema::Page,
    ) -> Result<bool, Stop> {
        let new: Vec<ChunkId> = record.chunks.iter().copied().filter(|chunk| !self.placed.contains(chunk)).collect();
        let keys: Vec<_> = new.iter().map(|chunk| key::chunk(account, *chunk)).collect();
        let chunks = txn.peek_all(&keys).await?;
        let mut placements = Vec::with_capacity(new.len());
        for (chunk, found) in new.into_iter().zip(chunks) {
            let found = found.ok_or(Refusal::NotFound(What::Chunk))?;
            placements.push(PlacedChunk { chunk, placement: found.record.placement() });
        }
        let shards: usize = placements.iter().map(|placed| 32 + placed.placement.shards.len() * 38).sum();
        let bytes = self.bytes + 32 + record.sealed.len() + shards;
        let over = bytes > ANSWER_BYTES
            || self.placements.len() + placements.len() > PLACEMENTS
            || self.pages.len() >= common::limits::READ_MANIFESTS;
        if over && !self.pages.is_empty() {
            return Ok(false);
        }
        self.bytes = bytes;
        self.placed.extend(placements.iter().map(|placed| placed.chunk));
        self.placements.extend(placements);
        self.pages.push(PageView { version, page, sealed: record.sealed });
        Ok(true)
    }
}
