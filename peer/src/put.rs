//! Put: a shard arrives. Everything that can be refused is refused before its bytes are read.
//!
//! Sketch: the bytes go from the socket's buffers straight into the page-aligned memory that O_DIRECT writes from, one copy
//! (0.05 ns a byte), and through SHA-1 while it is in the cache, together with what arrives of other shards (0.2 to 0.5; see
//! `store/company.rs`), 1 ms at a time at most. The task gives way every 256 KiB.

use bytes::Bytes;
use common::address::ShardAddress;
use common::grant::Grant;
use common::proto::Refusal;
use common::proto::peer::{PutShard, Stored};
use common::proto::refusal::{GrantFault, What};
use common::transport::{BodyReader, CallError, Responder};
use tokio::time::timeout;

use crate::authorize::{Bringer, check_grant, meta_of};
use crate::config::{BODY_TIME, MEMORY_WAIT};
use crate::service::Service;
use crate::spent::Spending;
use crate::store::{ShardBuffer, ShardKey, ShardMeta};

const GIVE_WAY_BYTES: usize = 256 << 10;

/// Why nothing was stored.
pub(crate) enum Failure {
    Refused(Refusal),
    /// The sender is gone or silent: nobody is there to be told, except that it might be.
    Body(CallError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What was set aside for a shard that may come.
pub(crate) struct Room {
    meta: ShardMeta,
    spending: Spending,
    buffer: ShardBuffer,
}

/// Answers when the shard would survive a power cut.
pub(crate) async fn put(
    service: &Service,
    by: Bringer,
    request: &PutShard,
    body: BodyReader,
    responder: Responder,
) -> Result<(), CallError> {
    match store(service, by, request, body).await {
        Ok(stored) => responder.answer::<PutShard>(&stored, Vec::new()).await,
        Err(Failure::Refused(refusal)) => {
            tracing::debug!(shard = request.address.short(), %refusal, "put refused");
            responder.refuse(&refusal).await
        }
        Err(Failure::Body(error)) => Err(error),
    }
}

async fn store(service: &Service, by: Bringer, request: &PutShard, body: BodyReader) -> Result<Stored, Failure> {
    let Some(mut room) = make_room(service, by, request).await? else {
        return Ok(Stored { existed: true }); // the body is dropped, which stops it
    };
    arrive(body, request.len, |piece| room.take(&piece)).await?;
    Ok(room.keep(service, request.address).await?)
}

/// Checks all that can be checked before a byte is read, and sets aside what the shard needs; nothing when it is here already.
pub(crate) async fn make_room(service: &Service, by: Bringer, request: &PutShard) -> Result<Option<Room>, Refusal> {
    let (grant, meta) = granted(service, by, request)?;
    let key = ShardKey { account: grant.account, address: request.address };
    if service.store().touch(&key) {
        return Ok(None);
    }
    let spending = service.spent().spend(&grant, u64::from(request.len)).map_err(Refusal::Grant)?;
    let len = usize::try_from(request.len).unwrap_or(usize::MAX);
    let memory = timeout(MEMORY_WAIT, service.store().reserve(len)).await.map_err(|_| Refusal::Busy)?;
    let buffer = memory.map_err(|error| service.refusal_of(&error))?;
    Ok(Some(Room { meta, spending, buffer }))
}

impl Room {
    pub(crate) fn take(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.buffer.extend_from_slice(piece).map_err(|_| Refusal::TooLarge(What::Body))
    }

    /// Stores what has arrived, if it has its address.
    pub(crate) async fn keep(self, service: &Service, address: ShardAddress) -> Result<Stored, Refusal> {
        let refusal = |error| service.refusal_of(&error);
        let verified = self.buffer.finish(address).map_err(refusal)?;
        let stored = service.store().write(verified, self.meta).await.map_err(refusal)?;
        if !stored.existed {
            self.spending.keep();
        }
        Ok(Stored { existed: stored.existed })
    }
}

/// Checks the grant: signature, whose it is, until when, and whether it could ever buy this.
fn granted(service: &Service, by: Bringer, request: &PutShard) -> Result<(Grant, ShardMeta), Refusal> {
    let grant = service.verified(&request.grant)?;
    let known = service.known();
    check_grant(&grant, known.cluster(), by, &known.revoked(), known.directory_time())?;
    if u64::from(request.len) > grant.bytes {
        return Err(Refusal::Grant(GrantFault::Spent));
    }
    let meta = meta_of(request, &grant);
    Ok((grant, meta))
}

/// Exactly as many bytes as were announced, in time, or nothing.
pub(crate) async fn arrive(
    body: BodyReader,
    len: u32,
    take: impl FnMut(Bytes) -> Result<(), Refusal>,
) -> Result<(), Failure> {
    timeout(BODY_TIME, arrive_all(body, len, take)).await.map_err(|_| Refusal::Busy)?
}

async fn arrive_all(
    mut body: BodyReader,
    len: u32,
    mut take: impl FnMut(Bytes) -> Result<(), Refusal>,
) -> Result<(), Failure> {
    let mut missing = usize::try_from(len).unwrap_or(usize::MAX);
    let mut since_way = 0;
    while let Some(piece) = body.chunk().await.map_err(Failure::Body)? {
        missing = missing.checked_sub(piece.len()).ok_or(Refusal::TooLarge(What::Body))?;
        since_way += piece.len();
        take(piece)?;
        if since_way >= GIVE_WAY_BYTES {
            since_way = 0;
            tokio::task::yield_now().await;
        }
    }
    if missing > 0 {
        return Err(Failure::Refused(Refusal::Malformed));
    }
    Ok(())
}
