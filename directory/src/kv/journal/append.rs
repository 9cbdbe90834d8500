//! Append: writes batches of records behind each other, one write and one sync a batch, and begins new segments.

use std::io;
use std::sync::Arc;

use common::id::ClusterId;

use super::disk::{Disk, DiskFile};
use super::record;
use super::replay::{End, OpenSegment};
use super::segment::{self, HEADER_BYTES, Header};
use super::{JournalError, Position};
use crate::kv::{Meta, Write};

/// Why a batch is not in the journal.
#[derive(Debug)]
pub(crate) enum AppendError {
    /// It is not there, nor will it be after a restart; the journal is as it was before.
    Refused(io::Error),
    /// Nobody knows what is on the disk: after a failed sync nothing may be acknowledged any more.
    Poisoned(io::Error),
}

/// The open end of a journal.
pub(crate) struct Appender {
    disk: Arc<dyn Disk>,
    cluster: ClusterId,
    segment_bytes: u64,
    file: Box<dyn DiskFile>,
    segment: OpenSegment,
    last: Position,
    buffer: Vec<u8>,
    syncs: u64,
}

impl Appender {
    /// Clears a torn end away and opens the journal behind its last good record; creates the first segment of a new one.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        cluster: ClusterId,
        segment_bytes: u64,
        end: &End,
    ) -> Result<Self, JournalError> {
        let named = |first: u64| move |source| JournalError::Io { file: segment::name(first), source };
        if let Some(first) = end.unborn {
            disk.remove(&segment::name(first)).and_then(|()| disk.sync_folder()).map_err(named(first))?;
        }
        let (file, segment) = match end.segment {
            Some(segment) => {
                let file = disk.open(&segment::name(segment.first)).map_err(named(segment.first))?;
                if end.torn.is_some() {
                    file.set_length(segment.offset).and_then(|()| file.sync()).map_err(named(segment.first))?;
                }
                (file, segment)
            }
            None => create(disk.as_ref(), cluster, end.last).map_err(named(end.last.sequence + 1))?,
        };
        Ok(Self { disk, cluster, segment_bytes, file, segment, last: end.last, buffer: Vec::new(), syncs: 0 })
    }

    pub(crate) fn last(&self) -> Position {
        self.last
    }

    /// Syncs of batches so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs
    }

    /// Bytes of the current segment.
    pub(crate) fn offset(&self) -> u64 {
        self.segment.offset
    }

    /// Whether the next batch begins a new segment.
    pub(crate) fn is_full(&self) -> bool {
        self.segment.offset >= self.segment_bytes
    }

    /// Makes a batch durable; its commits get the next sequence numbers.
    pub(crate) fn append<'a>(
        &mut self,
        batch: impl Iterator<Item = (&'a Meta, &'a [Write])>,
    ) -> Result<(), AppendError> {
        if self.is_full() {
            self.roll()?;
        }
        self.buffer.clear();
        let mut last = self.last;
        for (place, (meta, writes)) in (0..).zip(batch) {
            last.sequence += 1;
            let salt = self.segment.salt;
            last.chain = record::encode(&mut self.buffer, salt, place, &last.chain, last.sequence, meta, writes);
        }
        if let Err(error) = self.file.write_all_at(&self.buffer, self.segment.offset) {
            // Whole records may have landed: they must be gone for good before anybody is told that they were refused.
            self.file.set_length(self.segment.offset).map_err(AppendError::Poisoned)?;
            self.file.sync().map_err(AppendError::Poisoned)?;
            return Err(AppendError::Refused(error));
        }
        self.syncs += 1;
        self.file.sync().map_err(AppendError::Poisoned)?;
        self.segment.offset += self.buffer.len() as u64;
        self.last = last;
        Ok(())
    }

    fn roll(&mut self) -> Result<(), AppendError> {
        match create(self.disk.as_ref(), self.cluster, self.last) {
            Ok((file, segment)) => {
                self.file = file;
                self.segment = segment;
                Ok(())
            }
            Err(error) => match self.disk.remove(&segment::name(self.last.sequence + 1)) {
                Err(failed) if failed.kind() != io::ErrorKind::NotFound => Err(AppendError::Poisoned(failed)),
                _ => Err(AppendError::Refused(error)),
            },
        }
    }
}

/// A new segment behind `last`: durable, with its name, before anything is appended to it.
fn create(disk: &dyn Disk, cluster: ClusterId, last: Position) -> io::Result<(Box<dyn DiskFile>, OpenSegment)> {
    let first = last.sequence + 1;
    let file = disk.create(&segment::name(first))?;
    let bytes = Header { cluster, first, before: last.chain }.encode();
    let (_, salt) = Header::decode(&bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    file.write_all_at(&bytes, 0)?;
    file.sync()?;
    disk.sync_folder()?;
    Ok((file, OpenSegment { first, salt, offset: HEADER_BYTES as u64 }))
}
