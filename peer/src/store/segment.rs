//! Segment: the append side. Concurrent writers get disjoint pages, write them without a lock, and share syncs.
//!
//! A record counts only after a sync that began when its write had ended. A sync that fails poisons the store for writes:
//! the kernel may have dropped the pages, so nothing can be said any more about what is on disk.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use common::id::{ClusterId, PeerId};
use common::time::Clock;

use super::buffer::Aligned;
use super::disk::{Disk, DiskFile, HINTS, SEGMENTS};
use super::error::StoreError;
use super::hint::{self, Found};
use super::index::Dead;
use super::record::{Kind, PAGE, Place, Record, SegmentHeader, put};

pub(crate) fn segment_name(number: u32) -> String {
    format!("{SEGMENTS}/{number:08}.seg")
}

pub(crate) fn hint_name(number: u32) -> String {
    format!("{HINTS}/{number:08}.hint")
}

/// Writers that have finished writing wait here; one of them syncs for all.
#[derive(Default, Debug)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default, Debug)]
struct GateState {
    written: u64,
    synced: u64,
    syncing: bool,
    failed: bool,
}

impl Gate {
    /// Returns when a sync has covered everything that the caller wrote before. `None`: a sync failed, now or earlier.
    fn pass(&self, sync: impl Fn() -> io::Result<()>) -> Option<()> {
        let mut state = lock(&self.state);
        state.written += 1;
        let mine = state.written;
        loop {
            if state.failed {
                return None;
            }
            if state.synced >= mine {
                return Some(());
            }
            if state.syncing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.syncing = true;
            let covered = state.written;
            drop(state);
            let outcome = sync();
            state = lock(&self.state);
            state.syncing = false;
            match outcome {
                Ok(()) => state.synced = covered,
                Err(error) => {
                    tracing::error!(%error, "a sync failed; the store takes no writes until it is restarted");
                    state.failed = true;
                }
            }
            self.changed.notify_all();
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The segment that is appended to, or one that still has writes under way.
#[derive(Debug)]
struct Segment {
    header: SegmentHeader,
    file: Arc<dyn DiskFile>,
    gate: Gate,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next_page: u32,
    under_way: u32,
    retired: bool,
    failed: bool,
    records: Vec<Found>,
}

/// Pages of a segment that one writer has for itself.
struct Slot<'a> {
    segment: Arc<Segment>,
    appender: &'a Appender,
    page: u32,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let last = {
            let mut state = lock(&self.segment.state);
            state.under_way = state.under_way.saturating_sub(1);
            state.retired && state.under_way == 0
        };
        if last {
            self.appender.write_hint(&self.segment);
        }
    }
}

/// Appends records to the newest segment and starts the next one in time.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) cluster: ClusterId,
    pub(crate) peer: PeerId,
    pub(crate) clock: Clock,
    pub(crate) segment_pages: u32,
    pub(crate) current: Mutex<Current>,
    /// Disk bytes of all segments.
    pub(crate) used: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) poisoned: OnceLock<PathBuf>,
    /// Failed writes that were made void, and whose pages can go.
    pub(crate) voids: Mutex<Vec<Dead>>,
}

#[derive(Debug)]
pub(crate) struct Current {
    segment: Option<Arc<Segment>>,
    next_number: u32,
}

impl Current {
    pub(crate) fn starting_at(next_number: u32) -> Mutex<Self> {
        Mutex::new(Self { segment: None, next_number })
    }
}

impl Appender {
    /// Writes one record durably. `runs` is its aligned room, with the body in place; the header is put in front here.
    /// Blocking: a write for each run and a share of one sync.
    pub(crate) fn append(&self, record: &Record, runs: &mut [&mut [u8]]) -> Result<Place, StoreError> {
        if let Some(path) = self.poisoned.get() {
            return Err(StoreError::Poisoned { path: path.clone() });
        }
        let slot = self.allocate(record.pages())?;
        let segment = &slot.segment;
        let place = Place { segment: segment.header.number, page: slot.page };
        if let Some(first) = runs.first_mut() {
            put(first, 0, &record.encode(&segment.header));
        }
        let mut offset = place.offset();
        for run in runs.iter() {
            if let Err(error) = segment.file.write_at(run, offset) {
                self.make_void(segment, slot.page, record);
                return Err(self.failed(segment.header.number, error, runs.iter().map(|run| run.len()).sum()));
            }
            offset += run.len() as u64;
        }
        if segment.gate.pass(|| self.sync(segment)).is_none() {
            lock(&segment.state).failed = true;
            let path = self.disk.path(&segment_name(place.segment));
            return Err(StoreError::Poisoned { path: self.poisoned.get_or_init(|| path).clone() });
        }
        lock(&segment.state).records.push((slot.page, *record));
        Ok(place)
    }

    /// Ends the current segment, so that the next start finds a hint for it. Blocking.
    pub(crate) fn retire_current(&self) {
        let segment = lock(&self.current).segment.take();
        if let Some(segment) = segment {
            self.retire(&segment);
        }
    }

    /// The segment that is appended to.
    pub(crate) fn current_number(&self) -> Option<u32> {
        lock(&self.current).segment.as_ref().map(|segment| segment.header.number)
    }

    fn sync(&self, segment: &Segment) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        segment.file.sync()
    }

    fn failed(&self, number: u32, source: io::Error, wanted: usize) -> StoreError {
        let full = [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT].map(|errno| Some(errno.raw_os_error()));
        if full.contains(&source.raw_os_error()) {
            return StoreError::Full { free: 0, wanted: wanted as u64 };
        }
        StoreError::Io { path: self.disk.path(&segment_name(number)), source }
    }

    fn allocate(&self, pages: u32) -> Result<Slot<'_>, StoreError> {
        let mut retired = None;
        let slot = {
            let mut current = lock(&self.current);
            let fits = |segment: &Arc<Segment>| {
                let next = lock(&segment.state).next_page;
                next == 1 || next.saturating_add(pages) <= self.segment_pages
            };
            let segment = match current.segment.as_ref().filter(|segment| fits(segment)) {
                Some(segment) => Arc::clone(segment),
                None => {
                    let segment = self.start_segment(current.next_number)?;
                    current.next_number += 1;
                    retired = current.segment.replace(Arc::clone(&segment));
                    segment
                }
            };
            let page = {
                let mut state = lock(&segment.state);
                state.under_way += 1;
                let page = state.next_page;
                state.next_page = page.saturating_add(pages);
                page
            };
            self.used.fetch_add(u64::from(pages) * PAGE as u64, Ordering::Relaxed);
            Slot { segment, appender: self, page }
        };
        if let Some(old) = retired {
            self.retire(&old);
        }
        Ok(slot)
    }

    /// The header is on disk, and the file's name in its folder, before the first record is.
    fn start_segment(&self, number: u32) -> Result<Arc<Segment>, StoreError> {
        let name = segment_name(number);
        let mut salt = [0; 16];
        let random = getrandom::fill(&mut salt).map_err(|_| io::Error::other("the system gives no randomness"));
        let (cluster, peer, created) = (self.cluster, self.peer, self.clock.now());
        let header = SegmentHeader { number, cluster, peer, salt, created };
        let start = || {
            random?;
            // A file of this number can only be one whose start failed a moment ago: nothing was ever written to it.
            let file = match self.disk.create(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk.open(&name)?,
                other => other?,
            };
            let mut page = Aligned::new(PAGE);
            page.as_mut_slice().copy_from_slice(&header.encode());
            file.write_at(page.as_slice(), 0)?;
            self.syncs.fetch_add(1, Ordering::Relaxed);
            file.sync()?;
            self.disk.sync_folder(SEGMENTS)?;
            Ok(file)
        };
        let file = start().map_err(|error| self.failed(number, error, PAGE))?;
        self.used.fetch_add(PAGE as u64, Ordering::Relaxed);
        let state = State { next_page: 1, under_way: 0, retired: false, failed: false, records: Vec::new() };
        Ok(Arc::new(Segment { header, file, gate: Gate::default(), state: Mutex::new(state) }))
    }

    /// After a failed write the pages may hold anything, even a valid header over a broken body.
    fn make_void(&self, segment: &Segment, page: u32, record: &Record) {
        let outcome = write_void(segment.file.as_ref(), &segment.header, page, record);
        if outcome.is_ok() {
            let place = Place { segment: segment.header.number, page };
            lock(&self.voids).push(Dead { place, pages: record.pages() });
        }
        if let Err(error) = outcome {
            // No hint then: the next start checks every body in this segment.
            lock(&segment.state).failed = true;
            tracing::warn!(segment = segment.header.number, page, %error, "a failed write could not be made void");
        }
    }

    fn retire(&self, segment: &Segment) {
        let idle = {
            let mut state = lock(&segment.state);
            !std::mem::replace(&mut state.retired, true) && state.under_way == 0
        };
        if idle {
            self.write_hint(segment);
        }
    }

    fn write_hint(&self, segment: &Segment) {
        let mut records = {
            let mut state = lock(&segment.state);
            if state.failed {
                return;
            }
            std::mem::take(&mut state.records)
        };
        records.sort_unstable_by_key(|(page, _)| *page);
        write_hint(self.disk.as_ref(), &segment.header, segment.file.as_ref(), &records);
    }
}

/// Overwrites a record's first page with a void one of the same length; the body behind it stays for whoever looks.
pub(crate) fn write_void(file: &dyn DiskFile, segment: &SegmentHeader, page: u32, record: &Record) -> io::Result<()> {
    let mut room = Aligned::new(PAGE);
    let void = Record { kind: Kind::Void, ..*record };
    put(room.as_mut_slice(), 0, &void.encode(segment));
    file.write_at(room.as_slice(), u64::from(page) * PAGE as u64)
}

/// A hint only saves time, so a failure is no more than a warning. All of the segment is synced first: the hint says so.
pub(crate) fn write_hint(disk: &dyn Disk, segment: &SegmentHeader, file: &dyn DiskFile, records: &[Found]) {
    let write = || {
        file.sync()?;
        match hint::encode(segment, file.len()?, records) {
            Some(bytes) => disk.replace(&hint_name(segment.number), &bytes),
            None => Ok(()),
        }
    };
    if let Err(error) = write() {
        tracing::warn!(segment = segment.number, %error, "no hint was written; the next start takes longer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_writers_share_syncs() {
        const WRITERS: u64 = 16;
        let (gate, syncs) = (Gate::default(), AtomicU64::new(0));
        // The first sync lasts until all have written: it may cover one writer only, and the next covers all others.
        let sync = || {
            syncs.fetch_add(1, Ordering::SeqCst);
            while lock(&gate.state).written < WRITERS {
                std::thread::yield_now();
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(|| gate.pass(sync))).collect();
            assert!(writers.into_iter().all(|writer| writer.join().unwrap().is_some()));
        });
        assert_eq!(syncs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn after_a_failed_sync_nobody_passes() {
        let gate = Gate::default();
        assert_eq!(gate.pass(|| Ok(())), Some(()));
        assert_eq!(gate.pass(|| Err(io::Error::other("gone"))), None);
        assert_eq!(gate.pass(|| Ok(())), None);
    }
}
