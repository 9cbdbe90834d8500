//! Chunks: asking which are stored already, and registering those that were sent. What is asked for and found, or registered, is held.
//!
//! A chunk is there for whoever asks when it survives as many losses, as its peers are now, as he wants it to. What does not is sent
//! again, and registering it again adds to it: locations are joined, the new ones first. Of two codes of the same bytes the one that survives
//! more stays. Of other sealed bytes the first ones stay while they can be read; those that are given up go into history, so that nothing
//! that was acknowledged is forgotten.

use std::collections::HashSet;

use common::address::ShardAddress;
use common::bounded::BoundedVec;
use common::id::{AccountId, ChunkId, PeerId, VersionId};
use common::limits::{CHUNK_BYTES, SHARDS_PER_CHUNK};
use common::proto::Refusal;
use common::proto::directory::{Answered, Ask, NewChunk, Register, Registered};
use common::proto::parts::{SealedKey, ShardAt};
use common::proto::refusal::What;
use common::redundancy::Redundancy;

use super::usage::Change;
use super::{Context, rekey, upload, usage};
use crate::authorize::OfAccount;
use crate::members::Roster;
use crate::schema::{Chunk, Held, Hold, Mark, chunk::alive_of, key};
use crate::transact::{Found, Operation, Stop, Txn};

impl Operation for Ask {
    const NAME: &'static str = "Ask";
    type Who = OfAccount;
    type Answer = Answered;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Answered, Stop> {
        let account = who.account();
        upload::used(txn, account, self.version, context).await?;
        let known = take(txn, account, self.version, &self.chunks, self.redundancy, context).await?;
        Ok(Answered { known: known.try_into().map_err(|_| Refusal::TooLarge(What::Chunk))? })
    }
}

/// Makes a pending version hold those of these chunks that are whole at this redundancy or better; their sealed keys.
///
/// # Errors
/// When the store cannot be read.
pub(super) async fn take(
    txn: &mut Txn,
    account: AccountId,
    upload: VersionId,
    wanted: &[ChunkId],
    redundancy: Redundancy,
    context: &Context,
) -> Result<Vec<Option<SealedKey>>, Stop> {
    let keys: Vec<_> = wanted.iter().map(|chunk| key::chunk(account, *chunk)).collect();
    let chunks = txn.peek_all(&keys).await?;
    let holds: Vec<_> = wanted.iter().map(|chunk| key::hold(account, upload, *chunk)).collect();
    txn.fetch(&holds).await?;
    let mut known = Vec::with_capacity(wanted.len());
    for (chunk, found) in wanted.iter().zip(chunks) {
        let whole = found.filter(|found| {
            let record = &found.record;
            // What it has beyond its own redundancy it will not keep.
            record.redundancy.covers(redundancy) && survives(record, &context.roster) >= Some(redundancy.losses())
        });
        let Some(_) = whole else {
            known.push(None);
            continue;
        };
        // From here on the commit rests on the record: whoever condemns the chunk rewrites it.
        let Some(mut found) = txn.read(&key::chunk(account, *chunk)).await? else { return Err(Stop::Torn) };
        if found.record.condemned {
            found.record.condemned = false;
            txn.put(&key::chunk(account, *chunk), &found.record)?;
        }
        hold(txn, account, upload, *chunk).await?;
        known.push(Some(found.record.key));
    }
    Ok(known)
}

/// Makes a pending version hold a chunk.
async fn hold(txn: &mut Txn, account: AccountId, upload: VersionId, chunk: ChunkId) -> Result<(), Stop> {
    // A hold goes away only after its version was set to ending, which the commit rests on.
    if txn.peek(&key::hold(account, upload, chunk)).await?.is_none() {
        txn.put(&key::hold(account, upload, chunk), &Hold::default())?;
        txn.put(&key::reference(account, chunk, upload), &Mark {})?;
    }
    Ok(())
}

/// How many more losses a chunk survives as its peers are now; `None` when it cannot be read. One that lacks a shard of its own
/// redundancy may still be safer than somebody asks for: a copy within the tree asks for no more than that it can be read.
fn survives(record: &Chunk, roster: &Roster) -> Option<usize> {
    record.alive(|peer| roster.is_alive(peer)).checked_sub(record.redundancy.k())
}

impl Operation for Register {
    const NAME: &'static str = "Register";
    type Who = OfAccount;
    type Answer = Registered;

    async fn decide(&self, txn: &mut Txn, who: OfAccount, context: &Context) -> Result<Registered, Stop> {
        let account = who.account();
        for new in &self.chunks {
            validate(new, &context.roster)?;
        }
        upload::used(txn, account, self.version, context).await?;
        rekey::check(txn, account, self.chunks.iter().map(|new| &*new.key)).await?;
        let keys: Vec<_> = self.chunks.iter().map(|new| key::chunk(account, new.chunk)).collect();
        txn.fetch(&keys).await?;
        let holds: Vec<_> = self.chunks.iter().map(|new| key::hold(account, self.version, new.chunk)).collect();
        txn.fetch(&holds).await?;
        let mut winners = Vec::with_capacity(self.chunks.len());
        let mut bytes = 0_i64;
        for new in &self.chunks {
            let (winner, more) = register(txn, account, new, &context.roster).await?;
            winners.push(winner);
            bytes = bytes.saturating_add(more);
            hold(txn, account, self.version, new.chunk).await?;
        }
        let change = Change { bytes, files: 0 };
        usage::check(txn, account, change).await?;
        let spread = self.chunks.first().and_then(|new| new.chunk.0.first()).copied().unwrap_or(0);
        usage::count(txn, account, spread, change).await?;
        Ok(Registered { winners: winners.try_into().map_err(|_| Refusal::TooLarge(What::Chunk))? })
    }
}

fn validate(new: &NewChunk, roster: &Roster) -> Result<(), Refusal> {
    let len = usize::try_from(new.sealed_len).unwrap_or(usize::MAX);
    if len == 0 || len > CHUNK_BYTES {
        return Err(Refusal::TooLarge(What::Chunk));
    }
    let peers: HashSet<_> = new.shards.iter().map(|shard| shard.peer).collect();
    let indices: HashSet<_> = new.shards.iter().map(|shard| shard.index).collect();
    let distinct = peers.len() == new.shards.len() && indices.len() == new.shards.len();
    let named = if new.redundancy.k() == 1 { 1 } else { new.redundancy.n() };
    let called = |shard: &ShardAt| {
        let place = if new.redundancy.k() == 1 { 0 } else { usize::from(shard.index) };
        usize::from(shard.index) < new.redundancy.n() && new.addresses.get(place) == Some(&shard.address)
    };
    let ours = new.addresses.len() == named && new.shards.iter().all(called);
    if !distinct || !ours || new.shards.len() < new.redundancy.enough() {
        return Err(Refusal::Malformed);
    }
    if !peers.iter().all(|peer| roster.is_known(*peer)) {
        return Err(Refusal::NotFound(What::Peer));
    }
    Ok(())
}

/// Writes the chunk as it is after this registration; the sealed key that counts, when it is another's, and by how much what is to be
/// stored grows.
async fn register(
    txn: &mut Txn,
    account: AccountId,
    new: &NewChunk,
    roster: &Roster,
) -> Result<(Option<SealedKey>, i64), Stop> {
    let before = txn.read(&key::chunk(account, new.chunk)).await?;
    let given = Chunk {
        sealed_len: new.sealed_len,
        redundancy: new.redundancy,
        key: new.key.clone(),
        addresses: new.addresses.clone(),
        shards: new.shards.clone(),
        condemned: false,
    };
    let Some(before) = before else {
        write(txn, account, new.chunk, &given, None, roster)?;
        return Ok((None, given.stored_bytes()));
    };
    let (after, kept_history) = merge(&before.record, given, roster);
    if kept_history && before.version > 0 {
        txn.put(&key::chunk_history(account, new.chunk, before.version), &before.record)?;
    }
    let winner = (after.key != new.key).then(|| after.key.clone());
    write(txn, account, new.chunk, &after, Some(&before), roster)?;
    Ok((winner, after.stored_bytes().saturating_sub(before.record.stored_bytes())))
}

/// What becomes of a chunk that is registered again, and whether its old record goes into history.
fn merge(before: &Chunk, given: Chunk, roster: &Roster) -> (Chunk, bool) {
    let alive = |chunk: &Chunk| chunk.alive(|peer| roster.is_alive(peer));
    let margin = |chunk: &Chunk| (alive(chunk) + SHARDS_PER_CHUNK).saturating_sub(chunk.redundancy.k());
    let kept = |redundancy| Chunk { redundancy, condemned: false, ..before.clone() };
    if !same_bytes(before, &given) {
        // Manifests hold the key of the bytes that were first: these stay for as long as they can be read.
        if alive(before) >= before.redundancy.k() {
            return (kept(wider(before, &given)), false);
        }
        return (given, true);
    }
    let key = before.key.clone();
    if before.redundancy == given.redundancy || (before.redundancy.k() == 1 && given.redundancy.k() == 1) {
        let copies = given.redundancy.k() == 1;
        let shards = join(&given.shards, &before.shards, copies, roster);
        return (Chunk { redundancy: wider(before, &given), key, shards, ..given }, false);
    }
    if margin(&given) > margin(before) {
        // The same bytes in a code that survives more. The shards of the old one are nobody's, and go.
        return (Chunk { key, ..given }, false);
    }
    (kept(before.redundancy), false)
}

/// The redundancy of a chunk of copies that was asked for with two; one of shares keeps its own.
fn wider(before: &Chunk, given: &Chunk) -> Redundancy {
    let copies = before.redundancy.k() == 1 && given.redundancy.k() == 1;
    if copies && given.redundancy.n() > before.redundancy.n() { given.redundancy } else { before.redundancy }
}

/// Whether two registrations are of the same sealed bytes: then their shards are called alike; where they cannot be compared, since they are
/// of two codes, the keys are the same.
fn same_bytes(a: &Chunk, b: &Chunk) -> bool {
    if a.sealed_len != b.sealed_len {
        return false;
    }
    let copies = a.redundancy.k() == 1 && b.redundancy.k() == 1;
    if copies || a.redundancy == b.redundancy { a.addresses == b.addresses } else { a.key == b.key }
}

/// All locations, the new ones first; when there are too many, those on dead peers go, and then the oldest.
pub(super) fn join(
    new: &[ShardAt],
    old: &[ShardAt],
    copies: bool,
    roster: &Roster,
) -> BoundedVec<ShardAt, SHARDS_PER_CHUNK> {
    let mut seen = HashSet::new();
    // A second copy on one peer is the same bytes; a second share is not.
    let mut first = |shard: &ShardAt| seen.insert((shard.peer, if copies { 0 } else { shard.index }));
    let mut all: Vec<ShardAt> = new.iter().chain(old).filter(|shard| first(shard)).copied().collect();
    if all.len() > SHARDS_PER_CHUNK {
        all.sort_by_key(|shard| !roster.is_alive(shard.peer)); // stable: the order stays otherwise
        all.truncate(SHARDS_PER_CHUNK);
    }
    BoundedVec::try_from(all).unwrap_or_default()
}

/// Writes a chunk with its indexes: who holds it, and whether it is to be repaired.
///
/// # Errors
/// When the record is too long.
pub fn write(
    txn: &mut Txn,
    account: AccountId,
    chunk: ChunkId,
    record: &Chunk,
    before: Option<&Found<Chunk>>,
    roster: &Roster,
) -> Result<(), Stop> {
    let places = |record: &Chunk| -> HashSet<(PeerId, ShardAddress)> {
        record.shards.iter().map(|shard| (shard.peer, shard.address)).collect()
    };
    let old = before.map(|before| places(&before.record)).unwrap_or_default();
    for (peer, address) in old.difference(&places(record)) {
        txn.delete(&key::held(*peer, account, *address));
    }
    for shard in record.shards.iter().filter(|shard| !old.contains(&(shard.peer, shard.address))) {
        txn.put(&key::held(shard.peer, account, shard.address), &Held { chunk, index: shard.index })?;
    }
    let present = alive_of(record.redundancy, &record.shards, |peer| roster.is_alive(peer));
    if present < record.redundancy.n() {
        txn.put(&key::repair(account, chunk), &Mark {})?;
    } else if before.is_some() {
        txn.delete(&key::repair(account, chunk));
    }
    if before.is_none_or(|before| before.record != *record) {
        txn.put(&key::chunk(account, chunk), record)?;
    }
    Ok(())
}
