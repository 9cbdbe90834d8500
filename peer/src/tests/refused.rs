//! What is refused, and that nothing comes of it.

use common::address::ShardAddress;
use common::bounded::BoundedVec;
use common::grant::Grant;
use common::id::{AccountId, ClusterId, DeviceId, PeerId};
use common::identity::{StatementKey, Subject};
use common::limits::SHARD_BYTES;
use common::proto::peer::{CondemnShards, Digest, DropShards, ListShards, PutShard, ShardName, Stored};
use common::proto::refusal::{GrantFault, What};
use common::proto::{Refusal, Request};
use common::signed::Signed;
use common::time::Timestamp;
use common::transport::call;
use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, Device, LIMIT, noise, now, refusal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_that_is_not_good_here_buys_nothing() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let bytes = noise(1, 10_000);
    let good = cluster.grant(&device);
    let check = async |grant: Grant, fault| {
        let request = PutShard { grant: cluster.sign(&grant), ..cluster.put_of(&device, &bytes) };
        assert_eq!(refusal(device.put(&request, &bytes).await), Refusal::Grant(fault));
        assert_eq!(refusal(device.get_all(request.address).await), Refusal::NotFound(What::Shard));
    };
    check(Grant { cluster: ClusterId([9; 16]), ..good.clone() }, GrantFault::OtherCluster).await;
    check(Grant { account: AccountId([9; 16]), ..good.clone() }, GrantFault::NotYours).await;
    check(Grant { device: DeviceId([9; 16]), ..good.clone() }, GrantFault::NotYours).await;
    check(Grant { expires: Timestamp(5), ..good.clone() }, GrantFault::Expired(Timestamp(5))).await;
    check(Grant { bytes: 9_999, ..good.clone() }, GrantFault::Spent).await;
    let forged = Signed::sign(&good, &StatementKey::generate().unwrap()).unwrap();
    let request = PutShard { grant: forged, ..cluster.put_of(&device, &bytes) };
    assert_eq!(refusal(device.put(&request, &bytes).await), Refusal::Grant(GrantFault::Signature));

    // It is the directory's time that counts, whatever clock this machine has.
    let later = now().plus(std::time::Duration::from_secs(3600));
    cluster.directory.say(|answer| answer.now = later).await;
    check(good.clone(), GrantFault::Expired(good.expires)).await;
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_spent_by_what_was_stored_and_by_nothing_else() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let grant = cluster.sign(&Grant { bytes: 25_000, ..cluster.grant(&device) });
    let put = async |seed, body_of| {
        let request = PutShard { grant: grant.clone(), ..cluster.put_of(&device, &noise(seed, 10_000)) };
        device.put(&request, &noise(body_of, 10_000)).await
    };
    assert!(!put(1, 1).await.unwrap());
    for _ in 0..3 {
        assert_eq!(refusal(put(2, 3).await), Refusal::AddressMismatch);
        assert!(put(1, 1).await.unwrap(), "what is there costs nothing");
    }
    assert!(!put(2, 2).await.unwrap());
    assert_eq!(refusal(put(3, 3).await), Refusal::Grant(GrantFault::Spent));
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_not_what_was_announced_are_not_stored() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let bytes = noise(1, 300_000);
    let good = cluster.put_of(&device, &bytes);
    let most = u32::try_from(SHARD_BYTES).unwrap();
    let check = async |request: PutShard, body: &[u8], expected| {
        assert_eq!(refusal(device.put(&request, body).await), expected);
        assert_eq!(refusal(device.get_all(request.address).await), Refusal::NotFound(What::Shard));
    };
    check(good.clone(), &noise(2, 300_000), Refusal::AddressMismatch).await;
    check(good.clone(), &bytes[..299_999], Refusal::Malformed).await;
    check(good.clone(), &[], Refusal::Malformed).await;
    check(good.clone(), &[&bytes[..], &[1]].concat(), Refusal::TooLarge(What::Body)).await;
    check(PutShard { index: 3, ..good.clone() }, &bytes, Refusal::Malformed).await;
    check(PutShard { sealed_len: 300_001, ..good.clone() }, &bytes, Refusal::Malformed).await;
    let huge = PutShard { sealed_len: most + 1, len: most + 1, ..good.clone() };
    check(huge, &bytes, Refusal::TooLarge(What::Shard)).await;
    let endless = PutShard { sealed_len: u32::MAX, len: u32::MAX, ..good.clone() };
    check(endless, &bytes, Refusal::TooLarge(What::Shard)).await;
    assert!(!device.put(&good, &bytes).await.unwrap(), "and the good one still gets in");
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_the_directory_drops_and_no_other_role_stores_or_reads() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let bytes = noise(1, 1_000);
    let put = cluster.put_of(&device, &bytes);
    device.put(&put, &bytes).await.unwrap();
    let name = ShardName { account: device.account, address: put.address };
    let shards = BoundedVec::try_from(vec![name]).unwrap();
    let condemn_it = CondemnShards { generation: u64::MAX, shards: shards.clone() };
    let drop_it = DropShards { generation: u64::MAX, shards };
    let list = ListShards { part: 0, after: None };
    let not_the_directory = async |who: &Device| {
        assert_eq!(refusal(call(&who.connection, &condemn_it, vec![], LIMIT).await), Refusal::WrongRole);
        assert_eq!(refusal(call(&who.connection, &drop_it, vec![], LIMIT).await), Refusal::WrongRole);
        assert_eq!(refusal(call(&who.connection, &Digest {}, vec![], LIMIT).await), Refusal::WrongRole);
        assert_eq!(refusal(call(&who.connection, &list, vec![], LIMIT).await), Refusal::WrongRole);
    };
    not_the_directory(&device).await;
    for subject in [Subject::Peer(PeerId([3; 16])), Subject::Admin(DeviceId([3; 16]))] {
        let other = cluster.somebody(subject, &peer).await;
        not_the_directory(&other).await;
        // A peer passes on what a device sends, under that device's grant; see the tests of chains.
        match subject {
            Subject::Peer(_) => assert!(other.put(&put, &bytes).await.unwrap()),
            _ => assert_eq!(refusal(other.put(&put, &bytes).await), Refusal::WrongRole),
        }
        assert_eq!(refusal(other.get_all(put.address).await), Refusal::WrongRole);
    }
    assert!(device.get_all(put.address).await.unwrap() == bytes);
    peer.end().await;
    cluster.end().await;
}

/// Any bytes under any tag.
#[derive(Debug, Serialize, Deserialize)]
struct Junk<const TAG: u16>(BoundedVec<u8, 4_096>);

impl<const TAG: u16> Request for Junk<TAG> {
    const TAG: u16 = TAG;
    const NAME: &'static str = "Junk";
    type Response = Stored;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_is_refused_and_harms_nobody() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    async fn throw<const TAG: u16>(device: &super::cluster::Device) {
        for seed in 0..24 {
            let junk = Junk::<TAG>(noise(seed, usize::from(seed) * 100).try_into().unwrap());
            let body = bytes::Bytes::from(noise(seed, 50_000));
            let refused = refusal(call(&device.connection, &junk, vec![body], LIMIT).await);
            assert!(matches!(refused, Refusal::Malformed | Refusal::WrongRole), "{TAG} {refused:?}");
        }
    }
    throw::<0>(&device).await;
    throw::<1>(&device).await;
    throw::<2>(&device).await;
    throw::<3>(&device).await;
    throw::<4>(&device).await;
    throw::<10>(&device).await;
    throw::<12>(&device).await;
    throw::<{ u16::MAX }>(&device).await;
    let bytes = noise(1, 10);
    assert!(!device.put(&cluster.put_of(&device, &bytes), &bytes).await.unwrap());
    assert_eq!(refusal(device.get_all(ShardAddress([0; 20])).await), Refusal::NotFound(What::Shard));
    peer.end().await;
    cluster.end().await;
}
