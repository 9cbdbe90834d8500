//! Serve: answer what others ask, on connections that were accepted or dialled.
//!
//! A [`Server`] owns a task a connection and a task a request. A connection on `shoal/1` without a valid identity is closed before
//! any of its streams is read; one that enrols gets a single request at a time and half a minute. Bounds: connections,
//! handshakes, requests of a connection and of all, bytes of messages that are being read or handled.
//!
//! A handler that panics is a fault of this program: logged as an error, answered with a refusal, and the connection goes on.
//! At shutdown no new request is taken, and those under way get a grace, their answers' delivery included.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use quinn::{Incoming, RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, debug, error, info_span, warn};

use crate::identity::role::Identity;
use crate::proto::refusal::What;
use crate::proto::{FrameError, Refusal};
use crate::telemetry::chain;
use crate::transport::body::{Begun, BodyReader};
use crate::transport::connection::{Connection, Protocol};
use crate::transport::endpoint::{Endpoint, HANDSHAKE};
use crate::transport::error::{CallError, Lost, close};
use crate::transport::pool::Link;
use crate::transport::respond::{Responder, Slot, swap};

/// How long a message may take to arrive once it has begun, and an answer to be acknowledged.
const MESSAGE: Duration = Duration::from_secs(20);

/// Who asks: fixed for the life of a connection.
#[derive(Debug)]
pub struct Caller {
    /// `None` exactly when the protocol is [`Protocol::Enroll`].
    pub identity: Option<Identity>,
    pub protocol: Protocol,
    /// For its address, and for asking back on it.
    pub connection: Connection,
}

/// What is asked: a message and a body yet to be read.
#[derive(Debug)]
pub struct Call {
    pub tag: u16,
    pub message: Vec<u8>,
    pub body: BodyReader,
}

/// What a server does with requests. Several run at once; a request whose connection is lost still runs to its end.
pub trait Handler: Send + Sync + 'static {
    /// Whether to keep this connection at all; asked once, before anything is read.
    ///
    /// # Errors
    /// The refusal: [`Refusal::Revoked`] is told to the other side as such.
    fn admit(&self, caller: &Caller) -> Result<(), Refusal> {
        let _ = caller;
        Ok(())
    }

    /// A connection is there.
    fn connected(&self, caller: &Arc<Caller>) {
        let _ = caller;
    }

    /// A connection is gone.
    fn disconnected(&self, caller: &Arc<Caller>) {
        let _ = caller;
    }

    /// Answers one request. An error means that the answer did not reach the other side.
    fn handle(
        &self,
        caller: Arc<Caller>,
        call: Call,
        responder: Responder,
    ) -> impl Future<Output = Result<(), CallError>> + Send;
}

/// How much at once.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    pub connections: usize,
    /// Requests under way on all connections together; more wait.
    pub requests: usize,
    /// Bytes of messages being read or handled; more wait. At least one message.
    pub message_bytes: usize,
    /// What requests under way get at shutdown, and a stranger's when its time is over.
    pub grace: Duration,
    /// How long a stranger may make requests, whatever it sends.
    pub enrolment: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections: 12_000,
            requests: 1_024,
            message_bytes: 64 << 20,
            grace: Duration::from_secs(3),
            enrolment: Duration::from_secs(30),
        }
    }
}

/// Runs a handler on connections; a handle that is cheap to clone.
pub struct Server<H>(Arc<Shared<H>>);

struct Shared<H> {
    handler: H,
    options: ServeOptions,
    requests: Arc<Semaphore>,
    /// In KiB.
    memory: Arc<Semaphore>,
}

impl<H> Clone for Server<H> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<H: Handler> Server<H> {
    #[must_use]
    pub fn new(handler: H, options: ServeOptions) -> Self {
        let requests = Arc::new(Semaphore::new(options.requests));
        let memory = options.message_bytes.max(crate::limits::MESSAGE_BYTES) / 1024 + 1;
        let memory = Arc::new(Semaphore::new(memory.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Shared { handler, options, requests, memory }))
    }

    #[must_use]
    pub fn handler(&self) -> &H {
        &self.0.handler
    }

    /// Accepts and serves until `shutdown`, then gives the grace, and closes the endpoint.
    pub async fn run(&self, endpoint: &Endpoint, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let limit = endpoint.options().handshakes;
        let handshakes = Arc::new(Semaphore::new(limit));
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                incoming = endpoint.inner.accept() => {
                    let Some(incoming) = incoming else { break };
                    let Some((incoming, permit)) = self.screen(incoming, &handshakes, limit, connections.len()) else {
                        continue;
                    };
                    let (server, stopped, requests) = (self.clone(), stopped.clone(), endpoint.options().incoming_requests);
                    // What a handshake needs is large, and is to be gone with it.
                    let shaking = Box::pin(shake_hands(incoming, permit));
                    connections.spawn(async move {
                        let Some(connection) = shaking.await else { return };
                        server.serve(connection, requests, stopped).await;
                    });
                }
                Some(done) = connections.join_next(), if !connections.is_empty() => log_fault(done),
            }
        }
        endpoint.deafen();
        stop.send_replace(true);
        if timeout(self.0.options.grace, drain(&mut connections)).await.is_err() {
            warn!(connections = connections.len(), "requests still under way after the grace are given up");
        }
        connections.shutdown().await;
        endpoint.close().await;
    }

    /// Decides on a handshake before it costs anything.
    fn screen(
        &self,
        incoming: Incoming,
        handshakes: &Arc<Semaphore>,
        limit: usize,
        connections: usize,
    ) -> Option<(Incoming, OwnedSemaphorePermit)> {
        let Ok(permit) = handshakes.clone().try_acquire_owned() else {
            debug!(remote = %incoming.remote_address(), "too many handshakes, refused");
            incoming.refuse();
            return None;
        };
        if connections >= self.0.options.connections {
            warn!(connections, "too many connections, refused another");
            incoming.refuse();
            return None;
        }
        let crowded = handshakes.available_permits() < limit / 2;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            incoming.retry().ok(); // it fails only where `may_retry` is false
            return None;
        }
        Some((incoming, permit))
    }

    /// Serves what comes in on a link that this side dials, each time it is connected, until `shutdown`; then gives the grace. When
    /// the link moves to another connection, requests under way on the old one are finished, and no more are taken there.
    pub async fn run_on_link(&self, link: &Link, limit: u32, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let mut serving = JoinSet::new();
        loop {
            let connection = tokio::select! {
                () = &mut shutdown => break,
                connection = link.next_connection() => connection,
            };
            let number = connection.number();
            let (stop, stopped) = watch::channel(false);
            let server = self.clone();
            serving.spawn(async move { server.serve(connection, limit, stopped).await });
            let ending = tokio::select! {
                () = &mut shutdown => true,
                () = link.replaced(number) => false,
                () = stop.closed() => false, // it is served no more, so it was lost
            };
            stop.send_replace(true);
            if ending {
                break;
            }
            while let Some(done) = serving.try_join_next() {
                log_fault(done);
            }
        }
        timeout(self.0.options.grace, drain(&mut serving)).await.ok(); // what is not done by then is given up
    }

    /// Serves one connection until it is lost, or, after `stopped`, until its requests are done. Closes it.
    pub async fn serve(&self, connection: Connection, limit: u32, mut stopped: watch::Receiver<bool>) {
        let Some(caller) = self.receive(connection) else { return };
        let enrolling = caller.protocol == Protocol::Enroll;
        let limit = if enrolling { 1 } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        let who = caller.identity.map_or_else(|| "stranger".to_owned(), |identity| identity.short());
        let role = caller.identity.map_or("none", |identity| identity.role().name());
        let span = info_span!("connection", number = caller.connection.number(), %who, role);
        async {
            debug!(remote = %caller.connection.remote(), "connected");
            self.0.handler.connected(&caller);
            let mut requests = JoinSet::new();
            let accepting = self.take_requests(&caller, limit, &mut requests, &mut stopped);
            let ended = match enrolling {
                true => timeout(self.0.options.enrolment, accepting).await.ok(),
                false => Some(accepting.await),
            };
            self.0.handler.disconnected(&caller);
            if ended.is_none() {
                // What is under way is still answered; a stream on which nothing comes holds the connection no longer than that.
                timeout(self.0.options.grace, drain(&mut requests)).await.ok();
                caller.connection.close_with(close::SHUTTING_DOWN);
            }
            drain(&mut requests).await;
            debug!(reason = ended.flatten().as_ref().map(|error| chain(error)), "disconnected");
            caller.connection.close_with(close::SHUTTING_DOWN);
        }
        .instrument(span)
        .await;
    }

    /// Finds out who it is, and closes the connections of those who have no business here.
    fn receive(&self, connection: Connection) -> Option<Arc<Caller>> {
        let refuse = |connection: &Connection, code, reason: &str| {
            debug!(remote = %connection.remote(), reason, "connection refused");
            connection.close_with(code);
        };
        let identity = match connection.identity() {
            Ok(identity) => identity,
            Err(error) => {
                refuse(&connection, close::REFUSED, &error.to_string());
                return None;
            }
        };
        let caller = match (connection.protocol(), identity) {
            (Some(protocol @ Protocol::Main), Some(_)) => Caller { identity, protocol, connection },
            (Some(protocol @ Protocol::Enroll), _) => Caller { identity: None, protocol, connection },
            (Some(Protocol::Main) | None, _) => {
                refuse(&connection, close::NO_IDENTITY, "no certificate");
                return None;
            }
        };
        if let Err(refusal) = self.0.handler.admit(&caller) {
            let code = if refusal == Refusal::Revoked { close::REVOKED } else { close::REFUSED };
            refuse(&caller.connection, code, &refusal.to_string());
            return None;
        }
        Some(Arc::new(caller))
    }

    /// Spawns requests; returns why the connection was lost, or `None` when told to stop.
    async fn take_requests(
        &self,
        caller: &Arc<Caller>,
        limit: usize,
        requests: &mut JoinSet<()>,
        stopped: &mut watch::Receiver<bool>,
    ) -> Option<CallError> {
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return None,
                Some(done) = requests.join_next(), if !requests.is_empty() => log_fault(done),
                stream = caller.connection.0.accept_bi(), if requests.len() < limit => match stream {
                    Ok((send, receive)) => {
                        let (server, caller) = (self.clone(), caller.clone());
                        requests.spawn(async move { server.request(caller, send, receive).await }.in_current_span());
                    }
                    Err(error) => return Some(error.into()),
                },
            }
        }
    }

    async fn request(&self, caller: Arc<Caller>, send: SendStream, receive: RecvStream) {
        let slot = Arc::new(Mutex::new(Slot::Unanswered(send)));
        let responder = || Responder(slot.clone());
        let mut body = BodyReader::new(receive);
        let begun = body.begun().await; // it may wait behind the caller's others; a stranger's connection ends in time
        let read = async { self.read(body, begun?).await };
        let outcome = match timeout(MESSAGE, read).await {
            Ok(Ok((call, _memory))) => {
                // Closed only when the server is dropped, which holds this task: without a permit it goes on all the same.
                let _permit = self.0.requests.acquire().await;
                caught(self.0.handler.handle(caller, call, responder())).await
            }
            Ok(Err(error)) => Ok(self.refuse_unread(responder(), error).await),
            Err(_) => Ok(responder().refuse(&Refusal::Busy).await),
        };
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(error = %chain(&error), "request broken off"),
            Err(panic) => {
                error!(panic = panic_text(&*panic), "a request's handler panicked: please report this as a bug")
            }
        }
        responder().refuse(&Refusal::Internal).await.ok(); // does nothing when there was an answer
        if let Slot::Answered(stream) = swap(&slot, Slot::Taken) {
            timeout(MESSAGE, stream.stopped()).await.ok(); // best effort: until the other side has it, or is gone
        }
    }

    async fn read(
        &self,
        mut body: BodyReader,
        begun: Begun,
    ) -> Result<(Call, Option<OwnedSemaphorePermit>), CallError> {
        let head = body.head(begun).await?;
        let kib = u32::try_from(head.len / 1024 + 1).unwrap_or(u32::MAX);
        let memory = self.0.memory.clone().acquire_many_owned(kib).await.ok();
        let message = body.message(head.len).await?;
        Ok((Call { tag: head.tag, message, body }, memory))
    }

    async fn refuse_unread(&self, responder: Responder, error: CallError) -> Result<(), CallError> {
        match &error {
            CallError::Misbehaved(FrameError::Oversized { .. }) => {
                responder.refuse(&Refusal::TooLarge(What::Request)).await
            }
            CallError::Misbehaved(_) | CallError::Disconnected(Lost::Truncated) => {
                responder.refuse(&Refusal::Malformed).await
            }
            _ => Err(error),
        }
    }
}

/// The handshake, whose permit it gives back.
async fn shake_hands(incoming: Incoming, _permit: OwnedSemaphorePermit) -> Option<Connection> {
    let remote = incoming.remote_address();
    let failed = |error| debug!(%remote, error = %chain(&CallError::from(error)), "handshake failed");
    let connecting = incoming.accept().map_err(failed).ok()?;
    match timeout(HANDSHAKE, connecting).await {
        Ok(connection) => connection.map_err(failed).ok().map(Connection),
        Err(_) => {
            debug!(%remote, "handshake took too long");
            None
        }
    }
}

async fn drain(tasks: &mut JoinSet<()>) {
    while let Some(done) = tasks.join_next().await {
        log_fault(done);
    }
}

fn log_fault(done: Result<(), tokio::task::JoinError>) {
    if let Err(fault) = done
        && fault.is_panic()
    {
        error!(%fault, "a connection's task panicked: please report this as a bug");
    }
}

/// Runs a future, and returns its panic as a value.
async fn caught<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
