//! Recover: from a data folder to an index. Runs at every start and needs no hand.
//!
//! 1. The `format` file says whose folder it is, and that this program can read it.
//! 2. Segments in the order of their numbers: a valid hint is taken as it is; where there is a damaged one the headers
//!    are scanned; where there is none the segment was not closed, so bodies are checked, what is broken is made void, and the
//!    rest is synced before it counts.
//! 3. Writing goes on in a new segment: nothing is ever appended behind a tail of unknown state.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use common::address::ShardAddress;
use common::id::{AccountId, ClusterId, PeerId};

use super::buffer::Aligned;
use super::disk::{Disk, DiskFile, HINTS, SEGMENTS};
use super::error::StoreError;
use super::hint::{self, Found};
use super::index::Index;
use super::record::{FORMAT, Kind, PAGE, Place, SegmentHeader, Unreadable, check_version, field, put};
use super::scan::{Bodies, Scan, scan};
use super::segment::{hint_name, segment_name, write_hint, write_void};

const FORMAT_FILE: &str = "format";
const FORMAT_MAGIC: &[u8; 8] = b"SHOALSTO";
const FORMAT_BYTES: usize = 48;

/// What a start found, for the log and for tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    pub segments: u32,
    /// Segments without a usable hint.
    pub scanned: u32,
    /// Writes that had not become whole, never acknowledged; or bodies that decayed in a segment that was not closed.
    pub void_records: u32,
    pub damaged_pages: u32,
    /// Segments whose both headers are unreadable; they stay untouched, and their shards are missing.
    pub unreadable_segments: u32,
}

/// Everything a store starts from.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub index: Index,
    pub used: u64,
    pub next_segment: u32,
    pub recovery: Recovery,
}

/// Blocking: a hint a segment is read, or the segment.
pub(crate) fn recover(disk: &Arc<dyn Disk>, cluster: ClusterId, peer: PeerId) -> Result<Recovered, StoreError> {
    let names = disk.list(SEGMENTS).map_err(io_at(disk, SEGMENTS))?;
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| name.strip_suffix(".seg")?.parse().ok()).collect();
    numbers.sort_unstable();
    check_format(disk, cluster, peer, numbers.is_empty())?;
    let mut recovered = Recovered { next_segment: 1, ..Recovered::default() };
    remove_orphans(disk, &numbers);
    for number in numbers {
        recovered.next_segment = number.saturating_add(1);
        recover_segment(disk, (cluster, peer), number, &mut recovered)?;
    }
    let Recovery { segments, scanned, void_records, damaged_pages, unreadable_segments } = recovered.recovery;
    tracing::info!(segments, scanned, void_records, damaged_pages, unreadable_segments, "the shard store is open");
    Ok(recovered)
}

/// For each shard up to where its bodies are of no use any more: they were purged, or the shard was written again behind them.
fn what_is_over(records: &[Found], segment: u32) -> HashMap<(AccountId, ShardAddress), Place> {
    let mut over = HashMap::new();
    for (page, record) in records {
        let until = match record.kind {
            Kind::Purged => record.target,
            Kind::Shard => Place { segment, page: page.saturating_sub(1) },
            _ => continue,
        };
        let known = over.entry((record.account, record.address)).or_insert(until);
        *known = until.max(*known);
    }
    over
}

/// A hint whose segment was removed must not be found by a later segment of the same number.
fn remove_orphans(disk: &Arc<dyn Disk>, numbers: &[u32]) {
    for name in disk.list(HINTS).unwrap_or_default() {
        let number = name.strip_suffix(".hint").and_then(|number| number.parse::<u32>().ok());
        if number.is_some_and(|number| numbers.binary_search(&number).is_err()) {
            let _ = disk.remove(&format!("{HINTS}/{name}")); // its salt is another's, so nothing in it is believed
        }
    }
}

fn io_at(disk: &Arc<dyn Disk>, name: &str) -> impl FnOnce(io::Error) -> StoreError {
    let path = disk.path(name);
    move |source| StoreError::Io { path, source }
}

fn check_format(disk: &Arc<dyn Disk>, cluster: ClusterId, peer: PeerId, fresh: bool) -> Result<(), StoreError> {
    let path = || disk.path(FORMAT_FILE);
    let mut ours = vec![0; FORMAT_BYTES];
    put(&mut ours, 0, FORMAT_MAGIC);
    put(&mut ours, 8, &FORMAT.to_le_bytes());
    put(&mut ours, 12, cluster.as_bytes());
    put(&mut ours, 28, peer.as_bytes());
    let crc = crc32c::crc32c(ours.get(..FORMAT_BYTES - 4).unwrap_or_default());
    put(&mut ours, FORMAT_BYTES - 4, &crc.to_le_bytes());
    let Some(found) = disk.read(FORMAT_FILE, FORMAT_BYTES).map_err(io_at(disk, FORMAT_FILE))? else {
        if fresh {
            return disk.replace(FORMAT_FILE, &ours).map_err(io_at(disk, FORMAT_FILE));
        }
        return Err(StoreError::Damaged { path: path(), what: "it is missing although there are segments" });
    };
    match check_version(&found, FORMAT_MAGIC) {
        Err(Unreadable::Newer { found }) => Err(StoreError::NewerFormat { path: path(), found, known: FORMAT }),
        Err(Unreadable::Garbage) => Err(StoreError::Damaged { path: path(), what: "it is no format file" }),
        Ok(()) if found == ours => Ok(()),
        Ok(()) => {
            let covered = found.get(..FORMAT_BYTES - 4).unwrap_or_default();
            let whole = field(&found, FORMAT_BYTES - 4) == Some(crc32c::crc32c(covered).to_le_bytes());
            Err(match whole {
                true => StoreError::Foreign { path: path() },
                false => StoreError::Damaged { path: path(), what: "its checksum is wrong" },
            })
        }
    }
}

fn recover_segment(
    disk: &Arc<dyn Disk>,
    (cluster, peer): (ClusterId, PeerId),
    number: u32,
    recovered: &mut Recovered,
) -> Result<(), StoreError> {
    let name = segment_name(number);
    let open = || {
        let file = disk.open(&name)?;
        let len = file.len()?;
        let mut page = Aligned::new(PAGE);
        if len >= PAGE as u64 {
            file.read_at(page.as_mut_slice(), 0)?;
        }
        let taken = file.allocated()?;
        Ok((file, len, taken, page))
    };
    let (file, len, taken, page) = open().map_err(io_at(disk, &name))?;
    let header = match SegmentHeader::decode(page.as_slice()) {
        Ok(header) if (header.number, header.cluster, header.peer) == (number, cluster, peer) => header,
        Err(Unreadable::Newer { found }) => {
            return Err(StoreError::NewerFormat { path: disk.path(&name), found, known: FORMAT });
        }
        Err(Unreadable::Garbage) if len <= PAGE as u64 => {
            // Its start was cut off, so no record was ever written to it.
            let _ = disk.remove(&name);
            return Ok(());
        }
        Ok(_) | Err(Unreadable::Garbage) => {
            tracing::error!(segment = number, "the segment's header is unreadable; its shards are not served");
            recovered.recovery.unreadable_segments += 1;
            recovered.used += taken;
            return Ok(());
        }
    };
    recovered.used += taken;
    recovered.recovery.segments += 1;
    for (page, record) in records_of(disk, &header, &file, len, &mut recovered.recovery)? {
        recovered.index.apply(Place { segment: number, page }, &record);
    }
    Ok(())
}

fn records_of(
    disk: &Arc<dyn Disk>,
    segment: &SegmentHeader,
    file: &Arc<dyn DiskFile>,
    len: u64,
    recovery: &mut Recovery,
) -> Result<Vec<Found>, StoreError> {
    let bytes = disk.read(&hint_name(segment.number), hint::MAX_BYTES).unwrap_or_default();
    if let Some(records) = bytes.as_ref().and_then(|bytes| hint::decode(bytes, segment, len)) {
        return Ok(records);
    }
    recovery.scanned += 1;
    let bodies = if bytes.is_some() { Bodies::Trusted } else { Bodies::Checked };
    let Scan { records, broken, damaged_pages } = scan(file.as_ref(), segment, len, bodies);
    recovery.damaged_pages += damaged_pages;
    let over = if broken.is_empty() { HashMap::new() } else { what_is_over(&records, segment.number) };
    for (page, record) in broken {
        let place = Place { segment: segment.number, page };
        if over.get(&(record.account, record.address)).is_some_and(|until| place <= *until) {
            continue; // its pages were given back
        }
        let (chunk, address) = (record.chunk.short(), record.address.short());
        tracing::warn!(segment = segment.number, page, chunk, address, "a record that is not whole is made void");
        recovery.void_records += 1;
        write_void(file.as_ref(), segment, page, &record).map_err(io_at(disk, &segment_name(segment.number)))?;
    }
    // What a killed process wrote may still be in the kernel alone.
    file.sync().map_err(io_at(disk, &segment_name(segment.number)))?;
    write_hint(disk.as_ref(), segment, file.as_ref(), &records);
    Ok(records)
}
