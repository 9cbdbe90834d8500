//! Every message of every service: it round-trips, its bytes are what they were, and no bytes make its decoder misbehave.

use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::directory::*;
use super::enroll::{Enroll, EnrollGuest, EnrollRequest};
use super::frame::{Request, decode_response, encode_refusal, encode_request, encode_response};
use super::peer::*;
use super::specimen::{Fixed, seeded, specimen};
use super::{FrameHead, Refusal};
use crate::codec::{self, CodecError};
use crate::grant::Grant;
use crate::limits::FRAME_HEADER_BYTES;
use crate::map::ClusterMap;
use crate::pass::Pass;

/// Runs `$check` for every request type.
macro_rules! each_request {
    ($check:ident ( $($argument:expr),* )) => {
        $check::<Hello>($($argument),*); $check::<GetMap>($($argument),*); $check::<Renew>($($argument),*);
        $check::<GetStatus>($($argument),*); $check::<LookUp>($($argument),*); $check::<List>($($argument),*);
        $check::<MakeFolders>($($argument),*); $check::<Rename>($($argument),*); $check::<Remove>($($argument),*);
        $check::<ReadManifests>($($argument),*); $check::<Begin>($($argument),*); $check::<Extend>($($argument),*);
        $check::<Ask>($($argument),*); $check::<Register>($($argument),*); $check::<PutPages>($($argument),*);
        $check::<Publish>($($argument),*); $check::<Abandon>($($argument),*); $check::<Heartbeat>($($argument),*);
        $check::<NewTicket>($($argument),*); $check::<Revoke>($($argument),*); $check::<Enroll>($($argument),*);
        $check::<PutShard>($($argument),*); $check::<GetShard>($($argument),*); $check::<DropShards>($($argument),*);
        $check::<PutChain>($($argument),*); $check::<FetchShard>($($argument),*); $check::<MakeShard>($($argument),*);
        $check::<CondemnShards>($($argument),*); $check::<Digest>($($argument),*); $check::<ListShards>($($argument),*);
        $check::<SetRedundancy>($($argument),*); $check::<DrainPeer>($($argument),*);
        $check::<RemovePeer>($($argument),*); $check::<Reconcile>($($argument),*);
        $check::<CheckStore>($($argument),*);
        $check::<FindMoment>($($argument),*); $check::<ReadHistory>($($argument),*);
        $check::<CreateSnapshot>($($argument),*); $check::<ListSnapshots>($($argument),*);
        $check::<GetSnapshot>($($argument),*); $check::<RemoveSnapshot>($($argument),*);
        $check::<PlanPrune>($($argument),*); $check::<Prune>($($argument),*); $check::<MeasureSpace>($($argument),*);
        $check::<GetUsage>($($argument),*); $check::<ListAccounts>($($argument),*); $check::<SetQuota>($($argument),*);
        $check::<NewShare>($($argument),*); $check::<ListShares>($($argument),*);
        $check::<RevokeShare>($($argument),*); $check::<ShowVersion>($($argument),*);
        $check::<OpenShare>($($argument),*); $check::<ListShared>($($argument),*);
        $check::<ReadShared>($($argument),*); $check::<ReadShard>($($argument),*);
        $check::<EnrollGuest>($($argument),*);
        $check::<CheckStore>($($argument),*); $check::<AskContents>($($argument),*);
        $check::<ListVersions>($($argument),*); $check::<SwapPages>($($argument),*);
        $check::<RotateKey>($($argument),*); $check::<ListStale>($($argument),*);
        $check::<Reseal>($($argument),*); $check::<SettleKey>($($argument),*);
        $check::<NoteConflict>($($argument),*);
    };
}

fn head_and_message(framed: &[u8]) -> (FrameHead, &[u8]) {
    let (head, message) = framed.split_at(FRAME_HEADER_BYTES);
    (FrameHead::parse(head.try_into().unwrap()).unwrap(), message)
}

/// Compiled once for each type, and not for each use.
#[inline(never)]
fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    codec::encode(value)
}

#[inline(never)]
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::decode(bytes)
}

fn round_trips<R: Request + PartialEq + Debug>(seed: u64)
where
    R::Response: PartialEq + Debug,
{
    let request: R = seeded(seed);
    let framed = encode_request(&request).unwrap();
    let (head, message) = head_and_message(&framed);
    assert_eq!((head.tag, head.len), (R::TAG, message.len()));
    assert_eq!(decode::<R>(message).unwrap(), request);

    let response: R::Response = seeded(seed);
    let framed = encode_response(&response).unwrap();
    let (head, message) = head_and_message(&framed);
    assert_eq!(decode_response::<R>(head, message).unwrap().unwrap(), response);

    let refusal: Refusal = seeded(seed);
    let framed = encode_refusal(&refusal).unwrap();
    let (head, message) = head_and_message(&framed);
    assert_eq!(decode_response::<R>(head, message).unwrap().unwrap_err(), refusal);
}

fn survives_damage<R: Request>(seed: u64, at: usize, bit: u8, cut: usize) {
    let mut message = encode(&seeded::<R>(seed)).unwrap();
    let len = message.len();
    if len > 0 {
        message[at % len] ^= 1 << (bit % 8);
        let _ = decode::<R>(&message);
        let _ = decode::<R>(&message[..cut % len]);
    }
}

fn survives_noise<R: Request>(noise: &[u8]) {
    let _ = decode::<R>(noise);
    let _ = decode::<R::Response>(noise);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_message_round_trips(seed in any::<u64>()) {
        each_request!(round_trips(seed));
    }

    #[test]
    fn a_damaged_or_truncated_message_is_refused_without_a_panic(
        seed in any::<u64>(), at in any::<usize>(), bit in any::<u8>(), cut in any::<usize>()
    ) {
        each_request!(survives_damage(seed, at, bit, cut));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(noise in proptest::collection::vec(any::<u8>(), 0..2_000), tag in any::<u16>()) {
        each_request!(survives_noise(&noise));
        let _ = DirectoryRequest::decode(tag % 128, &noise);
        let _ = PeerRequest::decode(tag % 128, &noise);
        let _ = EnrollRequest::decode(tag % 128, &noise);
        let _ = PeerRequest::decode(tag % 16, &noise);
        let _ = EnrollRequest::decode(tag % 4, &noise);
        let _ = decode::<Refusal>(&noise);
        let _ = decode::<ClusterMap>(&noise);
        let _ = decode::<Grant>(&noise);
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn fixed<T: Serialize + DeserializeOwned>() -> String {
    let value: T =
        (0..31).find_map(|start| specimen(&mut Fixed(start))).expect("the fixed numbers make a valid specimen");
    hex(&encode(&value).unwrap())
}

fn golden<R: Request>(lines: &mut BTreeMap<String, String>) {
    lines.insert(format!("{:05} {} request", R::TAG, R::NAME), fixed::<R>());
    lines.insert(format!("{:05} {} response", R::TAG, R::NAME), fixed::<R::Response>());
}

/// The wire is append-only: these bytes change only with a new protocol version. A new message is a new line in the fixture.
#[test]
fn the_bytes_of_every_message_are_what_they_were() {
    let mut lines = BTreeMap::new();
    each_request!(golden(&mut lines));
    lines.insert("statement ClusterMap".to_owned(), fixed::<ClusterMap>());
    lines.insert("statement Grant".to_owned(), fixed::<Grant>());
    lines.insert("statement Pass".to_owned(), fixed::<Pass>());
    for (number, refusal) in (0_u32..31).map(|n| (n, decode::<Refusal>(&refusal_bytes(n)).unwrap())) {
        lines.insert(format!("refusal {number:02}"), format!("{refusal:?}"));
    }
    let now: String = lines.iter().map(|(name, bytes)| format!("{name}: {bytes}\n")).collect();
    let recorded = include_str!("../../fixtures/proto-1.txt");
    for (now, recorded) in now.lines().zip(recorded.lines()) {
        assert_eq!(now, recorded, "the bytes of a message changed");
    }
    assert!(now == recorded, "the fixture lacks a message; it should now read:\n{now}");
}

#[test]
fn the_numbers_of_what_became_of_a_copy_are_what_they_were() {
    let outcomes = [
        (ChainOutcome::Stored(Stored { existed: true }), "0001"),
        (ChainOutcome::Refused(Refusal::Busy), "0110"),
        (ChainOutcome::Unreachable, "02"),
    ];
    for (outcome, bytes) in outcomes {
        assert_eq!(hex(&encode(&outcome).unwrap()), bytes);
    }
}

/// A refusal's number and zeros for whatever it carries.
fn refusal_bytes(number: u32) -> Vec<u8> {
    (0..4)
        .map(|zeros| [vec![u8::try_from(number).unwrap()], vec![0; zeros]].concat())
        .find(|bytes| decode::<Refusal>(bytes).is_ok())
        .expect("a refusal with this number")
}

#[test]
fn tags_are_unique() {
    for tags in [DirectoryRequest::TAGS, PeerRequest::TAGS, EnrollRequest::TAGS] {
        let unique: BTreeMap<_, _> = tags.iter().copied().collect();
        assert_eq!(unique.len(), tags.len());
    }
}
