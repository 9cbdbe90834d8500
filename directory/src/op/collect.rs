//! Collection: a chunk that nothing references is forgotten, in two commits.
//!
//! The first one sets it to condemned. The second, which has to see that it still is and that nothing references it, deletes its record; its
//! shards are nobody's from then on, and go the way of all such shards (`work/orphans.rs`). Whoever references a condemned chunk rewrites its
//! record, which fails the second commit; whoever referenced it before the first is seen by the second. So a chunk that an upload holds,
//! or a version, is never collected, whatever happens at the same time.

use common::id::{AccountId, ChunkId};
use serde::{Deserialize, Serialize};

use super::usage::{self, Change};
use super::{Context, content};
use crate::authorize::Itself;
use crate::schema::{Chunk, key};
use crate::transact::{Operation, Stop, Txn};

/// Histories of a chunk's record that are deleted in one commit.
const HISTORIES: usize = 1_000;

/// What became of a chunk that may be nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It is referenced, or was gone already.
    Kept,
    /// The next step may take it.
    Condemned,
    /// Its record is gone.
    Collected,
}

/// The next step of collecting one chunk.
#[derive(Debug, Clone, Serialize)]
pub struct Collect {
    pub account: AccountId,
    pub chunk: ChunkId,
}

impl Operation for Collect {
    const NAME: &'static str = "Collect";
    const ESSENTIAL: bool = true;
    type Who = Itself;
    type Answer = Fate;

    async fn decide(&self, txn: &mut Txn, _: Itself, _: &Context) -> Result<Fate, Stop> {
        let Self { account, chunk } = *self;
        let (id, mark) = (key::chunk(account, chunk), key::collect(account, chunk));
        // Read before the references are looked at: the commit fails if one was rewritten since. Whoever lets go leaves the mark anew.
        txn.read(&mark).await?;
        let Some(found) = txn.read(&id).await? else {
            txn.delete(&mark);
            return Ok(Fate::Kept);
        };
        if !txn.scan(&key::references(account, chunk), 1).await?.entries.is_empty() {
            if found.record.condemned {
                // It was referenced while it was condemned: whoever did it had read the record of before.
                txn.put(&id, &Chunk { condemned: false, ..found.record })?;
            }
            txn.delete(&mark);
            return Ok(Fate::Kept);
        }
        if !found.record.condemned {
            txn.put(&id, &Chunk { condemned: true, ..found.record })?;
            return Ok(Fate::Condemned);
        }
        if !content::forget(txn, account, chunk).await? {
            return Ok(Fate::Condemned);
        }
        let histories = txn.scan(&key::chunk_histories(account, chunk), HISTORIES).await?;
        for entry in &histories.entries {
            if let Some(since) = entry.key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes)) {
                txn.delete(&key::chunk_history(account, chunk, since));
            }
        }
        for shard in &found.record.shards {
            txn.delete(&key::held(shard.peer, account, shard.address));
        }
        let [spread, ..] = chunk.0;
        let gone = Change { bytes: found.record.stored_bytes().saturating_neg(), files: 0 };
        usage::count(txn, account, spread, gone).await?;
        txn.delete(&key::repair(account, chunk));
        txn.delete(&key::recode(account, chunk));
        txn.delete(&mark);
        txn.delete(&id);
        Ok(Fate::Collected)
    }
}
