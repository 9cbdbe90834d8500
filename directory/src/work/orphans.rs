//! Orphans: shards on peers that no record names, and how they go.
//!
//! They come from damaged shards that were put aside and made anew elsewhere, from uploads that ended early, from copies offered twice, from moves, from chunks that were collected, from peers that were away.
//! One way for all of them, in three steps:
//!
//! 1. The peer is told that they are condemned. From then on whoever stores or makes one of them takes it out of that note.
//! 2. Every upload that was open by then has ended, and every shard that the directory was having made: what was stored for them before is
//!    named by a record now, or never will be.
//! 3. Those that still nobody names are dropped; the peer drops what is condemned and untouched, and nothing else.
//!
//! A registration rests on a put that the peer answered, and what the directory notes on a make. If that was before step 1, its upload, or the
//! job, has ended in step 2, and step 3 sees the record. If it was after, the shard is not condemned any more. So a shard that a record names
//! is never dropped, however requests are delayed, and no clock is asked. What is dropped is in the peer's trash for some days on top of that.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::bounded::BoundedVec;
use common::id::{ChunkId, PeerId};
use common::proto::peer::{CondemnShards, DropShards, ShardName};
use common::telemetry;
use common::transport::call;

use super::Work;
use crate::kv::Store;
use crate::schema::{Chunk, Pending, key, record};
use crate::service::Service;
use crate::status::{CountError, each};
use crate::transact::Txn;

/// How long a peer may take to note or drop some thousand shards.
const ORDER: Duration = Duration::from_secs(60);

/// A shard that may be nobody's.
#[derive(Debug, Clone, Copy)]
pub struct Orphan {
    pub name: ShardName,
    pub chunk: ChunkId,
    /// Its bytes are not what its name says. That an earlier record places it there keeps no such one.
    pub damaged: bool,
}

/// Condemned shards of one peer that wait for uploads to end.
#[derive(Debug)]
pub struct Dying {
    pub peer: PeerId,
    shards: Vec<Orphan>,
    /// The last commit when the peer had noted them.
    after: u64,
    /// The last make that had begun by then.
    turn: u64,
}

/// Step 1. `None` when the peer did not take the note.
pub async fn condemn(service: &Service, peer: PeerId, shards: Vec<Orphan>) -> Option<Dying> {
    if service.work.is_fenced() || shards.is_empty() {
        return None;
    }
    let connection = service.members.connection(peer)?;
    let names = BoundedVec::try_from(shards.iter().map(|orphan| orphan.name).collect::<Vec<_>>()).ok()?;
    let order = CondemnShards { generation: service.members.generation(), shards: names };
    if let Err(error) = call(&connection, &order, Vec::new(), ORDER).await {
        tracing::debug!(peer = peer.short(), error = telemetry::chain(&error), "unknown shards stay for now");
        return None;
    }
    Some(Dying { peer, shards, after: service.store.last_sequence(), turn: service.work.last_turn() })
}

/// Steps 2 and 3. Gives them back while uploads are open, or shards are being made, that could name them.
///
/// # Errors
/// When the store cannot be read.
pub async fn drop_if_nobodys(service: &Arc<Service>, dying: Dying) -> Result<Option<Dying>, CountError> {
    if service.work.is_fenced() {
        return Ok(None);
    }
    if may_yet_be_named(service.store.as_ref(), &service.work, &dying).await? {
        return Ok(Some(dying));
    }
    let mut shards = Vec::with_capacity(dying.shards.len());
    for orphan in &dying.shards {
        if !is_named(service, dying.peer, orphan).await? {
            shards.push(orphan.name);
        }
    }
    let Some(connection) = service.members.connection(dying.peer) else { return Ok(None) };
    let Ok(shards) = BoundedVec::try_from(shards) else { return Ok(None) };
    let order = DropShards { generation: service.members.generation(), shards };
    match call(&connection, &order, Vec::new(), ORDER).await {
        Ok((dropped, _)) => {
            service.work.dropped.fetch_add(u64::from(dropped.dropped), Ordering::Relaxed);
            tracing::info!(peer = dying.peer.short(), dropped = dropped.dropped, "shards of nobody went to the trash");
        }
        Err(error) => {
            tracing::debug!(peer = dying.peer.short(), error = telemetry::chain(&error), "unknown shards stay for now");
        }
    }
    Ok(None)
}

/// Step 2: whether an upload is open, or a shard under way, that could name something which was stored before the peer took its note.
async fn may_yet_be_named(store: &dyn Store, work: &Work, dying: &Dying) -> Result<bool, CountError> {
    let uploading = oldest_upload(store).await?.is_some_and(|begun| begun < dying.after);
    Ok(uploading || work.is_making_of(dying.turn))
}

/// The commit after which the oldest upload began that could still register something. Whether its time is over is not asked: it ends by
/// a commit, or not.
async fn oldest_upload(store: &dyn Store) -> Result<Option<u64>, CountError> {
    let mut oldest = None;
    each(store, &key::all_pending(), |_, value| {
        let pending: Pending = record::decode(value)?;
        if !pending.ending {
            oldest = Some(oldest.map_or(pending.begun, |begun: u64| begun.min(pending.begun)));
        }
        Ok(())
    })
    .await?;
    Ok(oldest)
}

/// Whether a chunk's record, or one of its earlier ones, places this shard there.
///
/// # Errors
/// When the store cannot be read.
pub async fn is_named(service: &Service, peer: PeerId, orphan: &Orphan) -> Result<bool, CountError> {
    let Orphan { name, chunk, damaged } = *orphan;
    let names = |record: &Chunk| record.shards.iter().any(|shard| shard.peer == peer && shard.address == name.address);
    let mut txn = Txn::new(service.store.clone());
    let found = txn.peek(&key::chunk(name.account, chunk)).await.map_err(CountError::from)?;
    if found.is_some_and(|found| names(&found.record)) {
        return Ok(true);
    }
    if damaged {
        return Ok(false);
    }
    let mut named = false;
    each(service.store.as_ref(), &key::chunk_histories(name.account, chunk), |_, value| {
        named |= names(&record::decode(value)?);
        Ok(())
    })
    .await?;
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use crate::kv::memory::Memory;

    fn condemned(work: &Work) -> Dying {
        Dying { peer: PeerId([1; 16]), shards: Vec::new(), after: 0, turn: work.last_turn() }
    }

    /// A peer has made a shard and was told that it is condemned, since no record names it yet; then it is noted. Dropped in between, the
    /// record would name what is gone.
    #[tokio::test]
    async fn a_shard_between_its_making_and_the_commit_that_names_it_is_not_dropped() {
        let (store, work) = (Memory::new(), Work::new(Settings::default(), false));
        let making = work.making();
        let dying = condemned(&work);
        assert!(may_yet_be_named(&store, &work, &dying).await.unwrap());
        // What is begun now finds its shard condemned no more, and is not waited for.
        let later = work.making();
        drop(making);
        assert!(!may_yet_be_named(&store, &work, &dying).await.unwrap());
        assert!(may_yet_be_named(&store, &work, &condemned(&work)).await.unwrap());
        drop(later);
    }
}
