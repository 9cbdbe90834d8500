//! Serve: a directory from its data folder, up to a socket that answers and back down again.

use common::boxed::Boxed;
use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::codec::CodecError;
use common::disk::{self, DiskError};
use common::id::StartId;
use common::proto::Refusal;
use common::proto::parts::Addresses;
use common::telemetry;
use common::time::Clock;
use common::transport::endpoint::listen_address;
use common::transport::{BindError, Endpoint, EndpointOptions, ServeOptions, Server};
use tokio::task::JoinSet;

use crate::authority::{KeyError, Keys};
use crate::authorize::Itself;
use crate::config::{Config, ConfigError, LISTENING, STORE, Settings};
use crate::janitor;
use crate::kv::embedded::Embedded;
use crate::kv::{OpenError, Store};
use crate::members::{Cluster, Members, Roster, Times};
use crate::op::Context;
use crate::op::note::NextGeneration;
use crate::schema::{self, Device, Peer, key, record};
use crate::service::{Door, Service};
use crate::status::{CountError, Counter, each};
use crate::transact::{self, Txn};
use crate::work::{self, Work};

/// A clock that is this far before the newest commit is told.
const CLOCK_BACK: Duration = Duration::from_secs(300);

/// How long a store that another process has is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Why a directory does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error("the store cannot be opened")]
    Open(#[from] OpenError),
    #[error("the store cannot be read")]
    Read(#[from] CountError),
    #[error("the store is not this cluster's")]
    OtherStore,
    #[error("the start cannot be noted in the store: {0}")]
    Note(Refusal),
    #[error("no cluster map can be made")]
    Map(#[from] CodecError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("listening on every address ({listen}) tells nobody where to reach this directory")]
    Unspecified { listen: SocketAddr },
    #[error("{text:?} is no address that others could dial")]
    Advertise { text: String },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("the program failed within")]
    Task(#[source] tokio::task::JoinError),
}

/// Serves until `shutdown`, and ends in good order within 5 s. `ready` is told the address once everything answers.
///
/// # Errors
/// Why it cannot start.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
    ready: impl FnOnce(SocketAddr) + Send + 'static,
) -> Result<(), ServeError> {
    run_until(config, Box::pin(shutdown), Box::new(ready)).await
}

/// The same without type parameters, so that all of it is compiled here, once.
fn run_until(
    config: Config,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    ready: Box<dyn FnOnce(SocketAddr) + Send>,
) -> Boxed<'static, Result<(), ServeError>> {
    Box::pin(async move {
        let settings = Settings::load(&config.data)?;
        let listen = listen_address(config.listen.as_deref().unwrap_or(&settings.listen)).await?;
        let store = open_patiently(&config, &settings).await?;
        let reset_key = Some(Keys::reset_key(&config.data)?);
        let endpoint = Endpoint::bind(listen, EndpointOptions { reset_key, ..EndpointOptions::directory() })?;
        let listening = endpoint.local_address()?;
        let addresses = reachable(&settings, listening)?;
        let folder = config.data.clone();
        let service = assemble(store.clone(), &config, settings, addresses).await?;
        let trust = service.keys.trust(config.certificates.clone())?;
        endpoint.listen(trust.directory_server(&service.credentials).map_err(KeyError::from)?)?;
        let note = Listening::note(&folder, listening)?;

        let mut workers = JoinSet::new();
        workers.spawn(janitor::watch(service.clone()));
        workers.spawn(janitor::clean(service.clone()));
        workers.spawn(work::repair::run(service.clone()));
        workers.spawn(work::compare::run(service.clone()));
        workers.spawn(work::audit::run(service.clone()));
        workers.spawn(work::collect::run(service.clone()));
        workers.spawn(work::keep::run(service.clone()));
        let server = Server::new(
            Door(service.clone()),
            ServeOptions { grace: Duration::from_secs(2), ..ServeOptions::default() },
        );
        tracing::info!(address = %listening, generation = service.members.generation(), "serving");
        ready(listening);
        tokio::select! {
            () = server.run(&endpoint, shutdown) => {}
            // A worker never ends by itself: when one does, it is a fault of the service and never silence.
            Some(ended) = workers.join_next() => {
                endpoint.close().await;
                if let Err(fault) = ended {
                    return Err(ServeError::Task(fault));
                }
            }
        }
        workers.shutdown().await;
        drop(note);
        drop(server);
        drop(service);
        if let Err(error) = store.close().await {
            tracing::warn!(
                error = telemetry::chain(&error),
                "the store was not closed cleanly; the next start looks closer"
            );
        }
        tracing::info!("ended");
        Ok(())
    })
}

/// Opens the store, and waits a moment for a command beside it (ticket, status) that has it.
async fn open_patiently(config: &Config, settings: &Settings) -> Result<Arc<Embedded>, ServeError> {
    let begun = Instant::now();
    loop {
        match open_store(config, settings).await {
            Err(ServeError::Open(OpenError::InUse { .. })) if begun.elapsed() < PATIENCE => {
                tokio::time::sleep(PATIENCE / 20).await;
            }
            opened => return opened,
        }
    }
}

/// Opens the store of a data folder.
///
/// # Errors
/// [`OpenError::InUse`] when another process has it.
pub fn open_store<'a>(config: &'a Config, settings: &'a Settings) -> Boxed<'a, Result<Arc<Embedded>, ServeError>> {
    Box::pin(async move {
        let (path, cluster, options) = (config.data.join(STORE), settings.cluster, config.store.clone());
        let opened = tokio::task::spawn_blocking(move || Embedded::open(&path, cluster, &options)).await;
        let store = Arc::new(opened.map_err(ServeError::Task)??);
        let mark = key::cluster();
        let found = store.get(&[mark.bytes()]).await.map_err(CountError::from)?;
        let found = found.into_iter().flatten().next().ok_or(ServeError::OtherStore)?;
        let found: schema::Cluster = record::decode(&found.value).map_err(CountError::from)?;
        if found.cluster != settings.cluster {
            return Err(ServeError::OtherStore);
        }
        Ok(store)
    })
}

/// Puts a service together around a store: the next generation, the members as they were left, and the keys.
///
/// # Errors
/// When the store or the keys cannot be used.
pub async fn assemble(
    store: Arc<dyn Store>,
    config: &Config,
    settings: Settings,
    addresses: Addresses,
) -> Result<Arc<Service>, ServeError> {
    let keys = Keys::load(&config.data, settings.cluster)?;
    let credentials = keys.credentials(&config.data, config.certificates.now())?;
    warn_of_clock(store.as_ref(), &config.clock).await?;
    let start = StartId::random();
    let generation = next_generation(&store, &settings, &config.clock, start).await?;
    let fenced = is_fenced(&store).await?;
    if fenced {
        tracing::error!(
            "this store was restored from an old copy: nothing is deleted until `shoal-directory reconcile` was run"
        );
    }
    let cluster = Cluster { cluster: settings.cluster, generation, directory: addresses, times: config.times };
    let (peers, revoked) = known_members(store.as_ref()).await?;
    let now = (Instant::now(), config.clock.now());
    let members = Members::new(cluster, keys.statement().clone(), peers, revoked, now)?;
    let (clock, counter) = (config.clock.clone(), Counter::default());
    let certificates = config.certificates.clone();
    let (work, start) = (Work::new(config.work, fenced), Mutex::new(start));
    Ok(Arc::new(Service {
        store,
        members,
        keys,
        credentials,
        settings,
        clock,
        certificates,
        counter,
        work,
        guests: Default::default(),
        start,
    }))
}

async fn is_fenced(store: &Arc<dyn Store>) -> Result<bool, ServeError> {
    let fence = Txn::new(store.clone()).peek(&key::fence()).await.map_err(CountError::from)?;
    Ok(fence.is_some_and(|fence| fence.record.up))
}

async fn next_generation(
    store: &Arc<dyn Store>,
    settings: &Settings,
    clock: &Clock,
    start: StartId,
) -> Result<u64, ServeError> {
    let context = Context {
        now: clock.now(),
        cluster: settings.cluster,
        generation: 0,
        redundancy: settings.redundancy,
        roster: Arc::new(Roster::default()),
    };
    let next =
        transact::run(store, &NextGeneration { start, least: 0 }, Itself, &context).await.map_err(ServeError::Note)?;
    Ok(next.generation)
}

type Known = (Vec<(common::id::PeerId, Peer)>, BTreeSet<[u8; 16]>);

async fn known_members(store: &dyn Store) -> Result<Known, CountError> {
    let (mut peers, mut revoked) = (Vec::new(), BTreeSet::new());
    each(store, &key::peers(), |key, value| {
        let (id, peer): (_, Peer) = (key::id_of_peer(key)?, record::decode(value)?);
        if peer.revoked.is_some() {
            revoked.insert(id.0);
        }
        peers.push((id, peer));
        Ok(())
    })
    .await?;
    each(store, &key::devices(), |key, value| {
        let device: Device = record::decode(value)?;
        if device.revoked.is_some() {
            revoked.insert(key::id_of_device(key)?.0);
        }
        Ok(())
    })
    .await?;
    Ok((peers, revoked))
}

/// Expiry goes by the clock: one that was set back would keep tickets and uploads alive.
async fn warn_of_clock(store: &dyn Store, clock: &Clock) -> Result<(), ServeError> {
    let now = clock.now();
    let ahead = store.scan(key::moment(now.plus(CLOCK_BACK)).bytes(), &key::moments().to, 1).await;
    if let Some(entry) = ahead.map_err(CountError::from)?.entries.first() {
        let last = key::time_of_moment(&entry.key).map_err(CountError::from)?;
        tracing::warn!(%now, commit = %last, "the clock is behind earlier commits: set it right, expiry goes by it");
    }
    Ok(())
}

/// Where others reach a directory that listens here.
///
/// # Errors
/// When nothing is advertised and the address is none that one can dial.
pub fn reachable(settings: &Settings, listening: SocketAddr) -> Result<Addresses, ServeError> {
    let texts = if settings.advertise.is_empty() {
        if listening.ip().is_unspecified() {
            return Err(ServeError::Unspecified { listen: listening });
        }
        vec![listening.to_string()]
    } else {
        settings.advertise.clone()
    };
    let refuse = |text: &str| ServeError::Advertise { text: text.to_owned() };
    let mut addresses = Vec::with_capacity(texts.len());
    for text in texts {
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse().ok());
        if port.is_none_or(|port: u16| port == 0) {
            return Err(refuse(&text));
        }
        addresses.push(text.clone().try_into().map_err(|_| refuse(&text))?);
    }
    let all = addresses.len();
    addresses.try_into().map_err(|_| refuse(&format!("{all} addresses")))
}

/// The note of where it listens; gone again when it ends in good order.
struct Listening(PathBuf);

impl Listening {
    fn note(folder: &Path, address: SocketAddr) -> Result<Self, DiskError> {
        let path = folder.join(LISTENING);
        disk::replace_durably(&path, format!("{address}\n").as_bytes())?;
        Ok(Self(path))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, "the note of the address could not be removed");
        }
    }
}

/// Times in the order in which they must be.
///
/// # Errors
/// The sentence that says what is wrong.
pub fn check_times(times: &Times) -> Result<(), &'static str> {
    if times.heartbeat.is_zero() || times.heartbeat > Duration::from_secs(3600) {
        return Err("--heartbeat must be more than nothing and at most an hour");
    }
    if times.suspect_after <= times.heartbeat {
        return Err("--suspect-after must be more than --heartbeat, or every peer is suspect between two heartbeats");
    }
    if times.dead_after < times.suspect_after {
        return Err("--dead-after must not be less than --suspect-after");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
