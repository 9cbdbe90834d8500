//! Shared: how a session reads through a link: with the share's proof in every request, keys that come out of entries, and passes.
//!
//! Whoever lists folders and fetches files does not see the difference: they ask the session for a page of a folder, for manifests and
//! for a folder's key, and get them of their own tree or of what is shared. What came is opened and checked alike.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use common::id::{AccountId, ChunkId, NameToken, NodeId, ShareId};
use common::limits::PASS_CHUNKS;
use common::pass::SignedPass;
use common::proto::directory::{
    List, ListShared, Listing, ManifestWant, Manifests, ReadManifests, ReadShared, SharedWant,
};
use common::share;

use super::{Session, SessionError};
use crate::keys::NodeKey;
use crate::meta::{Entry, EntryPlace};
use crate::seal::IntegrityError;

/// A pass is asked for anew when less than this is left of it.
const LEAST_LEFT: Duration = Duration::from_secs(30);

/// The share that a session reads through.
pub struct Through {
    /// Whose the tree is.
    pub(super) account: AccountId,
    share: ShareId,
    verifier: share::Secret,
    /// Whether a folder is shared, and so each file has a place in one.
    folder: bool,
    /// The keys of the folders that entries led to so far, and of the shared one.
    keys: Mutex<HashMap<NodeId, NodeKey>>,
}

impl Through {
    /// `top` is the shared folder with its key; nothing where it is a file.
    #[must_use]
    pub fn new(account: AccountId, secret: &[u8; 32], top: Option<(NodeId, NodeKey)>) -> Self {
        let folder = top.is_some();
        let keys = Mutex::new(top.into_iter().collect());
        Self { account, share: share::share_id(secret), verifier: share::verifier(secret), folder, keys }
    }

    fn key(&self, node: NodeId) -> Option<NodeKey> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    fn remember(&self, node: NodeId, key: &NodeKey) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(node, key.clone());
    }
}

/// A pass and until when it is worth showing.
#[derive(Clone)]
pub struct HeldPass {
    signed: SignedPass,
    until: Instant,
}

impl HeldPass {
    /// The pass, while enough of its time is left for a request.
    #[must_use]
    pub fn fresh(&self) -> Option<&SignedPass> {
        (Instant::now() < self.until).then_some(&self.signed)
    }
}

/// Manifests, and what lets this device fetch their chunks where they are another account's.
#[derive(Default)]
pub struct Read {
    pub manifests: Manifests,
    passes: Vec<Arc<HeldPass>>,
}

impl Read {
    /// The account's own.
    #[must_use]
    pub fn own(manifests: Manifests) -> Self {
        Self { manifests, passes: Vec::new() }
    }

    /// The pass for each placed chunk that has one.
    #[must_use]
    pub fn passes(&self) -> HashMap<ChunkId, Arc<HeldPass>> {
        let parts = self.manifests.placements.chunks(PASS_CHUNKS);
        let of = |(placed, pass): (&[common::proto::parts::PlacedChunk], &Arc<HeldPass>)| {
            placed.iter().map(|placed| (placed.chunk, Arc::clone(pass))).collect::<Vec<_>>()
        };
        parts.zip(&self.passes).flat_map(of).collect()
    }
}

impl Session {
    /// The same connections, reading through a share from now on.
    #[must_use]
    pub fn through(&self, through: Through) -> Self {
        Self(Arc::clone(&self.0), Some(Arc::new(through)))
    }

    /// Whether this session reads what somebody has shared.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.1.is_some()
    }

    /// What this device shows with every request about a share.
    pub(crate) fn proof(&self, verifier: &[u8; 32]) -> [u8; 32] {
        share::proof(verifier, self.0.cluster, self.0.device)
    }

    /// The key of a folder of the tree that is read, which an entry of it is sealed under.
    ///
    /// # Errors
    /// [`SessionError::NoKey`] for one that nothing shared led to; that the entry is sealed under another key of the account.
    pub fn folder_key(&self, node: NodeId, sealed: &[u8]) -> Result<NodeKey, SessionError> {
        match &self.1 {
            None => Ok(self.0.keys.node_key_of("an entry", node, sealed)?),
            Some(through) => through.key(node).ok_or(SessionError::NoKey { node }),
        }
    }

    /// Holds an opened entry to what this session knows, and remembers what reads on.
    ///
    /// # Errors
    /// Of the own tree: when its name is not the one of its token, or it carries the key of another node.
    pub(crate) fn take_entry(&self, place: &EntryPlace, entry: &Entry, key: &NodeKey) -> Result<(), IntegrityError> {
        let Some(through) = &self.1 else { return entry.check_own(&self.0.keys, place, key) };
        if entry.folder.is_some() {
            through.remember(place.node, key);
        }
        Ok(())
    }

    /// A page of a folder, sealed as it is;
    /// of the own tree also as it was at a sequence.
    pub(crate) async fn list(
        &self,
        folder: NodeId,
        after: Option<NameToken>,
        at: Option<u64>,
    ) -> Result<Listing, SessionError> {
        match &self.1 {
            None => self.call_directory(&List { folder, after, at }).await,
            Some(through) => {
                let proof = self.proof(&through.verifier);
                self.call_directory(&ListShared { share: through.share, proof, folder, after }).await
            }
        }
    }

    /// Pages of manifests. Where a file is need be known of shared ones alone.
    pub(crate) async fn read_manifests(&self, wants: Vec<SharedWant>) -> Result<Read, SessionError> {
        let too_many = || SessionError::Misused { what: "too many versions asked for at once" };
        let Some(through) = &self.1 else {
            let wants: Vec<_> =
                wants.iter().map(|want| ManifestWant { version: want.version, from: want.from }).collect();
            let wants = wants.try_into().map_err(|_| too_many())?;
            return Ok(Read::own(self.call_directory(&ReadManifests { wants }).await?));
        };
        let at = |want: SharedWant| SharedWant { at: want.at.filter(|_| through.folder), ..want };
        let wants = wants.into_iter().map(at).collect::<Vec<_>>().try_into().map_err(|_| too_many())?;
        let request = ReadShared { share: through.share, proof: self.proof(&through.verifier), wants };
        let asked = Instant::now();
        let answer = self.call_directory(&request).await?;
        let until = asked + Duration::from_millis(answer.hold_ms.into()).saturating_sub(LEAST_LEFT);
        let passes = answer.passes.into_iter().map(|signed| Arc::new(HeldPass { signed, until })).collect();
        Ok(Read { manifests: answer.manifests, passes })
    }
}
