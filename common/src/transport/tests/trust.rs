//! Who gets in, who does not, and what each is told.

use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::{Cluster, DAY, Echo, LIMIT, NOW, Running, Wait, ask, client, dial, peer};
use crate::id::PeerId;
use crate::identity::role::{Subject, directory_name, peer_name};
use crate::identity::{Credentials, enrolment, trust};
use crate::proto::Refusal;
use crate::proto::refusal::Retry;
use crate::time::Clock;
use crate::transport::connection::Protocol;
use crate::transport::{CallError, HandshakeError, ServeOptions, call};

fn reason(result: Result<u64, CallError>) -> HandshakeError {
    let error = result.unwrap_err();
    error.handshake().unwrap_or_else(|| panic!("not a matter of trust: {error:?}")).clone()
}

#[tokio::test]
async fn members_of_one_cluster_talk_and_know_each_other() {
    let cluster = Cluster::new(7);
    let server = Running::start(cluster.peer_tls());
    let (_endpoint, connection) = dial(cluster.client_tls(), server.address, &cluster.peer_name()).await.unwrap();
    assert_eq!(connection.identity(), Ok(Some(cluster.identity(peer()))));
    assert_eq!(connection.protocol(), Some(Protocol::Main));
    let (number, body) = call(&connection, &Echo(42), Vec::new(), LIMIT).await.unwrap();
    assert_eq!((number, body.bytes(0).await.unwrap().len()), (42, 0));
    server.stop().await;
}

#[tokio::test]
async fn another_cluster_is_told_apart_from_both_sides() {
    let (ours, theirs) = (Cluster::new(7), Cluster::new(8));
    let server = Running::start(theirs.peer_tls());
    // We do not believe them.
    let result = ask(ours.client_tls(), server.address, &theirs.peer_name()).await;
    assert_eq!(reason(result), HandshakeError::TheirAuthorityUnknown);
    // They do not believe us: the authority is theirs, our certificate is not.
    let tls = theirs.trust().client(&ours.credentials(client())).unwrap();
    assert_eq!(reason(ask(tls, server.address, &theirs.peer_name()).await), HandshakeError::OurAuthorityUnknown);
    // A cluster that was made anew with the same id.
    let anew = Cluster::new(8);
    let result = ask(anew.client_tls(), server.address, &anew.peer_name()).await;
    assert_eq!(reason(result), HandshakeError::TheirAuthorityUnknown);
    server.stop().await;
}

#[tokio::test]
async fn no_certificate_is_told_as_such_by_peer_and_directory() {
    let cluster = Cluster::new(7);
    let mut stranger = trust::joiner(cluster.authority.fingerprint(), cluster.clock.clone()).unwrap();
    stranger.alpn_protocols = vec![crate::proto::ALPN.to_vec()];
    let own = cluster.credentials(Subject::Directory);
    let directory = cluster.trust().directory_server(&own).unwrap();
    let name = directory_name(cluster.authority.cluster());
    for (tls, name) in [(cluster.peer_tls(), cluster.peer_name()), (directory, name)] {
        let server = Running::start(tls);
        assert_eq!(reason(ask(stranger.clone(), server.address, &name).await), HandshakeError::NoCertificate);
        assert_eq!(server.handled.load(std::sync::atomic::Ordering::SeqCst), 0);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_named_with_its_times() {
    let cluster = Cluster::new(7);
    let server = Running::start(cluster.peer_tls());
    let own = cluster.credentials(client());
    let at = |clock| cluster.trust_at(clock).client(&own).unwrap();
    let late = NOW.plus(DAY * 3650);
    let result = reason(ask(at(Clock::manual(late)), server.address, &cluster.peer_name()).await);
    let HandshakeError::TheirCertificateExpired { now, until } = result else { panic!("{result:?}") };
    assert_eq!((now, until), (Some(late), Some(NOW.plus(DAY * 90))));
    let early = crate::time::Timestamp(NOW.0 - 86_400_000 * 3650);
    let result = reason(ask(at(Clock::manual(early)), server.address, &cluster.peer_name()).await);
    assert!(matches!(result, HandshakeError::TheirCertificateNotYetValid { now: Some(now), .. } if now == early));
    server.stop().await;
    // The server's clock finds ours expired.
    let ahead = Clock::manual(NOW.plus(DAY * 91));
    let tls = cluster.trust_at(ahead).peer_server(&cluster.credentials(peer())).unwrap();
    let server = Running::start(tls);
    let result = reason(ask(cluster.client_tls(), server.address, &cluster.peer_name()).await);
    assert_eq!(result, HandshakeError::OurCertificateExpired);
    server.stop().await;
}

#[tokio::test]
async fn one_talks_to_exactly_the_peer_that_was_dialled() {
    let cluster = Cluster::new(7);
    let server = Running::start(cluster.peer_tls());
    let id = cluster.authority.cluster();
    for name in [
        peer_name(id, PeerId([9; 16])),
        directory_name(id),
        peer_name(Cluster::new(9).authority.cluster(), PeerId([1; 16])),
    ] {
        let error = ask(cluster.client_tls(), server.address, &name).await.unwrap_err();
        assert_eq!((error.handshake(), error.retry()), (Some(&HandshakeError::OtherServer), Retry::Elsewhere));
    }
    server.stop().await;
}

#[tokio::test]
async fn another_version_of_the_protocol_is_told_as_such() {
    let cluster = Cluster::new(7);
    let server = Running::start(cluster.peer_tls());
    for alpn in [b"shoal/2".to_vec(), crate::proto::ALPN_ENROLL.to_vec()] {
        let mut tls = cluster.client_tls();
        tls.alpn_protocols = vec![alpn];
        let result = ask(tls, server.address, &cluster.peer_name()).await;
        assert_eq!(reason(result), HandshakeError::OtherVersion);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_revoked_identity_is_told_so() {
    let cluster = Cluster::new(7);
    let localhost = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let server = Running::start_at(localhost, cluster.peer_tls(), Some(cluster.identity(client())));
    let error = ask(cluster.client_tls(), server.address, &cluster.peer_name()).await.unwrap_err();
    assert!(matches!(error, CallError::Refused(Refusal::Revoked)), "{error:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_joiner_believes_the_pinned_authority_alone() {
    let (cluster, other) = (Cluster::new(7), Cluster::new(7));
    let name = directory_name(cluster.authority.cluster());
    let joiner = || trust::joiner(cluster.authority.fingerprint(), cluster.clock.clone()).unwrap();
    let own = cluster.credentials(Subject::Directory);
    let server = Running::start(cluster.trust().directory_server(&own).unwrap());
    let (_endpoint, connection) = dial(joiner(), server.address, &name).await.unwrap();
    assert_eq!(connection.protocol(), Some(Protocol::Enroll));
    // Both ends see one exporter: the proof would be checked so.
    let exporter = connection.enrolment_exporter().unwrap();
    assert_ne!(exporter, [0; 32]);
    let (number, _) = call(&connection, &Echo(42), Vec::new(), LIMIT).await.unwrap();
    assert_eq!(number, 42);
    let (_second, another) = dial(joiner(), server.address, &name).await.unwrap();
    let known = enrolment::verifier(&[1; 32]);
    let proof = enrolment::proof(&known, &exporter, b"request");
    assert!(!enrolment::proves(&known, &another.enrolment_exporter().unwrap(), b"request", &proof));
    server.stop().await;

    // In between sits somebody with an authority of the same name, who even shows the right certificate among his own.
    let own = other.credentials(Subject::Directory);
    let server = Running::start(other.trust().directory_server(&own).unwrap());
    assert_eq!(reason(ask(joiner(), server.address, &name).await), HandshakeError::TheirAuthorityUnknown);
    server.stop().await;
    let key = crate::identity::PrivateKey::generate().unwrap();
    let identity = other.identity(Subject::Directory);
    let leaf = other.authority.issue_for(&key, &identity, NOW, DAY).unwrap();
    let mixed: Vec<CertificateDer<'static>> = vec![leaf, cluster.authority.certificate().clone()];
    let own = Credentials::new(mixed, &key).unwrap();
    let server = Running::start(other.trust().directory_server(&own).unwrap());
    assert_eq!(reason(ask(joiner(), server.address, &name).await), HandshakeError::TheirAuthorityUnknown);
    server.stop().await;

    // And a peer of the cluster is not its directory.
    let mut tls = cluster.trust().directory_server(&cluster.credentials(peer())).unwrap();
    tls.alpn_protocols = vec![crate::proto::ALPN_ENROLL.to_vec()];
    let server = Running::start(tls);
    assert_eq!(reason(ask(joiner(), server.address, &name).await), HandshakeError::OtherServer);
    server.stop().await;
}

#[tokio::test]
async fn a_stranger_does_not_stay_by_opening_streams_and_sending_nothing() {
    let cluster = Cluster::new(7);
    let name = directory_name(cluster.authority.cluster());
    let own = cluster.credentials(Subject::Directory);
    let second = Duration::from_secs(1);
    let short = ServeOptions { enrolment: second, grace: second, ..ServeOptions::default() };
    let server = Running::start_with(cluster.trust().directory_server(&own).unwrap(), short);
    let joiner = trust::joiner(cluster.authority.fingerprint(), cluster.clock.clone()).unwrap();
    let (_endpoint, connection) = dial(joiner, server.address, &name).await.unwrap();
    let silent = connection.0.open_bi().await.unwrap();
    let (mut later, _) = connection.0.open_bi().await.unwrap();
    later.write_all(b"this shows the server that the one before is open").await.unwrap();
    tokio::time::timeout(LIMIT, connection.0.closed()).await.unwrap();
    drop(silent);
    server.stop().await;
}

#[tokio::test]
async fn a_stranger_whose_time_is_over_is_still_answered_what_is_under_way() {
    let cluster = Cluster::new(7);
    let name = directory_name(cluster.authority.cluster());
    let own = cluster.credentials(Subject::Directory);
    let short = ServeOptions { enrolment: Duration::from_millis(200), grace: LIMIT, ..ServeOptions::default() };
    let mut server = Running::start_with(cluster.trust().directory_server(&own).unwrap(), short);
    let joiner = trust::joiner(cluster.authority.fingerprint(), cluster.clock.clone()).unwrap();
    let (_endpoint, connection) = dial(joiner, server.address, &name).await.unwrap();
    let asking = connection.clone();
    let answer = tokio::spawn(async move { call(&asking, &Wait, Vec::new(), LIMIT).await });
    server.started.recv().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.go_on.notify_one();
    answer.await.unwrap().unwrap();
    tokio::time::timeout(LIMIT, connection.0.closed()).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let cluster = Cluster::new(7);
    let own = cluster.credentials(peer());
    let server = Running::start(cluster.trust().peer_server(&own).unwrap());
    assert_eq!(ask(cluster.client_tls(), server.address, &cluster.peer_name()).await.unwrap(), 42);
    let key = crate::identity::PrivateKey::generate().unwrap();
    let renewed = Subject::Peer(PeerId([9; 16])); // another id, so that the change shows
    let certificate = cluster.authority.issue_for(&key, &cluster.identity(renewed), NOW, DAY).unwrap();
    own.replace(vec![certificate], &key).unwrap();
    let result = ask(cluster.client_tls(), server.address, &cluster.peer_name()).await;
    assert_eq!(reason(result), HandshakeError::OtherServer);
    let name = cluster.identity(renewed).server_name();
    assert_eq!(ask(cluster.client_tls(), server.address, &name).await.unwrap(), 42);
    assert_eq!(own.valid_until(), NOW.plus(DAY));
    server.stop().await;
}
