//! Record: what stands in a segment file, byte by byte. Pure; `docs/FORMATS.md` describes it.
//!
//! Every record describes itself and repeats its segment's random salt. The salt never leaves this peer, so no body that
//! a client makes up can be taken for a record when a scan walks over damaged pages.

use common::address::ShardAddress;
use common::id::{AccountId, ChunkId, ClusterId, PeerId};
use common::limits::SHARD_BYTES;
use common::redundancy::Redundancy;
use common::time::Timestamp;

/// What everything in a segment is aligned to: the largest block that O_DIRECT asks for in practice.
pub(crate) const PAGE: usize = 4096;
/// The header of a record; the body follows directly.
pub(crate) const HEADER: usize = 256;
/// Format of segments, records and hints. Newer ones are refused.
pub(crate) const FORMAT: u16 = 1;

const SEGMENT_MAGIC: &[u8; 8] = b"SHOALSEG";
const RECORD_MAGIC: &[u8; 8] = b"SHOALREC";
/// The segment's header stands twice in its page: one bad sector must not cost the salt of 256 MiB.
const SEGMENT_COPY: usize = PAGE / 2;
const SEGMENT_CRC: usize = 72;
const RECORD_CRC: usize = HEADER - 4;

/// How many pages a record with such a body takes.
#[must_use]
pub(crate) fn pages_of(body_len: usize) -> u32 {
    u32::try_from((HEADER + body_len).div_ceil(PAGE)).unwrap_or(u32::MAX)
}

/// Where a record stands. Their order is the order of history: the later record of a shard wins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Place {
    pub segment: u32,
    pub page: u32,
}

impl Place {
    pub(crate) fn offset(self) -> u64 {
        u64::from(self.page) * PAGE as u64
    }
}

/// What a record says about its shard. Numbers are on disk: append only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The shard is here; its body follows.
    Shard = 1,
    /// The directory ordered it dropped: it is in the trash from now on.
    Tombstone = 2,
    /// The body at `target` no longer has the shard's address.
    Quarantined = 3,
    /// It was taken back out of the trash.
    Restored = 4,
    /// A write that never became whole; what follows the header means nothing.
    Void = 5,
    /// The trash was emptied of it: its body at `target`, and any before, is nothing that is here any more.
    Purged = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Shard, Self::Tombstone, Self::Quarantined, Self::Restored, Self::Void, Self::Purged]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// A record's header without what it shares with its segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record {
    pub kind: Kind,
    pub index: u8,
    pub redundancy: Redundancy,
    pub account: AccountId,
    pub chunk: ChunkId,
    pub address: ShardAddress,
    pub sealed_len: u32,
    pub body_len: u32,
    pub generation: u64,
    /// When it was placed, dropped, restored, found damaged or purged.
    pub at: Timestamp,
    /// The record that a quarantine or a purge is about; zero in all other kinds.
    pub target: Place,
}

/// A segment's first page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub number: u32,
    pub cluster: ClusterId,
    pub peer: PeerId,
    pub salt: [u8; 16],
    pub created: Timestamp,
}

/// Why bytes are no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unreadable {
    /// Damaged, or never a header.
    Garbage,
    /// A later program wrote it.
    Newer { found: u16 },
}

pub(crate) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(slot) = bytes.get_mut(at..at + value.len()) {
        slot.copy_from_slice(value);
    }
}

fn sealed_by_crc(bytes: &[u8], crc_at: usize) -> bool {
    let stored = field(bytes, crc_at).map(u32::from_le_bytes);
    bytes.get(..crc_at).is_some_and(|covered| stored == Some(crc32c::crc32c(covered)))
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        put(&mut page, 0, SEGMENT_MAGIC);
        put(&mut page, 8, &FORMAT.to_le_bytes());
        put(&mut page, 12, &self.number.to_le_bytes());
        put(&mut page, 16, self.cluster.as_bytes());
        put(&mut page, 32, self.peer.as_bytes());
        put(&mut page, 48, &self.salt);
        put(&mut page, 64, &self.created.0.to_le_bytes());
        let crc = crc32c::crc32c(page.get(..SEGMENT_CRC).unwrap_or_default());
        put(&mut page, SEGMENT_CRC, &crc.to_le_bytes());
        let (first, second) = page.split_at_mut(SEGMENT_COPY);
        second.copy_from_slice(first);
        page
    }

    pub(crate) fn decode(page: &[u8]) -> Result<Self, Unreadable> {
        let copy = |at: usize| page.get(at..).ok_or(Unreadable::Garbage).and_then(Self::decode_copy);
        copy(0).or_else(|first| copy(SEGMENT_COPY).map_err(|_| first))
    }

    fn decode_copy(bytes: &[u8]) -> Result<Self, Unreadable> {
        check_version(bytes, SEGMENT_MAGIC)?;
        if !sealed_by_crc(bytes, SEGMENT_CRC) {
            return Err(Unreadable::Garbage);
        }
        let read = || {
            Some(Self {
                number: u32::from_le_bytes(field(bytes, 12)?),
                cluster: ClusterId(field(bytes, 16)?),
                peer: PeerId(field(bytes, 32)?),
                salt: field(bytes, 48)?,
                created: Timestamp(u64::from_le_bytes(field(bytes, 64)?)),
            })
        };
        read().ok_or(Unreadable::Garbage)
    }
}

/// Magic and version; the version is believed before the checksum, since a later format may lay out the rest otherwise.
pub(crate) fn check_version(bytes: &[u8], magic: &[u8; 8]) -> Result<(), Unreadable> {
    if bytes.get(..8) != Some(magic.as_slice()) {
        return Err(Unreadable::Garbage);
    }
    match field(bytes, 8).map(u16::from_le_bytes) {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(Unreadable::Newer { found }),
        _ => Err(Unreadable::Garbage),
    }
}

impl Record {
    /// How many pages it takes, header, body and padding.
    pub(crate) fn pages(&self) -> u32 {
        pages_of(self.body_len as usize)
    }

    pub(crate) fn encode(&self, segment: &SegmentHeader) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        put(&mut bytes, 0, RECORD_MAGIC);
        put(&mut bytes, 8, &FORMAT.to_le_bytes());
        put(&mut bytes, 16, &segment.salt);
        put(&mut bytes, 32, segment.cluster.as_bytes());
        self.encode_facts(&mut bytes);
        let crc = crc32c::crc32c(bytes.get(..RECORD_CRC).unwrap_or_default());
        put(&mut bytes, RECORD_CRC, &crc.to_le_bytes());
        bytes
    }

    /// The bytes 10..14 and 48..136: all that a hint repeats of a record.
    pub(crate) fn encode_facts(&self, bytes: &mut [u8]) {
        let count = |number: usize| u8::try_from(number).unwrap_or(0);
        let (k, n) = (count(self.redundancy.k()), count(self.redundancy.n()));
        put(bytes, 10, &[self.kind as u8, self.index, k, n]);
        put(bytes, 48, self.account.as_bytes());
        put(bytes, 64, self.chunk.as_bytes());
        put(bytes, 84, self.address.as_bytes());
        put(bytes, 104, &self.sealed_len.to_le_bytes());
        put(bytes, 108, &self.body_len.to_le_bytes());
        put(bytes, 112, &self.generation.to_le_bytes());
        put(bytes, 120, &self.at.0.to_le_bytes());
        put(bytes, 128, &self.target.segment.to_le_bytes());
        put(bytes, 132, &self.target.page.to_le_bytes());
    }

    /// The record that starts here, if one of this segment does.
    pub(crate) fn decode(bytes: &[u8], segment: &SegmentHeader) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        check_version(bytes, RECORD_MAGIC).ok()?;
        let ours = field(bytes, 16) == Some(segment.salt) && field(bytes, 32) == Some(segment.cluster.0);
        (ours && sealed_by_crc(bytes, RECORD_CRC)).then(|| Self::decode_facts(bytes)).flatten()
    }

    pub(crate) fn decode_facts(bytes: &[u8]) -> Option<Self> {
        let [kind, index, k, n] = field(bytes, 10)?;
        let u32_at = |at| field(bytes, at).map(u32::from_le_bytes);
        let u64_at = |at| field(bytes, at).map(u64::from_le_bytes);
        let record = Self {
            kind: Kind::from_byte(kind)?,
            index,
            redundancy: Redundancy::new(k, n).ok()?,
            account: AccountId(field(bytes, 48)?),
            chunk: ChunkId(field(bytes, 64)?),
            address: ShardAddress(field(bytes, 84)?),
            sealed_len: u32_at(104)?,
            body_len: u32_at(108)?,
            generation: u64_at(112)?,
            at: Timestamp(u64_at(120)?),
            target: Place { segment: u32_at(128)?, page: u32_at(132)? },
        };
        let bounded = record.body_len as usize <= SHARD_BYTES && index < n;
        let bodied = matches!(record.kind, Kind::Shard | Kind::Void) || record.body_len == 0;
        (bounded && bodied).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> SegmentHeader {
        SegmentHeader {
            number: 7,
            cluster: ClusterId([1; 16]),
            peer: PeerId([2; 16]),
            salt: [3; 16],
            created: Timestamp(4),
        }
    }

    fn record() -> Record {
        Record {
            kind: Kind::Shard,
            index: 2,
            redundancy: Redundancy::new(4, 6).unwrap(),
            account: AccountId([5; 16]),
            chunk: ChunkId([6; 20]),
            address: ShardAddress([7; 20]),
            sealed_len: 0x0102_0304,
            body_len: 0x0005_0607,
            generation: 0x1112_1314_1516_1718,
            at: Timestamp(0x2122_2324_2526_2728),
            target: Place { segment: 9, page: 10 },
        }
    }

    #[test]
    fn a_record_has_its_golden_bytes() {
        let mut golden = Vec::new();
        golden.extend_from_slice(b"SHOALREC\x01\x00\x01\x02\x04\x06\x00\x00");
        golden.extend_from_slice(&[3; 16]);
        golden.extend_from_slice(&[1; 16]);
        golden.extend_from_slice(&[5; 16]);
        golden.extend_from_slice(&[6; 20]);
        golden.extend_from_slice(&[7; 20]);
        golden.extend_from_slice(&[4, 3, 2, 1, 7, 6, 5, 0]);
        golden.extend_from_slice(&[0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11]);
        golden.extend_from_slice(&[0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21]);
        golden.extend_from_slice(&[9, 0, 0, 0, 10, 0, 0, 0]);
        golden.resize(252, 0);
        golden.extend_from_slice(&GOLDEN_RECORD_CRC.to_le_bytes());
        assert_eq!(record().encode(&segment()).as_slice(), golden);
        assert_eq!(Record::decode(&golden, &segment()), Some(record()));
    }

    #[test]
    fn a_segment_header_has_its_golden_bytes_twice() {
        let mut golden = Vec::new();
        golden.extend_from_slice(b"SHOALSEG\x01\x00\x00\x00\x07\x00\x00\x00");
        golden.extend_from_slice(&[1; 16]);
        golden.extend_from_slice(&[2; 16]);
        golden.extend_from_slice(&[3; 16]);
        golden.extend_from_slice(&[4, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend_from_slice(&GOLDEN_SEGMENT_CRC.to_le_bytes());
        let page = segment().encode();
        assert_eq!(page[..76], golden);
        assert_eq!(page[2048..2048 + 76], golden);
        assert_eq!(SegmentHeader::decode(&page), Ok(segment()));
    }

    const GOLDEN_RECORD_CRC: u32 = 0x5b0d_1d4a;
    const GOLDEN_SEGMENT_CRC: u32 = 0x3fc7_bced;

    #[test]
    fn a_flipped_bit_is_never_read_as_a_record() {
        let good = record().encode(&segment());
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&bad, &segment()), None, "bit {bit}");
        }
        let page = segment().encode();
        for bit in 0..76 * 8 {
            let mut bad = page;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bad), Ok(segment()), "bit {bit}: the copy stands in");
        }
    }

    #[test]
    fn a_record_of_another_segment_or_a_newer_format_is_none_of_ours() {
        let other = SegmentHeader { salt: [9; 16], ..segment() };
        assert_eq!(Record::decode(&record().encode(&other), &segment()), None);
        let mut newer = segment().encode();
        for at in [8, 2056] {
            newer[at] = 2;
        }
        assert_eq!(SegmentHeader::decode(&newer), Err(Unreadable::Newer { found: 2 }));
    }
}
