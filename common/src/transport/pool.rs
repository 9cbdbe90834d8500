//! Pool: a [`Link`] is one connection to one remote that heals itself, shared by all who call there.
//!
//! A task of its own dials when somebody wants to call, tries all known addresses (names are resolved each time) with a head start
//! for the earlier ones, and after a failure waits with exponential backoff and full jitter. New addresses are tried at once,
//! and a connection to an old one is used until the new one stands. The task ends with the last handle.

use crate::boxed::Boxed;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use crate::limits::ADDRESSES;
use crate::proto::Request;
use crate::proto::refusal::Retry;
use crate::telemetry::chain;
use crate::transport::body::BodyReader;
use crate::transport::call::{Incoming, Outgoing, send};
use crate::transport::connection::Connection;
use crate::transport::endpoint::{Dialler, Endpoint};
use crate::transport::error::{CallError, Listed};

/// The head start of an address over the next one.
const STAGGER: Duration = Duration::from_millis(250);
/// How long a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(5);
/// Socket addresses that one name may stand for.
const PER_NAME: usize = 4;
/// A connection that lived so long was a good one: the next dial comes without a long pause.
const STABLE: Duration = Duration::from_secs(5);

/// Exponential pauses with full jitter, so that a thousand clients of a restarted server do not come in step.
#[derive(Debug)]
pub struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    pub const FIRST: Duration = Duration::from_millis(50);
    pub const LONGEST: Duration = Duration::from_secs(5);

    /// The next pause: anything up to a ceiling that doubles.
    pub fn pause(&mut self) -> Duration {
        let mut random = [0; 4];
        getrandom::fill(&mut random).ok(); // without randomness there is no jitter, and no harm
        let part = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
        let pause = self.ceiling.mul_f64(part);
        self.ceiling = self.ceiling.saturating_mul(2).min(Self::LONGEST);
        pause
    }

    pub fn reset(&mut self) {
        self.ceiling = Self::FIRST;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { ceiling: Self::FIRST }
    }
}

#[derive(Clone)]
enum State {
    /// Nobody has asked yet, or a dial is under way for the first time.
    Fresh,
    Up(Connection),
    Down {
        error: Arc<CallError>,
        /// No dial before this.
        until: Instant,
    },
}

/// A handle that is cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    name: String,
    addresses: watch::Sender<Vec<String>>,
    state: watch::Receiver<State>,
    demand: Arc<Notify>,
    driver: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({})", self.0.name)
    }
}

impl Link {
    /// A link to whoever proves to have `name`, at any of these `host:port`. Dials nothing before the first call.
    #[must_use]
    pub fn new(endpoint: Endpoint, dialler: Dialler, name: String, addresses: Vec<String>) -> Self {
        let (addresses, known) = watch::channel(addresses);
        let (report, state) = watch::channel(State::Fresh);
        let demand = Arc::new(Notify::new());
        let driver = Driver {
            endpoint,
            dialler,
            name: name.clone(),
            addresses: known,
            demand: demand.clone(),
            state: report,
            backoff: Backoff::default(),
        };
        Self(Arc::new(Inner { name, addresses, state, demand, driver: tokio::spawn(driver.run()) }))
    }

    /// Whom it leads to.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where to dial from now on. The same ones again change nothing.
    pub fn set_addresses(&self, addresses: Vec<String>) {
        self.0.addresses.send_if_modified(|known| {
            let other = *known != addresses;
            *known = addresses;
            other
        });
    }

    /// The connection that stands right now, if one does.
    #[must_use]
    pub fn current(&self) -> Option<Connection> {
        match &*self.0.state.borrow() {
            State::Up(connection) if connection.is_open() => Some(connection.clone()),
            State::Up(_) | State::Fresh | State::Down { .. } => None,
        }
    }

    /// Has it dialled, for whoever will want it soon. Returns at once.
    pub fn dial(&self) {
        if self.current().is_none() {
            self.0.demand.notify_one();
        }
    }

    /// Waits for a connection, dialling as often as it takes.
    pub async fn next_connection(&self) -> Connection {
        let mut state = self.0.state.clone();
        loop {
            if let State::Up(connection) = &*state.borrow_and_update()
                && connection.is_open()
            {
                return connection.clone();
            }
            self.0.demand.notify_one();
            if state.changed().await.is_err() {
                std::future::pending::<()>().await; // the driver ends only with the last handle, or the runtime
            }
        }
    }

    /// The connection, dialled when there is none; fails at once while the remote is known to be down.
    ///
    /// # Errors
    /// [`CallError::Unreachable`], or why whoever answers is not talked to.
    pub async fn connection_within(&self, limit: Duration) -> Result<Connection, CallError> {
        self.connection(Instant::now() + limit, true).await
    }

    /// Waits until another connection than the one of this number stands.
    pub(super) async fn replaced(&self, number: usize) {
        let mut state = self.0.state.clone();
        let other = |state: &State| matches!(state, State::Up(connection) if connection.number() != number);
        let ended = state.wait_for(other).await.is_err();
        if ended {
            std::future::pending::<()>().await; // as above
        }
    }

    /// Waits for a connection; gives up at once on what waiting cannot mend, and otherwise at the deadline.
    async fn connection(&self, deadline: Instant, once: bool) -> Result<Connection, CallError> {
        let mut state = self.0.state.clone();
        let mut last = None;
        if let State::Down { error, until } = &*state.borrow_and_update() {
            last = Some(error.clone());
            if once && Instant::now() < *until {
                self.0.demand.notify_one();
                return Err(self.unreachable(last));
            }
        }
        loop {
            if let Some(connection) = self.current() {
                return Ok(connection);
            }
            self.0.demand.notify_one();
            match timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(self.unreachable(last)),
            }
            if let State::Down { error, .. } = &*state.borrow_and_update() {
                last = Some(error.clone());
                if once || error.retry() == Retry::Never {
                    return Err(self.unreachable(last));
                }
            }
        }
    }

    fn unreachable(&self, source: Option<Arc<CallError>>) -> CallError {
        if let Some(reason) = source.as_ref().and_then(|source| source.handshake()) {
            return CallError::Handshake(reason.clone());
        }
        let addresses = Listed(&self.0.addresses.borrow()).to_string();
        match source.as_deref() {
            Some(CallError::Refused(refusal)) => CallError::Refused(refusal.clone()),
            _ => CallError::Unreachable { addresses, source },
        }
    }

    /// Asks, and asks again after lost connections and [`Retry::Later`] refusals until `limit` is over. So the request must be one
    /// that may be carried out twice. Each try sends the same body again, without copying it.
    ///
    /// # Errors
    /// See [`CallError`]; the last try's error when the time is over.
    pub async fn call<R: Request>(
        &self,
        request: &R,
        body: Vec<Bytes>,
        limit: Duration,
    ) -> Result<(R::Response, BodyReader), CallError> {
        self.persist(&Outgoing::new(request)?, body, limit).await?.decode::<R>()
    }

    fn persist<'a>(
        &'a self,
        request: &'a Outgoing,
        body: Vec<Bytes>,
        limit: Duration,
    ) -> Boxed<'a, Result<Incoming, CallError>> {
        Box::pin(async move {
            let deadline = Instant::now() + limit;
            let mut backoff = Backoff::default();
            loop {
                let connection = self.connection(deadline, false).await?;
                let left = deadline.saturating_duration_since(Instant::now());
                let error = match send(&connection, request, body.clone(), left).await {
                    Err(error) if error.retry() == Retry::Later => error,
                    answer => return answer,
                };
                let pause = backoff.pause();
                if Instant::now() + pause >= deadline {
                    return Err(error);
                }
                debug!(request = request.name, error = %chain(&error), "asking again");
                sleep(pause).await;
            }
        })
    }

    /// Asks once: for callers that would rather go elsewhere than wait. Fails at once while the remote is known to be down.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call_once<R: Request>(
        &self,
        request: &R,
        body: Vec<Bytes>,
        limit: Duration,
    ) -> Result<(R::Response, BodyReader), CallError> {
        self.send_once(&Outgoing::new(request)?, body, limit).await?.decode::<R>()
    }

    /// The same for a request that is encoded already.
    ///
    /// # Errors
    /// As [`call_once`](Self::call_once).
    pub fn send_once<'a>(
        &'a self,
        request: &'a Outgoing,
        body: Vec<Bytes>,
        limit: Duration,
    ) -> Boxed<'a, Result<Incoming, CallError>> {
        Box::pin(async move {
            let deadline = Instant::now() + limit;
            let connection = self.connection(deadline, true).await?;
            send(&connection, request, body, deadline.saturating_duration_since(Instant::now())).await
        })
    }
}

struct Driver {
    endpoint: Endpoint,
    dialler: Dialler,
    name: String,
    addresses: watch::Receiver<Vec<String>>,
    demand: Arc<Notify>,
    state: watch::Sender<State>,
    backoff: Backoff,
}

impl Driver {
    async fn run(mut self) {
        loop {
            self.demand.notified().await;
            let addresses = self.addresses.borrow_and_update().clone();
            let error = match dial_any(&self.endpoint, &self.dialler, &self.name, &addresses).await {
                Ok(connection) => self.hold(connection).await,
                Err(error) => error,
            };
            debug!(to = %self.name, error = %chain(&error), "link is down");
            let pause = self.backoff.pause();
            self.state.send_replace(State::Down { error: Arc::new(error), until: Instant::now() + pause });
            tokio::select! {
                () = sleep(pause) => {}
                changed = self.addresses.changed() => if changed.is_err() { return } else { self.backoff.reset() }
            }
        }
    }

    /// Keeps a connection until it is lost, or replaces it when there are new addresses and one of them answers.
    async fn hold(&mut self, mut connection: Connection) -> CallError {
        let mut since = Instant::now();
        loop {
            self.state.send_replace(State::Up(connection.clone()));
            let error = tokio::select! {
                error = connection.closed() => Some(error),
                changed = self.addresses.changed() => if changed.is_err() { Some(connection.closed().await) } else { None },
            };
            if since.elapsed() >= STABLE {
                self.backoff.reset();
            }
            if let Some(error) = error {
                return error;
            }
            let addresses = self.addresses.borrow_and_update().clone();
            if let Ok(newer) = dial_any(&self.endpoint, &self.dialler, &self.name, &addresses).await {
                (connection, since) = (newer, Instant::now());
            }
        }
    }
}

/// Tries all addresses, each with a head start over the next; the first connection wins.
async fn dial_any(
    endpoint: &Endpoint,
    dialler: &Dialler,
    name: &str,
    addresses: &[String],
) -> Result<Connection, CallError> {
    let (found, mut worst) = resolve(addresses).await;
    let mut dials = JoinSet::new();
    for (place, address) in (0_u32..).zip(found) {
        let (endpoint, dialler, name) = (endpoint.clone(), dialler.clone(), name.to_owned());
        dials.spawn(async move {
            sleep(STAGGER.saturating_mul(place)).await;
            endpoint.dial(&dialler, address, &name).await
        });
    }
    while let Some(done) = dials.join_next().await {
        match done {
            Ok(Ok(connection)) => return Ok(connection),
            // A reason of trust says more than silence elsewhere.
            Ok(Err(error)) if worst.as_ref().is_none_or(|known| known.handshake().is_none()) => worst = Some(error),
            Ok(Err(_)) | Err(_) => {}
        }
    }
    Err(worst.unwrap_or(CallError::Unreachable { addresses: Listed(addresses).to_string(), source: None }))
}

/// Finds the socket addresses behind `host:port`s, in their order, each once.
async fn resolve(addresses: &[String]) -> (Vec<SocketAddr>, Option<CallError>) {
    let (mut found, mut failed) = (Vec::new(), None);
    for text in addresses.iter().take(ADDRESSES) {
        let unresolved = |source| CallError::Unresolved { host: text.clone(), source };
        let resolved = match timeout(RESOLVE, tokio::net::lookup_host(text.as_str())).await {
            Ok(Ok(resolved)) => resolved,
            Ok(Err(source)) => {
                failed = Some(unresolved(source));
                continue;
            }
            Err(_) => {
                failed = Some(unresolved(std::io::ErrorKind::TimedOut.into()));
                continue;
            }
        };
        for address in resolved.take(PER_NAME) {
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    (found, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_jittered_and_bounded() {
        let mut backoff = Backoff::default();
        let mut ceiling = Backoff::FIRST;
        for _ in 0..20 {
            assert!(backoff.pause() <= ceiling);
            ceiling = (ceiling * 2).min(Backoff::LONGEST);
        }
        backoff.reset();
        assert!(backoff.pause() <= Backoff::FIRST);
    }
}
