//! Fuzzing: the journal's decoders, opened for fuzz/ alone; no build without `--cfg fuzzing` has this.

use std::io;
use std::sync::Arc;

use common::id::ClusterId;

use crate::kv::journal::disk::{Disk, DiskFile};
use crate::kv::journal::segment::{self, Header};
use crate::kv::journal::{Chain, JournalError, record, replay};

const CLUSTER: ClusterId = ClusterId([7; 16]);

/// The body of a record, whose checksum was right: what is taken is written as the same bytes.
///
/// # Panics
/// On a finding.
pub fn body(body: &[u8]) {
    let before = Chain::genesis(&CLUSTER);
    let Some(read) = record::decode(body, before) else { return };
    assert_eq!(record::peek_sequence(body), Some(read.sequence));
    let mut written = Vec::new();
    record::encode(&mut written, 0, 0, &before, read.sequence, &read.meta, &read.writes);
    assert_eq!(written.get(record::FRAME_BYTES..), Some(body));
}

/// A segment's header with a right checksum: what is taken is written as the same bytes.
///
/// # Panics
/// On a finding.
pub fn header(bytes: &[u8]) {
    let _ = Header::decode(bytes);
    let mut bytes = bytes.to_vec();
    bytes.resize(segment::HEADER_BYTES, 0);
    let (covered, sum) = bytes.split_at_mut(segment::HEADER_BYTES - 4);
    sum.copy_from_slice(&crc32c::crc32c(covered).to_le_bytes());
    if let Ok((header, _)) = Header::decode(&bytes) {
        assert_eq!(header.encode(), bytes);
    }
}

/// A whole journal of one segment: a right header, then records made of the pieces, then what is left, raw.
///
/// `[count u8] ( [change u8][len u8][body] )* rest`: a record's body is a right one with the piece as the value of one write; `change`
/// other than zero flips a byte of its frame.
///
/// # Panics
/// When replay takes a record that was not there, or loses one in front of the first change.
pub fn journal(bytes: &[u8]) {
    let header = Header { cluster: CLUSTER, first: 1, before: Chain::genesis(&CLUSTER) };
    let mut file = header.encode();
    let Ok((_, salt)) = Header::decode(&file) else { panic!("its own header") };
    let Some((count, mut rest)) = bytes.split_first() else { return };
    let (mut chain, mut sound, mut changed) = (header.before, 0, false);
    let meta = crate::kv::Meta {
        actor: crate::kv::Actor { kind: 0, id: [0; 16] },
        time: common::time::Timestamp(1),
        request: None,
        essential: false,
        read_at: None,
    };
    for sequence in 1..=u64::from(*count) {
        let Some(([change, len], behind)) = rest.split_first_chunk::<2>() else { break };
        let Some((piece, behind)) = behind.split_at_checked(usize::from(*len)) else { break };
        rest = behind;
        let writes = [crate::kv::Write::Put { key: vec![1], value: piece.to_vec() }];
        let start = file.len();
        chain = record::encode(&mut file, salt, 0, &chain, sequence, &meta, &writes);
        changed |= *change != 0;
        if let Some(byte) = file.get_mut(start + usize::from(*change) % record::FRAME_BYTES) {
            *byte ^= change;
        }
        sound += u64::from(!changed);
    }
    let raw = !rest.is_empty();
    file.extend_from_slice(rest);
    let mut seen = 0;
    let end = replay::replay(&Memory(Arc::new(file)), CLUSTER, &[1], |_| {
        seen += 1;
        Ok::<(), JournalError>(())
    });
    assert!(seen >= sound, "{seen} of {sound} sound records were read");
    assert!(raw || changed || (end.is_ok() && seen == sound), "a sound journal is read to its end");
}

/// One file in memory, whatever it is asked for.
struct Memory(Arc<Vec<u8>>);

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(vec![segment::name(1)])
    }
    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn open(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
    fn free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl DiskFile for Memory {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.0.get(from..).unwrap_or_default();
        let len = found.len().min(buffer.len());
        for (to, byte) in buffer.iter_mut().zip(found) {
            *to = *byte;
        }
        Ok(len)
    }
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn set_length(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
