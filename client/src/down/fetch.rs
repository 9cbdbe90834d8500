//! Fetch: one run of a sealed chunk from whoever has it, opened.
//!
//! Holders are tried by their state in the cluster map, then by how much is under way at each. Who falls silent for [`HEDGE`], or takes several
//! times as long as others meanwhile, is raced by the next; who fails or lies is passed over. When nobody is left it waits for some to return,
//! for a while, once a chunk.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::address::ShardAddress;
use common::erasure;
use common::id::{ChunkId, PeerId};
use common::map::PeerState;
use common::pass::SignedPass;
use common::proto::parts::{Placement, ShardAt};
use common::proto::peer::{GetShard, ReadShard};
use common::transport::{CallError, Link};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, timeout};

use super::manifest::Run;
use super::{Down, DownError};
use crate::ahead::patience;
use crate::manifest::Extent;
use crate::pace::Pace;
use crate::seal::{Buffer, IntegrityError, Opening, Verified};

/// A holder from which nothing came for so long, neither this nor anything else that it was asked for, is raced by the next one.
const HEDGE: Duration = Duration::from_secs(1);
/// How often that is looked for.
const LOOK: Duration = Duration::from_millis(100);
/// With too few shards: how long to wait for their holders to return, before it is an error.
const ROUNDS: [Duration; 5] = [
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(6),
];

/// Up to this length another thread costs more than opening: 20 us.
const SMALL_BYTES: u32 = 32 << 10;

/// Chunks that are remembered as not to be had.
const MISSED: usize = 65_536;

/// Chunks that were waited for in vain, for the time of one command: of a pack nobody has, every file would wait as long again.
#[derive(Default)]
pub(super) struct Missed(Mutex<HashSet<ChunkId>>);

impl Missed {
    fn has(&self, chunk: &ChunkId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(chunk)
    }

    fn add(&self, chunk: ChunkId) {
        let mut missed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if missed.len() < MISSED {
            missed.insert(chunk);
        }
    }
}

/// Requests under way at each peer, and who is slow.
#[derive(Default)]
pub(super) struct Load {
    peers: Arc<Mutex<HashMap<PeerId, OfPeer>>>,
    pace: Mutex<Pace>,
}

#[derive(Default)]
struct OfPeer {
    under_way: usize,
    /// When something came from it.
    heard: Option<Instant>,
}

/// Counts one request until it is dropped.
struct Loaded {
    peers: Arc<Mutex<HashMap<PeerId, OfPeer>>>,
    peer: PeerId,
}

impl Load {
    fn of(&self, peer: PeerId) -> usize {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.get(&peer).map_or(0, |of_peer| of_peer.under_way)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing came from a peer for [`HEDGE`], of which something has been awaited since then.
    fn is_silent(&self, peer: PeerId, since: Instant, now: Instant) -> bool {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = peers.get(&peer).and_then(|of_peer| of_peer.heard).map_or(since, |heard| heard.max(since));
        now.saturating_duration_since(heard) >= HEDGE
    }

    fn add(&self, peer: PeerId) -> Loaded {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.entry(peer).or_default().under_way += 1;
        Loaded { peers: Arc::clone(&self.peers), peer }
    }
}

impl Loaded {
    /// Something came.
    fn heard(&self) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.entry(self.peer).or_default().heard = Some(Instant::now());
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_peer) = peers.get_mut(&self.peer) {
            of_peer.under_way = of_peer.under_way.saturating_sub(1);
        }
    }
}

/// Fetches and opens one run. It lies in memory as it will in the file, modulo blocks.
pub(super) async fn extent(down: &Down, run: &Run) -> Result<Verified, DownError> {
    let (placement, extent, at) = (&*run.placement, &run.located.extent, run.located.offset);
    let pass = run.pass(down).await?;
    let since = Instant::now();
    let mut fetching = Fetching { down, placement, pass, extent, at, why: Vec::new(), lied: None, waiting: Vec::new() };
    let mut have = 0;
    for round in 0..=ROUNDS.len() {
        if let Some(pause) = round.checked_sub(1).and_then(|last| ROUNDS.get(last)) {
            if down.missed.has(&extent.chunk) {
                break; // it was asked for once more, and that is enough
            }
            down.session.look_for_map();
            sleep(*pause).await;
            fetching.pass = run.pass(down).await?;
            fetching.why.clear();
        }
        fetching.waiting.clear();
        let opened = if placement.redundancy.k() == 1 { fetching.copy().await } else { fetching.shares().await };
        down.ahead.took(since.elapsed());
        match opened? {
            Ok(verified) => return Ok(verified),
            Err(good) => have = good,
        }
        // Whoever was there and lied will not tell the truth later.
        if fetching.lied.is_some() && fetching.why.is_empty() {
            break;
        }
    }
    let Fetching { why, lied, .. } = fetching;
    match lied {
        Some(lie) if why.is_empty() => Err(DownError::Integrity(Arc::new(lie))),
        _ => {
            down.missed.add(extent.chunk);
            Err(DownError::TooFewShards { chunk: extent.chunk, have, need: placement.redundancy.k(), why })
        }
    }
}

/// Fetches the sealed bytes of a range of a chunk kept as copies, from any one holder, unverified: for runs that lie together, each of
/// which is opened on its own. `None` when nobody delivers at once.
pub(super) async fn range(
    down: &Down,
    placement: &Placement,
    pass: Option<SignedPass>,
    offset: u32,
    len: u32,
) -> Option<BytesMut> {
    for shard in holders(down, placement) {
        let Ok(link) = down.session.peer(shard.peer) else { continue };
        let loaded = down.load.add(shard.peer);
        let room = BytesMut::with_capacity(len as usize);
        let since = Instant::now();
        let mut reading = pin!(read(link, (shard, pass.clone()), offset, len, room, loaded));
        let got = loop {
            match timeout(LOOK, &mut reading).await {
                Ok((_, got)) => break got.ok(),
                Err(_) if down.load.is_silent(shard.peer, since, Instant::now()) => {
                    down.load.pace().avoid(shard.peer, Instant::now());
                    break None;
                }
                Err(_) => {}
            }
        };
        down.ahead.took(since.elapsed());
        if got.is_some() {
            return got;
        }
    }
    None
}

/// Holders of shards, the most promising first.
fn holders(down: &Down, placement: &Placement) -> Vec<ShardAt> {
    let map = down.session.map();
    let k = placement.redundancy.k();
    let (pace, now) = (down.load.pace(), Instant::now());
    let mut holders: Vec<(u8, usize, bool, u8, ShardAt)> = placement
        .shards
        .iter()
        .map(|shard| {
            let state = match map.peer(shard.peer).map(|peer| peer.state) {
                Some(PeerState::Online) if pace.is_avoided(shard.peer, now) => 1,
                Some(PeerState::Online) => 0,
                Some(PeerState::Suspect) => 1,
                Some(PeerState::Dead) | None => 2,
            };
            // What is no share of the code saves decoding; the id spreads equal holders.
            let coded = k > 1 && usize::from(shard.index) >= k;
            (state, down.load.of(shard.peer), coded, shard.index, *shard)
        })
        .collect();
    drop(pace);
    holders.sort_by_key(|(state, load, coded, index, _)| (*state, *coded, *load, *index));
    let holders = holders.into_iter().map(|(.., shard)| shard).collect();
    if k > 1 { each_share_first(holders) } else { holders }
}

/// In their order, but who has a share that somebody before them has, too, comes last: k shares rebuild a chunk only when they differ.
/// A share has two holders when a peer comes back that was taken for dead, and its share had been made anew.
fn each_share_first(holders: Vec<ShardAt>) -> Vec<ShardAt> {
    let mut seen = HashSet::new();
    let (mut first, again): (Vec<_>, Vec<_>) = holders.into_iter().partition(|shard| seen.insert(shard.index));
    first.extend(again);
    first
}

struct Fetching<'a> {
    down: &'a Down,
    placement: &'a Placement,
    /// What peers are shown where the chunk is another account's.
    pass: Option<SignedPass>,
    extent: &'a Extent,
    /// Where the run begins in the file.
    at: u64,
    why: Vec<String>,
    lied: Option<IntegrityError>,
    /// Whom an answer is awaited from.
    waiting: Vec<Waiting>,
}

struct Waiting {
    peer: PeerId,
    len: u32,
    since: Instant,
    /// Somebody else was asked because it took so long.
    hedged: bool,
}

/// What is asked for, of which holders, and how it is collected in.
struct Attempts<R> {
    running: JoinSet<(ShardAt, Result<R, CallError>)>,
    left: std::vec::IntoIter<ShardAt>,
    offset: u32,
    len: u32,
    begin: fn(&Extent, Buffer) -> Result<R, IntegrityError>,
}

impl Fetching<'_> {
    /// From one copy. `Err` with the number of good shards when none could be had.
    async fn copy(&mut self) -> Result<Result<Verified, usize>, DownError> {
        let (offset, len) = (self.extent.offset, self.extent.len);
        let mut attempts = self.attempts(offset, len, Extent::opening);
        loop {
            if attempts.running.is_empty() && !self.start(&mut attempts) {
                return Ok(Err(0));
            }
            let Some((shard, got)) = self.first(&mut attempts).await? else { continue };
            let opening = match got {
                Ok(opening) => opening,
                Err(error) => {
                    self.failed(&shard, &error);
                    continue;
                }
            };
            let (extent, pool, at) = (self.extent.clone(), self.down.pool.clone(), self.at);
            let opened = match extent.size {
                ..=SMALL_BYTES => extent.opened(opening, || Buffer::with_room(extent.size as usize)),
                _ if !opening.is_compressed() => extent.opened(opening, || pool.take_for(at)),
                _ => self.down.on_a_core(move || extent.opened(opening, || pool.take_for(at))).await?,
            };
            match opened {
                Ok(verified) => return Ok(Ok(verified)),
                Err(lie) => self.lied(&shard, lie),
            }
        }
    }

    /// From k shares, whole. `Err` with the number of good shards when too few could be had.
    async fn shares(&mut self) -> Result<Result<Verified, usize>, DownError> {
        let redundancy = self.placement.redundancy;
        let sealed_len = self.placement.sealed_len as usize;
        let len = u32::try_from(erasure::shard_len(redundancy, sealed_len)).unwrap_or(u32::MAX);
        let mut attempts = self.attempts(0, len, |_, room| Ok(room));
        let mut shards: Vec<(ShardAt, Bytes)> = Vec::with_capacity(redundancy.n());
        loop {
            while shards.len() < redundancy.k() {
                while shards.len() + attempts.running.len() < redundancy.k() && self.start(&mut attempts) {}
                if shards.len() + attempts.running.len() < redundancy.k() {
                    return Ok(Err(shards.len()));
                }
                let Some((shard, got)) = self.first(&mut attempts).await? else { continue };
                match got {
                    Ok(_) if shards.iter().any(|(other, _)| other.index == shard.index) => {}
                    Ok(bytes) => shards.push((shard, bytes.freeze())),
                    Err(error) => self.failed(&shard, &error),
                }
            }
            let (extent, given, pool, at) = (self.extent.clone(), shards.clone(), self.down.pool.clone(), self.at);
            let room = move || pool.take_for(at);
            match self.down.on_a_core(move || join_and_open(&given, redundancy, sealed_len, &extent, &room)).await? {
                Ok(verified) => return Ok(Ok(verified)),
                Err((lie, liars)) => {
                    for (shard, _) in shards.extract_if(.., |(shard, _)| liars.contains(&shard.index)) {
                        self.down.session.look_for_map();
                        tracing::warn!(peer = %shard.peer.short(), "a peer returned a damaged shard");
                    }
                    self.lied = Some(lie);
                    if liars.is_empty() {
                        // Every shard is what was registered, and still they do not open: no peer can mend that.
                        return Ok(Err(shards.len()));
                    }
                }
            }
        }
    }

    fn attempts<R>(
        &self,
        offset: u32,
        len: u32,
        begin: fn(&Extent, Buffer) -> Result<R, IntegrityError>,
    ) -> Attempts<R> {
        let left = holders(self.down, self.placement).into_iter();
        Attempts { running: JoinSet::new(), left, offset, len, begin }
    }

    /// Starts the next holder's attempt; `false` when there is none left.
    fn start<R: Room>(&mut self, attempts: &mut Attempts<R>) -> bool {
        let Attempts { running, left, offset, len, begin } = attempts;
        for shard in left {
            let Ok(link) = self.down.session.peer(shard.peer) else {
                self.why.push(format!("peer {} is not in the cluster map", shard.peer.short()));
                continue;
            };
            let room = match *len {
                ..=SMALL_BYTES => Buffer::with_room(*len as usize),
                _ => self.down.pool.take_for(self.at),
            };
            let room = match begin(self.extent, room) {
                Ok(room) => room,
                Err(lie) => {
                    self.lied = Some(lie);
                    return false;
                }
            };
            let loaded = self.down.load.add(shard.peer);
            running.spawn(read(link, (shard, self.pass.clone()), *offset, *len, room, loaded));
            self.waiting.push(Waiting { peer: shard.peer, len: *len, since: Instant::now(), hedged: false });
            return true;
        }
        false
    }

    /// Waits for the first attempt to end; starts another one when that takes too long. `None` when it has just done so.
    async fn first<R: Room>(
        &mut self,
        attempts: &mut Attempts<R>,
    ) -> Result<Option<(ShardAt, Result<R, CallError>)>, DownError> {
        let done = loop {
            match timeout(LOOK, attempts.running.join_next()).await {
                Ok(done) => break done,
                Err(_) if self.is_one_late() && self.start(attempts) => return Ok(None),
                Err(_) => {}
            }
        };
        if let Some(Ok((shard, got))) = &done
            && let Some(place) = self.waiting.iter().position(|waiting| waiting.peer == shard.peer)
        {
            let Waiting { peer, len, since, .. } = self.waiting.swap_remove(place);
            if got.is_ok() {
                self.down.load.pace().done(peer, len.into(), since, Instant::now());
            }
        }
        done.transpose().map_err(|panic| DownError::Bug(panic.to_string()))
    }

    /// Whether somebody else should be asked for what one of them was. Of each that is said once.
    fn is_one_late(&mut self) -> bool {
        let (load, now) = (&self.down.load, Instant::now());
        let late = self.waiting.iter_mut().find(|Waiting { peer, len, since, hedged }| {
            let late = load.is_silent(*peer, *since, now) || load.pace().is_overdue(*peer, (*len).into(), *since, now);
            late && !hedged
        });
        let Some(late) = late else { return false };
        load.pace().avoid(late.peer, now);
        late.hedged = load.is_silent(late.peer, late.since, now) || load.pace().may_hedge();
        late.hedged
    }

    fn failed(&mut self, shard: &ShardAt, error: &CallError) {
        self.down.session.look_for_map();
        tracing::debug!(peer = %shard.peer.short(), %error, "shard is looked for elsewhere");
        self.why.push(format!("peer {}: {error}", shard.peer.short()));
    }

    fn lied(&mut self, shard: &ShardAt, lie: IntegrityError) {
        tracing::warn!(peer = %shard.peer.short(), "a peer returned a damaged shard");
        self.lied = Some(lie);
    }
}

/// Rebuilds a chunk from its shares and opens the extent; or says which shares are not what was registered. CPU-bound.
fn join_and_open(
    shards: &[(ShardAt, Bytes)],
    redundancy: common::redundancy::Redundancy,
    sealed_len: usize,
    extent: &Extent,
    room: &impl Fn() -> Buffer,
) -> Result<Verified, (IntegrityError, Vec<u8>)> {
    let given: Vec<(u8, Bytes)> = shards.iter().map(|(shard, bytes)| (shard.index, bytes.clone())).collect();
    let from = extent.offset as usize;
    let opened = erasure::join(&given, redundancy, sealed_len).ok().and_then(|chunk| {
        let mut sealed = room();
        sealed.append(chunk.get(from..from + extent.len as usize)?);
        Some(extent.open_in(sealed, room))
    });
    let lie = match opened {
        Some(Ok(verified)) => return Ok(verified),
        Some(Err(lie)) => lie,
        None => IntegrityError::Digest,
    };
    let liars = shards.iter().filter(|(shard, bytes)| ShardAddress::of(bytes) != shard.address);
    Err((lie, liars.map(|(shard, _)| shard.index).collect()))
}

/// What arriving bytes are collected in.
trait Room: Send + 'static {
    /// Takes no more than there is room for, and tells how much that was.
    fn take(&mut self, bytes: &[u8]) -> usize;
}

impl Room for Buffer {
    fn take(&mut self, bytes: &[u8]) -> usize {
        self.append(bytes)
    }
}

impl Room for Opening {
    fn take(&mut self, bytes: &[u8]) -> usize {
        Self::take(self, bytes)
    }
}

impl Room for BytesMut {
    fn take(&mut self, bytes: &[u8]) -> usize {
        self.extend_from_slice(bytes);
        bytes.len()
    }
}

/// Reads a range of a shard into one buffer. More than was asked for is refused; fewer bytes fail when they are opened.
async fn read<R: Room>(
    link: Link,
    (shard, pass): (ShardAt, Option<SignedPass>),
    offset: u32,
    len: u32,
    mut room: R,
    loaded: Loaded,
) -> (ShardAt, Result<R, CallError>) {
    let (address, patience) = (shard.address, patience(len.into()));
    let work = async {
        let mut body = match pass {
            None => {
                let request = GetShard { account: None, address, offset, len };
                link.call_once(&request, Vec::new(), patience).await?.1
            }
            Some(pass) => link.call_once(&ReadShard { pass, address, offset, len }, Vec::new(), patience).await?.1,
        };
        let max = len as usize;
        let mut left = max;
        while let Some(piece) = body.chunk().await? {
            loaded.heard();
            left = left.checked_sub(piece.len()).ok_or(CallError::BodyTooLong { max })?;
            if room.take(&piece) < piece.len() {
                return Err(CallError::BodyTooLong { max });
            }
            consume_budget().await; // a run that has all arrived is not opened in one go while the network waits
        }
        Ok(room)
    };
    let limit = CallError::TimedOut { what: "reading a shard", after: patience };
    let result = timeout(patience, work).await.unwrap_or(Err(limit));
    (shard, result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_differ_come_before_those_that_somebody_has_already() {
        let holder = |peer, index| ShardAt { peer: PeerId([peer; 16]), index, address: ShardAddress([index; 20]) };
        let given = vec![holder(1, 0), holder(2, 0), holder(3, 2), holder(4, 2), holder(5, 1)];
        let order: Vec<_> = each_share_first(given).iter().map(|shard| (shard.peer.0[0], shard.index)).collect();
        assert_eq!(order, [(1, 0), (3, 2), (5, 1), (2, 0), (4, 2)]);
    }
}
