//! Service: one request in, one answer out. Who is revoked is refused, on open connections as well.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::grant::{Grant, SignedGrant};
use common::identity::{Identity, Subject};
use common::pass::{Pass, SignedPass};
use common::proto::Refusal;
use common::proto::peer::PeerRequest;
use common::proto::refusal::What;
use common::telemetry::chain;
use common::transport::{Call, CallError, Caller, Handler, Responder};

use crate::authorize::{Authorized, authorize};
use crate::checked::Checked;
use crate::config::{GRANTS_REMEMBERED, PASSES_REMEMBERED, UPLOADS_REMEMBERED};
use crate::known::Known;
use crate::make::Workshop;
use crate::neighbours::Neighbours;
use crate::spent::Spent;
use crate::store::{Store, StoreError};
use crate::{chain, fetch, get, inventory, make, orders, put};

/// Cheap to clone; all clones are one service.
#[derive(Clone)]
pub(crate) struct Service(Arc<Inner>);

struct Inner {
    store: Store,
    known: Known,
    neighbours: Neighbours,
    spent: Spent,
    grants: Checked<Grant>,
    passes: Checked<Pass>,
    workshop: Workshop,
    connections: Mutex<HashMap<usize, Arc<Caller>>>,
    /// The store said that it takes no writes any more.
    poisoned: AtomicBool,
}

impl Service {
    pub(crate) fn new(store: Store, known: Known, neighbours: Neighbours) -> Self {
        Self(Arc::new(Inner {
            store,
            known,
            neighbours,
            spent: Spent::new(UPLOADS_REMEMBERED),
            grants: Checked::new(GRANTS_REMEMBERED),
            passes: Checked::new(PASSES_REMEMBERED),
            workshop: Workshop::default(),
            connections: Mutex::default(),
            poisoned: AtomicBool::new(false),
        }))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn known(&self) -> &Known {
        &self.0.known
    }

    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.0.neighbours
    }

    pub(crate) fn spent(&self) -> &Spent {
        &self.0.spent
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.0.poisoned.load(Ordering::Relaxed)
    }

    pub(crate) fn workshop(&self) -> &Workshop {
        &self.0.workshop
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<usize, Arc<Caller>>> {
        self.0.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The grant, if its signature is the directory's.
    pub(crate) fn verified(&self, signed: &SignedGrant) -> Result<Grant, Refusal> {
        self.0.grants.read(signed, &self.0.known.statement_key())
    }

    /// The pass, if its signature is the directory's.
    pub(crate) fn checked_pass(&self, signed: &SignedPass) -> Result<Pass, Refusal> {
        self.0.passes.read(signed, &self.0.known.statement_key())
    }

    fn check_revoked(&self, who: &Identity) -> Result<(), Refusal> {
        let revoked = id_of(who).is_some_and(|id| self.0.known.revoked().contains(&id));
        if revoked { Err(Refusal::Revoked) } else { Ok(()) }
    }

    /// Ends the connections of those who are revoked by now.
    pub(crate) fn close_revoked(&self) {
        let revoked: Vec<_> = self
            .connections()
            .values()
            .filter(|caller| caller.identity.is_some_and(|who| self.check_revoked(&who).is_err()))
            .cloned()
            .collect();
        for caller in revoked {
            tracing::info!(who = caller.identity.map(|who| who.short()), "revoked: its connection is closed");
            caller.connection.close();
        }
    }

    /// What the caller is told of a failure of the store, after the log was told more.
    pub(crate) fn refusal_of(&self, error: &StoreError) -> Refusal {
        let refusal = match error {
            StoreError::NotFound { .. } => Refusal::NotFound(What::Shard),
            StoreError::AddressMismatch { .. } => Refusal::AddressMismatch,
            StoreError::TooLong { .. } => Refusal::TooLarge(What::Body),
            StoreError::Incomplete { .. } | StoreError::OutOfRange { .. } | StoreError::NoSuchIndex { .. } => {
                Refusal::Malformed
            }
            StoreError::Full { free, .. } => Refusal::Full { free: *free },
            StoreError::Quarantined { .. } => Refusal::Quarantined,
            StoreError::Poisoned { .. } => Refusal::ReadOnly,
            StoreError::Io { .. }
            | StoreError::InUse { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::Foreign { .. }
            | StoreError::Damaged { .. }
            | StoreError::Stopped => Refusal::Internal,
        };
        match &refusal {
            Refusal::Internal => tracing::error!(error = %chain(error), "the store failed"),
            Refusal::ReadOnly if !self.0.poisoned.swap(true, Ordering::Relaxed) => {
                tracing::error!(error = %chain(error), "the store takes no writes any more");
            }
            _ => {}
        }
        refusal
    }

    async fn answer(&self, who: Identity, call: Call, responder: Responder) -> Result<(), CallError> {
        let request = match PeerRequest::decode(call.tag, &call.message) {
            Ok(request) => request,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "a request that cannot be understood");
                return responder.refuse(&Refusal::Malformed).await;
            }
        };
        let name = request.name();
        let authorized = match self.check_revoked(&who).and_then(|()| authorize(&who, self.0.neighbours.own(), request))
        {
            Ok(authorized) => authorized,
            Err(refusal) => {
                tracing::debug!(request = name, %refusal, "refused");
                return responder.refuse(&refusal).await;
            }
        };
        match authorized {
            Authorized::Put { by, request } => put::put(self, by, &request, call.body, responder).await,
            Authorized::Chain { by, request } => chain::put_chain(self, by, &request, call.body, responder).await,
            Authorized::Get { key, request } => get::get(self, key, &request, responder).await,
            Authorized::Fetch { peer, request } => fetch::fetch(self, peer, &request, responder).await,
            Authorized::Read { reader, request } => fetch::read(self, reader, &request, responder).await,
            Authorized::Make { request } => make::make(self, request, responder).await,
            Authorized::Condemn { request } => orders::condemn(self, request, responder).await,
            Authorized::Drop { request } => orders::drop_shards(self, request, responder).await,
            Authorized::Digest => inventory::digest(self, responder).await,
            Authorized::List { request } => inventory::list(self, request, responder).await,
        }
    }
}

/// The id by which somebody is revoked. A directory, admin or guest is not: its certificates are short-lived, or the cluster's end; and a
/// guest reads with passes alone.
fn id_of(who: &Identity) -> Option<[u8; 16]> {
    match who.subject {
        Subject::Peer(peer) => Some(peer.0),
        Subject::Client { device, .. } => Some(device.0),
        Subject::Directory | Subject::Admin(_) | Subject::Guest { .. } => None,
    }
}

impl Handler for Service {
    fn admit(&self, caller: &Caller) -> Result<(), Refusal> {
        let Some(who) = caller.identity else { return Err(Refusal::WrongRole) };
        if who.cluster != self.0.known.cluster() {
            return Err(Refusal::OtherCluster);
        }
        self.check_revoked(&who)
    }

    fn connected(&self, caller: &Arc<Caller>) {
        self.connections().insert(caller.connection.number(), caller.clone());
        // It may have been revoked between its admission and this.
        if caller.identity.is_some_and(|who| self.check_revoked(&who).is_err()) {
            caller.connection.close();
        }
    }

    fn disconnected(&self, caller: &Arc<Caller>) {
        self.connections().remove(&caller.connection.number());
    }

    async fn handle(&self, caller: Arc<Caller>, call: Call, responder: Responder) -> Result<(), CallError> {
        match caller.identity {
            Some(who) => self.answer(who, call, responder).await,
            None => responder.refuse(&Refusal::WrongRole).await,
        }
    }
}
