//! Serve: a peer runs, from an opened data folder to a clean end.
//!
//! One UDP socket listens, dials the directory, and takes its orders back on that connection. What runs: the server, the orders
//! on the link, the scrubber, the heartbeat, the renewal, the purging; each is owned here and ends here. The end: no new requests, a good-bye to the
//! directory, a grace for what is under way, hints for a fast next start; within 5 s.

use common::boxed::Boxed;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use common::disk::{self, DataFolder, DiskError};
use common::identity::certificate::has_issued;
use common::identity::role::directory_name;
use common::identity::{Credentials, Trust, TrustError};
use common::proto::parts::{Address, Addresses, Label};
use common::telemetry::chain;
use common::transport::endpoint::listen_address;
use common::transport::{BindError, Dialler, Endpoint, EndpointOptions, Link, Server};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{FIRST_ANSWER, ServeConfig};
use crate::folder::{FolderError, Joined, check_addresses};
use crate::heartbeat::{Presence, Pulse};
use crate::known::{Known, KnownError};
use crate::neighbours::Neighbours;
use crate::purge::Purge;
use crate::renew::Renewal;
use crate::scrub::{Pace, Progress, Scrub};
use crate::service::Service;
use crate::store::{Store, StoreError, StoreOptions};

/// Why a peer does not run, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("what this peer knew of the directory cannot be used")]
    Known(#[from] KnownError),
    #[error("ca.pem, peer.pem or peer.key is damaged; restore them from a copy, or join anew in another folder")]
    Trust(#[from] TrustError),
    #[error(
        "the certificate peer.pem was not issued by ca.pem: one is damaged; restore it from a copy, or join anew in another folder"
    )]
    NotIssued,
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("{what}")]
    Setting { what: String },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("a part of the program failed: please report this as a bug")]
    Worker(#[source] tokio::task::JoinError),
    #[error("a part of the program ended before its time: please report this as a bug")]
    EndedEarly,
}

/// Runs a peer until `shutdown`. `on_ready` is told the socket's address once the store is open and the directory has answered,
/// or has not for 3 s.
///
/// # Errors
/// [`ServeError`]; none of them loses anything that was acknowledged.
pub async fn run(
    config: ServeConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
    on_ready: impl FnOnce(SocketAddr) + Send + 'static,
) -> Result<(), ServeError> {
    run_until(config, Box::pin(shutdown), Box::new(on_ready)).await
}

/// The same without type parameters, so that all of it is compiled here, once.
fn run_until(
    config: ServeConfig,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    on_ready: Box<dyn FnOnce(SocketAddr) + Send>,
) -> Boxed<'static, Result<(), ServeError>> {
    Box::pin(async move {
        let data = config.data.clone();
        let joined = blocking(move || Joined::load(&data)).await??;
        let data = config.data.clone();
        let _held = blocking(move || DataFolder::lock(&data)).await??;
        let store = open_store(&config, &joined).await?;
        let started = start(&config, joined, store.clone()).await?;
        let listening = started.listening.clone();
        let known = started.service.known().clone();
        let outcome = attend(started, &config, shutdown, on_ready).await;
        blocking(move || std::fs::remove_file(listening).ok()).await.ok(); // best effort: it only tells where to look
        if let Err(error) = known.close().await {
            tracing::warn!(error = %chain(&error), "the directory's time was not written down");
        }
        store.close().await.ok(); // best effort: without it the next start takes longer
        outcome
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ServeError> {
    tokio::task::spawn_blocking(work).await.map_err(ServeError::Worker)
}

async fn open_store(config: &ServeConfig, joined: &Joined) -> Result<Store, ServeError> {
    let settings = &joined.settings;
    let usual = StoreOptions::new(settings.cluster, settings.peer);
    let options = StoreOptions {
        capacity: settings.capacity,
        reserve: config.reserve,
        segment: config.segment.unwrap_or(usual.segment),
        buffers: config.buffers,
        clock: config.clock.clone(),
        ..usual
    };
    Ok(Store::open(joined.layout.store(), options).await?)
}

/// Everything that runs.
struct Started {
    service: Service,
    endpoint: Endpoint,
    address: SocketAddr,
    link: Link,
    presence: Presence,
    renewal: Renewal,
    scrub: Scrub,
    purge: Purge,
    listening: std::path::PathBuf,
}

async fn start(config: &ServeConfig, joined: Joined, store: Store) -> Result<Started, ServeError> {
    let Joined { layout, settings, authority, certificate, key } = joined;
    let known = {
        let (path, clock) = (layout.known(), config.clock.clone());
        blocking(move || Known::load(path, settings.cluster, settings.statement_key, clock)).await??
    };
    let advertise = if config.advertise.is_empty() { &settings.advertise } else { &config.advertise };
    let presence = Presence {
        advertise: addresses(advertise)?,
        label: label(&settings.label)?,
        zone: label(&settings.zone)?,
        told: config.directory.clone(),
        fallback: settings.directory.clone(),
    };
    check_addresses(&config.directory).map_err(|what| ServeError::Setting { what })?;

    if !has_issued(&authority, &certificate) {
        return Err(ServeError::NotIssued);
    }
    let credentials = Credentials::new(vec![certificate.clone()], &key)?;
    let trust = Trust::new(authority, config.certificates.clone())?;
    let listen = config.listen.as_deref().unwrap_or(&settings.listen);
    let mut options = config.endpoint.clone();
    options.reset_key = Some(key.reset_key());
    let endpoint = Endpoint::bind(listen_address(listen).await?, options)?;
    let address = endpoint.local_address()?;
    endpoint.listen(trust.peer_server(&credentials)?)?;
    let dialler: Dialler = endpoint.dialler_to_directory(trust.client(&credentials)?)?;
    let to_peers = endpoint.dialler_for(trust.client(&credentials)?, &EndpointOptions::client())?;
    let at = presence.directory(known.directory());
    let link = Link::new(endpoint.clone(), dialler, directory_name(settings.cluster), at);
    let renewal = Renewal {
        link: link.clone(),
        known: known.clone(),
        credentials,
        key: Arc::new(key),
        certificate,
        path: layout.certificate(),
    };
    let neighbours = Neighbours::new(settings.peer, known.clone(), endpoint.clone(), to_peers);
    let path = layout.scrub();
    let progress = {
        let path = path.clone();
        watch::channel(blocking(move || Progress::load(&path)).await?).0
    };
    let pace = Pace { rate: config.scrub_rate.unwrap_or_default(), every: config.scrub_every };
    let scrub = Scrub { store: store.clone(), known: known.clone(), path, pace, progress };
    let purge =
        Purge { store: store.clone(), known: known.clone(), clock: config.clock.clone(), keep: config.keep_trash };
    let service = Service::new(store, known, neighbours);
    Ok(Started { service, endpoint, address, link, presence, renewal, scrub, purge, listening: layout.listening() })
}

fn addresses(texts: &[String]) -> Result<Addresses, ServeError> {
    check_addresses(texts).map_err(|what| ServeError::Setting { what })?;
    let fit = |error: common::bounded::TooMany| ServeError::Setting { what: format!("an address: {error}") };
    let texts: Result<Vec<Address>, _> = texts.iter().map(|text| Address::try_from(text.as_str())).collect();
    Addresses::try_from(texts.map_err(fit)?).map_err(fit)
}

fn label(text: &str) -> Result<Label, ServeError> {
    Label::try_from(text).map_err(|error| ServeError::Setting { what: format!("a name: {error}") })
}

/// Runs all parts until the end, in the order in which they must end.
async fn attend(
    started: Started,
    config: &ServeConfig,
    shutdown: impl Future<Output = ()>,
    on_ready: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    let Started { service, endpoint, address, link, presence, renewal, scrub, purge, listening } = started;
    let peer = renewal.credentials.identity().short();
    let (stop, stopped) = watch::channel(false);
    let (leave, leaving) = watch::channel(false);
    let (answered, mut first) = watch::channel(false);
    let server = Server::new(service.clone(), config.serve.clone());
    let wait = |mut stopped: watch::Receiver<bool>| async move {
        stopped.wait_for(|stop| *stop).await.ok(); // an error means that the sender is gone: the end as well
    };

    let (progress, scrubs) = (scrub.progress.subscribe(), config.scrub_rate.is_some());
    let mut parts = JoinSet::new();
    {
        let (server, stopped) = (server.clone(), wait(stopped.clone()));
        parts.spawn(async move { server.run(&endpoint, stopped).await });
    }
    if config.scrub_rate.is_some() {
        parts.spawn(scrub.run(stopped.clone()));
    }
    {
        let (link, stopped, limit) = (link.clone(), wait(stopped), config.endpoint.incoming_requests);
        parts.spawn(async move { server.run_on_link(&link, limit, stopped).await });
    }
    let mut pulse = JoinSet::new();
    pulse.spawn(Pulse { service, link, presence, scrub: progress, scrubs, answered }.run(leaving));
    let mut aside = JoinSet::new();
    aside.spawn(renewal.run());
    aside.spawn(purge.run());

    let ready = async {
        if timeout(FIRST_ANSWER, first.wait_for(|answered| *answered)).await.is_err() {
            tracing::warn!(
                "no answer from the directory yet; shards are served, and new ones taken under known grants"
            );
        }
        blocking(move || disk::replace_durably(&listening, format!("{address}\n").as_bytes())).await??;
        tracing::info!(%address, peer = %peer, "listening");
        on_ready(address);
        std::future::pending::<Result<(), ServeError>>().await
    };
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        failed = ready => failed,
        done = parts.join_next() => Err(early(done)),
        done = pulse.join_next() => Err(early(done)),
        done = aside.join_next() => Err(early(done)),
    };
    tracing::info!("ending");
    leave.send_replace(true);
    while pulse.join_next().await.is_some() {}
    stop.send_replace(true);
    while parts.join_next().await.is_some() {}
    aside.shutdown().await;
    ended
}

fn early(done: Option<Result<(), tokio::task::JoinError>>) -> ServeError {
    match done {
        Some(Err(error)) => ServeError::Worker(error),
        Some(Ok(())) | None => ServeError::EndedEarly,
    }
}
