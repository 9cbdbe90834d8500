//! Prune: ends history that is visible at no kept point, in steps that are a small commit each.
//!
//! Every record is judged by itself: whether there is a kept point in its interval at which the folder that it names could be reached
//! ([`keep`](super::keep)). So a step needs no memory of the others, may be repeated, and may be left out; a dry run judges alike. Three tables are gone over:
//! what names were, what nodes were, and the names in folders that are not there any more, whose records were never ended. What is part of
//! the tree now is never touched.
//!
//! Against those who write at the same time:
//! - history records are written once. What ended after the plan was made is kept by it, so nothing that happens later makes one that is
//!   dropped visible again, and a snapshot that is made later pins none of them (`op/snapshot.rs`);
//! - what is dropped from a folder that is not there is dropped under the check that the folder is still not there;
//! - a version goes in the commit that ends the last record which leads to it. Its references go later ([`let_go`]), each with the mark
//!   that its chunk may be collected; a new reference to such a chunk is made as any other.

use std::collections::{HashMap, HashSet};

use common::id::{AccountId, NodeId, RequestId, VersionId};
use common::proto::Refusal;
use common::proto::directory::{Prune, PruneCounts, PruneCursor, Pruned};
use common::proto::parts::NodeKind;
use common::proto::refusal::What;

use super::Context;
use super::keep::{Kept, Span, is_there, is_visible, records_of, spans};
use super::let_go::let_go;
use super::usage::{self, Change};
use crate::authorize::Keeper;
use crate::schema::key::Range;
use crate::schema::{Entry, Going, Node, key, record};
use crate::transact::{Operation, Stop, Txn};

/// Names whose history is looked at in one step.
const NAMES: usize = 512;
/// Records of nodes, and names in folders that are not there.
const RECORDS: usize = 256;
/// Folders that are passed over in one step.
const FOLDERS: usize = 256;

/// The tables, in the order in which they are gone over. A cursor says which.
mod phase {
    pub(super) const NAMES: u8 = 0;
    pub(super) const NODES: u8 = 1;
    pub(super) const GONE: u8 = 2;
    pub(super) const RELEASE: u8 = 3;
}

impl Operation for Prune {
    const NAME: &'static str = "Prune";
    const ESSENTIAL: bool = true;
    type Who = Keeper;
    type Answer = Pruned;

    fn request(&self) -> Option<RequestId> {
        (!self.dry_run).then_some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: Keeper, _: &Context) -> Result<Pruned, Stop> {
        let account = who.account();
        if !self.dry_run && txn.read(&key::fence()).await?.is_some_and(|fence| fence.record.up) {
            return Err(Refusal::Fenced.into());
        }
        let kept = Kept::of(txn, account, &self.retention).await?;
        let mut step = Step {
            txn,
            account,
            kept,
            last: usize::try_from(self.retention.last).unwrap_or(usize::MAX),
            dry_run: self.dry_run,
            counts: PruneCounts::default(),
            reached: HashMap::new(),
        };
        let (here, rest) = match self.cursor.phase {
            phase::NAMES => (phase::NAMES, step.names(&self.cursor).await?),
            phase::NODES => (phase::NODES, step.nodes(&self.cursor).await?),
            phase::GONE => (phase::GONE, step.gone(&self.cursor).await?),
            _ => {
                let more = !self.dry_run && let_go(step.txn, account).await?;
                (phase::RELEASE, more.then(Vec::new))
            }
        };
        let counts = step.counts;
        let [spread, ..] = self.request.0;
        if !self.dry_run {
            let files = i64::try_from(counts.versions).unwrap_or(i64::MAX).saturating_neg();
            usage::count(step.txn, account, spread, Change { bytes: 0, files }).await?;
        }
        let next = match rest {
            Some(key) => Some(cursor(here, key)?),
            None if here < phase::RELEASE => Some(cursor(here + 1, Vec::new())?),
            None => None,
        };
        Ok(Pruned { next, counts })
    }
}

fn cursor(phase: u8, key: Vec<u8>) -> Result<PruneCursor, Stop> {
    Ok(PruneCursor { phase, key: key.try_into().map_err(|_| Refusal::TooLarge(What::Request))? })
}

/// The rest of a range from a cursor on; a cursor cannot lead out of it.
fn rest_of<R>(mut range: Range<R>, cursor: &PruneCursor) -> Range<R> {
    if *cursor.key > *range.from {
        range.from = cursor.key.to_vec();
    }
    range
}

struct Step<'a> {
    txn: &'a mut Txn,
    account: AccountId,
    kept: Kept,
    last: usize,
    dry_run: bool,
    counts: PruneCounts,
    /// When folders could be reached, as far as it was asked in this step.
    reached: HashMap<NodeId, Vec<Span>>,
}

/// What is known of one file's versions.
struct Versions {
    /// Those that something kept leads to.
    needed: HashSet<VersionId>,
    /// Those of the last so many, of a file that is there.
    last: HashSet<VersionId>,
    /// For each other the beginning of the last record that leads to it.
    ends: HashMap<VersionId, u64>,
}

impl Step<'_> {
    fn delete<R: crate::schema::Record>(&mut self, key: &key::Key<R>) {
        if !self.dry_run {
            self.txn.delete(key);
        }
    }

    async fn is_visible(&mut self, folder: NodeId, span: Span, rests: bool) -> Result<bool, Stop> {
        if !self.kept.holds(span) {
            return Ok(false);
        }
        if !self.reached.contains_key(&folder) {
            let found = spans(self.txn, self.account, folder, &self.kept, rests).await?;
            self.reached.insert(folder, found);
        }
        let reached = self.reached.get(&folder).map(Vec::as_slice).unwrap_or_default();
        Ok(is_visible(reached, span, &self.kept))
    }

    /// What names were. Where to go on.
    async fn names(&mut self, cursor: &PruneCursor) -> Result<Option<Vec<u8>>, Stop> {
        let page = self.txn.scan(&rest_of(key::entry_histories(self.account), cursor), NAMES).await?;
        for entry in &page.entries {
            let (folder, token, since) = key::ids_of_entry_history(&entry.key)?;
            self.counts.looked_at += 1;
            if !self.is_visible(folder, Span { since, until: entry.version }, false).await? {
                self.counts.entries += 1;
                let key = key::entry_history(self.account, folder, token, since);
                self.delete(&key);
            }
        }
        Ok(page.next())
    }

    /// What nodes were, with the versions of files. Where to go on.
    async fn nodes(&mut self, cursor: &PruneCursor) -> Result<Option<Vec<u8>>, Stop> {
        let page = self.txn.scan(&rest_of(key::node_histories(self.account), cursor), RECORDS).await?;
        let mut of: Option<(NodeId, Option<Versions>)> = None;
        for entry in &page.entries {
            let (node, since) = key::ids_of_node_history(&entry.key)?;
            let record: Node = record::decode(&entry.value)?;
            let span = Span { since, until: entry.version };
            self.counts.looked_at += 1;
            let key = key::node_history(self.account, node, since);
            match record {
                Node::Folder { parent } => {
                    let Some(parent) = parent else { continue };
                    if !self.is_visible(parent, span, false).await? {
                        self.delete(&key);
                        if self.txn.read(&key::node(self.account, node)).await?.is_none() {
                            let guard = key::guard(self.account, node);
                            self.delete(&guard);
                        }
                    }
                }
                Node::File { version, parent } => {
                    if of.as_ref().is_none_or(|(known, _)| *known != node) {
                        of = Some((node, self.versions_of(node).await?));
                    }
                    let Some((_, Some(versions))) = &of else { continue };
                    let is_last = versions.ends.get(&version) == Some(&since);
                    if versions.last.contains(&version) {
                        continue;
                    }
                    if !self.is_visible(parent, span, false).await? {
                        self.delete(&key);
                        if is_last {
                            self.drop_version(version).await?;
                        }
                    }
                }
            }
        }
        Ok(page.next())
    }

    /// `None` for a file with more records than are read at once: it keeps them.
    async fn versions_of(&mut self, node: NodeId) -> Result<Option<Versions>, Stop> {
        let Some(records) = records_of(self.txn, self.account, node, false).await? else { return Ok(None) };
        let mut versions = Versions { needed: HashSet::new(), last: HashSet::new(), ends: HashMap::new() };
        if let Some((Span { until: u64::MAX, .. }, Node::File { parent, .. })) = records.last()
            && is_there(self.txn, self.account, *parent, false).await?
        {
            for (_, record) in records.iter().rev() {
                let Node::File { version, .. } = record else { continue };
                if versions.last.len() >= self.last.max(1) {
                    break;
                }
                versions.last.insert(*version);
            }
        }
        for (span, record) in &records {
            let Node::File { version, parent } = record else { continue };
            let stays = span.until == u64::MAX
                || versions.last.contains(version)
                || self.is_visible(*parent, *span, false).await?;
            if stays {
                versions.needed.insert(*version);
            } else {
                versions.ends.insert(*version, span.since);
            }
        }
        let needed = &versions.needed;
        versions.ends.retain(|version, _| !needed.contains(version));
        Ok(Some(versions))
    }

    async fn drop_version(&mut self, version: VersionId) -> Result<(), Stop> {
        let id = key::version(self.account, version);
        let Some(found) = self.txn.read(&id).await? else { return Ok(()) };
        self.counts.versions += 1;
        self.counts.sealed_bytes = self.counts.sealed_bytes.saturating_add(found.record.sealed_bytes);
        if !self.dry_run {
            self.txn.delete(&id);
            if found.record.pages > 0 {
                self.txn.put(&key::going(self.account, version), &Going { pages: found.record.pages })?;
            }
        }
        Ok(())
    }

    /// Names in folders that are not there any more. Where to go on.
    async fn gone(&mut self, cursor: &PruneCursor) -> Result<Option<Vec<u8>>, Stop> {
        let mut range = rest_of(key::entries_of(self.account), cursor);
        for _ in 0..FOLDERS {
            let first = self.txn.scan(&range, 1).await?;
            let Some(entry) = first.entries.first() else { return Ok(None) };
            let (folder, _) = key::place_of_entry(&entry.key)?;
            let whole = key::entries(self.account, folder);
            if is_there(self.txn, self.account, folder, false).await? {
                range.from = whole.to;
                continue;
            }
            // From here on the commit rests on its not being there.
            if is_there(self.txn, self.account, folder, true).await? {
                return Err(Stop::Torn);
            }
            let mut inside = whole;
            inside.from.clone_from(&range.from);
            let to = inside.to.clone();
            let page = self.txn.scan(&inside, RECORDS).await?;
            for entry in &page.entries {
                let record: Entry = record::decode(&entry.value)?;
                self.gone_entry(folder, &entry.key, entry.version, &record).await?;
            }
            return Ok(Some(page.next().unwrap_or(to)));
        }
        Ok(Some(range.from))
    }

    /// One name in such a folder, and what it leads to. The name is kept as long as its node's own record is: nothing else leads there.
    async fn gone_entry(&mut self, folder: NodeId, at: &[u8], since: u64, entry: &Entry) -> Result<(), Stop> {
        self.counts.looked_at += 1;
        let (_, token) = key::place_of_entry(at)?;
        let id = key::node(self.account, entry.node);
        let mut stays = self.is_visible(folder, Span { since, until: u64::MAX }, true).await?;
        if let Some(found) = self.txn.read(&id).await? {
            let span = Span { since: found.version, until: u64::MAX };
            if self.is_visible(folder, span, true).await? {
                stays = true;
            } else {
                self.gone_node(entry, found.record).await?;
            }
        }
        if !stays {
            let name = key::entry(self.account, folder, token);
            if self.txn.read(&name).await?.is_none_or(|found| found.version != since) {
                return Err(Stop::Torn);
            }
            self.counts.entries += 1;
            self.delete(&name);
        }
        Ok(())
    }

    async fn gone_node(&mut self, entry: &Entry, node: Node) -> Result<(), Stop> {
        let id = key::node(self.account, entry.node);
        self.delete(&id);
        match (entry.kind, node) {
            (NodeKind::File, Node::File { version, .. }) => {
                let Some(records) = records_of(self.txn, self.account, entry.node, false).await? else { return Ok(()) };
                for (span, record) in records {
                    let Node::File { version: other, parent } = record else { continue };
                    let is_history = span.until != u64::MAX;
                    if is_history && other == version && self.is_visible(parent, span, true).await? {
                        return Ok(());
                    }
                }
                self.drop_version(version).await
            }
            (_, _) => {
                let guard = key::guard(self.account, entry.node);
                self.delete(&guard);
                Ok(())
            }
        }
    }
}
