//! Operations: what each request decides, one noun a file. Pure over what they read: the clock, the peers' liveness and randomness
//! are arguments.
//!
//! All keys of a client's operations are made from the account of its certificate, and never from the request.
//!
//! - the tree: [`folder`], [`entry`], [`look`]; as it was: [`past`], [`history`];
//! - how long it is kept: [`snapshot`], [`keep`], [`prune`], [`let_go`]; who uses what: [`space`], [`usage`];
//! - uploads: [`upload`], [`chunk`], [`content`], [`page`], [`publish`]; what others are told of it: [`conflict`]; [`repack`]; another key: [`rekey`];
//! - what is shared: [`share`] for those whose it is, [`shared`] for those who have a link;
//! - members: [`ticket`], [`enrol`], [`revoke`];
//! - the directory itself: [`note`], [`expire`].

pub mod chunk;
pub mod collect;
pub mod conflict;
pub mod content;
pub mod enrol;
pub mod entry;
pub mod expire;
pub mod folder;
pub mod govern;
pub mod history;
pub mod keep;
pub mod let_go;
pub mod look;
pub mod note;
pub mod page;
pub mod past;
pub mod place;
pub mod prune;
pub mod publish;
pub mod recode;
pub mod rekey;
pub mod repack;
pub mod revoke;
pub mod share;
pub mod shared;
pub mod snapshot;
pub mod space;
pub mod ticket;
pub mod tree;
pub mod upload;
pub mod usage;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use common::id::ClusterId;
use common::redundancy::Redundancy;
use common::time::Timestamp;

use crate::members::Roster;

/// What decisions rest on beside what they read.
#[derive(Debug, Clone)]
pub struct Context {
    pub now: Timestamp,
    pub cluster: ClusterId,
    pub generation: u64,
    pub redundancy: Redundancy,
    /// The peers as they are seen now.
    pub roster: Arc<Roster>,
}
