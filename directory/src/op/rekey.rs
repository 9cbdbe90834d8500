//! Rekey: another master key for an account. What it has sealed is listed and replaced, and nothing else changes: a replaced value stays as old
//! as it was, so history reads as before.
//!
//! From the commit of a rotation on, nothing is taken that is sealed under another key ([`check`]); so what is listed as stale only gets
//! less, but for what a decision of before wrote back, which the next pass finds.
//!
//! A value's number is all that the directory can tell; whether it opens with the key of that number is the account's own affair.

use common::bounded::BoundedVec;
use common::id::{AccountId, RequestId};
use common::limits::{ANSWER_BYTES, RESEAL_VALUES, SHARES, TRANSACTION_BYTES};
use common::proto::Refusal;
use common::proto::directory::{
    Done, KeyRotated, ListStale, Reseal, Resealed, ResealedValue, RotateKey, SealedAt, SettleKey, StaleListed,
    StaleValue,
};
use common::proto::refusal::What;
use common::proto::share::ShareTarget;
use common::sealed;

use super::{Context, conflict};
use crate::authorize::OfAccount;
use crate::kv;
use crate::schema::key::Range;
use crate::schema::{Account, Chunk, Content, Entry, Key, Mark, Record, Ring, Share, Snapshot, Version, key, record};
use crate::transact::{Found, Operation, Stop, Txn};

/// Records that one page looks at.
const LOOKED_AT: usize = 4_096;

/// Refuses what is sealed under another key than the account's.
///
/// # Errors
/// [`Refusal::OtherKey`].
pub(super) async fn check<'a>(
    txn: &mut Txn,
    account: AccountId,
    values: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(), Stop> {
    let Some(ring) = txn.read(&key::ring(account)).await? else { return Ok(()) };
    let current = |value: &[u8]| sealed::key_of(value) == Some(ring.record.key);
    if values.into_iter().all(current) { Ok(()) } else { Err(Refusal::OtherKey.into()) }
}

impl Operation for RotateKey {
    const NAME: &'static str = "RotateKey";
    type Who = OfAccount;
    type Answer = KeyRotated;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<KeyRotated, Stop> {
        let at = key::account(who.account());
        let account = txn.read(&at).await?.ok_or(Refusal::NotFound(What::Account))?.record;
        if account.key_check == Some(self.key_check) {
            return Ok(KeyRotated { ended: 0 });
        }
        if account.key_check != Some(self.was) {
            return Err(Refusal::OtherKey.into());
        }
        let before = txn.read(&key::ring(who.account())).await?.map(|found| found.record);
        let (number, settled) = before.map_or((0, true), |ring| (ring.key, ring.settled));
        if !settled || number.checked_add(1) != Some(self.key) {
            return Err(Refusal::Conflict.into());
        }
        let ended = end_shares(txn, who.account(), context).await?;
        conflict::forget(txn, who.account()).await?;
        txn.put(&at, &Account { key_check: Some(self.key_check), ..account })?;
        txn.put(&key::ring(who.account()), &Ring { key: self.key, settled: false, sealed: self.ring.clone() })?;
        Ok(KeyRotated { ended })
    }
}

/// Ends the shares whose links hold keys that open nothing any more.
async fn end_shares(txn: &mut Txn, account: AccountId, context: &Context) -> Result<u32, Stop> {
    let page = txn.scan(&key::shares_of(account), SHARES).await?;
    let (mut ended, mut bytes) = (0, 0);
    for entry in &page.entries {
        let at = key::share(key::id_of_share(&entry.key)?);
        let Some(found) = txn.read(&at).await? else { continue };
        let share = found.record;
        if share.revoked.is_some() || matches!(share.target, ShareTarget::Version(..)) {
            continue;
        }
        bytes += share.sealed.len() + 512;
        if bytes > TRANSACTION_BYTES / 2 {
            return Err(Refusal::TooLarge(What::Account).into());
        }
        txn.put(&at, &Share { revoked: Some(context.now), ..share })?;
        ended += 1;
    }
    Ok(ended)
}

/// The tables, in the order in which they are gone through.
const TABLES: [Table; 8] = [
    Table::Entry,
    Table::FormerEntry,
    Table::Version,
    Table::Chunk,
    Table::FormerChunk,
    Table::Snapshot,
    Table::Share,
    Table::Content,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Entry,
    FormerEntry,
    Version,
    Chunk,
    FormerChunk,
    Snapshot,
    Share,
    Content,
}

/// Which table a place is in, and the bytes of its key in the order of that table.
fn place(account: AccountId, at: &SealedAt) -> (Table, Vec<u8>) {
    match *at {
        SealedAt::Entry { folder, token } => (Table::Entry, key::entry(account, folder, token).into_bytes()),
        SealedAt::FormerEntry { folder, token, since } => {
            (Table::FormerEntry, key::entry_history(account, folder, token, since).into_bytes())
        }
        SealedAt::Version { version } => (Table::Version, key::version(account, version).into_bytes()),
        SealedAt::Chunk { chunk } => (Table::Chunk, key::chunk(account, chunk).into_bytes()),
        SealedAt::FormerChunk { chunk, since } => {
            (Table::FormerChunk, key::chunk_history(account, chunk, since).into_bytes())
        }
        SealedAt::Snapshot { token } => (Table::Snapshot, key::snapshot(account, token).into_bytes()),
        SealedAt::Share { share } => (Table::Share, key::share_of(account, share).into_bytes()),
        SealedAt::Content { content } => (Table::Content, key::content(account, content).into_bytes()),
    }
}

impl Operation for ListStale {
    const NAME: &'static str = "ListStale";
    type Who = OfAccount;
    type Answer = StaleListed;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<StaleListed, Stop> {
        let account = who.account();
        let ring = txn.peek(&key::ring(account)).await?.map(|found| found.record);
        let Some(ring) = ring else { return Ok(StaleListed { values: BoundedVec::empty(), next: None }) };
        let from = self.after.as_ref().map(|at| place(account, at));
        let first = from.as_ref().map_or(0, |(table, _)| TABLES.iter().position(|one| one == table).unwrap_or(0));
        let mut listing = Listing { current: ring.key, ..Listing::default() };
        for table in TABLES.iter().skip(first) {
            let behind = from.as_ref().filter(|(of, _)| of == table).map(|(_, key)| key.as_slice());
            if !listing.table(txn, account, *table, behind).await? {
                break;
            }
        }
        let values = listing.values.try_into().map_err(|_| Refusal::TooLarge(What::Request))?;
        Ok(StaleListed { values, next: listing.next })
    }
}

/// A page while it fills.
#[derive(Default)]
struct Listing {
    current: u32,
    values: Vec<StaleValue>,
    bytes: usize,
    looked_at: usize,
    /// The last place that was looked at, when the page ended there.
    next: Option<SealedAt>,
}

impl Listing {
    /// Goes on through a table; whether the page has room for the next one.
    async fn table(
        &mut self,
        txn: &mut Txn,
        account: AccountId,
        table: Table,
        behind: Option<&[u8]>,
    ) -> Result<bool, Stop> {
        let page = match table {
            Table::Entry => self.scan(txn, key::entries_of(account), behind).await?,
            Table::FormerEntry => self.scan(txn, key::entry_histories(account), behind).await?,
            Table::Version => self.scan(txn, key::versions(account), behind).await?,
            Table::Chunk => self.scan(txn, key::chunks_of(account), behind).await?,
            Table::FormerChunk => self.scan(txn, key::all_chunk_histories(account), behind).await?,
            Table::Snapshot => self.scan(txn, key::snapshots(account), behind).await?,
            Table::Share => self.scan(txn, key::shares_of(account), behind).await?,
            Table::Content => self.scan(txn, key::contents_of(account), behind).await?,
        };
        let (mut last, entries) = (None, page.entries.len());
        for (seen, entry) in page.entries.into_iter().enumerate() {
            let value = value(txn, table, &entry).await?;
            let at = value.at;
            self.looked_at += 1;
            if sealed::key_of(&value.sealed) != Some(self.current) {
                self.bytes += value.sealed.len() + 128;
                self.values.push(value);
            }
            let full = self.values.len() >= RESEAL_VALUES || self.bytes > ANSWER_BYTES || self.looked_at >= LOOKED_AT;
            if full && (page.more || seen + 1 < entries || table != Table::Content) {
                self.next = Some(at);
                return Ok(false);
            }
            last = Some(at);
        }
        if page.more {
            self.next = last;
        }
        Ok(!page.more)
    }

    async fn scan<R: Record>(&self, txn: &Txn, range: Range<R>, behind: Option<&[u8]>) -> Result<kv::Page, Stop> {
        let range = match behind {
            Some(key) => range.behind(key),
            None => range,
        };
        txn.scan(&range, LOOKED_AT.saturating_sub(self.looked_at).max(1)).await
    }
}

/// What is sealed in one record.
async fn value(txn: &mut Txn, table: Table, entry: &kv::Entry) -> Result<StaleValue, Stop> {
    let (mut node, mut pack) = (None, None);
    let (at, sealed) = match table {
        Table::Entry | Table::FormerEntry => {
            let found: Entry = record::decode(&entry.value)?;
            node = Some(found.node);
            let at = if table == Table::Entry {
                let (folder, token) = key::place_of_entry(&entry.key)?;
                SealedAt::Entry { folder, token }
            } else {
                let (folder, token, since) = key::ids_of_entry_history(&entry.key)?;
                SealedAt::FormerEntry { folder, token, since }
            };
            (at, found.sealed.to_vec())
        }
        Table::Version => {
            let found: Version = record::decode(&entry.value)?;
            node = Some(found.node);
            let (_, version) = key::ids_of_version(&entry.key)?;
            (SealedAt::Version { version }, found.meta.to_vec())
        }
        Table::Chunk => {
            let (_, chunk) = key::ids_of_chunk(&entry.key)?;
            (SealedAt::Chunk { chunk }, record::decode::<Chunk>(&entry.value)?.key.to_vec())
        }
        Table::FormerChunk => {
            let (chunk, since) = key::ids_of_chunk_history(&entry.key)?;
            (SealedAt::FormerChunk { chunk, since }, record::decode::<Chunk>(&entry.value)?.key.to_vec())
        }
        Table::Snapshot => {
            let token = key::token_of_entry(&entry.key)?;
            (SealedAt::Snapshot { token }, record::decode::<Snapshot>(&entry.value)?.sealed.to_vec())
        }
        Table::Share => {
            let share = key::id_of_share(&entry.key)?;
            let found = txn.peek(&key::share(share)).await?.ok_or(Stop::Torn)?;
            (SealedAt::Share { share }, found.record.sealed.to_vec())
        }
        Table::Content => {
            let (_, content) = key::ids_of_content(&entry.key)?;
            let found: Content = record::decode(&entry.value)?;
            pack = Some(found.pack);
            (SealedAt::Content { content }, found.sealed.to_vec())
        }
    };
    let sealed = sealed.try_into().map_err(|_| Refusal::TooLarge(What::Request))?;
    Ok(StaleValue { at, node, pack, sealed })
}

impl Operation for Reseal {
    const NAME: &'static str = "Reseal";
    type Who = OfAccount;
    type Answer = Resealed;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Resealed, Stop> {
        let account = who.account();
        check(txn, account, self.values.iter().map(|value| &*value.sealed)).await?;
        let mut replaced = 0;
        for value in &self.values {
            replaced += u32::from(replace(txn, account, value).await?);
        }
        Ok(Resealed { replaced })
    }
}

/// Replaces one value, if it still is what the caller saw.
async fn replace(txn: &mut Txn, account: AccountId, value: &ResealedValue) -> Result<bool, Stop> {
    match value.at {
        SealedAt::Entry { folder, token } => {
            let at = key::entry(account, folder, token);
            amend(txn, value, &at, |entry: &mut Entry| &mut entry.sealed).await
        }
        SealedAt::FormerEntry { folder, token, since } => {
            let at = key::entry_history(account, folder, token, since);
            amend(txn, value, &at, |entry: &mut Entry| &mut entry.sealed).await
        }
        SealedAt::Version { version } => {
            let at = key::version(account, version);
            amend(txn, value, &at, |version: &mut Version| &mut version.meta).await
        }
        SealedAt::Chunk { chunk } => {
            let at = key::chunk(account, chunk);
            amend(txn, value, &at, |chunk: &mut Chunk| &mut chunk.key).await
        }
        SealedAt::FormerChunk { chunk, since } => {
            let at = key::chunk_history(account, chunk, since);
            amend(txn, value, &at, |chunk: &mut Chunk| &mut chunk.key).await
        }
        SealedAt::Snapshot { token } => {
            let at = key::snapshot(account, token);
            amend(txn, value, &at, |snapshot: &mut Snapshot| &mut snapshot.sealed).await
        }
        SealedAt::Share { share } => {
            // A share's own key does not name its account.
            if txn.read::<Mark>(&key::share_of(account, share)).await?.is_none() {
                return Ok(false);
            }
            amend(txn, value, &key::share(share), |share: &mut Share| &mut share.sealed).await
        }
        SealedAt::Content { content } => {
            let at = key::content(account, content);
            amend(txn, value, &at, |content: &mut Content| &mut content.sealed).await
        }
    }
}

async fn amend<R: Record, const MAX: usize>(
    txn: &mut Txn,
    new: &ResealedValue,
    at: &Key<R>,
    part: impl Fn(&mut R) -> &mut common::bounded::BoundedBytes<MAX>,
) -> Result<bool, Stop> {
    let Some(Found { record, version }) = txn.read(at).await? else { return Ok(false) };
    let mut found = Found { record, version };
    let sealed = part(&mut found.record);
    // A version of 0 is this very request's own: it named the place twice.
    if *blake3::hash(sealed).as_bytes() != new.was || version == 0 {
        return Ok(false);
    }
    *sealed = new.sealed.to_vec().try_into().map_err(|_| Refusal::TooLarge(What::Request))?;
    txn.amend(at, found.version, &found.record)?;
    Ok(true)
}

impl Operation for SettleKey {
    const NAME: &'static str = "SettleKey";
    type Who = OfAccount;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Done, Stop> {
        let at = key::ring(who.account());
        let ring = txn.read(&at).await?.ok_or(Refusal::OtherKey)?.record;
        if ring.key != self.key {
            return Err(Refusal::OtherKey.into());
        }
        if !ring.settled {
            txn.put(&at, &Ring { settled: true, sealed: self.ring.clone(), ..ring })?;
        }
        Ok(Done {})
    }
}
