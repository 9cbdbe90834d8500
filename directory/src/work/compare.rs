//! Compare: finds out where the store and a peer's inventory differ, and acts on it.
//!
//! Sums of 256 parts are compared first, and only parts that differ are listed. A shard that the peer does not have, or has only as
//! damaged or in its trash, is taken out of its chunk's record, and so repaired. One that the store does not know there is taken back
//! if its chunk lacks a shard; else it goes the way of [`super::orphans`], as does a damaged one that the store names no more.
//!
//! A peer is compared when it comes online, when somebody asks (an audit failed, shards were given up there), and every hour. Until it was,
//! what is registered with it is not counted as surely there.
//!
//! Sketch: a sum costs a scan of what the peer holds and a BLAKE3 a shard, about 1 us each: a million shards take a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use common::id::PeerId;
use common::inventory::{PartDigest, Sums, part_of};
use common::limits::ORDER_SHARDS;
use common::map::PeerState;
use common::proto::Refusal;
use common::proto::parts::ShardAt;
use common::proto::peer::{Condition, Digest, ListShards, ShardName, ShardView};
use common::telemetry;
use common::transport::{CallError, Connection, call};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Settings;
use super::orphans::{self, Dying, Orphan};
use crate::authorize::Itself;
use crate::op::place::{Lost, Placed};
use crate::schema::{Held, key, record};
use crate::service::Service;
use crate::status::{CountError, each};
use crate::transact::Txn;

/// How long a peer may take to answer a question about its inventory.
const ASK: Duration = Duration::from_secs(60);
/// Shards whose names are in memory at once: about 6 MB.
const AT_ONCE: u64 = 65_536;
/// A peer that was compared is left alone for so many times as long as that took, and at least a round. One that is not known to have
/// what it should is left alone for only as long as that took: until it is compared nothing counts as surely there.
const PAUSE: u32 = 20;

#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    #[error("the peer is not connected")]
    NotConnected,
    #[error("the peer did not answer")]
    Call(#[from] CallError),
    #[error("the store cannot be read")]
    Read(#[from] CountError),
    #[error("a finding could not be noted: {0}")]
    Refused(#[from] Refusal),
}

/// Peers that are compared at once.
const PEERS_AT_ONCE: usize = 8;

/// What one comparison found.
#[derive(Debug, Default)]
pub struct Compared {
    pub registered: u64,
    pub missing: u64,
    /// Not known there, and taken back.
    pub adopted: u64,
    pub unknown: u64,
    pub unknown_bytes: u64,
    /// Those that may be dropped, as many as one order names.
    pub orphans: Vec<Orphan>,
}

/// What is known of when a peer was compared.
#[derive(Debug, Default, Clone, Copy)]
struct Turn {
    ended: Option<Instant>,
    took: Duration,
    quarantined: u64,
    asked: bool,
    under_way: bool,
}

struct Comparing {
    service: Arc<Service>,
    turns: HashMap<PeerId, Turn>,
    /// A peer that does not answer holds up no other.
    jobs: JoinSet<(PeerId, Instant, Result<Compared, CompareError>)>,
    dying: Vec<Dying>,
}

/// Compares until dropped.
pub async fn run(service: Arc<Service>) {
    let mut round = interval(service.work.settings.round);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut comparing = Comparing { service, turns: HashMap::new(), jobs: JoinSet::new(), dying: Vec::new() };
    loop {
        tokio::select! {
            _ = round.tick() => comparing.round().await,
            Some(done) = comparing.jobs.join_next(), if !comparing.jobs.is_empty() => {
                // One that panicked is a bug of this program; its peer is compared again after a restart.
                if let Ok((peer, begun, compared)) = done {
                    comparing.ended(peer, begun, compared).await;
                }
            }
        }
    }
}

impl Comparing {
    async fn round(&mut self) {
        for batch in std::mem::take(&mut self.dying) {
            let peer = batch.peer;
            // A comparison may take one of them back at this very moment.
            if self.turns.get(&peer).is_some_and(|turn| turn.under_way) {
                self.dying.push(batch);
                continue;
            }
            match orphans::drop_if_nobodys(&self.service, batch).await {
                Ok(Some(waiting)) => self.dying.push(waiting),
                // There may be more than one order has named.
                Ok(None) => self.service.work.ask_to_compare(peer),
                Err(error) => tracing::warn!(error = telemetry::chain(&error), "unknown shards stay for now"),
            }
        }
        for peer in self.service.work.take_due() {
            self.turns.entry(peer).or_default().asked = true;
        }
        for (peer, state, quarantined) in self.service.members.heard_states() {
            if state != PeerState::Online {
                self.service.work.note(peer, |finding| finding.verified = false);
                continue;
            }
            let turn = self.turns.entry(peer).or_default();
            let work = &self.service.work;
            let is_due =
                |ended: Instant| turn.is_due(ended.elapsed(), &work.settings, work.finding(peer).verified, quarantined);
            if turn.under_way || self.jobs.len() >= PEERS_AT_ONCE || !turn.ended.is_none_or(is_due) {
                continue;
            }
            (turn.under_way, turn.quarantined, turn.asked) = (true, quarantined, false);
            let service = self.service.clone();
            let look = if quarantined > 0 { Look::AtAll } else { Look::AtDifferences };
            self.jobs.spawn(async move { (peer, Instant::now(), compare(&service, peer, look).await) });
        }
    }

    async fn ended(&mut self, peer: PeerId, begun: Instant, compared: Result<Compared, CompareError>) {
        let turn = self.turns.entry(peer).or_default();
        (turn.ended, turn.took, turn.under_way) = (Some(Instant::now()), begun.elapsed(), false);
        match compared {
            Ok(compared) => {
                let settled = self.dying.iter().all(|batch| batch.peer != peer);
                if !settled || compared.orphans.is_empty() {
                    return;
                }
                match orphans::condemn(&self.service, peer, compared.orphans).await {
                    Some(batch) => self.dying.push(batch),
                    None => turn.asked = !self.service.work.is_fenced(),
                }
            }
            Err(error) => {
                (turn.asked, turn.took) = (true, Duration::ZERO);
                let error = telemetry::chain(&error);
                tracing::info!(peer = peer.short(), error, "an inventory was not compared; tried again");
            }
        }
    }
}

impl Turn {
    /// Whether a peer is to be compared again, so long after it was.
    fn is_due(&self, since: Duration, settings: &Settings, verified: bool, quarantined: u64) -> bool {
        let soon = self.asked || self.quarantined != quarantined || !verified;
        let pause = if verified { self.took * PAUSE } else { self.took };
        since >= settings.compare_every || (soon && since >= pause.max(settings.round))
    }
}

/// The sums of what is registered with a peer.
async fn registered(service: &Service, peer: PeerId) -> Result<Sums, CountError> {
    let mut sums = Sums::default();
    each(service.store.as_ref(), &key::held_by(peer), |key, value| {
        let (_, account, address) = key::ids_of_held(key)?;
        let held: Held = record::decode(value)?;
        sums.add(account, address, held.chunk);
        Ok(())
    })
    .await?;
    Ok(sums)
}

/// What of an inventory is listed, and whether anything is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    AtDifferences,
    /// All of it, since damaged shards that were put aside make no difference to the sums.
    AtAll,
    /// At differences, and nothing is changed.
    Only,
}

/// Compares one peer, and acts on what is found.
///
/// # Errors
/// When the peer does not answer, or the store cannot be used. What was found by then was acted on.
pub async fn compare(service: &Arc<Service>, peer: PeerId, look: Look) -> Result<Compared, CompareError> {
    let connection = service.members.connection(peer).ok_or(CompareError::NotConnected)?;
    // The store is read first: what is in there by now was durable on the peer before it is asked.
    let ours = registered(service, peer).await?;
    let (theirs, _) = call(&connection, &Digest {}, Vec::new(), ASK).await?;
    let mut compared = Compared::default();
    let none = PartDigest::default();
    let mut group = Vec::new();
    let mut names = 0;
    for (part, ours) in (0..=u8::MAX).zip(ours.parts()) {
        compared.registered += ours.shards;
        let theirs = theirs.parts.get(usize::from(part)).unwrap_or(&none);
        if ours == theirs && look != Look::AtAll {
            continue;
        }
        if names + ours.shards > AT_ONCE && !group.is_empty() {
            list(service, &connection, peer, &group, look, &mut compared).await?;
            (names, group) = (0, Vec::new());
        }
        names += ours.shards;
        group.push(part);
    }
    if !group.is_empty() {
        list(service, &connection, peer, &group, look, &mut compared).await?;
    }
    let now = service.clock.now();
    service.work.note(peer, |finding| {
        (finding.compared, finding.verified) = (Some(now), true);
        (finding.missing, finding.unknown) = (compared.missing, compared.unknown);
        finding.registered = Some(compared.registered);
    });
    if compared.missing + compared.unknown > 0 {
        let Compared { missing, unknown, adopted, .. } = &compared;
        tracing::info!(peer = peer.short(), missing, unknown, adopted, "an inventory differs");
    }
    Ok(compared)
}

/// Lists parts that differ, and acts on every shard that is on one side alone.
async fn list(
    service: &Arc<Service>,
    connection: &Connection,
    peer: PeerId,
    parts: &[u8],
    look: Look,
    compared: &mut Compared,
) -> Result<(), CompareError> {
    let mut held: HashMap<ShardName, Held> = HashMap::new();
    each(service.store.as_ref(), &key::held_by(peer), |key, value| {
        let (_, account, address) = key::ids_of_held(key)?;
        if parts.contains(&part_of(&address)) {
            held.insert(ShardName { account, address }, record::decode(value)?);
        }
        Ok(())
    })
    .await?;
    let mut aside = Vec::new();
    for part in parts {
        let mut after = None;
        loop {
            let (page, _) = call(connection, &ListShards { part: *part, after }, Vec::new(), ASK).await?;
            for view in &page.shards {
                let live = view.condition == Condition::Live;
                let known = held.get(&view.name).is_some_and(|held| held.chunk == view.chunk);
                if live && known {
                    held.remove(&view.name);
                } else if live {
                    unknown(service, peer, view, look, compared).await?;
                } else if view.condition == Condition::Quarantined && aside.len() < ORDER_SHARDS {
                    aside.push(Orphan { name: view.name, chunk: view.chunk, damaged: true });
                }
            }
            after = page.shards.last().map(|view| view.name);
            if !page.more || after.is_none() {
                break;
            }
        }
    }
    for (name, held) in held {
        compared.missing += 1;
        if look != Look::Only {
            let lost = Lost { account: name.account, chunk: held.chunk, peer, address: name.address };
            service.run(&lost, Itself).await?;
        }
    }
    for orphan in aside {
        if compared.orphans.len() < ORDER_SHARDS && !orphans::is_named(service, peer, &orphan).await? {
            compared.orphans.push(orphan);
        }
    }
    Ok(())
}

/// A live shard that the store had not placed there when it was read.
async fn unknown(
    service: &Arc<Service>,
    peer: PeerId,
    view: &ShardView,
    look: Look,
    compared: &mut Compared,
) -> Result<(), CompareError> {
    let ShardView { name, chunk, index, sealed_len, redundancy, .. } = view;
    let mut txn = Txn::new(service.store.clone());
    let found = txn.peek(&key::chunk(name.account, *chunk)).await.map_err(CountError::from)?;
    let shard = ShardAt { index: *index, peer, address: name.address };
    if let Some(found) = found.map(|found| found.record) {
        if found.shards.iter().any(|known| known.peer == peer && known.address == name.address) {
            return Ok(()); // it was registered meanwhile
        }
        // The label of a copy says nothing; the least that fits is taken.
        let shard = if found.redundancy.k() == 1 { ShardAt { index: 0, ..shard } } else { shard };
        let roster = service.members.roster();
        let lacks = found.alive(|peer| roster.is_alive(peer)) < found.redundancy.n();
        if lacks && found.owns(&shard) && !found.condemned {
            compared.adopted += 1;
            if look != Look::Only {
                let (account, chunk, redundancy) = (name.account, *chunk, found.redundancy);
                service.run(&Placed { account, chunk, redundancy, shard, instead_of: None }, Itself).await?;
            }
            return Ok(());
        }
    }
    let orphan = Orphan { name: *name, chunk: *chunk, damaged: false };
    if orphans::is_named(service, peer, &orphan).await? {
        return Ok(()); // by a record of before, whose bytes earlier versions are read from
    }
    compared.unknown += 1;
    compared.unknown_bytes += common::erasure::shard_len(*redundancy, *sealed_len as usize) as u64;
    if compared.orphans.len() < ORDER_SHARDS {
        compared.orphans.push(orphan);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_comes_back_is_compared_soon_even_if_that_took_long_before() {
        let settings = Settings::default();
        let turn = Turn { took: Duration::from_secs(5), ..Turn::default() };
        let is_due = |turn: &Turn, since, verified| turn.is_due(Duration::from_secs(since), &settings, verified, 0);
        assert!(is_due(&turn, 6, false));
        assert!(!is_due(&turn, 4, false), "at most half of the time");
        let asked = Turn { asked: true, ..turn };
        assert!(!is_due(&asked, 6, true));
        assert!(is_due(&asked, 101, true));
        assert!(!is_due(&turn, 101, true));
        assert!(is_due(&turn, 3_600, true));
    }
}
