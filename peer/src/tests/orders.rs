//! The directory's word: drops, generations, revocations, renewals, and that a peer lives without it.

use std::time::Duration;

use common::bounded::BoundedVec;
use common::id::DeviceId;
use common::identity::role;
use common::proto::Refusal;
use common::proto::directory::Heartbeat;
use common::proto::peer::{CondemnShards, DropShards, PutChain, PutShard, ShardName};
use common::proto::refusal::What;
use common::transport::{CallError, call};

use super::cluster::{Cluster, LIMIT, noise, refusal, within};
use crate::known::Durable;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_generation_than_was_ever_seen_drops_nothing_even_after_a_restart() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let bytes = noise(1, 1_000);
    let put = cluster.put_of(&device, &bytes);
    device.put(&put, &bytes).await.unwrap();
    let name = |address| ShardName { account: device.account, address };
    let shards = BoundedVec::try_from(vec![name(put.address), name(common::address::ShardAddress([9; 20]))]).unwrap();
    let drop_by = |generation| DropShards { generation, shards: shards.clone() };
    let condemn_by = |generation| CondemnShards { generation, shards: shards.clone() };
    cluster.directory.say(|answer| answer.history.generation = 5).await;
    let old = |given, known| Refusal::OldGeneration { given, known };
    assert_eq!(refusal(cluster.directory.order(&drop_by(4)).await), old(4, 5));
    assert_eq!(refusal(cluster.directory.order(&condemn_by(4)).await), old(4, 5));
    let none = DropShards { generation: 8, shards: BoundedVec::empty() };
    assert_eq!(cluster.directory.order(&none).await.unwrap().dropped, 0);
    assert_eq!(Durable::load(&cluster.data().join("known")).unwrap().generation, 8, "durable before it is obeyed");
    assert_eq!(refusal(cluster.directory.order(&drop_by(7)).await), old(7, 8));
    assert!(device.get_all(put.address).await.unwrap() == bytes);
    peer.end().await;

    let peer = cluster.serve().await;
    let device = cluster.device(1, &peer).await;
    let at_five = |h: &Option<Heartbeat>| h.as_ref().is_some_and(|h| h.seen.generation == 5);
    within(cluster.directory.heard.subscribe().wait_for(at_five)).await.unwrap(); // an order is no point of history
    assert_eq!(refusal(cluster.directory.order(&drop_by(7)).await), old(7, 8));
    assert!(device.get_all(put.address).await.unwrap() == bytes);
    assert_eq!(cluster.directory.order(&drop_by(8)).await.unwrap().dropped, 0, "only what is condemned");
    assert_eq!(refusal(cluster.directory.order(&condemn_by(7)).await), old(7, 8));
    assert_eq!(cluster.directory.order(&condemn_by(8)).await.unwrap().condemned, 1);
    assert_eq!(cluster.directory.order(&drop_by(8)).await.unwrap().dropped, 1);
    assert_eq!(cluster.directory.order(&drop_by(8)).await.unwrap().dropped, 0, "it is in the trash");
    // Dropped shards go to the trash, and are served from there until it is emptied.
    assert!(device.get_all(put.address).await.unwrap() == bytes);
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_drop_leaves_what_was_stored_since_it_was_condemned() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let bodies = [1, 2, 3].map(|seed| noise(seed, 1_000));
    let puts = [0, 1, 2].map(|at| cluster.put_of(&device, &bodies[at]));
    for (put, body) in puts.iter().zip(&bodies) {
        device.put(put, body).await.unwrap();
    }
    let name = |put: &PutShard| ShardName { account: device.account, address: put.address };
    let shards = BoundedVec::try_from(puts.iter().map(name).collect::<Vec<_>>()).unwrap();
    let order = CondemnShards { generation: 1, shards: shards.clone() };
    assert_eq!(cluster.directory.order(&order).await.unwrap().condemned, 3);
    assert!(device.put(&puts[0], &bodies[0]).await.unwrap());
    let onward = PutChain { put: puts[1].clone(), onward: BoundedVec::empty() };
    call(&device.connection, &onward, vec![], LIMIT).await.unwrap();
    let late = DropShards { generation: 1, shards };
    assert_eq!(cluster.directory.order(&late).await.unwrap().dropped, 1);
    assert!(device.put(&puts[0], &[]).await.unwrap());
    assert!(device.put(&puts[1], &[]).await.unwrap());
    assert!(!device.put(&puts[2], &bodies[2]).await.unwrap(), "it went, and lives again");
    assert_eq!(cluster.directory.order(&late).await.unwrap().dropped, 0);

    // A directory that has started anew has condemned nothing yet.
    assert_eq!(cluster.directory.order(&order).await.unwrap().condemned, 3);
    let none = CondemnShards { generation: 2, shards: BoundedVec::empty() };
    assert_eq!(cluster.directory.order(&none).await.unwrap().condemned, 0);
    let of_two = DropShards { generation: 2, ..late };
    assert_eq!(cluster.directory.order(&of_two).await.unwrap().dropped, 0);
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_loses_its_connection_and_gets_no_other() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let (revoked, other) = (cluster.device(1, &peer).await, cluster.device(2, &peer).await);
    let map = cluster.directory.map(1, 2, &[DeviceId([1; 16]).0]);
    cluster.directory.say(|answer| answer.map = Some(map)).await;
    within(revoked.connection.closed()).await;
    let again = cluster.device(1, &peer).await; // TLS lets it in, and then it is told
    assert!(matches!(within(again.connection.closed()).await, CallError::Refused(Refusal::Revoked)));
    assert_eq!(refusal(other.get_all(common::address::ShardAddress([1; 20])).await), Refusal::NotFound(What::Shard));
    assert_eq!(cluster.directory.heard.borrow().as_ref().unwrap().map, 2);
    peer.end().await;

    cluster.directory.answer.lock().unwrap().map = None;
    let peer = cluster.serve().await; // remembered, though no map came in this run
    let again = cluster.device(1, &peer).await;
    assert!(matches!(within(again.connection.closed()).await, CallError::Refused(Refusal::Revoked)));
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_when_a_third_of_its_time_has_passed() {
    let cluster = Cluster::start();
    cluster.joined(Duration::from_secs(31 * 24 * 3600));
    let path = cluster.data().join("peer.pem");
    let until = || role::validity(&common::identity::certificate::load_certificate(&path).unwrap()).unwrap().1;
    let before = until();
    let peer = cluster.serve().await;
    within(cluster.directory.renewals.subscribe().wait_for(|renewals| *renewals == 1)).await.unwrap();
    within(async {
        while until() == before {
            tokio::task::yield_now().await;
        }
    })
    .await;
    cluster.device(1, &peer).await;
    peer.end().await;
    let peer = cluster.serve().await;
    peer.end().await;
    assert_eq!(*cluster.directory.renewals.borrow(), 1, "the new one is young");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_directory_a_peer_still_serves() {
    let mut cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let bytes = noise(1, 1_000);
    let put = cluster.put_of(&device, &bytes);
    device.put(&put, &bytes).await.unwrap();
    drop(device);
    peer.end().await;
    cluster.without_directory().await;
    let peer = cluster.serve().await;
    let device = cluster.device(1, &peer).await;
    assert!(device.get_all(put.address).await.unwrap() == bytes);
    let more = noise(2, 1_000);
    assert!(!device.put(&cluster.put_of(&device, &more), &more).await.unwrap());
    peer.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_has_one_process() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let config = crate::ServeConfig::new(cluster.data());
    let error = crate::run(config, std::future::pending(), |_| ()).await.unwrap_err();
    assert!(matches!(&error, crate::ServeError::Disk(common::disk::DiskError::InUse { .. })), "{error:?}");
    let status = crate::status::status(&cluster.data(), super::cluster::now()).unwrap();
    assert_eq!(status.serving.unwrap().address, Some(peer.address.to_string()));
    peer.end().await;
    assert!(crate::status::status(&cluster.data(), super::cluster::now()).unwrap().serving.is_none());
    cluster.end().await;
}
