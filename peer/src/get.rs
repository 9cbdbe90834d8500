//! Get: a range of a shard goes out, read from the disk in pieces, the next one while the last one is being sent.
//!
//! Each piece goes from the disk's pages to the socket without a copy, and its memory counts against the readers' budget until it
//! was sent: a slow reader holds two pieces, and for no longer than the body's stall time.

use bytes::Bytes;
use common::proto::peer::{GetShard, ShardRange};
use common::proto::refusal::What;
use common::proto::{Refusal, Request};
use common::transport::{CallError, Responder};

use crate::config::READ_PIECE_BYTES;
use crate::service::Service;
use crate::store::{ShardInfo, ShardKey, ShardState, StoreError};

/// What is still to be read.
struct Rest {
    offset: u64,
    end: u64,
}

impl Rest {
    async fn next(&mut self, service: &Service, key: ShardKey) -> Result<Option<Bytes>, StoreError> {
        let left = self.end.saturating_sub(self.offset);
        if left == 0 {
            return Ok(None);
        }
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(READ_PIECE_BYTES);
        let bytes = service.store().read(key, self.offset, len).await?;
        self.offset += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

/// Answers with the bytes as the disk has them: the client checks its own digest.
pub(crate) async fn get(
    service: &Service,
    key: ShardKey,
    request: &GetShard,
    responder: Responder,
) -> Result<(), CallError> {
    match service.store().get(key) {
        Some(found) => send::<GetShard>(service, &found, request.offset, request.len, responder).await,
        None => responder.refuse(&Refusal::NotFound(What::Shard)).await,
    }
}

/// Answers with a range of a shard that is here; up to its end when it has fewer bytes.
pub(crate) async fn send<R: Request<Response = ShardRange>>(
    service: &Service,
    found: &ShardInfo,
    offset: u32,
    len: u32,
    responder: Responder,
) -> Result<(), CallError> {
    let key = ShardKey { account: found.account, address: found.address };
    if matches!(found.state, ShardState::Quarantined { .. }) {
        return responder.refuse(&Refusal::Quarantined).await;
    }
    let len = len.min(found.len.saturating_sub(offset));
    let mut rest = Rest { offset: u64::from(offset), end: u64::from(offset) + u64::from(len) };
    // The first piece is read before anything is promised: what fails here is still a refusal, and the client goes elsewhere.
    let mut piece = match rest.next(service, key).await {
        Ok(piece) => piece,
        Err(error) => return responder.refuse(&service.refusal_of(&error)).await,
    };
    let mut writer = responder.begin::<R>(&ShardRange { len, total: found.len }).await?;
    while let Some(bytes) = piece {
        let mut pieces = [bytes];
        let (sent, next) = tokio::join!(writer.write(&mut pieces), rest.next(service, key));
        sent?;
        piece = match next {
            Ok(next) => next,
            Err(error) => {
                service.refusal_of(&error); // for the log; the caller sees a body that breaks off
                return Ok(());
            }
        };
    }
    writer.finish();
    Ok(())
}
