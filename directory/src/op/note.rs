//! Notes of the directory itself: what it learned of a peer, and that it has started.

use common::history::HistoryPoint;
use common::id::{PeerId, StartId};
use common::proto::Refusal;
use common::proto::directory::Done;
use common::proto::refusal::What;
use serde::{Deserialize, Serialize};

use super::Context;
use crate::authorize::{Itself, OfAdmin};
use crate::schema::{Fence, Generation, Peer, Start, key};
use crate::transact::{Operation, Stop, Txn};

/// Generations without a start of their own that are skipped when the end of one is looked for.
const LOOKED_AHEAD: u64 = 64;

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
        txn.put(
            &key::peer(self.peer),
            &Peer { enrolled: found.enrolled, draining: found.draining, revoked: None, ..self.record.clone() },
        )?;
        Ok(Done {})
    }
}

/// That a directory starts: takes the next generation.
#[derive(Serialize)]
pub struct NextGeneration {
    /// Random.
    pub start: StartId,
    /// It is to be at least this one.
    pub least: u64,
}

impl Operation for NextGeneration {
    const NAME: &'static str = "NextGeneration";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Generation;

    async fn decide(&self, txn: &mut Txn, _: Itself, _: &Context) -> Result<Generation, Stop> {
        let last = txn.read(&key::generation()).await?.map_or(0, |found| found.record.generation);
        let next = Generation { generation: (last + 1).max(self.least) };
        txn.put(&key::generation(), &next)?;
        let start = Start { start: self.start, after: txn.last_sequence() };
        txn.put(&key::start(next.generation), &start)?;
        Ok(next)
    }
}

/// Compares what a peer has seen with this store's history, and puts the fence up where it is no part of it.
#[derive(Serialize)]
pub struct CheckHistory {
    pub seen: HistoryPoint,
}

/// Whether deletions are forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    pub fenced: bool,
}

impl Operation for CheckHistory {
    const NAME: &'static str = "CheckHistory";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Checked;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Checked, Stop> {
        let fence = txn.read(&key::fence()).await?.map(|found| found.record);
        let ours = is_ours(txn, &self.seen, context.generation).await?;
        let accepted = fence.is_some_and(|fence| !fence.up && self.seen.generation <= fence.seen.generation);
        if ours || accepted {
            return Ok(Checked { fenced: fence.is_some_and(|fence| fence.up) });
        }
        let seen = match fence {
            Some(fence) if !self.seen.is_beyond(&fence.seen) => fence.seen,
            Some(_) | None => self.seen,
        };
        let new = Fence { seen, up: true };
        if fence != Some(new) {
            txn.put(&key::fence(), &new)?;
        }
        Ok(Checked { fenced: true })
    }
}

/// Whether a point is part of this store's history: the same start, and no commit that is not here.
async fn is_ours(txn: &mut Txn, seen: &HistoryPoint, generation: u64) -> Result<bool, Stop> {
    if *seen == HistoryPoint::NONE {
        return Ok(true);
    }
    if seen.generation > generation {
        return Ok(false);
    }
    let Some(start) = txn.peek(&key::start(seen.generation)).await?.map(|found| found.record) else { return Ok(false) };
    // Where the next start is, the part of this one ends. A generation that was passed over has no start.
    let mut next = None;
    for later in seen.generation + 1..=generation.min(seen.generation + LOOKED_AHEAD) {
        next = txn.peek(&key::start(later)).await?.map(|found| found.record.after);
        if next.is_some() {
            break;
        }
    }
    let end = next.unwrap_or_else(|| txn.last_sequence());
    Ok(start.start == seen.start && seen.sequence <= end)
}

/// Takes the fence down: what was seen of generations up to the one that was seen is no news any more.
#[derive(Serialize)]
pub struct AcceptHistory {}

impl Operation for AcceptHistory {
    const NAME: &'static str = "AcceptHistory";
    const ESSENTIAL: bool = true;
    type Who = OfAdmin;
    type Answer = Done;

    async fn decide(&self, txn: &mut Txn, _: OfAdmin, _: &Context) -> Result<Done, Stop> {
        if let Some(fence) = txn.read(&key::fence()).await? {
            txn.put(&key::fence(), &Fence { up: false, ..fence.record })?;
        }
        Ok(Done {})
    }
}
