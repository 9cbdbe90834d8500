//! Governing peers: emptying one, and taking one out of the cluster.

use common::id::RequestId;
use common::proto::Refusal;
use common::proto::directory::{Done, DrainPeer, RemovePeer};
use common::proto::refusal::What;

use super::Context;
use super::revoke::{check_room, revoke_peer};
use crate::authorize::OfAdmin;
use crate::schema::{Peer, key};
use crate::transact::{Operation, Stop, Txn};

/// Shards of a peer that are counted for the message that it cannot be removed.
const COUNTED: usize = 8_192;

impl Operation for DrainPeer {
    const NAME: &'static str = "DrainPeer";
    const ESSENTIAL: bool = true;
    type Who = OfAdmin;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, _: OfAdmin, _: &Context) -> Result<Done, Stop> {
        let found = txn.read(&key::peer(self.peer)).await?.ok_or(Refusal::NotFound(What::Peer))?.record;
        if found.revoked.is_some() {
            return Err(Refusal::Revoked.into());
        }
        if found.draining != self.drain {
            txn.put(&key::peer(self.peer), &Peer { draining: self.drain, ..found })?;
        }
        Ok(Done {})
    }
}

impl Operation for RemovePeer {
    const NAME: &'static str = "RemovePeer";
    const ESSENTIAL: bool = true;
    type Who = OfAdmin;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, _: OfAdmin, context: &Context) -> Result<Done, Stop> {
        if !self.lost {
            let held = txn.scan(&key::held_by(self.peer), COUNTED).await?;
            // A shard that is placed there in this very moment is found missing later, and made anew.
            if !held.entries.is_empty() {
                return Err(Refusal::StillHolds(held.entries.len() as u64).into());
            }
        }
        revoke_peer(txn, self.peer, context).await?;
        check_room(context)?;
        Ok(Done {})
    }
}
