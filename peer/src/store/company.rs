//! Company: shards that arrive at the same time find their addresses together, which takes SHA-1 half the time or less (see the
//! `lanes` crate).
//!
//! Whoever has enough bytes that are not in its address yet looks who else has, and takes them along; nobody waits for company longer
//! than [`ALONE`] bytes take to arrive. So the bytes are hashed while they arrive, and there is no thread or timer for it.
//!
//! Guarantees: what a shard's address comes to does not depend on who hashed it. Nobody waits for a lock of another shard while it
//! has its own; a shard whose lock is taken is passed over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::address::{Addresser, ShardAddress};

use super::buffer::Buffer;
use super::record::HEADER;

/// From so many bytes on, company is looked for: 0.1 ms for four shards.
const TOGETHER: usize = 128 << 10;
/// Each companion that is missing makes it wait for so many times as much,
const PATIENCE: usize = 3;
/// up to this much: 1 ms alone.
const ALONE: usize = 2 << 20;
/// Shards that are hashed together.
const SEATS: usize = 4;
/// Only whole blocks are hashed while more is to come.
const BLOCK: usize = 64;

/// A shard that arrives.
pub(crate) struct Arrival {
    /// Until it is finished.
    buffer: Option<Buffer>,
    addresser: Addresser,
    /// Bytes in the buffer, behind room for the header.
    filled: usize,
    /// Those of them that are in the address.
    addressed: usize,
}

impl Arrival {
    pub(crate) fn new(buffer: Buffer) -> Self {
        Self { buffer: Some(buffer), addresser: Addresser::new(), filled: 0, addressed: 0 }
    }

    /// Takes in the next bytes, which must fit.
    pub(crate) fn put(&mut self, piece: &[u8]) {
        if let Some(buffer) = &mut self.buffer {
            buffer.put(HEADER + self.filled, piece);
            self.filled += piece.len();
        }
    }

    fn waiting(&self) -> usize {
        self.filled - self.addressed
    }

    /// The next bytes to hash that lie in one run, and who takes them.
    fn next(&mut self, most: usize) -> (&mut Addresser, &[u8]) {
        let waiting = self.waiting().min(most);
        let run = self.buffer.as_ref().map(|buffer| buffer.run(HEADER + self.addressed)).unwrap_or_default();
        (&mut self.addresser, run.get(..waiting.min(run.len())).unwrap_or_default())
    }

    /// Hashes the rest; the bytes, once, and what their address is.
    pub(crate) fn finish(&mut self) -> Option<(Buffer, ShardAddress)> {
        while self.waiting() > 0 {
            let (addresser, bytes) = self.next(usize::MAX);
            let len = bytes.len();
            addresser.update(bytes);
            self.addressed += len;
            if len == 0 {
                return None; // more was put than it has room for
            }
        }
        Some((self.buffer.take()?, std::mem::take(&mut self.addresser).finish()))
    }
}

pub(crate) type Shared = Arc<Mutex<Arrival>>;

impl std::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arrival")
            .field("filled", &self.filled)
            .field("addressed", &self.addressed)
            .finish_non_exhaustive()
    }
}

/// All shards that arrive now.
#[derive(Debug, Default)]
pub(crate) struct Company(Mutex<Vec<Shared>>);

impl Company {
    pub(crate) fn join(&self, arrival: &Shared) {
        self.all().push(Arc::clone(arrival));
    }

    pub(crate) fn leave(&self, arrival: &Shared) {
        self.all().retain(|one| !Arc::ptr_eq(one, arrival));
    }

    fn all(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hashes what a shard has waiting with what others have: if it is much for so little company, or was the last of it.
    pub(crate) fn address(&self, arrival: &Shared, last: bool) {
        let mut own = lock(arrival);
        if !last && own.waiting() < TOGETHER {
            return;
        }
        let others: Vec<Shared> = self.all().iter().filter(|one| !Arc::ptr_eq(one, arrival)).cloned().collect();
        let mut seats: Vec<_> = others
            .iter()
            .filter_map(|one| one.try_lock().ok())
            .filter(|one| one.waiting() >= TOGETHER / 2)
            .take(SEATS - 1)
            .collect();
        let fewer = u32::try_from(SEATS - 1 - seats.len()).unwrap_or(0);
        if !last && own.waiting() < ALONE.min(TOGETHER * PATIENCE.pow(fewer)) {
            return;
        }
        let common = seats.iter().map(|one| one.waiting()).min().unwrap_or(usize::MAX);
        let most = common.min(own.waiting()) / BLOCK * BLOCK;
        hash(std::iter::once(&mut *own).chain(seats.iter_mut().map(|one| &mut **one)).collect(), most);
    }
}

/// Hashes up to `most` bytes of each, a multiple of [`BLOCK`].
fn hash(mut all: Vec<&mut Arrival>, most: usize) {
    let mut left = most;
    while left > 0 {
        let parts: Vec<_> = all.iter_mut().map(|one| one.next(left)).collect();
        let now = parts.iter().map(|(_, bytes)| bytes.len()).min().unwrap_or(0);
        if now == 0 {
            break;
        }
        let parts = parts.into_iter().map(|(to, bytes)| (to, bytes.get(..now).unwrap_or_default())).collect();
        Addresser::update_together(parts);
        all.iter_mut().for_each(|one| one.addressed += now);
        left -= now;
    }
}

pub(crate) fn lock(arrival: &Shared) -> MutexGuard<'_, Arrival> {
    arrival.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::buffer::{Pool, RUN};
    use super::*;

    fn content(len: usize, seed: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from((i * 31 + i / 251 + seed) % 256).unwrap()).collect()
    }

    #[tokio::test]
    async fn shards_that_arrive_by_turns_get_the_addresses_that_each_has_alone() {
        let pool = Pool::new(64 << 20);
        let company = Company::default();
        let contents: Vec<_> =
            [3 * RUN + 77, 2 * RUN, 5, 700 << 10, RUN - 1, 3 * RUN].map(|len| content(len, len)).into();
        let mut arrivals = Vec::new();
        for content in &contents {
            let buffer = pool.take(HEADER + content.len()).await.unwrap();
            arrivals.push(Arc::new(Mutex::new(Arrival::new(buffer))));
            company.join(arrivals.last().unwrap());
        }
        let mut hashed_early = false;
        for step in 0.. {
            let mut more = false;
            for (number, (arrival, content)) in arrivals.iter().zip(&contents).enumerate() {
                let mut own = lock(arrival);
                let piece = content[own.filled..].iter().take(6_451 + 100 * number).copied().collect::<Vec<_>>();
                own.put(&piece);
                more |= own.filled < content.len();
                drop(own);
                company.address(arrival, false);
                hashed_early |= lock(arrival).addressed > 0 && step > 0;
                assert!(lock(arrival).waiting() < ALONE + 7_000, "it waits for company for ever");
            }
            if !more {
                break;
            }
        }
        assert!(hashed_early, "nothing was hashed while it arrived");
        for (arrival, content) in arrivals.into_iter().zip(contents) {
            company.leave(&arrival);
            let (_, address) = lock(&arrival).finish().unwrap();
            assert_eq!(address, ShardAddress::of(&content));
        }
        assert!(company.all().is_empty());
    }
}
