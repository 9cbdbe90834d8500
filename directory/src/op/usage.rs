//! Usage: what an account uses, counted with every commit that changes it, and held against what it may use.
//!
//! *Bytes* are those of all shards that its chunks should have; *files* are the versions that it keeps. A decision that is bounded reads the sum
//! of the parts, of which its commit checks only its own: commits at the same time may go over a quota by what each of them adds.

use common::id::{AccountId, RequestId};
use common::limits::{LIST_ENTRIES, SHARD_BYTES};
use common::proto::Refusal;
use common::proto::directory::{AccountLine, AccountUsage, Accounts, Done, GetUsage, ListAccounts, SetQuota};
use common::proto::refusal::{Measure, What};

use super::Context;
use crate::authorize::{OfAccount, OfAdmin};
use crate::schema::usage::PARTS;
use crate::schema::{Account, Quota, Usage, key, record};
use crate::transact::{Operation, Stop, Txn};

/// A change of what is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    pub bytes: i64,
    pub files: i64,
}

/// Counts a change. `spread` chooses the part: a byte of some id.
///
/// # Errors
/// When the store cannot be read.
pub async fn count(txn: &mut Txn, account: AccountId, spread: u8, change: Change) -> Result<(), Stop> {
    if change == Change::default() {
        return Ok(());
    }
    let key = key::usage(account, spread % PARTS);
    let before = txn.read(&key).await?.map(|found| found.record).unwrap_or_default();
    let after =
        Usage { bytes: before.bytes.saturating_add(change.bytes), files: before.files.saturating_add(change.files) };
    txn.put(&key, &after)
}

/// The sum of an account's parts, without this decision's own changes.
///
/// # Errors
/// When the store cannot be read.
pub async fn used(txn: &Txn, account: AccountId) -> Result<(u64, u64), Stop> {
    let mut sum = Usage::default();
    for entry in &txn.scan(&key::usages(account), usize::from(PARTS)).await?.entries {
        let part: Usage = record::decode(&entry.value)?;
        sum.bytes = sum.bytes.saturating_add(part.bytes);
        sum.files = sum.files.saturating_add(part.files);
    }
    Ok((u64::try_from(sum.bytes).unwrap_or(0), u64::try_from(sum.files).unwrap_or(0)))
}

/// Refuses what would go over the account's quota. What takes nothing more is always allowed.
///
/// # Errors
/// [`Refusal::OverQuota`].
pub async fn check(txn: &mut Txn, account: AccountId, change: Change) -> Result<(), Stop> {
    let Some(quota) = txn.peek(&key::quota(account)).await?.map(|found| found.record.allowed) else { return Ok(()) };
    let (bytes, files) = used(txn, account).await?;
    for (what, used, more, allowed) in
        [(Measure::Bytes, bytes, change.bytes, quota.bytes), (Measure::Files, files, change.files, quota.files)]
    {
        let more = u64::try_from(more).unwrap_or(0);
        if let Some(allowed) = allowed.filter(|allowed| more > 0 && used.saturating_add(more) > *allowed) {
            tracing::info!(account = account.short(), %what, used, allowed, "over the quota");
            return Err(Refusal::OverQuota { what, used, allowed }.into());
        }
    }
    Ok(())
}

/// What a grant may be for: no more than is left of the quota.
///
/// # Errors
/// [`Refusal::OverQuota`] when nothing is left.
pub async fn left(txn: &mut Txn, account: AccountId, wanted: u64) -> Result<u64, Stop> {
    check(txn, account, Change { bytes: 1, files: 1 }).await?;
    let quota = txn.peek(&key::quota(account)).await?.and_then(|found| found.record.allowed.bytes);
    let Some(allowed) = quota else { return Ok(wanted) };
    let (used, _) = used(txn, account).await?;
    Ok(wanted.min(allowed.saturating_sub(used)))
}

/// By how much a grant may grow: by no more than is left, and not by less than a shard, or its holder would ask for ever.
///
/// # Errors
/// [`Refusal::OverQuota`] when that is too little.
pub async fn more(txn: &mut Txn, account: AccountId, wanted: u64) -> Result<u64, Stop> {
    let more = left(txn, account, wanted).await?;
    let shard = i64::try_from(SHARD_BYTES).unwrap_or(i64::MAX);
    if more < wanted && i64::try_from(more).unwrap_or(i64::MAX) < shard {
        check(txn, account, Change { bytes: shard, files: 0 }).await?;
    }
    Ok(more)
}

async fn usage_of(txn: &mut Txn, account: AccountId) -> Result<AccountUsage, Stop> {
    let (bytes, files) = used(txn, account).await?;
    let quota = txn.peek(&key::quota(account)).await?.map(|found| found.record.allowed).unwrap_or_default();
    Ok(AccountUsage { bytes, files, quota, keep: None })
}

impl Operation for GetUsage {
    const NAME: &'static str = "GetUsage";
    type Who = OfAccount;
    type Answer = AccountUsage;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<AccountUsage, Stop> {
        usage_of(txn, who.account()).await
    }
}

impl Operation for ListAccounts {
    const NAME: &'static str = "ListAccounts";
    type Who = OfAdmin;
    type Answer = Accounts;

    async fn decide(&self, txn: &mut Txn, _: OfAdmin, _: &Context) -> Result<Accounts, Stop> {
        let mut range = key::accounts();
        if let Some(after) = self.after {
            range = range.behind(key::account(after).bytes());
        }
        let page = txn.scan(&range, LIST_ENTRIES).await?;
        let mut accounts = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            let Some(account) = entry.key.get(1..).and_then(AccountId::from_slice) else { continue };
            let Account { name, .. } = record::decode(&entry.value)?;
            accounts.push(AccountLine { account, name, usage: usage_of(txn, account).await? });
        }
        let accounts = accounts.try_into().map_err(|_| Refusal::TooLarge(What::Account))?;
        Ok(Accounts { accounts, more: page.more })
    }
}

impl Operation for SetQuota {
    const NAME: &'static str = "SetQuota";
    type Who = OfAdmin;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, _: OfAdmin, _: &Context) -> Result<Done, Stop> {
        let named = txn.read(&key::account_name(&self.account)).await?.ok_or(Refusal::NotFound(What::Account))?;
        let account = named.record.account;
        let (bytes, files) = (self.quota.bytes, self.quota.files);
        tracing::info!(account = account.short(), ?bytes, ?files, "a quota is set");
        txn.put(&key::quota(account), &Quota { allowed: self.quota })?;
        Ok(Done {})
    }
}
