//! Roster: the peers and the revoked as they are at one moment: a value that decisions can rest on.

use std::collections::{BTreeSet, HashMap, HashSet};

use common::id::PeerId;
use common::map::{PeerEntry, PeerState};

use super::Shown;

/// See the module.
#[derive(Debug, Default)]
pub struct Roster {
    shown: Shown,
    states: HashMap<PeerId, PeerState>,
    known: HashSet<PeerId>,
    revoked: BTreeSet<[u8; 16]>,
}

impl Roster {
    pub(super) fn new(shown: Shown, known: HashSet<PeerId>, revoked: BTreeSet<[u8; 16]>) -> Self {
        let states = shown.0.iter().map(|entry| (entry.peer, entry.state)).collect();
        Self { shown, states, known, revoked }
    }

    pub(super) fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Everybody in the map, for tests and reports.
    #[must_use]
    pub fn peers(&self) -> &[PeerEntry] {
        &self.shown.0
    }

    /// Whether it is a peer of this cluster that was not revoked.
    #[must_use]
    pub fn is_known(&self, peer: PeerId) -> bool {
        self.known.contains(&peer)
    }

    /// Whether there is any peer at all.
    #[must_use]
    pub fn has_peers(&self) -> bool {
        !self.known.is_empty()
    }

    /// Whether its shards count: it is not dead.
    #[must_use]
    pub fn is_alive(&self, peer: PeerId) -> bool {
        self.states.get(&peer).is_some_and(|state| *state != PeerState::Dead)
    }

    /// How it is seen; nothing when it is not in the map.
    #[must_use]
    pub fn state(&self, peer: PeerId) -> Option<PeerState> {
        self.states.get(&peer).copied()
    }

    #[must_use]
    pub fn is_revoked(&self, id: &[u8; 16]) -> bool {
        self.revoked.contains(id)
    }

    #[must_use]
    pub fn revoked_count(&self) -> usize {
        self.revoked.len()
    }

    /// A roster of these peers, for tests of decisions.
    #[cfg(test)]
    pub(crate) fn test(states: &[(PeerId, PeerState)]) -> Self {
        Self {
            states: states.iter().copied().collect(),
            known: states.iter().map(|(peer, _)| *peer).collect(),
            ..Self::default()
        }
    }

    /// A roster without peers in which these ids are revoked.
    #[cfg(test)]
    pub(crate) fn revoking(ids: &[[u8; 16]]) -> Self {
        Self { revoked: ids.iter().copied().collect(), ..Self::default() }
    }
}
