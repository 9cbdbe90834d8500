//! Segment: the header of one file of the journal, and the file's name.

use common::id::ClusterId;

use super::Chain;
use super::record::Reader;

pub(crate) const MAGIC: &[u8; 8] = b"SHOALJNL";
/// The version that this program writes, and the newest that it reads.
pub(crate) const FORMAT: u16 = 1;
pub(crate) const HEADER_BYTES: usize = 8 + 2 + 2 + 16 + 8 + 32 + 4;
const SUFFIX: &str = ".journal";

/// What stands at the head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster: ClusterId,
    /// The sequence number of its first record.
    pub(crate) first: u64,
    /// The chain hash before it.
    pub(crate) before: Chain,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Malformed,
    Newer { found: u16 },
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.cluster.0);
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.before.0);
        let sum = crc32c::crc32c(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// The header, and its checksum, which the records' checksums go on from.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), HeaderFault> {
        let mut rest = Reader(bytes);
        if rest.array() != Some(*MAGIC) {
            return Err(HeaderFault::Malformed);
        }
        // The version comes first: a newer header may be laid out in another way behind it.
        match rest.u16() {
            Some(FORMAT) => {}
            Some(found) if found > FORMAT => return Err(HeaderFault::Newer { found }),
            _ => return Err(HeaderFault::Malformed),
        }
        Self::decode_fields(bytes, &mut rest).ok_or(HeaderFault::Malformed)
    }

    fn decode_fields(bytes: &[u8], rest: &mut Reader<'_>) -> Option<(Self, u32)> {
        let reserved = rest.u16()?;
        let cluster = ClusterId(rest.array()?);
        let first = rest.u64()?;
        let before = Chain(rest.array()?);
        let sum = crc32c::crc32c(bytes.get(..HEADER_BYTES - 4)?);
        (reserved == 0 && rest.u32()? == sum).then_some((Self { cluster, first, before }, sum))
    }
}

/// Twenty digits, so that names sort as numbers do.
pub(crate) fn name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The first sequence number, of a name that [`name`] made.
pub(crate) fn parse_name(file: &str) -> Option<u64> {
    let first = file.strip_suffix(SUFFIX)?.parse().ok()?;
    (name(first) == file).then_some(first)
}
