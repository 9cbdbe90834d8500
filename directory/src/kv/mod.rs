//! Key-value storage: an ordered, transactional store of small values, behind one trait.
//!
//! - [`Store`]: `get` and `scan` from one snapshot, `commit(checks, writes)`; what every engine promises;
//! - [`memory`]: a map in memory with the same semantics and limits, for tests and models;
//! - [`embedded`]: the engine of one machine: a [`journal`] is the truth and is what is acknowledged, [`sled`] the index over it;
//! - [`folder`]: the data folder's lock, format and state.
//!
//! Every commit gets the next sequence number, and every entry carries the one of the commit that wrote it. Rebuilding the
//! index preserves it, so a version can be used in checks and in history for as long as the journal lives.
//!
//! Non-goals: phantom safety of `scan` (bump a parent's key instead), values larger than [`limits::VALUE_BYTES`].

pub mod embedded;
pub mod folder;
pub mod journal;
pub mod memory;
pub mod sled;

mod changes;
mod open;
mod reached;
mod recent;
mod writer;

#[cfg(test)]
mod tests;

pub use open::OpenError;

use std::error::Error;
use std::sync::Arc;

use common::boxed::Boxed;
use common::id::RequestId;
use common::limits::{self, KEY_BYTES, TRANSACTION_BYTES, TRANSACTION_WRITES, VALUE_BYTES};
use common::size::ByteSize;
use common::time::Timestamp;

/// Entries that one page of a scan has at most, whatever was asked for.
pub const SCAN_ENTRIES: usize = 8_192;
/// Keys and values of one page, together, after which it stops. One value always fits.
pub const SCAN_BYTES: usize = limits::TRANSACTION_BYTES;

/// A key with its value, as some commit wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// The sequence number of the commit that wrote it.
    pub version: u64,
}

/// What must hold for a commit to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub key: Vec<u8>,
    /// `None`: the key must be absent.
    pub version: Option<u64>,
}

/// One change. Of several to one key in a commit the last one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Put {
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        key: Vec<u8>,
    },
    /// Another value for the entry of this version, which stays as old as it is: for the same thing in another form. The commit must check
    /// that version.
    Amend {
        key: Vec<u8>,
        value: Vec<u8>,
        version: u64,
    },
}

impl Write {
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Delete { key } | Self::Amend { key, .. } => key,
        }
    }

    /// The version of its entry behind the commit of this sequence; `None` for none.
    fn version_after(&self, sequence: u64) -> Option<u64> {
        match self {
            Self::Put { .. } => Some(sequence),
            Self::Amend { version, .. } => Some(*version),
            Self::Delete { .. } => None,
        }
    }

    fn value_len(&self) -> usize {
        match self {
            Self::Put { value, .. } | Self::Amend { value, .. } => value.len(),
            Self::Delete { .. } => 0,
        }
    }
}

/// Who asked for a commit. What the kinds mean is the schema's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Actor {
    pub kind: u8,
    pub id: [u8; 16],
}

/// Who did it, when, and on which request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Meta {
    pub actor: Actor,
    pub time: Timestamp,
    pub request: Option<RequestId>,
    /// Whether it may use what is kept in reserve on a nearly full disk: what a start needs, and what gives space back. Not stored.
    pub essential: bool,
    /// What the checks say was read at this sequence or later, as [`Store::last_sequence`] told it before; `None` where nobody knows. Lets the store
    /// look at what was committed since, instead of at each key. Not stored.
    pub read_at: Option<u64>,
}

/// A part of a range.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Page {
    pub entries: Vec<Entry>,
    /// There are further entries in the range, behind the last one of this page.
    pub more: bool,
}

impl Page {
    /// Where the next page begins: right behind the last key.
    #[must_use]
    pub fn next(&self) -> Option<Vec<u8>> {
        let last = self.entries.last().filter(|_| self.more)?;
        let mut key = last.key.clone();
        key.push(0);
        Some(key)
    }
}

/// A cause that several waiting commits share.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// More than a limit of the store; the caller's fault, retry never.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {len} is outside 1 to {max}")]
pub struct OutOfBounds {
    pub what: &'static str,
    pub len: usize,
    pub max: usize,
}

/// Why a read gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("request exceeds the store's limits")]
    Limit(#[from] OutOfBounds),
    #[error("index cannot be read")]
    Index(#[source] Cause),
    #[error("entry of key {key:02x?} is malformed")]
    Malformed { key: Vec<u8> },
    #[error("store has stopped: {reason}")]
    Stopped { reason: String },
}

/// Why a commit did not happen, or may not have.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// Read again, decide again. `check` is the place in the list of the first check that failed.
    #[error("check {check} does not hold any more")]
    Conflict { check: usize },
    /// It may or may not have happened. Retry with the same request id once the store is back.
    #[error("outcome unknown")]
    Unknown(#[source] Cause),
    /// Later, when space was made.
    #[error("disk is full: {free} left, {reserve} kept in reserve")]
    StorageFull { free: ByteSize, reserve: ByteSize },
    #[error("commit exceeds the store's limits")]
    Limit(#[from] OutOfBounds),
    /// It did not happen.
    #[error("commit failed")]
    Failed(#[source] Cause),
    /// It did not happen, and no other will until the process was restarted.
    #[error("store takes no commits: {reason}")]
    Stopped { reason: String },
}

/// A boxed answer, so that the trait is object-safe. The embedded engines have it at once.
pub type Answer<'a, T> = Boxed<'a, T>;

/// An ordered, transactional key-value store.
///
/// Reads see only what is durable. After a commit was answered `Ok`, every later read sees it.
pub trait Store: Send + Sync + 'static {
    /// The entries of `keys`, in their order, all from one snapshot. At most [`limits::TRANSACTION_WRITES`] keys.
    fn get<'a>(&'a self, keys: &'a [&'a [u8]]) -> Answer<'a, Result<Vec<Option<Entry>>, StoreError>>;

    /// Entries from `from` (inclusive) to `to` (exclusive) in the order of their keys, from one snapshot: at most `limit`,
    /// [`SCAN_ENTRIES`] and about [`SCAN_BYTES`]. An empty or reversed range is empty.
    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Answer<'a, Result<Page, StoreError>>;

    /// As [`scan`](Self::scan), from the end of the range backwards: the entry with the last key is the first. [`Page::next`] is not for it.
    fn scan_back<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Answer<'a, Result<Page, StoreError>>;

    /// Applies all writes if all checks hold, and answers with the commit's sequence number once it is durable and visible.
    ///
    /// Not cancel-safe: a dropped future may or may not have committed, as with [`CommitError::Unknown`].
    fn commit(&self, checks: Vec<Check>, writes: Vec<Write>, meta: Meta) -> Answer<'_, Result<u64, CommitError>>;

    /// The sequence number of the last durable commit; 0 when there is none.
    fn last_sequence(&self) -> u64;
}

fn within(what: &'static str, len: usize, least: usize, max: usize) -> Result<(), OutOfBounds> {
    if len < least || len > max {
        return Err(OutOfBounds { what, len, max });
    }
    Ok(())
}

fn check_get(keys: &[&[u8]]) -> Result<(), OutOfBounds> {
    within("number of keys", keys.len(), 0, TRANSACTION_WRITES)
}

/// Checks a commit against the limits that all engines share; returns the bytes of its keys and values.
fn check_commit(checks: &[Check], writes: &[Write]) -> Result<usize, OutOfBounds> {
    within("number of checks", checks.len(), 0, TRANSACTION_WRITES)?;
    within("number of writes", writes.len(), 0, TRANSACTION_WRITES)?;
    let mut total = 0;
    for check in checks {
        within("length of a checked key", check.key.len(), 1, KEY_BYTES)?;
    }
    for write in writes {
        within("length of a key", write.key().len(), 1, KEY_BYTES)?;
        within("length of a value", write.value_len(), 0, VALUE_BYTES)?;
        total += write.key().len() + write.value_len();
        if let Write::Amend { key, version, .. } = write {
            let checked = checks.iter().any(|check| check.key == *key && check.version == Some(*version));
            within("checks of an amended version", usize::from(checked), 1, 1)?;
        }
    }
    within("bytes of a commit", total, 0, TRANSACTION_BYTES)?;
    Ok(total)
}

/// Collects a page until one of its limits is reached; shared by the engines so that they cut alike.
struct Pager {
    page: Page,
    limit: usize,
    bytes: usize,
}

impl Pager {
    fn new(limit: usize) -> Self {
        Self { page: Page::default(), limit: limit.min(SCAN_ENTRIES), bytes: 0 }
    }

    /// Whether the page takes one more entry of so many bytes; if not, it is marked as having more behind it.
    fn takes(&mut self, bytes: usize) -> bool {
        let full =
            self.page.entries.len() >= self.limit || (!self.page.entries.is_empty() && self.bytes + bytes > SCAN_BYTES);
        self.page.more |= full;
        self.bytes += bytes;
        !full
    }
}
