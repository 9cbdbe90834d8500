//! Shares: each is in its account's list, and each place in a list is that of a share.

use common::id::{AccountId, ShareId};

use super::{Ask, CheckError, Checking, Wrong};
use crate::schema::{Mark, RecordError, Share, key, record};
use crate::transact::{Stop, Txn};

impl Checking<'_> {
    pub(super) async fn shares(&mut self) -> Result<(), CheckError> {
        self.over(&key::all_shares(), |key, value, found| {
            let record: Share = record::decode(value)?;
            let share = key::id_of_share(key)?;
            found.push(Ask::Suspect(Wrong::Share { account: record.account, share }));
            Ok(())
        })
        .await?;
        self.over(&key::all_shares_of(), |key, _, found| {
            let account = key.get(1..17).and_then(AccountId::from_slice);
            let account = account.ok_or(RecordError::Key { table: "share" })?;
            found.push(Ask::Suspect(Wrong::Share { account, share: key::id_of_share(key)? }));
            Ok(())
        })
        .await
    }
}

/// Looks again, and makes the list say what the share says.
pub(super) async fn mend(txn: &mut Txn, account: AccountId, share: ShareId, repair: bool) -> Result<bool, Stop> {
    let place = key::share_of(account, share);
    let found = txn.read(&key::share(share)).await?;
    let is = found.is_some_and(|found| found.record.account == account);
    let is_wrong = is != txn.read(&place).await?.is_some();
    if is_wrong && repair {
        if is {
            txn.put(&place, &Mark {})?;
        } else {
            txn.delete(&place);
        }
    }
    Ok(is_wrong)
}
