//! What peers read of each other, and what the directory asks about everything: passes and inventories.

use common::address::ShardAddress;
use common::id::{AccountId, ChunkId, ClusterId, DeviceId, PeerId, ShareId};
use common::identity::{StatementKey, Subject};
use common::inventory::{Sums, part_of};
use common::pass::{Pass, Reader, SignedPass};
use common::proto::Refusal;
use common::proto::peer::{
    CondemnShards, Condition, Digest, DropShards, FetchShard, ListShards, PutShard, ReadShard, ShardName,
};
use common::proto::refusal::{GrantFault, What};
use common::signed::Signed;
use common::time::Timestamp;
use common::transport::{CallError, call};

use super::cluster::{Cluster, Device, LIMIT, noise, refusal};

const MAKER: PeerId = PeerId([31; 16]);

async fn fetch(who: &Device, pass: SignedPass, address: ShardAddress) -> Result<Vec<u8>, CallError> {
    let (range, body) = call(&who.connection, &FetchShard { pass, address }, vec![], LIMIT).await?;
    assert_eq!(range.len, range.total);
    Ok(body.bytes(range.len as usize).await?.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_opens_the_shards_of_one_chunk_to_one_peer_until_its_time() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let maker = cluster.somebody(Subject::Peer(MAKER), &peer).await;
    let bytes = noise(1, 3_000_000);
    let put = cluster.put_of(&device, &bytes);
    device.put(&put, &bytes).await.unwrap();
    let other = PutShard { chunk: ChunkId([2; 20]), ..cluster.put_of(&device, &noise(2, 100)) };
    device.put(&other, &noise(2, 100)).await.unwrap();

    let good = cluster.pass(Reader::Peer(MAKER), device.account);
    for _ in 0..2 {
        assert!(fetch(&maker, cluster.sign_pass(&good), put.address).await.unwrap() == bytes);
    }
    let check = async |pass: Pass, expected: Refusal| {
        assert_eq!(refusal(fetch(&maker, cluster.sign_pass(&pass), put.address).await), expected);
    };
    let fault = Refusal::Grant;
    check(Pass { cluster: ClusterId([9; 16]), ..good.clone() }, fault(GrantFault::OtherCluster)).await;
    check(Pass { reader: Reader::Peer(PeerId([32; 16])), ..good.clone() }, fault(GrantFault::NotYours)).await;
    check(Pass { expires: Timestamp(5), ..good.clone() }, fault(GrantFault::Expired(Timestamp(5)))).await;
    check(Pass { account: AccountId([9; 16]), ..good.clone() }, Refusal::NotFound(What::Shard)).await;
    check(Pass { chunks: vec![ChunkId([9; 20])].try_into().unwrap(), ..good.clone() }, Refusal::NotFound(What::Shard))
        .await;
    let not_of_it = fetch(&maker, cluster.sign_pass(&good), other.address).await;
    assert_eq!(refusal(not_of_it), Refusal::NotFound(What::Shard));
    let forged: SignedPass = Signed::sign(&good, &StatementKey::generate().unwrap()).unwrap();
    assert_eq!(refusal(fetch(&maker, forged, put.address).await), fault(GrantFault::Signature));
    // Nobody but a peer, not even the device whose it is.
    assert_eq!(refusal(fetch(&device, cluster.sign_pass(&good), put.address).await), Refusal::WrongRole);
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_opens_parts_of_the_shards_of_its_chunks_to_a_reader_of_another_account_and_to_a_guest() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let owner = cluster.device(1, &peer).await;
    let other = cluster.device(2, &peer).await;
    let subject = Subject::Guest { guest: DeviceId([3; 16]), share: ShareId([4; 16]) };
    let guest = cluster.somebody(subject, &peer).await;
    let bytes = noise(1, 300_000);
    let put = cluster.put_of(&owner, &bytes);
    owner.put(&put, &bytes).await.unwrap();
    let neighbour = PutShard { chunk: ChunkId([2; 20]), ..cluster.put_of(&owner, &noise(2, 100)) };
    owner.put(&neighbour, &noise(2, 100)).await.unwrap();

    for reader in [&other, &guest] {
        let good = cluster.pass(Reader::Device(reader.device), owner.account);
        let read = async |pass: SignedPass, address, offset| {
            let request = ReadShard { pass, address, offset, len: 1_000 };
            let (range, body) = call(&reader.connection, &request, vec![], LIMIT).await?;
            body.bytes(range.len as usize).await.map(|bytes| bytes.to_vec())
        };
        let got = read(cluster.sign_pass(&good), put.address, 5_000).await.unwrap();
        assert_eq!(got, bytes[5_000..6_000]);
        let check = async |pass: Pass, address, expected: Refusal| {
            assert_eq!(refusal(read(cluster.sign_pass(&pass), address, 0).await), expected);
        };
        check(good.clone(), neighbour.address, Refusal::NotFound(What::Shard)).await;
        let late = Pass { expires: Timestamp(5), ..good.clone() };
        check(late, put.address, Refusal::Grant(GrantFault::Expired(Timestamp(5)))).await;
        let of_another = Pass { reader: Reader::Device(DeviceId([9; 16])), ..good.clone() };
        check(of_another, put.address, Refusal::Grant(GrantFault::NotYours)).await;
        let forged: SignedPass = Signed::sign(&good, &StatementKey::generate().unwrap()).unwrap();
        assert_eq!(refusal(read(forged, put.address, 0).await), Refusal::Grant(GrantFault::Signature));
        // A pass for devices opens nothing to a peer's request.
        assert_eq!(refusal(fetch(reader, cluster.sign_pass(&good), put.address).await), Refusal::WrongRole);
    }
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inventory_says_what_is_here_in_which_condition() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let mut expected = Sums::default();
    let mut puts = Vec::new();
    for seed in 0..6 {
        let bytes = noise(seed, 1_000);
        let put = cluster.put_of(&device, &bytes);
        device.put(&put, &bytes).await.unwrap();
        expected.add(device.account, put.address, put.chunk);
        puts.push(put);
    }
    let order = &cluster.directory;
    assert_eq!(*order.order(&Digest {}).await.unwrap().parts, *expected.parts());

    let gone = puts.swap_remove(0);
    let name = ShardName { account: device.account, address: gone.address };
    let shards = common::bounded::BoundedVec::try_from(vec![name]).unwrap();
    order.order(&CondemnShards { generation: 1, shards: shards.clone() }).await.unwrap();
    order.order(&DropShards { generation: 1, shards }).await.unwrap();
    expected.take(device.account, gone.address, gone.chunk);
    assert_eq!(*order.order(&Digest {}).await.unwrap().parts, *expected.parts());

    for put in puts.iter().chain([&gone]) {
        let part = part_of(&put.address);
        let page = order.order(&ListShards { part, after: None }).await.unwrap();
        assert!(!page.more);
        let found: Vec<_> = page.shards.iter().filter(|view| view.name.address == put.address).collect();
        let [view] = found[..] else { panic!("{found:?}") };
        assert_eq!((view.chunk, view.index, view.redundancy), (put.chunk, put.index, put.redundancy));
        assert_eq!((view.name.account, view.sealed_len, view.generation), (device.account, put.sealed_len, 1));
        let expected = if put.address == gone.address { Condition::Trash } else { Condition::Live };
        assert_eq!(view.condition, expected);
        let after = Some(view.name);
        let behind = order.order(&ListShards { part, after }).await.unwrap();
        assert!(behind.shards.iter().all(|other| other.name > view.name));
    }
    let heard = cluster.directory.heard.subscribe();
    let told = |h: &Option<common::proto::directory::Heartbeat>| h.as_ref().is_some_and(|h| h.trash == 4_096);
    super::cluster::within(heard.clone().wait_for(told)).await.unwrap();
    peer.end().await;
    cluster.end().await;
}
