//! Recode: asking for another redundancy of what is stored already. The work itself is done in the background (`work/repair.rs`).

use common::id::VersionId;
use common::proto::Refusal;
use common::proto::refusal::What;
use common::redundancy::Redundancy;
use serde::{Deserialize, Serialize};

use super::Context;
use crate::authorize::OfAccount;
use crate::schema::{Page, Recode, Version, key, record};
use crate::transact::{Operation, Stop, Txn};

/// Pages whose chunks are marked in one commit: 4,096 chunks.
const PAGES: usize = 8;

/// Notes what a version is to be kept at, and marks the chunks of some of its pages.
#[derive(Debug, Clone, Serialize)]
pub struct Want {
    pub version: VersionId,
    pub redundancy: Redundancy,
    pub first: u32,
}

/// The page to go on with, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    pub next: Option<u32>,
}

impl Operation for Want {
    const NAME: &'static str = "Want";
    type Who = OfAccount;
    type Answer = Wanted;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, _: &Context) -> Result<Wanted, Stop> {
        let account = who.account();
        let id = key::version(account, self.version);
        let found = txn.read(&id).await?.ok_or(Refusal::NotFound(What::Version))?.record;
        if found.redundancy != self.redundancy {
            txn.put(&id, &Version { redundancy: self.redundancy, ..found })?;
        }
        let pages = txn.scan(&key::pages(account, self.version, self.first), PAGES).await?;
        let mut last = None;
        for entry in &pages.entries {
            last = Some(key::page_of_page(&entry.key)?);
            let page: Page = record::decode(&entry.value)?;
            for chunk in &page.chunks {
                txn.put(&key::recode(account, *chunk), &Recode { redundancy: self.redundancy })?;
            }
        }
        Ok(Wanted { next: last.filter(|_| pages.more).map(|page| page.saturating_add(1)) })
    }
}
