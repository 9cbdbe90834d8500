//! Conflict: has the other devices of an account told that one of them wrote over what it had not seen. News, of which the last few are kept.

use common::id::{AccountId, DeviceId, RequestId};
use common::limits::CONFLICTS;
use common::proto::Refusal;
use common::proto::directory::{ConflictView, Conflicts, Done, NoteConflict};
use common::proto::refusal::What;

use super::{Context, rekey};
use crate::authorize::OfAccount;
use crate::schema::{Conflict, key, record};
use crate::transact::{Operation, Stop, Txn};

/// Two at once may each find room for themselves: so many more are there then, until the next one.
const SOME_MORE: usize = CONFLICTS;

impl Operation for NoteConflict {
    const NAME: &'static str = "NoteConflict";
    type Who = OfAccount;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Done, Stop> {
        let account = who.account();
        rekey::check(txn, account, [&*self.sealed]).await?;
        txn.read(&key::version(account, self.version)).await?.ok_or(Refusal::NotFound(What::Version))?;
        let there = all(txn, account).await?;
        for view in there.iter().take((there.len() + 1).saturating_sub(CONFLICTS)) {
            txn.delete(&key::conflict(account, view.version));
        }
        let conflict = Conflict { at: context.now, by: who.device(), sealed: self.sealed.clone() };
        txn.put(&key::conflict(account, self.version), &conflict)?;
        Ok(Done {})
    }
}

/// All that are kept, oldest first.
async fn all(txn: &Txn, account: AccountId) -> Result<Vec<ConflictView>, Stop> {
    let page = txn.scan(&key::conflicts(account), CONFLICTS + SOME_MORE).await?;
    let mut views = Vec::with_capacity(page.entries.len());
    for entry in &page.entries {
        let (_, version) = key::ids_of_version(&entry.key)?;
        let Conflict { at, by, sealed } = record::decode(&entry.value)?;
        views.push(ConflictView { sequence: entry.version, at, by, version, sealed });
    }
    views.sort_unstable_by_key(|view| view.sequence);
    Ok(views)
}

/// What a device has not been told of: what others noted after this sequence, and since it is a device.
///
/// # Errors
/// When the store cannot be read.
pub async fn news(txn: &mut Txn, account: AccountId, device: DeviceId, after: u64) -> Result<Conflicts, Stop> {
    let mut news = all(txn, account).await?;
    news.retain(|view| view.sequence > after && view.by != device);
    if !news.is_empty() {
        let joined = txn.peek(&key::device(device)).await?.map_or(0, |found| found.version);
        news.retain(|view| view.sequence > joined);
    }
    let surplus = news.len().saturating_sub(CONFLICTS);
    news.drain(..surplus);
    Ok(Conflicts::try_from(news).unwrap_or_default())
}

/// Forgets them all: what they are sealed under will not open any more.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn forget(txn: &mut Txn, account: AccountId) -> Result<(), Stop> {
    all(txn, account).await?.iter().for_each(|view| txn.delete(&key::conflict(account, view.version)));
    Ok(())
}
