//! Repair: has shards made, from peer to peer, the most endangered chunk's first.
//!
//! Candidates come from the marks that registrations and findings leave, and from the index of what each dead, lost or drained peer holds,
//! so that a peer's loss costs what it held and not a look at everything. They wait in an ordered, bounded backlog; what does not fit is
//! found again later. When its turn comes, a chunk is planned anew from its record as it is then ([`super::plan`]).
//!
//! Guarantees: an order names the address that the shard must have, so no wrong shard can land; a shard counts when its maker has
//! confirmed it durable; one that replaces another takes its place in one commit, so a chunk never has fewer than before. Nothing here is
//! durable: after a restart it is all found again.
//!
//! When nothing is missing, chunks that lie elsewhere than their weights ask for are moved, a few at a time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::bounded::BoundedVec;
use common::erasure;
use common::id::{AccountId, ChunkId, PeerId};
use common::pass::{Pass, Reader};
use common::proto::Refusal;
use common::proto::parts::ShardAt;
use common::proto::peer::{Made, MakeShard};
use common::proto::refusal::What;
use common::redundancy::Redundancy;
use common::telemetry;
use common::transport::{CallError, call};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::plan::{self, Make, Plan, View};
use super::walk::Walk;
use super::{audit, plan::plan};
use crate::authorize::Itself;
use crate::op::place::{Placed, Recoded, Settled, Trimmed};
use crate::schema::key;
use crate::schema::{Chunk, Held, Pending, Recode, Version, record};
use crate::service::Service;
use crate::status::CountError;
use crate::transact::Txn;

/// Chunks that wait, at most: about 10 MB. The least endangered are left out beyond that, and found again.
const BACKLOG: usize = 100_000;
/// Orders under way, over all peers; each peer does a few at a time.
const AT_ONCE: usize = 32;
/// How many of them move a chunk that lacks nothing.
const MOVES_AT_ONCE: usize = 4;
/// How long an order may take: 32 shares of 8 MiB over a slow line.
const MAKE_TIME: Duration = Duration::from_secs(120);
/// How long a pass holds.
const PASS_TIME: Duration = Duration::from_secs(3600);
/// How long a chunk whose order failed is left alone, doubling.
const AGAIN: Duration = Duration::from_secs(2);
const AGAIN_MOST: Duration = Duration::from_secs(120);
/// References of a chunk that are looked at for the redundancy it must keep.
const REFERENCES: usize = 256;

type Id = (AccountId, ChunkId);

/// Why a peer's shards are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reason {
    dead: bool,
    lost: bool,
    draining: bool,
}

struct Repair {
    service: Arc<Service>,
    /// By margin: the most endangered first. The value is the bytes of a shard.
    backlog: BTreeMap<(usize, AccountId, ChunkId), u64>,
    busy: HashSet<Id>,
    /// Not before, after so many failures.
    later: HashMap<Id, (Instant, u32)>,
    jobs: JoinSet<(Id, bool, Result<u64, Fault>)>,
    moving: usize,
    marks: Walk,
    recodes: Walk,
    rest: Walk,
    peers: HashMap<PeerId, (Reason, Walk)>,
    /// No order before this: the bandwidth is used up until then.
    next: Instant,
    view: View,
}

/// Why a shard was not made.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("the peer that should make it is not connected")]
    NotConnected,
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("it could not be noted: {0}")]
    Refused(#[from] Refusal),
    #[error("makers do not agree on what the new shards are called")]
    Disagree,
}

/// Repairs until dropped.
pub async fn run(service: Arc<Service>) {
    let now = Instant::now();
    let mut tick = interval(service.work.settings.round);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut repair = Repair {
        service,
        backlog: BTreeMap::new(),
        busy: HashSet::new(),
        later: HashMap::new(),
        jobs: JoinSet::new(),
        moving: 0,
        marks: Walk::new(now),
        recodes: Walk::new(now),
        rest: Walk::new(now),
        peers: HashMap::new(),
        next: now,
        view: View::default(),
    };
    loop {
        let throttled = repair.next > Instant::now() && !repair.backlog.is_empty();
        tokio::select! {
            _ = tick.tick() => {
                if let Err(error) = repair.gather().await {
                    tracing::warn!(error = telemetry::chain(&error), "what there is to repair cannot be read; tried again");
                }
            }
            Some(done) = repair.jobs.join_next(), if !repair.jobs.is_empty() => {
                // A job that panicked is a bug of this program; its chunk is found again after a restart.
                if let Ok((id, is_move, result)) = done {
                    repair.ended(id, is_move, result);
                }
                // Another redundancy is asked for of so many at once that there is no waiting for the next round.
                if repair.recodes.is_under_way()
                    && repair.jobs.len() <= AT_ONCE / 2
                    && let Err(error) = repair.gather_recodes(Instant::now()).await
                {
                    tracing::warn!(error = telemetry::chain(&error), "what there is to repair cannot be read; tried again");
                }
            }
            () = sleep_until(repair.next), if throttled => {}
        }
        if let Err(error) = repair.start().await {
            tracing::warn!(error = telemetry::chain(&error), "a chunk cannot be read; tried again");
        }
    }
}

impl Repair {
    /// Looks for what there is to do, a bounded part at a time.
    async fn gather(&mut self) -> Result<(), CountError> {
        let now = Instant::now();
        let view = self.service.view();
        if view != self.view {
            self.view = view;
            self.walks().for_each(Walk::changed);
        }
        self.later.retain(|_, (at, _)| *at + AGAIN_MOST > now);
        self.gather_marks(now).await?;
        self.gather_peers(now).await?;
        self.gather_recodes(now).await?;
        let nothing = self.backlog.is_empty() && self.jobs.is_empty();
        let work = &self.service.work;
        work.idle.store(nothing && self.marks.seen == 0, Ordering::Relaxed);
        work.waiting.store(self.backlog.len() as u64, Ordering::Relaxed);
        work.waiting_bytes.store(self.backlog.values().sum(), Ordering::Relaxed);
        if nothing {
            self.walks().for_each(Walk::all_ended);
            self.gather_rest(now).await?;
        }
        Ok(())
    }

    /// Those over what asks for something.
    fn walks(&mut self) -> impl Iterator<Item = &mut Walk> {
        let of_peers = self.peers.values_mut().map(|(_, walk)| walk);
        [&mut self.marks, &mut self.recodes].into_iter().chain(of_peers)
    }

    async fn gather_marks(&mut self, now: Instant) -> Result<(), CountError> {
        let (begun, round) = (Instant::now(), self.service.work.settings.round);
        let Some(entries) = self.marks.step(&self.service, &key::repairs(), now).await? else { return Ok(()) };
        let ids = entries.iter().map(|entry| key::ids_of_chunk(&entry.key)).collect::<Result<Vec<_>, _>>()?;
        self.marks.lively |= self.consider(&ids, true, now).await?;
        self.marks.dealt_with(begun, round);
        Ok(())
    }

    /// What is registered with peers that are dead, lost or being emptied; again whenever that changes.
    async fn gather_peers(&mut self, now: Instant) -> Result<(), CountError> {
        let gone = self.service.members.gone(std::time::Instant::now());
        self.peers.retain(|peer, _| gone.contains_key(peer));
        let mut due = Vec::new();
        for (peer, state) in gone {
            let reason = Reason { dead: state.dead, lost: state.lost, draining: state.draining };
            let (known, walk) = self.peers.entry(peer).or_insert_with(|| (reason, Walk::new(now)));
            if *known != reason {
                (*known, *walk) = (reason, Walk::new(now));
            }
            due.push(peer);
        }
        for peer in due {
            let (begun, round) = (Instant::now(), self.service.work.settings.round);
            let Some((_, walk)) = self.peers.get_mut(&peer) else { continue };
            let Some(entries) = walk.step(&self.service, &key::held_by(peer), now).await? else { continue };
            let mut ids = Vec::with_capacity(entries.len());
            for entry in &entries {
                let (_, account, _) = key::ids_of_held(&entry.key)?;
                let held: Held = record::decode(&entry.value)?;
                ids.push((account, held.chunk));
            }
            let lively = self.consider(&ids, false, now).await?;
            if let Some((_, walk)) = self.peers.get_mut(&peer) {
                walk.lively |= lively;
                walk.dealt_with(begun, round);
            }
        }
        Ok(())
    }

    async fn gather_recodes(&mut self, now: Instant) -> Result<(), CountError> {
        let (begun, round) = (Instant::now(), self.service.work.settings.round);
        let Some(entries) = self.recodes.step(&self.service, &key::recodes(), now).await? else { return Ok(()) };
        for entry in entries {
            let (account, chunk) = key::ids_of_chunk(&entry.key)?;
            let recode: Recode = record::decode(&entry.value)?;
            if self.jobs.len() >= AT_ONCE {
                self.recodes.stop_at(entry.key);
                break;
            }
            if self.may_begin((account, chunk), now) {
                self.begin_recode((account, chunk), entry.version, recode.redundancy).await?;
            }
            self.recodes.lively |= self.busy.contains(&(account, chunk));
        }
        self.recodes.dealt_with(begun, round);
        Ok(())
    }

    /// A look at all chunks, while nothing else is to be done: at what the marks do not say, like shards that are too many since a peer came
    /// back, and at those that lie elsewhere than their weights ask for.
    async fn gather_rest(&mut self, now: Instant) -> Result<(), CountError> {
        let (begun, round) = (Instant::now(), self.service.work.settings.round);
        let Some(entries) = self.rest.step(&self.service, &key::chunks(), now).await? else { return Ok(()) };
        for entry in entries {
            let id = key::ids_of_chunk(&entry.key)?;
            let chunk: Chunk = record::decode(&entry.value)?;
            if !self.may_begin(id, now) {
                continue;
            }
            if let Plan::Make { .. } | Plan::Trim(_) = plan(&id.1, &chunk, &self.view) {
                self.remember(id, &chunk);
            } else if self.moving < MOVES_AT_ONCE
                && let Some((from, to)) = plan::rebalance(&id.1, &chunk, &self.view)
            {
                let make = Make { index: from.index, address: from.address, target: to, instead_of: Some(from.peer) };
                self.moving += 1;
                self.begin(id, &chunk, chunk.shards.to_vec(), vec![make], true);
            }
        }
        self.rest.dealt_with(begun, round);
        Ok(())
    }

    fn may_begin(&self, id: Id, now: Instant) -> bool {
        !self.busy.contains(&id) && self.later.get(&id).is_none_or(|(at, _)| *at <= now)
    }

    /// Puts chunks into the backlog that need something now. Whether there is another look to be had soon.
    async fn consider(&mut self, ids: &[Id], marked: bool, now: Instant) -> Result<bool, CountError> {
        let mut lively = ids.iter().any(|id| self.busy.contains(id));
        let ids: Vec<_> = ids.iter().filter(|id| self.may_begin(**id, now)).copied().collect();
        let keys: Vec<_> = ids.iter().map(|(account, chunk)| key::chunk(*account, *chunk)).collect();
        let mut txn = Txn::new(self.service.store.clone());
        let found = txn.peek_all(&keys).await.map_err(CountError::from)?;
        for (id, found) in ids.into_iter().zip(found) {
            let Some(found) = found.map(|found| found.record) else {
                if marked {
                    self.settle(id).await;
                }
                lively |= marked;
                continue;
            };
            match plan(&id.1, &found, &self.view) {
                Plan::Make { .. } | Plan::Trim(_) => self.remember(id, &found),
                Plan::Whole if marked => self.settle(id).await,
                Plan::Whole | Plan::Wait | Plan::Nowhere | Plan::Unreadable => continue,
            }
            lively = true;
        }
        Ok(lively)
    }

    fn remember(&mut self, id: Id, chunk: &Chunk) {
        let bytes = erasure::shard_len(chunk.redundancy, chunk.sealed_len as usize) as u64;
        self.backlog.insert((plan::margin(chunk, &self.view), id.0, id.1), bytes);
        if self.backlog.len() > BACKLOG {
            self.backlog.pop_last();
        }
    }

    /// A mark that has nothing to say any more.
    async fn settle(&self, (account, chunk): Id) {
        if let Err(refusal) = self.service.run(&Settled { account, chunk }, Itself).await {
            tracing::debug!(%refusal, "a mark stays");
        }
    }

    /// Gives orders while there are fewer than may be under way, and bandwidth for them.
    async fn start(&mut self) -> Result<(), CountError> {
        while self.jobs.len() < AT_ONCE && Instant::now() >= self.next {
            let Some(((_, account, chunk), _)) = self.backlog.pop_first() else { break };
            let id = (account, chunk);
            if !self.may_begin(id, Instant::now()) {
                continue;
            }
            let mut txn = Txn::new(self.service.store.clone());
            let found = txn.peek(&key::chunk(account, chunk)).await.map_err(CountError::from)?;
            let Some(found) = found.map(|found| found.record) else { continue };
            match plan(&chunk, &found, &self.view) {
                Plan::Make { sources, make } => self.begin(id, &found, sources, make, false),
                Plan::Trim(extra) => {
                    for shard in extra {
                        let trimmed = self.service.run(&Trimmed { account, chunk, shard }, Itself).await;
                        if trimmed.is_ok_and(|trimmed| trimmed.changed) {
                            self.service.work.ask_to_compare(shard.peer);
                        }
                    }
                }
                Plan::Whole | Plan::Wait | Plan::Nowhere | Plan::Unreadable => {}
            }
        }
        let work = &self.service.work;
        work.under_way.store(u32::try_from(self.jobs.len()).unwrap_or(u32::MAX), Ordering::Relaxed);
        work.waiting.store(self.backlog.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn begin(&mut self, id: Id, chunk: &Chunk, sources: Vec<ShardAt>, make: Vec<Make>, is_move: bool) {
        self.busy.insert(id);
        let shard = erasure::shard_len(chunk.redundancy, chunk.sealed_len as usize) as u64;
        let reads = |make: &Make| match sources.iter().any(|source| source.address == make.address) {
            true => shard,
            false => shard * chunk.redundancy.k() as u64,
        };
        self.spend(make.iter().map(reads).sum());
        let (service, redundancy, sealed_len) = (self.service.clone(), chunk.redundancy, chunk.sealed_len);
        self.jobs.spawn(async move {
            let mut made = Ok(0);
            for make in make {
                let job = Job { id, sealed_len, from: redundancy, sources: &sources, to: redundancy };
                made = job.carry_out(&service, &make).await.and_then(|bytes| Ok(made? + bytes));
            }
            (id, is_move, made)
        });
    }

    /// Notes that so many bytes will move, and how long that may take at least.
    fn spend(&mut self, bytes: u64) {
        let Some(rate) = self.service.work.settings.rate.filter(|rate| rate.0 > 0) else { return };
        let millis = bytes.saturating_mul(1_000) / rate.0;
        self.next = self.next.max(Instant::now()) + Duration::from_millis(millis);
    }

    fn ended(&mut self, id: Id, is_move: bool, result: Result<u64, Fault>) {
        self.busy.remove(&id);
        self.moving -= usize::from(is_move).min(self.moving);
        let work = &self.service.work;
        match result {
            Ok(_) => {
                self.later.remove(&id);
            }
            Err(fault) => {
                work.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(
                    chunk = id.1.short(),
                    error = telemetry::chain(&fault),
                    "a shard was not made; tried again"
                );
                let failures = self.later.get(&id).map_or(0, |(_, failures)| *failures);
                let pause = AGAIN.saturating_mul(1 << failures.min(6)).min(AGAIN_MOST);
                let again = Instant::now() + pause;
                self.later.insert(id, (again, failures + 1));
                // It is found again by a new walk.
                self.walks().for_each(|walk| walk.not_later_than(again));
            }
        }
    }

    /// Makes all shards of a chunk at another redundancy, or notes the other number of copies. `mark` is the commit of what asks for it.
    async fn begin_recode(&mut self, id: Id, mark: u64, asked: Redundancy) -> Result<(), CountError> {
        let (account, chunk) = id;
        let mut txn = Txn::new(self.service.store.clone());
        let found = txn.peek(&key::chunk(account, chunk)).await.map_err(CountError::from)?;
        let Some(found) = found.map(|found| found.record) else {
            self.note_recode(Recoding::nothing(id, mark)).await;
            return Ok(());
        };
        let wanted = self.wanted(account, chunk, asked).await?;
        let to = erasure::effective(wanted, found.sealed_len as usize);
        let from = found.redundancy;
        if from == to || (from.k() == 1 && to.k() == 1) {
            let noted = Recoding { account, chunk, mark, from, to, shards: Vec::new(), addresses: Vec::new() };
            self.note_recode(noted).await;
            return Ok(());
        }
        if plan(&chunk, &found, &self.view) == Plan::Unreadable {
            return Ok(()); // the mark stays until peers are back
        }
        let online = |entry: &&common::map::PeerEntry| entry.writable && entry.state == common::map::PeerState::Online;
        let targets = common::place::order_of(&chunk, self.view.peers.values().filter(online));
        if targets.len() < to.n() {
            return Ok(()); // the mark stays until there are peers enough
        }
        self.busy.insert(id);
        self.spend(u64::from(found.sealed_len) * to.n() as u64);
        let service = self.service.clone();
        self.jobs.spawn(async move {
            let made = recode(&service, id, mark, &found, to, &targets).await;
            (id, false, made)
        });
        Ok(())
    }

    async fn note_recode(&mut self, recoding: Recoding) {
        self.recodes.lively = true;
        if let Err(refusal) = self.service.run(&recoding, Itself).await {
            tracing::debug!(%refusal, "another redundancy could not be noted; tried again");
        }
    }

    /// What a chunk is to be kept at: of all versions that need it, the redundancy that survives most losses.
    async fn wanted(&self, account: AccountId, chunk: ChunkId, asked: Redundancy) -> Result<Redundancy, CountError> {
        let range = key::references(account, chunk);
        let references = self.service.store.scan(&range.from, &range.to, REFERENCES).await?;
        let mut txn = Txn::new(self.service.store.clone());
        let mut wanted = asked;
        for entry in &references.entries {
            let (_, _, version) = key::ids_of_reference(&entry.key)?;
            let committed = txn.peek::<Version>(&key::version(account, version)).await.map_err(CountError::from)?;
            let pending = txn.peek::<Pending>(&key::pending(account, version)).await.map_err(CountError::from)?;
            let committed = committed.map(|found| found.record.redundancy);
            for other in committed.into_iter().chain(pending.map(|found| found.record.redundancy)) {
                if other.losses() > wanted.losses() {
                    wanted = other;
                }
            }
        }
        Ok(wanted)
    }
}

type Recoding = Recoded;

impl Recoded {
    /// For a chunk that is gone: only the mark is taken away.
    fn nothing((account, chunk): Id, mark: u64) -> Self {
        let redundancy = Redundancy::DEFAULT;
        Self { account, chunk, mark, from: redundancy, to: redundancy, shards: Vec::new(), addresses: Vec::new() }
    }
}

/// One chunk, and what shards of it are made from.
struct Job<'a> {
    id: Id,
    sealed_len: u32,
    from: Redundancy,
    sources: &'a [ShardAt],
    to: Redundancy,
}

impl Job<'_> {
    /// Has one shard made and notes it; the bytes that it took.
    async fn carry_out(&self, service: &Arc<Service>, make: &Make) -> Result<u64, Fault> {
        let (account, chunk) = self.id;
        let _making = service.work.making();
        self.order(service, make.target, make.index, Some(make.address)).await?;
        let shard = ShardAt { index: make.index, peer: make.target, address: make.address };
        let placed = Placed { account, chunk, redundancy: self.to, shard, instead_of: make.instead_of };
        let placed = service.run(&placed, Itself).await?;
        if let Some(left) = make.instead_of.filter(|_| placed.changed) {
            service.work.ask_to_compare(left);
        }
        let bytes = erasure::shard_len(self.to, self.sealed_len as usize) as u64;
        service.work.has_made(bytes, std::time::Instant::now());
        tracing::debug!(chunk = chunk.short(), peer = make.target.short(), index = make.index, "a shard was made");
        Ok(bytes)
    }

    async fn order(
        &self,
        service: &Arc<Service>,
        target: PeerId,
        index: u8,
        address: Option<common::address::ShardAddress>,
    ) -> Result<Made, Fault> {
        let (account, chunk) = self.id;
        let connection = service.members.connection(target).ok_or(Fault::NotConnected)?;
        let expires = service.clock.now().plus(PASS_TIME);
        let chunks = BoundedVec::try_from(vec![chunk]).map_err(|_| Refusal::TooLarge(What::Chunk))?;
        let pass = Pass { cluster: service.settings.cluster, reader: Reader::Peer(target), account, chunks, expires };
        let sources = BoundedVec::try_from(self.sources.to_vec()).map_err(|_| Refusal::TooLarge(What::Shard))?;
        let order = MakeShard {
            generation: service.members.cluster().generation,
            pass: service.keys.pass(&pass)?,
            account,
            chunk,
            sealed_len: self.sealed_len,
            from: self.from,
            sources,
            to: self.to,
            index,
            address,
        };
        let (made, _) = call(&connection, &order, Vec::new(), MAKE_TIME).await?;
        for peer in &made.damaged {
            // A maker's word alone takes nobody's shard away: it is looked at first.
            for source in self.sources.iter().filter(|source| source.peer == *peer) {
                audit::look_at(service, *source, account, chunk, self.from, self.sealed_len).await;
            }
        }
        Ok(made)
    }
}

/// Has every peer make its own shard of the new redundancy. All compute all addresses, and have to agree.
async fn recode(
    service: &Arc<Service>,
    id: Id,
    mark: u64,
    chunk: &Chunk,
    to: Redundancy,
    targets: &[PeerId],
) -> Result<u64, Fault> {
    let _making = service.work.making();
    let job = Job { id, sealed_len: chunk.sealed_len, from: chunk.redundancy, sources: &chunk.shards, to };
    let indices = 0..u8::try_from(to.n()).unwrap_or(u8::MAX);
    let mut agreed: Option<Vec<_>> = None;
    let mut shards = Vec::with_capacity(to.n());
    for (index, target) in indices.zip(targets) {
        let made = job.order(service, *target, index, None).await?;
        let named = if to.k() == 1 { 1 } else { to.n() };
        let addresses: Vec<_> = made.addresses.iter().take(named).copied().collect();
        let own = addresses.get(if to.k() == 1 { 0 } else { usize::from(index) });
        let fits = addresses.len() == named && own == Some(&made.address);
        if !fits || agreed.as_ref().is_some_and(|agreed| *agreed != addresses) {
            tracing::error!(
                peer = target.short(),
                "a peer says other addresses of a chunk's new shards than the others"
            );
            return Err(Fault::Disagree);
        }
        shards.push(ShardAt { index, peer: *target, address: made.address });
        agreed = Some(addresses);
    }
    let (from, addresses) = (chunk.redundancy, agreed.unwrap_or_default());
    let recoded = Recoded { account: id.0, chunk: id.1, mark, from, to, shards, addresses };
    if service.run(&recoded, Itself).await?.changed {
        chunk.shards.iter().for_each(|shard| service.work.ask_to_compare(shard.peer));
    }
    let bytes = erasure::shard_len(to, chunk.sealed_len as usize) as u64 * to.n() as u64;
    service.work.has_made(bytes, std::time::Instant::now());
    Ok(bytes)
}
