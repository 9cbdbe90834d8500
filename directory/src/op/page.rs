//! Pages: the manifest of a pending version, sent before it is published. What its pages name stays referenced when it is.

use std::collections::HashSet;

use common::bounded::BoundedVec;
use common::id::{AccountId, ChunkId, VersionId};
use common::limits::{PAGES_PER_REQUEST, PAGES_PER_VERSION};
use common::proto::Refusal;
use common::proto::directory::{Done, NewPage, PutPages};
use common::proto::refusal::What;

use super::{Context, upload};
use crate::authorize::OfAccount;
use crate::schema::{Hold, Page, key};
use crate::transact::{Operation, Stop, Txn};

/// Chunks named in one commit: far below what a transaction takes.
const CHUNKS_AT_ONCE: usize = 2_048;

/// Splits a request into parts that are a commit each. Writing a page again changes nothing, so that no more is needed.
#[must_use]
pub fn split(request: PutPages) -> Vec<PutPages> {
    let mut parts: Vec<Vec<NewPage>> = Vec::new();
    let mut chunks = usize::MAX;
    for page in request.pages {
        chunks = chunks.saturating_add(page.chunks.len());
        if chunks > CHUNKS_AT_ONCE {
            parts.push(Vec::new());
            chunks = page.chunks.len();
        }
        if let Some(part) = parts.last_mut() {
            part.push(page);
        }
    }
    let whole = |pages: Vec<NewPage>| {
        let pages = BoundedVec::<NewPage, PAGES_PER_REQUEST>::try_from(pages).unwrap_or_default(); // a part of one
        PutPages { version: request.version, pages }
    };
    parts.into_iter().map(whole).collect()
}

impl Operation for PutPages {
    const NAME: &'static str = "PutPages";
    type Who = OfAccount;
    type Answer = Done;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Done, Stop> {
        let account = who.account();
        let pending = upload::used(txn, account, self.version, context).await?.record;
        if pending.published {
            return Err(Refusal::Exists(What::Version).into());
        }
        for page in &self.pages {
            if page.page >= PAGES_PER_VERSION {
                return Err(Refusal::TooLarge(What::Page).into());
            }
            name(txn, account, self.version, &page.chunks).await?;
            let record = Page { chunks: page.chunks.clone(), sealed: page.sealed.clone() };
            txn.put(&key::page(account, self.version, page.page), &record)?;
        }
        Ok(Done {})
    }
}

async fn name(txn: &mut Txn, account: AccountId, upload: VersionId, chunks: &[ChunkId]) -> Result<(), Stop> {
    for (chunk, hold) in held(txn, account, upload, chunks).await? {
        if !hold.named {
            txn.put(&key::hold(account, upload, chunk), &Hold { named: true })?;
        }
    }
    Ok(())
}

/// The holds of a pending version on these chunks.
///
/// They are peeked at: a hold goes away only after its version was set to ending, which the commit rests on.
///
/// # Errors
/// [`Refusal::NotHeld`] when one is missing, [`Refusal::Malformed`] when one is named twice.
pub async fn held(
    txn: &mut Txn,
    account: AccountId,
    upload: VersionId,
    chunks: &[ChunkId],
) -> Result<Vec<(ChunkId, Hold)>, Stop> {
    let distinct: HashSet<_> = chunks.iter().collect();
    if distinct.len() != chunks.len() {
        return Err(Refusal::Malformed.into());
    }
    let keys: Vec<_> = chunks.iter().map(|chunk| key::hold(account, upload, *chunk)).collect();
    let found = txn.peek_all(&keys).await?;
    let pairs = chunks.iter().zip(found).map(|(chunk, hold)| Some((*chunk, hold?.record)));
    pairs.collect::<Option<_>>().ok_or_else(|| Refusal::NotHeld.into())
}
