//! Joining: with a good ticket a whole folder, with any other nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::identity::Role;

use super::cluster::{CLUSTER, Cluster, PEER, noise, within};
use crate::draft::DraftError;
use crate::folder::{FolderError, Joined};
use crate::join::{JoinConfig, JoinError, join, read_ticket};

fn config(data: &Path) -> JoinConfig {
    JoinConfig {
        data: data.to_owned(),
        listen: "127.0.0.1:0".to_owned(),
        advertise: vec![],
        label: "test".to_owned(),
        zone: String::new(),
        capacity: None,
    }
}

fn left(cluster: &Cluster) -> usize {
    std::fs::read_dir(cluster.folder.path()).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_becomes_a_peer_that_serves() {
    let cluster = Cluster::start();
    *cluster.directory.ticket.lock().unwrap() = Some(cluster.ticket(Role::Peer));
    let line = cluster.directory.ticket.lock().unwrap().as_ref().unwrap().to_line();
    std::fs::create_dir(cluster.data()).unwrap(); // an empty folder will do
    let new = join(&read_ticket(&line).unwrap(), config(&cluster.data())).await.unwrap();
    assert_eq!((new.cluster, new.peer), (CLUSTER, PEER));
    assert_eq!(left(&cluster), 1);
    let mode = |name| std::fs::metadata(cluster.data().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("peer.key"), 0o600);
    let again = join(&read_ticket(&line).unwrap(), config(&cluster.data())).await.unwrap_err();
    assert!(matches!(again, JoinError::Draft(DraftError::NotEmpty { .. })));
    let peer = cluster.serve().await;
    let device = cluster.device(1, &peer).await;
    let bytes = noise(1, 10);
    assert!(!device.put(&cluster.put_of(&device, &bytes), &bytes).await.unwrap());
    peer.end().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_fails_leaves_nothing() {
    let cluster = Cluster::start();
    let unknown = cluster.ticket(Role::Peer);
    let error = join(&unknown, config(&cluster.data())).await.unwrap_err();
    assert!(matches!(error, JoinError::Refused(_)), "{error:?}");
    assert_eq!(left(&cluster), 0);
    let bad = JoinConfig { advertise: vec!["nowhere".to_owned()], ..config(&cluster.data()) };
    assert!(matches!(join(&unknown, bad).await, Err(JoinError::Setting { .. })));
    let missing = JoinConfig { data: "/proc/none/peer".into(), ..config(&cluster.data()) };
    assert!(join(&unknown, missing).await.is_err());
    // Dropped in the middle.
    let dropped = tokio::time::timeout(std::time::Duration::ZERO, join(&unknown, config(&cluster.data()))).await;
    assert!(dropped.is_err());
    // A killed one is cleared by the next.
    let killed = cluster.folder.path().join(".peer.joining");
    std::fs::create_dir_all(&killed).unwrap();
    std::fs::write(killed.join("peer.key"), "half").unwrap();
    *cluster.directory.ticket.lock().unwrap() = Some(cluster.ticket(Role::Peer));
    let good = cluster.directory.ticket.lock().unwrap().as_ref().unwrap().to_line();
    let ticket = read_ticket(&good).unwrap();
    // The one that was dropped may still hold its lock or clear up, on a thread that cannot be dropped.
    let again = async {
        loop {
            match join(&ticket, config(&cluster.data())).await {
                Err(JoinError::Draft(DraftError::Disk(_))) => tokio::task::yield_now().await,
                joined => break joined,
            }
        }
    };
    within(again).await.unwrap();
    assert_eq!(left(&cluster), 1);
    cluster.end().await;
}

#[tokio::test]
async fn tickets_for_others_and_mangled_ones_are_refused_before_anybody_is_asked() {
    let cluster = Cluster::start();
    let line = cluster.ticket(Role::Client).to_line();
    assert!(matches!(read_ticket(&line), Err(JoinError::OtherRole { role: Role::Client })));
    let line = cluster.ticket(Role::Peer).to_line();
    assert!(matches!(read_ticket(&line[..line.len() - 3]), Err(JoinError::Ticket(_))));
    assert!(matches!(Joined::load(&cluster.data()), Err(FolderError::NotJoined { .. })));
    cluster.end().await;
}
