//! Work: what the directory does by itself so that nothing is lost and nothing is kept for nobody.
//!
//! - [`plan`]: what one chunk needs, a pure function;
//! - [`repair`]: has shards made, the most endangered chunk's first; moves them off peers that are emptied; makes chunks anew at another
//!   redundancy; and fills new peers gradually;
//! - [`compare`]: finds out where the store and a peer's inventory differ; [`audit`]: fetches shards at random and looks at them;
//! - [`collect`]: forgets chunks that nothing references; [`orphans`]: has shards dropped that are nobody's;
//! - [`keep`]: releases what pruned versions referred to, and prunes by the cluster's policy;
//! - [`check`]: holds every record against every other; [`reconcile`]: accepts a restored store.
//!
//! None of them keeps anything durable of its own: what is to be done follows from the store and from what the peers have, so each begins
//! again after a restart. Nothing here goes by the wall clock.

pub mod audit;
pub mod check;
pub mod collect;
pub mod compare;
pub mod keep;
pub mod orphans;
pub mod plan;
pub mod reconcile;
pub mod repair;
pub mod walk;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::id::PeerId;
use common::keep::KeepPolicy;
use common::proto::directory::Upkeep;
use common::size::ByteSize;
use common::time::Timestamp;

/// How the work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What repair and moves may read and write on peers in a second, all together; `None`: as much as they can.
    pub rate: Option<ByteSize>,
    /// How often each peer's inventory is compared.
    pub compare_every: Duration,
    /// How often a shard is fetched and looked at, of one peer after the other.
    pub audit_every: Duration,
    /// How often it is looked what there is to do.
    pub round: Duration,
    /// What of history is kept when the directory prunes by itself; `None`: all of it.
    pub keep: Option<KeepPolicy>,
    /// How often it prunes, where it does.
    pub prune_every: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // A Gbit/s line is half used by it.
            rate: Some(ByteSize::mib(64)),
            compare_every: Duration::from_secs(3600),
            audit_every: Duration::from_secs(10),
            round: Duration::from_secs(1),
            // Nobody loses history that he did not say he could do without.
            keep: None,
            prune_every: Duration::from_secs(3600),
        }
    }
}

/// Whether the settings can be meant.
///
/// # Errors
/// The sentence that says what is wrong.
pub fn check_settings(settings: &Settings) -> Result<(), &'static str> {
    if settings.compare_every.is_zero() || settings.audit_every.is_zero() {
        return Err("--compare-every and --audit-every must be more than nothing");
    }
    if settings.prune_every.is_zero() {
        return Err("--prune-every must be more than nothing");
    }
    Ok(())
}

/// What is known of a peer beside what it says itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Finding {
    pub compared: Option<Timestamp>,
    /// Since it is online this time, its inventory was compared.
    pub verified: bool,
    pub missing: u64,
    pub unknown: u64,
    pub registered: Option<u64>,
    pub audited: Option<Timestamp>,
    pub audits: u64,
    pub audits_failed: u64,
}

/// What the workers share, and status shows.
#[derive(Debug)]
pub struct Work {
    pub settings: Settings,
    findings: Mutex<HashMap<PeerId, Finding>>,
    /// Peers whose inventories are to be compared soon.
    due: Mutex<HashSet<PeerId>>,
    /// Shards that are being made and not noted yet, by turn.
    makes: Mutex<Makes>,
    /// Bytes made, each with its time, for the rate over the last minute.
    recent: Mutex<Vec<(Instant, u64)>>,
    pub waiting: AtomicU64,
    waiting_bytes: AtomicU64,
    pub under_way: AtomicU32,
    pub made: AtomicU64,
    pub made_bytes: AtomicU64,
    pub failed: AtomicU64,
    pub collected: AtomicU64,
    pub dropped: AtomicU64,
    /// Nothing was found to do in the last whole look.
    pub idle: AtomicBool,
    /// The store is older than what some peer has seen.
    pub fenced: AtomicBool,
}

#[derive(Debug, Default)]
struct Makes {
    next: u64,
    under_way: BTreeSet<u64>,
}

/// A shard is being made until this is dropped: from before its maker is asked until after it was noted.
#[derive(Debug)]
pub struct Making<'a> {
    work: &'a Work,
    turn: u64,
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.work.makes().under_way.remove(&self.turn);
    }
}

/// What the rate is taken over.
const RATE_OVER: Duration = Duration::from_secs(60);

impl Work {
    #[must_use]
    pub fn new(settings: Settings, fenced: bool) -> Self {
        Self {
            settings,
            findings: Mutex::default(),
            due: Mutex::default(),
            makes: Mutex::default(),
            recent: Mutex::default(),
            waiting: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
            under_way: AtomicU32::new(0),
            made: AtomicU64::new(0),
            made_bytes: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            collected: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            idle: AtomicBool::new(false),
            fenced: AtomicBool::new(fenced),
        }
    }

    fn findings(&self) -> MutexGuard<'_, HashMap<PeerId, Finding>> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn finding(&self, peer: PeerId) -> Finding {
        self.findings().get(&peer).copied().unwrap_or_default()
    }

    /// Notes something about a peer.
    pub fn note(&self, peer: PeerId, note: impl FnOnce(&mut Finding)) {
        note(self.findings().entry(peer).or_default());
    }

    /// Has a peer's inventory compared soon.
    pub fn ask_to_compare(&self, peer: PeerId) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
    }

    fn take_due(&self) -> HashSet<PeerId> {
        std::mem::take(&mut *self.due.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn makes(&self) -> MutexGuard<'_, Makes> {
        self.makes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held while a shard is made that no record names yet.
    #[must_use]
    pub fn making(&self) -> Making<'_> {
        let mut makes = self.makes();
        makes.next += 1;
        let turn = makes.next;
        makes.under_way.insert(turn);
        Making { work: self, turn }
    }

    /// The turn of the last shard whose making has begun.
    #[must_use]
    pub fn last_turn(&self) -> u64 {
        self.makes().next
    }

    /// Whether something is still being made that was begun by that turn.
    #[must_use]
    pub fn is_making_of(&self, turn: u64) -> bool {
        self.makes().under_way.first().is_some_and(|first| *first <= turn)
    }

    /// A shard was made.
    fn has_made(&self, bytes: u64, now: Instant) {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.made_bytes.fetch_add(bytes, Ordering::Relaxed);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(at, _)| now.saturating_duration_since(*at) < RATE_OVER);
        recent.push((now, bytes));
    }

    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Relaxed)
    }

    /// For people.
    #[must_use]
    pub fn upkeep(&self, online: &[PeerId], now: Instant) -> Upkeep {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let rate = {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let within: Vec<_> =
                recent.iter().filter(|(at, _)| now.saturating_duration_since(*at) < RATE_OVER).collect();
            let since = within.first().map_or(0, |(at, _)| now.saturating_duration_since(*at).as_secs());
            within.iter().map(|(_, bytes)| bytes).sum::<u64>() / since.max(1)
        };
        let (waiting, under_way) = (load(&self.waiting), self.under_way.load(Ordering::Relaxed));
        let to_go_s = load(&self.waiting_bytes).checked_div(rate).filter(|_| waiting > 0);
        let verified = online.iter().all(|peer| self.finding(*peer).verified)
            && waiting == 0
            && under_way == 0
            && self.idle.load(Ordering::Relaxed);
        Upkeep {
            waiting,
            under_way,
            made: load(&self.made),
            made_bytes: load(&self.made_bytes),
            failed: load(&self.failed),
            rate,
            to_go_s,
            collected: load(&self.collected),
            dropped: load(&self.dropped),
            verified,
            fenced: self.is_fenced(),
        }
    }
}
