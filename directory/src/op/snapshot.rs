//! Snapshots: a pinned sequence with a sealed name. Making one is one small write, whatever the size of the tree.
//!
//! What is pinned is the sequence of the commit that writes the record. So a history record whose end is at or before a sequence L can only
//! be pinned by snapshots that were there when L was the last: who prunes reads L first and the snapshots after it, and misses none.

use common::id::{AccountId, RequestId};
use common::limits::{LIST_ENTRIES, SNAPSHOTS};
use common::proto::Refusal;
use common::proto::directory::Done;
use common::proto::refusal::What;
use common::proto::snapshot::{
    CreateSnapshot, GetSnapshot, ListSnapshots, RemoveSnapshot, SnapshotFound, SnapshotMade, SnapshotView, Snapshots,
};

use super::{Context, rekey};
use crate::authorize::OfAccount;
use crate::schema::{Snapshot, key, record};
use crate::transact::{Operation, Stop, Txn};

impl Operation for CreateSnapshot {
    const NAME: &'static str = "CreateSnapshot";
    type Who = OfAccount;
    type Answer = SnapshotMade;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<SnapshotMade, Stop> {
        rekey::check(txn, who.account(), [&*self.sealed]).await?;
        let key = key::snapshot(who.account(), self.token);
        if txn.read(&key).await?.is_some() {
            return Err(Refusal::Exists(What::Snapshot).into());
        }
        // Two at once may pass by one: the bound is there so that those who read all of them read little.
        if txn.scan(&key::snapshots(who.account()), SNAPSHOTS).await?.entries.len() >= SNAPSHOTS {
            return Err(Refusal::TooLarge(What::Snapshot).into());
        }
        txn.put(&key, &Snapshot { sealed: self.sealed.clone(), made: context.now })?;
        Ok(SnapshotMade { sequence: 0, made: context.now })
    }

    fn settle(answer: &mut SnapshotMade, sequence: u64) {
        answer.sequence = sequence;
    }
}

impl Operation for ListSnapshots {
    const NAME: &'static str = "ListSnapshots";
    type Who = OfAccount;
    type Answer = Snapshots;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Snapshots, Stop> {
        let mut range = key::snapshots(who.account());
        if let Some(after) = self.after {
            range = range.behind(key::snapshot(who.account(), after).bytes());
        }
        let page = txn.scan(&range, LIST_ENTRIES).await?;
        let mut snapshots = Vec::with_capacity(page.entries.len());
        for entry in &page.entries {
            let found: Snapshot = record::decode(&entry.value)?;
            let token = key::token_of_entry(&entry.key)?;
            snapshots.push(SnapshotView { token, sealed: found.sealed, sequence: entry.version, made: found.made });
        }
        let snapshots = snapshots.try_into().map_err(|_| Refusal::TooLarge(What::Snapshot))?;
        Ok(Snapshots { snapshots, more: page.more })
    }
}

impl Operation for GetSnapshot {
    const NAME: &'static str = "GetSnapshot";
    type Who = OfAccount;
    type Answer = SnapshotFound;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<SnapshotFound, Stop> {
        let found = txn.peek(&key::snapshot(who.account(), self.token)).await?;
        let snapshot = found.map(|found| SnapshotView {
            token: self.token,
            sealed: found.record.sealed,
            sequence: found.version,
            made: found.record.made,
        });
        Ok(SnapshotFound { snapshot })
    }
}

impl Operation for RemoveSnapshot {
    const NAME: &'static str = "RemoveSnapshot";
    const ESSENTIAL: bool = true;
    type Who = OfAccount;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Done, Stop> {
        let key = key::snapshot(who.account(), self.token);
        txn.read(&key).await?.ok_or(Refusal::NotFound(What::Snapshot))?;
        txn.delete(&key);
        Ok(Done {})
    }
}

/// The sequences of all snapshots of an account, in order.
///
/// # Errors
/// When the store cannot be read.
pub async fn pinned(txn: &Txn, account: AccountId) -> Result<Vec<u64>, Stop> {
    let mut range = key::snapshots(account);
    let mut sequences = Vec::new();
    loop {
        let page = txn.scan(&range, SNAPSHOTS).await?;
        sequences.extend(page.entries.iter().map(|entry| entry.version));
        let Some(next) = page.next() else { break };
        range.from = next;
    }
    sequences.sort_unstable();
    Ok(sequences)
}
