//! Bounds: what a message makes its decoder allocate, measured by the allocator itself (invariants 7 and 8).
//!
//! For every request and response of every service, hostile inputs are made from valid ones: at every byte a length that is not
//! there, a list as long as its limit of the smallest items there are, cuts, noise. Peak memory while decoding must stay
//! below `PER_BYTE` times the input's length plus `FLAT`, and so below 33 MiB for the longest message of 2 MiB.
//!
//! Where the two numbers come from: a list reserves 64 items at most on a claimed length alone, and lists lie in lists at most
//! three deep (the flat part); then it doubles as items arrive, holding the old and the new room while it moves, which is three
//! times the items' size; and an item of one byte on the wire (an absent key, an empty text) takes up to 24 bytes in memory.
//! Measured: 8 bytes a byte, and 57 KiB flat; the test also fails when the bound is ten times what is needed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

use std::collections::BTreeMap;

use common::codec;
use common::grant::Grant;
use common::limits::MESSAGE_BYTES;
use common::map::ClusterMap;
use common::pass::Pass;
use common::proto::directory::*;
use common::proto::enroll::{Enroll, EnrollGuest, EnrollRequest};
use common::proto::peer::*;
use common::proto::{Refusal, Request};
use peak_alloc::PeakAlloc;
use serde::Serialize;
use serde::de::DeserializeOwned;

use specimen::{Numbers, Seeded, seeded};

#[path = "../common/src/proto/specimen.rs"]
#[allow(dead_code, reason = "the tests of the wire itself use more of it")]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "a test of common's, shared")]
mod specimen;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes of memory for a byte of the message.
const PER_BYTE: usize = 16;
/// Bytes of memory for no byte at all.
const FLAT: usize = 64 << 10;

/// The dearest input so far.
#[derive(Default)]
struct Worst {
    /// Beyond the flat part, in hundredths of a byte for each byte of the input.
    per_byte: usize,
    /// Of inputs of up to 64 bytes.
    flat: usize,
    names: BTreeMap<usize, String>,
    inputs: usize,
}

/// One type of message. What is tried on it is compiled once, and not for each.
struct Kind {
    name: String,
    /// A valid one.
    valid: fn(seed: u64) -> Vec<u8>,
    is_taken: fn(&[u8]) -> bool,
}

impl Kind {
    fn of<T: DeserializeOwned + Serialize>(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            valid: |seed| codec::encode(&seeded::<T>(seed)).unwrap(),
            is_taken: |input| codec::decode::<T>(input).is_ok(),
        }
    }
}

impl Worst {
    fn try_one(&mut self, Kind { name, is_taken, .. }: &Kind, input: &[u8]) {
        ALLOCATOR.reset_peak_usage();
        let before = ALLOCATOR.current_usage();
        let decoded = is_taken(input);
        let peak = ALLOCATOR.peak_usage().saturating_sub(before);
        assert!(
            peak <= PER_BYTE * input.len() + FLAT,
            "{name}: {} bytes made it allocate {peak}; taken: {decoded}; they begin {:02x?}",
            input.len(),
            &input[..input.len().min(80)]
        );
        self.inputs += 1;
        if input.len() <= 64 {
            self.flat = self.flat.max(peak);
        } else if input.len() >= 4_096 {
            let per_byte = peak.saturating_sub(4_096) * 100 / input.len();
            if per_byte > self.per_byte {
                self.names.insert(per_byte, format!("{name}, {} bytes", input.len()));
            }
            self.per_byte = self.per_byte.max(per_byte);
        }
    }
}

/// bincode's variable-length integer.
fn varint(number: u64) -> Vec<u8> {
    match number {
        0..=250 => vec![u8::try_from(number).unwrap()],
        251..=0xffff => [&[251][..], &u16::try_from(number).unwrap().to_le_bytes()].concat(),
        0x1_0000..=0xffff_ffff => [&[252][..], &u32::try_from(number).unwrap().to_le_bytes()].concat(),
        _ => [&[253][..], &number.to_le_bytes()].concat(),
    }
}

/// Lengths to claim: absurd, just within a message, and the limits of the lists.
const CLAIMS: [u64; 10] =
    [u64::MAX, 1 << 62, 1 << 32, MESSAGE_BYTES as u64 - 64, 1 << 16, 4_096, 2_048, 1_024, 1_000, 256];

fn attack(worst: &mut Worst, kind: &Kind, seed: u64) {
    let valid = (kind.valid)(seed);
    worst.try_one(kind, &valid);
    let zeros = vec![0; 160 << 10];
    for at in 0..=valid.len() {
        worst.try_one(kind, &valid[..at]);
        for claim in CLAIMS {
            let claimed = [&valid[..at], &varint(claim)].concat();
            worst.try_one(kind, &claimed);
            if at < valid.len() {
                worst.try_one(kind, &[&claimed, &valid[at + 1..]].concat());
            }
            // As many smallest items as were promised, of one byte each and of the bytes of ids.
            if (256..=4_096).contains(&claim) {
                for each in [1, 2, 4, 40] {
                    let items = usize::try_from(claim).unwrap() * each;
                    worst.try_one(kind, &[&claimed, &zeros[..items.min(zeros.len())]].concat());
                }
            }
        }
    }
}

fn noise(worst: &mut Worst, kind: &Kind, seed: u64) {
    let mut numbers = Seeded(seed);
    for _ in 0..50 {
        let len = usize::try_from(numbers.below(2_000)).unwrap();
        let mut bytes = Vec::with_capacity(len);
        bytes.resize_with(len, || u8::try_from(numbers.below(256)).unwrap());
        worst.try_one(kind, &bytes);
    }
    for fill in [0, 1, 64, 250, 251, 252, 253, 255] {
        for len in [10, 1_000, MESSAGE_BYTES, MESSAGE_BYTES + 1] {
            worst.try_one(kind, &vec![fill; len]);
        }
    }
}

fn both<R: Request>(worst: &mut Worst, tags: &mut Vec<(u16, &'static str)>) {
    tags.push((R::TAG, R::NAME));
    for kind in [Kind::of::<R>(R::NAME), Kind::of::<R::Response>(format!("answer to {}", R::NAME))] {
        (0..6).for_each(|seed| attack(worst, &kind, seed));
        noise(worst, &kind, u64::from(R::TAG));
    }
}

macro_rules! all {
    ($worst:ident: $($service:ident { $($request:ident)* })*) => {$(
        let mut tags = Vec::new();
        $(both::<$request>(&mut $worst, &mut tags);)*
        assert_eq!(tags, $service::TAGS, "a request of {} is not measured", stringify!($service));
    )*};
}

/// The control: plain text that bincode reads by itself allocates what it is told, which is why no message has any.
fn the_meter_sees_a_decoder_that_believes_a_length() {
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    assert!(codec::decode::<String>(&varint(1 << 20)).is_err());
    assert!(ALLOCATOR.peak_usage() - before >= 1 << 20);
}

/// One test in this file: the allocator counts for the whole process.
#[test]
fn no_message_makes_its_decoder_allocate_more_than_a_small_multiple_of_its_length() {
    the_meter_sees_a_decoder_that_believes_a_length();
    let mut worst = Worst::default();
    all! { worst:
        DirectoryRequest {
            Hello GetMap Renew GetStatus LookUp List MakeFolders Rename Remove ReadManifests Begin Extend Ask Register PutPages
            Publish Abandon SetRedundancy Heartbeat NewTicket Revoke DrainPeer RemovePeer Reconcile CheckStore
            FindMoment ReadHistory
            CreateSnapshot ListSnapshots GetSnapshot RemoveSnapshot PlanPrune Prune MeasureSpace GetUsage ListAccounts
            SetQuota
            NewShare ListShares RevokeShare ShowVersion OpenShare ListShared ReadShared
            AskContents ListVersions SwapPages RotateKey ListStale Reseal SettleKey NoteConflict
        }
        PeerRequest { PutShard GetShard PutChain FetchShard DropShards CondemnShards MakeShard Digest ListShards ReadShard }
        EnrollRequest { Enroll EnrollGuest }
    }
    let others = [
        Kind::of::<Refusal>("Refusal"),
        Kind::of::<ClusterMap>("ClusterMap"),
        Kind::of::<Grant>("Grant"),
        Kind::of::<Pass>("Pass"),
    ];
    for kind in &others {
        (0..6).for_each(|seed| attack(&mut worst, kind, seed));
    }
    let Worst { per_byte, flat, names, inputs } = worst;
    let shown = format!("{inputs} inputs; {flat} bytes for a short one; per 100 bytes of a long one {names:?}");
    eprintln!("{shown}");
    assert!(per_byte * 10 > PER_BYTE * 100 && flat * 10 > FLAT, "the bound can be tighter: {shown}");
}
