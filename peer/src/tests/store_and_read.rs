//! What a device stores it reads again: whole or in part, after a restart, and only itself.

use common::address::ShardAddress;
use common::limits::SHARD_BYTES;
use common::proto::Refusal;
use common::proto::peer::GetShard;
use common::proto::refusal::What;

use super::cluster::{Cluster, noise, refusal};
use crate::known::Durable;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_of_all_lengths_come_back_whole_in_part_and_after_a_restart() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let shards: Vec<_> = (0_u8..).zip([1, 4_095, 1 << 20, (3 << 20) + 17, SHARD_BYTES]).collect();
    for (seed, len) in &shards {
        let bytes = noise(*seed, *len);
        let request = cluster.put_of(&device, &bytes);
        assert!(!device.put(&request, &bytes).await.unwrap(), "{len}");
        assert!(device.put(&request, &bytes).await.unwrap(), "{len} is there already");
        assert!(device.put(&request, &[]).await.unwrap(), "then the body is not needed");
        assert!(device.get_all(request.address).await.unwrap() == bytes, "{len}");
    }
    let mut heard = cluster.directory.heard.subscribe();
    let full = heard.wait_for(|heard| heard.as_ref().is_some_and(|heard| heard.shards == 5)).await.unwrap().clone();
    assert!(full.unwrap().writable);
    drop(device);
    peer.end().await;
    assert!(cluster.directory.heard.borrow().as_ref().unwrap().leaving, "it said good-bye");
    assert_eq!(Durable::load(&cluster.data().join("known")).unwrap().generation, 1);

    let peer = cluster.serve().await;
    let device = cluster.device(1, &peer).await;
    for (seed, len) in shards {
        let bytes = noise(seed, len);
        let address = ShardAddress::of(&bytes);
        assert!(device.get_all(address).await.unwrap() == bytes, "{len}");
        for (offset, want) in [(0, 1), (len / 2, len), (len / 3, len / 3), (len, 1), (len + 1, 1)] {
            let request = GetShard {
                account: Some(device.account),
                address,
                offset: u32::try_from(offset).unwrap(),
                len: u32::try_from(want).unwrap(),
            };
            let expected = &bytes[offset.min(len)..(offset + want).min(len).max(offset.min(len))];
            assert!(device.get(&request).await.unwrap() == expected, "{len}: {want} from {offset}");
        }
    }
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_account_cannot_read_or_find_anothers_shard() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let (owner, other) = (cluster.device(1, &peer).await, cluster.device(2, &peer).await);
    let bytes = noise(1, 100_000);
    let request = cluster.put_of(&owner, &bytes);
    owner.put(&request, &bytes).await.unwrap();
    let get = |account| GetShard { account, address: request.address, offset: 0, len: 10 };
    assert_eq!(refusal(other.get(&get(None)).await), Refusal::NotFound(What::Shard));
    assert_eq!(refusal(other.get(&get(Some(owner.account))).await), Refusal::Forbidden);
    // Nor does it learn from a put that somebody has these bytes.
    assert!(!other.put(&cluster.put_of(&other, &bytes), &bytes).await.unwrap());
    // The directory may read for repair.
    cluster.directory.order(&get(Some(owner.account))).await.unwrap();
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_puts_and_gets_at_once_share_a_bounded_memory() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = std::sync::Arc::new(cluster.device(1, &peer).await);
    let mut jobs = tokio::task::JoinSet::new();
    for seed in 0..24 {
        let bytes = noise(seed, 2 << 20);
        let request = cluster.put_of(&device, &bytes);
        let device = device.clone();
        jobs.spawn(async move {
            assert!(!device.put(&request, &bytes).await.unwrap());
            assert!(device.get_all(request.address).await.unwrap() == bytes);
        });
    }
    while let Some(done) = jobs.join_next().await {
        done.unwrap();
    }
    peer.end().await;
    cluster.end().await;
}
