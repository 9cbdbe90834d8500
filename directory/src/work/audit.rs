//! Audit: the directory fetches shards at random and looks at them, one peer after the other.
//!
//! It is what nobody else can do: a peer's scrubber trusts the peer, and an inventory says what a peer believes to have. One shard of 2 MiB
//! every 10 s finds a peer that has lost 1 % of its shards within 50 minutes, with 95 % certainty for each peer of three.
//!
//! What is not there, or not what its address says, is taken out of the chunk's record, and so repaired; and the peer's whole inventory is
//! compared soon. An answer that does not come is no finding: liveness is judged by heartbeats.

use std::sync::Arc;
use std::time::Duration;

use common::address::ShardAddress;
use common::erasure;
use common::id::{AccountId, ChunkId, PeerId};
use common::map::PeerState;
use common::proto::Refusal;
use common::proto::parts::ShardAt;
use common::proto::peer::GetShard;
use common::proto::refusal::What;
use common::redundancy::Redundancy;
use common::telemetry;
use common::transport::{CallError, call};
use tokio::time::{MissedTickBehavior, interval};

use crate::authorize::Itself;
use crate::kv::StoreError;
use crate::op::place::Lost;
use crate::schema::{Held, key, record};
use crate::service::Service;
use crate::status::CountError;
use crate::transact::Txn;

/// How long a shard may take.
const FETCH: Duration = Duration::from_secs(60);

/// What a look at a shard came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Good,
    /// The peer has it not, or not whole.
    Bad,
    /// Nothing can be said.
    Unknown,
}

/// Audits until dropped.
pub async fn run(service: Arc<Service>) {
    let mut tick = interval(service.work.settings.audit_every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0_usize;
    loop {
        tick.tick().await;
        let roster = service.members.roster();
        let online: Vec<_> = roster.peers().iter().filter(|entry| entry.state == PeerState::Online).collect();
        let Some(entry) = online.get(turn % online.len().max(1)) else { continue };
        turn = turn.wrapping_add(1);
        if let Err(error) = audit(&service, entry.peer).await {
            tracing::warn!(error = telemetry::chain(&error), "no shard could be chosen for an audit");
        }
    }
}

/// Looks at one shard of a peer, chosen at random.
async fn audit(service: &Arc<Service>, peer: PeerId) -> Result<(), CountError> {
    let Some((account, address, held)) = choose(service, peer).await? else { return Ok(()) };
    let mut txn = Txn::new(service.store.clone());
    let Some(chunk) = txn.peek(&key::chunk(account, held.chunk)).await.map_err(CountError::from)? else {
        return Ok(());
    };
    let shard = ShardAt { index: held.index, peer, address };
    let chunk = chunk.record;
    look_at(service, shard, account, held.chunk, chunk.redundancy, chunk.sealed_len).await;
    Ok(())
}

type Chosen = Option<(AccountId, ShardAddress, Held)>;

/// Addresses are as good as random, so the first one behind a random one is a fair choice, once the account is chosen.
async fn choose(service: &Service, peer: PeerId) -> Result<Chosen, CountError> {
    let all = key::held_by(peer);
    let (account, address) = (AccountId::random(), ShardAddress(ChunkId::random().0));
    let first = key::held(peer, account, address).into_bytes();
    let Some((account, ..)) = first_of(service, &first, &all.to, &all.from).await? else { return Ok(None) };
    let from = key::held(peer, account, address).into_bytes();
    let least = key::held(peer, account, ShardAddress([0; 20])).into_bytes();
    first_of(service, &from, &all.to, &least).await
}

/// The first entry from `from` on, or else from `again` on.
async fn first_of(service: &Service, from: &[u8], to: &[u8], again: &[u8]) -> Result<Chosen, CountError> {
    let one = async |from: &[u8]| -> Result<_, StoreError> { Ok(service.store.scan(from, to, 1).await?.entries.pop()) };
    let found = match one(from).await? {
        Some(found) => Some(found),
        None => one(again).await?,
    };
    let Some(entry) = found else { return Ok(None) };
    let (_, account, address) = key::ids_of_held(&entry.key)?;
    Ok(Some((account, address, record::decode(&entry.value)?)))
}

/// Fetches a shard and looks at it; notes what was found, and takes it out of the chunk's record when it is not good.
pub async fn look_at(
    service: &Arc<Service>,
    shard: ShardAt,
    account: AccountId,
    chunk: ChunkId,
    redundancy: Redundancy,
    sealed_len: u32,
) -> Look {
    let len = erasure::shard_len(redundancy, sealed_len as usize);
    let look = match fetch(service, shard, account, len).await {
        Ok(true) => Look::Good,
        Ok(false) | Err(CallError::Refused(Refusal::NotFound(What::Shard) | Refusal::Quarantined)) => Look::Bad,
        Err(error) => {
            tracing::debug!(peer = shard.peer.short(), error = telemetry::chain(&error), "an audit without an answer");
            Look::Unknown
        }
    };
    let now = service.clock.now();
    if look != Look::Unknown {
        service.work.note(shard.peer, |finding| {
            finding.audited = Some(now);
            finding.audits += 1;
            finding.audits_failed += u64::from(look == Look::Bad);
        });
    }
    if look == Look::Bad {
        tracing::warn!(
            peer = shard.peer.short(),
            shard = shard.address.short(),
            "a peer does not have a shard that it should have"
        );
        let lost = Lost { account, chunk, peer: shard.peer, address: shard.address };
        if let Err(refusal) = service.run(&lost, Itself).await {
            tracing::warn!(%refusal, "a lost shard could not be noted");
        }
        service.work.ask_to_compare(shard.peer);
    }
    look
}

async fn fetch(service: &Service, shard: ShardAt, account: AccountId, len: usize) -> Result<bool, CallError> {
    let Some(connection) = service.members.connection(shard.peer) else {
        return Err(CallError::Unreachable { addresses: format!("peer {}", shard.peer.short()), source: None });
    };
    let request = GetShard { account: Some(account), address: shard.address, offset: 0, len: u32::MAX };
    let (_, body) = call(&connection, &request, Vec::new(), FETCH).await?;
    let pieces = tokio::time::timeout(FETCH, body.collect(len))
        .await
        .map_err(|_| CallError::TimedOut { what: "an audit", after: FETCH })??;
    // 0.5 ns a byte: 4 ms at most, off the network's threads.
    let address = tokio::task::spawn_blocking(move || {
        let mut addresser = common::address::Addresser::new();
        pieces.iter().for_each(|piece| addresser.update(piece));
        addresser.finish()
    });
    Ok(address.await.is_ok_and(|address| address == shard.address))
}
