//! Notes of the directory itself: what it learned of a peer, and that it has started.

use common::id::PeerId;
use common::proto::Refusal;
use common::proto::directory::Done;
use common::proto::refusal::What;
use serde::Serialize;

use super::Context;
use crate::authorize::Itself;
use crate::schema::{Generation, Peer, key};
use crate::transact::{Operation, Stop, Txn};

/// What a heartbeat said that has to outlive a restart.
#[derive(Serialize)]
pub struct NotePeer {
    pub peer: PeerId,
    pub record: Peer,
}

impl Operation for NotePeer {
    const NAME: &'static str = "NotePeer";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Done;

    async fn decide(&self, txn: &mut Txn, _: Itself, _: &Context) -> Result<Done, Stop> {
        let found = txn.read(&key::peer(self.peer)).await?.ok_or(Refusal::NotFound(What::Peer))?.record;
        if found.revoked.is_some() {
            return Err(Refusal::Revoked.into());
        }
        txn.put(&key::peer(self.peer), &Peer { enrolled: found.enrolled, revoked: None, ..self.record.clone() })?;
        Ok(Done {})
    }
}

/// That a directory starts: takes the next generation.
#[derive(Serialize)]
pub struct NextGeneration {}

impl Operation for NextGeneration {
    const NAME: &'static str = "NextGeneration";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Generation;

    async fn decide(&self, txn: &mut Txn, _: Itself, _: &Context) -> Result<Generation, Stop> {
        let last = txn.read(&key::generation()).await?.map_or(0, |found| found.record.generation);
        let next = Generation { generation: last + 1 };
        txn.put(&key::generation(), &next)?;
        Ok(next)
    }
}
