//! Publish: what makes files visible. Each file is decided for itself; those that can be are all in one commit.
//!
//! A file is compared with what its publisher saw under the name, and set only if that is still so. Its version gets references of its
//! own, and what was there goes into history. Two files for one name in one request: the second one is refused.

use std::collections::HashSet;

use common::bounded::BoundedVec;
use common::id::{AccountId, RequestId};
use common::limits::EXTENTS_PER_PAGE;
use common::proto::Refusal;
use common::proto::directory::{Expect, FilePublished, NewFile, Publish, Published};
use common::proto::parts::{NodeKind, SealedPage};
use common::proto::refusal::What;

use super::content::Noted;
use super::usage::Change;
use super::{Context, page, rekey, tree, upload, usage};
use crate::authorize::OfAccount;
use crate::schema::{Entry, Mark, Node, Page, Pending, Version, key};
use crate::transact::{Found, Operation, Stop, Txn};

/// Pages looked at in one go when a long manifest is checked to be there.
const PAGES_AT_ONCE: usize = 64;

/// An answer's place for the sequence number, until the commit has one.
const UNSETTLED: u64 = 0;

impl Operation for Publish {
    const NAME: &'static str = "Publish";
    type Who = OfAccount;
    type Answer = Published;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Published, Stop> {
        let account = who.account();
        let mut pending = upload::used(txn, account, self.upload, context).await?.record;
        rekey::check(txn, account, self.files.iter().flat_map(sealed)).await?;
        fetch(self, txn, account).await?;
        let new = Change { bytes: 0, files: i64::try_from(self.files.len()).unwrap_or(i64::MAX) };
        usage::check(txn, account, new).await?;
        let mut names = HashSet::new();
        let mut results = Vec::with_capacity(self.files.len());
        let mut noted = Noted::default();
        for file in &self.files {
            if !names.insert((file.folder, file.token)) {
                results.push(FilePublished::Refused(Refusal::Conflict));
                continue;
            }
            results.push(match publish(self, txn, account, file, &mut pending, context).await {
                Err(Stop::Refused(refusal)) => FilePublished::Refused(refusal),
                result => result?,
            });
            if let Some(FilePublished::Visible(_)) = results.last() {
                noted.file(txn, account, file)?;
            }
        }
        if results.iter().any(|result| matches!(result, FilePublished::Visible(_))) {
            tree::note_change(txn, account, context.now)?;
        }
        let visible = results.iter().filter(|result| matches!(result, FilePublished::Visible(_))).count();
        let files = i64::try_from(visible).unwrap_or(i64::MAX);
        let [spread, ..] = self.request.0;
        usage::count(txn, account, spread, Change { bytes: 0, files }).await?;
        noted.write(txn, account)?;
        if self.done && results.iter().all(|result| matches!(result, FilePublished::Visible(_))) {
            pending.ending = true;
            txn.put(&key::pending(account, self.upload), &pending)?;
        }
        Ok(Published { results: results.try_into().map_err(|_| Refusal::TooLarge(What::Request))? })
    }

    fn settle(answer: &mut Published, sequence: u64) {
        let settled = answer.results.iter().map(|result| match result {
            FilePublished::Visible(UNSETTLED) => FilePublished::Visible(sequence),
            other => other.clone(),
        });
        let settled: Vec<_> = settled.collect();
        answer.results = settled.try_into().unwrap_or_else(|_| answer.results.clone()); // of the same length
    }
}

/// All that is sealed under the account's key.
fn sealed(file: &NewFile) -> impl Iterator<Item = &[u8]> {
    let content = file.content.iter().map(|content| &*content.sealed);
    [&*file.sealed, &*file.meta].into_iter().chain(content)
}

/// Reads in four goes what the files need.
async fn fetch(publish: &Publish, txn: &mut Txn, account: AccountId) -> Result<(), Stop> {
    let entries: Vec<_> = publish.files.iter().map(|file| key::entry(account, file.folder, file.token)).collect();
    txn.fetch(&entries).await?;
    let nodes: Vec<_> = publish.files.iter().map(|file| key::node(account, file.node)).collect();
    txn.fetch(&nodes).await?;
    let versions: Vec<_> = publish.files.iter().map(|file| key::version(account, file.version)).collect();
    txn.fetch(&versions).await?;
    let going: Vec<_> = publish.files.iter().map(|file| key::going(account, file.version)).collect();
    txn.fetch(&going).await
}

async fn publish(
    request: &Publish,
    txn: &mut Txn,
    account: AccountId,
    file: &NewFile,
    pending: &mut Pending,
    context: &Context,
) -> Result<FilePublished, Stop> {
    tree::climb(txn, account, file.folder, None).await?;
    let there = match compare(txn, account, file).await? {
        Ok(there) => there,
        Err(changed) => return Ok(changed),
    };
    // One of this id may be on its way out: its pages are not this one's.
    let going = txn.read(&key::going(account, file.version)).await?.is_some();
    if going || txn.read(&key::version(account, file.version)).await?.is_some() {
        return Err(Refusal::Exists(What::Version).into());
    }
    Noted::check(file)?;
    let manifest = manifest(request, txn, account, file).await?;
    // Nothing is refused from here on: what was written so far would stay in the commit.
    if let Some(inline) = manifest {
        for chunk in &inline.chunks {
            txn.put(&key::reference(account, *chunk, file.version), &Mark {})?;
        }
        txn.put(&key::page(account, file.version, 0), &inline)?;
    }
    if file.version == request.upload {
        pending.published = true;
        txn.put(&key::pending(account, request.upload), pending)?;
    }
    let version = Version {
        node: file.node,
        meta: file.meta.clone(),
        redundancy: file.redundancy,
        pages: file.pages,
        sealed_bytes: file.sealed_bytes,
        committed: context.now,
    };
    txn.put(&key::version(account, file.version), &version)?;
    let entry = Entry { node: file.node, kind: NodeKind::File, sealed: file.sealed.clone() };
    let (entry_before, node_before) = there.map_or((None, None), |(entry, node)| (Some(entry), Some(node)));
    if entry_before.as_ref().is_none_or(|before| before.record != entry) {
        tree::put_entry(txn, account, (file.folder, file.token), &entry, entry_before.as_ref())?;
    }
    tree::put_node(
        txn,
        account,
        file.node,
        Node::File { version: file.version, parent: file.folder },
        node_before.as_ref(),
    )?;
    Ok(FilePublished::Visible(UNSETTLED))
}

type There = Option<(Found<Entry>, Found<Node>)>;

/// What is under the name, if it is what the publisher saw; else the answer that says what is.
async fn compare(txn: &mut Txn, account: AccountId, file: &NewFile) -> Result<Result<There, FilePublished>, Stop> {
    let Some(entry) = txn.read(&key::entry(account, file.folder, file.token)).await? else {
        if file.expect != Expect::Nothing {
            return Ok(Err(FilePublished::Changed(None)));
        }
        if txn.read(&key::node(account, file.node)).await?.is_some() {
            return Err(Refusal::Exists(What::Node).into());
        }
        return Ok(Ok(None));
    };
    let node = tree::node_of(txn, account, &entry.record).await?;
    let Node::File { version, .. } = node.record else {
        let seen = (entry.record.node, NodeKind::Folder, None);
        return Ok(Err(FilePublished::Changed(Some(seen))));
    };
    if file.expect != Expect::File(entry.record.node, version) {
        let seen = (entry.record.node, NodeKind::File, Some(version));
        return Ok(Err(FilePublished::Changed(Some(seen))));
    }
    if file.node != entry.record.node {
        return Err(Refusal::Malformed.into());
    }
    Ok(Ok(Some((entry, node))))
}

/// Checks that the manifest is there and that all it names is held; the page to write, when the file brings it along.
async fn manifest(request: &Publish, txn: &mut Txn, account: AccountId, file: &NewFile) -> Result<Option<Page>, Stop> {
    if let Some(inline) = &file.inline {
        if file.pages != 1 || file.version == request.upload {
            return Err(Refusal::Malformed.into());
        }
        page::held(txn, account, request.upload, &inline.chunks).await?;
        let chunks = BoundedVec::<_, EXTENTS_PER_PAGE>::try_from(inline.chunks.to_vec());
        let sealed = SealedPage::try_from(inline.sealed.to_vec());
        let (Ok(chunks), Ok(sealed)) = (chunks, sealed) else { return Err(Refusal::TooLarge(What::Page).into()) };
        return Ok(Some(Page { chunks, sealed }));
    }
    if file.pages > 0 {
        if file.version != request.upload {
            return Err(Refusal::Malformed.into());
        }
        count_pages(txn, account, file).await?;
    }
    Ok(None)
}

/// Pages cannot change while this decides: writing one rests on the version not being published.
async fn count_pages(txn: &Txn, account: AccountId, file: &NewFile) -> Result<(), Stop> {
    let mut next = 0;
    while next < file.pages {
        let page = txn.scan(&key::pages(account, file.version, next), PAGES_AT_ONCE).await?;
        for entry in &page.entries {
            if key::page_of_page(&entry.key)? != next {
                return Err(Refusal::NotFound(What::Page).into());
            }
            next += 1;
        }
        if !page.more {
            break;
        }
    }
    if next == file.pages { Ok(()) } else { Err(Refusal::NotFound(What::Page).into()) }
}
