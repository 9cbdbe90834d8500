//! The wire protocol `shoal/1`: the only types that travel.
//!
//! Every request is one bidirectional QUIC stream:
//!
//! ```text
//! request   [tag u16][flags u16 = 0][length u32] [message, bincode] [body, raw bytes until the stream's end]
//! response  [status u16][flags u16 = 0][length u32] [message, bincode] [body, raw bytes until the stream's end]
//! ```
//!
//! All integers are little-endian. The status is 0 and the message the request's response type, or 1 and a [`Refusal`].
//! Tags, and the order of fields and of enum variants, are append-only; golden bytes in the tests hold them in place. A message
//! is at most [`MESSAGE_BYTES`](crate::limits::MESSAGE_BYTES) long and every list in it carries its own limit in its type.
//!
//! Non-goals: negotiation inside a version. A different protocol is a different ALPN, and refused in the handshake.

pub mod conflict;
pub mod content;
pub mod directory;
pub mod enroll;
pub mod frame;
pub mod govern;
pub mod parts;
pub mod past;
pub mod peer;
pub mod prune;
pub mod quota;
pub mod refusal;
pub mod rekey;
pub mod repack;
pub mod share;
pub mod snapshot;

pub use frame::{FrameError, FrameHead, Request};
pub use refusal::Refusal;

/// The protocol of enrolled identities.
pub const ALPN: &[u8] = b"shoal/1";
/// The protocol of the one request that a stranger with a ticket may make.
pub const ALPN_ENROLL: &[u8] = b"shoal-enroll/1";

#[cfg(test)]
mod specimen;
#[cfg(test)]
mod tests;
