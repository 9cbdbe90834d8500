//! Copies that peers pass on: under whose grants, to whom, and what becomes of those who cannot be reached.

use std::sync::Arc;

use bytes::Bytes;
use common::bounded::BoundedVec;
use common::grant::Grant;
use common::id::{ClusterId, PeerId};
use common::identity::Subject;
use common::proto::Refusal;
use common::proto::peer::{ChainOutcome, Chained, Onward, PeerRequest, PutChain, PutShard, Stored};
use common::proto::refusal::{GrantFault, What};
use common::redundancy::Redundancy;
use common::time::Timestamp;
use common::transport::{Call, CallError, Caller, Handler, Responder, call};
use tokio::sync::mpsc;

use super::cluster::{Cluster, Device, LIMIT, PEER, noise, refusal};

/// In a chain with these peers behind.
async fn chain(who: &Device, put: &PutShard, onward: &[PeerId], body: &[u8]) -> Result<Vec<ChainOutcome>, CallError> {
    let onward: Vec<_> = (1..).zip(onward).map(|(index, peer)| Onward { index, peer: *peer }).collect();
    let request = PutChain { put: put.clone(), onward: onward.try_into().unwrap() };
    let body = vec![Bytes::copy_from_slice(body)];
    call(&who.connection, &request, body, LIMIT).await.map(|(answer, _)| answer.outcomes.into_inner())
}

const NEW: ChainOutcome = ChainOutcome::Stored(Stored { existed: false });
const OLD: ChainOutcome = ChainOutcome::Stored(Stored { existed: true });
const OTHERS: [PeerId; 2] = [PeerId([21; 16]), PeerId([22; 16])];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_stores_for_the_device_that_the_grant_names_while_that_grant_holds() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let other = cluster.somebody(Subject::Peer(OTHERS[0]), &peer).await;
    let bytes = noise(1, 10_000);
    let good = cluster.grant(&device);
    let put = cluster.put_of(&device, &bytes);
    let check = async |grant: Grant, expected: Refusal| {
        let request = PutShard { grant: cluster.sign(&grant), ..put.clone() };
        assert_eq!(refusal(other.put(&request, &bytes).await), expected);
        assert_eq!(refusal(chain(&other, &request, &[], &bytes).await), expected);
        assert_eq!(refusal(device.get_all(put.address).await), Refusal::NotFound(What::Shard));
    };
    let fault = Refusal::Grant;
    check(Grant { cluster: ClusterId([9; 16]), ..good.clone() }, fault(GrantFault::OtherCluster)).await;
    check(Grant { expires: Timestamp(5), ..good.clone() }, fault(GrantFault::Expired(Timestamp(5)))).await;
    check(Grant { bytes: 9_999, ..good.clone() }, fault(GrantFault::Spent)).await;

    assert_eq!(chain(&other, &put, &[], &bytes).await.unwrap(), [NEW]);
    assert_eq!(chain(&other, &put, &[], &bytes).await.unwrap(), [OLD]);
    assert!(other.put(&put, &bytes).await.unwrap());
    assert!(device.get_all(put.address).await.unwrap() == bytes, "it is the device's");
    assert_eq!(refusal(other.get_all(put.address).await), Refusal::WrongRole);

    // It counts as the device's: two times 10,000 bytes do not go into 15,000, whoever brings them.
    let grant = Grant { bytes: 15_000, upload: common::id::VersionId([2; 16]), ..good.clone() };
    let small = |seed| PutShard { grant: cluster.sign(&grant), ..cluster.put_of(&device, &noise(seed, 10_000)) };
    assert!(!other.put(&small(2), &noise(2, 10_000)).await.unwrap());
    assert_eq!(refusal(device.put(&small(3), &noise(3, 10_000)).await), fault(GrantFault::Spent));

    // A device that is revoked stores through nobody.
    let map = cluster.directory.map(1, 5, &[device.device.0]);
    cluster.directory.say(|answer| answer.map = Some(map)).await;
    let fresh = PutShard { grant: cluster.sign(&good), ..cluster.put_of(&device, &noise(4, 10_000)) };
    assert_eq!(refusal(other.put(&fresh, &noise(4, 10_000)).await), Refusal::Revoked);
    assert_eq!(refusal(chain(&other, &fresh, &[], &noise(4, 10_000)).await), Refusal::Revoked);
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_passed_on_is_stored_here_all_the_same_and_said() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let bytes = noise(1, 300_000);
    let put = cluster.put_of(&device, &bytes);
    for onward in [[PEER, OTHERS[0]], [OTHERS[0], OTHERS[0]]] {
        assert_eq!(refusal(chain(&device, &put, &onward, &bytes).await), Refusal::Malformed);
    }
    assert_eq!(refusal(device.get_all(put.address).await), Refusal::NotFound(What::Shard));

    // Nobody has told this peer of the others.
    let lost = ChainOutcome::Unreachable;
    assert_eq!(chain(&device, &put, &OTHERS, &bytes).await.unwrap(), [NEW, lost.clone(), lost.clone()]);
    assert!(device.get_all(put.address).await.unwrap() == bytes);
    assert_eq!(chain(&device, &put, &OTHERS, &bytes).await.unwrap(), [OLD, lost.clone(), lost.clone()]);

    // What is wrong with the bytes is said as it is without a chain, as far as they came.
    let other = cluster.put_of(&device, &noise(2, 300_000));
    let wrong = ChainOutcome::Refused(Refusal::AddressMismatch);
    assert_eq!(chain(&device, &other, &OTHERS[..1], &bytes).await.unwrap(), [wrong, lost]);
    assert_eq!(refusal(chain(&device, &other, &OTHERS, &bytes[1..]).await), Refusal::Malformed);
    assert_eq!(refusal(device.get_all(other.address).await), Refusal::NotFound(What::Shard));
    peer.end().await;
    cluster.end().await;
}

/// Refuses what it is offered, or shows it.
enum Neighbour {
    IsFull,
    Shows(mpsc::UnboundedSender<(PutChain, Vec<u8>)>),
}

impl Handler for Neighbour {
    async fn handle(&self, _: Arc<Caller>, request: Call, responder: Responder) -> Result<(), CallError> {
        let PeerRequest::PutChain(message) = PeerRequest::decode(request.tag, &request.message).unwrap() else {
            panic!("another request");
        };
        match self {
            Self::IsFull => responder.refuse(&Refusal::Full { free: 1 }).await,
            Self::Shows(to) => {
                let body = request.body.bytes(1 << 20).await?.to_vec();
                to.send((message, body)).unwrap();
                let outcomes = vec![NEW].try_into().unwrap();
                responder.answer::<PutChain>(&Chained { outcomes }, vec![]).await
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_refuses_or_does_not_answer_is_left_out_and_the_one_behind_gets_every_byte() {
    let cluster = Cluster::start();
    let peer = cluster.peer().await;
    let device = cluster.device(1, &peer).await;
    let (to, mut shown) = mpsc::unbounded_channel();
    let [full, silent, good] = [21, 22, 23].map(|number| PeerId([number; 16]));
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (at_full, refusing) = cluster.neighbour(full, Neighbour::IsFull);
    let (at_good, showing) = cluster.neighbour(good, Neighbour::Shows(to));
    let at_silent = nobody.local_addr().unwrap().to_string();
    cluster.introduce(&[(full, at_full), (silent, at_silent), (good, at_good)]).await;

    let bytes = noise(1, 700_000);
    let put = PutShard { redundancy: Redundancy::new(1, 4).unwrap(), ..cluster.put_of(&device, &bytes) };
    let outcomes = chain(&device, &put, &[full, silent, good], &bytes).await.unwrap();
    let refused = ChainOutcome::Refused(Refusal::Full { free: 1 });
    assert_eq!(outcomes, [NEW, refused, ChainOutcome::Unreachable, NEW]);
    let (message, body) = shown.recv().await.unwrap();
    assert_eq!(message, PutChain { put: PutShard { index: 3, ..put.clone() }, onward: BoundedVec::empty() });
    assert!(body == bytes);
    assert!(device.get_all(put.address).await.unwrap() == bytes);
    // What is here already is passed on all the same.
    assert_eq!(chain(&device, &put, &[good], &bytes).await.unwrap(), [OLD, NEW]);
    assert!(shown.recv().await.unwrap().1 == bytes);
    refusing.abort();
    showing.abort();
    peer.end().await;
    cluster.end().await;
}
