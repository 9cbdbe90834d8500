//! Status: how the cluster, or one account's part of it, is. Counted by going over the chunks, so it is what the store says.
//!
//! Going over a million chunks takes a second or two, so a count is shown again for ten times as long as it took: a
//! small cluster is always counted anew, and a large one is never busy with counting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::id::AccountId;
use tokio::sync::Mutex;

use crate::kv::{Store, StoreError};
use crate::members::Roster;
use crate::schema::key::{self, Range};
use crate::schema::{Chunk, RecordError, record};
use crate::transact::Stop;

const AT_ONCE: usize = 1_000;
/// How many times as long as it took a count is shown again.
const SHOWN_FOR: u32 = 10;

/// A store that cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    #[error("the store cannot be read")]
    Store(#[from] StoreError),
    #[error("the store holds a record that cannot be read")]
    Record(#[from] RecordError),
    #[error("records of different moments do not fit together")]
    Torn,
}

impl From<Stop> for CountError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Store(error) => Self::Store(error),
            Stop::Record(error) => Self::Record(error),
            Stop::Refused(_) | Stop::Torn => Self::Torn,
        }
    }
}

/// Figures of one account, or the sum of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    pub chunks: u64,
    pub sealed_bytes: u64,
    /// Chunks with fewer than n shards on peers that are not dead.
    pub degraded: u64,
    /// Of these, those with fewer than k.
    pub unreadable: u64,
    pub pending: u64,
    pub devices: u64,
}

/// What one count found.
#[derive(Debug, Default)]
pub struct Counts {
    accounts: HashMap<AccountId, Figures>,
    pub all: Figures,
    pub total_accounts: u64,
}

impl Counts {
    #[must_use]
    pub fn of(&self, account: AccountId) -> Figures {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    fn add(&mut self, account: AccountId, change: impl Fn(&mut Figures)) {
        change(&mut self.all);
        change(self.accounts.entry(account).or_default());
    }
}

struct Last {
    counts: Arc<Counts>,
    at: Instant,
    took: Duration,
}

/// Counts, and remembers what it counted for a while. One count runs at a time.
#[derive(Default)]
pub struct Counter(Mutex<Option<Last>>);

impl Counter {
    /// # Errors
    /// When the store cannot be read.
    pub async fn counts(&self, store: &Arc<dyn Store>, roster: &Roster) -> Result<Arc<Counts>, CountError> {
        let mut last = self.0.lock().await; // held while counting: whoever comes meanwhile waits for this very count
        if let Some(last) = &*last
            && last.at.elapsed() < last.took * SHOWN_FOR
        {
            return Ok(last.counts.clone());
        }
        let begun = Instant::now();
        let counts = Arc::new(count(store.as_ref(), roster).await?);
        *last = Some(Last { counts: counts.clone(), at: Instant::now(), took: begun.elapsed() });
        Ok(counts)
    }
}

async fn count(store: &dyn Store, roster: &Roster) -> Result<Counts, CountError> {
    let mut counts = Counts::default();
    each(store, &key::chunks(), |key, value| {
        let (account, _) = key::ids_of_chunk(key)?;
        let chunk: Chunk = record::decode(value)?;
        let alive = chunk.alive(|peer| roster.is_alive(peer));
        counts.add(account, |figures| {
            figures.chunks += 1;
            figures.sealed_bytes += u64::from(chunk.sealed_len);
            figures.degraded += u64::from(alive < chunk.redundancy.n());
            figures.unreadable += u64::from(alive < chunk.redundancy.k());
        });
        Ok(())
    })
    .await?;
    each(store, &key::all_pending(), |key, value| {
        let (account, _) = key::ids_of_pending(key)?;
        let pending: crate::schema::Pending = record::decode(value)?;
        if !pending.ending {
            counts.add(account, |figures| figures.pending += 1);
        }
        Ok(())
    })
    .await?;
    each(store, &key::devices(), |_, value| {
        let device: crate::schema::Device = record::decode(value)?;
        if device.revoked.is_none() {
            counts.add(device.account, |figures| figures.devices += 1);
        }
        Ok(())
    })
    .await?;
    each(store, &key::accounts(), |_, _| {
        counts.total_accounts += 1;
        Ok(())
    })
    .await?;
    Ok(counts)
}

/// Visits a whole range, page by page.
///
/// # Errors
/// When the store cannot be read, or the visitor says so.
pub async fn each<R>(
    store: &dyn Store,
    range: &Range<R>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), RecordError>,
) -> Result<(), CountError> {
    let mut from = range.from.clone();
    loop {
        let page = store.scan(&from, &range.to, AT_ONCE).await?;
        for entry in &page.entries {
            visit(&entry.key, &entry.value)?;
        }
        let Some(next) = page.next() else { return Ok(()) };
        from = next;
    }
}
