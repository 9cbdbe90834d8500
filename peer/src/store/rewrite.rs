//! Rewrite: what still lives in a segment of mostly useless pages is written again, behind everything else, so that the segment can go.
//!
//! Holes give back what lies behind a header and no more: shards that fit in one page leave all of it, a file system without holes
//! gives back nothing, and segments would only ever become more. So live shards are copied out of a segment of which they are less
//! than a quarter, and [`super::reclaim`] removes it like any other that holds nothing. Segments with something in the trash or in
//! quarantine wait until that is gone: its notes would have to be copied as well.
//!
//! Guarantees: a copy is durable before the index leads to it, and was checked against its address; it is the later record of its
//! shard, so after a crash at any moment either of the two is found, and nothing that was dropped comes back. Only segments are chosen that
//! can be removed afterwards: they name no shard that an older segment names as well. Nothing is kept of this but in memory: after
//! a restart what is left is found again.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::error::StoreError;
use super::index::{Entry, ShardKey, ShardState};
use super::reclaim::{NAMES, key_of};
use super::record::Place;
use super::segment::lock;
use super::shard::VerifiedShard;
use super::usage::check_room;
use super::write::disk_bytes;
use super::{Inner, Store};

/// A segment is rewritten when what lives in it is less than one of so many parts of the disk that it takes.
const PART: u64 = 4;

/// What [`Store::rewrite`] remembers between two calls.
#[derive(Debug, Default)]
pub(crate) struct Rewriter(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    left: VecDeque<(ShardKey, Place)>,
    last_look: Option<Instant>,
}

impl Store {
    /// Copies live shards out of mostly empty segments until so many bytes were copied, and at most one shard more; says how many.
    /// Stops early where there is no room.
    ///
    /// # Errors
    /// The disk's; what was not copied stays where it is.
    pub async fn rewrite(&self, most: u64) -> Result<u64, StoreError> {
        let mut moved = 0;
        while moved < most {
            let inner = Arc::clone(&self.inner);
            let next = tokio::task::spawn_blocking(move || inner.next_to_move());
            let Some((key, place)) = next.await.map_err(|_| StoreError::Stopped)?? else { break };
            match self.move_on(key, place).await {
                Ok(bytes) => moved += bytes,
                Err(StoreError::Full { .. }) => break, // it is found again
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }

    async fn move_on(&self, key: ShardKey, place: Place) -> Result<u64, StoreError> {
        let found = lock(&self.inner.index).get(&key);
        let Some(entry) = found.filter(|entry| entry.place == place && entry.state == ShardState::Live) else {
            return Ok(0);
        };
        match self.copy_of(key, entry).await {
            Ok(shard) => self.run_writer(move |inner| inner.move_here(key, entry, shard)).await,
            Err(StoreError::NotFound { .. }) => Ok(0), // it went meanwhile
            // To be judged by a scrub, which looks twice and puts it aside.
            Err(StoreError::AddressMismatch { .. } | StoreError::Io { .. }) => self.scrub(key).await.map(|_| 0),
            Err(error) => Err(error),
        }
    }
}

impl Inner {
    fn next_to_move(&self) -> Result<Option<(ShardKey, Place)>, StoreError> {
        let mut state = lock(&self.rewriter.0);
        let early = state.last_look.is_some_and(|last| last.elapsed() < self.options.rewrite_pause);
        if state.left.is_empty() && !early {
            state.left = self.movable()?;
            state.last_look = Some(Instant::now());
        }
        Ok(state.left.pop_front())
    }

    /// What lives in segments that are to be rewritten.
    fn movable(&self) -> Result<VecDeque<(ShardKey, Place)>, StoreError> {
        let numbers: BTreeSet<u32> = self.closed_segments()?;
        let sparse = lock(&self.index).sparse(self.options.segment.0 / PART);
        let is_worth_it = |(number, live): &(u32, u64)| {
            let takes = self.files.get(*number).and_then(|file| file.allocated()).unwrap_or(0);
            numbers.contains(number) && live.saturating_mul(PART) < takes
        };
        let (mut candidates, mut names) = (BTreeSet::new(), HashSet::new());
        for (number, _) in sparse.into_iter().filter(is_worth_it) {
            if names.len() >= NAMES {
                break; // the rest at the next look
            }
            let Some(records) = self.records_of(number) else { continue };
            names.extend(records.iter().map(|(_, record)| key_of(record)));
            candidates.insert(number);
        }
        let mut left = VecDeque::new();
        self.each_lonely(&numbers, &candidates, &names, |segment, records| {
            let index = lock(&self.index);
            let places = records.iter().map(|(page, record)| (key_of(record), Place { segment, page: *page }));
            left.extend(places.filter(|(key, place)| index.get(key).is_some_and(|entry| entry.place == *place)));
            Ok(false)
        })?;
        if !left.is_empty() {
            tracing::info!(shards = left.len(), segments = candidates.len(), "mostly empty segments are rewritten");
        }
        Ok(left)
    }

    fn move_here(&self, key: ShardKey, from: Entry, mut shard: VerifiedShard) -> Result<u64, StoreError> {
        let _turn = self.busy.enter(key);
        if lock(&self.index).get(&key) != Some(from) {
            return Ok(0); // it was dropped or put aside meanwhile
        }
        let bytes = disk_bytes(shard.len());
        check_room(self.free()?, bytes)?;
        let record = from.again(key);
        let place = self.appender.append(&record, &mut shard.pages())?;
        lock(&self.index).apply(place, &record);
        Ok(bytes)
    }
}
