//! Expiry: what the directory lets go by itself, in steps that are a small commit each.

use common::id::{AccountId, VersionId};
use common::proto::directory::Done;
use common::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::Context;
use crate::authorize::Itself;
use crate::schema::{Hold, Mark, Pending, Ticket, key, record};
use crate::transact::{Operation, Stop, Txn};

/// Records let go in one commit.
pub const AT_ONCE: usize = 1_000;
/// Pages let go in one commit: they are long to read.
const PAGES_AT_ONCE: usize = 32;
/// How long a used-up or expired ticket is remembered, so that its user is told why it is refused.
const REMEMBERED_MS: u64 = 7 * 24 * 3_600_000;

/// Sets a pending version that expired to ending.
#[derive(Serialize)]
pub struct EndExpired {
    pub account: AccountId,
    pub upload: VersionId,
}

impl Operation for EndExpired {
    const NAME: &'static str = "EndExpired";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Done;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Done, Stop> {
        let key = key::pending(self.account, self.upload);
        if let Some(found) = txn.read(&key).await?
            && !found.record.ending
            && found.record.expires < context.now
        {
            txn.put(&key, &Pending { ending: true, ..found.record })?;
        }
        Ok(Done {})
    }
}

/// Lets go of some of what an ending version holds; last of its record.
#[derive(Serialize)]
pub struct Release {
    pub account: AccountId,
    pub upload: VersionId,
}

/// Whether there is more to let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Released {
    pub more: bool,
}

impl Operation for Release {
    const NAME: &'static str = "Release";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Released;

    async fn decide(&self, txn: &mut Txn, _: Itself, _: &Context) -> Result<Released, Stop> {
        let Self { account, upload } = *self;
        let pending = key::pending(account, upload);
        let Some(found) = txn.read(&pending).await?.filter(|found| found.record.ending) else {
            return Ok(Released { more: false });
        };
        // Nothing is added to an ending version, so what a scan finds is all there will ever be.
        let holds = txn.scan(&key::holds(account, upload), AT_ONCE).await?;
        for entry in &holds.entries {
            let hold: Hold = record::decode(&entry.value)?;
            let chunk = key::chunk_of_hold(&entry.key)?;
            txn.delete(&key::hold(account, upload, chunk));
            if !(found.record.published && hold.named) {
                txn.delete(&key::reference(account, chunk, upload));
                txn.put(&key::collect(account, chunk), &Mark {})?;
            }
        }
        if holds.more {
            return Ok(Released { more: true });
        }
        if !found.record.published {
            let pages = txn.scan(&key::pages(account, upload, 0), PAGES_AT_ONCE).await?;
            for entry in &pages.entries {
                txn.delete(&key::page(account, upload, key::page_of_page(&entry.key)?));
            }
            if pages.more {
                return Ok(Released { more: true });
            }
        }
        txn.delete(&pending);
        Ok(Released { more: false })
    }
}

/// Forgets some of the answers given before a time.
#[derive(Serialize)]
pub struct ForgetDone {
    pub before: Timestamp,
}

impl Operation for ForgetDone {
    const NAME: &'static str = "ForgetDone";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Released;

    async fn decide(&self, txn: &mut Txn, _: Itself, _: &Context) -> Result<Released, Stop> {
        let old = txn.scan(&key::done_before(self.before), AT_ONCE).await?;
        for entry in &old.entries {
            let (at, caller, request) = key::ids_of_done_at(&entry.key)?;
            txn.delete(&key::done(caller, request));
            txn.delete(&key::done_at(at, caller, request));
        }
        Ok(Released { more: old.more })
    }
}

/// Forgets one ticket, if its time is long over.
#[derive(Serialize)]
pub struct ForgetTicket {
    pub ticket: common::id::TicketId,
}

/// Whether a ticket is not even worth a refusal that says why.
#[must_use]
pub fn is_forgotten(ticket: &Ticket, now: Timestamp) -> bool {
    now.0 > ticket.expires.0.saturating_add(REMEMBERED_MS)
}

impl Operation for ForgetTicket {
    const NAME: &'static str = "ForgetTicket";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Done;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Done, Stop> {
        let key = key::ticket(self.ticket);
        if txn.read(&key).await?.is_some_and(|found| is_forgotten(&found.record, context.now)) {
            txn.delete(&key);
        }
        Ok(Done {})
    }
}

/// Marks the time: the commit's sequence is the one that was current then.
#[derive(Serialize)]
pub struct MarkMoment {}

impl Operation for MarkMoment {
    const NAME: &'static str = "MarkMoment";
    type Who = Itself;
    type Answer = Done;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Done, Stop> {
        txn.put(&key::moment(context.now), &Mark {})?;
        Ok(Done {})
    }
}
