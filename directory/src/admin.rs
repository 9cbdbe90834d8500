//! Admin: what an operator asks of a directory from beside it: tickets, status, revocation.
//!
//! When it serves, an operator's certificate of an hour is made from the authority's key and the directory is asked over its own
//! protocol. When it does not, the store is opened and the same code runs here.

use common::boxed::Boxed;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::disk;
use common::identity::role::directory_name;
use common::proto::directory::{
    AccountLine, CheckStore, ClusterStatus, Done, DrainPeer, GetStatus, ListAccounts, NewTicket, Reconcile, Reconciled,
    RemovePeer, Revoke, SetQuota, StoreChecked, TicketMade,
};
use common::proto::parts::Addresses;
use common::proto::{Refusal, Request};
use common::transport::{BindError, CallError, Connection, Endpoint, EndpointOptions, call};

use crate::authority::{KeyError, Keys};
use crate::authorize::OfAdmin;
use crate::config::{Config, LISTENING, Settings};
use crate::kv::OpenError;
use crate::kv::embedded::Embedded;
use crate::serve::{self, ServeError};
use crate::service::Service;
use crate::work::check;

const ANSWER: Duration = Duration::from_secs(30);
/// What goes over the whole store, or asks every peer.
const LONG: Duration = Duration::from_secs(6 * 3600);

/// Why an operator has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("the directory serves from this folder, but has not said where yet")]
    Starting,
    #[error("this directory listens on any free port, and does not serve now: nobody knows its address")]
    NoPort,
    #[error("this can be asked of a serving directory alone, and none serves from this folder")]
    NotServing,
    #[error("the serving directory cannot be asked")]
    Call(#[from] CallError),
    #[error("no socket to ask from")]
    Bind(#[from] BindError),
    #[error("{0}")]
    Refused(Refusal),
}

impl From<KeyError> for AdminError {
    fn from(error: KeyError) -> Self {
        Self::Serve(error.into())
    }
}

/// Whom an operator talks to.
pub enum Desk {
    /// A serving directory.
    Remote { endpoint: Endpoint, connection: Connection },
    /// The store, opened here.
    Local { service: Arc<Service>, store: Arc<Embedded> },
}

impl Desk {
    /// Waits a moment for a directory that is starting or ending, and for another command.
    ///
    /// # Errors
    /// When there is neither a directory that answers nor a store that opens.
    pub fn open<'a>(config: &'a Config) -> Boxed<'a, Result<Self, AdminError>> {
        Box::pin(async move {
            let settings = Settings::load(&config.data).map_err(ServeError::from)?;
            let begun = Instant::now();
            loop {
                let opened = match serve::open_store(config, &settings).await {
                    Ok(store) => Self::local(config, settings.clone(), store).await,
                    Err(ServeError::Open(OpenError::InUse { .. })) => Self::remote(config, &settings).await,
                    Err(error) => Err(error.into()),
                };
                match opened {
                    Err(AdminError::Starting) if begun.elapsed() < serve::PATIENCE * 2 => {
                        tokio::time::sleep(serve::PATIENCE / 20).await;
                    }
                    opened => return opened,
                }
            }
        })
    }

    async fn local(config: &Config, settings: Settings, store: Arc<Embedded>) -> Result<Self, AdminError> {
        let listen = common::transport::endpoint::listen_address(&settings.listen).await?;
        let unknown = listen.port() == 0 && settings.advertise.is_empty();
        let addresses = if unknown { Addresses::empty() } else { serve::reachable(&settings, listen)? };
        let service = serve::assemble(store.clone(), config, settings, addresses).await?;
        // Nobody listens for heartbeats, so no peer is known to live.
        let (now, wall) = service.now();
        service.members.tick((now + config.times.suspect_after, wall));
        Ok(Self::Local { service, store })
    }

    async fn remote(config: &Config, settings: &Settings) -> Result<Self, AdminError> {
        let address = serving_at(&config.data)?;
        let keys = Keys::load(&config.data, settings.cluster)?;
        let operator = keys.operator(config.certificates.now())?;
        let tls = keys.trust(config.certificates.clone())?.client(&operator).map_err(KeyError::from)?;
        let endpoint = Endpoint::bind_any(EndpointOptions::client())?;
        let dialler = endpoint.dialler_to_directory(tls)?;
        let connection = endpoint.dial(&dialler, address, &directory_name(settings.cluster)).await?;
        Ok(Self::Remote { endpoint, connection })
    }

    async fn ask<R: Request>(connection: &Connection, request: &R) -> Result<R::Response, AdminError> {
        Self::ask_within(connection, request, ANSWER).await
    }

    async fn ask_within<R: Request>(
        connection: &Connection,
        request: &R,
        limit: Duration,
    ) -> Result<R::Response, AdminError> {
        match call(connection, request, Vec::new(), limit).await {
            Ok((answer, _)) => Ok(answer),
            Err(CallError::Refused(refusal)) => Err(AdminError::Refused(refusal)),
            Err(error) => Err(error.into()),
        }
    }

    /// # Errors
    /// Why there is no ticket.
    pub fn ticket<'a>(&'a self, request: NewTicket) -> Boxed<'a, Result<TicketMade, AdminError>> {
        Box::pin(async move {
            match self {
                Self::Remote { connection, .. } => Self::ask(connection, &request).await,
                Self::Local { service, .. } => {
                    if service.members.cluster().directory.is_empty() {
                        return Err(AdminError::NoPort);
                    }
                    service.new_ticket(request, OfAdmin::local()).await.map_err(AdminError::Refused)
                }
            }
        })
    }

    /// # Errors
    /// Why there is no status.
    pub fn status<'a>(&'a self) -> Boxed<'a, Result<ClusterStatus, AdminError>> {
        Box::pin(async move {
            match self {
                Self::Remote { connection, .. } => Self::ask(connection, &GetStatus {}).await,
                Self::Local { service, .. } => service.cluster_status().await.map_err(AdminError::Refused),
            }
        })
    }

    /// # Errors
    /// Why nobody was revoked.
    pub fn revoke<'a>(&'a self, request: &'a Revoke) -> Boxed<'a, Result<Done, AdminError>> {
        Box::pin(async move {
            match self {
                Self::Remote { connection, .. } => Self::ask(connection, request).await,
                Self::Local { service, .. } => {
                    service.revoke(request, OfAdmin::local()).await.map_err(AdminError::Refused)
                }
            }
        })
    }

    /// Begins or ends the emptying of a peer.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn drain<'a>(&'a self, request: &'a DrainPeer) -> Boxed<'a, Result<Done, AdminError>> {
        Box::pin(async move {
            match self {
                Self::Remote { connection, .. } => Self::ask(connection, request).await,
                Self::Local { service, .. } => {
                    service.drain(request, OfAdmin::local()).await.map_err(AdminError::Refused)
                }
            }
        })
    }

    /// Takes a peer out of the cluster.
    ///
    /// # Errors
    /// [`Refusal::StillHolds`] among others.
    pub fn remove<'a>(&'a self, request: &'a RemovePeer) -> Boxed<'a, Result<Done, AdminError>> {
        Box::pin(async move {
            match self {
                Self::Remote { connection, .. } => Self::ask(connection, request).await,
                Self::Local { service, .. } => {
                    service.remove(request, OfAdmin::local()).await.map_err(AdminError::Refused)
                }
            }
        })
    }

    /// Checks the store; with `deep` a directory has to serve, since peers are asked.
    ///
    /// # Errors
    /// Why it could not be checked.
    pub fn check<'a>(&'a self, request: &'a CheckStore) -> Boxed<'a, Result<StoreChecked, AdminError>> {
        Box::pin(async move {
            match self {
                Self::Remote { connection, .. } => Self::ask_within(connection, request, LONG).await,
                Self::Local { .. } if request.deep => Err(AdminError::NotServing),
                Self::Local { service, .. } => {
                    check::check(service, request.repair, false).await.map_err(AdminError::Refused)
                }
            }
        })
    }

    /// Accepts a restored store, or says what that would mean.
    ///
    /// # Errors
    /// [`AdminError::NotServing`] among others.
    pub fn reconcile<'a>(&'a self, request: &'a Reconcile) -> Boxed<'a, Result<Reconciled, AdminError>> {
        Box::pin(async move {
            match self {
                Self::Remote { connection, .. } => Self::ask_within(connection, request, LONG).await,
                Self::Local { .. } => Err(AdminError::NotServing),
            }
        })
    }

    /// All accounts with what they use.
    ///
    /// # Errors
    /// Why they cannot be listed.
    pub fn accounts<'a>(&'a self) -> Boxed<'a, Result<Vec<AccountLine>, AdminError>> {
        Box::pin(async move {
            let (mut lines, mut after) = (Vec::new(), None);
            loop {
                let request = ListAccounts { after };
                let page = match self {
                    Self::Remote { connection, .. } => Self::ask(connection, &request).await?,
                    Self::Local { service, .. } => {
                        service.run(&request, OfAdmin::local()).await.map_err(AdminError::Refused)?
                    }
                };
                after = page.accounts.last().map(|line| line.account);
                lines.extend(page.accounts);
                if !page.more || after.is_none() {
                    return Ok(lines);
                }
            }
        })
    }

    /// Changes what an account may use.
    ///
    /// # Errors
    /// When there is no account of this name.
    pub fn set_quota<'a>(&'a self, request: &'a SetQuota) -> Boxed<'a, Result<Done, AdminError>> {
        Box::pin(async move {
            match self {
                Self::Remote { connection, .. } => Self::ask(connection, request).await,
                Self::Local { service, .. } => {
                    service.set_quota(request, OfAdmin::local()).await.map_err(AdminError::Refused)
                }
            }
        })
    }

    /// Whether a directory serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self, Self::Remote { .. })
    }

    pub fn close<'a>(self) -> Boxed<'a, ()> {
        Box::pin(async move {
            match self {
                Self::Remote { endpoint, connection } => {
                    connection.close();
                    endpoint.close().await;
                }
                Self::Local { service, store } => {
                    drop(service);
                    close(&store).await;
                }
            }
        })
    }
}

async fn close(store: &Embedded) {
    if let Err(error) = store.close().await {
        tracing::warn!(error = common::telemetry::chain(&error), "the store was not closed cleanly");
    }
}

/// Where the directory of this folder says that it serves, as one dials it from this machine.
fn serving_at(folder: &Path) -> Result<SocketAddr, AdminError> {
    let bytes = disk::read_small(&folder.join(LISTENING)).map_err(|_| AdminError::Starting)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut address: SocketAddr = text.trim().parse().map_err(|_| AdminError::Starting)?;
    if address.ip().is_unspecified() {
        let loopback = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(loopback);
    }
    Ok(address)
}
