//! Put: a shard arrives. Everything that can be refused is refused before its bytes are read.
//!
//! Sketch: the bytes go from the socket's buffers straight into the page-aligned memory that O_DIRECT writes from, one copy
//! (0.05 ns a byte), and through SHA-1 on the way (0.52). A piece from the socket is at most 6.5 KB, 3.4 us of SHA-1, and the task
//! gives way every 256 KiB, so that others wait 0.15 ms at most.

use common::id::{AccountId, DeviceId};
use common::proto::Refusal;
use common::proto::peer::{PutShard, Stored};
use common::proto::refusal::{GrantFault, What};
use common::transport::{BodyReader, CallError, Responder};
use tokio::time::timeout;

use crate::authorize::{check_grant, meta_of};
use crate::config::{BODY_TIME, MEMORY_WAIT};
use crate::service::Service;
use crate::store::{ShardBuffer, ShardKey, ShardMeta, ShardState};

const GIVE_WAY_BYTES: usize = 256 << 10;

/// Why nothing was stored.
enum Failure {
    Refused(Refusal),
    /// The sender is gone or silent: nobody is there to be told, except that it might be.
    Body(CallError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Answers when the shard would survive a power cut.
pub(crate) async fn put(
    service: &Service,
    account: AccountId,
    device: DeviceId,
    request: &PutShard,
    body: BodyReader,
    responder: Responder,
) -> Result<(), CallError> {
    match store(service, account, device, request, body).await {
        Ok(stored) => responder.answer::<PutShard>(&stored, Vec::new()).await,
        Err(Failure::Refused(refusal)) => {
            tracing::debug!(shard = request.address.short(), %refusal, "put refused");
            responder.refuse(&refusal).await
        }
        Err(Failure::Body(error)) => Err(error),
    }
}

async fn store(
    service: &Service,
    account: AccountId,
    device: DeviceId,
    request: &PutShard,
    body: BodyReader,
) -> Result<Stored, Failure> {
    let meta = granted(service, account, device, request)?;
    let key = ShardKey { account, address: request.address };
    let live = service.store().get(key).is_some_and(|found| found.state == ShardState::Live);
    if live {
        return Ok(Stored { existed: true }); // the body is dropped, which stops it
    }
    let grant = service.verified(&request.grant)?;
    let spending = service.spent().spend(&grant, u64::from(request.len)).map_err(Refusal::Grant)?;
    let refusal = |error| Failure::Refused(service.refusal_of(&error));
    let len = usize::try_from(request.len).unwrap_or(usize::MAX);
    let memory = timeout(MEMORY_WAIT, service.store().reserve(len)).await.map_err(|_| Refusal::Busy)?;
    let arriving = arrive(body, memory.map_err(refusal)?);
    let buffer = timeout(BODY_TIME, arriving).await.map_err(|_| Refusal::Busy)??;
    let verified = buffer.finish(request.address).map_err(refusal)?;
    let stored = service.store().write(verified, meta).await.map_err(refusal)?;
    if !stored.existed {
        spending.keep();
    }
    Ok(Stored { existed: stored.existed })
}

/// Checks the grant: signature, whose it is, until when, and whether it could ever buy this.
fn granted(service: &Service, account: AccountId, device: DeviceId, request: &PutShard) -> Result<ShardMeta, Refusal> {
    let grant = service.verified(&request.grant)?;
    let known = service.known();
    check_grant(&grant, known.cluster(), account, device, known.directory_time())?;
    if u64::from(request.len) > grant.bytes {
        return Err(Refusal::Grant(GrantFault::Spent));
    }
    Ok(meta_of(request, &grant))
}

/// Exactly as many bytes as were announced, or nothing.
async fn arrive(mut body: BodyReader, mut buffer: ShardBuffer) -> Result<ShardBuffer, Failure> {
    let mut since_way = 0;
    while let Some(piece) = body.chunk().await.map_err(Failure::Body)? {
        buffer.extend_from_slice(&piece).map_err(|_| Refusal::TooLarge(What::Body))?;
        since_way += piece.len();
        if since_way >= GIVE_WAY_BYTES {
            since_way = 0;
            tokio::task::yield_now().await;
        }
    }
    if buffer.missing() > 0 {
        return Err(Failure::Refused(Refusal::Malformed));
    }
    Ok(buffer)
}
