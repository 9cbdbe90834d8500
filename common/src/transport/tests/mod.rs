//! Real QUIC on loopback: a little cluster of an authority, a server that echoes, and whoever dials it.

mod lifecycle;
mod requests;
mod trust;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::id::{AccountId, ClusterId, DeviceId, PeerId};
use crate::identity::certificate::VALIDITY;
use crate::identity::role::Subject;
use crate::identity::{Authority, Credentials, Identity, PrivateKey, Trust};
use crate::proto::Refusal;
use crate::time::{Clock, Timestamp};
use crate::transport::{
    Call, CallError, Caller, Connection, Endpoint, EndpointOptions, Handler, Responder, ServeOptions, Server,
};

pub(super) const LIMIT: Duration = Duration::from_secs(10);
pub(super) const NOW: Timestamp = Timestamp(1_800_000_000_000);
pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

#[expect(dead_code, unreachable_pub, reason = "the table of requests is made for services that are public")]
mod wire {
    use serde::{Deserialize, Serialize};

    use crate::proto::frame::requests;

    /// Answers with the same number, and the same body.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(crate) struct Echo(pub(crate) u64);
    /// Panics.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(crate) struct Panic;
    /// Is refused before its body is read.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(crate) struct Refuse;
    /// Is answered when the test says so.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(crate) struct Wait;
    /// Half a body, then nothing.
    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub(crate) struct Half;

    requests! {
        TestRequest {
            1 Echo -> u64;
            2 Panic -> ();
            3 Refuse -> ();
            4 Wait -> ();
            5 Half -> ();
        }
    }
}

pub(super) use wire::{Echo, Half, Panic, Refuse, TestRequest, Wait};

pub(super) struct TestHandler {
    pub started: mpsc::UnboundedSender<Connection>,
    pub go_on: Arc<Notify>,
    pub revoked: Option<Identity>,
    pub handled: Arc<AtomicUsize>,
}

impl Handler for TestHandler {
    fn admit(&self, caller: &Caller) -> Result<(), Refusal> {
        if caller.identity.is_some() && caller.identity == self.revoked { Err(Refusal::Revoked) } else { Ok(()) }
    }

    async fn handle(&self, caller: Arc<Caller>, call: Call, responder: Responder) -> Result<(), CallError> {
        self.handled.fetch_add(1, Ordering::SeqCst);
        let Ok(request) = TestRequest::decode(call.tag, &call.message) else {
            return responder.refuse(&Refusal::Malformed).await;
        };
        match request {
            TestRequest::Echo(Echo(number)) => {
                let body = call.body.collect(16 << 20).await?;
                responder.answer::<Echo>(&number, body).await
            }
            TestRequest::Panic(Panic) => panic!("on purpose"),
            TestRequest::Refuse(Refuse) => responder.refuse(&Refusal::Full { free: 7 }).await,
            TestRequest::Wait(Wait) => {
                self.started.send(caller.connection.clone()).ok();
                self.go_on.notified().await;
                responder.answer::<Wait>(&(), Vec::new()).await
            }
            TestRequest::Half(Half) => {
                let mut writer = responder.begin::<Half>(&()).await?;
                writer.write(&mut [Bytes::from_static(b"half")]).await
            }
        }
    }
}

pub(super) struct Cluster {
    pub authority: Authority,
    pub clock: Clock,
}

impl Cluster {
    pub(super) fn new(seed: u8) -> Self {
        Self { authority: Authority::create(ClusterId([seed; 16]), NOW).unwrap(), clock: Clock::manual(NOW) }
    }

    pub(super) fn identity(&self, subject: Subject) -> Identity {
        Identity { cluster: self.authority.cluster(), subject }
    }

    pub(super) fn credentials(&self, subject: Subject) -> Credentials {
        let key = PrivateKey::generate().unwrap();
        let identity = self.identity(subject);
        let request = key.signing_request().unwrap();
        let certificate = self.authority.issue(&request, &identity, NOW, VALIDITY).unwrap();
        Credentials::new(vec![certificate, self.authority.certificate().clone()], &key).unwrap()
    }

    pub(super) fn trust(&self) -> Trust {
        self.trust_at(self.clock.clone())
    }

    pub(super) fn trust_at(&self, clock: Clock) -> Trust {
        Trust::new(self.authority.certificate().clone(), clock).unwrap()
    }

    pub(super) fn client_tls(&self) -> rustls::ClientConfig {
        self.trust().client(&self.credentials(client())).unwrap()
    }

    pub(super) fn peer_tls(&self) -> rustls::ServerConfig {
        self.trust().peer_server(&self.credentials(peer())).unwrap()
    }

    pub(super) fn peer_name(&self) -> String {
        self.identity(peer()).server_name()
    }
}

pub(super) fn peer() -> Subject {
    Subject::Peer(PeerId([1; 16]))
}

pub(super) fn client() -> Subject {
    Subject::Client { device: DeviceId([2; 16]), account: AccountId([3; 16]) }
}

/// A server that runs.
pub(super) struct Running {
    pub address: SocketAddr,
    pub started: mpsc::UnboundedReceiver<Connection>,
    pub go_on: Arc<Notify>,
    pub handled: Arc<AtomicUsize>,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    pub(super) fn start(tls: rustls::ServerConfig) -> Self {
        Self::start_at((std::net::Ipv4Addr::LOCALHOST, 0).into(), tls, None)
    }

    pub(super) fn start_with(tls: rustls::ServerConfig, serve: ServeOptions) -> Self {
        Self::start_all((std::net::Ipv4Addr::LOCALHOST, 0).into(), tls, None, serve)
    }

    pub(super) fn start_at(address: SocketAddr, tls: rustls::ServerConfig, revoked: Option<Identity>) -> Self {
        let serve = ServeOptions { grace: Duration::from_secs(1), ..ServeOptions::default() };
        Self::start_all(address, tls, revoked, serve)
    }

    fn start_all(
        address: SocketAddr,
        tls: rustls::ServerConfig,
        revoked: Option<Identity>,
        serve: ServeOptions,
    ) -> Self {
        let options = EndpointOptions { reset_key: Some([5; 32]), ..EndpointOptions::peer() };
        let endpoint = Endpoint::bind(address, options).unwrap();
        endpoint.listen(tls).unwrap();
        let address = endpoint.local_address().unwrap();
        let (started, on_started) = mpsc::unbounded_channel();
        let (go_on, handled) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let handler = TestHandler { started, go_on: go_on.clone(), revoked, handled: handled.clone() };
        let server = Server::new(handler, serve);
        let (shutdown, on_shutdown) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            server.run(&endpoint, async { on_shutdown.await.unwrap_or(()) }).await;
        });
        Self { address, started: on_started, go_on, handled, shutdown, task }
    }

    pub(super) async fn stop(self) {
        self.shutdown.send(()).unwrap();
        self.task.await.unwrap();
    }

    /// Begins to stop; the task ends when it has.
    pub(super) fn begin_stop(self) -> JoinHandle<()> {
        self.shutdown.send(()).unwrap();
        self.task
    }
}

/// An endpoint that only dials.
pub(super) fn dialling() -> Endpoint {
    Endpoint::bind((std::net::Ipv4Addr::LOCALHOST, 0).into(), EndpointOptions::client()).unwrap()
}

pub(super) async fn dial(
    tls: rustls::ClientConfig,
    address: SocketAddr,
    name: &str,
) -> Result<(Endpoint, Connection), CallError> {
    let endpoint = dialling();
    let dialler = endpoint.dialler(tls).unwrap();
    let connection = endpoint.dial(&dialler, address, name).await?;
    Ok((endpoint, connection))
}

/// Dials and asks: the error of whichever fails.
pub(super) async fn ask(tls: rustls::ClientConfig, address: SocketAddr, name: &str) -> Result<u64, CallError> {
    let (_endpoint, connection) = dial(tls, address, name).await?;
    super::call(&connection, &Echo(42), Vec::new(), LIMIT).await.map(|(number, _)| number)
}
