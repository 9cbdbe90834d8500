//! Neighbours: the way from this peer to the others of its cluster, over the one socket that it has.
//!
//! A link is dialled at the first need, with this peer's own certificate, to where the newest cluster map says that the other is,
//! and to exactly that peer. Who is not in the map, because it is unknown or revoked, is not dialled. A neighbour that is gone is
//! noticed after 7 s of silence, since somebody waits for what it does. Nobody asks anything of us on these connections.
//!
//! What is passed on waits in memory until the neighbours have it, within one budget for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use common::id::PeerId;
use common::identity::role::peer_name;
use common::transport::{CallError, Dialler, Endpoint, Link};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::ONWARD_BYTES;
use crate::known::Known;

/// Cheap to clone; all clones share the links.
#[derive(Clone)]
pub(crate) struct Neighbours(Arc<Inner>);

struct Inner {
    own: PeerId,
    known: Known,
    endpoint: Endpoint,
    dialler: Dialler,
    links: Mutex<HashMap<PeerId, Link>>,
    /// In KiB.
    memory: Arc<Semaphore>,
}

impl Neighbours {
    pub(crate) fn new(own: PeerId, known: Known, endpoint: Endpoint, dialler: Dialler) -> Self {
        let memory = Arc::new(Semaphore::new(ONWARD_BYTES.div_ceil(1024)));
        Self(Arc::new(Inner { own, known, endpoint, dialler, links: Mutex::default(), memory }))
    }

    /// Which peer this is.
    pub(crate) fn own(&self) -> PeerId {
        self.0.own
    }

    /// The way to another peer of the map.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] when the map does not have it.
    pub(crate) fn link(&self, peer: PeerId) -> Result<Link, CallError> {
        let addresses = self.0.known.addresses_of(peer);
        let mut links = self.0.links.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(addresses) = addresses else {
            links.remove(&peer);
            return Err(CallError::Unreachable { addresses: format!("peer {}", peer.short()), source: None });
        };
        if let Some(link) = links.get(&peer) {
            link.set_addresses(addresses);
            return Ok(link.clone());
        }
        let name = peer_name(self.0.known.cluster(), peer);
        let link = Link::new(self.0.endpoint.clone(), self.0.dialler.clone(), name, addresses);
        links.insert(peer, link.clone());
        Ok(link)
    }

    /// Room for so many bytes that are passed on, until it is dropped. Waits; cancel-safe.
    pub(crate) async fn room(&self, bytes: u32) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.memory).acquire_many_owned(bytes.div_ceil(1024)).await.ok()
    }
}
