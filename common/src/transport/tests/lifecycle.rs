//! Coming, going, and coming back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot};

use super::{Cluster, Echo, LIMIT, Running, TestHandler, Wait, dial, dialling, peer};
use crate::identity::role::Subject;
use crate::proto::refusal::Retry;
use crate::transport::error::Lost;
use crate::transport::{CallError, Endpoint, EndpointOptions, HandshakeError, Link, ServeOptions, Server, call};

fn link_to(cluster: &Cluster, addresses: Vec<String>) -> Link {
    let endpoint = dialling();
    let dialler = endpoint.dialler(cluster.client_tls()).unwrap();
    Link::new(endpoint, dialler, cluster.peer_name(), addresses)
}

async fn echo(link: &Link) -> Result<u64, CallError> {
    link.call(&Echo(5), Vec::new(), LIMIT).await.map(|(number, _)| number)
}

#[tokio::test]
async fn a_link_comes_back_after_a_restart_on_the_same_and_on_another_address() {
    let cluster = Cluster::new(7);
    let server = Running::start(cluster.peer_tls());
    let address = server.address;
    let link = link_to(&cluster, vec![address.to_string()]);
    assert!(link.current().is_none(), "nothing is dialled before the first call");
    assert_eq!(echo(&link).await.unwrap(), 5);
    server.stop().await;

    let server = Running::start_at(address, cluster.peer_tls(), None);
    assert_eq!(echo(&link).await.unwrap(), 5);
    server.stop().await;

    let server = Running::start(cluster.peer_tls());
    link.set_addresses(vec!["127.0.0.1:1".to_owned(), server.address.to_string()]);
    assert_eq!(echo(&link).await.unwrap(), 5);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_at_once_are_all_served() {
    let cluster = Cluster::new(7);
    let own = cluster.credentials(Subject::Directory);
    let server = Running::start(cluster.trust().directory_server(&own).unwrap());
    let endpoint = dialling();
    let dialler = endpoint.dialler(cluster.client_tls()).unwrap();
    let name = cluster.identity(Subject::Directory).server_name();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let address = server.address.to_string();
        let link = Link::new(endpoint.clone(), dialler.clone(), name.clone(), vec![address]);
        calls.spawn(async move {
            let answer = link.call(&Echo(5), Vec::new(), 4 * LIMIT).await.map(|(number, _)| number);
            (link, answer)
        });
    }
    let links = calls.join_all().await;
    assert_eq!(links.iter().filter(|(_, answer)| matches!(answer, Ok(5))).count(), 1_000);
    assert_eq!(links.iter().filter(|(link, _)| link.current().is_some()).count(), 1_000);
    server.stop().await;
}

#[tokio::test]
async fn towards_a_directory_one_probe_finds_what_an_ethernet_carries() {
    let cluster = Cluster::new(7);
    let server = Running::start(cluster.peer_tls());
    let endpoint = dialling();
    let dialler = endpoint.dialler_to_directory(cluster.client_tls()).unwrap();
    let connection = endpoint.dial(&dialler, server.address, &cluster.peer_name()).await.unwrap();
    for _ in 0..1_000 {
        call(&connection, &Echo(5), Vec::new(), LIMIT).await.unwrap();
        if connection.0.stats().path.current_mtu > 1_200 {
            break;
        }
    }
    let path = connection.0.stats().path;
    assert_eq!((path.current_mtu, path.sent_plpmtud_probes), (1_452, 1));
    server.stop().await;
}

/// A runtime that is dropped takes its server with it, and nobody is told: what a kill does.
#[test]
fn a_link_notices_at_once_that_a_killed_server_is_back() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (ours, theirs) = (runtime(), runtime());
    let cluster = Cluster::new(7);
    let killed = theirs.block_on(async { Running::start(cluster.peer_tls()) });
    let address = killed.address;
    let link = ours.block_on(async { link_to(&cluster, vec![address.to_string()]) });
    assert_eq!(ours.block_on(echo(&link)).unwrap(), 5);
    drop(theirs);
    ours.block_on(async {
        let server = Running::start_at(address, cluster.peer_tls(), None);
        let begun = Instant::now();
        assert_eq!(echo(&link).await.unwrap(), 5);
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        server.stop().await;
    });
}

#[tokio::test]
async fn many_callers_share_one_connection() {
    let cluster = Cluster::new(7);
    let server = Running::start(cluster.peer_tls());
    let link = link_to(&cluster, vec![server.address.to_string()]);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let link = link.clone();
        calls.spawn(async move {
            echo(&link).await.unwrap();
            link.current().unwrap().number()
        });
    }
    let numbers: std::collections::HashSet<usize> = calls.join_all().await.into_iter().collect();
    assert_eq!(numbers.len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn what_waiting_cannot_mend_fails_at_once_and_the_rest_at_the_deadline() {
    let (cluster, other) = (Cluster::new(7), Cluster::new(8));
    let server = Running::start(cluster.peer_tls());
    // Our certificate is another cluster's: the server says so after the handshake, at the first request.
    let endpoint = dialling();
    let tls = cluster.trust().client(&other.credentials(super::client())).unwrap();
    let dialler = endpoint.dialler(tls).unwrap();
    let link = Link::new(endpoint, dialler, cluster.peer_name(), vec![server.address.to_string()]);
    let begun = Instant::now();
    let error = echo(&link).await.unwrap_err();
    assert_eq!((error.handshake(), error.retry()), (Some(&HandshakeError::OurAuthorityUnknown), Retry::Never));
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.stop().await;

    let short = Duration::from_millis(300);
    for addresses in [vec![], vec!["no-such-host.invalid:1".to_owned()], vec!["nonsense".to_owned()]] {
        let link = link_to(&cluster, addresses.clone());
        let error = link.call(&Echo(5), Vec::new(), short).await.unwrap_err();
        assert!(matches!(error, CallError::Unreachable { .. }), "{addresses:?}: {error:?}");
        let error = link.call_once(&Echo(5), Vec::new(), short).await.unwrap_err();
        assert!(matches!(error, CallError::Unreachable { .. }), "{addresses:?}: {error:?}");
    }
}

#[tokio::test]
async fn shutdown_lets_what_is_under_way_finish_and_takes_nothing_new() {
    let cluster = Cluster::new(7);
    let mut server = Running::start(cluster.peer_tls());
    let go_on = server.go_on.clone();
    let (_endpoint, connection) = dial(cluster.client_tls(), server.address, &cluster.peer_name()).await.unwrap();
    let asked = connection.clone();
    let waiting = tokio::spawn(async move { call(&asked, &Wait, Vec::new(), LIMIT).await.map(|_| ()) });
    server.started.recv().await.unwrap();
    let stopping = server.begin_stop();
    go_on.notify_one();
    waiting.await.unwrap().unwrap();
    stopping.await.unwrap();
    let error = call(&connection, &Echo(1), Vec::new(), LIMIT).await.unwrap_err();
    assert!(matches!(error, CallError::Disconnected(Lost::ShuttingDown)), "{error:?}");
    assert_eq!(error.retry(), Retry::Later);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let cluster = Cluster::new(7);
    let mut server = Running::start(cluster.peer_tls());
    let (_endpoint, connection) = dial(cluster.client_tls(), server.address, &cluster.peer_name()).await.unwrap();
    let waiting = tokio::spawn(async move { call(&connection, &Wait, Vec::new(), LIMIT).await.map(|_| ()) });
    server.started.recv().await.unwrap();
    let begun = Instant::now();
    server.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(waiting.await.unwrap().is_err());
}

#[tokio::test]
async fn orders_ride_back_on_a_connection_that_was_dialled() {
    let cluster = Cluster::new(7);
    let own = cluster.credentials(Subject::Directory);
    let mut directory = Running::start(cluster.trust().directory_server(&own).unwrap());
    let endpoint = Endpoint::bind((std::net::Ipv4Addr::LOCALHOST, 0).into(), EndpointOptions::peer()).unwrap();
    let dialler = endpoint.dialler(cluster.trust().client(&cluster.credentials(peer())).unwrap()).unwrap();
    let name = cluster.identity(Subject::Directory).server_name();
    let link = Link::new(endpoint.clone(), dialler, name, vec![directory.address.to_string()]);
    let (started, _on_started) = mpsc::unbounded_channel();
    let handled = Arc::new(AtomicUsize::new(0));
    let handler = TestHandler { started, go_on: Arc::new(Notify::new()), revoked: None, handled: handled.clone() };
    let server = Server::new(handler, ServeOptions::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let (serving_link, asking) = (link.clone(), link.clone());
    let serving =
        tokio::spawn(async move { server.run_on_link(&serving_link, 8, async { stopped.await.unwrap_or(()) }).await });
    let asked = tokio::spawn(async move { asking.call(&Wait, Vec::new(), LIMIT).await.map(|_| ()) });
    let back = directory.started.recv().await.unwrap();
    assert_eq!(back.identity(), Ok(Some(cluster.identity(peer()))));
    assert_eq!(call(&back, &Echo(9), Vec::new(), LIMIT).await.unwrap().0, 9);
    assert_eq!(handled.load(Ordering::SeqCst), 1);
    directory.go_on.notify_one();
    asked.await.unwrap().unwrap();
    stop.send(()).unwrap();
    serving.await.unwrap();
    endpoint.close().await;
    directory.stop().await;
}

#[tokio::test]
async fn orders_follow_a_link_that_moves_to_another_address() {
    let cluster = Cluster::new(7);
    let own = cluster.credentials(Subject::Directory);
    let mut first = Running::start(cluster.trust().directory_server(&own).unwrap());
    let mut second = Running::start(cluster.trust().directory_server(&own).unwrap());
    let endpoint = Endpoint::bind((std::net::Ipv4Addr::LOCALHOST, 0).into(), EndpointOptions::peer()).unwrap();
    let dialler = endpoint.dialler(cluster.trust().client(&cluster.credentials(peer())).unwrap()).unwrap();
    let name = cluster.identity(Subject::Directory).server_name();
    let link = Link::new(endpoint.clone(), dialler, name, vec![first.address.to_string()]);
    let (started, _on_started) = mpsc::unbounded_channel();
    let handled = Arc::new(AtomicUsize::new(0));
    let handler = TestHandler { started, go_on: Arc::new(Notify::new()), revoked: None, handled };
    let server = Server::new(handler, ServeOptions::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving_link = link.clone();
    let serving =
        tokio::spawn(async move { server.run_on_link(&serving_link, 8, async { stopped.await.unwrap_or(()) }).await });
    let before = link.next_connection().await;
    for directory in [&mut first, &mut second] {
        link.set_addresses(vec![directory.address.to_string()]);
        let asking = link.clone();
        let here = directory.address;
        while link.current().is_none_or(|connection| connection.remote() != here) {
            tokio::task::yield_now().await;
        }
        let asked = tokio::spawn(async move { asking.call(&Wait, Vec::new(), LIMIT).await.map(|_| ()) });
        let back = directory.started.recv().await.unwrap();
        assert_eq!(call(&back, &Echo(9), Vec::new(), LIMIT).await.unwrap().0, 9);
        directory.go_on.notify_one();
        asked.await.unwrap().unwrap();
    }
    before.closed().await; // the old one is given up, once what was under way on it is done
    stop.send(()).unwrap();
    serving.await.unwrap();
    endpoint.close().await;
    first.stop().await;
    second.stop().await;
}
