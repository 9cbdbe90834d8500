//! Doomed: shards that the directory has condemned and that nobody has stored or asked for since. Only they can be dropped.
//!
//! Guarantees: once somebody was told that a shard is here ([`Store::touch`], or a write), no drop that rests on an earlier condemnation takes
//! it. A drop has begun or it has not: while it is under way the shard counts as gone, so whoever wants it stores it anew, behind the drop.
//! In memory alone and bounded: what is forgotten, by a restart or because a newer directory condemns, is kept and not lost.

use std::collections::HashMap;
use std::sync::Mutex;

use super::error::StoreError;
use super::index::{ShardKey, ShardState};
use super::record::Kind;
use super::segment::lock;
use super::{Inner, Store};

/// Names that are kept, about 80 bytes each.
pub const DOOMED: usize = 65_536;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doom {
    Condemned,
    /// Set and taken away only by who has the shard's turn.
    Dropping,
}

#[derive(Debug, Default)]
pub(crate) struct Doomed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Of the directory that condemned them.
    generation: u64,
    shards: HashMap<ShardKey, Doom>,
}

impl Doomed {
    /// Takes it out, unless a drop has begun. Whether it may be said to be here is for `look` to say, in the same step.
    fn spare(&self, key: &ShardKey, look: impl FnOnce() -> bool) -> bool {
        let mut state = lock(&self.0);
        if state.shards.get(key) == Some(&Doom::Dropping) {
            return false;
        }
        state.shards.remove(key);
        look()
    }

    fn begin(&self, key: &ShardKey) -> bool {
        match lock(&self.0).shards.get_mut(key) {
            Some(doom) => {
                *doom = Doom::Dropping;
                true
            }
            None => false,
        }
    }

    fn end(&self, key: &ShardKey) {
        lock(&self.0).shards.remove(key);
    }
}

impl Store {
    /// Whether a shard is here and live. From then on no condemnation that was said before counts for it.
    #[must_use]
    pub fn touch(&self, key: &ShardKey) -> bool {
        self.inner.touch(key)
    }

    /// Notes those that are here as condemned, and says how many of them are live; `None` when there is no room for so many, and then
    /// nothing is noted. What a directory of a lower generation has condemned is forgotten.
    #[must_use]
    pub fn condemn(&self, generation: u64, keys: &[ShardKey]) -> Option<u32> {
        {
            let mut state = lock(&self.inner.doomed.0);
            if generation > state.generation {
                state.generation = generation;
                state.shards.retain(|_, doom| *doom == Doom::Dropping);
            }
            let fresh = keys.iter().filter(|key| !state.shards.contains_key(key)).count();
            if state.shards.len().saturating_add(fresh) > DOOMED {
                return None;
            }
        }
        let mut live = 0_u32;
        for key in keys {
            let mut state = lock(&self.inner.doomed.0); // for each, so that nobody waits for thousands
            let found = lock(&self.inner.index).get(key).map(|entry| entry.state);
            match found {
                None | Some(ShardState::Trash { .. }) => continue,
                Some(ShardState::Live) => live = live.saturating_add(1),
                Some(ShardState::Quarantined { .. }) => {}
            }
            state.shards.entry(*key).or_insert(Doom::Condemned);
        }
        Some(live)
    }

    /// Moves a shard to the trash, durably, if it is condemned; else it stays, and that is no error.
    ///
    /// # Errors
    /// The disk's.
    pub async fn drop_condemned(&self, key: ShardKey) -> Result<bool, StoreError> {
        self.run_writer(move |inner| inner.drop_condemned(key)).await
    }
}

impl Inner {
    pub(super) fn touch(&self, key: &ShardKey) -> bool {
        self.doomed.spare(key, || self.is_live(key))
    }

    fn drop_condemned(&self, key: ShardKey) -> Result<bool, StoreError> {
        let _turn = self.busy.enter(key);
        if !self.doomed.begin(&key) {
            return Ok(false);
        }
        let noted = self.note_in_turn(key, Kind::Tombstone, |entry| !matches!(entry.state, ShardState::Trash { .. }));
        self.doomed.end(&key);
        match noted {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
