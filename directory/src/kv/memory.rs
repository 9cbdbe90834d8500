//! Memory engine: a map with the semantics and limits of the embedded one. Durable for as long as it lives.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};

use super::{Answer, Check, CommitError, Entry, Meta, Page, Pager, Store, StoreError, Write, check_commit, check_get};

/// See the module.
#[derive(Default)]
pub struct Memory {
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Vec<u8>, (u64, Vec<u8>)>,
    sequence: u64,
}

impl Memory {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn scan(&self, from: &[u8], to: &[u8], limit: usize, back: bool) -> Page {
        let mut pager = Pager::new(limit);
        if from >= to {
            return pager.page;
        }
        let mut range = self.entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        while let Some((key, (version, value))) = if back { range.next_back() } else { range.next() } {
            if !pager.takes(key.len() + value.len()) {
                break;
            }
            pager.page.entries.push(Entry { key: key.clone(), value: value.clone(), version: *version });
        }
        pager.page
    }

    fn commit(&mut self, checks: &[Check], writes: Vec<Write>) -> Result<u64, CommitError> {
        check_commit(checks, &writes)?;
        let holds = |check: &Check| self.entries.get(&check.key).map(|(version, _)| *version) == check.version;
        if let Some(check) = checks.iter().position(|check| !holds(check)) {
            return Err(CommitError::Conflict { check });
        }
        self.sequence += 1;
        for write in writes {
            match write {
                Write::Put { key, value } => drop(self.entries.insert(key, (self.sequence, value))),
                Write::Delete { key } => drop(self.entries.remove(&key)),
                Write::Amend { key, value, version } => drop(self.entries.insert(key, (version, value))),
            }
        }
        Ok(self.sequence)
    }
}

impl Store for Memory {
    fn get<'a>(&'a self, keys: &'a [&'a [u8]]) -> Answer<'a, Result<Vec<Option<Entry>>, StoreError>> {
        Box::pin(async move {
            check_get(keys)?;
            let entry = |state: &State, key: &[u8]| {
                let (version, value) = state.entries.get(key)?;
                Some(Entry { key: key.to_vec(), value: value.clone(), version: *version })
            };
            Ok(self.read(|state| keys.iter().map(|key| entry(state, key)).collect()))
        })
    }

    fn scan<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Answer<'a, Result<Page, StoreError>> {
        Box::pin(async move { Ok(self.read(|state| state.scan(from, to, limit, false))) })
    }

    fn scan_back<'a>(&'a self, from: &'a [u8], to: &'a [u8], limit: usize) -> Answer<'a, Result<Page, StoreError>> {
        Box::pin(async move { Ok(self.read(|state| state.scan(from, to, limit, true))) })
    }

    fn commit(&self, checks: Vec<Check>, writes: Vec<Write>, _meta: Meta) -> Answer<'_, Result<u64, CommitError>> {
        Box::pin(async move { self.state.write().unwrap_or_else(PoisonError::into_inner).commit(&checks, writes) })
    }

    fn last_sequence(&self) -> u64 {
        self.read(|state| state.sequence)
    }
}
