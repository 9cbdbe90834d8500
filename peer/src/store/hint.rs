//! Hint: a compact copy of a closed segment's record headers, for a fast start. Pure.
//!
//! A hint may be lost or damaged at any time: the segment is scanned then. That a hint file *exists* says one thing more,
//! because it is written last: every record of the segment was synced, or made void.

use super::record::{PAGE, Record, SegmentHeader, Unreadable, check_version, field, put};

const MAGIC: &[u8; 8] = b"SHOALHNT";
/// Magic 8, format 2, zero 2, segment number 4, salt 16, segment length 8, count 4.
const HEADER: usize = 44;
/// First page of the record 4, then the record's bytes 10..14 and 48..136.
const ENTRY: usize = 96;
/// A segment of 256 MiB has at most so many records; a longer hint is not read.
const MAX_ENTRIES: usize = 1 << 16;
/// No valid hint is longer.
pub(crate) const MAX_BYTES: usize = HEADER + MAX_ENTRIES * ENTRY + 4;

/// One record of the segment, by its first page.
pub(crate) type Found = (u32, Record);

/// `None` when there are more records than a hint holds.
pub(crate) fn encode(segment: &SegmentHeader, length: u64, records: &[Found]) -> Option<Vec<u8>> {
    let count = u32::try_from(records.len()).ok().filter(|_| records.len() <= MAX_ENTRIES)?;
    let mut bytes = vec![0; HEADER];
    put(&mut bytes, 0, MAGIC);
    put(&mut bytes, 8, &super::record::FORMAT.to_le_bytes());
    put(&mut bytes, 12, &segment.number.to_le_bytes());
    put(&mut bytes, 16, &segment.salt);
    put(&mut bytes, 32, &length.to_le_bytes());
    put(&mut bytes, 40, &count.to_le_bytes());
    for (page, record) in records {
        let mut header = [0; 136];
        record.encode_facts(&mut header);
        bytes.extend_from_slice(&page.to_le_bytes());
        bytes.extend_from_slice(header.get(10..14).unwrap_or_default());
        bytes.extend_from_slice(header.get(48..136).unwrap_or_default());
    }
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    Some(bytes)
}

/// The records of exactly this segment at exactly this length, or nothing.
pub(crate) fn decode(bytes: &[u8], segment: &SegmentHeader, length: u64) -> Option<Vec<Found>> {
    check_version(bytes, MAGIC).map_err(|_: Unreadable| ()).ok()?;
    let covered = bytes.len().checked_sub(4)?;
    let crc = u32::from_le_bytes(field(bytes, covered)?);
    let covered = bytes.get(..covered)?;
    let ours = field(bytes, 12) == Some(segment.number.to_le_bytes())
        && field(bytes, 16) == Some(segment.salt)
        && field(bytes, 32) == Some(length.to_le_bytes());
    if !ours || crc32c::crc32c(covered) != crc {
        return None;
    }
    let count = u32::from_le_bytes(field(bytes, 40)?) as usize;
    let entries = covered.get(HEADER..)?;
    if count > MAX_ENTRIES || entries.len() != count * ENTRY {
        return None;
    }
    entries.chunks_exact(ENTRY).map(|entry| decode_entry(entry, length)).collect()
}

fn decode_entry(entry: &[u8], length: u64) -> Option<Found> {
    let page = u32::from_le_bytes(field(entry, 0)?);
    let mut header = [0; 136];
    put(&mut header, 10, entry.get(4..8)?);
    put(&mut header, 48, entry.get(8..ENTRY)?);
    let record = Record::decode_facts(&header)?;
    let end = u64::from(page) + u64::from(record.pages());
    (page > 0 && end * PAGE as u64 <= length).then_some((page, record))
}

#[cfg(test)]
mod tests {
    use common::address::ShardAddress;
    use common::id::{AccountId, ChunkId, ClusterId, PeerId};
    use common::redundancy::Redundancy;
    use common::time::Timestamp;

    use super::super::record::{Kind, Place};
    use super::*;

    fn sample() -> (SegmentHeader, Vec<Found>) {
        let (cluster, peer) = (ClusterId([1; 16]), PeerId([2; 16]));
        let segment = SegmentHeader { number: 3, cluster, peer, salt: [4; 16], created: Timestamp(5) };
        let record = Record {
            kind: Kind::Shard,
            index: 0,
            redundancy: Redundancy::DEFAULT,
            account: AccountId([6; 16]),
            chunk: ChunkId([7; 20]),
            address: ShardAddress([8; 20]),
            sealed_len: 100,
            body_len: 100,
            generation: 9,
            at: Timestamp(10),
            target: Place::default(),
        };
        let tombstone = Record { kind: Kind::Tombstone, body_len: 0, ..record };
        (segment, vec![(1, record), (2, tombstone)])
    }

    #[test]
    fn a_hint_has_its_golden_bytes() {
        let (segment, records) = sample();
        let bytes = encode(&segment, 3 * 4096, &records[..1]).unwrap();
        let mut golden = Vec::from(*b"SHOALHNT\x01\x00\x00\x00\x03\x00\x00\x00");
        golden.extend_from_slice(&[4; 16]);
        golden.extend_from_slice(&[0, 0x30, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        golden.extend_from_slice(&[1, 0, 0, 0, 1, 0, 1, 3]);
        golden.extend_from_slice(&[6; 16]);
        golden.extend_from_slice(&[7; 20]);
        golden.extend_from_slice(&[8; 20]);
        golden.extend_from_slice(&[100, 0, 0, 0, 100, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0]);
        golden.extend_from_slice(&[0; 8]);
        golden.extend_from_slice(&GOLDEN_CRC.to_le_bytes());
        assert_eq!(bytes, golden);
    }

    const GOLDEN_CRC: u32 = 0x5aa0_094d;

    #[test]
    fn only_the_whole_hint_of_this_very_segment_is_believed() {
        let (segment, records) = sample();
        let length = 3 * 4096;
        let good = encode(&segment, length, &records).unwrap();
        assert_eq!(decode(&good, &segment, length), Some(records));
        assert_eq!(decode(&good, &segment, length + 4096), None, "the segment has another length");
        assert_eq!(decode(&good, &SegmentHeader { salt: [0; 16], ..segment }, length), None);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert_eq!(decode(&bad, &segment, length), None, "byte {at}");
            assert_eq!(decode(&good[..at], &segment, length), None, "cut at {at}");
        }
    }

    proptest::proptest! {
        /// Even with a right checksum nothing panics, and nothing outside of the segment is believed.
        #[test]
        fn no_bytes_panic_the_decoders(mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400), cut in 0..400usize) {
            let (segment, records) = sample();
            let mut hint = encode(&segment, 3 * 4096, &records).unwrap();
            hint.truncate(HEADER);
            hint.append(&mut bytes);
            hint.truncate(cut);
            let crc = crc32c::crc32c(&hint);
            hint.extend_from_slice(&crc.to_le_bytes());
            for (page, record) in decode(&hint, &segment, 3 * 4096).unwrap_or_default() {
                proptest::prop_assert!(page + record.pages() <= 3);
            }
            let _ = Record::decode(&hint, &segment);
            let _ = SegmentHeader::decode(&hint);
        }
    }
}
