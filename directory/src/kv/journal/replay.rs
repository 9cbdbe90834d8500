//! Replay: reads segments in order, verifies every checksum and the chain, and tells a torn end from damage.
//!
//! A crash can leave only the last batch incomplete, since a batch is written after the one before it was synced. So a bad
//! record is a torn end only if nothing behind it belongs to a later batch; every record says where its batch began. Memory:
//! one read-ahead window, and the records of one batch when an end is torn.

use std::io;

use common::id::ClusterId;

use super::disk::{Disk, DiskFile};
use super::record::{self, FRAME_BYTES, Frame, Record};
use super::segment::{self, FORMAT, HEADER_BYTES, Header, HeaderFault};
use super::{BATCH_BYTES_MAX, BATCH_COMMITS, JournalError, Position};

const WINDOW_BYTES: usize = 1 << 20;

/// Where a journal ends, and what must be cleared away before it can go on.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) last: Position,
    /// The segment to go on in.
    pub(crate) segment: Option<OpenSegment>,
    /// A segment that was being created when the process died; it never held anything.
    pub(crate) unborn: Option<u64>,
    pub(crate) torn: Option<Torn>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenSegment {
    pub(crate) first: u64,
    pub(crate) salt: u32,
    /// Where its last good record ends.
    pub(crate) offset: u64,
}

/// What lies behind the last good record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Torn {
    /// The file ends in the middle of a record.
    Short,
    /// The record has its full length, but not its content.
    Garbled,
}

/// The first sequence numbers of all segments, in order.
pub(crate) fn segments(disk: &dyn Disk) -> Result<Vec<u64>, JournalError> {
    let names = disk.list().map_err(|source| JournalError::Io { file: ".".into(), source })?;
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| segment::parse_name(name)).collect();
    firsts.sort_unstable();
    match firsts.first() {
        Some(&first) if first != 1 => Err(JournalError::Gap { sequence: 1, file: segment::name(first) }),
        _ => Ok(firsts),
    }
}

pub(crate) fn length(disk: &dyn Disk, first: u64) -> Result<u64, JournalError> {
    let file = segment::name(first);
    disk.open(&file).and_then(|open| open.length()).map_err(|source| JournalError::Io { file, source })
}

/// Reads the segments that begin at `firsts`, up to the end of the journal, and hands every record to `visit`.
pub(crate) fn replay<E: From<JournalError>>(
    disk: &dyn Disk,
    cluster: ClusterId,
    firsts: &[u64],
    mut visit: impl FnMut(Record) -> Result<(), E>,
) -> Result<End, E> {
    let mut end = End { last: Position::start(&cluster), segment: None, unborn: None, torn: None };
    for (index, &first) in firsts.iter().enumerate() {
        let is_last = index + 1 == firsts.len();
        let name = segment::name(first);
        let failed = |source| JournalError::Io { file: name.clone(), source };
        let file = disk.open(&name).map_err(failed)?;
        let length = file.length().map_err(failed)?;
        let mut window = Window { file: file.as_ref(), length, start: 0, buffer: Vec::new() };
        let Some((header, salt)) = read_header(&mut window, &name, is_last)? else {
            end.unborn = Some(first);
            break;
        };
        if header.cluster != cluster {
            return Err(JournalError::Foreign { file: name, found: header.cluster, expected: cluster }.into());
        }
        if index == 0 && first > 1 {
            end.last = Position { sequence: first.saturating_sub(1), chain: header.before };
        }
        let expected = end.last.sequence + 1;
        if first > expected {
            return Err(JournalError::Gap { sequence: expected, file: name }.into());
        }
        if header.first != first || first != expected || header.before != end.last.chain {
            return Err(
                JournalError::Damaged { file: name, offset: 0, what: "it does not follow the one before" }.into()
            );
        }
        let mut offset = HEADER_BYTES as u64;
        loop {
            match read_record(&mut window, salt, offset, end.last).map_err(|fault| fault.named(&name, offset))? {
                Step::Record(record, size) => {
                    end.last = Position { sequence: record.sequence, chain: record.chain };
                    offset += size;
                    visit(record)?;
                }
                Step::End => break,
                Step::Bad(torn) => {
                    let damaged = !is_last || later_batch(&mut window, salt, offset, end.last).map_err(failed)?;
                    if damaged {
                        let what = "a record is wrong, and there is data behind it";
                        return Err(JournalError::Damaged { file: name, offset, what }.into());
                    }
                    end.torn = Some(torn);
                    break;
                }
            }
        }
        end.segment = Some(OpenSegment { first, salt, offset });
    }
    Ok(end)
}

/// `None`: the file was never finished, and is the last one.
fn read_header(window: &mut Window<'_>, name: &str, is_last: bool) -> Result<Option<(Header, u32)>, JournalError> {
    let failed = |source| JournalError::Io { file: name.to_owned(), source };
    // A header is synced before the first record follows, so a file that is not longer than one can be unfinished.
    let unfinished = is_last && window.length <= HEADER_BYTES as u64;
    let fault = match window.bytes(0, HEADER_BYTES).map_err(failed)? {
        Some(bytes) => match Header::decode(bytes) {
            Ok(found) => return Ok(Some(found)),
            Err(fault) => fault,
        },
        None => HeaderFault::Malformed,
    };
    match fault {
        HeaderFault::Newer { found } => Err(JournalError::Newer { file: name.to_owned(), found, known: FORMAT }),
        HeaderFault::Malformed if unfinished => Ok(None),
        HeaderFault::Malformed => {
            Err(JournalError::Damaged { file: name.to_owned(), offset: 0, what: "its header is wrong" })
        }
    }
}

enum Step {
    Record(Record, u64),
    End,
    Bad(Torn),
}

enum Fault {
    Io(io::Error),
    Damaged(&'static str),
}

impl Fault {
    fn named(self, file: &str, offset: u64) -> JournalError {
        match self {
            Self::Io(source) => JournalError::Io { file: file.to_owned(), source },
            Self::Damaged(what) => JournalError::Damaged { file: file.to_owned(), offset, what },
        }
    }
}

fn read_record(window: &mut Window<'_>, salt: u32, offset: u64, before: Position) -> Result<Step, Fault> {
    if offset >= window.length {
        return Ok(Step::End);
    }
    let Some(head) = window.bytes(offset, FRAME_BYTES).map_err(Fault::Io)? else {
        return Ok(Step::Bad(Torn::Short));
    };
    let Some(frame) = Frame::decode(head) else {
        return Ok(Step::Bad(Torn::Garbled));
    };
    let Some(body) = window.bytes(offset + FRAME_BYTES as u64, frame.body_bytes).map_err(Fault::Io)? else {
        return Ok(Step::Bad(Torn::Short));
    };
    if !frame.fits(salt, body) {
        return Ok(Step::Bad(Torn::Garbled));
    }
    // From here on the bytes are those that were written: what is wrong now was never a torn write.
    if before.chain.next(body) != frame.chain {
        return Err(Fault::Damaged("the chain is broken"));
    }
    let record = record::decode(body, frame.chain).ok_or(Fault::Damaged("a record is malformed"))?;
    if record.sequence != before.sequence + 1 {
        return Err(Fault::Damaged("a sequence number is wrong"));
    }
    Ok(Step::Record(record, (FRAME_BYTES + frame.body_bytes) as u64))
}

/// Whether anything behind the bad record at `offset` belongs to a later batch than that record.
fn later_batch(window: &mut Window<'_>, salt: u32, offset: u64, before: Position) -> io::Result<bool> {
    let bad = before.sequence + 1;
    let Ok(rest) = usize::try_from(window.length - offset) else { return Ok(true) };
    if rest > BATCH_BYTES_MAX {
        return Ok(true);
    }
    let Some(bytes) = window.bytes(offset, rest)? else { return Ok(false) };
    let mut at = 1;
    while let Some(tail) = bytes.get(at..).filter(|tail| tail.len() > FRAME_BYTES) {
        match whole_record(tail, salt, bad) {
            Some((frame, sequence)) if sequence.saturating_sub(u64::from(frame.place)) > bad => return Ok(true),
            Some((frame, _)) => at += FRAME_BYTES + frame.body_bytes,
            None => at += 1,
        }
    }
    Ok(false)
}

fn whole_record(bytes: &[u8], salt: u32, after: u64) -> Option<(Frame, u64)> {
    let (head, rest) = bytes.split_at_checked(FRAME_BYTES)?;
    let frame = Frame::decode(head)?;
    let body = rest.get(..frame.body_bytes)?;
    let sequence = record::peek_sequence(body)?;
    // Cheap before dear: random bytes hardly ever get as far as the checksum.
    let near = sequence > after && sequence - after <= 2 * BATCH_COMMITS as u64;
    (near && frame.fits(salt, body)).then_some((frame, sequence))
}

/// A file seen through a buffer.
struct Window<'a> {
    file: &'a dyn DiskFile,
    length: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl Window<'_> {
    /// `None`: the file ends before.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let end = offset + len as u64;
        if end > self.length {
            return Ok(None);
        }
        if offset < self.start || end > self.start + self.buffer.len() as u64 {
            let left = usize::try_from(self.length - offset).unwrap_or(usize::MAX);
            self.fill(offset, len.max(WINDOW_BYTES).min(left))?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(self.buffer.get(from..from.saturating_add(len)))
    }

    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        self.start = offset;
        self.buffer.resize(len, 0);
        let mut done = 0;
        while let Some(rest) = self.buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        Ok(())
    }
}
