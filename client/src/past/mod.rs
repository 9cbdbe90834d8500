//! Past: the account's tree as it was, and making that current again.
//!
//! In reading order: [`when`] (what is typed for a time), [`moment`] (the sequence that it is), [`snapshot`] (times that have a name),
//! [`spot`] (what `PATH`, `PATH@VERSION` and `--at` lead to), [`versions`] (all that a path has led to), [`restore`], [`diff`].
//!
//! Guarantees: a sequence that was given out shows the same for ever, so what is read at one belongs together; only pruning takes from
//! it. What the directory shows of the past is checked like what it shows now.

pub mod diff;
pub mod moment;
pub mod restore;
pub mod same;
pub mod snapshot;
pub mod spot;
pub mod versions;
pub mod when;

use common::time::Timestamp;

use crate::folder::FolderError;
use crate::session::SessionError;

pub use moment::{Moment, find};
pub use spot::{Spot, spot};
pub use when::When;

/// Why the past cannot be shown or made current again.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    #[error("{asked} is in the future: the directory's clock says {now}")]
    Future { asked: Timestamp, now: Timestamp },
    #[error("nothing was stored by {asked}: the first change was at {}", first.at)]
    BeforeTheBeginning { asked: Timestamp, first: Moment },
    #[error("nothing was stored at @{sequence}: the first change was @{first}")]
    SequenceTooEarly { sequence: u64, first: u64 },
    #[error("there is no sequence @{sequence} yet: the last one is @{last}")]
    SequenceTooLate { sequence: u64, last: u64 },
    #[error("nothing was ever stored in this account")]
    Nothing,
    #[error("there is no snapshot called {name}")]
    NoSnapshot { name: String },
    #[error("{path} has no version @{version}")]
    NoVersion { path: String, version: u64, instead: Option<u64> },
    #[error("what was at {path} then was pruned")]
    Pruned { path: String },
    #[error("which state of {path}?")]
    WhichState { path: String },
    #[error("nothing is known of {path}: it never was, or its history was pruned")]
    NeverWas { path: String },
    #[error("{path} is there: it was not removed")]
    NotRemoved { path: String },
    #[error("{path} was moved to another place, not removed")]
    Moved { path: String, version: u64 },
    #[error("a folder is at {path} now")]
    FolderInTheWay { path: String },
    #[error("{path} is a file, and folders are compared")]
    NotAFolder { path: String },
    #[error("as of {shown}")]
    Then {
        shown: String,
        #[source]
        source: FolderError,
    },
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Session(#[from] SessionError),
}
