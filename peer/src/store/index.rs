//! Index: which shards are here and where. In memory, derived wholly from the records, in their order.
//!
//! About 130 bytes a shard, and 60 more in the trash: a terabyte of 2 MiB shards takes some 65 MiB. An account can neither see nor guess another's
//! shards, because the account is part of the key.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use common::address::ShardAddress;
use common::id::{AccountId, ChunkId};
use common::inventory::Sums;
use common::redundancy::Redundancy;
use common::time::Timestamp;

use super::record::{HEADER, Kind, PAGE, Place, Record};

/// What a shard is found by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardKey {
    pub account: AccountId,
    pub address: ShardAddress,
}

/// What may be done with a shard that is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShardState {
    Live,
    /// Dropped by the directory since then; served and restored until it is purged.
    Trash {
        since: Timestamp,
    },
    /// Its bytes are not what its address says; never served.
    Quarantined {
        since: Timestamp,
    },
}

/// One shard that is here, as inventories list it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardInfo {
    pub account: AccountId,
    pub address: ShardAddress,
    pub chunk: ChunkId,
    pub index: u8,
    pub redundancy: Redundancy,
    pub sealed_len: u32,
    pub len: u32,
    pub generation: u64,
    pub placed: Timestamp,
    pub state: ShardState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub place: Place,
    pub state: ShardState,
    chunk: ChunkId,
    index: u8,
    redundancy: Redundancy,
    sealed_len: u32,
    pub body_len: u32,
    generation: u64,
    placed: Timestamp,
}

impl Entry {
    /// Where the byte `offset` of the body stands in the segment.
    pub(crate) fn body_offset(&self, offset: u64) -> u64 {
        self.place.offset() + HEADER as u64 + offset
    }

    /// The record of the same shard, to stand elsewhere.
    pub(crate) fn again(&self, key: ShardKey) -> Record {
        Record { body_len: self.body_len, ..self.note(key, Kind::Shard, self.placed) }
    }

    /// The record that says `kind` about this shard, now.
    pub(crate) fn note(&self, key: ShardKey, kind: Kind, at: Timestamp) -> Record {
        let names_its_target = matches!(kind, Kind::Quarantined | Kind::Purged);
        let target = if names_its_target { self.place } else { Place::default() };
        Record {
            kind,
            index: self.index,
            redundancy: self.redundancy,
            account: key.account,
            chunk: self.chunk,
            address: key.address,
            sealed_len: self.sealed_len,
            body_len: 0,
            generation: self.generation,
            at,
            target,
        }
    }

    fn info(&self, key: &ShardKey) -> ShardInfo {
        ShardInfo {
            account: key.account,
            address: key.address,
            chunk: self.chunk,
            index: self.index,
            redundancy: self.redundancy,
            sealed_len: self.sealed_len,
            len: self.body_len,
            generation: self.generation,
            placed: self.placed,
            state: self.state,
        }
    }

    fn disk_bytes(&self) -> u64 {
        u64::from(super::record::pages_of(self.body_len as usize)) * PAGE as u64
    }
}

/// How many shards, and how much disk their records take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub shards: u64,
    pub bytes: u64,
}

/// What is here, by state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tallies {
    pub live: Tally,
    pub trash: Tally,
    pub quarantined: Tally,
}

impl Tallies {
    fn of(&mut self, state: ShardState) -> &mut Tally {
        match state {
            ShardState::Live => &mut self.live,
            ShardState::Trash { .. } => &mut self.trash,
            ShardState::Quarantined { .. } => &mut self.quarantined,
        }
    }
}

#[derive(Default, Debug)]
pub(crate) struct Index {
    entries: BTreeMap<ShardKey, Entry>,
    tallies: Tallies,
    /// Over the live ones.
    sums: Sums,
    /// What is in the trash, by age.
    trash: BTreeSet<(Timestamp, ShardKey)>,
    /// What each segment holds that is here.
    by_segment: BTreeMap<u32, Held>,
    /// Bodies that nothing refers to any more, until they are taken.
    dead: Vec<Dead>,
}

/// What of a segment is of use.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    shards: u64,
    /// In the trash or in quarantine.
    aside: u64,
    /// Disk that the live ones take.
    live_bytes: u64,
}

/// A record whose body is of no use any more, in whole pages with its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Dead {
    pub place: Place,
    pub pages: u32,
}

/// How many accounts one step over a part of the inventory looks at: the index is locked meanwhile.
const ACCOUNTS_AT_ONCE: usize = 1_000;

impl Index {
    pub(crate) fn get(&self, key: &ShardKey) -> Option<Entry> {
        self.entries.get(key).copied()
    }

    pub(crate) fn info(&self, key: &ShardKey) -> Option<ShardInfo> {
        self.entries.get(key).map(|entry| entry.info(key))
    }

    pub(crate) fn tallies(&self) -> Tallies {
        self.tallies
    }

    /// The next shards in the order of their keys.
    pub(crate) fn list(&self, after: Option<ShardKey>, limit: usize) -> Vec<ShardInfo> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).take(limit).map(|(key, entry)| entry.info(key)).collect()
    }

    /// Those in the trash since `until` or before, the oldest first: no more than are needed for so many bytes, and at most so many.
    pub(crate) fn oldest_trash(&self, until: Timestamp, bytes: u64, most: usize) -> Vec<ShardKey> {
        let mut left = bytes;
        let of_age = self.trash.iter().take_while(|(since, _)| *since <= until).take(most).map(|(_, key)| *key);
        let needed = of_age.take_while(|key| {
            let bytes = self.entries.get(key).map_or(0, Entry::disk_bytes);
            let needed = left > 0;
            left = left.saturating_sub(bytes);
            needed
        });
        needed.collect()
    }

    /// Segments that hold live shards alone, and less of them than so many bytes; with the bytes.
    pub(crate) fn sparse(&self, below: u64) -> Vec<(u32, u64)> {
        let held = self.by_segment.iter().filter(|(_, held)| held.aside == 0 && held.live_bytes < below);
        held.map(|(segment, held)| (*segment, held.live_bytes)).collect()
    }

    /// Whether any shard that is here lies in this segment.
    pub(crate) fn uses(&self, segment: u32) -> bool {
        self.by_segment.contains_key(&segment)
    }

    pub(crate) fn take_dead(&mut self) -> Vec<Dead> {
        std::mem::take(&mut self.dead)
    }

    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// One step over the shards of one part, in the order of their keys: adds what it finds, up to `limit` in all, and says behind which
    /// key to go on. Costs what is found and a look-up an account: nothing of other parts is walked over.
    pub(crate) fn list_part(
        &self,
        part: u8,
        after: Option<ShardKey>,
        limit: usize,
        found: &mut Vec<ShardInfo>,
    ) -> Option<ShardKey> {
        let at = |account, rest| {
            let mut address = [rest; 20];
            address[0] = part;
            ShardKey { account, address: ShardAddress(address) }
        };
        let mut behind = after;
        for _ in 0..ACCOUNTS_AT_ONCE {
            let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
            let (next, _) = self.entries.range((from, Bound::Unbounded)).next()?;
            let (account, first, last) = (next.account, at(next.account, 0), at(next.account, u8::MAX));
            let from = match behind {
                Some(behind) if behind >= first => Bound::Excluded(behind),
                _ => Bound::Included(first),
            };
            if behind.is_none_or(|behind| behind < last) {
                for (key, entry) in self.entries.range((from, Bound::Included(last))) {
                    if found.len() >= limit {
                        return behind;
                    }
                    found.push(entry.info(key));
                    behind = Some(*key);
                }
            }
            behind = Some(ShardKey { account, address: ShardAddress([u8::MAX; 20]) });
        }
        behind
    }

    /// Takes in one record. Records of one shard must come in the order of their places.
    pub(crate) fn apply(&mut self, place: Place, record: &Record) {
        let key = ShardKey { account: record.account, address: record.address };
        let old = self.entries.get(&key).copied();
        let since = record.at;
        let new = match (record.kind, old) {
            (Kind::Shard, _) => Some(Self::entry(place, record)),
            (Kind::Void, _) => old,
            (Kind::Tombstone, Some(old)) => match old.state {
                ShardState::Live => Some(Entry { state: ShardState::Trash { since }, ..old }),
                ShardState::Trash { .. } => Some(old),
                ShardState::Quarantined { .. } => None,
            },
            (Kind::Restored, Some(old)) => match old.state {
                ShardState::Trash { .. } => Some(Entry { state: ShardState::Live, ..old }),
                ShardState::Live | ShardState::Quarantined { .. } => Some(old),
            },
            (Kind::Quarantined, Some(old)) if old.place == record.target => {
                Some(Entry { state: ShardState::Quarantined { since }, ..old })
            }
            (Kind::Quarantined, Some(old)) => Some(old),
            (Kind::Purged, Some(old)) if old.place <= record.target => None,
            (Kind::Purged, Some(old)) => Some(old),
            (Kind::Tombstone | Kind::Restored | Kind::Quarantined | Kind::Purged, None) => None,
        };
        self.replace(key, old, new);
    }

    fn entry(place: Place, record: &Record) -> Entry {
        Entry {
            place,
            state: ShardState::Live,
            chunk: record.chunk,
            index: record.index,
            redundancy: record.redundancy,
            sealed_len: record.sealed_len,
            body_len: record.body_len,
            generation: record.generation,
            placed: record.at,
        }
    }

    fn replace(&mut self, key: ShardKey, old: Option<Entry>, new: Option<Entry>) {
        if let Some(old) = old {
            if let ShardState::Trash { since } = old.state {
                self.trash.remove(&(since, key));
            }
            if new.is_none_or(|new| new.place != old.place) {
                self.dead.push(Dead { place: old.place, pages: super::record::pages_of(old.body_len as usize) });
            }
            if let Some(held) = self.by_segment.get_mut(&old.place.segment) {
                held.shards = held.shards.saturating_sub(1);
                match old.state {
                    ShardState::Live => held.live_bytes = held.live_bytes.saturating_sub(old.disk_bytes()),
                    ShardState::Trash { .. } | ShardState::Quarantined { .. } => {
                        held.aside = held.aside.saturating_sub(1);
                    }
                }
                if held.shards == 0 {
                    self.by_segment.remove(&old.place.segment);
                }
            }
            let tally = self.tallies.of(old.state);
            tally.shards = tally.shards.saturating_sub(1);
            tally.bytes = tally.bytes.saturating_sub(old.disk_bytes());
            if old.state == ShardState::Live {
                self.sums.take(key.account, key.address, old.chunk);
            }
        }
        if let Some(new) = new {
            if let ShardState::Trash { since } = new.state {
                self.trash.insert((since, key));
            }
            let held = self.by_segment.entry(new.place.segment).or_default();
            held.shards += 1;
            match new.state {
                ShardState::Live => held.live_bytes += new.disk_bytes(),
                ShardState::Trash { .. } | ShardState::Quarantined { .. } => held.aside += 1,
            }
            let tally = self.tallies.of(new.state);
            tally.shards += 1;
            tally.bytes += new.disk_bytes();
            if new.state == ShardState::Live {
                self.sums.add(key.account, key.address, new.chunk);
            }
            self.entries.insert(key, new);
        } else {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: Kind) -> Record {
        Record {
            kind,
            index: 0,
            redundancy: Redundancy::DEFAULT,
            account: AccountId([1; 16]),
            chunk: ChunkId([2; 20]),
            address: ShardAddress([3; 20]),
            sealed_len: 10,
            body_len: if kind == Kind::Shard { 10 } else { 0 },
            generation: 1,
            at: Timestamp(50),
            target: Place::default(),
        }
    }

    fn check(kinds: &[Kind], expected: Option<ShardState>) {
        let mut index = Index::default();
        for (page, kind) in (1..).zip(kinds) {
            let target = Place { segment: 1, page: 1 };
            index.apply(Place { segment: 1, page }, &Record { target, ..record(*kind) });
        }
        let key = ShardKey { account: AccountId([1; 16]), address: ShardAddress([3; 20]) };
        assert_eq!(index.get(&key).map(|entry| entry.state), expected, "{kinds:?}");
        let tallies = index.tallies();
        let count = tallies.live.shards + tallies.trash.shards + tallies.quarantined.shards;
        assert_eq!(count, u64::from(expected.is_some()), "{kinds:?}");
    }

    #[test]
    fn the_later_record_wins() {
        use Kind::{Purged, Quarantined, Restored, Shard, Tombstone, Void};
        let since = Timestamp(50);
        let (live, trash) = (Some(ShardState::Live), Some(ShardState::Trash { since }));
        let quarantined = Some(ShardState::Quarantined { since });
        check(&[], None);
        check(&[Void], None);
        check(&[Tombstone], None);
        check(&[Shard], live);
        check(&[Shard, Void], live);
        check(&[Shard, Tombstone], trash);
        check(&[Shard, Tombstone, Shard], live);
        check(&[Shard, Tombstone, Restored], live);
        check(&[Shard, Quarantined], quarantined);
        check(&[Shard, Tombstone, Quarantined], quarantined);
        check(&[Shard, Quarantined, Restored], quarantined);
        check(&[Shard, Quarantined, Shard], live);
        check(&[Shard, Shard, Quarantined], live); // it is about the first body, which is not used any more
        check(&[Shard, Quarantined, Tombstone], None);
        check(&[Shard, Tombstone, Purged], None);
        check(&[Shard, Tombstone, Purged, Restored], None);
        check(&[Shard, Tombstone, Purged, Shard], live);
        check(&[Shard, Shard, Purged], live); // it is about the first body
    }
}
