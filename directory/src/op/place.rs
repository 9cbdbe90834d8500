//! Places: what the directory itself changes about where a chunk's shards are: one was made, one is gone, one is too many, or all were made
//! anew at another redundancy.
//!
//! Each is one commit that rests on the chunk's record, so a client that registers the same chunk meanwhile and this never undo each
//! other's work. What is no longer true of the chunk by then changes nothing, and says so.

use common::address::ShardAddress;
use common::bounded::BoundedVec;
use common::id::{AccountId, ChunkId, PeerId};
use common::map::PeerState;
use common::proto::Refusal;
use common::proto::parts::ShardAt;
use common::proto::refusal::What;
use common::redundancy::Redundancy;
use serde::{Deserialize, Serialize};

use super::usage::Change;
use super::{Context, chunk, usage};
use crate::authorize::Itself;
use crate::schema::chunk::alive_of;
use crate::schema::{Chunk, key};
use crate::transact::{Operation, Stop, Txn};

/// Whether anything was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    pub changed: bool,
}

const NOTHING: Changed = Changed { changed: false };
const DONE: Changed = Changed { changed: true };

/// A peer has a shard that is durable there.
#[derive(Debug, Clone, Serialize)]
pub struct Placed {
    pub account: AccountId,
    pub chunk: ChunkId,
    /// What it was made for; a chunk that has another by now is left alone.
    pub redundancy: Redundancy,
    pub shard: ShardAt,
    /// It was made to take the place of this peer's.
    pub instead_of: Option<PeerId>,
}

impl Operation for Placed {
    const NAME: &'static str = "Placed";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Changed;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Changed, Stop> {
        let Some(before) = txn.read(&key::chunk(self.account, self.chunk)).await? else { return Ok(NOTHING) };
        let old = &before.record;
        if old.redundancy != self.redundancy || !old.owns(&self.shard) {
            return Ok(NOTHING);
        }
        let copies = old.redundancy.k() == 1;
        let given_up =
            |shard: &ShardAt| Some(shard.peer) == self.instead_of && (copies || shard.index == self.shard.index);
        let kept: Vec<_> = old.shards.iter().filter(|shard| !given_up(shard)).copied().collect();
        let shards = chunk::join(&[self.shard], &kept, copies, &context.roster);
        let after = Chunk { shards, ..old.clone() };
        chunk::write(txn, self.account, self.chunk, &after, Some(&before), &context.roster)?;
        Ok(DONE)
    }
}

/// A peer does not have a shard any more, or not whole.
#[derive(Debug, Clone, Serialize)]
pub struct Lost {
    pub account: AccountId,
    pub chunk: ChunkId,
    pub peer: PeerId,
    pub address: ShardAddress,
}

impl Operation for Lost {
    const NAME: &'static str = "Lost";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Changed;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Changed, Stop> {
        let is_it = |shard: &ShardAt| shard.peer == self.peer && shard.address == self.address;
        let Some(before) = txn.read(&key::chunk(self.account, self.chunk)).await? else {
            txn.delete(&key::held(self.peer, self.account, self.address));
            return Ok(NOTHING);
        };
        let old = &before.record;
        if !old.shards.iter().any(is_it) {
            // An index entry that leads nowhere; it may be missing as well.
            txn.delete(&key::held(self.peer, self.account, self.address));
            return Ok(NOTHING);
        }
        let kept: Vec<_> = old.shards.iter().filter(|shard| !is_it(shard)).copied().collect();
        let after = Chunk { shards: bounded(kept)?, ..old.clone() };
        chunk::write(txn, self.account, self.chunk, &after, Some(&before), &context.roster)?;
        Ok(DONE)
    }
}

fn bounded<T, const N: usize>(items: Vec<T>) -> Result<BoundedVec<T, N>, Stop> {
    BoundedVec::try_from(items).map_err(|_| Refusal::TooLarge(What::Shard).into())
}

/// A chunk has more shards than it needs: this one is given up, if as many as it should have are online without it.
#[derive(Debug, Clone, Serialize)]
pub struct Trimmed {
    pub account: AccountId,
    pub chunk: ChunkId,
    pub shard: ShardAt,
}

impl Operation for Trimmed {
    const NAME: &'static str = "Trimmed";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Changed;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Changed, Stop> {
        let Some(before) = txn.read(&key::chunk(self.account, self.chunk)).await? else { return Ok(NOTHING) };
        let old = &before.record;
        let kept: Vec<_> = old.shards.iter().filter(|shard| **shard != self.shard).copied().collect();
        let online = |peer| context.roster.state(peer) == Some(PeerState::Online);
        if kept.len() == old.shards.len() || alive_of(old.redundancy, &kept, online) < old.redundancy.n() {
            return Ok(NOTHING);
        }
        let after = Chunk { shards: bounded(kept)?, ..old.clone() };
        chunk::write(txn, self.account, self.chunk, &after, Some(&before), &context.roster)?;
        Ok(DONE)
    }
}

/// A chunk is kept at another redundancy from now on. With `shards`: all of the new ones are durable. Without, for copies whose number
/// changes: repair makes what is missing.
#[derive(Debug, Clone, Serialize)]
pub struct Recoded {
    pub account: AccountId,
    pub chunk: ChunkId,
    /// The commit of the mark that asked for it. One that was set since asks for something else, and stays.
    pub mark: u64,
    pub from: Redundancy,
    pub to: Redundancy,
    pub shards: Vec<ShardAt>,
    /// What all of them are called.
    pub addresses: Vec<ShardAddress>,
}

impl Operation for Recoded {
    const NAME: &'static str = "Recoded";
    type Who = Itself;
    type Answer = Changed;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Changed, Stop> {
        let (id, mark) = (key::chunk(self.account, self.chunk), key::recode(self.account, self.chunk));
        let asked = txn.read(&mark).await?.is_some_and(|asked| asked.version == self.mark);
        let Some(before) = txn.read(&id).await? else {
            if asked {
                txn.delete(&mark);
            }
            return Ok(NOTHING);
        };
        if before.record.redundancy != self.from {
            return Ok(NOTHING); // the mark is looked at again
        }
        let old = &before.record;
        let copies = self.from.k() == 1 && self.to.k() == 1;
        let (shards, addresses) = if copies {
            (old.shards.clone(), old.addresses.clone())
        } else {
            (bounded(self.shards.clone())?, bounded(self.addresses.clone())?)
        };
        let whole = alive_of(self.to, &shards, |peer| context.roster.is_alive(peer)) >= self.to.n();
        if self.from == self.to || (!copies && !whole) {
            if self.from == self.to && asked {
                txn.delete(&mark);
            }
            return Ok(NOTHING);
        }
        let after = Chunk { redundancy: self.to, addresses, shards, ..old.clone() };
        if asked {
            txn.delete(&mark);
        }
        chunk::write(txn, self.account, self.chunk, &after, Some(&before), &context.roster)?;
        let [spread, ..] = self.chunk.0;
        let bytes = after.stored_bytes().saturating_sub(before.record.stored_bytes());
        usage::count(txn, self.account, spread, Change { bytes, files: 0 }).await?;
        Ok(DONE)
    }
}

/// Takes a repair mark away that has nothing to say any more.
#[derive(Debug, Clone, Serialize)]
pub struct Settled {
    pub account: AccountId,
    pub chunk: ChunkId,
}

impl Operation for Settled {
    const NAME: &'static str = "Settled";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Changed;

    async fn decide(&self, txn: &mut Txn, _: Itself, context: &Context) -> Result<Changed, Stop> {
        let found = txn.read(&key::chunk(self.account, self.chunk)).await?;
        let lacks = |chunk: &Chunk| chunk.alive(|peer| context.roster.is_alive(peer)) < chunk.redundancy.n();
        if found.is_some_and(|found| lacks(&found.record)) {
            return Ok(NOTHING);
        }
        txn.delete(&key::repair(self.account, self.chunk));
        Ok(DONE)
    }
}
