//! Reclaim: room that nothing needs any more goes back to the file system.
//!
//! A shard of the trash is purged: first a durable note says so, then its pages are given back. So are those of bodies that were written
//! again since, that were dropped out of quarantine, and of writes that failed. The page with the record's header stays, so that a
//! scan finds its way. A whole segment goes when nothing in it is used and nothing in it has a say over older segments.
//!
//! Guarantees: nothing is given back before the note that makes it useless is durable; what was purged never comes back, whatever is
//! lost behind a power cut; a reader gets the shard's bytes or none. A file system without holes gives back whole segments alone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::time::Timestamp;
use tokio::task::JoinSet;

use super::buffer::Aligned;
use super::disk::{HINTS, SEGMENTS};
use super::error::StoreError;
use super::hint::{self, Found};
use super::index::{Dead, ShardKey, ShardState};
use super::record::{Kind, PAGE, Place, SegmentHeader};
use super::segment::{hint_name, lock, segment_name};
use super::{Inner, Store};

/// Purges under way at once: enough to share syncs, and few beside the writers.
const AT_ONCE: usize = 16;
/// Names of shards in segments that are looked at for removal at once, some 70 bytes each; one segment has at most 65,536.
pub(super) const NAMES: usize = 200_000;
/// How long to wait after a look at all hints, for each of them beyond so many: ten terabytes are looked at every half an hour.
const PAUSE_A_SEGMENT: Duration = Duration::from_millis(50);
const WITHOUT_PAUSE: usize = 100;

/// What [`Store::reclaim`] remembers between two calls.
#[derive(Debug, Default)]
pub(crate) struct Reclaimer {
    /// Held by blocking threads alone, for as long as they give back.
    state: Mutex<State>,
    /// The file system does not make holes.
    no_holes: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// What the start found dead. Whether its pages are still there is not known.
    at_start: Vec<Dead>,
    /// From which segment on the next look at what may be removed begins; whether there was any at the last.
    from: u32,
    idle: bool,
    next_look: Option<Instant>,
    /// The segment that was appended to at the last look; `None`: there was no look.
    looked_at: Option<Option<u32>>,
}

impl Reclaimer {
    pub(super) fn new(at_start: Vec<Dead>) -> Self {
        Self { state: Mutex::new(State { at_start, ..State::default() }), no_holes: AtomicBool::new(false) }
    }
}

impl Store {
    /// Purges shards that are in the trash since this time or before, the oldest first, at most so many; says how many.
    ///
    /// # Errors
    /// The disk's; those that were purged before it failed are.
    pub async fn purge(&self, until: Timestamp, most: usize) -> Result<usize, StoreError> {
        let keys = lock(&self.inner.index).oldest_trash(until, u64::MAX, most);
        self.purge_all(keys, until).await
    }

    /// Purges the oldest shards of the trash, whatever their age, until so many bytes can be given back; some of them, and says how many.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub async fn purge_for(&self, bytes: u64) -> Result<usize, StoreError> {
        let ever = Timestamp(u64::MAX);
        let keys = lock(&self.inner.index).oldest_trash(ever, bytes, AT_ONCE);
        self.purge_all(keys, ever).await
    }

    async fn purge_all(&self, keys: Vec<ShardKey>, until: Timestamp) -> Result<usize, StoreError> {
        let (mut left, mut jobs, mut purged, mut failed) = (keys.into_iter(), JoinSet::new(), 0, None);
        loop {
            while jobs.len() < AT_ONCE
                && failed.is_none()
                && let Some(key) = left.next()
            {
                let store = self.clone();
                jobs.spawn(async move { store.run_writer(move |inner| inner.purge(key, until)).await });
            }
            match jobs.join_next().await {
                None => break,
                Some(Ok(Ok(()) | Err(StoreError::NotFound { .. }))) => purged += 1,
                Some(Ok(Err(error))) => failed = Some(error),
                Some(Err(_)) => failed = Some(StoreError::Stopped),
            }
        }
        failed.map_or(Ok(purged), Err)
    }

    /// Gives dead pages and dead segments back; says how many bytes.
    ///
    /// # Errors
    /// The disk's. What was not given back is found again at the next start.
    pub async fn reclaim(&self) -> Result<u64, StoreError> {
        let inner = Arc::clone(&self.inner);
        let job = tokio::task::spawn_blocking(move || inner.reclaim());
        job.await.map_err(|_| StoreError::Stopped)?
    }

    /// Whether purging gives room back at once, as far as is known.
    #[must_use]
    pub fn makes_holes(&self) -> bool {
        !self.inner.reclaimer.no_holes.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn purge(&self, key: ShardKey, until: Timestamp) -> Result<(), StoreError> {
        self.note(key, Kind::Purged, |entry| matches!(entry.state, ShardState::Trash { since } if since <= until))
    }

    fn reclaim(&self) -> Result<u64, StoreError> {
        let mut state = lock(&self.reclaimer.state);
        let mut given = 0;
        let at_start = std::mem::take(&mut state.at_start);
        let mut fresh = lock(&self.index).take_dead();
        fresh.append(&mut lock(&self.appender.voids));
        state.idle &= at_start.is_empty() && fresh.is_empty();
        given += self.punch_at_start(at_start)?;
        given += self.punch(&fresh)?;
        given += self.remove_segments(&mut state)?;
        if given > 0 {
            tracing::debug!(bytes = given, "given back to the file system");
        }
        Ok(given)
    }

    /// Bodies that died in this run: all of their pages were there.
    fn punch(&self, dead: &[Dead]) -> Result<u64, StoreError> {
        let mut given = 0;
        for body in dead {
            if self.punch_one(body)? {
                given += u64::from(body.pages.saturating_sub(1)) * PAGE as u64;
            }
        }
        self.give(given);
        Ok(given)
    }

    /// What had died before the start: nothing is appended to those segments any more, so what they take says what was given back.
    fn punch_at_start(&self, dead: Vec<Dead>) -> Result<u64, StoreError> {
        let mut by_segment: BTreeMap<u32, Vec<Dead>> = BTreeMap::new();
        dead.into_iter().for_each(|body| by_segment.entry(body.place.segment).or_default().push(body));
        let mut given = 0;
        for (segment, bodies) in by_segment {
            let allocated = || self.files.get(segment).and_then(|file| file.allocated()).unwrap_or(0);
            let before = allocated();
            for body in bodies {
                self.punch_one(&body)?;
            }
            given += before.saturating_sub(allocated());
        }
        self.give(given);
        Ok(given)
    }

    fn punch_one(&self, body: &Dead) -> Result<bool, StoreError> {
        let pages = u64::from(body.pages.saturating_sub(1));
        let no_holes = &self.reclaimer.no_holes;
        if pages == 0 || no_holes.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let Ok(file) = self.files.get(body.place.segment) else { return Ok(false) }; // it is gone as a whole
        let punched = file.punch(body.place.offset() + PAGE as u64, pages * PAGE as u64);
        let punched = punched.map_err(|source| self.io(&segment_name(body.place.segment), source))?;
        if !punched {
            tracing::info!("the file system makes no holes: room is given back by whole segments alone");
            no_holes.store(true, Ordering::Relaxed);
        }
        Ok(punched)
    }

    fn give(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        self.appender.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).ok(); // it always takes it
    }

    fn io(&self, name: &str, source: std::io::Error) -> StoreError {
        StoreError::Io { path: self.disk.path(name), source }
    }

    /// Removes segments that hold nothing that is used, and name no shard that an older segment names as well: of such a shard they
    /// may be what says that it is gone. From the oldest on, each durably before the next is looked at.
    fn remove_segments(&self, state: &mut State) -> Result<u64, StoreError> {
        let current = self.appender.current_number();
        let early = state.next_look.is_some_and(|next| Instant::now() < next);
        if state.looked_at == Some(current) && (early || state.idle) {
            return Ok(0); // nothing has died and no segment has ended since
        }
        state.looked_at = Some(current);
        let numbers = self.closed_segments()?;
        let unused: Vec<u32> = {
            let index = lock(&self.index);
            numbers.range(state.from..).copied().filter(|number| !index.uses(*number)).collect()
        };
        state.idle = unused.is_empty() && state.from == 0;
        state.from = 0;
        let (mut candidates, mut names) = (BTreeSet::new(), HashSet::new());
        for number in unused {
            if names.len() >= NAMES {
                state.from = number; // and those from here on at the next look
                break;
            }
            let Some(records) = self.records_of(number) else { continue };
            names.extend(records.iter().map(|(_, record)| key_of(record)));
            candidates.insert(number);
        }
        let mut given = 0;
        self.each_lonely(&numbers, &candidates, &names, |number, records| {
            let goes = self.nothing_is_used(number, records);
            given += if goes { self.remove_segment(number)? } else { 0 };
            Ok(goes)
        })?;
        let many = u32::try_from(numbers.len().saturating_sub(WITHOUT_PAUSE)).unwrap_or(u32::MAX);
        state.next_look = Instant::now().checked_add(PAUSE_A_SEGMENT.saturating_mul(many));
        Ok(given)
    }

    /// All segments that nothing is appended to any more.
    pub(super) fn closed_segments(&self) -> Result<BTreeSet<u32>, StoreError> {
        let current = self.appender.current_number();
        let names = self.disk.list(SEGMENTS).map_err(|source| self.io(SEGMENTS, source))?;
        let numbers = names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse().ok());
        Ok(numbers.filter(|number| current.is_none_or(|current| *number < current)).collect())
    }

    /// Those of the candidates that name no shard which an older segment names as well, from the oldest on, with their records. `names`
    /// are all that candidates name. One that goes, as `goes` says, counts no more for those behind it.
    pub(super) fn each_lonely(
        &self,
        numbers: &BTreeSet<u32>,
        candidates: &BTreeSet<u32>,
        names: &HashSet<ShardKey>,
        mut goes: impl FnMut(u32, &[Found]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let last = candidates.last().copied().unwrap_or(0);
        let mut older = HashSet::new();
        for number in numbers.iter().copied().take_while(|number| *number <= last) {
            let Some(records) = self.records_of(number) else { break }; // it may name anything
            let lonely = candidates.contains(&number) && !records.iter().any(|(_, r)| older.contains(&key_of(r)));
            if !lonely || !goes(number, &records)? {
                older.extend(records.iter().map(|(_, record)| key_of(record)).filter(|key| names.contains(key)));
            }
        }
        Ok(())
    }

    /// Waits for whoever writes one of these shards: a record may be in the segment and not yet in the index.
    fn nothing_is_used(&self, segment: u32, records: &[Found]) -> bool {
        records.iter().all(|(page, record)| {
            let key = key_of(record);
            let _turn = self.busy.enter(key);
            lock(&self.index).get(&key).is_none_or(|entry| entry.place != Place { segment, page: *page })
        })
    }

    /// By its hint, which says that it was closed.
    pub(super) fn records_of(&self, number: u32) -> Option<Vec<Found>> {
        let file = self.files.get(number).ok()?;
        let mut page = Aligned::new(PAGE);
        file.read_at(page.as_mut_slice(), 0).ok()?;
        let header = SegmentHeader::decode(page.as_slice()).ok()?;
        let bytes = self.disk.read(&hint_name(number), hint::MAX_BYTES).ok()??;
        hint::decode(&bytes, &header, file.len().ok()?)
    }

    fn remove_segment(&self, number: u32) -> Result<u64, StoreError> {
        let name = segment_name(number);
        let bytes = self.files.get(number).and_then(|file| file.allocated()).unwrap_or(0);
        let remove = || {
            // First its hint: a later segment of this number must not find one.
            self.disk.remove(&hint_name(number))?;
            self.disk.sync_folder(HINTS)?;
            self.disk.remove(&name)?;
            self.files.forget(number); // whoever read there until now may have opened it again
            self.disk.sync_folder(SEGMENTS)
        };
        remove().map_err(|source| self.io(&name, source))?;
        self.give(bytes);
        Ok(bytes)
    }
}

pub(super) fn key_of(record: &super::record::Record) -> ShardKey {
    ShardKey { account: record.account, address: record.address }
}
