//! Contents: asking which small contents are stored already, and noting where those are that are published.
//!
//! A note holds nothing. It counts only while its pack is there at the redundancy that is asked for, and goes with the pack; a later note of
//! the same content takes its place.

use std::collections::{BTreeMap, HashMap};

use common::bounded::BoundedVec;
use common::id::{AccountId, ChunkId, ContentId, VersionId};
use common::proto::Refusal;
use common::proto::directory::{AskContents, ContentsAnswered, KnownContent, NewContent, NewFile};
use common::proto::refusal::What;

use super::{Context, chunk, upload};
use crate::authorize::OfAccount;
use crate::schema::{Content, Packed, key, record};
use crate::transact::{Operation, Stop, Txn};

/// Lists of a pack's contents that are forgotten in one commit.
const LISTS_AT_ONCE: usize = 8;

impl Operation for AskContents {
    const NAME: &'static str = "AskContents";
    type Who = OfAccount;
    type Answer = ContentsAnswered;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<ContentsAnswered, Stop> {
        let account = who.account();
        upload::used(txn, account, self.version, context).await?;
        let keys: Vec<_> = self.contents.iter().map(|content| key::content(account, *content)).collect();
        let contents = txn.peek_all(&keys).await?;
        let mut packs: Vec<ChunkId> = contents.iter().flatten().map(|found| found.record.pack).collect();
        packs.sort_unstable();
        packs.dedup();
        let held = chunk::take(txn, account, self.version, &packs, self.redundancy, context).await?;
        let packs: HashMap<ChunkId, bool> = packs.into_iter().zip(held.iter().map(Option::is_some)).collect();
        let there = |content: &Content| packs.get(&content.pack).copied().unwrap_or(false);
        let known = contents.into_iter().map(|found| {
            let Content { pack, sealed } = found.map(|found| found.record).filter(there)?;
            Some(KnownContent { pack, sealed })
        });
        let known: Vec<_> = known.collect();
        Ok(ContentsAnswered { known: known.try_into().map_err(|_| Refusal::TooLarge(What::Chunk))? })
    }
}

/// The contents of files that became visible in one commit, by their packs.
#[derive(Default)]
pub struct Noted(BTreeMap<ChunkId, (VersionId, Vec<ContentId>)>);

impl Noted {
    /// Whether a file's note may be taken: it has one extent then, and so its page one chunk.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] otherwise.
    pub fn check(file: &NewFile) -> Result<(), Refusal> {
        let chunks = file.inline.as_ref().map_or(0, |page| page.chunks.len());
        if file.content.is_some() && chunks != 1 { Err(Refusal::Malformed) } else { Ok(()) }
    }

    /// Notes where the content of a visible file is.
    ///
    /// # Errors
    /// When the record is too long.
    pub fn file(&mut self, txn: &mut Txn, account: AccountId, file: &NewFile) -> Result<(), Stop> {
        let (Some(new), Some(page)) = (&file.content, &file.inline) else { return Ok(()) };
        let Some(pack) = page.chunks.first().copied() else { return Ok(()) };
        self.note(txn, account, pack, file.version, new)
    }

    /// Notes in which pack a content of a version is.
    ///
    /// # Errors
    /// When the record is too long.
    pub fn note(
        &mut self,
        txn: &mut Txn,
        account: AccountId,
        pack: ChunkId,
        version: VersionId,
        new: &NewContent,
    ) -> Result<(), Stop> {
        txn.put(&key::content(account, new.content), &Content { pack, sealed: new.sealed.clone() })?;
        self.0.entry(pack).or_insert_with(|| (version, Vec::new())).1.push(new.content);
        Ok(())
    }

    /// Writes the lists.
    ///
    /// # Errors
    /// When a record is too long.
    pub fn write(self, txn: &mut Txn, account: AccountId) -> Result<(), Stop> {
        for (pack, (version, contents)) in self.0 {
            let contents = BoundedVec::try_from(contents).map_err(|_| Refusal::TooLarge(What::Request))?;
            txn.put(&key::packed(account, pack, version), &Packed { contents })?;
        }
        Ok(())
    }
}

/// Forgets contents of a pack that is collected; whether that was all of them.
///
/// # Errors
/// When the store cannot be read.
pub async fn forget(txn: &mut Txn, account: AccountId, pack: ChunkId) -> Result<bool, Stop> {
    let lists = txn.scan(&key::packed_in(account, pack), LISTS_AT_ONCE).await?;
    for entry in &lists.entries {
        let Packed { contents } = record::decode(&entry.value)?;
        let (_, _, version) = key::ids_of_packed(&entry.key)?;
        let keys: Vec<_> = contents.iter().map(|content| key::content(account, *content)).collect();
        // Checked: whoever notes the content elsewhere meanwhile is not undone.
        for (key, found) in keys.iter().zip(txn.read_all(&keys).await?) {
            if found.is_some_and(|found| found.record.pack == pack) {
                txn.delete(key);
            }
        }
        txn.delete(&key::packed(account, pack, version));
    }
    Ok(!lists.more)
}
