//! Collect: forgets chunks that nothing references any more. See `op/collect.rs` for why it is safe.
//!
//! Candidates are the marks that every release of a reference leaves. While the store is fenced nothing is forgotten.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::proto::Refusal;
use common::telemetry;
use tokio::time::{MissedTickBehavior, interval};

use crate::authorize::Itself;
use crate::op::collect::{Collect, Fate};
use crate::schema::key;
use crate::service::Service;
use crate::status::CountError;
use crate::transact::Txn;

/// Marks looked at in one round.
const AT_ONCE: usize = 1_000;

#[derive(Debug, thiserror::Error)]
enum CollectError {
    #[error("it was refused: {0}")]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Read(#[from] CountError),
}

/// Collects until dropped.
pub async fn run(service: Arc<Service>) {
    let mut round = interval(service.work.settings.round);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut from = None;
    loop {
        round.tick().await;
        if service.work.is_fenced() {
            continue;
        }
        match step(&service, from.take()).await {
            Ok(next) => from = next,
            Err(error) => tracing::warn!(error = telemetry::chain(&error), "nothing was collected; tried again"),
        }
    }
}

/// One part of the marks; where to go on.
async fn step(service: &Service, from: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, CollectError> {
    let range = key::collects();
    let from = from.unwrap_or(range.from);
    let page = service.store.scan(&from, &range.to, AT_ONCE).await.map_err(CountError::from)?;
    for entry in &page.entries {
        let (account, chunk) = key::ids_of_chunk(&entry.key).map_err(CountError::from)?;
        let mut txn = Txn::new(service.store.clone());
        let found = txn.peek(&key::chunk(account, chunk)).await.map_err(CountError::from)?;
        if service.run(&Collect { account, chunk }, Itself).await? == Fate::Collected {
            tracing::debug!(chunk = chunk.short(), "collected");
            service.work.collected.fetch_add(1, Ordering::Relaxed);
            let shards = found.map(|found| found.record.shards).unwrap_or_default();
            shards.iter().for_each(|shard| service.work.ask_to_compare(shard.peer));
        }
    }
    Ok(page.next())
}
