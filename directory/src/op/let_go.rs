//! Let go: releases what versions referred to that nothing leads to any more, in small steps.
//!
//! Each reference leaves the mark that its chunk may be collected, as that of an upload that ended. A version whose upload is still open is
//! left alone until that has ended: the upload holds chunks by the same references.

use std::collections::HashSet;

use common::id::AccountId;
use serde::Serialize;

use super::Context;
use super::expire::Released;
use crate::authorize::Keeper;
use crate::schema::{Mark, Page, key, record};
use crate::transact::{Operation, Stop, Txn};

/// Versions looked at in one step.
const VERSIONS: usize = 256;
/// References released in one step, about: with each goes a mark.
const REFERENCES: usize = 2_000;
/// Pages of one version that are read at once: they are long.
const PAGES: usize = 4;

/// A step of it for one account.
#[derive(Serialize)]
pub struct LetGo {}

impl Operation for LetGo {
    const NAME: &'static str = "LetGo";
    const ESSENTIAL: bool = true;
    type Who = Keeper;
    type Answer = Released;

    async fn decide(&self, txn: &mut Txn, who: Keeper, _: &Context) -> Result<Released, Stop> {
        Ok(Released { more: let_go(txn, who.account()).await? })
    }
}

/// Whether another step would release more.
///
/// # Errors
/// When the store cannot be read.
pub async fn let_go(txn: &mut Txn, account: AccountId) -> Result<bool, Stop> {
    let going = txn.scan(&key::going_of(account), VERSIONS).await?;
    let (mut released, mut done) = (HashSet::new(), false);
    for entry in &going.entries {
        let (_, version) = key::ids_of_version(&entry.key)?;
        if released.len() >= REFERENCES {
            return Ok(true);
        }
        if txn.read(&key::pending(account, version)).await?.is_some() {
            continue;
        }
        let pages = txn.scan(&key::pages(account, version, 0), PAGES).await?;
        for page in &pages.entries {
            let number = key::page_of_page(&page.key)?;
            let page: Page = record::decode(&page.value)?;
            for chunk in &page.chunks {
                if released.insert((version, *chunk)) {
                    txn.delete(&key::reference(account, *chunk, version));
                    txn.put(&key::collect(account, *chunk), &Mark {})?;
                }
            }
            txn.delete(&key::page(account, version, number));
        }
        done = true;
        if pages.more {
            return Ok(true);
        }
        txn.delete(&key::going(account, version));
    }
    // Those that wait for their uploads alone are for another time.
    Ok(going.more && done)
}
