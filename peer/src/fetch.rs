//! Fetch: whoever the directory has given a pass reads shards of the chunks that it is for, until its time: a peer a whole one, to
//! make one of the same chunk; a reader of something shared a part, as an account's own device does without a pass.
//!
//! The bytes go out as the disk has them: whoever reads checks them, against an address or against a digest in a sealed manifest.

use common::address::ShardAddress;
use common::id::{DeviceId, PeerId};
use common::pass::{Reader, SignedPass};
use common::proto::Refusal;
use common::proto::peer::{FetchShard, ReadShard};
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
    match allowed(service, Reader::Peer(peer), &request.pass, request.address) {
        Ok(found) => get::send::<FetchShard>(service, &found, 0, found.len, responder).await,
        Err(refusal) => {
            tracing::debug!(shard = request.address.short(), peer = %peer.short(), %refusal, "fetch refused");
            responder.refuse(&refusal).await
        }
    }
}

pub(crate) async fn read(
    service: &Service,
    reader: DeviceId,
    request: &ReadShard,
    responder: Responder,
) -> Result<(), CallError> {
    match allowed(service, Reader::Device(reader), &request.pass, request.address) {
        Ok(found) => get::send::<ReadShard>(service, &found, request.offset, request.len, responder).await,
        Err(refusal) => {
            tracing::debug!(shard = request.address.short(), reader = %reader.short(), %refusal, "reading refused");
            responder.refuse(&refusal).await
        }
    }
}

/// The shard, if the pass is for this reader and for this shard's chunk. One of another chunk is as if it were not here.
fn allowed(service: &Service, reader: Reader, pass: &SignedPass, address: ShardAddress) -> Result<ShardInfo, Refusal> {
    let known = service.known();
    let pass = service.checked_pass(pass)?;
    pass.check(known.cluster(), reader, known.directory_time()).map_err(Refusal::Grant)?;
    let found = service.store().get(ShardKey { account: pass.account, address });
    found.filter(|found| pass.covers(&found.chunk)).ok_or(Refusal::NotFound(What::Shard))
}
