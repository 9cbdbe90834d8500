//! Record: one commit as bytes. The layout is in docs/FORMATS.md; nothing here does IO.
//!
//! Every length is compared with its limit before anything is allocated for it.

use common::id::RequestId;
use common::limits::{KEY_BYTES, TRANSACTION_BYTES, TRANSACTION_WRITES, VALUE_BYTES};
use common::time::Timestamp;

use super::Chain;
use crate::kv::{Actor, Meta, Write};

/// Length, checksum, place in the batch, chain hash.
pub(crate) const FRAME_BYTES: usize = 4 + 4 + 4 + 32;
const FIXED_BYTES: usize = 8 + 8 + 1 + 1 + 16 + 16 + 4;
const PUT: u8 = 1;
const DELETE: u8 = 2;
const AMEND: u8 = 3;
/// What the longest body has: the fixed part, and tag, lengths and version of every write.
pub(crate) const BODY_BYTES: usize = FIXED_BYTES + TRANSACTION_WRITES * 15 + TRANSACTION_BYTES;

/// One commit, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub sequence: u64,
    pub meta: Meta,
    pub writes: Vec<Write>,
    /// Over everything up to and including this record.
    pub chain: Chain,
}

/// The part in front of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) body_bytes: usize,
    pub(crate) checksum: u32,
    /// How many records were written before it in the same batch, under the same sync.
    pub(crate) place: u32,
    pub(crate) chain: Chain,
}

impl Frame {
    /// `None` when the length is not one that a body can have.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let body_bytes = usize::try_from(rest.u32()?).ok()?;
        let frame = Self { body_bytes, checksum: rest.u32()?, place: rest.u32()?, chain: Chain(rest.array()?) };
        (FIXED_BYTES..=BODY_BYTES).contains(&body_bytes).then_some(frame)
    }

    pub(crate) fn fits(&self, salt: u32, body: &[u8]) -> bool {
        self.body_bytes == body.len() && self.checksum == checksum(salt, self.place, &self.chain, body)
    }
}

fn checksum(salt: u32, place: u32, chain: &Chain, body: &[u8]) -> u32 {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut sum = crc32c::crc32c_append(salt, &length.to_le_bytes());
    sum = crc32c::crc32c_append(sum, &place.to_le_bytes());
    sum = crc32c::crc32c_append(sum, &chain.0);
    crc32c::crc32c_append(sum, body)
}

/// Appends a record to `out` and returns its chain hash. The writes were checked against the limits before.
///
/// `salt` is the checksum of the segment's header: bytes that somebody stores as a value cannot pass for a record.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    salt: u32,
    place: u32,
    before: &Chain,
    sequence: u64,
    meta: &Meta,
    writes: &[Write],
) -> Chain {
    let start = out.len();
    out.resize(start + FRAME_BYTES, 0);
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&meta.time.0.to_le_bytes());
    out.push(meta.actor.kind);
    out.push(u8::from(meta.request.is_some()));
    out.extend_from_slice(&meta.actor.id);
    out.extend_from_slice(&meta.request.map_or([0; 16], |id| id.0));
    out.extend_from_slice(&u32::try_from(writes.len()).unwrap_or(u32::MAX).to_le_bytes());
    for write in writes {
        let key = write.key();
        let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes();
        match write {
            Write::Put { value, .. } => {
                out.push(PUT);
                out.extend_from_slice(&key_len);
                out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
            Write::Amend { value, version, .. } => {
                out.push(AMEND);
                out.extend_from_slice(&key_len);
                out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
                out.extend_from_slice(&version.to_le_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
            Write::Delete { .. } => {
                out.push(DELETE);
                out.extend_from_slice(&key_len);
                out.extend_from_slice(key);
            }
        }
    }
    let (frame, body) = out.get_mut(start..).unwrap_or_default().split_at_mut(FRAME_BYTES);
    let chain = before.next(body);
    let sum = checksum(salt, place, &chain, body);
    let mut head = Vec::with_capacity(FRAME_BYTES);
    head.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    head.extend_from_slice(&sum.to_le_bytes());
    head.extend_from_slice(&place.to_le_bytes());
    head.extend_from_slice(&chain.0);
    frame.copy_from_slice(&head);
    chain
}

/// The sequence number at the head of a body, without looking at the rest.
pub(crate) fn peek_sequence(body: &[u8]) -> Option<u64> {
    Reader(body).u64()
}

/// Parses a body whose checksum was right. `None`: it is malformed all the same.
pub(crate) fn decode(body: &[u8], chain: Chain) -> Option<Record> {
    let mut rest = Reader(body);
    let sequence = rest.u64()?;
    let time = Timestamp(rest.u64()?);
    let kind = rest.u8()?;
    let flags = rest.u8()?;
    let actor = Actor { kind, id: rest.array()? };
    let request: [u8; 16] = rest.array()?;
    let request = match flags {
        0 if request == [0; 16] => None,
        1 => Some(RequestId(request)),
        _ => return None,
    };
    let count = usize::try_from(rest.u32()?).ok().filter(|count| *count <= TRANSACTION_WRITES)?;
    let mut writes = Vec::with_capacity(count.min(body.len() / 4));
    for _ in 0..count {
        writes.push(decode_write(&mut rest)?);
    }
    rest.0.is_empty().then_some(Record {
        sequence,
        meta: Meta { actor, time, request, essential: false, read_at: None },
        writes,
        chain,
    })
}

fn decode_write(rest: &mut Reader<'_>) -> Option<Write> {
    let tag = rest.u8()?;
    let key_len = usize::from(rest.u16()?);
    if !(1..=KEY_BYTES).contains(&key_len) {
        return None;
    }
    match tag {
        PUT => {
            let value_len = usize::try_from(rest.u32()?).ok().filter(|len| *len <= VALUE_BYTES)?;
            Some(Write::Put { key: rest.take(key_len)?.to_vec(), value: rest.take(value_len)?.to_vec() })
        }
        AMEND => {
            let value_len = usize::try_from(rest.u32()?).ok().filter(|len| *len <= VALUE_BYTES)?;
            let version = rest.u64()?;
            Some(Write::Amend { key: rest.take(key_len)?.to_vec(), value: rest.take(value_len)?.to_vec(), version })
        }
        DELETE => Some(Write::Delete { key: rest.take(key_len)?.to_vec() }),
        _ => None,
    }
}

/// Takes fields off the front of bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
