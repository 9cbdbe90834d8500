//! What directory, peer and client have in common: the words as types, the wire, and the identity under it.
//!
//! In reading order:
//!
//! - words: [`id`], [`address`], [`size`], [`time`], [`redundancy`], [`bounded`], [`limits`], [`codec`], [`plural`];
//! - what is said of peers and chunks: [`signed`], [`map`], [`grant`], [`pass`], [`history`], [`place`], [`erasure`],
//!   [`inventory`];
//! - the wire: [`proto`];
//! - who is who, and how bytes travel: [`line`], [`ticket`], [`share`], [`identity`], [`transport`];
//! - the process around it: [`disk`], [`heap`], [`telemetry`].

pub mod address;
pub mod bounded;
pub mod boxed;
pub mod codec;
pub mod disk;
pub mod erasure;
pub mod grant;
pub mod heap;
pub mod history;
pub mod id;
pub mod identity;
pub mod inventory;
pub mod keep;
pub mod limits;
pub mod line;
pub mod map;
pub mod pass;
pub mod place;
pub mod plural;
pub mod proto;
pub mod redundancy;
pub mod sealed;
pub mod share;
pub mod signed;
pub mod size;
pub mod telemetry;
pub mod ticket;
pub mod time;
pub mod transport;
