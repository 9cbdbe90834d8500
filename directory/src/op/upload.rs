//! Uploads: opening, keeping alive and giving up pending versions.
//!
//! A pending version is kept for [`LIFETIME`] after it was last used. Using it rewrites its record at most once an hour, so
//! that the many requests of one upload do not collide on it. The grant is signed by whoever serves; here it is only decided.

use std::time::Duration;

use common::grant::Grant;
use common::id::{AccountId, RequestId, VersionId};
use common::proto::Refusal;
use common::proto::directory::{Abandon, Begin, Done, Extend};
use common::proto::refusal::What;
use serde::{Deserialize, Serialize};

use super::{Context, usage};
use crate::authorize::OfAccount;
use crate::schema::{Pending, key};
use crate::transact::{Found, Operation, Stop, Txn};

/// How long a pending version is kept without being used.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Its expiry moves when it would move by this much.
const STEP: Duration = Duration::from_secs(3600);
/// What one upload may be granted: a pebibyte.
const GRANT_BYTES: u64 = 1 << 50;

/// What a grant is to say, before it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted(pub Grant);

fn grant(upload: VersionId, pending: &Pending, who: OfAccount, context: &Context) -> Granted {
    Granted(Grant {
        cluster: context.cluster,
        generation: context.generation,
        account: who.account(),
        device: who.device(),
        upload,
        bytes: pending.bytes,
        expires: pending.expires,
    })
}

impl Operation for Begin {
    const NAME: &'static str = "Begin";
    type Who = OfAccount;
    type Answer = Granted;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Granted, Stop> {
        if self.bytes > GRANT_BYTES {
            return Err(Refusal::TooLarge(What::Upload).into());
        }
        let key = key::pending(who.account(), self.version);
        let taken = txn.read(&key).await?.is_some();
        // One of this id may be on its way out: its references are not this one's.
        let going = txn.read(&key::going(who.account(), self.version)).await?.is_some();
        if taken || going || txn.read(&key::version(who.account(), self.version)).await?.is_some() {
            return Err(Refusal::Exists(What::Upload).into());
        }
        let pending = Pending {
            device: who.device(),
            redundancy: self.redundancy,
            bytes: usage::left(txn, who.account(), self.bytes).await?,
            expires: context.now.plus(LIFETIME),
            begun: txn.last_sequence(),
            published: false,
            ending: false,
        };
        txn.put(&key, &pending)?;
        Ok(grant(self.version, &pending, who, context))
    }
}

impl Operation for Extend {
    const NAME: &'static str = "Extend";
    type Who = OfAccount;
    type Answer = Granted;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Granted, Stop> {
        if self.bytes > GRANT_BYTES {
            return Err(Refusal::TooLarge(What::Upload).into());
        }
        let mut pending = open(txn, who.account(), self.version, context).await?.record;
        if self.bytes > pending.bytes {
            let more = usage::more(txn, who.account(), self.bytes.saturating_sub(pending.bytes)).await?;
            pending.bytes = pending.bytes.saturating_add(more);
        }
        pending.expires = pending.expires.max(context.now.plus(LIFETIME));
        txn.put(&key::pending(who.account(), self.version), &pending)?;
        Ok(grant(self.version, &pending, who, context))
    }
}

impl Operation for Abandon {
    const NAME: &'static str = "Abandon";
    const ESSENTIAL: bool = true;
    type Who = OfAccount;
    type Answer = Done;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Done, Stop> {
        let key = key::pending(who.account(), self.version);
        if let Some(found) = txn.read(&key).await?
            && !found.record.ending
        {
            txn.put(&key, &Pending { ending: true, ..found.record })?;
        }
        Ok(Done {})
    }
}

/// A pending version that takes more. The commit rests on its staying so.
///
/// # Errors
/// [`Refusal::UploadGone`] when there is none (any more).
pub async fn open(
    txn: &mut Txn,
    account: AccountId,
    upload: VersionId,
    context: &Context,
) -> Result<Found<Pending>, Stop> {
    let found = txn.read(&key::pending(account, upload)).await?.ok_or(Refusal::UploadGone)?;
    if found.record.ending || found.record.expires < context.now {
        return Err(Refusal::UploadGone.into());
    }
    Ok(found)
}

/// The same, and keeps it alive.
///
/// # Errors
/// As [`open`].
pub async fn used(
    txn: &mut Txn,
    account: AccountId,
    upload: VersionId,
    context: &Context,
) -> Result<Found<Pending>, Stop> {
    let mut found = open(txn, account, upload, context).await?;
    let expires = context.now.plus(LIFETIME);
    if expires.since(found.record.expires) >= STEP {
        found.record.expires = expires;
        txn.put(&key::pending(account, upload), &found.record)?;
    }
    Ok(found)
}
