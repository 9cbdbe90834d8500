//! What the rooms that all programs share cost by themselves: `cargo bench -p common`.
//!
//! Sketches to compare with stand in the module docs. Bytes a second are of a chunk's sealed bytes, items of what the bench is named for.
#![allow(clippy::unwrap_used, reason = "a bench that cannot make its input has failed")]

mod inputs;

use bytes::Bytes;
use common::address::{Addresser, ShardAddress};
use common::erasure::{join, split};
use common::grant::SignedGrant;
use common::id::ChunkId;
use common::identity::StatementKey;
use common::map::SignedMap;
use common::place::order;
use common::proto::directory::ReadManifests;
use common::proto::frame::{FrameHead, decode_response, encode_request, encode_response};
use common::redundancy::Redundancy;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

/// About what a chunk has.
const CHUNK: usize = 2 << 20;

fn main() {
    divan::main();
}

mod address {
    use super::*;

    #[divan::bench(args = [16 << 10, CHUNK])]
    fn of(bencher: Bencher, len: usize) {
        let bytes = inputs::noise(len);
        bencher.counter(BytesCount::new(len)).bench(|| ShardAddress::of(black_box(&bytes)));
    }

    /// As they arrive at a peer.
    #[divan::bench]
    fn in_packets_of_1452(bencher: Bencher) {
        let bytes = inputs::noise(CHUNK);
        bencher.counter(BytesCount::new(CHUNK)).bench(|| {
            let mut addresser = Addresser::new();
            black_box(&bytes).chunks(1_452).for_each(|packet| addresser.update(packet));
            addresser.finish()
        });
    }
}

mod erasure {
    use super::*;

    const CODES: [&str; 3] = ["1/3", "4/6", "10/14"];

    #[divan::bench(args = CODES)]
    fn split_a_chunk(bencher: Bencher, code: &str) {
        let (sealed, code): (Bytes, Redundancy) = (inputs::noise(CHUNK).into(), code.parse().unwrap());
        bencher.counter(BytesCount::new(CHUNK)).bench(|| split(black_box(&sealed), code));
    }

    #[divan::bench(args = CODES)]
    fn join_nothing_lost(bencher: Bencher, code: &str) {
        let code: Redundancy = code.parse().unwrap();
        let shards = inputs::without(code, 0, CHUNK);
        bencher.counter(BytesCount::new(CHUNK)).bench(|| join(black_box(&shards), code, CHUNK));
    }

    #[divan::bench(args = ["4/6", "10/14"])]
    fn join_as_many_lost_as_may_be(bencher: Bencher, code: &str) {
        let code: Redundancy = code.parse().unwrap();
        let shards = inputs::without(code, code.losses(), CHUNK);
        bencher.counter(BytesCount::new(CHUNK)).bench(|| join(black_box(&shards), code, CHUNK));
    }
}

mod frame {
    use super::*;

    #[divan::bench]
    fn encode_registration_of_64(bencher: Bencher) {
        let request = inputs::register();
        bencher.counter(ItemsCount::new(64_u32)).bench(|| encode_request(black_box(&request)));
    }

    #[divan::bench]
    fn decode_registration_of_64(bencher: Bencher) {
        let bytes = encode_request(&inputs::register()).unwrap();
        bencher.counter(ItemsCount::new(64_u32)).bench(|| inputs::decode(black_box(&bytes)));
    }

    #[divan::bench]
    fn encode_placements_of_512(bencher: Bencher) {
        let answer = inputs::placements();
        bencher.counter(ItemsCount::new(512_u32)).bench(|| encode_response(black_box(&answer)));
    }

    #[divan::bench]
    fn decode_placements_of_512(bencher: Bencher) {
        let bytes = encode_response(&inputs::placements()).unwrap();
        let (head, message) = bytes.split_first_chunk().unwrap();
        let head = FrameHead::parse(*head).unwrap();
        let decode = || decode_response::<ReadManifests>(head, black_box(message)).unwrap();
        bencher.counter(ItemsCount::new(512_u32)).bench(decode);
    }

    #[divan::bench]
    fn encode_page_of_512(bencher: Bencher) {
        let request = inputs::page();
        bencher.counter(ItemsCount::new(512_u32)).bench(|| encode_request(black_box(&request)));
    }

    #[divan::bench]
    fn decode_page_of_512(bencher: Bencher) {
        let bytes = encode_request(&inputs::page()).unwrap();
        bencher.counter(ItemsCount::new(512_u32)).bench(|| inputs::decode(black_box(&bytes)));
    }
}

/// The order of peers for one chunk.
#[divan::bench(args = [10, 100, 1_000])]
fn place(bencher: Bencher, peers: usize) {
    let (map, chunk) = (inputs::map(peers), ChunkId([5; 20]));
    bencher.counter(ItemsCount::new(1_u32)).bench(|| order(black_box(&chunk), &map));
}

mod statement {
    use super::*;

    #[divan::bench]
    fn sign_a_grant(bencher: Bencher) {
        let (key, grant) = (StatementKey::generate().unwrap(), inputs::grant());
        bencher.bench(|| SignedGrant::sign(black_box(&grant), &key));
    }

    #[divan::bench]
    fn verify_a_grant(bencher: Bencher) {
        let key = StatementKey::generate().unwrap();
        let (signed, public) = (SignedGrant::sign(&inputs::grant(), &key).unwrap(), key.public());
        bencher.bench(|| black_box(&signed).verify(&public).unwrap());
    }

    /// What a cache of verified statements is asked by.
    #[divan::bench]
    fn fingerprint_a_grant(bencher: Bencher) {
        let signed = SignedGrant::sign(&inputs::grant(), &StatementKey::generate().unwrap()).unwrap();
        bencher.bench(|| black_box(&signed).fingerprint());
    }

    /// Items are peers.
    #[divan::bench(args = [10, 100, 1_000])]
    fn verify_a_map(bencher: Bencher, peers: usize) {
        let key = StatementKey::generate().unwrap();
        let (signed, public) = (SignedMap::sign(&inputs::map(peers), &key).unwrap(), key.public());
        bencher.counter(ItemsCount::new(peers)).bench(|| black_box(&signed).verify(&public).unwrap());
    }
}
