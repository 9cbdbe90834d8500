//! What a whole peer does by itself: it checks its shards, unless told not to, and empties its trash; and tells the directory.

use common::proto::Refusal;
use common::proto::directory::Heartbeat;
use common::proto::peer::{CondemnShards, DropShards, ShardName};
use common::proto::refusal::What;

use super::cluster::{Cluster, noise, refusal, within};
use crate::config::ServeConfig;
use crate::scrub::Progress;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_is_found_and_told_unless_the_scrubber_is_off() {
    let cluster = Cluster::start();
    cluster.joined(std::time::Duration::ZERO);
    let off = || ServeConfig { scrub_rate: None, ..ServeConfig::new(cluster.data()) };
    let peer = cluster.serve_as(off()).await;
    let device = cluster.device(1, &peer).await;
    let bytes = noise(1, 300_000);
    let put = cluster.put_of(&device, &bytes);
    device.put(&put, &bytes).await.unwrap();
    drop(device);
    peer.end().await;
    let path = cluster.data().join("store/segments/00000001.seg");
    let mut segment = std::fs::read(&path).unwrap();
    segment[100_000] ^= 1;
    std::fs::write(&path, segment).unwrap();

    let heard = |wanted: fn(&Heartbeat) -> bool| {
        let mut heard = cluster.directory.heard.subscribe();
        async move { within(heard.wait_for(|h| h.as_ref().is_some_and(wanted))).await.unwrap().clone().unwrap() }
    };
    let peer = cluster.serve_as(off()).await;
    let first = heard(|heard| heard.shards == 1 && !heard.leaving).await;
    assert_eq!((first.scrub_since, first.scrubbed, first.quarantined), (None, None, 0));
    peer.end().await;
    assert_eq!(Progress::load(&cluster.data().join("scrub")), Progress::default());

    let peer = cluster.serve().await;
    let told = heard(|heard| heard.scrubbed.is_some()).await;
    assert!(told.scrub_since.is_some());
    assert_eq!((told.shards, told.quarantined), (0, 1));
    let device = cluster.device(1, &peer).await;
    assert_eq!(refusal(device.get_all(put.address).await), Refusal::Quarantined);
    peer.end().await;
    let status = crate::status::status(&cluster.data(), super::cluster::now()).unwrap();
    assert_eq!((status.scrub_shards, status.scrub_damaged), (1, 1));
    assert!(status.scrub_ended.is_some());
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trash_is_emptied_after_its_time_and_the_directory_hears_of_it() {
    let cluster = Cluster::start();
    cluster.joined(std::time::Duration::ZERO);
    let now = || ServeConfig { keep_trash: std::time::Duration::ZERO, ..ServeConfig::new(cluster.data()) };
    let peer = cluster.serve_as(now()).await;
    let device = cluster.device(1, &peer).await;
    let bytes = noise(1, 3_000_000);
    let put = cluster.put_of(&device, &bytes);
    device.put(&put, &bytes).await.unwrap();
    let name = ShardName { account: device.account, address: put.address };
    let shards = common::bounded::BoundedVec::try_from(vec![name]).unwrap();
    cluster.directory.order(&CondemnShards { generation: 1, shards: shards.clone() }).await.unwrap();
    assert_eq!(cluster.directory.order(&DropShards { generation: 1, shards }).await.unwrap().dropped, 1);
    // The directory of these tests has a clock that stands still.
    let later = super::cluster::now().plus(std::time::Duration::from_secs(5));
    cluster.directory.say(|answer| answer.now = later).await;
    // The header's page stays, and three of notes and of the segment's own.
    let empty = |heard: &Heartbeat| heard.shards == 0 && heard.trash == 0 && (4_097..=5 * 4_096).contains(&heard.used);
    let mut heard = cluster.directory.heard.subscribe();
    within(heard.wait_for(|heard| heard.as_ref().is_some_and(empty))).await.unwrap();
    assert_eq!(refusal(device.get_all(put.address).await), Refusal::NotFound(What::Shard));
    assert!(!device.put(&put, &bytes).await.unwrap());
    peer.end().await;
    cluster.end().await;
}
