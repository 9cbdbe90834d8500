//! Past: what was, and when. Asked of the directory, see [`super::directory`]; [`LookUp`](super::directory::LookUp) and
//! [`List`](super::directory::List) take the sequence that is found here.

use serde::{Deserialize, Serialize};

use crate::bounded::BoundedVec;
use crate::id::{NameToken, NodeId};
use crate::limits;
use crate::proto::parts::EntryView;
use crate::time::Timestamp;

/// Which sequence is the account's tree as it was then?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindMoment {
    pub when: When,
}

/// A point in time, by the directory's clock or by its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    Now,
    At(Timestamp),
    /// So many milliseconds ago.
    Ago(u64),
    Sequence(u64),
}

/// A state of the account's tree: what the change at this time left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub sequence: u64,
    /// When that was.
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MomentFound {
    /// The last change that had happened by then; `None` before the first one and in the future.
    pub moment: Option<Moment>,
    /// The account's first change.
    pub first: Option<Moment>,
    /// The time that was asked for, where it was asked for by time.
    pub asked: Timestamp,
    /// The directory's clock, and its last sequence.
    pub now: Timestamp,
    pub last: u64,
}

/// What a name in a folder has led to, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadHistory {
    pub folder: NodeId,
    pub token: NameToken,
    /// Only states that began before this sequence; `None` for all.
    pub before: Option<u64>,
}

/// Where there are more, the next page is that before the last one's beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    pub states: BoundedVec<NameState, { limits::HISTORY_STATES }>,
    pub more: bool,
}

/// What a name led to for a time: a file's version, or a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameState {
    /// With the sequence from which it was so.
    pub entry: EntryView,
    pub at: Timestamp,
    /// `None`: it is so now.
    pub until: Option<Ended>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub moment: Moment,
    pub how: HowEnded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HowEnded {
    /// Something else, or another version, took its place.
    Replaced,
    /// It went to another name or folder.
    Moved,
    Removed,
}
