//! Known: what a peer has learnt of the directory, and must not forget.
//!
//! Durable in the file `known` (docs/FORMATS.md): the highest generation and the furthest point of history, by which a directory
//! that was restored from an old copy is recognised; who is revoked; where the directory is; its time, as last heard. In memory alone:
//! the cluster map. The file is written at once when a directory has started anew, who is revoked changes or where the directory is;
//! at most once a minute when its history went on; and at a clean end.
//!
//! A generation or a map counts only when it comes from the directory: by its connection, or under its signature.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::bounded::BoundedVec;
use common::codec::CodecError;
use common::disk::{self, DiskError};
use common::history::HistoryPoint;
use common::id::{ClusterId, PeerId};
use common::identity::StatementPublic;
use common::limits::REVOKED;
use common::map::{ClusterMap, SignedMap};
use common::proto::directory::HeartbeatAnswer;
use common::proto::parts::Addresses;
use common::time::{Clock, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::config::KNOWN_PAUSE;
use crate::headed::{self, Unreadable};

const MAGIC: &[u8; 8] = b"SHOALKNW";
const VERSION: u16 = 2;

/// What was known cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    #[error("{} has version {found}, and this program knows {VERSION}: use a newer program", path.display())]
    Newer { path: PathBuf, found: u16 },
    #[error("{} is damaged; if it cannot be restored, join again with a new ticket and another folder", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        source: Option<CodecError>,
    },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("it does not fit in a file")]
    Unwritable(#[source] CodecError),
    #[error("the program is ending")]
    Ending,
}

/// The content of the file behind its head.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Durable {
    /// The highest ever seen, also in an order or a map: one of a lower is not obeyed.
    pub generation: u64,
    /// The furthest point of history that a directory has told of itself.
    pub seen: HistoryPoint,
    /// The directory's clock when this was written.
    pub directory_time: Timestamp,
    /// Where the directory is, by the newest cluster map; empty before there was one.
    pub directory: Addresses,
    pub revoked: BoundedVec<[u8; 16], REVOKED>,
}

impl Durable {
    /// # Errors
    /// When the file is missing, damaged, or of a newer version.
    pub fn load(path: &Path) -> Result<Self, KnownError> {
        let bytes = disk::read_small(path)?;
        headed::decode(MAGIC, VERSION, &bytes).map_err(|error| match error {
            Unreadable::Newer { found } => KnownError::Newer { path: path.to_owned(), found },
            Unreadable::Damaged(source) => KnownError::Damaged { path: path.to_owned(), source },
        })
    }

    fn encode(&self) -> Result<Vec<u8>, KnownError> {
        headed::encode(MAGIC, VERSION, self).map_err(KnownError::Unwritable)
    }

    /// Puts it on the disk in the place of what was there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, path: &Path) -> Result<(), KnownError> {
        Ok(disk::replace_durably(path, &self.encode()?)?)
    }
}

#[derive(Debug)]
struct State {
    durable: Durable,
    /// At or beyond the durable one.
    seen: HistoryPoint,
    /// When the durable one was written in this run.
    written: Option<Instant>,
    revoked: Arc<HashSet<[u8; 16]>>,
    map: Option<ClusterMap>,
    /// The directory's clock at an instant of ours.
    heard: Option<(Timestamp, Instant)>,
}

/// Cheap to clone; all clones know the same.
#[derive(Debug, Clone)]
pub(crate) struct Known(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    cluster: ClusterId,
    public: StatementPublic,
    clock: Clock,
    state: Mutex<State>,
    /// Held by threads that write the file, never by a task.
    writing: Mutex<()>,
}

/// What changed by an answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// There is a newer cluster map.
    pub map: bool,
    /// The directory is behind what was seen before, by its own word.
    pub behind: bool,
}

impl Known {
    pub(crate) fn load(
        path: PathBuf,
        cluster: ClusterId,
        public: StatementPublic,
        clock: Clock,
    ) -> Result<Self, KnownError> {
        let durable = Durable::load(&path)?;
        let revoked = Arc::new(durable.revoked.iter().copied().collect());
        let state = Mutex::new(State { seen: durable.seen, durable, written: None, revoked, map: None, heard: None });
        Ok(Self(Arc::new(Inner { path, cluster, public, clock, state, writing: Mutex::new(()) })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.0.cluster
    }

    pub(crate) fn statement_key(&self) -> StatementPublic {
        self.0.public
    }

    /// The highest generation that is durably known.
    pub(crate) fn generation(&self) -> u64 {
        self.state().durable.generation
    }

    /// The furthest point of a directory's history that was heard of.
    pub(crate) fn seen(&self) -> HistoryPoint {
        self.state().seen
    }

    /// Epoch of the cluster map; 0 for none.
    pub(crate) fn epoch(&self) -> u64 {
        self.state().map.as_ref().map_or(0, |map| map.epoch)
    }

    pub(crate) fn directory(&self) -> Vec<String> {
        self.state().durable.directory.iter().map(ToString::to_string).collect()
    }

    /// Where another peer is by the newest cluster map; nothing when it is not in there.
    pub(crate) fn addresses_of(&self, peer: PeerId) -> Option<Vec<String>> {
        let state = self.state();
        let entry = state.map.as_ref()?.peer(peer)?;
        Some(entry.addresses.iter().map(ToString::to_string).collect())
    }

    pub(crate) fn revoked(&self) -> Arc<HashSet<[u8; 16]>> {
        self.state().revoked.clone()
    }

    /// The directory's time: its last answer and the time since. Before the first answer of this run, as it was last written down;
    /// and where it never was, this machine's clock.
    pub(crate) fn directory_time(&self) -> Timestamp {
        let state = self.state();
        match state.heard {
            Some((time, at)) => time.plus(at.elapsed()),
            None if state.durable.directory_time > Timestamp::default() => state.durable.directory_time,
            None => self.0.clock.now(),
        }
    }

    /// Takes in what the directory answered.
    pub(crate) async fn learn(&self, answer: &HeartbeatAnswer) -> Result<News, KnownError> {
        let behind = answer.history.generation < self.generation();
        {
            let mut state = self.state();
            state.heard = Some((answer.now, Instant::now()));
            if answer.history.is_beyond(&state.seen) {
                state.seen = answer.history;
            }
        }
        let map = answer.map.as_ref().is_some_and(|map| self.take_map(map));
        let generation = self.state().map.as_ref().map_or(0, |map| map.generation).max(answer.history.generation);
        self.keep(generation).await?;
        Ok(News { map, behind })
    }

    /// A map that is the directory's, of this cluster, and newer.
    fn take_map(&self, signed: &SignedMap) -> bool {
        let map = match signed.verify(&self.0.public) {
            Ok(map) if map.cluster == self.0.cluster => map,
            Ok(map) => {
                tracing::error!(cluster = %map.cluster, "the directory sent a map of another cluster; it is not used");
                return false;
            }
            Err(error) => {
                tracing::error!(%error, "the directory sent a map that is not its own; it is not used");
                return false;
            }
        };
        let mut state = self.state();
        let older = state.map.as_ref().is_some_and(|known| !map.newer_than(known));
        if older || map.generation < state.durable.generation {
            return false;
        }
        state.revoked = Arc::new(map.revoked.iter().copied().collect());
        state.map = Some(map);
        true
    }

    /// Makes durable what is known now, and this generation if it is higher. When it returns, a higher one counts.
    pub(crate) async fn keep(&self, generation: u64) -> Result<(), KnownError> {
        if self.unchanged(generation) {
            return Ok(());
        }
        self.write(generation).await
    }

    fn unchanged(&self, generation: u64) -> bool {
        let state = self.state();
        let same_map = state
            .map
            .as_ref()
            .is_none_or(|map| map.directory == state.durable.directory && map.revoked == state.durable.revoked);
        let same_start = state.seen.start == state.durable.seen.start;
        let same_point = state.seen == state.durable.seen;
        let lately = state.written.is_some_and(|at| at.elapsed() < KNOWN_PAUSE);
        same_map && generation <= state.durable.generation && same_start && (same_point || lately)
    }

    async fn write(&self, generation: u64) -> Result<(), KnownError> {
        let known = self.clone();
        let job = tokio::task::spawn_blocking(move || {
            let _one = known.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let next = known.durable_with(generation);
            next.save(&known.0.path)?;
            let mut state = known.state();
            (state.durable, state.written) = (next, Some(Instant::now()));
            Ok(())
        });
        job.await.map_err(|_| KnownError::Ending)?
    }

    fn durable_with(&self, generation: u64) -> Durable {
        let directory_time = self.directory_time();
        let state = self.state();
        let mut next = state.durable.clone();
        next.generation = next.generation.max(generation);
        next.seen = state.seen;
        if state.heard.is_some() {
            next.directory_time = directory_time;
        }
        if let Some(map) = &state.map {
            next.directory = map.directory.clone();
            next.revoked = map.revoked.clone();
        }
        next
    }

    /// Writes down the directory's time, and how far its history went, for the next start.
    pub(crate) async fn close(&self) -> Result<(), KnownError> {
        self.write(0).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::StartId;
    use common::identity::StatementKey;

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    fn map(key: &StatementKey, generation: u64, epoch: u64, revoked: u8) -> SignedMap {
        let map = ClusterMap {
            cluster: CLUSTER,
            generation,
            epoch,
            made: Timestamp(1),
            directory: vec!["a:1".try_into().unwrap()].try_into().unwrap(),
            peers: BoundedVec::empty(),
            revoked: vec![[revoked; 16]].try_into().unwrap(),
        };
        SignedMap::sign(&map, key).unwrap()
    }

    fn answer(generation: u64, map: Option<SignedMap>) -> HeartbeatAnswer {
        HeartbeatAnswer { history: point(generation, 1, 1), now: Timestamp(1_000_000), again_ms: 1, map }
    }

    fn point(generation: u64, start: u8, sequence: u64) -> HistoryPoint {
        HistoryPoint { generation, start: StartId([start; 16]), sequence }
    }

    #[test]
    fn the_file_is_golden_and_damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known");
        let durable = Durable {
            generation: 7,
            seen: point(6, 5, 300),
            directory_time: Timestamp(300),
            directory: vec!["a:1".try_into().unwrap()].try_into().unwrap(),
            revoked: vec![[9; 16]].try_into().unwrap(),
        };
        durable.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut golden = b"SHOALKNW\x02\0".to_vec();
        let content = [&b"\x07\x06"[..], &[5; 16], &b"\xfb\x2c\x01\xfb\x2c\x01\x01\x03a:1\x01"[..], &[9; 16]].concat();
        golden.extend_from_slice(&crc32c::crc32c(&content).to_le_bytes());
        golden.extend_from_slice(&content);
        assert_eq!(bytes, golden);
        assert_eq!(Durable::load(&path).unwrap(), durable);
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            assert!(Durable::load(&path).is_err(), "byte {at}");
            std::fs::write(&path, &bytes[..at]).unwrap();
            assert!(Durable::load(&path).is_err(), "cut at {at}");
        }
        let mut newer = bytes.clone();
        newer[8] = 3;
        std::fs::write(&path, &newer).unwrap();
        assert!(matches!(Durable::load(&path), Err(KnownError::Newer { found: 3, .. })));
    }

    #[tokio::test]
    async fn generations_only_rise_and_survive_a_restart_with_who_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known");
        Durable::default().save(&path).unwrap();
        let key = StatementKey::generate().unwrap();
        let clock = Clock::manual(Timestamp(5));
        let open = || Known::load(path.clone(), CLUSTER, key.public(), clock.clone()).unwrap();
        let known = open();
        assert_eq!(known.directory_time(), Timestamp(5));
        assert_eq!(known.learn(&answer(3, Some(map(&key, 3, 8, 1)))).await.unwrap(), News { map: true, behind: false });
        let heard = known.directory_time(); // not this machine's 5, and running on
        assert!(heard >= Timestamp(1_000_000) && heard < Timestamp(1_060_000), "{heard:?}");
        let foreign = StatementKey::generate().unwrap();
        for (generation, map) in
            [(3, map(&foreign, 3, 9, 2)), (3, map(&key, 3, 8, 2)), (3, map(&key, 3, 7, 2)), (2, map(&key, 2, 99, 2))]
        {
            let news = known.learn(&answer(generation, Some(map))).await.unwrap();
            assert_eq!(news, News { map: false, behind: generation < 3 });
        }
        known.close().await.unwrap();
        let again = open();
        assert_eq!((again.generation(), again.epoch()), (3, 0));
        assert_eq!(again.directory(), ["a:1"]);
        assert!(again.revoked().contains(&[1; 16]));
        assert!(again.directory_time() >= Timestamp(1_000_000));
        assert!(!again.learn(&answer(2, Some(map(&key, 2, 99, 2)))).await.unwrap().map);
    }

    #[tokio::test]
    async fn a_start_is_durable_at_once_and_what_follows_once_a_minute_and_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known");
        Durable::default().save(&path).unwrap();
        let public = StatementKey::generate().unwrap().public();
        let known = Known::load(path.clone(), CLUSTER, public, Clock::manual(Timestamp(5))).unwrap();
        let tell = async |history| {
            known.learn(&HeartbeatAnswer { history, ..answer(0, None) }).await.unwrap();
            (known.seen(), Durable::load(&path).unwrap().seen)
        };
        assert_eq!(tell(point(1, 1, 10)).await, (point(1, 1, 10), point(1, 1, 10)));
        assert_eq!(tell(point(1, 1, 11)).await, (point(1, 1, 11), point(1, 1, 10)));
        assert_eq!(tell(point(1, 1, 9)).await, (point(1, 1, 11), point(1, 1, 10)), "it does not go back");
        assert_eq!(tell(point(1, 2, 12)).await, (point(1, 2, 12), point(1, 2, 12)), "another start");
        assert_eq!(tell(point(2, 3, 1)).await, (point(2, 3, 1), point(2, 3, 1)), "another generation");
        tell(point(2, 3, 2)).await;
        known.state().written = Instant::now().checked_sub(KNOWN_PAUSE);
        assert_eq!(tell(point(2, 3, 3)).await, (point(2, 3, 3), point(2, 3, 3)), "a minute later");
        assert_eq!(tell(point(2, 3, 4)).await, (point(2, 3, 4), point(2, 3, 3)));
        known.close().await.unwrap();
        assert_eq!(Durable::load(&path).unwrap().seen, point(2, 3, 4));

        // An order says a generation and no point of history: it must not pass for one.
        known.keep(9).await.unwrap();
        assert_eq!((known.generation(), known.seen()), (9, point(2, 3, 4)));
    }
}
