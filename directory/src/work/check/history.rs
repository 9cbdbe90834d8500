//! History and usage: what a check says of versions that nothing leads to, and of the sums that accounts are held to.
//!
//! A sum is compared while the directory goes on, so it is wrong only where two counts in a row differ from it by the same.

use std::collections::BTreeMap;

use common::id::{AccountId, VersionId};
use common::proto::directory::Done;
use serde::Serialize;

use super::{CheckError, Checking};
use crate::authorize::Itself;
use crate::op::Context;
use crate::op::keep::{is_there, records_of};
use crate::op::usage::{Change, count};
use crate::schema::{Chunk, Going, Node, Usage, key, record};
use crate::status::each;
use crate::transact::{Operation, Stop, Txn};

/// Whether no record of its node leads to a version; with `repair` it is released like one that was pruned.
pub(super) async fn lost(txn: &mut Txn, account: AccountId, version: VersionId, repair: bool) -> Result<bool, Stop> {
    let id = key::version(account, version);
    let Some(found) = txn.read(&id).await? else { return Ok(false) };
    let Some(records) = records_of(txn, account, found.record.node, true).await? else { return Ok(false) };
    let leads = |node: &Node| matches!(node, Node::File { version: its, .. } if *its == version);
    let is_lost = !records.iter().any(|(_, node)| leads(node));
    if is_lost && repair {
        txn.delete(&id);
        txn.put(&key::going(account, version), &Going { pages: found.record.pages })?;
        let [spread, ..] = version.0;
        count(txn, account, spread, Change { bytes: 0, files: -1 }).await?;
    }
    Ok(is_lost)
}

/// Whether an entry lies in a folder that is there: in one that is not, its node may have gone before it.
pub(super) async fn is_in_the_tree(txn: &mut Txn, account: AccountId, entry: &[u8]) -> Result<bool, Stop> {
    let (folder, _) = key::place_of_entry(entry)?;
    is_there(txn, account, folder, false).await
}

/// Adds what is missing in an account's usage.
#[derive(Debug, Clone, Serialize)]
struct Correct {
    account: AccountId,
    bytes: i64,
    files: i64,
}

impl Operation for Correct {
    const NAME: &'static str = "Correct";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Done;

    async fn decide(&self, txn: &mut Txn, _: Itself, _: &Context) -> Result<Done, Stop> {
        count(txn, self.account, 0, Change { bytes: self.bytes, files: self.files }).await?;
        Ok(Done {})
    }
}

impl Checking<'_> {
    /// Holds every account's usage against a recount.
    pub(super) async fn usage(&mut self) -> Result<(), CheckError> {
        let first = self.differences().await?;
        if first.is_empty() {
            return Ok(());
        }
        let again = self.differences().await?;
        for (account, (bytes, files)) in again {
            if first.get(&account) != Some(&(bytes, files)) {
                continue;
            }
            if self.repair {
                self.service.run(&Correct { account, bytes, files }, Itself).await?;
                self.report.repaired += 1;
            }
            let mended = if self.repair { ": mended" } else { "" };
            self.say(format!("account {account}: its usage lacks {bytes} bytes and {files} versions{mended}"));
        }
        Ok(())
    }

    /// What each account's usage lacks, where it is anything.
    async fn differences(&self) -> Result<BTreeMap<AccountId, (i64, i64)>, CheckError> {
        let store = self.service.store.as_ref();
        let mut sums: BTreeMap<AccountId, (i64, i64)> = BTreeMap::new();
        each(store, &key::chunks(), |key, value| {
            let (account, _) = key::ids_of_chunk(key)?;
            let chunk: Chunk = record::decode(value)?;
            sums.entry(account).or_default().0 += chunk.stored_bytes();
            Ok(())
        })
        .await?;
        each(store, &key::all_versions(), |key, _| {
            let (account, _) = key::ids_of_version(key)?;
            sums.entry(account).or_default().1 += 1;
            Ok(())
        })
        .await?;
        each(store, &key::all_usages(), |key, value| {
            let part: Usage = record::decode(value)?;
            if let Some(account) = key.get(1..17).and_then(AccountId::from_slice) {
                let sum = sums.entry(account).or_default();
                *sum = (sum.0 - part.bytes, sum.1 - part.files);
            }
            Ok(())
        })
        .await?;
        sums.retain(|_, sum| *sum != (0, 0));
        Ok(sums)
    }
}
