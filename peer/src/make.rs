//! Make: the directory orders one shard of a chunk, and this peer makes it from others of it, wherever they are.
//!
//! What is here is used as it is, or taken back out of the trash. Where a source is the wanted shard itself it is copied; else the chunk is
//! put together from any k and split again. Guarantees: what is stored has the address that was ordered; where none was, those of all
//! shards are answered, so that the directory can compare two makers. Memory is within one budget, and so is how many are made at once.
//!
//! Sketch, a chunk of 3 MiB: SHA-1 of what arrives 1.6 ms and of what is stored 1.6 ms, join 1.3 ms, split 0.3 ms: 5 ms of CPU, and the line
//! and the disk's sync beside it.

use std::sync::Arc;

use bytes::Bytes;
use common::address::ShardAddress;
use common::erasure::{ErasureError, join, shard_len, split};
use common::id::PeerId;
use common::proto::Refusal;
use common::proto::peer::{Made, MakeShard};
use common::redundancy::Redundancy;
use common::telemetry::chain;
use common::transport::{CallError, Responder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config::{MAKE_BYTES, MAKE_WAIT, MAKES_AT_ONCE, MEMORY_WAIT};
use crate::orders::obey;
use crate::service::Service;
use crate::sources::Sources;
use crate::store::{ShardBuffer, ShardKey, ShardMeta, ShardState, StoreError, VerifiedShard};

/// What bounds the orders that are carried out at once.
pub(crate) struct Workshop {
    places: Arc<Semaphore>,
    /// In KiB.
    memory: Arc<Semaphore>,
}

impl Default for Workshop {
    fn default() -> Self {
        let memory = Semaphore::new(MAKE_BYTES.div_ceil(1024));
        Self { places: Arc::new(Semaphore::new(MAKES_AT_ONCE)), memory: Arc::new(memory) }
    }
}

impl Workshop {
    async fn place(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = timeout(MAKE_WAIT, Arc::clone(&self.places).acquire_owned()).await;
        place.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Internal)
    }

    /// An order that takes more than there is gets all of it, and so runs alone: only codes with many shares of large chunks do.
    async fn memory(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let permits = u32::try_from(bytes.min(MAKE_BYTES).div_ceil(1024)).map_err(|_| Refusal::Internal)?;
        let memory = timeout(MEMORY_WAIT, Arc::clone(&self.memory).acquire_many_owned(permits)).await;
        memory.map_err(|_| Refusal::Busy)?.map_err(|_| Refusal::Internal)
    }
}

/// Answers when the shard would survive a power cut.
pub(crate) async fn make(service: &Service, request: Box<MakeShard>, responder: Responder) -> Result<(), CallError> {
    let (chunk, index) = (request.chunk, request.index);
    match carry_out(service, Arc::new(*request)).await {
        Ok(made) => {
            tracing::debug!(chunk = chunk.short(), index, existed = made.existed, "a shard is made");
            responder.answer::<MakeShard>(&made, Vec::new()).await
        }
        Err(refusal) => {
            tracing::warn!(chunk = chunk.short(), index, %refusal, "an order to make a shard was not carried out");
            responder.refuse(&refusal).await
        }
    }
}

async fn carry_out(service: &Service, request: Arc<MakeShard>) -> Result<Made, Refusal> {
    obey(service, request.generation).await?;
    if let Some(address) = request.address
        && is_here(service, ShardKey { account: request.account, address }).await?
    {
        return Ok(made(address, true, Vec::new(), Vec::new()));
    }
    let _place = service.workshop().place().await?;
    let wanted = shard_len(request.to, usize::try_from(request.sealed_len).unwrap_or(usize::MAX));
    let usage = service.store().usage().map_err(|error| service.refusal_of(&error))?;
    if usage.free < wanted as u64 {
        return Err(Refusal::Full { free: usage.free }); // before anybody sends anything
    }
    let mut damaged = Vec::new();
    let sources = Sources::new(service.clone(), Arc::clone(&request));
    if let Some(shard) = sources.copy(&mut damaged).await? {
        return keep(service, &request, shard, Vec::new(), damaged).await;
    }
    let _memory = service.workshop().memory(memory_of(&request)).await?;
    let shards = sources.gather(&mut damaged).await?;
    let room = timeout(MEMORY_WAIT, service.store().reserve(wanted)).await.map_err(|_| Refusal::Busy)?;
    let room = room.map_err(|error| service.refusal_of(&error))?;
    let order = Arc::clone(&request);
    let job = tokio::task::spawn_blocking(move || derive(&order, shards, room));
    let (shard, addresses) = job.await.map_err(|_| Refusal::Internal)?.map_err(|error| match error {
        DeriveError::Store(error) => service.refusal_of(&error),
        DeriveError::Erasure(error) => {
            tracing::error!(error = %chain(&error), chunk = request.chunk.short(), "shards do not make a chunk");
            Refusal::Internal
        }
    })?;
    keep(service, &request, shard, addresses, damaged).await
}

/// Whether the shard is here and live, or comes back out of the trash whole.
async fn is_here(service: &Service, key: ShardKey) -> Result<bool, Refusal> {
    let store = service.store();
    if store.touch(&key) {
        return Ok(true);
    }
    if !store.get(key).is_some_and(|found| matches!(found.state, ShardState::Trash { .. })) {
        return Ok(false);
    }
    let restored = match store.verify(key).await {
        Ok(()) => store.restore(key).await,
        Err(error) => Err(error),
    };
    match restored {
        Ok(()) => Ok(store.touch(&key)),
        Err(error) => match service.refusal_of(&error) {
            Refusal::ReadOnly => Err(Refusal::ReadOnly),
            _ => Ok(false), // broken, unreadable or purged meanwhile: it is made anew
        },
    }
}

/// What is in memory at the most: the shares that were fetched, the chunk, and the shares that are computed with the code's own work room.
fn memory_of(request: &MakeShard) -> usize {
    let sealed = usize::try_from(request.sealed_len).unwrap_or(usize::MAX);
    let coded = |redundancy: Redundancy, bytes: usize| if redundancy.k() == 1 { 0 } else { bytes };
    let fetched = request.from.k().saturating_mul(shard_len(request.from, sealed));
    let joined = coded(request.from, sealed.saturating_mul(2));
    let shares = request.to.losses().saturating_mul(shard_len(request.to, sealed)).saturating_mul(2);
    fetched.saturating_add(joined).saturating_add(coded(request.to, shares))
}

#[derive(Debug, thiserror::Error)]
enum DeriveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Erasure(#[from] ErasureError),
}

/// From some shards of a chunk to another, and the addresses of all where they are news. Blocking.
fn derive(
    request: &MakeShard,
    shards: Vec<(u8, Bytes)>,
    mut room: ShardBuffer,
) -> Result<(VerifiedShard, Vec<ShardAddress>), DeriveError> {
    let sealed = join(&shards, request.from, usize::try_from(request.sealed_len).unwrap_or(usize::MAX))?;
    drop(shards);
    let all = split(&sealed, request.to)?;
    let addresses = match request.address {
        Some(_) if request.from == request.to => Vec::new(),
        Some(_) | None if request.to.k() == 1 => vec![ShardAddress::of(&sealed); request.to.n()],
        Some(_) | None => ShardAddress::of_all(all.iter().map(|shard| &**shard)),
    };
    let shard = all.get(usize::from(request.index)).cloned().unwrap_or_default();
    drop((all, sealed));
    room.extend_from_slice(&shard)?;
    let computed = addresses.get(usize::from(request.index)).copied();
    let expected = request.address.or(computed).unwrap_or(ShardAddress([0; 20])); // one of them is there, see above
    Ok((room.finish(expected)?, addresses))
}

async fn keep(
    service: &Service,
    request: &MakeShard,
    shard: VerifiedShard,
    addresses: Vec<ShardAddress>,
    damaged: Vec<PeerId>,
) -> Result<Made, Refusal> {
    let address = shard.address();
    let meta = ShardMeta {
        account: request.account,
        chunk: request.chunk,
        index: request.index,
        redundancy: request.to,
        sealed_len: request.sealed_len,
        generation: request.generation,
    };
    let stored = service.store().write(shard, meta).await.map_err(|error| service.refusal_of(&error))?;
    Ok(made(address, stored.existed, addresses, damaged))
}

/// No list is longer than the sources or the shards of a chunk, so all fit.
fn made(address: ShardAddress, existed: bool, addresses: Vec<ShardAddress>, damaged: Vec<PeerId>) -> Made {
    let (addresses, damaged) = (addresses.try_into().unwrap_or_default(), damaged.try_into().unwrap_or_default());
    Made { address, existed, addresses, damaged }
}
