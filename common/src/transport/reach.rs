//! Reach: the first connection to somebody of whom only `host:port`s are known, before there is a link.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::transport::connection::Connection;
use crate::transport::endpoint::{Dialler, Endpoint};
use crate::transport::error::CallError;

const RESOLVE: Duration = Duration::from_secs(5);
/// Socket addresses that one name may stand for.
const PER_NAME: usize = 4;

/// The first address that answers and proves to have `name`, tried in turn.
///
/// # Errors
/// [`CallError::Unreachable`] with the worst of what was found: what is wrong with trust says more than silence elsewhere.
pub async fn reach(
    endpoint: &Endpoint,
    dialler: &Dialler,
    addresses: &[String],
    name: &str,
) -> Result<Connection, CallError> {
    let mut worst: Option<CallError> = None;
    for address in addresses {
        let unresolved = |source| CallError::Unresolved { host: address.clone(), source };
        let found = match timeout(RESOLVE, tokio::net::lookup_host(address.as_str())).await {
            Ok(Ok(found)) => found.take(PER_NAME).collect::<Vec<_>>(),
            Ok(Err(source)) => {
                worst.get_or_insert(unresolved(source));
                continue;
            }
            Err(_) => {
                worst.get_or_insert(unresolved(std::io::ErrorKind::TimedOut.into()));
                continue;
            }
        };
        for place in found {
            match endpoint.dial(dialler, place, name).await {
                Ok(connection) => return Ok(connection),
                Err(error) if worst.as_ref().is_none_or(|known| known.handshake().is_none()) => worst = Some(error),
                Err(_) => {}
            }
        }
    }
    Err(CallError::Unreachable { addresses: addresses.join(", "), source: worst.map(Arc::new) })
}
