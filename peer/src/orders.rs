//! Orders: the directory lets shards go, in two steps. What it condemns is noted; what is still condemned when it says so goes to the
//! trash, and comes back from it. Whoever stores or makes a shard in between takes it out of the note ([`crate::store::Store::touch`]).
//!
//! A directory that was restored from an old copy believes that newer shards are nobody's. Its generation gives it away: an
//! order of a lower one than was ever seen is refused, and a higher one is remembered durably before it is obeyed.

use common::proto::Refusal;
use common::proto::peer::{CondemnShards, Condemned, DropShards, Dropped, ShardName};
use common::telemetry::chain;
use common::transport::{CallError, Responder};
use tokio::task::JoinSet;

use crate::config::DROPS_AT_ONCE;
use crate::service::Service;
use crate::store::ShardKey;

fn key_of(name: ShardName) -> ShardKey {
    ShardKey { account: name.account, address: name.address }
}

/// Whether an order of this generation is to be obeyed.
///
/// # Errors
/// [`Refusal::OldGeneration`]; [`Refusal::Internal`] when a higher one cannot be remembered.
pub(crate) async fn obey(service: &Service, generation: u64) -> Result<(), Refusal> {
    let known = service.known().generation();
    if generation < known {
        return Err(Refusal::OldGeneration { given: generation, known });
    }
    if let Err(error) = service.known().keep(generation).await {
        tracing::error!(error = %chain(&error), "a higher generation cannot be remembered, so it is not obeyed");
        return Err(Refusal::Internal);
    }
    Ok(())
}

pub(crate) async fn condemn(service: &Service, request: CondemnShards, responder: Responder) -> Result<(), CallError> {
    let (count, generation) = (request.shards.len(), request.generation);
    let condemned = match obey(service, generation).await {
        Ok(()) => {
            let keys: Vec<_> = request.shards.into_iter().map(key_of).collect();
            service.store().condemn(generation, &keys).ok_or(Refusal::Busy)
        }
        Err(refusal) => Err(refusal),
    };
    match condemned {
        Ok(condemned) => {
            tracing::debug!(count, condemned, "shards are condemned");
            responder.answer::<CondemnShards>(&Condemned { condemned }, Vec::new()).await
        }
        Err(refusal) => {
            tracing::warn!(count, %refusal, "an order to condemn shards was refused");
            responder.refuse(&refusal).await
        }
    }
}

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
    obey(service, request.generation).await?;
    let mut keys = request.shards.into_iter().map(key_of);
    let (mut jobs, mut dropped, mut failed) = (JoinSet::new(), 0_u32, None);
    loop {
        while jobs.len() < DROPS_AT_ONCE
            && let Some(key) = keys.next()
        {
            let store = service.store().clone();
            jobs.spawn(async move { store.drop_condemned(key).await });
        }
        match jobs.join_next().await {
            None => break,
            Some(Ok(Ok(done))) => dropped = dropped.saturating_add(u32::from(done)),
            Some(Ok(Err(error))) => failed = Some(service.refusal_of(&error)),
            Some(Err(_)) => failed = Some(Refusal::Internal),
        }
    }
    failed.map_or(Ok(dropped), Err)
}
