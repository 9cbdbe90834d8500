//! Chunk: one sealed chunk, from its last plain byte to its registration.

use std::sync::Arc;

use common::id::ChunkId;
use common::proto::directory::NewChunk;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::task::spawn_blocking;

use super::send::send;
use super::together::Named;
use super::upload::Upload;
use super::{Up, UpError};
use crate::seal::{Plain, Sealed, Secret, open_chunk_key, seal_as, seal_chunk_key};

/// What storing a chunk came to.
#[derive(Clone)]
pub(super) struct StoredChunk {
    /// What opens the stored bytes: ours, or that of whoever was first.
    pub(super) secret: Secret,
    /// Bytes that went to peers.
    pub(super) sent: u64,
    /// Whether it has fewer shards than it should.
    pub(super) degraded: bool,
}

/// Runs CPU work on a blocking thread, at most one a core.
pub(super) async fn on_a_core<T: Send + 'static>(
    up: &Up,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, UpError> {
    let _core = up.cores.acquire().await.map_err(|closed| UpError::Bug(closed.to_string()))?;
    spawn_blocking(work).await.map_err(|panic| UpError::Bug(panic.to_string()))
}

/// Seals, sends and registers a chunk that the directory does not know. The permit goes back when its bytes are gone.
pub(super) async fn store_plain(
    up: &Up,
    upload: &Upload,
    plain: Plain,
    permit: OwnedSemaphorePermit,
) -> Result<StoredChunk, UpError> {
    let keys = up.keys.clone();
    let (wanted, compression) = (up.redundancy, up.options.compression);
    let together = Arc::clone(&up.together);
    let work = move || {
        let (sealed, secret) = seal_as(plain, &keys, compression);
        (together.name(sealed, wanted), secret)
    };
    let (named, secret) = on_a_core(up, work).await?;
    send_and_register(up, upload, named, secret, permit).await
}

/// The same for what is sealed already: a pack.
pub(super) async fn store_sealed(
    up: &Up,
    upload: &Upload,
    sealed: Sealed,
    secret: Secret,
    permit: OwnedSemaphorePermit,
) -> Result<StoredChunk, UpError> {
    let (wanted, together) = (up.redundancy, Arc::clone(&up.together));
    let named = on_a_core(up, move || together.name(sealed, wanted)).await?;
    send_and_register(up, upload, named, secret, permit).await
}

async fn send_and_register(
    up: &Up,
    upload: &Upload,
    named: oneshot::Receiver<Result<Named, UpError>>,
    secret: Secret,
    permit: OwnedSemaphorePermit,
) -> Result<StoredChunk, UpError> {
    let Named { prepared, on_its_way } = named.await.map_err(|lost| UpError::Bug(lost.to_string()))??;
    let sent = send(up, upload, &prepared).await?;
    drop(on_its_way);
    let (chunk, sealed_len, redundancy) = (prepared.chunk, prepared.sealed_len, prepared.redundancy);
    let addresses = prepared.addresses();
    drop((prepared, permit));
    let degraded = sent.shards.len() < redundancy.n();
    let account = up.session.account();
    let key = seal_chunk_key(&up.keys, &account, &chunk, &secret)?;
    let too_many = |_| UpError::Bug("more shards than a chunk has".to_owned());
    let shards = sent.shards.try_into().map_err(too_many)?;
    let addresses = addresses.try_into().map_err(too_many)?;
    let winner = upload.register(NewChunk { chunk, sealed_len, redundancy, key, addresses, shards }).await?;
    let secret = match winner {
        None => secret,
        Some(key) => open_chunk_key(&up.keys, &account, &chunk, &key)?,
    };
    Ok(StoredChunk { secret, sent: sent.bytes, degraded })
}

/// What opens a chunk that was stored before.
pub(super) fn known(up: &Up, chunk: ChunkId, key: &common::proto::parts::SealedKey) -> Result<StoredChunk, UpError> {
    let secret = open_chunk_key(&up.keys, &up.session.account(), &chunk, key)?;
    Ok(StoredChunk { secret, sent: 0, degraded: false })
}
