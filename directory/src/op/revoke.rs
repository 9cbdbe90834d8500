//! Revoking: an identity's right to connect is taken away, for good.

use common::id::RequestId;
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
            Revoked::Peer(peer) => {
                let found = txn.read(&key::peer(peer)).await?.ok_or(Refusal::NotFound(What::Peer))?.record;
                if found.revoked.is_none() {
                    txn.put(&key::peer(peer), &Peer { revoked: when, ..found })?;
                }
            }
        }
        // The cluster map carries no more; who is beyond could still talk to peers until his certificate ends.
        if context.roster.revoked_count() >= REVOKED {
            return Err(Refusal::TooLarge(What::Cluster).into());
        }
        Ok(Done {})
    }
}
