//! Revoking: an identity's right to connect is taken away, for good; also that of a peer that is taken out of the cluster.

use common::id::{PeerId, RequestId};
use common::limits::REVOKED;
use common::proto::Refusal;
use common::proto::directory::{Done, Revoke, Revoked};
use common::proto::refusal::What;

use super::Context;
use crate::authorize::OfAdmin;
use crate::schema::{Device, Peer, key};
use crate::transact::{Operation, Stop, Txn};

impl Operation for Revoke {
    const NAME: &'static str = "Revoke";
    const ESSENTIAL: bool = true;
    type Who = OfAdmin;
    type Answer = Done;

    fn request(&self) -> Option<RequestId> {
        Some(self.request)
    }

    async fn decide(&self, txn: &mut Txn, _: OfAdmin, context: &Context) -> Result<Done, Stop> {
        let when = Some(context.now);
        match self.id {
            Revoked::Device(device) => {
                let found = txn.read(&key::device(device)).await?.ok_or(Refusal::NotFound(What::Device))?.record;
                if found.revoked.is_none() {
                    txn.put(&key::device(device), &Device { revoked: when, ..found })?;
                }
            }
            Revoked::Peer(peer) => revoke_peer(txn, peer, context).await?,
        }
        check_room(context)?;
        Ok(Done {})
    }
}

/// Takes a peer's right to connect away.
pub(super) async fn revoke_peer(txn: &mut Txn, peer: PeerId, context: &Context) -> Result<(), Stop> {
    let found = txn.read(&key::peer(peer)).await?.ok_or(Refusal::NotFound(What::Peer))?.record;
    if found.revoked.is_none() {
        txn.put(&key::peer(peer), &Peer { revoked: Some(context.now), ..found })?;
    }
    Ok(())
}

/// The cluster map carries no more; who is beyond could still talk to peers until his certificate ends.
pub(super) fn check_room(context: &Context) -> Result<(), Stop> {
    if context.roster.revoked_count() >= REVOKED {
        return Err(Refusal::TooLarge(What::Cluster).into());
    }
    Ok(())
}
