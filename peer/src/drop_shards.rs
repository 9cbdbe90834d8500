//! Drop: the directory's order to let shards go. They go to the trash, and come back from it.
//!
//! A directory that was restored from an old copy believes that newer shards are nobody's. Its generation gives it away: an
//! order of a lower one than was ever seen is refused, and a higher one is remembered durably before it is obeyed.

use common::proto::Refusal;
use common::proto::peer::{DropShards, Dropped};
use common::telemetry::chain;
use common::transport::{CallError, Responder};
use tokio::task::JoinSet;

use crate::config::DROPS_AT_ONCE;
use crate::service::Service;
use crate::store::{ShardKey, StoreError};

pub(crate) async fn drop_shards(service: &Service, request: DropShards, responder: Responder) -> Result<(), CallError> {
    let count = request.shards.len();
    match carry_out(service, request).await {
        Ok(dropped) => {
            tracing::debug!(count, dropped, "shards went to the trash");
            responder.answer::<DropShards>(&Dropped { dropped }, Vec::new()).await
        }
        Err(refusal) => {
            tracing::warn!(count, %refusal, "an order to drop shards was refused");
            responder.refuse(&refusal).await
        }
    }
}

async fn carry_out(service: &Service, request: DropShards) -> Result<u32, Refusal> {
    let known = service.known().generation();
    if request.generation < known {
        return Err(Refusal::OldGeneration { given: request.generation, known });
    }
    if let Err(error) = service.known().keep(request.generation).await {
        tracing::error!(error = %chain(&error), "a higher generation cannot be remembered, so it is not obeyed");
        return Err(Refusal::Internal);
    }
    let account = request.account;
    let mut keys = request.shards.into_iter().map(|address| ShardKey { account, address });
    let (mut jobs, mut dropped, mut failed) = (JoinSet::new(), 0_u32, None);
    loop {
        while jobs.len() < DROPS_AT_ONCE
            && let Some(key) = keys.next()
        {
            let store = service.store().clone();
            jobs.spawn(async move { store.delete(key).await });
        }
        match jobs.join_next().await {
            None => break,
            Some(Ok(Ok(()))) => dropped = dropped.saturating_add(1),
            Some(Ok(Err(StoreError::NotFound { .. }))) => {}
            Some(Ok(Err(error))) => failed = Some(service.refusal_of(&error)),
            Some(Err(_)) => failed = Some(Refusal::Internal),
        }
    }
    failed.map_or(Ok(dropped), Err)
}
