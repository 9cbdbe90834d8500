//! A cluster as far as a peer sees one: an authority, a statement key, a directory that answers heartbeats and tickets, and
//! devices. Real QUIC on loopback.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use common::address::ShardAddress;
use common::bounded::BoundedVec;
use common::disk;
use common::grant::{Grant, SignedGrant};
use common::history::HistoryPoint;
use common::id::{AccountId, ChunkId, ClusterId, DeviceId, PeerId, StartId, VersionId};
use common::identity::certificate::{VALIDITY, save_certificate};
use common::identity::role::peer_name;
use common::identity::{Authority, Credentials, Identity, PrivateKey, Role, StatementKey, Subject, Trust};
use common::map::{ClusterMap, PeerEntry, PeerState, SignedMap};
use common::pass::{Pass, Reader, SignedPass};
use common::proto::directory::{DirectoryRequest, Heartbeat, HeartbeatAnswer, Renew, Renewed};
use common::proto::enroll::{Enroll, EnrollRequest, Enrolled};
use common::proto::peer::{GetShard, PutShard};
use common::proto::refusal::TicketFault;
use common::proto::{Refusal, Request};
use common::redundancy::Redundancy;
use common::signed::Signed;
use common::ticket::Ticket;
use common::time::{Clock, Timestamp};
use common::transport::connection::Protocol;
use common::transport::{
    Call, CallError, Caller, Connection, Endpoint, EndpointOptions, Handler, Responder, ServeOptions, Server, call,
};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::config::ServeConfig;
use crate::folder::{FORMAT, FORMAT_NAME, Layout, Settings};
use crate::known::Durable;
use crate::serve::{ServeError, run};

pub(super) const LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
pub(super) const CLUSTER: ClusterId = ClusterId([7; 16]);
pub(super) const PEER: PeerId = PeerId([8; 16]);

pub(super) fn now() -> Timestamp {
    Clock::System.now()
}

/// What the directory answers, and what it heard.
pub(super) struct Directory {
    authority: Authority,
    pub statements: StatementKey,
    pub answer: Mutex<HeartbeatAnswer>,
    pub heard: watch::Sender<Option<Heartbeat>>,
    pub beats: watch::Sender<u64>,
    peer: watch::Sender<Option<Connection>>,
    pub ticket: Mutex<Option<Ticket>>,
    pub renewals: watch::Sender<u64>,
    address: Mutex<String>,
}

struct Handles(Arc<Directory>);

impl Handler for Handles {
    fn connected(&self, caller: &Arc<Caller>) {
        if caller.identity.is_some_and(|who| who.role() == Role::Peer) {
            self.0.peer.send_replace(Some(caller.connection.clone()));
        }
    }

    async fn handle(&self, caller: Arc<Caller>, request: Call, responder: Responder) -> Result<(), CallError> {
        if caller.protocol == Protocol::Enroll {
            let decoded = EnrollRequest::decode(request.tag, &request.message).unwrap();
            let EnrollRequest::Enroll(request) = decoded else { panic!("a peer enrols as no guest") };
            return match self.0.enroll(&caller, &request) {
                Some(enrolled) => responder.answer::<Enroll>(&enrolled, vec![]).await,
                None => responder.refuse(&Refusal::Ticket(TicketFault::Unknown)).await,
            };
        }
        match DirectoryRequest::decode(request.tag, &request.message).unwrap() {
            DirectoryRequest::Heartbeat(heartbeat) => {
                let answer = self.0.answer.lock().unwrap().clone();
                responder.answer::<Heartbeat>(&answer, vec![]).await?;
                self.0.heard.send_replace(Some(heartbeat));
                self.0.beats.send_modify(|beats| *beats += 1);
                Ok(())
            }
            DirectoryRequest::Renew(request) => {
                let who = caller.identity.unwrap();
                let certificate = self.0.authority.issue(&request.request, &who, now(), VALIDITY).unwrap();
                let certificate = certificate.to_vec().try_into().unwrap();
                responder.answer::<Renew>(&Renewed { certificate }, vec![]).await?;
                self.0.renewals.send_modify(|renewals| *renewals += 1);
                Ok(())
            }
            other => panic!("a peer asked {other:?}"),
        }
    }
}

impl Directory {
    fn enroll(&self, caller: &Caller, request: &Enroll) -> Option<Enrolled> {
        let ticket = self.ticket.lock().unwrap().take()?;
        let exporter = caller.connection.enrolment_exporter().unwrap();
        let given = (&ticket.verifier(), &exporter, &request.request, &request.proof);
        assert!(common::identity::enrolment::proves(given.0, given.1, given.2, given.3));
        let who = Identity { cluster: CLUSTER, subject: Subject::Peer(PEER) };
        let certificate = self.authority.issue(&request.request, &who, now(), VALIDITY).unwrap();
        Some(Enrolled {
            cluster: CLUSTER,
            id: PEER.0,
            certificate: certificate.to_vec().try_into().unwrap(),
            statement_key: self.statements.public().0,
            directory: self.map_addresses(),
            account: None,
        })
    }

    fn map_addresses(&self) -> common::proto::parts::Addresses {
        vec![self.address.lock().unwrap().as_str().try_into().unwrap()].try_into().unwrap()
    }

    pub(super) fn map(&self, generation: u64, epoch: u64, revoked: &[[u8; 16]]) -> SignedMap {
        let map = ClusterMap {
            cluster: CLUSTER,
            generation,
            epoch,
            made: now(),
            directory: self.map_addresses(),
            peers: BoundedVec::empty(),
            revoked: revoked.to_vec().try_into().unwrap(),
        };
        Signed::sign(&map, &self.statements).unwrap()
    }

    /// Says something else from now on, and waits until the peer has heard it.
    pub(super) async fn say(&self, change: impl FnOnce(&mut HeartbeatAnswer)) {
        let mut beats = self.beats.subscribe();
        change(&mut self.answer.lock().unwrap());
        let before = *beats.borrow_and_update();
        // The answer under way may be the old one; the heartbeat after the next comes after the new one was taken in.
        beats.wait_for(|beats| *beats >= before + 3).await.unwrap();
    }

    /// An order on the connection that the peer has dialled.
    pub(super) async fn order<R: Request>(&self, request: &R) -> Result<R::Response, CallError> {
        let peer = self.peer.subscribe().wait_for(Option::is_some).await.unwrap().clone().unwrap();
        call(&peer, request, vec![], LIMIT).await.map(|(answer, _)| answer)
    }
}

pub(super) struct Cluster {
    pub directory: Arc<Directory>,
    pub folder: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

fn credentials(authority: &Authority, subject: Subject) -> (Credentials, PrivateKey) {
    let key = PrivateKey::generate().unwrap();
    let identity = Identity { cluster: authority.cluster(), subject };
    let own = authority.issue_for(&key, &identity, now(), VALIDITY).unwrap();
    (Credentials::new(vec![own, authority.certificate().clone()], &key).unwrap(), key)
}

impl Cluster {
    pub(super) fn start() -> Self {
        let authority = Authority::create(CLUSTER, now()).unwrap();
        let trust = Trust::new(authority.certificate().clone(), Clock::System).unwrap();
        let (own, _) = credentials(&authority, Subject::Directory);
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), EndpointOptions::directory()).unwrap();
        endpoint.listen(trust.directory_server(&own).unwrap()).unwrap();
        let history = HistoryPoint { generation: 1, start: StartId([1; 16]), sequence: 1 };
        let answer = HeartbeatAnswer { history, now: now(), again_ms: 50, map: None };
        let directory = Arc::new(Directory {
            authority,
            statements: StatementKey::generate().unwrap(),
            answer: Mutex::new(answer),
            heard: watch::channel(None).0,
            beats: watch::channel(0).0,
            peer: watch::channel(None).0,
            ticket: Mutex::new(None),
            renewals: watch::channel(0).0,
            address: Mutex::new(endpoint.local_address().unwrap().to_string()),
        });
        let server = Server::new(Handles(directory.clone()), ServeOptions::default());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move { server.run(&endpoint, async { stopped.await.unwrap_or(()) }).await });
        Self { directory, folder: tempfile::tempdir().unwrap(), stop: Some(stop), serving: Some(serving) }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("peer")
    }

    pub(super) fn ticket(&self, role: Role) -> Ticket {
        let address = self.directory.address.lock().unwrap().clone();
        Ticket::new(CLUSTER, role, self.directory.authority.fingerprint(), vec![address]).unwrap()
    }

    /// A data folder as `join` makes it, with a certificate of this validity that began so long ago.
    pub(super) fn joined(&self, age: std::time::Duration) {
        let layout = Layout::new(&self.data());
        disk::create_folder(&self.data()).unwrap();
        let key = PrivateKey::generate().unwrap();
        let who = Identity { cluster: CLUSTER, subject: Subject::Peer(PEER) };
        let from = Timestamp(now().0 - u64::try_from(age.as_millis()).unwrap());
        let certificate = self.directory.authority.issue_for(&key, &who, from, VALIDITY).unwrap();
        key.save(&layout.key()).unwrap();
        save_certificate(&layout.authority(), self.directory.authority.certificate()).unwrap();
        save_certificate(&layout.certificate(), &certificate).unwrap();
        let settings = Settings {
            cluster: CLUSTER,
            peer: PEER,
            statement_key: self.directory.statements.public(),
            directory: vec![self.directory.address.lock().unwrap().clone()],
            listen: "127.0.0.1:0".to_owned(),
            advertise: vec![],
            label: "test".to_owned(),
            zone: "here".to_owned(),
            capacity: Some(common::size::ByteSize::mib(512)),
        };
        settings.save(&layout.settings()).unwrap();
        Durable::default().save(&layout.known()).unwrap();
        disk::mark_format(&self.data(), FORMAT_NAME, FORMAT).unwrap();
    }

    /// Joins by hand, and serves.
    pub(super) async fn peer(&self) -> Peer {
        self.joined(std::time::Duration::ZERO);
        self.serve().await
    }

    pub(super) async fn serve(&self) -> Peer {
        let config = ServeConfig { segment: Some(common::size::ByteSize::mib(32)), ..ServeConfig::new(self.data()) };
        self.serve_as(config).await
    }

    pub(super) async fn serve_as(&self, config: ServeConfig) -> Peer {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = oneshot::channel();
        let shutdown = async { stopped.await.unwrap_or(()) };
        let task = tokio::spawn(run(config, shutdown, move |at| ready.send(at).unwrap()));
        let address = address.await;
        match address {
            Ok(address) => Peer { address, stop, task },
            Err(_) => panic!("{:?}", task.await.unwrap()),
        }
    }

    /// Somebody with a certificate of the cluster.
    pub(super) async fn somebody(&self, subject: Subject, peer: &Peer) -> Device {
        let trust = Trust::new(self.directory.authority.certificate().clone(), Clock::System).unwrap();
        let (own, _) = credentials(&self.directory.authority, subject);
        let endpoint = Endpoint::bind_any(EndpointOptions::client()).unwrap();
        let dialler = endpoint.dialler(trust.client(&own).unwrap()).unwrap();
        let connection = endpoint.dial(&dialler, peer.address, &peer_name(CLUSTER, PEER)).await.unwrap();
        let (account, device) = match subject {
            Subject::Client { device, account } => (account, device),
            Subject::Guest { guest, .. } => (AccountId([0; 16]), guest),
            Subject::Directory | Subject::Peer(_) | Subject::Admin(_) => (AccountId([0; 16]), DeviceId([0; 16])),
        };
        Device { account, device, connection, _endpoint: endpoint }
    }

    pub(super) async fn device(&self, number: u8, peer: &Peer) -> Device {
        let subject = Subject::Client { device: DeviceId([number; 16]), account: AccountId([number; 16]) };
        self.somebody(subject, peer).await
    }

    /// Another peer that answers as it likes, and where it is; until it is aborted.
    pub(super) fn neighbour(&self, peer: PeerId, handler: impl Handler) -> (String, JoinHandle<()>) {
        let trust = Trust::new(self.directory.authority.certificate().clone(), Clock::System).unwrap();
        let (own, _) = credentials(&self.directory.authority, Subject::Peer(peer));
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap(), EndpointOptions::peer()).unwrap();
        endpoint.listen(trust.peer_server(&own).unwrap()).unwrap();
        let address = endpoint.local_address().unwrap().to_string();
        let server = Server::new(handler, ServeOptions::default());
        (address, tokio::spawn(async move { server.run(&endpoint, std::future::pending()).await }))
    }

    /// Tells the peer where others are.
    pub(super) async fn introduce(&self, others: &[(PeerId, String)]) {
        let entry = |(peer, address): &(PeerId, String)| PeerEntry {
            peer: *peer,
            state: PeerState::Online,
            writable: true,
            weight: 1,
            zone: common::proto::parts::Label::default(),
            addresses: vec![address.as_str().try_into().unwrap()].try_into().unwrap(),
        };
        let peers: Vec<_> = others.iter().map(entry).collect();
        let epoch = 7 + *self.directory.beats.borrow(); // each map is newer than the last
        let map = self.directory.map(1, epoch, &[]).verify(&self.directory.statements.public()).unwrap();
        let map = ClusterMap { peers: peers.try_into().unwrap(), ..map };
        let signed = Signed::sign(&map, &self.directory.statements).unwrap();
        self.directory.say(|answer| answer.map = Some(signed)).await;
    }

    pub(super) fn grant(&self, device: &Device) -> Grant {
        Grant {
            cluster: CLUSTER,
            generation: 1,
            account: device.account,
            device: device.device,
            upload: VersionId([1; 16]),
            bytes: 64 << 20,
            expires: now().plus(std::time::Duration::from_secs(60)),
        }
    }

    pub(super) fn sign(&self, grant: &Grant) -> SignedGrant {
        Signed::sign(grant, &self.directory.statements).unwrap()
    }

    /// What lets `reader` read the chunk of [`put_of`](Self::put_of).
    pub(super) fn pass(&self, reader: Reader, account: AccountId) -> Pass {
        let expires = now().plus(std::time::Duration::from_secs(60));
        let chunks = vec![ChunkId([1; 20])].try_into().unwrap();
        Pass { cluster: CLUSTER, reader, account, chunks, expires }
    }

    pub(super) fn sign_pass(&self, pass: &Pass) -> SignedPass {
        Signed::sign(pass, &self.directory.statements).unwrap()
    }

    /// A copy of these bytes, under a good grant.
    pub(super) fn put_of(&self, device: &Device, bytes: &[u8]) -> PutShard {
        let len = u32::try_from(bytes.len()).unwrap();
        PutShard {
            grant: self.sign(&self.grant(device)),
            chunk: ChunkId([1; 20]),
            index: 0,
            redundancy: Redundancy::DEFAULT,
            sealed_len: len,
            len,
            address: ShardAddress::of(bytes),
        }
    }

    /// The directory ends; all else stays.
    pub(super) async fn without_directory(&mut self) {
        self.stop.take();
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
    }

    pub(super) async fn end(mut self) {
        self.without_directory().await;
    }
}

pub(super) struct Peer {
    pub address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServeError>>,
}

impl Peer {
    pub(super) async fn end(self) {
        drop(self.stop);
        self.task.await.unwrap().unwrap();
    }
}

pub(super) struct Device {
    pub account: AccountId,
    pub device: DeviceId,
    pub connection: Connection,
    _endpoint: Endpoint,
}

impl Device {
    pub(super) async fn put(&self, request: &PutShard, body: &[u8]) -> Result<bool, CallError> {
        let body = bytes::Bytes::copy_from_slice(body);
        call(&self.connection, request, vec![body], LIMIT).await.map(|(stored, _)| stored.existed)
    }

    pub(super) async fn get(&self, request: &GetShard) -> Result<Vec<u8>, CallError> {
        let (range, body) = call(&self.connection, request, vec![], LIMIT).await?;
        let body = body.bytes(range.len as usize).await?;
        assert_eq!(body.len(), range.len as usize);
        Ok(body.to_vec())
    }

    pub(super) async fn get_all(&self, address: ShardAddress) -> Result<Vec<u8>, CallError> {
        self.get(&GetShard { account: None, address, offset: 0, len: u32::MAX }).await
    }
}

/// What was refused.
pub(super) fn refusal<T: std::fmt::Debug>(answer: Result<T, CallError>) -> Refusal {
    match answer {
        Err(CallError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Bytes that no disk or wire compresses away.
pub(super) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

/// For tests that end the directory too.
pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.unwrap()
}
