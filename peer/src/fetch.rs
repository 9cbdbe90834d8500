//! Fetch: a peer reads a whole shard, to make one of the same chunk. The directory's pass lets it, for one chunk and for a while.
//!
//! The bytes go out as the disk has them: whoever makes a shard checks each against its address, and reports what is wrong.

use common::id::PeerId;
use common::proto::Refusal;
use common::proto::peer::FetchShard;
use common::proto::refusal::What;
use common::transport::{CallError, Responder};

use crate::get;
use crate::service::Service;
use crate::store::{ShardInfo, ShardKey};

pub(crate) async fn fetch(
    service: &Service,
    peer: PeerId,
    request: &FetchShard,
    responder: Responder,
) -> Result<(), CallError> {
    match allowed(service, peer, request) {
        Ok(found) => get::send::<FetchShard>(service, &found, 0, found.len, responder).await,
        Err(refusal) => {
            tracing::debug!(shard = request.address.short(), peer = %peer.short(), %refusal, "fetch refused");
            responder.refuse(&refusal).await
        }
    }
}

/// The shard, if the pass is for this peer and for this shard's chunk. One of another chunk is as if it were not here.
fn allowed(service: &Service, peer: PeerId, request: &FetchShard) -> Result<ShardInfo, Refusal> {
    let known = service.known();
    let pass = service.checked_pass(&request.pass)?;
    pass.check(known.cluster(), peer, known.directory_time()).map_err(Refusal::Grant)?;
    let found = service.store().get(ShardKey { account: pass.account, address: request.address });
    found.filter(|found| found.chunk == pass.chunk).ok_or(Refusal::NotFound(What::Shard))
}
