//! Raw: what this transport's settings give with nothing above them: the bar that benchmarks compare the data path with.
//!
//! Two ends on loopback, each with a runtime of one thread of its own, mutual TLS under an authority that is made for this and
//! forgotten, one stream, `write_chunk` on one end and `read_chunks` on the other. Nothing is hashed, framed or stored. Blocking.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Connection as Quic, RecvStream, SendStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::id::{AccountId, ClusterId, DeviceId, PeerId};
use crate::identity::certificate::VALIDITY;
use crate::identity::role::Subject;
use crate::identity::{Authority, CertificateError, Credentials, Identity, PrivateKey, Trust, TrustError};
use crate::time::Clock;
use crate::transport::endpoint::{BindError, Endpoint, EndpointOptions};
use crate::transport::error::CallError;

/// What is given to the stream at once.
const PIECE_BYTES: usize = 1 << 20;
/// Packets' payloads taken from it at once.
const BATCH: usize = 32;

/// Which end sends the bytes, seen from who dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Up,
    Down,
}

/// The two ends could not be set up, or lost each other.
#[derive(Debug, thiserror::Error)]
pub enum RawError {
    #[error("no identity can be made")]
    Certificate(#[from] CertificateError),
    #[error("TLS cannot be set up")]
    Trust(#[from] TrustError),
    #[error("no UDP socket on loopback can be used")]
    Bind(#[from] BindError),
    #[error("the two ends on loopback lost each other")]
    Call(#[from] CallError),
    #[error("no runtime can be started")]
    Runtime(#[source] std::io::Error),
    #[error("{got} of {wanted} bytes arrived")]
    Short { wanted: u64, got: u64 },
    #[error("the other end has ended")]
    Gone,
}

/// Moves so many bytes one way, and says how long that took, without the handshake.
///
/// # Errors
/// See [`RawError`].
pub fn move_bytes(way: Way, bytes: u64) -> Result<Duration, RawError> {
    let ends = Ends::new()?;
    let (tell, told) = oneshot::channel();
    let (finish, finished) = oneshot::channel::<()>();
    let served = ends.served;
    let serving = thread::spawn(move || -> Result<(), RawError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(RawError::Runtime)?;
        runtime.block_on(async {
            tokio::select! {
                served = serve(served, way, bytes, tell) => served,
                _ = finished => Ok(()), // the other end has all that it wants, or has failed and says why
            }
        })
    });
    let runtime = Builder::new_current_thread().enable_all().build().map_err(RawError::Runtime)?;
    let dialled = runtime.block_on(async {
        let address = told.await.map_err(|_| RawError::Gone)?;
        let endpoint = Endpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), EndpointOptions::client())?;
        let dialler = endpoint.dialler(ends.dials)?;
        let connection = endpoint.dial(&dialler, address, &ends.name).await?;
        let (mut send, mut receive) = connection.0.open_bi().await.map_err(CallError::from)?;
        let since = Instant::now();
        // On the way up the other end's end of stream says that it has all; on the way down one byte tells it of the stream.
        match way {
            Way::Up => {
                send_bytes(&mut send, bytes).await?;
                read_bytes(&mut receive, 0).await?;
            }
            Way::Down => {
                send_bytes(&mut send, 1).await?;
                read_bytes(&mut receive, bytes).await?;
            }
        }
        let took = since.elapsed();
        endpoint.close().await;
        Ok(took)
    });
    drop(finish);
    match serving.join() {
        Ok(Ok(())) => dialled,
        Ok(Err(error)) => dialled.and(Err(error)), // who dialled knows best
        Err(_) => Err(RawError::Gone),
    }
}

/// TLS for both ends.
struct Ends {
    served: rustls::ServerConfig,
    dials: rustls::ClientConfig,
    name: String,
}

impl Ends {
    fn new() -> Result<Self, RawError> {
        let (cluster, now) = (ClusterId::random(), Clock::System.now());
        let authority = Authority::create(cluster, now)?;
        let peer = Identity { cluster, subject: Subject::Peer(PeerId::random()) };
        let device = Subject::Client { device: DeviceId::random(), account: AccountId::random() };
        let issue = |identity: &Identity| -> Result<Credentials, RawError> {
            let key = PrivateKey::generate()?;
            let certificate = authority.issue(&key.signing_request()?, identity, now, VALIDITY)?;
            Ok(Credentials::new(vec![certificate, authority.certificate().clone()], &key)?)
        };
        let trust = Trust::new(authority.certificate().clone(), Clock::System)?;
        let served = trust.peer_server(&issue(&peer)?)?;
        let dials = trust.client(&issue(&Identity { cluster, subject: device })?)?;
        Ok(Self { served, dials, name: peer.server_name() })
    }
}

async fn serve(
    tls: rustls::ServerConfig,
    way: Way,
    bytes: u64,
    tell: oneshot::Sender<std::net::SocketAddr>,
) -> Result<(), RawError> {
    let endpoint = Endpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), EndpointOptions::peer())?;
    endpoint.listen(tls)?;
    tell.send(endpoint.local_address()?).map_err(|_| RawError::Gone)?;
    let incoming = endpoint.inner.accept().await.ok_or(RawError::Gone)?;
    let connection: Quic = incoming.await.map_err(CallError::from)?;
    let (mut send, mut receive) = connection.accept_bi().await.map_err(CallError::from)?;
    match way {
        Way::Up => {
            read_bytes(&mut receive, bytes).await?;
            send_bytes(&mut send, 0).await?;
        }
        Way::Down => send_bytes(&mut send, bytes).await?,
    }
    connection.closed().await;
    Ok(())
}

/// Sends it all.
async fn send_bytes(send: &mut SendStream, bytes: u64) -> Result<(), RawError> {
    let piece = Bytes::from(vec![0x5a; PIECE_BYTES]);
    let mut left = bytes;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        send.write_chunk(piece.slice(..now)).await.map_err(CallError::from)?;
        left = left.saturating_sub(now as u64);
    }
    send.finish().ok(); // it is open
    Ok(())
}

/// Reads to the end of the stream, and counts.
async fn read_bytes(receive: &mut RecvStream, wanted: u64) -> Result<(), RawError> {
    let mut got = 0_u64;
    let mut batch: [Bytes; BATCH] = std::array::from_fn(|_| Bytes::new());
    while let Some(count) = receive.read_chunks(&mut batch).await.map_err(CallError::from)? {
        got += batch.iter_mut().take(count).map(|bytes| std::mem::take(bytes).len() as u64).sum::<u64>();
    }
    if got == wanted { Ok(()) } else { Err(RawError::Short { wanted, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_arrives_either_way() {
        for (way, bytes) in [(Way::Up, 0), (Way::Up, (3 << 20) + 17), (Way::Down, (3 << 20) + 17)] {
            assert!(move_bytes(way, bytes).unwrap() > Duration::ZERO, "{way:?} {bytes}");
        }
    }
}
