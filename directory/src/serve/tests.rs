//! A whole directory in this process: init, tickets, enrolment, heartbeats, uploads and a restart, over real connections.

use std::time::Duration;

use common::bounded::BoundedVec;
use common::history::HistoryPoint;
use common::id::{NameToken, NodeId, RequestId, VersionId};
use common::identity::{Credentials, PrivateKey, Trust, enrolment, trust};
use common::proto::directory::*;
use common::proto::enroll::{Enroll, Enrolled};
use common::proto::parts::{Addresses, Label};
use common::proto::{Refusal, Request};
use common::redundancy::Redundancy;
use common::ticket::Ticket;
use common::transport::{CallError, Connection, call};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::admin::Desk;
use crate::init::{InitOptions, init};

const LIMIT: Duration = Duration::from_secs(20);

struct Running {
    config: Config,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    async fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = oneshot::channel();
        let running = config.clone();
        let task = tokio::spawn(async move {
            let shutdown = async { stopped.await.unwrap_or(()) };
            run(running, shutdown, |listening| ready.send(listening).unwrap_or(())).await
        });
        address.await.unwrap();
        Self { config, stop, task }
    }

    async fn end(self) -> Config {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
        assert!(!self.config.data.join(LISTENING).exists());
        self.config
    }

    async fn ticket(&self, role: TicketRole) -> Ticket {
        let desk = Desk::open(&self.config).await.unwrap();
        assert!(desk.is_serving());
        let made = desk.ticket(NewTicket { role, account: None, uses: 1, ttl_ms: 60_000 }).await.unwrap();
        desk.close().await;
        made.ticket.parse().unwrap()
    }
}

async fn ask<R: Request>(connection: &Connection, request: R) -> Result<R::Response, Refusal> {
    match call(connection, &request, Vec::new(), LIMIT).await {
        Ok((answer, _)) => Ok(answer),
        Err(CallError::Refused(refusal)) => Err(refusal),
        Err(error) => panic!("{} failed: {error:?}", R::NAME),
    }
}

/// Enrols with a ticket and comes back with the new identity.
async fn join(ticket: &Ticket, key_check: Option<[u8; 32]>) -> Result<(Enrolled, Connection), Refusal> {
    let endpoint = Endpoint::bind_any(EndpointOptions::client()).unwrap();
    let address = ticket.addresses()[0].parse().unwrap();
    let dialler = endpoint.dialler(trust::joiner(ticket.authority_fingerprint(), Clock::System).unwrap()).unwrap();
    let connection = endpoint.dial(&dialler, address, &ticket.server_name()).await.unwrap();
    let authority = connection.shown().last().unwrap().clone();
    let key = PrivateKey::generate().unwrap();
    let request = key.signing_request().unwrap();
    let proof = enrolment::proof(&ticket.verifier(), &connection.enrolment_exporter().unwrap(), &request);
    let (ticket_id, request) = (ticket.id(), request.try_into().unwrap());
    let label = Label::try_from("test".to_owned()).unwrap();
    let enrolled = ask(&connection, Enroll { ticket: ticket_id, proof, request, label, key_check }).await?;
    let certificate = enrolled.certificate.to_vec().into();
    let credentials = Credentials::new(vec![certificate], &key).unwrap();
    let tls = Trust::new(authority, Clock::System).unwrap().client(&credentials).unwrap();
    let dialler = endpoint.dialler(tls).unwrap();
    Ok((enrolled, endpoint.dial(&dialler, address, &ticket.server_name()).await.unwrap()))
}

fn beat() -> Heartbeat {
    Heartbeat {
        advertise: Addresses::empty(),
        label: Label::default(),
        zone: Label::default(),
        capacity: 5 << 30,
        used: 1,
        free: 2,
        shards: 0,
        trash: 0,
        quarantined: 0,
        scrub_since: None,
        scrubbed: None,
        writable: true,
        seen: HistoryPoint::NONE,
        map: 0,
        leaving: false,
    }
}

async fn made() -> (tempfile::TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let options = || InitOptions {
        listen: "127.0.0.1:0".to_owned(),
        advertise: Vec::new(),
        redundancy: Redundancy::new(1, 1).unwrap(),
    };
    init(&data, options(), &Clock::System).await.unwrap();
    assert!(matches!(init(&data, options(), &Clock::System).await, Err(crate::init::InitError::Exists { .. })));
    let config = Config::new(data);
    (folder, config)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_join_and_what_is_published_survives_a_restart() {
    let (_folder, config) = made().await;
    let running = Running::start(config).await;
    let ticket = running.ticket(TicketRole::Peer).await;
    let (peer, peer_connection) = join(&ticket, None).await.unwrap();
    assert!(matches!(join(&ticket, None).await, Err(Refusal::Ticket(_))), "it was used");
    let answer = ask(&peer_connection, beat()).await.unwrap();
    assert_eq!(answer.history.generation, 1);
    assert_eq!(
        ask(&peer_connection, List { folder: NodeId([0; 16]), after: None, at: None }).await,
        Err(Refusal::WrongRole)
    );

    let (device, client) = join(&running.ticket(TicketRole::Client).await, Some([7; 32])).await.unwrap();
    let hello = Hello { program: Label::default(), generation: 0, conflicts: 0 };
    let welcome = ask(&client, hello.clone()).await.unwrap();
    let public = common::identity::StatementPublic(device.statement_key);
    let map = welcome.map.verify(&public).unwrap();
    assert_eq!(map.peers.len(), 1);
    assert_eq!((map.peers[0].peer.0, map.peers[0].writable, map.peers[0].addresses.len()), (peer.id, true, 1));
    let root = welcome.account.unwrap().root;
    let late = Hello { generation: 9, ..hello.clone() };
    assert!(matches!(ask(&client, late).await, Err(Refusal::OldGeneration { given: 1, known: 9 })));

    let upload = VersionId::random();
    let request = RequestId::random();
    let redundancy = Redundancy::new(1, 1).unwrap();
    let begun = ask(&client, Begin { request, version: upload, redundancy, bytes: 1000 }).await.unwrap();
    assert_eq!(begun.grant.verify(&public).unwrap().upload, upload);
    let file = NewFile {
        folder: root,
        token: NameToken([1; 16]),
        node: NodeId::random(),
        version: VersionId::random(),
        sealed: vec![1].try_into().unwrap(),
        meta: vec![1].try_into().unwrap(),
        redundancy,
        pages: 0,
        sealed_bytes: 0,
        inline: None,
        expect: Expect::Nothing,
        content: None,
    };
    let files = vec![file].try_into().unwrap();
    let published = ask(&client, Publish { request: RequestId::random(), upload, files, done: true }).await.unwrap();
    assert!(matches!(published.results[0], FilePublished::Visible(_)));

    let running = Running::start(running.end().await).await;
    let (again, other) = join(&running.ticket(TicketRole::Client).await, Some([7; 32])).await.unwrap();
    assert!(!again.account.unwrap().first);
    let welcome = ask(&other, hello).await.unwrap();
    let newer = welcome.map.verify(&public).unwrap();
    assert!(newer.newer_than(&map) && newer.epoch > map.epoch && newer.peers.len() == 1);
    let path: BoundedVec<_, 128> = vec![NameToken([1; 16])].try_into().unwrap();
    assert_eq!(ask(&other, LookUp { start: root, path, manifest: false, at: None }).await.unwrap().entries.len(), 1);
    let refused = join(&running.ticket(TicketRole::Client).await, Some([8; 32])).await;
    assert!(matches!(refused, Err(Refusal::OtherKey)));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_devices_connection_is_closed_and_it_does_not_come_back() {
    let (_folder, config) = made().await;
    let running = Running::start(config).await;
    let (device, client) = join(&running.ticket(TicketRole::Client).await, Some([7; 32])).await.unwrap();
    ask(&client, GetMap { have: 0 }).await.unwrap();
    let desk = Desk::open(&running.config).await.unwrap();
    let id = Revoked::Device(common::id::DeviceId(device.id));
    desk.revoke(&Revoke { request: RequestId::random(), id }).await.unwrap();
    assert_eq!(desk.status().await.unwrap().devices, 0);
    desk.close().await;
    client.closed().await;
    running.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_in_use_or_not_made_is_told_and_status_works_without_serving() {
    let (folder, config) = made().await;
    let other = Config::new(folder.path().join("nothing"));
    let refused = run(other, std::future::pending(), |_| {}).await;
    assert!(matches!(refused, Err(ServeError::Config(ConfigError::NotInitialised { .. }))));
    let running = Running::start(config.clone()).await;
    let refused = run(config.clone(), std::future::pending(), |_| {}).await;
    assert!(matches!(refused, Err(ServeError::Open(OpenError::InUse { .. }))));
    running.end().await;
    let desk = Desk::open(&config).await.unwrap();
    assert!(!desk.is_serving());
    assert_eq!(desk.status().await.unwrap().peers.len(), 0);
    let request = NewTicket { role: TicketRole::Peer, account: None, uses: 1, ttl_ms: 1 };
    assert!(matches!(desk.ticket(request).await, Err(crate::admin::AdminError::NoPort)));
    desk.close().await;
}
