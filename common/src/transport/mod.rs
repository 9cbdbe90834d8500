//! Transport: requests and bodies over QUIC, between identities. The only room that knows quinn.
//!
//! In reading order: [`endpoint`] (the socket and its tuning), `congestion` (how fast to send), [`connection`] (one, and who is at its other end), [`error`] (what
//! can go wrong and whether to try again), [`body`] (raw bytes behind a message), [`call`] (ask), [`serve`] and [`respond`] (answer),
//! [`reach`](mod@reach) (a first connection), [`pool`] (a link that heals itself), [`traffic`] (what it all costs on the wire); and
//! [`raw`], the bar that benchmarks measure against.
//!
//! Guarantees: no stream of a connection is read before its other end has proven who it is (or is held to enrolment); nothing
//! is allocated on the word of the other side alone; a body that was not sent to its end never looks complete; every wait has an end.
//!
//! Sketch: at 16,370 bytes a packet, sending and receiving cost 0.4 CPU s a GiB each, half of it the cipher and the kernel; bodies
//! are `Bytes` from socket to consumer. A small request is a stream of its own: 80 us alone, 78,000/s on two cores. A connection
//! costs 33 KiB with 16 streams, so 10,000 devices are 330 MiB.

pub mod body;
pub mod call;
mod congestion;
pub mod connection;
pub mod endpoint;
pub mod error;
pub mod pool;
pub mod raw;
pub mod reach;
pub mod respond;
pub mod serve;
#[cfg(test)]
mod tests;
pub mod traffic;

pub use body::{BodyReader, BodyWriter};
pub use call::{Incoming, Outgoing, Streamed, call, call_while_busy};
pub use connection::{Connection, Protocol};
pub use endpoint::{BindError, Dialler, Endpoint, EndpointOptions, listen_address};
pub use error::{CallError, HandshakeError, Lost};
pub use pool::{Backoff, Link};
pub use reach::reach;
pub use respond::{AnswerWriter, Responder};
pub use serve::{Call, Caller, Handler, ServeOptions, Server};
pub use traffic::Traffic;
