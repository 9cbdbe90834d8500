//! Members: who is there, as heartbeats tell, and the signed cluster map that follows from it.
//!
//! Liveness is in memory: online while heartbeats arrive, suspect after some are missing, dead after many. After a restart of the
//! directory every peer gets the same time to show up before it counts as missing. What outlives a restart (label, zone,
//! capacity, addresses) is a [`Peer`] record, written before it is believed.
//!
//! The map's epoch is `generation << 32` plus a count, so it rises over restarts without a write. A new map is made at every change of what
//! it says, and only then.

mod roster;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::codec::CodecError;
use common::id::{ClusterId, DeviceId, PeerId};
use common::identity::StatementKey;
use common::map::{ClusterMap, PeerEntry, PeerState, SignedMap};
use common::proto::Refusal;
use common::proto::directory::{Heartbeat, PeerStatus};
use common::proto::parts::Addresses;
use common::proto::refusal::What;
use common::signed::Signed;
use common::time::Timestamp;
use common::transport::Connection;

use crate::schema::Peer;
pub use roster::Roster;

/// How peers are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How often a peer says that it lives.
    pub heartbeat: Duration,
    pub suspect_after: Duration,
    pub dead_after: Duration,
    /// From when on a dead peer is not expected back.
    pub lost_after: Duration,
}

/// What every map says.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub cluster: ClusterId,
    /// The one that it started with.
    pub generation: u64,
    pub directory: Addresses,
    pub times: Times,
}

struct Member {
    record: Peer,
    state: PeerState,
    /// When it was heard last, or else when we began to listen.
    heard: Instant,
    seen: Option<Timestamp>,
    used: u64,
    free: u64,
    shards: u64,
    trash: u64,
    quarantined: u64,
    scrubbed: Option<Timestamp>,
    leaving: bool,
}

/// A peer that is dead, lost or being emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone {
    pub dead: bool,
    /// Dead for longer than is waited for it, or taken out.
    pub lost: bool,
    pub draining: bool,
}

impl Member {
    fn new(record: Peer, now: Instant) -> Self {
        let state = if record.addresses.is_empty() { PeerState::Suspect } else { PeerState::Online };
        Self {
            record,
            state,
            heard: now,
            seen: None,
            used: 0,
            free: 0,
            shards: 0,
            trash: 0,
            quarantined: 0,
            scrubbed: None,
            leaving: false,
        }
    }

    fn judged(&self, now: Instant, times: &Times) -> PeerState {
        let silent = now.saturating_duration_since(self.heard);
        if self.record.revoked.is_some() || silent >= times.dead_after {
            PeerState::Dead
        } else if silent >= times.suspect_after || self.leaving || self.record.addresses.is_empty() {
            PeerState::Suspect
        } else {
            PeerState::Online
        }
    }

    fn entry(&self, peer: PeerId) -> PeerEntry {
        PeerEntry {
            peer,
            state: self.state,
            writable: self.record.writable && !self.record.draining && self.record.revoked.is_none(),
            weight: u32::try_from(self.record.capacity >> 30).unwrap_or(u32::MAX).max(1),
            zone: self.record.zone.clone(),
            addresses: self.record.addresses.clone(),
        }
    }
}

/// What is shown to others until it changes.
#[derive(Clone)]
pub struct Published {
    pub epoch: u64,
    pub map: SignedMap,
    pub roster: Arc<Roster>,
}

struct State {
    peers: BTreeMap<PeerId, Member>,
    revoked: BTreeSet<[u8; 16]>,
    /// By the id of whoever is at the other end, the newest last.
    connections: HashMap<[u8; 16], Vec<Connection>>,
    published: Published,
}

/// See the module.
pub struct Members {
    cluster: Cluster,
    generation: AtomicU64,
    key: Arc<StatementKey>,
    state: Mutex<State>,
}

impl Members {
    /// Begins with what the store knows.
    ///
    /// # Errors
    /// When the map does not fit in a message.
    pub fn new(
        cluster: Cluster,
        key: Arc<StatementKey>,
        peers: Vec<(PeerId, Peer)>,
        revoked: BTreeSet<[u8; 16]>,
        now: (Instant, Timestamp),
    ) -> Result<Self, CodecError> {
        let peers: BTreeMap<_, _> = peers.into_iter().map(|(id, record)| (id, Member::new(record, now.0))).collect();
        let epoch = cluster.generation << 32 | 1;
        let published = publish(&cluster, cluster.generation, &key, &peers, &revoked, epoch, now.1)?;
        let state = State { peers, revoked, connections: HashMap::new(), published };
        let generation = AtomicU64::new(cluster.generation);
        Ok(Self { cluster, generation, key, state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn published(&self) -> Published {
        self.state().published.clone()
    }

    #[must_use]
    pub fn roster(&self) -> Arc<Roster> {
        self.state().published.roster.clone()
    }

    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The record that a peer would have after this heartbeat, if that is not the one it has.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn changed(&self, peer: PeerId, beat: &Heartbeat, seen_at: &Addresses) -> Result<Option<Peer>, Refusal> {
        let state = self.state();
        let member = state.peers.get(&peer).ok_or(Refusal::NotFound(What::Peer))?;
        let addresses = if beat.advertise.is_empty() { seen_at } else { &beat.advertise };
        // Where others use the same file system it changes all the time, and weights need no more than about.
        let known = member.record.capacity;
        let about_the_same = beat.capacity.abs_diff(known) <= known / 16;
        let record = Peer {
            label: beat.label.clone(),
            zone: beat.zone.clone(),
            capacity: if about_the_same { known } else { beat.capacity },
            addresses: addresses.clone(),
            writable: beat.writable,
            ..member.record.clone()
        };
        Ok((record != member.record).then_some(record))
    }

    /// Takes a heartbeat in. `record` is what was written of it, if anything was.
    pub fn heard(&self, peer: PeerId, beat: &Heartbeat, record: Option<Peer>, now: (Instant, Timestamp)) {
        let mut state = self.state();
        let Some(member) = state.peers.get_mut(&peer) else { return };
        if let Some(record) = record {
            let revoked = member.record.revoked.or(record.revoked);
            member.record = Peer { revoked, draining: member.record.draining, ..record };
        }
        member.heard = now.0;
        member.seen = Some(now.1);
        (member.used, member.free, member.shards) = (beat.used, beat.free, beat.shards);
        (member.trash, member.quarantined, member.scrubbed) = (beat.trash, beat.quarantined, beat.scrubbed);
        member.leaving = beat.leaving;
        drop(state);
        self.tick(now);
    }

    /// Somebody enrolled.
    pub fn add(&self, peer: PeerId, record: Peer, now: (Instant, Timestamp)) {
        self.state().peers.insert(peer, Member::new(record, now.0));
        self.tick(now);
    }

    /// Somebody was revoked: out of the map, and his connections closed.
    pub fn revoke(&self, id: [u8; 16], now: (Instant, Timestamp)) {
        let mut state = self.state();
        state.revoked.insert(id);
        if let Some(member) = state.peers.get_mut(&PeerId(id)) {
            member.record.revoked = Some(now.1);
        }
        let connections = state.connections.remove(&id);
        drop(state);
        connections.into_iter().flatten().for_each(|connection| connection.close());
        self.tick(now);
    }

    /// A peer is being emptied, or not any more.
    pub fn drain(&self, peer: PeerId, drain: bool, now: (Instant, Timestamp)) {
        if let Some(member) = self.state().peers.get_mut(&peer) {
            member.record.draining = drain;
        }
        self.tick(now);
    }

    /// Peers whose shards are to be elsewhere, now or soon.
    #[must_use]
    pub fn gone(&self, now: Instant) -> HashMap<PeerId, Gone> {
        let lost_after = self.cluster.times.lost_after;
        let state = self.state();
        let gone = state.peers.iter().map(|(id, member)| {
            let dead = member.state == PeerState::Dead;
            let long = now.saturating_duration_since(member.heard) >= lost_after;
            let lost = member.record.revoked.is_some() || (dead && long);
            (*id, Gone { dead, lost, draining: member.record.draining })
        });
        gone.filter(|(_, gone)| gone.dead || gone.lost || gone.draining).collect()
    }

    /// Each peer that is not revoked, with how it is and how many damaged shards it reports.
    #[must_use]
    pub fn heard_states(&self) -> Vec<(PeerId, PeerState, u64)> {
        let state = self.state();
        let peers = state.peers.iter().filter(|(_, member)| member.record.revoked.is_none());
        peers.map(|(id, member)| (*id, member.state, member.quarantined)).collect()
    }

    /// The generation that orders are given in.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Another generation counts from now on, and a new map says so.
    pub fn raise_generation(&self, generation: u64, now: (Instant, Timestamp)) {
        self.generation.store(generation, Ordering::Relaxed);
        let mut state = self.state();
        let State { peers, revoked, published, .. } = &mut *state;
        match publish(&self.cluster, generation, &self.key, peers, revoked, generation << 32 | 1, now.1) {
            Ok(new) => *published = new,
            Err(error) => tracing::error!(error = common::telemetry::chain(&error), "no cluster map can be made"),
        }
    }

    /// Judges everybody anew, and makes a new map if anything that it says has changed.
    pub fn tick(&self, now: (Instant, Timestamp)) {
        let mut state = self.state();
        let State { peers, revoked, published, connections } = &mut *state;
        for (id, member) in peers.iter_mut() {
            let judged = member.judged(now.0, &self.cluster.times);
            if judged != member.state {
                tracing::info!(peer = id.short(), was = %member.state, "peer is {judged}");
                member.state = judged;
                if judged == PeerState::Dead {
                    let connections = connections.get(&id.0).into_iter().flatten();
                    connections.for_each(Connection::close); // who waits for its answer need not wait longer
                }
            }
        }
        if *published.roster.shown() == shown(peers, revoked) {
            return;
        }
        match publish(&self.cluster, self.generation(), &self.key, peers, revoked, published.epoch + 1, now.1) {
            Ok(new) => *published = new,
            Err(error) => tracing::error!(error = common::telemetry::chain(&error), "no cluster map can be made"),
        }
    }

    /// Remembers a connection, for orders and for closing it when its owner is revoked.
    ///
    /// # Errors
    /// [`Refusal::Revoked`] when that has happened.
    pub fn connected(&self, id: [u8; 16], connection: &Connection) -> Result<(), Refusal> {
        let mut state = self.state();
        if state.revoked.contains(&id) {
            return Err(Refusal::Revoked);
        }
        state.connections.entry(id).or_default().push(connection.clone());
        Ok(())
    }

    pub fn disconnected(&self, id: [u8; 16], connection: &Connection) {
        let mut state = self.state();
        if let Some(connections) = state.connections.get_mut(&id) {
            connections.retain(|other| other.number() != connection.number());
            if connections.is_empty() {
                state.connections.remove(&id);
            }
        }
    }

    /// The connection on which a peer takes orders: the newest that is open.
    #[must_use]
    pub fn connection(&self, peer: PeerId) -> Option<Connection> {
        let state = self.state();
        state.connections.get(&peer.0)?.iter().rev().find(|connection| connection.is_open()).cloned()
    }

    /// Whether a device has a connection.
    #[must_use]
    pub fn is_connected(&self, device: DeviceId) -> bool {
        self.state().connections.contains_key(&device.0)
    }

    /// All peers that are not revoked, for people.
    #[must_use]
    pub fn status(&self) -> Vec<PeerStatus> {
        let state = self.state();
        let peers = state.peers.iter().filter(|(_, member)| member.record.revoked.is_none());
        let status = peers.map(|(id, member)| PeerStatus {
            peer: *id,
            label: member.record.label.clone(),
            zone: member.record.zone.clone(),
            state: member.state,
            addresses: member.record.addresses.clone(),
            capacity: member.record.capacity,
            used: member.used,
            free: member.free,
            shards: member.shards,
            trash: member.trash,
            quarantined: member.quarantined,
            last_seen: member.seen,
            draining: member.record.draining,
            registered: None,
            compared: None,
            missing: 0,
            unknown: 0,
            audited: None,
            audits: 0,
            audits_failed: 0,
            scrubbed: member.scrubbed,
        });
        status.collect()
    }
}

type Shown = (Vec<PeerEntry>, Vec<[u8; 16]>);

/// What a map says of members.
fn shown(peers: &BTreeMap<PeerId, Member>, revoked: &BTreeSet<[u8; 16]>) -> Shown {
    let peers = peers.iter().filter(|(_, member)| member.record.revoked.is_none());
    let peers = peers.map(|(id, member)| member.entry(*id)).take(common::limits::PEERS).collect();
    (peers, revoked.iter().copied().take(common::limits::REVOKED).collect())
}

fn publish(
    cluster: &Cluster,
    generation: u64,
    key: &StatementKey,
    peers: &BTreeMap<PeerId, Member>,
    revoked: &BTreeSet<[u8; 16]>,
    epoch: u64,
    now: Timestamp,
) -> Result<Published, CodecError> {
    let (entries, gone) = shown(peers, revoked);
    let known = peers.keys().filter(|id| !revoked.contains(&id.0)).copied().collect();
    let roster = Roster::new((entries.clone(), gone.clone()), known, revoked.clone());
    let too_long = |e: common::bounded::TooMany| CodecError::TooLong { len: e.len };
    let map = ClusterMap {
        cluster: cluster.cluster,
        epoch,
        generation,
        made: now,
        directory: cluster.directory.clone(),
        peers: entries.try_into().map_err(too_long)?,
        revoked: gone.try_into().map_err(too_long)?,
    };
    Ok(Published { epoch, map: Signed::sign(&map, key)?, roster: Arc::new(roster) })
}

#[cfg(test)]
mod tests;
