//! Golden bytes: what is on disks already must stay readable.

use common::id::RequestId;
use common::time::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::kv::Actor;
use crate::kv::journal::Chain;
use crate::kv::journal::record::{self, BODY_BYTES, FRAME_BYTES, Frame};
use crate::kv::journal::segment::{self, Header, HeaderFault};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn header() -> Header {
    Header { cluster: CLUSTER, first: 42, before: Chain([9; 32]) }
}

fn meta() -> Meta {
    let actor = Actor { kind: 3, id: [4; 16] };
    Meta {
        actor,
        time: Timestamp(1_700_000_000_000),
        request: Some(RequestId([5; 16])),
        essential: false,
        read_at: None,
    }
}

#[test]
fn a_segment_header_has_its_golden_bytes() {
    let bytes = header().encode();
    let expected = [
        "53484f414c4a4e4c", // magic
        "0100",             // format
        "0000",             // reserved
        &"07".repeat(16),   // cluster
        "2a00000000000000", // first sequence
        &"09".repeat(32),   // chain before
        "9c852fb2",         // CRC32C of all that
    ];
    assert_eq!(hex(&bytes), expected.concat());
    assert_eq!(Header::decode(&bytes).unwrap().0, header());
    assert_eq!(segment::name(42), "00000000000000000042.journal");
    assert_eq!(segment::parse_name("00000000000000000042.journal"), Some(42));
    for foreign in ["42.journal", "0000000000000000004x.journal", "00000000000000000042", ""] {
        assert_eq!(segment::parse_name(foreign), None);
    }
}

#[test]
fn a_record_has_its_golden_bytes() {
    let writes = [put(b"key", b"value"), delete(b"old")];
    let mut bytes = Vec::new();
    let chain = record::encode(&mut bytes, 1, 2, &Chain([9; 32]), 42, &meta(), &writes);
    let expected = [
        "4b000000",                                                         // length of the body
        "393ad35c", // CRC32C, continued from 1, of all but itself
        "02000000", // place in the batch
        "36cb9a412bc242f1f67124d45aabc2d1b14a7c76a89e0ce9bb783645a5e77892", // chain
        "2a00000000000000", // sequence
        "0068e5cf8b010000", // time
        "03",       // actor: kind
        "01",       // flags: there is a request id
        &"04".repeat(16), // actor: id
        &"05".repeat(16), // request id
        "02000000", // writes
        "01030005000000", // put, lengths
        &hex(b"keyvalue"),
        "020300", // delete, length
        &hex(b"old"),
    ];
    assert_eq!(hex(&bytes), expected.concat());
    let (head, body) = bytes.split_at(FRAME_BYTES);
    let frame = Frame::decode(head).unwrap();
    assert!(frame.fits(1, body) && !frame.fits(2, body));
    let decoded = record::decode(body, chain).unwrap();
    assert_eq!((decoded.sequence, decoded.meta, decoded.writes.as_slice()), (42, meta(), writes.as_slice()));
}

#[test]
fn an_amended_value_has_its_golden_bytes() {
    let writes = [amend(b"key", b"v", 7)];
    let mut bytes = Vec::new();
    let chain = record::encode(&mut bytes, 1, 2, &Chain([9; 32]), 42, &meta(), &writes);
    let body = &bytes[FRAME_BYTES..];
    let expected = ["01000000", "030300010000000700000000000000", &hex(b"keyv")];
    assert!(hex(body).ends_with(&expected.concat()), "{}", hex(body));
    assert_eq!(record::decode(body, chain).unwrap().writes, writes);
}

#[test]
fn a_newer_header_is_told_from_a_damaged_one() {
    let mut bytes = header().encode();
    bytes[8] = 2;
    assert_eq!(Header::decode(&bytes), Err(HeaderFault::Newer { found: 2 }));
    for place in (0..bytes.len()).filter(|place| *place != 8 && *place != 9) {
        let mut bytes = header().encode();
        bytes[place] ^= 1;
        assert_eq!(Header::decode(&bytes), Err(HeaderFault::Malformed), "byte {place}");
    }
}

#[test]
fn a_length_outside_its_bounds_is_no_frame() {
    for (length, ok) in [(0, false), (53, false), (54, true), (BODY_BYTES, true), (BODY_BYTES + 1, false)] {
        let mut head = [0; FRAME_BYTES];
        head[..4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        assert_eq!(Frame::decode(&head).is_some(), ok, "{length}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Header::decode(&bytes);
        let _ = Frame::decode(&bytes);
        let _ = record::decode(&bytes, Chain([0; 32]));
    }

    #[test]
    fn a_changed_body_is_decoded_or_refused(place in 0_usize..80, bit in 0_u32..8) {
        let mut bytes = Vec::new();
        record::encode(&mut bytes, 0, 0, &Chain([0; 32]), 1, &meta(), &[put(b"key", b"value"), delete(b"old")]);
        let mut body = bytes.split_off(FRAME_BYTES);
        if let Some(byte) = body.get_mut(place) {
            *byte ^= 1 << bit;
        }
        let _ = record::decode(&body, Chain([0; 32]));
    }
}
