//! Schema: every key and value that the directory stores, one record a file.
//!
//! [`key`] defines all keys; a [`Key`](key::Key) carries the type of its record. [`record`] defines how values are written: a format byte,
//! then one bounded value. Nothing else in the directory makes or reads bytes of the store.

pub mod account;
pub mod chunk;
pub mod conflict;
pub mod content;
pub mod device;
pub mod done;
pub mod entry;
pub mod going;
pub mod key;
pub mod meta;
pub mod node;
pub mod page;
pub mod peer;
pub mod pending;
pub mod record;
pub mod reference;
pub mod ring;
pub mod share;
pub mod snapshot;
pub mod ticket;
pub mod usage;
pub mod version;

pub use account::Account;
pub use chunk::Chunk;
pub use conflict::Conflict;
pub use content::{Content, Packed};
pub use device::Device;
pub use done::Done;
pub use entry::Entry;
pub use going::Going;
pub use key::Key;
pub use meta::{Cluster, Fence, Generation, Start};
pub use node::Node;
pub use page::Page;
pub use peer::Peer;
pub use pending::Pending;
pub use record::{Record, RecordError};
pub use reference::{Held, Hold, Mark, Recode};
pub use ring::Ring;
pub use share::{Guests, Share};
pub use snapshot::Snapshot;
pub use ticket::Ticket;
pub use usage::{Quota, Usage};
pub use version::Version;
