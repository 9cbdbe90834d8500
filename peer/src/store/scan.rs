//! Scan: what a segment holds, found without a hint.
//!
//! Reads a page a record where headers are whole, and page by page over holes and damage. A body is never searched for
//! headers, and what is found without this segment's salt is no record.

use common::address::Addresser;

use super::buffer::Aligned;
use super::disk::DiskFile;
use super::hint::Found;
use super::record::{HEADER, Kind, PAGE, Record, SegmentHeader};

/// How much is read at once where headers are missing, and of bodies.
const WINDOW: usize = 256 << 10;

/// Whether bodies are read as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bodies {
    /// Records were synced before the segment's hint was written: their headers suffice.
    Trusted,
    /// Anything may be missing behind a valid header: a shard counts only when its SHA-1 is right.
    Checked,
}

/// What a scan found, in the order of the pages.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub records: Vec<Found>,
    /// Shards whose body is not what the header says.
    pub broken: Vec<Found>,
    /// Pages that held something and were no header where one could be.
    pub damaged_pages: u32,
}

/// Reads pages of a file of `len` bytes through one window.
struct Window<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    room: Aligned,
    /// What the room holds now.
    at: u64,
    filled: usize,
}

impl Window<'_> {
    /// `count` bytes from `offset`, with `ahead` bytes read where they are not here yet. Multiples of a page.
    fn get(&mut self, offset: u64, count: usize, ahead: usize) -> Option<&[u8]> {
        let behind = offset.checked_sub(self.at).and_then(|gap| usize::try_from(gap).ok());
        let start = match behind.filter(|gap| gap + count <= self.filled) {
            Some(start) => start,
            None => {
                let left = usize::try_from(self.len.checked_sub(offset)?).unwrap_or(usize::MAX);
                let filled = ahead.max(count).min(left / PAGE * PAGE).min(WINDOW);
                self.filled = 0;
                self.file.read_at(self.room.as_mut_slice().get_mut(..filled)?, offset).ok()?;
                (self.at, self.filled) = (offset, filled);
                0
            }
        };
        self.room.as_slice().get(start..start + count).filter(|_| start + count <= self.filled)
    }
}

/// Walks over all of a segment. Blocking. Pages that cannot be read count as damaged.
pub(crate) fn scan(file: &dyn DiskFile, segment: &SegmentHeader, len: u64, bodies: Bodies) -> Scan {
    let mut found = Scan::default();
    let mut window = Window { file, len, room: Aligned::new(WINDOW), at: 0, filled: 0 };
    let mut page: u32 = 1;
    let mut ahead = PAGE;
    loop {
        let offset = u64::from(page) * PAGE as u64;
        if offset + PAGE as u64 > len {
            return found;
        }
        let Some(bytes) = window.get(offset, PAGE, ahead) else {
            found.damaged_pages += 1;
            page += 1;
            continue;
        };
        let Some(record) = Record::decode(bytes, segment) else {
            found.damaged_pages += u32::from(bytes.iter().any(|byte| *byte != 0));
            page += 1;
            ahead = WINDOW;
            continue;
        };
        let next = page.saturating_add(record.pages());
        if u64::from(next) * PAGE as u64 > len {
            return found; // cut off: never acknowledged, and nothing can follow it
        }
        let checked = bodies == Bodies::Checked && record.kind == Kind::Shard;
        if checked && !body_is_whole(&mut window, offset, &record) {
            found.broken.push((page, record));
        } else if record.kind != Kind::Void {
            found.records.push((page, record));
        }
        page = next;
        ahead = PAGE;
    }
}

/// A body that cannot be read at all counts as whole: the disk may answer later, and the scrubber will know.
fn body_is_whole(window: &mut Window<'_>, offset: u64, record: &Record) -> bool {
    let mut addresser = Addresser::new();
    let end = HEADER + record.body_len as usize;
    let mut at = 0;
    while at < end {
        let count = (end - at).next_multiple_of(PAGE).min(WINDOW);
        let Some(bytes) = window.get(offset + at as u64, count, count) else { return true };
        let from = if at == 0 { HEADER } else { 0 };
        addresser.update(bytes.get(from..count.min(end - at)).unwrap_or_default());
        at += count;
    }
    addresser.finish() == record.address
}
