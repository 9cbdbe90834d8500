//! Shards that a peer makes on the directory's word: copied, decoded, taken back from the trash; and what it is not fooled by.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use common::address::ShardAddress;
use common::erasure::split;
use common::grant::Grant;
use common::id::{AccountId, ChunkId, PeerId};
use common::proto::Refusal;
use common::proto::parts::ShardAt;
use common::proto::peer::{
    CondemnShards, DropShards, FetchShard, MakeShard, PeerRequest, PutShard, ShardName, ShardRange,
};
use common::proto::refusal::What;
use common::redundancy::Redundancy;
use common::transport::{Call, CallError, Caller, Handler, Responder};
use tokio::task::JoinHandle;

use super::cluster::{Cluster, Device, PEER, noise, refusal};

/// Another peer that has these bytes, under whatever address it is asked for them.
struct Holder(HashMap<ShardAddress, Bytes>);

impl Handler for Holder {
    async fn handle(&self, _: Arc<Caller>, request: Call, responder: Responder) -> Result<(), CallError> {
        let PeerRequest::FetchShard(request) = PeerRequest::decode(request.tag, &request.message).unwrap() else {
            panic!("another request");
        };
        match self.0.get(&request.address) {
            Some(bytes) => {
                let len = u32::try_from(bytes.len()).unwrap();
                responder.answer::<FetchShard>(&ShardRange { len, total: len }, vec![bytes.clone()]).await
            }
            None => responder.refuse(&Refusal::NotFound(What::Shard)).await,
        }
    }
}

/// No two spreads have a peer in common.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A chunk, and a peer for each of its shards.
struct Spread {
    sealed: Bytes,
    redundancy: Redundancy,
    shards: Vec<Bytes>,
    at: Vec<ShardAt>,
    peers: Vec<JoinHandle<()>>,
}

impl Spread {
    /// The peers of `damaged` send other bytes, those of `gone` do not have the shard.
    async fn new(cluster: &Cluster, redundancy: &str, len: usize, damaged: &[usize], gone: &[usize]) -> Self {
        let redundancy: Redundancy = redundancy.parse().unwrap();
        let sealed = Bytes::from(noise(77, len));
        let shards = split(&sealed, redundancy).unwrap();
        let (mut at, mut peers, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (index, shard) in shards.iter().enumerate() {
            let peer = PeerId((u128::from(NEXT.fetch_add(1, Ordering::Relaxed)) + (1 << 100)).to_be_bytes());
            let address = ShardAddress::of(shard);
            let sent = if damaged.contains(&index) { Bytes::from(noise(78, shard.len())) } else { shard.clone() };
            let held = if gone.contains(&index) { HashMap::new() } else { HashMap::from([(address, sent)]) };
            let (place, serving) = cluster.neighbour(peer, Holder(held));
            places.push((peer, place));
            peers.push(serving);
            at.push(ShardAt { index: u8::try_from(index).unwrap(), peer, address });
        }
        cluster.introduce(&places).await;
        Self { sealed, redundancy, shards, at, peers }
    }

    /// The order to make one shard from the sources with these indices.
    fn order(&self, cluster: &Cluster, device: &Device, sources: &[usize], to: &str, index: u8) -> MakeShard {
        let sources: Vec<_> = sources.iter().map(|at| self.at[*at]).collect();
        MakeShard {
            generation: 1,
            pass: cluster.sign_pass(&cluster.pass(common::pass::Reader::Peer(PEER), device.account)),
            account: device.account,
            chunk: ChunkId([1; 20]),
            sealed_len: u32::try_from(self.sealed.len()).unwrap(),
            from: self.redundancy,
            sources: sources.try_into().unwrap(),
            to: to.parse().unwrap(),
            index,
            address: None,
        }
    }

    fn end(self) {
        self.peers.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wanted_shard_is_copied_from_the_first_source_that_has_it() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    for len in [1, 2 << 20, common::limits::CHUNK_BYTES] {
        let spread = Spread::new(&cluster, "1/4", len, &[0], &[1]).await;
        let address = Some(spread.at[0].address);
        let order = MakeShard { address, ..spread.order(&cluster, &device, &[0, 1, 2, 3], "1/4", 3) };
        let made = cluster.directory.order(&order).await.unwrap();
        assert_eq!((made.address, made.existed, &*made.addresses), (spread.at[0].address, false, &[][..]), "{len}");
        assert_eq!(*made.damaged, [spread.at[0].peer]);
        assert!(device.get_all(made.address).await.unwrap() == spread.sealed);
        let again = cluster.directory.order(&order).await.unwrap();
        assert!(again.existed && again.damaged.is_empty());
        spread.end();
    }
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_share_is_decoded_from_any_others_and_who_sent_wrong_bytes_is_said() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let spread = Spread::new(&cluster, "4/8", 1_000_001, &[2], &[5]).await;
    for (index, sources) in [(0_u8, &[1, 2, 3, 4, 5, 6, 7][..]), (7, &[5, 2, 0, 1, 3, 4]), (1, &[2, 3, 4, 5, 6, 7])] {
        let expected = &spread.shards[usize::from(index)];
        let address = Some(spread.at[usize::from(index)].address);
        let order = MakeShard { address, ..spread.order(&cluster, &device, sources, "4/8", index) };
        let made = cluster.directory.order(&order).await.unwrap();
        assert_eq!((made.address, made.existed), (ShardAddress::of(expected), false), "{index}");
        assert_eq!(*made.damaged, [spread.at[2].peer], "{index}");
        assert!(made.addresses.is_empty(), "{index}: they are known");
        assert!(device.get_all(made.address).await.unwrap() == *expected, "{index}");
    }
    // It was told something that this chunk's shards do not say.
    let wrong = ShardAddress([9; 20]);
    let order = MakeShard { address: Some(wrong), ..spread.order(&cluster, &device, &[0, 1, 3, 4], "4/8", 6) };
    assert_eq!(refusal(cluster.directory.order(&order).await), Refusal::AddressMismatch);
    assert_eq!(refusal(device.get_all(wrong).await), Refusal::NotFound(What::Shard));
    // Three are left, one of them twice.
    let order = spread.order(&cluster, &device, &[0, 2, 5, 1, 3, 3], "4/8", 6);
    assert_eq!(refusal(cluster.directory.order(&order).await), Refusal::TooFewShards { have: 3, need: 4 });
    spread.end();
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_makers_of_another_redundancy_say_the_same_addresses() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    for (from, to, a, b) in [
        ("1/3", "4/6", &[0][..], &[2][..]),
        ("4/6", "2/5", &[0, 1, 2, 3], &[5, 4, 3, 2]),
        ("4/6", "1/3", &[0, 1, 2, 3], &[1, 5, 3, 2]),
    ] {
        let spread = Spread::new(&cluster, from, 700_001, &[], &[]).await;
        let all = split(&spread.sealed, to.parse().unwrap()).unwrap();
        let addresses: Vec<_> = all.iter().map(|shard| ShardAddress::of(shard)).collect();
        for (index, sources) in [(0_u8, a), (2, b)] {
            let made = cluster.directory.order(&spread.order(&cluster, &device, sources, to, index)).await.unwrap();
            assert_eq!(*made.addresses, addresses, "{from} to {to}");
            assert_eq!(made.address, addresses[usize::from(index)]);
            assert!(device.get_all(made.address).await.unwrap() == all[usize::from(index)]);
        }
        spread.end();
    }
    peer.end().await;
    cluster.end().await;
}

/// One shard of a coded chunk, as its device would store it.
async fn put_share(cluster: &Cluster, device: &Device, spread: &Spread, index: usize) {
    let shard = &spread.shards[index];
    let grant = Grant { bytes: 64 << 20, ..cluster.grant(device) };
    let request = PutShard {
        grant: cluster.sign(&grant),
        index: u8::try_from(index).unwrap(),
        redundancy: spread.redundancy,
        sealed_len: u32::try_from(spread.sealed.len()).unwrap(),
        ..cluster.put_of(device, shard)
    };
    device.put(&request, shard).await.unwrap();
}

async fn drop_it(cluster: &Cluster, account: AccountId, address: ShardAddress) -> u32 {
    let shards = common::bounded::BoundedVec::try_from(vec![ShardName { account, address }]).unwrap();
    cluster.directory.order(&CondemnShards { generation: 1, shards: shards.clone() }).await.unwrap();
    cluster.directory.order(&DropShards { generation: 1, shards }).await.unwrap().dropped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_here_is_used_live_or_from_the_trash_as_a_source_too() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let mut spread = Spread::new(&cluster, "2/4", 300_000, &[], &[]).await;
    put_share(&cluster, &device, &spread, 0).await;
    spread.at[0].peer = PEER;
    let here = spread.at[0].address;
    assert_eq!(drop_it(&cluster, device.account, here).await, 1);

    // As a source, out of the trash; it stays there.
    let order = spread.order(&cluster, &device, &[0, 3], "2/4", 1);
    let made = cluster.directory.order(&order).await.unwrap();
    assert_eq!((made.address, made.existed), (spread.at[1].address, false));

    // As what is wanted: nobody else has anything of this chunk.
    let order = MakeShard { address: Some(here), ..spread.order(&cluster, &device, &[], "2/4", 0) };
    let made = cluster.directory.order(&order).await.unwrap();
    assert!(made.existed);
    let late = DropShards {
        generation: 1,
        shards: vec![ShardName { account: device.account, address: here }].try_into().unwrap(),
    };
    assert_eq!(cluster.directory.order(&late).await.unwrap().dropped, 0);
    let condemn = CondemnShards { generation: 1, shards: late.shards.clone() };
    assert_eq!(cluster.directory.order(&condemn).await.unwrap().condemned, 1);
    assert!(cluster.directory.order(&order).await.unwrap().existed);
    assert_eq!(cluster.directory.order(&late).await.unwrap().dropped, 0, "it is wanted again");
    spread.end();
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_directory_makes_nothing_and_nobody_waits_for_who_is_unknown() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let mut spread = Spread::new(&cluster, "1/3", 5_000, &[], &[]).await;
    cluster.directory.say(|answer| answer.history.generation = 3).await;
    let order = spread.order(&cluster, &device, &[0], "1/3", 1);
    assert_eq!(refusal(cluster.directory.order(&order).await), Refusal::OldGeneration { given: 1, known: 3 });
    spread.at[0].peer = PeerId([200; 16]);
    let order = MakeShard { generation: 3, ..spread.order(&cluster, &device, &[0], "1/3", 1) };
    assert_eq!(refusal(cluster.directory.order(&order).await), Refusal::TooFewShards { have: 0, need: 1 });
    spread.end();
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_orders_at_once_share_a_bounded_memory_and_all_end() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = Arc::new(cluster.device(1, &peer).await);
    let spread = Arc::new(Spread::new(&cluster, "4/20", 2 << 20, &[], &[]).await);
    let mut jobs = tokio::task::JoinSet::new();
    for index in 0..20_usize {
        let sources: Vec<_> = (0..20).filter(|source| *source != index).collect();
        let order = MakeShard {
            address: Some(spread.at[index].address),
            ..spread.order(&cluster, &device, &sources, "4/20", u8::try_from(index).unwrap())
        };
        let directory = cluster.directory.clone();
        jobs.spawn(async move {
            loop {
                match directory.order(&order).await {
                    Err(CallError::Refused(Refusal::Busy)) => {} // a slow machine: it is ordered again, as the directory does
                    made => break made.unwrap(),
                }
            }
        });
    }
    for made in jobs.join_all().await {
        assert!(!made.existed);
    }
    for (at, shard) in spread.at.iter().zip(&spread.shards) {
        assert!(device.get_all(at.address).await.unwrap() == *shard);
    }
    peer.end().await;
    cluster.end().await;
}
