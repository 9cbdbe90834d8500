//! Keys: one prefix byte a table, then fixed-length ids, numbers big-endian, so that the order of the bytes is the order that is meant.
//!
//! The only place that makes keys. Those of an account begin with its id behind the table's byte, so that no range of one account
//! can reach into another's. Prefixes are never used again for something else.

mod shares;
mod then;

use std::marker::PhantomData;

use common::address::ShardAddress;
use common::id::{AccountId, ChunkId, DeviceId, NameToken, NodeId, PeerId, RequestId, TicketId, VersionId};
use common::time::Timestamp;

use super::record::RecordError;
use super::{
    Account, Chunk, Cluster, Device, Done, Entry, Fence, Generation, Held, Hold, Mark, Node, Page, Peer, Pending,
    Recode, Start, Ticket, Version,
};

pub use shares::*;
pub use then::*;

/// A key, and what is stored under it.
pub struct Key<R> {
    bytes: Vec<u8>,
    record: PhantomData<fn() -> R>,
}

impl<R> Key<R> {
    fn new(table: u8, parts: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
        bytes.push(table);
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Self { bytes, record: PhantomData }
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl<R> Clone for Key<R> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), record: PhantomData }
    }
}

/// All keys from `from` (inclusive) to `to` (exclusive).
pub struct Range<R> {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
    record: PhantomData<fn() -> R>,
}

impl<R> Range<R> {
    fn within(table: u8, parts: &[&[u8]]) -> Self {
        let from = Key::<R>::new(table, parts).bytes;
        let mut to = from.clone();
        // The first key behind all that begin with `from`; a table's byte is never 0xff, so this always ends.
        while let Some(last) = to.pop() {
            if last < u8::MAX {
                to.push(last + 1);
                break;
            }
        }
        Self { from, to, record: PhantomData }
    }

    /// The part of it behind a key.
    #[must_use]
    pub fn behind(mut self, key: &[u8]) -> Self {
        self.from = key.to_vec();
        self.from.push(0);
        self
    }
}

/// The tables. Append-only.
mod table {
    pub(super) const META: u8 = 0x01;
    pub(super) const ACCOUNT: u8 = 0x02;
    pub(super) const ACCOUNT_NAME: u8 = 0x03;
    pub(super) const DEVICE: u8 = 0x04;
    pub(super) const PEER: u8 = 0x05;
    pub(super) const TICKET: u8 = 0x06;
    pub(super) const MOMENT: u8 = 0x07;
    pub(super) const DONE: u8 = 0x08;
    pub(super) const DONE_AT: u8 = 0x09;
    pub(super) const ENTRY: u8 = 0x10;
    pub(super) const ENTRY_HISTORY: u8 = 0x11;
    pub(super) const NODE: u8 = 0x12;
    pub(super) const NODE_HISTORY: u8 = 0x13;
    pub(super) const GUARD: u8 = 0x14;
    pub(super) const VERSION: u8 = 0x20;
    pub(super) const PAGE: u8 = 0x21;
    pub(super) const PENDING: u8 = 0x22;
    pub(super) const HOLD: u8 = 0x23;
    pub(super) const CHUNK: u8 = 0x28;
    pub(super) const CHUNK_HISTORY: u8 = 0x29;
    pub(super) const REFERENCE: u8 = 0x2a;
    pub(super) const HELD: u8 = 0x2b;
    pub(super) const REPAIR: u8 = 0x2c;
    pub(super) const COLLECT: u8 = 0x2d;
    pub(super) const RECODE: u8 = 0x2e;
    pub(super) const CHANGE: u8 = 0x30;
    pub(super) const SNAPSHOT: u8 = 0x32;
    pub(super) const GOING: u8 = 0x33;
    pub(super) const USAGE: u8 = 0x34;
    pub(super) const QUOTA: u8 = 0x35;
    pub(super) const RING: u8 = 0x36;
    pub(super) const CONFLICT: u8 = 0x37;
    pub(super) const SHARE: u8 = 0x38;
    pub(super) const SHARE_OF: u8 = 0x39;
    pub(super) const SHARE_GUESTS: u8 = 0x3a;
    pub(super) const CONTENT: u8 = 0x3e;
    pub(super) const PACKED: u8 = 0x3f;
}

#[must_use]
pub fn cluster() -> Key<Cluster> {
    Key::new(table::META, &[&[1]])
}

#[must_use]
pub fn generation() -> Key<Generation> {
    Key::new(table::META, &[&[2]])
}

/// How a generation began.
#[must_use]
pub fn start(generation: u64) -> Key<Start> {
    Key::new(table::META, &[&[3], &generation.to_be_bytes()])
}

/// That this store is older than what peers have seen.
#[must_use]
pub fn fence() -> Key<Fence> {
    Key::new(table::META, &[&[4]])
}

#[must_use]
pub fn account(account: AccountId) -> Key<Account> {
    Key::new(table::ACCOUNT, &[&account.0])
}

#[must_use]
pub fn accounts() -> Range<Account> {
    Range::within(table::ACCOUNT, &[])
}

/// The id of the account with this name.
#[must_use]
pub fn account_name(name: &str) -> Key<super::account::Named> {
    Key::new(table::ACCOUNT_NAME, &[name.as_bytes()])
}

#[must_use]
pub fn device(device: DeviceId) -> Key<Device> {
    Key::new(table::DEVICE, &[&device.0])
}

#[must_use]
pub fn devices() -> Range<Device> {
    Range::within(table::DEVICE, &[])
}

#[must_use]
pub fn peer(peer: PeerId) -> Key<Peer> {
    Key::new(table::PEER, &[&peer.0])
}

#[must_use]
pub fn peers() -> Range<Peer> {
    Range::within(table::PEER, &[])
}

#[must_use]
pub fn ticket(ticket: TicketId) -> Key<Ticket> {
    Key::new(table::TICKET, &[&ticket.0])
}

#[must_use]
pub fn tickets() -> Range<Ticket> {
    Range::within(table::TICKET, &[])
}

/// The sequence at a time: that of the commit that wrote the mark.
#[must_use]
pub fn moment(at: Timestamp) -> Key<Mark> {
    Key::new(table::MOMENT, &[&at.0.to_be_bytes()])
}

#[must_use]
pub fn moments() -> Range<Mark> {
    Range::within(table::MOMENT, &[])
}

/// What a caller was answered to a request.
#[must_use]
pub fn done(caller: [u8; 16], request: RequestId) -> Key<Done> {
    Key::new(table::DONE, &[&caller, &request.0])
}

/// The same requests in the order of time, for their expiry.
#[must_use]
pub fn done_at(at: Timestamp, caller: [u8; 16], request: RequestId) -> Key<Mark> {
    Key::new(table::DONE_AT, &[&at.0.to_be_bytes(), &caller, &request.0])
}

/// All requests that were answered before this time.
#[must_use]
pub fn done_before(at: Timestamp) -> Range<Mark> {
    let mut range = Range::within(table::DONE_AT, &[]);
    range.to = Key::<Mark>::new(table::DONE_AT, &[&at.0.to_be_bytes()]).bytes;
    range
}

#[must_use]
pub fn entry(account: AccountId, folder: NodeId, token: NameToken) -> Key<Entry> {
    Key::new(table::ENTRY, &[&account.0, &folder.0, &token.0])
}

#[must_use]
pub fn entries(account: AccountId, folder: NodeId) -> Range<Entry> {
    Range::within(table::ENTRY, &[&account.0, &folder.0])
}

/// What an entry was from the sequence `since` until the sequence of the commit that wrote this.
#[must_use]
pub fn entry_history(account: AccountId, folder: NodeId, token: NameToken, since: u64) -> Key<Entry> {
    Key::new(table::ENTRY_HISTORY, &[&account.0, &folder.0, &token.0, &since.to_be_bytes()])
}

#[must_use]
pub fn node(account: AccountId, node: NodeId) -> Key<Node> {
    Key::new(table::NODE, &[&account.0, &node.0])
}

/// What a node was from the sequence `since` until the sequence of the commit that wrote this.
#[must_use]
pub fn node_history(account: AccountId, node: NodeId, since: u64) -> Key<Node> {
    Key::new(table::NODE_HISTORY, &[&account.0, &node.0, &since.to_be_bytes()])
}

/// Written with every entry that appears in or leaves a folder.
#[must_use]
pub fn guard(account: AccountId, folder: NodeId) -> Key<Mark> {
    Key::new(table::GUARD, &[&account.0, &folder.0])
}

#[must_use]
pub fn version(account: AccountId, version: VersionId) -> Key<Version> {
    Key::new(table::VERSION, &[&account.0, &version.0])
}

#[must_use]
pub fn page(account: AccountId, version: VersionId, page: u32) -> Key<Page> {
    Key::new(table::PAGE, &[&account.0, &version.0, &page.to_be_bytes()])
}

/// The pages of a version, from one on.
#[must_use]
pub fn pages(account: AccountId, version: VersionId, first: u32) -> Range<Page> {
    let mut range = Range::within(table::PAGE, &[&account.0, &version.0]);
    range.from = page(account, version, first).bytes;
    range
}

#[must_use]
pub fn pending(account: AccountId, upload: VersionId) -> Key<Pending> {
    Key::new(table::PENDING, &[&account.0, &upload.0])
}

#[must_use]
pub fn all_pending() -> Range<Pending> {
    Range::within(table::PENDING, &[])
}

#[must_use]
pub fn pending_of(account: AccountId) -> Range<Pending> {
    Range::within(table::PENDING, &[&account.0])
}

/// That a pending version holds a chunk: the counterpart of [`reference`], in the order of the versions.
#[must_use]
pub fn hold(account: AccountId, upload: VersionId, chunk: ChunkId) -> Key<Hold> {
    Key::new(table::HOLD, &[&account.0, &upload.0, &chunk.0])
}

#[must_use]
pub fn holds(account: AccountId, upload: VersionId) -> Range<Hold> {
    Range::within(table::HOLD, &[&account.0, &upload.0])
}

#[must_use]
pub fn chunk(account: AccountId, chunk: ChunkId) -> Key<Chunk> {
    Key::new(table::CHUNK, &[&account.0, &chunk.0])
}

#[must_use]
pub fn chunks() -> Range<Chunk> {
    Range::within(table::CHUNK, &[])
}

/// What a chunk's record was before it was replaced by one of other shards.
#[must_use]
pub fn chunk_history(account: AccountId, chunk: ChunkId, since: u64) -> Key<Chunk> {
    Key::new(table::CHUNK_HISTORY, &[&account.0, &chunk.0, &since.to_be_bytes()])
}

/// That a version, committed or pending, needs a chunk.
#[must_use]
pub fn reference(account: AccountId, chunk: ChunkId, version: VersionId) -> Key<Mark> {
    Key::new(table::REFERENCE, &[&account.0, &chunk.0, &version.0])
}

#[must_use]
pub fn references(account: AccountId, chunk: ChunkId) -> Range<Mark> {
    Range::within(table::REFERENCE, &[&account.0, &chunk.0])
}

/// That a peer holds a shard, in the order in which the peer lists them.
#[must_use]
pub fn held(peer: PeerId, account: AccountId, address: ShardAddress) -> Key<Held> {
    Key::new(table::HELD, &[&peer.0, &account.0, &address.0])
}

#[must_use]
pub fn held_by(peer: PeerId) -> Range<Held> {
    Range::within(table::HELD, &[&peer.0])
}

/// That a chunk has fewer shards than it should.
#[must_use]
pub fn repair(account: AccountId, chunk: ChunkId) -> Key<Mark> {
    Key::new(table::REPAIR, &[&account.0, &chunk.0])
}

#[must_use]
pub fn repairs() -> Range<Mark> {
    Range::within(table::REPAIR, &[])
}

/// That a chunk may have lost its last reference.
#[must_use]
pub fn collect(account: AccountId, chunk: ChunkId) -> Key<Mark> {
    Key::new(table::COLLECT, &[&account.0, &chunk.0])
}

#[must_use]
pub fn collects() -> Range<Mark> {
    Range::within(table::COLLECT, &[])
}

/// That a chunk is to be kept at another redundancy.
#[must_use]
pub fn recode(account: AccountId, chunk: ChunkId) -> Key<Recode> {
    Key::new(table::RECODE, &[&account.0, &chunk.0])
}

#[must_use]
pub fn recodes() -> Range<Recode> {
    Range::within(table::RECODE, &[])
}

/// All versions, pages and references, for who checks the whole store.
#[must_use]
pub fn all_versions() -> Range<Version> {
    Range::within(table::VERSION, &[])
}

#[must_use]
pub fn all_pages() -> Range<Page> {
    Range::within(table::PAGE, &[])
}

#[must_use]
pub fn all_references() -> Range<Mark> {
    Range::within(table::REFERENCE, &[])
}

#[must_use]
pub fn all_held() -> Range<Held> {
    Range::within(table::HELD, &[])
}

#[must_use]
pub fn all_holds() -> Range<Hold> {
    Range::within(table::HOLD, &[])
}

#[must_use]
pub fn all_entries() -> Range<Entry> {
    Range::within(table::ENTRY, &[])
}

#[must_use]
pub fn all_nodes() -> Range<Node> {
    Range::within(table::NODE, &[])
}

/// What a chunk's record was at earlier times.
#[must_use]
pub fn chunk_histories(account: AccountId, chunk: ChunkId) -> Range<Chunk> {
    Range::within(table::CHUNK_HISTORY, &[&account.0, &chunk.0])
}

/// Splits a key into its ids: the table's byte is skipped, and there must be nothing left.
fn parts<const A: usize, const B: usize>(key: &[u8], table: &'static str) -> Result<([u8; A], [u8; B]), RecordError> {
    let refuse = || RecordError::Key { table };
    let (first, rest) = key.get(1..).and_then(<[u8]>::split_first_chunk).ok_or_else(refuse)?;
    let second = rest.try_into().map_err(|_| refuse())?;
    Ok((*first, second))
}

fn last<const A: usize>(key: &[u8], table: &'static str) -> Result<[u8; A], RecordError> {
    key.last_chunk().copied().ok_or(RecordError::Key { table })
}

/// # Errors
/// Unless it is a key of the table; likewise for those that follow.
pub fn token_of_entry(key: &[u8]) -> Result<NameToken, RecordError> {
    last(key, "entry").map(NameToken)
}

/// # Errors
/// As above.
pub fn page_of_page(key: &[u8]) -> Result<u32, RecordError> {
    last(key, "page").map(u32::from_be_bytes)
}

/// # Errors
/// As above.
pub fn id_of_peer(key: &[u8]) -> Result<PeerId, RecordError> {
    last(key, "peer").map(PeerId)
}

/// # Errors
/// As above.
pub fn id_of_device(key: &[u8]) -> Result<DeviceId, RecordError> {
    last(key, "device").map(DeviceId)
}

/// # Errors
/// As above.
pub fn ids_of_pending(key: &[u8]) -> Result<(AccountId, VersionId), RecordError> {
    parts(key, "pending").map(|(account, upload)| (AccountId(account), VersionId(upload)))
}

/// # Errors
/// As above.
pub fn id_of_ticket(key: &[u8]) -> Result<TicketId, RecordError> {
    last(key, "ticket").map(TicketId)
}

/// # Errors
/// As above.
pub fn time_of_moment(key: &[u8]) -> Result<Timestamp, RecordError> {
    last(key, "moment").map(|at| Timestamp(u64::from_be_bytes(at)))
}

/// # Errors
/// As above.
pub fn chunk_of_hold(key: &[u8]) -> Result<ChunkId, RecordError> {
    last(key, "hold").map(ChunkId)
}

/// # Errors
/// As above.
pub fn ids_of_held(key: &[u8]) -> Result<(PeerId, AccountId, ShardAddress), RecordError> {
    let refuse = || RecordError::Key { table: "held shard" };
    let (peer, rest) = key.get(1..).and_then(<[u8]>::split_first_chunk).ok_or_else(refuse)?;
    let (account, rest) = rest.split_first_chunk().ok_or_else(refuse)?;
    let address = rest.try_into().map_err(|_| refuse())?;
    Ok((PeerId(*peer), AccountId(*account), ShardAddress(address)))
}

/// The ids of a reference's key.
///
/// # Errors
/// As above.
pub fn ids_of_reference(key: &[u8]) -> Result<(AccountId, ChunkId, VersionId), RecordError> {
    let refuse = || RecordError::Key { table: "reference" };
    let (account, rest) = key.get(1..).and_then(<[u8]>::split_first_chunk).ok_or_else(refuse)?;
    let (chunk, rest) = rest.split_first_chunk().ok_or_else(refuse)?;
    let version = rest.try_into().map_err(|_| refuse())?;
    Ok((AccountId(*account), ChunkId(*chunk), VersionId(version)))
}

/// The ids of a page's key: account, version, page.
///
/// # Errors
/// As above.
pub fn ids_of_page(key: &[u8]) -> Result<(AccountId, VersionId, u32), RecordError> {
    let refuse = || RecordError::Key { table: "page" };
    let (account, rest) = key.get(1..).and_then(<[u8]>::split_first_chunk).ok_or_else(refuse)?;
    let (version, rest) = rest.split_first_chunk().ok_or_else(refuse)?;
    let page = rest.try_into().map_err(|_| refuse())?;
    Ok((AccountId(*account), VersionId(*version), u32::from_be_bytes(page)))
}

/// The ids of a hold's key: account, pending version, chunk.
///
/// # Errors
/// As above.
pub fn ids_of_hold(key: &[u8]) -> Result<(AccountId, VersionId, ChunkId), RecordError> {
    let refuse = || RecordError::Key { table: "hold" };
    let (account, rest) = key.get(1..).and_then(<[u8]>::split_first_chunk).ok_or_else(refuse)?;
    let (upload, rest) = rest.split_first_chunk().ok_or_else(refuse)?;
    let chunk = rest.try_into().map_err(|_| refuse())?;
    Ok((AccountId(*account), VersionId(*upload), ChunkId(chunk)))
}

/// The ids of a key that is an account's and one thing's: of a version, a node, a repair or collection mark.
///
/// # Errors
/// As above.
pub fn ids_of_version(key: &[u8]) -> Result<(AccountId, VersionId), RecordError> {
    parts(key, "version").map(|(account, version)| (AccountId(account), VersionId(version)))
}

/// # Errors
/// As above.
pub fn ids_of_chunk(key: &[u8]) -> Result<(AccountId, ChunkId), RecordError> {
    parts(key, "chunk").map(|(account, chunk)| (AccountId(account), ChunkId(chunk)))
}

/// # Errors
/// As above.
pub fn ids_of_done_at(key: &[u8]) -> Result<(Timestamp, [u8; 16], RequestId), RecordError> {
    let refuse = || RecordError::Key { table: "done by time" };
    let (at, ids) = key.get(1..).and_then(<[u8]>::split_first_chunk::<8>).ok_or_else(refuse)?;
    let (caller, request) = ids.split_first_chunk::<16>().ok_or_else(refuse)?;
    let request = RequestId::from_slice(request).ok_or_else(refuse)?;
    Ok((Timestamp(u64::from_be_bytes(*at)), *caller, request))
}

mod past;
pub use past::*;
mod sealed;
pub use sealed::*;
mod content;
pub use content::{all_contents, all_packed, content, ids_of_content, ids_of_packed, packed, packed_in, versions};

#[cfg(test)]
mod tests;
