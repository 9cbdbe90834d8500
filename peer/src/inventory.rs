//! Inventory: what is here, as the directory asks for it: first the sums, then lists of the parts whose sums differ.
//!
//! Sketch: the sums are kept up with the index, so they cost a copy of 6 KiB; a page costs what it lists and a look-up an account.

use common::limits::INVENTORY_SHARDS;
use common::proto::Refusal;
use common::proto::peer::{Condition, Digest, Digests, ListShards, ShardList, ShardName, ShardView};
use common::transport::{CallError, Responder};

use crate::service::Service;
use crate::store::{ShardInfo, ShardKey, ShardState};

pub(crate) async fn digest(service: &Service, responder: Responder) -> Result<(), CallError> {
    match service.store().sums().parts().to_vec().try_into() {
        Ok(parts) => responder.answer::<Digest>(&Digests { parts }, Vec::new()).await,
        Err(_) => responder.refuse(&Refusal::Internal).await, // there are as many as fit
    }
}

pub(crate) async fn list(service: &Service, request: ListShards, responder: Responder) -> Result<(), CallError> {
    let after = request.after.map(|name| ShardKey { account: name.account, address: name.address });
    let (found, more) = service.store().list_part(request.part, after, INVENTORY_SHARDS);
    match found.iter().map(view).collect::<Vec<_>>().try_into() {
        Ok(shards) => responder.answer::<ListShards>(&ShardList { shards, more }, Vec::new()).await,
        Err(_) => responder.refuse(&Refusal::Internal).await, // no more were asked for
    }
}

fn view(info: &ShardInfo) -> ShardView {
    ShardView {
        name: ShardName { account: info.account, address: info.address },
        chunk: info.chunk,
        index: info.index,
        redundancy: info.redundancy,
        sealed_len: info.sealed_len,
        generation: info.generation,
        condition: match info.state {
            ShardState::Live => Condition::Live,
            ShardState::Trash { .. } => Condition::Trash,
            ShardState::Quarantined { .. } => Condition::Quarantined,
        },
    }
}
