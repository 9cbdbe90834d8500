//! Check: holds every record of the store against every other, and, when asked, against the peers.
//!
//! | record | must have |
//! |---|---|
//! | entry in a folder that is there | its node, of the same kind |
//! | a file's node | its version |
//! | version | all its pages, and a record of its node, now or in history, that leads to it |
//! | page | for each chunk that it names the chunk's record, and a reference |
//! | reference | its version, also one on its way out, or its upload, and its chunk |
//! | usage | the sum of what chunks and versions count for |
//! | hold | its upload |
//! | a shard in a chunk's record | its place in the index of peers, and the other way round |
//! | share | its place among its account's |
//! | a small content's note | its pack |
//! | a pack's list of contents | its pack |
//! | chunk | a reference, or a mark that it may be collected; as many shards as it should have, or a mark |
//!
//! What can be mended without losing anything is: indexes, references and marks, which follow from other records. A page or a chunk that
//! is missing is not: it is said whose it was. Everything is looked at twice before it counts, since the directory goes on meanwhile.

mod shares;

use std::sync::Arc;

use common::bounded::BoundedVec;
use common::id::{AccountId, ChunkId, ContentId, PeerId, ShareId, VersionId};
use common::limits::FINDINGS;
use common::map::PeerState;
use common::proto::Refusal;
use common::proto::directory::StoreChecked;
use common::proto::parts::NodeKind;
use common::telemetry;
use serde::Serialize;

mod history;

use super::compare::{Look, compare};
use crate::authorize::Itself;
use crate::op::{Context, chunk as chunks, place::Changed};
use crate::schema::key::{self, Range};
use crate::schema::{Chunk, Content, Entry, Held, Mark, Node, Packed, Page, Version, record};
use crate::service::Service;
use crate::status::CountError;
use crate::transact::{Operation, Stop, Txn};

/// Records read at once.
const AT_ONCE: usize = 1_000;

/// Something that should not be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
enum Wrong {
    NodeMissing {
        account: AccountId,
        entry: Vec<u8>,
    },
    VersionMissing {
        account: AccountId,
        version: VersionId,
    },
    PagesMissing {
        account: AccountId,
        version: VersionId,
        pages: u32,
        found: u32,
    },
    ChunkMissing {
        account: AccountId,
        version: VersionId,
        chunk: ChunkId,
    },
    ReferenceMissing {
        account: AccountId,
        version: VersionId,
        chunk: ChunkId,
    },
    ReferenceStale {
        account: AccountId,
        version: VersionId,
        chunk: ChunkId,
    },
    /// Nothing leads to a version.
    VersionLost {
        account: AccountId,
        version: VersionId,
    },
    HoldStale {
        account: AccountId,
        upload: VersionId,
        chunk: ChunkId,
    },
    HeldStale {
        peer: PeerId,
        account: AccountId,
        address: common::address::ShardAddress,
    },
    /// A share and its place among its account's: one is there without the other.
    Share {
        account: AccountId,
        share: ShareId,
    },
    ContentStale {
        account: AccountId,
        content: ContentId,
    },
    PackedStale {
        account: AccountId,
        pack: ChunkId,
        version: VersionId,
    },
    /// The indexes of a chunk: who holds it, whether it is to be repaired, whether it may be collected.
    Indexes {
        account: AccountId,
        chunk: ChunkId,
    },
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NodeMissing { account, .. } => write!(f, "account {account}: an entry leads to nothing"),
            Self::VersionMissing { account, version } => {
                write!(f, "account {account}: the current version {version} of a file is missing")
            }
            Self::PagesMissing { account, version, pages, found } => {
                write!(f, "account {account}: version {version} has {found} of its {pages} pages")
            }
            Self::ChunkMissing { account, version, chunk } => {
                write!(f, "account {account}: chunk {chunk}, which version {version} needs, has no record")
            }
            Self::ReferenceMissing { account, version, chunk } => {
                write!(f, "account {account}: version {version} does not hold its chunk {chunk}")
            }
            Self::ReferenceStale { account, version, chunk } => {
                write!(f, "account {account}: chunk {chunk} is held by version {version}, which is not there")
            }
            Self::VersionLost { account, version } => {
                write!(f, "account {account}: nothing leads to version {version}")
            }
            Self::HoldStale { account, upload, .. } => {
                write!(f, "account {account}: something is held by upload {upload}, which is not there")
            }
            Self::HeldStale { peer, address, .. } => {
                write!(f, "peer {peer}: shard {address} stands in the index and in no chunk's record")
            }
            Self::Share { account, share } => {
                write!(f, "account {account}: share {share} is not what the account's list says")
            }
            Self::ContentStale { account, content } => {
                write!(f, "account {account}: small content {content} is noted in a pack that is not there")
            }
            Self::PackedStale { account, pack, .. } => {
                write!(f, "account {account}: contents are listed of pack {pack}, which is not there")
            }
            Self::Indexes { account, chunk } => {
                write!(f, "account {account}: the indexes of chunk {chunk} are wrong")
            }
        }
    }
}

/// Looks at one suspicion again, on records that belong together, and mends it if that is wanted.
#[derive(Debug, Clone, Serialize)]
struct Mend {
    wrong: Wrong,
    repair: bool,
}

impl Operation for Mend {
    const NAME: &'static str = "Mend";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    /// Whether it is wrong indeed.
    type Answer = Changed;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Changed, Stop> {
        let is_wrong = self.look(txn, context).await?;
        Ok(Changed { changed: is_wrong })
    }
}

impl Mend {
    async fn look(&self, txn: &mut Txn, context: &Context) -> Result<bool, Stop> {
        match &self.wrong {
            Wrong::NodeMissing { .. } => Ok(true), // committed with it, and never changed by itself
            // They go when the version does, and not before.
            Wrong::PagesMissing { account, version, .. } => {
                Ok(txn.read(&key::version(*account, *version)).await?.is_some())
            }
            Wrong::VersionLost { account, version } => history::lost(txn, *account, *version, self.repair).await,
            Wrong::VersionMissing { account, version } => {
                Ok(txn.read(&key::version(*account, *version)).await?.is_none())
            }
            Wrong::ChunkMissing { account, version, chunk } => {
                let needed = txn.read(&key::version(*account, *version)).await?.is_some();
                Ok(needed && txn.read(&key::chunk(*account, *chunk)).await?.is_none())
            }
            Wrong::ReferenceMissing { account, version, chunk } => {
                let reference = key::reference(*account, *chunk, *version);
                let needed = txn.read(&key::version(*account, *version)).await?.is_some();
                let is_wrong = needed && txn.read(&reference).await?.is_none();
                if is_wrong && self.repair {
                    txn.put(&reference, &Mark {})?;
                }
                Ok(is_wrong)
            }
            Wrong::ReferenceStale { account, version, chunk } => {
                let version_is = txn.read(&key::version(*account, *version)).await?.is_some();
                let going = txn.read(&key::going(*account, *version)).await?.is_some();
                let upload_is = going || txn.read(&key::pending(*account, *version)).await?.is_some();
                let reference = key::reference(*account, *chunk, *version);
                let is_wrong = !version_is && !upload_is && txn.read(&reference).await?.is_some();
                if is_wrong && self.repair {
                    txn.delete(&reference);
                    txn.put(&key::collect(*account, *chunk), &Mark {})?;
                }
                Ok(is_wrong)
            }
            Wrong::HoldStale { account, upload, chunk } => {
                let hold = key::hold(*account, *upload, *chunk);
                let is_wrong =
                    txn.read(&key::pending(*account, *upload)).await?.is_none() && txn.read(&hold).await?.is_some();
                if is_wrong && self.repair {
                    txn.delete(&hold);
                }
                Ok(is_wrong)
            }
            Wrong::HeldStale { peer, account, address } => {
                let index = key::held(*peer, *account, *address);
                let Some(held) = txn.read(&index).await?.map(|found| found.record) else { return Ok(false) };
                let chunk = txn.read(&key::chunk(*account, held.chunk)).await?;
                let is_there = |chunk: &Chunk| chunk.shards.iter().any(|s| s.peer == *peer && s.address == *address);
                let is_wrong = !chunk.is_some_and(|chunk| is_there(&chunk.record));
                if is_wrong && self.repair {
                    txn.delete(&index);
                }
                Ok(is_wrong)
            }
            Wrong::Share { account, share } => shares::mend(txn, *account, *share, self.repair).await,
            Wrong::ContentStale { account, content } => {
                let note = key::content(*account, *content);
                let Some(found) = txn.read(&note).await? else { return Ok(false) };
                let is_wrong = txn.read(&key::chunk(*account, found.record.pack)).await?.is_none();
                if is_wrong && self.repair {
                    txn.delete(&note);
                }
                Ok(is_wrong)
            }
            Wrong::PackedStale { account, pack, version } => {
                let list = key::packed(*account, *pack, *version);
                let is_wrong =
                    txn.read(&key::chunk(*account, *pack)).await?.is_none() && txn.read(&list).await?.is_some();
                if is_wrong && self.repair {
                    txn.delete(&list);
                }
                Ok(is_wrong)
            }
            Wrong::Indexes { account, chunk } => {
                let Some(found) = txn.read(&key::chunk(*account, *chunk)).await? else { return Ok(false) };
                let wrong = indexes_wrong(txn, *account, *chunk, &found.record, context).await?;
                if wrong && self.repair {
                    // As if nothing had been indexed so far.
                    chunks::write(txn, *account, *chunk, &found.record, None, &context.roster)?;
                    txn.put(&key::collect(*account, *chunk), &Mark {})?;
                }
                Ok(wrong)
            }
        }
    }
}

/// Whether a chunk's shards are not all in the index of peers, or a mark is missing.
async fn indexes_wrong(
    txn: &mut Txn,
    account: AccountId,
    chunk: ChunkId,
    record: &Chunk,
    context: &Context,
) -> Result<bool, Stop> {
    for shard in &record.shards {
        let held = txn.read(&key::held(shard.peer, account, shard.address)).await?;
        if held.is_none_or(|held| held.record.chunk != chunk) {
            return Ok(true);
        }
    }
    let lacks = record.shards.len() < record.redundancy.n();
    if lacks && txn.read(&key::repair(account, chunk)).await?.is_none() && context.roster.has_peers() {
        return Ok(true);
    }
    let referenced = !txn.scan(&key::references(account, chunk), 1).await?.entries.is_empty();
    Ok(!referenced && txn.read(&key::collect(account, chunk)).await?.is_none())
}

struct Checking<'a> {
    service: &'a Arc<Service>,
    repair: bool,
    report: StoreChecked,
    lines: Vec<String>,
}

/// Checks the whole store.
///
/// # Errors
/// When the store cannot be read.
pub async fn check(service: &Arc<Service>, repair: bool, deep: bool) -> Result<StoreChecked, Refusal> {
    let mut checking = Checking { service, repair, report: StoreChecked::default(), lines: Vec::new() };
    checking.all().await.map_err(|error| {
        tracing::error!(error = telemetry::chain(&error), "the store cannot be checked");
        Refusal::Internal
    })?;
    if deep {
        checking.peers().await;
    }
    let Checking { mut report, lines, .. } = checking;
    let lines: Vec<_> = lines.into_iter().filter_map(|line| line.try_into().ok()).take(FINDINGS).collect();
    report.lines = BoundedVec::try_from(lines).unwrap_or_default();
    Ok(report)
}

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Read(#[from] CountError),
    #[error("it was refused: {0}")]
    Refused(#[from] Refusal),
}

impl Checking<'_> {
    async fn all(&mut self) -> Result<(), CheckError> {
        self.over(&key::all_entries(), |key, value, found| {
            let entry: Entry = record::decode(value)?;
            let Some(account) = key.get(1..17).and_then(AccountId::from_slice) else { return Ok(()) };
            found.push(Ask::Node { account, entry: key.to_vec(), node: entry.node, kind: entry.kind });
            Ok(())
        })
        .await?;
        self.over(&key::all_versions(), |key, value, found| {
            let (account, version) = key::ids_of_version(key)?;
            let record: Version = record::decode(value)?;
            found.push(Ask::Pages { account, version, pages: record.pages });
            Ok(())
        })
        .await?;
        self.usage().await?;
        self.over(&key::all_references(), |key, _, found| {
            let (account, chunk, version) = key::ids_of_reference(key)?;
            found.push(Ask::Suspect(Wrong::ReferenceStale { account, version, chunk }));
            Ok(())
        })
        .await?;
        self.over(&key::all_holds(), |key, _, found| {
            let (account, upload, chunk) = key::ids_of_hold(key)?;
            found.push(Ask::Suspect(Wrong::HoldStale { account, upload, chunk }));
            Ok(())
        })
        .await?;
        self.over(&key::all_held(), |key, value, found| {
            let (peer, account, address) = key::ids_of_held(key)?;
            let _: Held = record::decode(value)?;
            found.push(Ask::Suspect(Wrong::HeldStale { peer, account, address }));
            Ok(())
        })
        .await?;
        self.over(&key::all_changes(), |key, value, _| {
            key::time_of_change(key)?;
            record::decode::<Mark>(value).map(|_| ())
        })
        .await?;
        self.shares().await?;
        self.over(&key::all_contents(), |key, value, found| {
            let (account, content) = key::ids_of_content(key)?;
            let _: Content = record::decode(value)?;
            found.push(Ask::Suspect(Wrong::ContentStale { account, content }));
            Ok(())
        })
        .await?;
        self.over(&key::all_packed(), |key, value, found| {
            let (account, pack, version) = key::ids_of_packed(key)?;
            let _: Packed = record::decode(value)?;
            found.push(Ask::Suspect(Wrong::PackedStale { account, pack, version }));
            Ok(())
        })
        .await?;
        self.over(&key::chunks(), |key, value, found| {
            let (account, chunk) = key::ids_of_chunk(key)?;
            found.push(Ask::Chunk { account, chunk, record: Box::new(record::decode(value)?) });
            Ok(())
        })
        .await
    }

    /// Walks over a table, and asks what follows from each record, a part at a time.
    async fn over<R>(
        &mut self,
        range: &Range<R>,
        mut visit: impl FnMut(&[u8], &[u8], &mut Vec<Ask>) -> Result<(), crate::schema::RecordError>,
    ) -> Result<(), CheckError> {
        let mut from = range.from.clone();
        loop {
            let page = self.service.store.scan(&from, &range.to, AT_ONCE).await.map_err(CountError::from)?;
            let mut asks = Vec::new();
            for entry in &page.entries {
                self.report.records += 1;
                if let Err(error) = visit(&entry.key, &entry.value, &mut asks) {
                    self.say(format!("a record cannot be read: {}", telemetry::chain(&error)));
                }
            }
            for ask in asks {
                self.ask(ask).await?;
            }
            let Some(next) = page.next() else { return Ok(()) };
            from = next;
        }
    }

    fn say(&mut self, line: String) {
        self.report.found += 1;
        if self.lines.len() < FINDINGS {
            self.lines.push(line);
        }
    }

    async fn ask(&mut self, ask: Ask) -> Result<(), CheckError> {
        let mut txn = Txn::new(self.service.store.clone());
        let read = CountError::from;
        match ask {
            Ask::Suspect(wrong) => self.suspect(wrong).await?,
            Ask::Node { account, entry, node, kind } => {
                let found = txn.peek(&key::node(account, node)).await.map_err(read)?.map(|found| found.record);
                match (kind, found) {
                    (NodeKind::Folder, Some(Node::Folder { .. })) => {}
                    (NodeKind::File, Some(Node::File { version, .. })) => {
                        if txn.peek(&key::version(account, version)).await.map_err(read)?.is_none() {
                            self.suspect(Wrong::VersionMissing { account, version }).await?;
                        }
                    }
                    _ => {
                        // It may have been moved or removed since it was read.
                        let key = self.service.store.get(&[&entry]).await.map_err(CountError::from)?;
                        let is_there = key.into_iter().flatten().next().is_some();
                        if is_there && history::is_in_the_tree(&mut txn, account, &entry).await.map_err(read)? {
                            self.suspect(Wrong::NodeMissing { account, entry }).await?;
                        }
                    }
                }
            }
            Ask::Pages { account, version, pages } => {
                self.suspect(Wrong::VersionLost { account, version }).await?;
                self.pages(account, version, pages).await?;
            }
            Ask::Chunk { account, chunk, record } => {
                let context = self.service.context();
                if indexes_wrong(&mut txn, account, chunk, &record, &context).await.map_err(read)? {
                    self.suspect(Wrong::Indexes { account, chunk }).await?;
                }
                let alive = record.alive(|peer| context.roster.is_alive(peer));
                if alive < record.redundancy.k() {
                    self.report.unreadable += 1;
                }
            }
        }
        Ok(())
    }

    async fn pages(&mut self, account: AccountId, version: VersionId, pages: u32) -> Result<(), CheckError> {
        let range = key::pages(account, version, 0);
        let (mut from, mut count) = (range.from, 0);
        loop {
            let page = self.service.store.scan(&from, &range.to, 16).await.map_err(CountError::from)?;
            for entry in &page.entries {
                self.report.records += 1;
                count += 1;
                let record: Page = match record::decode(&entry.value) {
                    Ok(record) => record,
                    Err(error) => {
                        self.say(format!("version {version}: a page cannot be read: {}", telemetry::chain(&error)));
                        continue;
                    }
                };
                self.chunks_of(account, version, &record).await?;
            }
            let Some(next) = page.next() else { break };
            from = next;
        }
        if count < pages {
            self.suspect(Wrong::PagesMissing { account, version, pages, found: count }).await?;
        }
        Ok(())
    }

    async fn chunks_of(&mut self, account: AccountId, version: VersionId, page: &Page) -> Result<(), CheckError> {
        let mut txn = Txn::new(self.service.store.clone());
        let records: Vec<_> = page.chunks.iter().map(|chunk| key::chunk(account, *chunk)).collect();
        let references: Vec<_> = page.chunks.iter().map(|chunk| key::reference(account, *chunk, version)).collect();
        let records = txn.peek_all(&records).await.map_err(CountError::from)?;
        let references = txn.peek_all(&references).await.map_err(CountError::from)?;
        for ((chunk, record), reference) in page.chunks.iter().zip(records).zip(references) {
            if record.is_none() {
                self.suspect(Wrong::ChunkMissing { account, version, chunk: *chunk }).await?;
            }
            if reference.is_none() {
                self.suspect(Wrong::ReferenceMissing { account, version, chunk: *chunk }).await?;
            }
        }
        Ok(())
    }

    /// Looks again, in a transaction, and mends.
    async fn suspect(&mut self, wrong: Wrong) -> Result<(), CheckError> {
        let mostly_well = matches!(
            wrong,
            Wrong::VersionLost { .. }
                | Wrong::ReferenceStale { .. }
                | Wrong::HoldStale { .. }
                | Wrong::HeldStale { .. }
                | Wrong::Share { .. }
                | Wrong::ContentStale { .. }
                | Wrong::PackedStale { .. }
        );
        if mostly_well && !self.looks_wrong(&wrong).await? {
            return Ok(());
        }
        let mend = Mend { wrong, repair: self.repair };
        if self.service.run(&mend, Itself).await?.changed {
            let Mend { wrong, .. } = mend;
            let mended = self.repair
                && !matches!(
                    wrong,
                    Wrong::NodeMissing { .. }
                        | Wrong::VersionMissing { .. }
                        | Wrong::PagesMissing { .. }
                        | Wrong::ChunkMissing { .. }
                );
            self.report.repaired += u64::from(mended);
            self.say(format!("{wrong}{}", if mended { ": mended" } else { "" }));
        }
        Ok(())
    }

    /// A look without a transaction: nearly always all is well.
    async fn looks_wrong(&self, wrong: &Wrong) -> Result<bool, CheckError> {
        let mut txn = Txn::new(self.service.store.clone());
        let look = Mend { wrong: wrong.clone(), repair: false };
        Ok(look.look(&mut txn, &self.service.context()).await.map_err(CountError::from)?)
    }

    /// Compares all peers' inventories.
    async fn peers(&mut self) {
        for entry in self.service.members.roster().peers() {
            if entry.state != PeerState::Online {
                self.report.absent += 1;
                continue;
            }
            let look = if self.repair { Look::AtDifferences } else { Look::Only };
            match compare(self.service, entry.peer, look).await {
                Ok(compared) => {
                    self.report.peers += 1;
                    self.report.missing += compared.missing;
                    self.report.unknown += compared.unknown;
                }
                Err(error) => {
                    self.report.absent += 1;
                    self.say(format!("peer {}: {}", entry.peer, telemetry::chain(&error)));
                }
            }
        }
    }
}

/// What follows from one record.
enum Ask {
    Suspect(Wrong),
    Node { account: AccountId, entry: Vec<u8>, node: common::id::NodeId, kind: NodeKind },
    Pages { account: AccountId, version: VersionId, pages: u32 },
    Chunk { account: AccountId, chunk: ChunkId, record: Box<Chunk> },
}
