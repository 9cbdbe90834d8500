//! Stone: what answers where a peer was, as a machine does whose program has ended and is started again, but does not serve yet: it takes no
//! handshake, and says of connections that it has none such. So whoever asks there knows at once, and need not wait for a silence to be over.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use common::identity::{Credentials, Trust};
use common::time::Clock;
use common::transport::{Endpoint, EndpointOptions};
use peer::folder::Joined;

/// There as long as this is kept.
pub(super) struct Stone(#[expect(dead_code, reason = "what counts is that it is there")] Endpoint);

impl Stone {
    /// Takes the address of a peer that has ended.
    ///
    /// # Errors
    /// When it is not to be had.
    pub(super) fn put(address: SocketAddr, data: &Path) -> Result<Self> {
        let joined = Joined::load(data)?;
        let credentials = Credentials::new(vec![joined.certificate.clone()], &joined.key)?;
        let trust = Trust::new(joined.authority, Clock::System)?;
        let options =
            EndpointOptions { handshakes: 0, reset_key: Some(joined.key.reset_key()), ..EndpointOptions::directory() };
        let endpoint = Endpoint::bind(address, options)?;
        endpoint.listen(trust.peer_server(&credentials)?)?;
        Ok(Self(endpoint))
    }
}
