//! Every message of the wire, from its first byte: `[what u8][frame]`. What is taken is written again and must be read as the same.

#![no_main]

use common::codec;
use common::grant::{Grant, SignedGrant};
use common::limits::FRAME_HEADER_BYTES;
use common::map::{ClusterMap, SignedMap};
use common::pass::Pass;
use common::proto::directory::*;
use common::proto::enroll::{Enroll, EnrollGuest, EnrollRequest};
use common::proto::frame::decode_response;
use common::proto::peer::*;
use common::proto::{FrameHead, Refusal, Request};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn stable<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Ok(value) = codec::decode::<T>(bytes) else { return };
    let written = codec::encode(&value).expect("what was read can be written");
    assert!(written.len() <= bytes.len(), "the shortest form is the one that is written");
    let again: T = codec::decode(&written).expect("what was written can be read");
    assert_eq!(codec::encode(&again).unwrap(), written);
}

fn both<R: Request>(head: FrameHead, message: &[u8]) {
    stable::<R>(message);
    stable::<R::Response>(message);
    let _ = decode_response::<R>(head, message);
}

macro_rules! one_of {
    ($what:expr, $head:expr, $message:expr; $($number:literal $request:ident)*) => {
        match $what { $($number => both::<$request>($head, $message),)* _ => {} }
    };
}

fuzz_target!(|bytes: &[u8]| {
    let Some((what, frame)) = bytes.split_first() else { return };
    let Some((head, message)) = frame.split_first_chunk::<FRAME_HEADER_BYTES>() else { return };
    let Ok(head) = FrameHead::parse(*head) else { return };
    let _ = DirectoryRequest::decode(head.tag, message);
    let _ = PeerRequest::decode(head.tag, message);
    let _ = EnrollRequest::decode(head.tag, message);
    match what {
        100 => stable::<Refusal>(message),
        101 => stable::<ClusterMap>(message),
        102 => stable::<Grant>(message),
        103 => stable::<SignedMap>(message),
        104 => stable::<SignedGrant>(message),
        105 => stable::<Pass>(message),
        _ => {}
    }
    one_of! { what, head, message;
        0 Hello 1 GetMap 2 Renew 3 GetStatus 4 LookUp 5 List 6 MakeFolders 7 Rename 8 Remove 9 ReadManifests 10 Begin 11 Extend
        12 Ask 13 Register 14 PutPages 15 Publish 16 Abandon 17 Heartbeat 18 NewTicket 19 Revoke 20 Enroll 21 PutShard
        22 GetShard 23 DropShards 24 PutChain 25 FetchShard 26 CondemnShards 27 MakeShard 28 Digest 29 ListShards
        30 SetRedundancy 31 DrainPeer 32 RemovePeer 33 Reconcile 34 CheckStore 60 FindMoment 61 ReadHistory
        30 SetRedundancy 31 DrainPeer 32 RemovePeer 33 Reconcile 34 CheckStore
        65 CreateSnapshot 66 ListSnapshots 67 GetSnapshot 68 RemoveSnapshot 69 PlanPrune
        70 Prune 71 MeasureSpace 72 GetUsage 73 ListAccounts 74 SetQuota
        80 NewShare 81 ListShares 82 RevokeShare 83 ShowVersion 84 OpenShare 85 ListShared 86 ReadShared 87 ReadShard 88 EnrollGuest
        93 AskContents 94 ListVersions 95 SwapPages 96 RotateKey 97 ListStale 98 Reseal 99 SettleKey 106 NoteConflict
    }
});
