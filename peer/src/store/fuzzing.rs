//! Fuzzing: the decoders of what is on disk, opened for fuzz/ alone; no build without `--cfg fuzzing` has this.
//!
//! A fuzzer does not guess checksums, so they are set right behind what it made up.

use std::io;

use common::id::{ClusterId, PeerId};
use common::time::Timestamp;

use super::disk::DiskFile;
use super::hint;
use super::record::{HEADER, PAGE, Record, SegmentHeader, put};
use super::scan::{Bodies, scan};

fn ours() -> SegmentHeader {
    SegmentHeader {
        number: 3,
        cluster: ClusterId([1; 16]),
        peer: PeerId([2; 16]),
        salt: [4; 16],
        created: Timestamp(5),
    }
}

fn with_crc(mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
    bytes.resize(bytes.len().max(at + 4), 0);
    let crc = crc32c::crc32c(bytes.get(..at).unwrap_or_default());
    put(&mut bytes, at, &crc.to_le_bytes());
    bytes
}

/// # Panics
/// When a header that is taken is not the one that would be written.
pub fn segment_header(bytes: &[u8]) {
    let _ = SegmentHeader::decode(bytes);
    let mut page = ours().encode().to_vec();
    put(&mut page, 8, bytes.get(..64).unwrap_or(bytes));
    let page = with_crc(page, 72);
    if let Ok(header) = SegmentHeader::decode(&page) {
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }
}

/// What a record of our segment says, made up.
fn made_up(bytes: &[u8]) -> Vec<u8> {
    let mut header = vec![0; HEADER];
    put(&mut header, 0, b"SHOALREC");
    put(&mut header, 8, &super::record::FORMAT.to_le_bytes());
    put(&mut header, 16, &ours().salt);
    put(&mut header, 32, ours().cluster.as_bytes());
    let (head, tail) = bytes.split_at(bytes.len().min(4));
    put(&mut header, 10, head);
    put(&mut header, 48, tail.get(..HEADER - 4 - 48).unwrap_or(tail));
    with_crc(header, HEADER - 4)
}

/// # Panics
/// When a record that is taken is not the one that would be written.
pub fn record(bytes: &[u8]) {
    let _ = Record::decode(bytes, &ours());
    if let Some(record) = Record::decode(&made_up(bytes), &ours()) {
        assert_eq!(Record::decode(&record.encode(&ours()), &ours()), Some(record));
    }
}

/// `[pages u8][entries of a hint]`
///
/// # Panics
/// When a hint names a record outside of its segment.
pub fn hint(bytes: &[u8]) {
    const ENTRY: usize = 96;
    let Some((pages, entries)) = bytes.split_first() else { return };
    let length = u64::from(*pages) * PAGE as u64;
    let _ = hint::decode(bytes, &ours(), length);
    let Some(mut made) = hint::encode(&ours(), length, &[]) else { return };
    made.truncate(made.len().saturating_sub(4));
    let count = u32::try_from(entries.len() / ENTRY).unwrap_or(u32::MAX);
    put(&mut made, 40, &count.to_le_bytes());
    made.extend_from_slice(entries.get(..entries.len() / ENTRY * ENTRY).unwrap_or_default());
    let at = made.len();
    for (page, record) in hint::decode(&with_crc(made, at), &ours(), length).unwrap_or_default() {
        assert!(u64::from(page) + u64::from(record.pages()) <= u64::from(*pages));
    }
}

/// A segment made of `[kind u8][what a record says, 40 bytes]`, a page each; a kind of 0 leaves the page as the bytes are.
///
/// # Panics
/// When a scan finds a record outside of the segment, or two that overlap.
pub fn segment(bytes: &[u8]) {
    let mut file = ours().encode().to_vec();
    for piece in bytes.chunks(41).take(64) {
        let Some((kind, said)) = piece.split_first() else { break };
        let mut page = vec![0; PAGE];
        put(&mut page, 0, &if *kind == 0 { said.to_vec() } else { made_up(said) });
        file.append(&mut page);
    }
    let len = file.len() as u64;
    for bodies in [Bodies::Trusted, Bodies::Checked] {
        let found = scan(&Memory(file.clone()), &ours(), len, bodies);
        let mut end = 1;
        for (page, record) in &found.records {
            assert!(*page >= end);
            end = page.saturating_add(record.pages());
            assert!(u64::from(end) * PAGE as u64 <= len);
        }
    }
}

#[derive(Debug)]
struct Memory(Vec<u8>);

impl DiskFile for Memory {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.0.get(from..).and_then(|rest| rest.get(..bytes.len()));
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }
    fn punch(&self, _: u64, _: u64) -> io::Result<bool> {
        Ok(false)
    }
}
